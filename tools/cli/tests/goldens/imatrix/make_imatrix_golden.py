#!/usr/bin/env python3
"""Make expected.gguf: the demo model's importance matrix of two chunks of 64 tokens of text.txt, by PyTorch in float32,
written with the `gguf` package in llama.cpp's format. Of the blocks only the first and the last are kept.

usage: make_imatrix_golden.py, in this folder; needs torch, transformers, gguf, numpy
"""

import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

MODEL = "../../../../demo/siskin-demo"
CHUNK, CHUNKS = 64, 2
PARTS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def main():
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32, attn_implementation="eager").eval()
    tokens = AutoTokenizer.from_pretrained(MODEL)(open("text.txt", encoding="utf-8").read())["input_ids"]
    assert len(tokens) >= CHUNK * CHUNKS
    sums = {}

    def watch(module, name):
        def hook(_, inputs):
            squares = inputs[0].reshape(-1, inputs[0].shape[-1]).double().square().sum(0)
            sums[name] = sums.get(name, 0) + squares

        module.register_forward_pre_hook(hook)

    layers = model.model.layers
    for index in (0, len(layers) - 1):
        for part, name in PARTS.items():
            watch(layers[index].get_submodule(part), f"blk.{index}.{name}.weight")
    # The embedding is tied, so it is what the last product is made with.
    watch(model.lm_head, "token_embd.weight")
    with torch.no_grad():
        for start in range(0, CHUNK * CHUNKS, CHUNK):
            model(torch.tensor([tokens[start : start + CHUNK]]))

    writer = gguf.GGUFWriter("expected.gguf", "imatrix")
    writer.kv_data[0].pop("general.architecture")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["text.txt"])
    writer.add_uint32("imatrix.chunk_count", CHUNKS)
    writer.add_uint32("imatrix.chunk_size", CHUNK)
    for name in sorted(sums):
        writer.add_tensor(f"{name}.in_sum2", sums[name].numpy().astype(np.float32))
        writer.add_tensor(f"{name}.counts", np.array([CHUNK * CHUNKS], np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
