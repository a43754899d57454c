"""Writes every_type.gguf and version2.gguf with the PyPI package `gguf`, and what its reader says of them as JSON; and the
model of version2.gguf in two files, split-00001-of-00002.gguf and split-00002-of-00002.gguf.

Run in this folder: python make_gguf_goldens.py
"""

import json

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Tensor
from gguf import GGUFValueType as Value

SCALARS = [
    ("u8", 255, Value.UINT8),
    ("i8", -128, Value.INT8),
    ("u16", 65535, Value.UINT16),
    ("i16", -32768, Value.INT16),
    ("u32", 4294967295, Value.UINT32),
    ("i32", -2147483648, Value.INT32),
    ("u64", 18446744073709551615, Value.UINT64),
    ("i64", -9223372036854775808, Value.INT64),
    ("f32", 1e-5, Value.FLOAT32),
    ("f64", 0.1, Value.FLOAT64),
    ("true", True, Value.BOOL),
    ("false", False, Value.BOOL),
    ("text", "Stieglitz – ein Fink 🐦", Value.STRING),
    ("empty", "", Value.STRING),
]

ARRAYS = [
    ("u8", [0, 255], Value.UINT8),
    ("i8", [-128, 127], Value.INT8),
    ("u16", [0, 65535], Value.UINT16),
    ("i16", [-32768, 32767], Value.INT16),
    ("u32", [0, 4294967295], Value.UINT32),
    ("i32", [-2147483648, 2147483647], Value.INT32),
    ("u64", [0, 18446744073709551615], Value.UINT64),
    ("i64", [-9223372036854775808, 9223372036854775807], Value.INT64),
    ("f32", [-1000.0, 0.5, 3.4028234663852886e38], Value.FLOAT32),
    ("f64", [5e-324, 1.7976931348623157e308], Value.FLOAT64),
    ("bool", [True, False, True], Value.BOOL),
    ("string", ["<s>", "", "▁the", b"\xf0\x9f"], Value.STRING),
]

TENSORS = [
    ("token_embd.weight", (5, 64), Tensor.Q8_0),
    ("blk.0.attn_q.weight", (3, 32), Tensor.Q4_0),
    ("blk.0.ffn_up.weight", (2, 256), Tensor.Q4_K),
    ("blk.0.ffn_down.weight", (2, 3, 4, 32), Tensor.IQ4_NL),
    ("output_norm.weight", (7,), Tensor.F32),
    ("output.weight", (3, 5), Tensor.F16),
    ("output.bias", (3,), Tensor.BF16),
    ("ids", (2, 3), Tensor.I32),
]


def write(path, scalars, arrays, tensors, alignment, shard=0):
    writer = gguf.GGUFWriter(path, "llama", split_max_tensors=shard)
    if alignment is not None:
        writer.add_custom_alignment(alignment)
    for name, value, kind in scalars:
        writer.add_key_value(f"scalar.{name}", value, kind)
    for name, value, kind in arrays:
        writer.add_key_value(f"array.{name}", value, Value.ARRAY, sub_type=kind)
    random = np.random.default_rng(1)
    for name, shape, kind in tensors:
        block, size = gguf.GGML_QUANT_SIZES[kind]
        row = shape[-1] // block * size
        data = random.integers(0, 256, size=(*shape[:-1], row), dtype=np.uint8)
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def element(kind, part):
    """A value as JSON says it exactly: strings and floats as hexadecimal bytes, others as they are."""
    exact = kind not in (Value.STRING, Value.FLOAT32, Value.FLOAT64)
    return part.tolist()[0] if exact else part.tobytes().hex()


def dump(path):
    reader = gguf.GGUFReader(path)
    metadata = []
    for name, field in reader.fields.items():
        if name.startswith("GGUF."):
            continue
        kind, inner = field.types[0], field.types[-1]
        values = [element(inner, field.parts[index]) for index in field.data]
        metadata.append(
            {
                "key": name,
                "type": int(kind),
                "element": int(inner) if kind == Value.ARRAY else None,
                "value": values if kind == Value.ARRAY else values[0],
            }
        )
    tensors = [
        {
            "name": tensor.name,
            "type": int(tensor.tensor_type),
            "shape": tensor.shape.tolist(),
            "offset": int(tensor.data_offset),
            "bytes": int(tensor.n_bytes),
            "data": tensor.data.tobytes().hex(),
        }
        for tensor in reader.tensors
    ]
    return {
        "version": int(reader.fields["GGUF.version"].parts[0][0]),
        "alignment": int(reader.alignment),
        "metadata": metadata,
        "tensors": tensors,
    }


def main():
    write("split.gguf", SCALARS[:4], ARRAYS[-1:], TENSORS[:2], alignment=None, shard=1)
    write("every_type.gguf", SCALARS, ARRAYS, TENSORS, alignment=64)
    write("version2.gguf", SCALARS[:4], ARRAYS[-1:], TENSORS[:2], alignment=None)
    with open("version2.gguf", "r+b") as file:
        file.seek(4)
        file.write((2).to_bytes(4, "little"))
    for name in ["every_type", "version2"]:
        with open(f"{name}.json", "w") as file:
            json.dump(dump(f"{name}.gguf"), file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
