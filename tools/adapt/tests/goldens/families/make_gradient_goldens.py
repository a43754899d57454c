"""Losses and gradients of a LoRA on the tiny checkpoints of engine/tests/goldens, from PEFT in float32.

    python make_gradient_goldens.py [NAME...]

In each folder here are `adapter_config.json` and `adapter.safetensors`, an adapter of PEFT with random numbers, `loss.json`, the mean of
the losses of the checkpoint's prompt (every token whose number, from 0, is no multiple of 3), and `gradients.safetensors`, those of
that mean by the adapter's numbers, by the same names.

Made with torch 2.15.0, transformers 5.24.0 and peft 0.21.2. The numbers are drawn with numpy's PCG64.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

HERE = Path(__file__).parent
CHECKPOINTS = HERE.parents[4] / "engine/tests/goldens"
SPLIT = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

# What adapters change: matrices of layers that are no experts'.
TARGETS = {
    "bitnet": SPLIT,
    "gemma2": SPLIT,
    "gemma3": SPLIT,
    "granite": SPLIT,
    "granite-moe": SPLIT[:4],
    "lfm2": ["q_proj", "k_proj", "v_proj", "out_proj", "in_proj", "w1", "w2", "w3"],
    "ministral": SPLIT,
    "mistral": SPLIT,
    "olmo2": SPLIT,
    "phi3": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"],
    "qwen2": SPLIT,
    "qwen3": SPLIT,
    "qwen3-moe": SPLIT[:4],
    "smollm3": SPLIT,
}


def tidy(folder, name):
    """Takes out what depends on the machine and the run, and writes the configuration."""
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = name
    config["target_modules"].sort()
    path.write_text(json.dumps(config, indent=1) + "\n")
    (folder / "README.md").unlink(missing_ok=True)
    (folder / "adapter_model.safetensors").rename(folder / "adapter.safetensors")


def main():
    for seed, (name, targets) in enumerate(TARGETS.items()):
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        checkpoint, folder = CHECKPOINTS / "families" / name, HERE / name
        rng = np.random.Generator(np.random.PCG64(4000 + seed))
        model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="eager")
        settings = LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, target_modules=targets, r=2, lora_alpha=3)
        model = get_peft_model(model, settings).eval()
        for part, numbers in model.named_parameters():
            if "lora_" in part:
                drawn = rng.standard_normal(numbers.shape) / np.sqrt(numbers.shape[1])
                numbers.data = torch.from_numpy(drawn.astype(np.float32))
        model.save_pretrained(folder)
        tidy(folder, name)
        ids = torch.tensor(json.loads((checkpoint / "ids.json").read_text()))
        learned = [i for i in range(1, len(ids)) if i % 3]
        logits = model(ids[None], use_cache=False).logits[0]
        loss = torch.nn.functional.cross_entropy(logits[[i - 1 for i in learned]], ids[learned])
        loss.backward()
        (folder / "loss.json").write_text(json.dumps({"loss": loss.item()}) + "\n")
        gradients = {
            part.replace(".default.", "."): numbers.grad
            for part, numbers in model.named_parameters()
            if numbers.requires_grad
        }
        save_file(gradients, folder / "gradients.safetensors", metadata={"format": "pt"})
        print(f"{name}: loss {loss.item():.4f}, {len(gradients)} tensors")


if __name__ == "__main__":
    main()
