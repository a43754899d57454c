#!/usr/bin/env python3
"""Compose text.txt, the text that `siskin imatrix` reads where none is named: run it in this folder.

All parts are this project's own: prose.txt, sentences of the demo model's generated conversations, documentation, and
code. They are mixed in pieces, so that a part of the text is as mixed as the whole.
"""

import os, random, re, sys

sys.path.insert(0, "../../demo/make")
import assistant_data as data

ROOT = "../../.."
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "docs/architecture.md", "targets/README.md", "benches/README.md"]
CODE = [
    "engine/src/sequences/session.rs",
    "engine/src/text/tokenizer/merge.rs",
    "quant/src/legacy/mod.rs",
    "engine/src/answer/stop.rs",
    "tools/cli/src/commands/logits/npy.rs",
    "tools/convert/src/model/tensor.rs",
    "tools/demo/make/train.py",
    "engine/tests/goldens/llama/make_llama_goldens.py",
    "Cargo.toml",
]
PIECE = 1500


def pieces(text):
    """Paragraphs, gathered until they are long enough."""
    piece = ""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        piece += paragraph.rstrip() + "\n\n"
        if len(piece) > PIECE:
            yield piece
            piece = ""
    if piece:
        yield piece


def conversations(rng, count):
    for _ in range(count):
        asked, answered = data.base(rng, [("fox", "Once there was a fox who could not tell a lie, and so nobody believed him.")])
        yield f"User: {asked}\nAssistant: {answered}\n\n"


def main():
    rng = random.Random(20)
    read = lambda name: open(os.path.join(ROOT, name), encoding="utf-8").read()
    mixed = list(pieces(open("prose.txt", encoding="utf-8").read()))
    for name in DOCUMENTS + CODE:
        mixed += pieces(read(name))
    turns = list(conversations(rng, 260))
    mixed += ["".join(turns[i : i + 8]) for i in range(0, len(turns), 8)]
    rng.shuffle(mixed)
    open("text.txt", "w", encoding="utf-8").write("".join(mixed).rstrip() + "\n")


if __name__ == "__main__":
    main()
