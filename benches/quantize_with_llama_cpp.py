"""Quantizes a GGUF file with llama.cpp: quantize_with_llama_cpp.py IN OUT TYPE [IMATRIX]; run in the environment of
`benches/peers`. An importance matrix is a file as `siskin imatrix` and llama.cpp's write it."""

import ctypes
import sys

import gguf
import llama_cpp
import numpy as np


def main():
    source, output, file_type, *imatrix = sys.argv[1:]
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{file_type}")
    if imatrix:
        columns = read_imatrix(*imatrix)
        entries = (llama_cpp.llama_model_imatrix_data * (len(columns) + 1))()
        for entry, (name, weights) in zip(entries, columns.items()):
            pointer = weights.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            entry.name, entry.data, entry.size = name.encode(), pointer, len(weights)
        parameters.imatrix = entries
    if llama_cpp.llama_model_quantize(source.encode(), output.encode(), ctypes.byref(parameters)):
        sys.exit(f"llama.cpp cannot write {file_type}")


def read_imatrix(path):
    """For each matrix the mean squares of its columns' activations."""
    tensors = {tensor.name: tensor.data.ravel() for tensor in gguf.GGUFReader(path).tensors}
    sums = {name.removesuffix(".in_sum2"): x for name, x in tensors.items() if name.endswith(".in_sum2")}
    return {name: np.ascontiguousarray(x / tensors[f"{name}.counts"][0], "float32") for name, x in sums.items()}


@llama_cpp.llama_log_callback
def quiet(_level, _text, _data):
    pass


if __name__ == "__main__":
    main()
