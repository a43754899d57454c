#!/usr/bin/env python3
"""Write what llama.cpp answers from the files and adapters that siskin makes of the families' tiny checkpoints.

usage: make_llama_cpp_goldens.py SISKIN [NAME...]      needs llama-cpp-python (made with 0.3.36) and numpy

SISKIN is the program. For each checkpoint: NAME.npy, float32 [positions, vocabulary], the logits for the prompt in its
ids.json from what `siskin quantize --type f32` makes of it. Where the checkpoint has an adapter, NAME-adapted.npy, those
with what `siskin adapter convert` makes of that. Keys and values are kept in float32.

llama.cpp does not heed the windows of Mistral, Ministral and Phi-3: of those, only the positions before the window's end.
It cannot read BitNet's files, nor the scale and order of gemma3-scale.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import llama_cpp
import numpy as np

HERE = Path(__file__).parent
FAMILIES = HERE.parents[4] / "engine" / "tests" / "goldens" / "families"
CONTEXT = 64
WINDOWS = {"ministral": 16, "mistral": 16, "phi3": 16}
UNREAD = {"bitnet", "gemma3-scale"}


def logits(path, ids, adapter=None):
    model = llama_cpp.Llama(
        str(path),
        n_ctx=CONTEXT,
        n_threads=1,
        logits_all=True,
        verbose=False,
        flash_attn=False,
        type_k=llama_cpp.GGML_TYPE_F32,
        type_v=llama_cpp.GGML_TYPE_F32,
        lora_path=adapter and str(adapter),
    )
    model.eval(ids)
    return np.array(model.scores[: len(ids)], dtype=np.float32)


def main(siskin, names):
    for name in names or sorted(path.name for path in FAMILIES.iterdir() if path.is_dir()):
        if name in UNREAD:
            continue
        checkpoint = FAMILIES / name
        ids = json.loads((checkpoint / "ids.json").read_text())[: WINDOWS.get(name)]
        with tempfile.TemporaryDirectory() as folder:
            file, adapter = Path(folder) / "model.gguf", Path(folder) / "adapter.gguf"
            subprocess.run([siskin, "quantize", checkpoint, file, "--type", "f32"], check=True)
            np.save(HERE / f"{name}.npy", logits(file, ids))
            if (checkpoint / "adapter").is_dir():
                subprocess.run([siskin, "adapter", "convert", checkpoint / "adapter", adapter, "--model", file], check=True)
                np.save(HERE / f"{name}-adapted.npy", logits(file, ids, adapter))


main(sys.argv[1], sys.argv[2:])
