#!/usr/bin/env python3
"""Compare Siskin's tokens with Hugging Face's, on the vocabularies of published models that llama.cpp's source brings.

usage: compare_vocabularies.py SISKIN LLAMA_CPP [NAME...]

SISKIN is the program, LLAMA_CPP the source as llama-cpp-python 0.3.36 has it in vendor/llama.cpp. Its folder `models` has
vocabularies (ggml-vocab-NAME.gguf) that are too large to be kept here, with texts (.inp) and what transformers makes of
them (.out). Exits with 1 if any text becomes other tokens.
"""

import subprocess
import sys
from pathlib import Path

NAMES = ["command-r", "gpt-2", "llama-bpe", "llama-spm", "mpt", "phi-3", "qwen2", "refact", "starcoder"]


def compare(siskin, models, name):
    file = models / f"ggml-vocab-{name}.gguf"
    texts = Path(f"{file}.inp").read_text(encoding="utf-8").split("\n__ggml_vocab_test__\n")[:-1]
    expected = Path(f"{file}.out").read_text().split("\n")[: len(texts)]
    same = 0
    for text, tokens in zip(texts, expected, strict=True):
        run = [siskin, "tokenize", file, "--ids", "--no-bos"]
        found = subprocess.run(run, input=text.encode(), capture_output=True, check=True).stdout.decode()
        if found.strip().replace(",", " ").split() == tokens.split():
            same += 1
        else:
            print(f"{name}, {text!r}:\n  found    {found.strip()}\n  expected {','.join(tokens.split())}")
    print(f"{name}: {same} of {len(texts)}")
    return same == len(texts)


siskin, llama_cpp, *names = sys.argv[1:]
results = [compare(siskin, Path(llama_cpp) / "models", name) for name in names or NAMES]
sys.exit(not all(results))
