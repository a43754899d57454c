"""Gives some of this folder's checkpoints a LoRA adapter of PEFT each, with random numbers, and what they come to with it.

    python make_adapter_goldens.py --llama-cpp FOLDER [NAME...]

In a checkpoint's folder `adapter/` is the adapter's, and `logits-adapted.npy` is `logits.npy` with the adapter attached,
in float32 as well. The matrices are all of the layers' that are no experts'. Where PEFT's scale is alpha / rank for all,
`adapter.gguf` is what llama.cpp's convert_lora_to_gguf.py writes; FOLDER is llama.cpp's source, as for the checkpoints.

Made with torch 2.15.0, transformers 5.24.0 and peft 0.21.2. The numbers are drawn with numpy's PCG64.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

HERE = Path(__file__).parent
SPLIT = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

# The rows of queries and keys in another order, several matrices in one, and experts; and what is plain.
ADAPTERS = {
    "granite": {"target_modules": SPLIT, "r": 4, "lora_alpha": 6},
    "phi3": {"target_modules": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"], "r": 6, "lora_alpha": 5},
    "qwen3": {"target_modules": SPLIT, "r": 4, "lora_alpha": 8, "use_rslora": True},
    "qwen3-moe": {"target_modules": SPLIT[:4], "r": 3, "lora_alpha": 3},
    "gemma3": {"target_modules": SPLIT, "r": 5, "lora_alpha": 7, "alpha_pattern": {"down_proj": 2}},
}


def tidy(folder, base):
    """Takes out what depends on the machine and the run."""
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = base
    config["target_modules"].sort()
    path.write_text(json.dumps(config, indent=1) + "\n")
    (folder / "adapter_model.safetensors").chmod(0o644)


def convert(llama_cpp, folder):
    script = [sys.executable, llama_cpp / "convert_lora_to_gguf.py", folder / "adapter", "--base", folder]
    paths = os.pathsep.join([str(llama_cpp), str(llama_cpp / "gguf-py")])
    out = ["--outfile", folder / "adapter.gguf", "--outtype", "f32"]
    subprocess.run([*script, *out], env={**os.environ, "PYTHONPATH": paths}, check=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--llama-cpp", type=Path, required=True)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    for seed, (name, settings) in enumerate(ADAPTERS.items()):
        if arguments.names and name not in arguments.names:
            continue
        folder = HERE / name
        rng = np.random.Generator(np.random.PCG64(3000 + seed))
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **settings)).eval()
        for part, numbers in model.named_parameters():
            if "lora_" in part:
                scale = 1.0 / np.sqrt(numbers.shape[1])
                drawn = (rng.standard_normal(numbers.shape) * scale).astype(np.float32)
                numbers.data = torch.from_numpy(drawn)
        model.save_pretrained(folder / "adapter")
        (folder / "adapter" / "README.md").unlink(missing_ok=True)
        tidy(folder / "adapter", name)
        ids = json.loads((folder / "ids.json").read_text())
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0].numpy()
        np.save(folder / "logits-adapted.npy", logits.astype(np.float32))
        if not {"use_rslora", "alpha_pattern"} & settings.keys():
            convert(arguments.llama_cpp, folder)
        plain = np.load(folder / "logits.npy")
        print(f"{name}: the adapter moves the logits by {np.square(logits - plain).sum() / np.square(plain).sum():.3f}")


if __name__ == "__main__":
    main()
