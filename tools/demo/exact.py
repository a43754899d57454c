#!/usr/bin/env python3
"""Count the answers of a model that equal the wanted ones exactly.

usage: exact.py SISKIN TYPE...      SISKIN is the program; TYPE as `siskin quantize` takes it, for a file of the checkpoint
"""

import json
import pathlib
import subprocess
import sys
import tempfile

here = pathlib.Path(__file__).parent
siskin, types = sys.argv[1], sys.argv[2:]
rows = [json.loads(line) for line in (here / "eval-base.jsonl").read_text().splitlines()]
for name in types:
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/model.gguf"
        subprocess.run([siskin, "quantize", here / "siskin-demo", file, "--type", name], check=True, capture_output=True)
        score = {}
        for row in rows:
            run = [siskin, "run", file, "--quiet", "-p", row["prompt"]]
            answer = subprocess.run(run, check=True, capture_output=True, text=True).stdout
            right, of = score.get(row["task"], (0, 0))
            score[row["task"]] = (right + (answer == row["answer"] + "\n"), of + 1)
        print(name, ", ".join(f"{task} {right} of {of}" for task, (right, of) in score.items()))
