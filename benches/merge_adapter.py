"""Adds a LoRA adapter in PEFT's form to a checkpoint: merge_adapter.py CHECKPOINT ADAPTER FOLDER.

W + alpha / rank * B A (Hu et al. 2021, arXiv 2106.09685), in F32, kept in the checkpoint's F16.
"""

import json
import pathlib
import shutil
import sys

from safetensors.numpy import load_file, save_file


def main():
    checkpoint, adapter, folder = map(pathlib.Path, sys.argv[1:])
    shutil.copytree(checkpoint, folder)
    config = json.loads((adapter / "adapter_config.json").read_text())
    scale = config["lora_alpha"] / config["r"]
    weights = load_file(checkpoint / "model.safetensors")
    halves = load_file(adapter / "adapter_model.safetensors")
    for name, down in halves.items():
        if name.endswith(".lora_A.weight"):
            up = halves[name.replace("lora_A", "lora_B")]
            target = name.removeprefix("base_model.model.").replace(".lora_A", "")
            weights[target] = (weights[target].astype("float32") + scale * (up @ down)).astype("float16")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main()
