"""Makes the reference files beside this script: run it in their folder, with numpy, gguf (0.19) and llama-cpp-python
(0.3.36, for ggml's own library) installed. The outcome is the same each time.

types.csv          id,name,block_len,block_bytes of every type of ggml
<type>.blocks      random and extreme blocks, and
<type>.values      their values by gguf.quants.dequantize (F32, little-endian), which are ggml's
<type>.grid        the groups of a codebook, a signed byte for each weight
input.f32          values with ties, zeros, denormals and extremes, and
<type>.encoded     their blocks by gguf.quants.quantize
errors.csv         distribution,weighted,type,sum of squared errors after ggml_quantize_chunk

The rows behind errors.csv are made by arithmetic that every machine does alike, so that goldens.rs makes them again.
"""

import ctypes
import math
import os

import gguf
import llama_cpp
import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Type

LIBRARY = os.path.join(os.path.dirname(llama_cpp.__file__), "lib", "libggml-base.so")
QUANTIZED = "Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS".split()
CODEBOOKS = "IQ1_S IQ2_XXS IQ2_XS IQ2_S IQ3_XXS IQ3_S".split()
QUANTIZED += [*CODEBOOKS, "IQ1_M", "TQ1_0", "TQ2_0", "MXFP4"]
ENCODED = "F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0".split()
ROWS, COLUMNS = 16, 768
# Where a block holds F16 scales, as byte offsets.
SCALES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0],
    "IQ1_S": [0], "IQ1_M": [], "IQ2_XXS": [0], "IQ2_XS": [0], "IQ2_S": [0], "IQ3_XXS": [0], "IQ3_S": [0],
    "TQ1_0": [52], "TQ2_0": [64], "MXFP4": [],
}  # fmt: skip


def load_ggml():
    ggml = ctypes.CDLL(LIBRARY)
    ggml.ggml_type_name.restype = ctypes.c_char_p
    ggml.ggml_type_size.restype = ctypes.c_size_t
    ggml.ggml_blck_size.restype = ctypes.c_int64
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    ggml.ggml_quantize_chunk.argtypes = [ctypes.c_int] + [ctypes.c_void_p] * 2 + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
    return ggml


def make_types(ggml):
    with open("types.csv", "w") as out:
        for id in range(43):
            size, length = ggml.ggml_type_size(id), ggml.ggml_blck_size(id)
            if size == 0 or length == 0:
                continue  # removed from the format
            name = ggml.ggml_type_name(id).decode().upper()
            out.write(f"{id},{name},{length},{size}\n")
            # The gguf package knows no Q2_0 yet, and has ggml's old size of Q8_1, which no file uses.
            if name not in ("Q2_0", "Q8_1"):
                assert GGML_QUANT_SIZES[Type[name]] == (length, size), name


def make_decode(rng, ggml):
    halves = np.concatenate([np.arange(0, 1 << 16, 61), [0, 0x8000, 1, 0x3FF, 0x400, 0x7BFF, 0x7C00, 0xFC00, 0x7E00]])
    for name in ("F16", "BF16"):
        save(ggml, name, halves.astype(np.uint16).view(np.uint8))
    for name in QUANTIZED:
        length, size = GGML_QUANT_SIZES[Type[name]]
        count = 24 if length == 32 else 10
        blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
        blocks[-1] = 0
        blocks[-2] = 255
        for offset in SCALES[name]:
            scales = rng.normal(0, 0.01, count).astype(np.float16)
            # Largest, smallest, negative zero, and one.
            scales[-6:] = np.array([65504, 6e-8, -6e-8, -0.0, 1, -1])
            blocks[:, offset : offset + 2] = scales.view(np.uint8).reshape(-1, 2)
        if name == "IQ1_M":
            # The scale is cut into the high nibbles of four u16.
            scales = rng.normal(0, 0.01, count).astype(np.float16).view(np.uint16)
            for part in range(4):
                at = 49 + 2 * part
                blocks[:, at] = blocks[:, at] & 15 | (scales >> 4 * part & 15) << 4
        if name == "MXFP4":
            # Both denormal scales, the smallest normal one, one, the largest, and what is NaN elsewhere.
            blocks[-6:, 0] = [0, 1, 2, 127, 254, 255]
        save(ggml, name, blocks.ravel())


def save(ggml, name, blocks):
    blocks.tofile(f"{name}.blocks")
    with np.errstate(invalid="ignore", over="ignore"):
        values = gguf.dequantize(blocks.reshape(1, -1), Type[name]).astype("<f4").ravel()
    values.tofile(f"{name}.values")
    if name in QUANTIZED:
        same = np.empty_like(values)
        dequantize = getattr(ggml, f"dequantize_row_{name.lower().replace('_k', '_K')}")
        dequantize(*[ctypes.c_void_p(array.ctypes.data) for array in (blocks, same)], ctypes.c_int64(values.size))
        assert (values.view(np.uint32) == same.view(np.uint32)).all(), f"{name}: gguf and ggml differ"


def make_signs(rng, ggml):
    """Q1_0, which the gguf package has no values of: ggml's block_q1_0 is an f16 and 128 bits, the first one lowest."""
    blocks = rng.integers(0, 256, (10, 18), dtype=np.uint8)
    blocks[-1], blocks[-2] = 0, 255
    scales = rng.normal(0, 0.01, 10).astype(np.float16)
    scales[-6:] = np.array([65504, 6e-8, -6e-8, -0.0, 1, -1])
    blocks[:, :2] = scales.view(np.uint8).reshape(-1, 2)
    scales = scales.astype(np.float32)[:, None]
    values = np.where(np.unpackbits(blocks[:, 2:], axis=1, bitorder="little") == 1, scales, -scales)
    blocks.tofile("Q1_0.blocks")
    values.astype("<f4").tofile("Q1_0.values")
    same = np.empty_like(values)
    ggml.dequantize_row_q1_0(*[ctypes.c_void_p(array.ctypes.data) for array in (blocks, same)], ctypes.c_int64(values.size))
    assert (values.view(np.uint32) == same.view(np.uint32)).all(), "Q1_0: the definition and ggml differ"


def make_grids():
    for name in CODEBOOKS:
        grid = getattr(gguf.quants, name)
        grid.init_grid()
        grid.grid.astype(np.int8).tofile(f"{name}.grid")


def make_encode(rng):
    rows = [rng.normal(0, scale, 32) for scale in (1, 1, 0.02, 0.02, 100, 3e-5, 1e-6) for _ in range(4)]
    rows += [rng.uniform(-0.5, 1.5, 32), rng.uniform(0.5, 1.5, 32), rng.uniform(-9, -8, 32)]
    # Ties: of Q8_0 (the scale is 1), of Q4_0 and Q5_0, of Q4_1 and Q5_1, of F16 and BF16.
    rows += [np.append(np.arange(-15, 16) + 0.5, [127.0]), np.append(np.arange(31) / 2 - 7.5, [-8.0])]
    rows += [np.append(np.arange(31) - 15.5, [-16.0]), np.minimum(np.arange(32) / 2, 15.0), np.minimum(np.arange(32) + 0.5, 31.0)]
    rows += [(1 + (2 * np.arange(32) + 1) * 2.0**-11), 1 + (2 * np.arange(32) + 1) * 2.0**-8, (np.arange(32) - 15.5) * 2.0**-24]
    # The largest of two values that differ in sign only is the first.
    rows += [np.append([3.0, -3.0], rng.normal(0, 1, 30)), np.append([-3.0, 3.0], rng.normal(0, 1, 30))]
    # Zeros of either sign, constants, one value alone, the ends of F16, denormals of F32 beside a normal number.
    rows += [np.zeros(32), np.full(32, -0.0), np.full(32, 0.7), np.full(32, -0.7), np.append(np.zeros(31), [-2.5])]
    rows += [np.append(rng.uniform(-65504, 65504, 29), [65504, -65504, 65519]), np.append(rng.integers(-99, 99, 31) * 2.0**-149, [1.0])]
    values = np.array(rows).astype(np.float32)
    values.astype("<f4").tofile("input.f32")
    for name in ENCODED:
        gguf.quantize(values, Type[name]).view(np.uint8).tofile(f"{name}.encoded")


class Uniform:
    """Numbers in 0..1 from a linear congruential generator; `Uniform` in goldens.rs is the same."""

    def __init__(self, state):
        self.state = state

    def next(self):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        return (self.state >> 40) / (1 << 24)

    def normal(self):
        return sum(self.next() for _ in range(12)) - 6.0

    def student(self):
        x, a, b, c, d = (self.normal() for _ in range(5))
        return x / math.sqrt((((a * a + b * b) + c * c) + d * d) / 4.0)

    def lognormal(self):
        x = 1.0 + self.normal() / 64.0
        for _ in range(6):
            x *= x
        return x


def make_errors(ggml):
    random = Uniform(7)
    rows = {
        "gaussian": [0.02 * random.normal() for _ in range(ROWS * COLUMNS)],
        "student": [0.02 * random.student() for _ in range(ROWS * COLUMNS)],
        "uniform": [0.1 * random.next() - 0.05 for _ in range(ROWS * COLUMNS)],
    }
    importance = np.array([random.lognormal() for _ in range(COLUMNS)], np.float32)
    with open("errors.csv", "w") as out:
        for distribution, values in rows.items():
            values = np.array(values, np.float32).reshape(ROWS, COLUMNS)
            for weighted in (0, 1):
                for name in QUANTIZED:
                    error = squared_error(ggml, name, values, importance if weighted else None)
                    out.write(f"{distribution},{weighted},{name},{error:.9e}\n")


def squared_error(ggml, name, values, importance):
    """Of rows after ggml_quantize_chunk, each column's counted as often as its importance says."""
    length, size = GGML_QUANT_SIZES[Type[name]]
    blocks = np.zeros(values.size // length * size, np.uint8)
    weights = None if importance is None else importance.ctypes.data
    ggml.ggml_quantize_chunk(Type[name], values.ctypes.data, blocks.ctypes.data, 0, *values.shape, weights)
    errors = (gguf.dequantize(blocks, Type[name]).astype(np.float64).reshape(values.shape) - values) ** 2
    return np.sum(errors if importance is None else errors * importance)


def main():
    ggml = load_ggml()
    make_types(ggml)
    make_decode(np.random.default_rng(1), ggml)
    make_signs(np.random.default_rng(3), ggml)
    make_grids()
    make_encode(np.random.default_rng(2))
    make_errors(ggml)


if __name__ == "__main__":
    main()
