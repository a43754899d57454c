#!/usr/bin/env python3
"""Quantize the tiny `kquant` checkpoint with llama.cpp and write what llama.cpp itself answers.

usage: make_llama_cpp_goldens.py      needs llama-cpp-python (made with 0.3.36) and numpy

For each type: TYPE.gguf as llama.cpp's quantizer writes it, and TYPE.npy, float32 [positions, vocabulary]: its logits for
the prompt in ../llama/kquant/ids.json.
"""

import ctypes
import json
from pathlib import Path

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

ids = json.loads((HERE.parent / "llama" / "kquant" / "ids.json").read_text())
for name, ftype in TYPES.items():
    path = HERE / f"{name}.gguf"
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = ftype
    params.nthread = 1
    status = llama_cpp.llama_model_quantize(str(SOURCE).encode(), str(path).encode(), ctypes.byref(params))
    assert status == 0, name
    model = llama_cpp.Llama(str(path), n_ctx=256, n_threads=1, logits_all=True, verbose=False, flash_attn=False)
    model.eval(ids)
    np.save(HERE / f"{name}.npy", np.array(model.scores[: len(ids)], dtype=np.float32))
