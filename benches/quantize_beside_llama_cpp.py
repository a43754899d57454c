#!/usr/bin/env python3
"""How long `siskin quantize` takes, beside llama.cpp: `benches/quantize_beside_llama_cpp.py MODEL-F16.gguf`.

Each type is written by both in turn, with the same threads, to a file that is removed before the next. The table has the
best time of each and their ratio. What is measured should have the machine to itself. Needs llama-cpp-python; make the model
with `siskin bench --shape llama-3.2-1b --type F16 --out FILE`.
"""

import argparse
import ctypes
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import llama_cpp

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
FILE_TYPES = {"Q4_0": 2, "Q8_0": 7, "Q3_K_M": 12, "Q4_K_M": 15, "Q5_K_M": 17, "Q6_K": 18, "IQ4_XS": 30}


def main():
    summary, _, rest = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(description=summary, epilog=rest)
    parser.add_argument("model")
    parser.add_argument("--types", nargs="+", default=["Q4_0", "Q8_0", "Q4_K_M"], choices=FILE_TYPES)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), metavar="N")
    parser.add_argument("--runs", type=int, default=1, metavar="N", help="of each program and type")
    parser.add_argument("--siskin", default=TARGET / "release" / "siskin", metavar="PROGRAM")
    parser.add_argument("--folder", default=None, metavar="FOLDER", help="where the files are written")
    arguments = parser.parse_args()
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    print("| type | Siskin, s | llama.cpp, s | ratio |\n|---|---|---|---|")
    for file_type in arguments.types:
        times = {ours: [], theirs: []}
        for _ in range(arguments.runs):
            for program in times:
                times[program].append(timed(program, arguments, file_type))
        best = [min(runs) for runs in times.values()]
        print(f"| {file_type} | {best[0]:.1f} | {best[1]:.1f} | {best[1] / best[0]:.2f} |", flush=True)


def timed(program, arguments, file_type):
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        output = os.path.join(folder, "out.gguf")
        start = time.perf_counter()
        program(arguments, file_type, output)
        return time.perf_counter() - start


def ours(arguments, file_type, output):
    command = [arguments.siskin, "quantize", arguments.model, output, "--type", file_type]
    subprocess.run([*command, "--threads", str(arguments.threads)], check=True, stdout=subprocess.DEVNULL)


def theirs(arguments, file_type, output):
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.nthread = arguments.threads
    parameters.ftype = FILE_TYPES[file_type]
    failed = llama_cpp.llama_model_quantize(arguments.model.encode(), output.encode(), ctypes.byref(parameters))
    if failed:
        sys.exit(f"llama.cpp cannot write {file_type}")
    # As Siskin does it: the file is on the disk.
    with open(output, "rb") as file:
        os.fsync(file.fileno())


@llama_cpp.llama_log_callback
def quiet(level, text, data):
    pass


if __name__ == "__main__":
    main()
