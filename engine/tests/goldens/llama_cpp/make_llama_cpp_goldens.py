#!/usr/bin/env python3
"""Quantize the tiny `kquant` checkpoint with llama.cpp and write what llama.cpp itself answers.

usage: make_llama_cpp_goldens.py [NAME...]      needs llama-cpp-python (made with 0.3.36), gguf (0.19) and numpy

For each name: NAME.gguf as llama.cpp's quantizer writes it, and NAME.npy, float32 [positions, vocabulary]: its logits for
the prompt in ../llama/kquant/ids.json.
"""

import ctypes
import json
import os
import sys
from pathlib import Path

import gguf
import llama_cpp
import numpy as np

HERE = Path(__file__).parent
SOURCE = HERE.parent / "llama" / "kquant.gguf"
TYPES = {
    "q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0,
    "q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
    "q2_k": llama_cpp.LLAMA_FTYPE_MOSTLY_Q2_K,
    "q3_k_m": llama_cpp.LLAMA_FTYPE_MOSTLY_Q3_K_M,
    "q4_k_m": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M,
    "q5_k_m": llama_cpp.LLAMA_FTYPE_MOSTLY_Q5_K_M,
    "iq4_nl": llama_cpp.LLAMA_FTYPE_MOSTLY_IQ4_NL,
    "iq4_xs": llama_cpp.LLAMA_FTYPE_MOSTLY_IQ4_XS,
}

# What llama.cpp's mixes use together with K-quants only, or for experts only: here each matrix has a type of its own.
MATRICES = "token_embd blk.0.attn_q blk.0.attn_k blk.0.attn_v blk.0.attn_output blk.0.ffn_gate blk.0.ffn_up blk.0.ffn_down".split()
BY_MATRIX = {
    "codebooks": "IQ3_S IQ2_XXS IQ2_XS IQ2_S IQ3_XXS IQ1_S IQ1_M IQ3_S".split(),
    "ternary_mxfp4": "MXFP4 TQ1_0 TQ2_0 MXFP4 MXFP4 TQ2_0 TQ1_0 MXFP4".split(),
}


def quantize(path, ftype):
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = ftype
    params.nthread = 1
    assert llama_cpp.llama_model_quantize(str(SOURCE).encode(), str(path).encode(), ctypes.byref(params)) == 0, path


def quantize_by_matrix(path, types):
    """The source with each matrix in its type by ggml's quantizer, every weight as important as the others."""
    ggml = ctypes.CDLL(os.path.join(os.path.dirname(llama_cpp.__file__), "lib", "libggml-base.so"))
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    ggml.ggml_quantize_chunk.argtypes = [ctypes.c_int, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 3, ctypes.c_void_p]
    reader = gguf.GGUFReader(SOURCE)
    writer = gguf.GGUFWriter(path, "llama")
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            kind = field.types[0]
            writer.add_key_value(field.name, field.contents(), kind, field.types[-1] if len(field.types) > 1 else None)
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if values.ndim == 1:
            writer.add_tensor(tensor.name, values)
            continue
        kind = gguf.GGMLQuantizationType[types[MATRICES.index(tensor.name.removesuffix(".weight"))]]
        length, size = gguf.GGML_QUANT_SIZES[kind]
        rows, columns = values.shape
        blocks = np.zeros((rows, columns // length * size), np.uint8)
        importance = np.ones(columns, np.float32)
        ggml.ggml_quantize_chunk(
            kind, values.ctypes.data, blocks.ctypes.data, 0, rows, columns, importance.ctypes.data
        )
        writer.add_tensor(tensor.name, blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def answer(name):
    ids = json.loads((HERE.parent / "llama" / "kquant" / "ids.json").read_text())
    path = str(HERE / f"{name}.gguf")
    model = llama_cpp.Llama(path, n_ctx=256, n_threads=1, logits_all=True, verbose=False, flash_attn=False)
    model.eval(ids)
    np.save(HERE / f"{name}.npy", np.array(model.scores[: len(ids)], dtype=np.float32))


for name in sys.argv[1:] or [*TYPES, *BY_MATRIX]:
    if name in TYPES:
        quantize(HERE / f"{name}.gguf", TYPES[name])
    else:
        quantize_by_matrix(HERE / f"{name}.gguf", BY_MATRIX[name])
    answer(name)
