"""Makes all-kinds.gguf, a file with every kind of value and many types of tensor, and a JSON file beside it and for
two of the engine's tiny models, with what the `gguf` package from PyPI (0.19.0) reads in them.

    python make_inspect_goldens.py
"""

import json
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import quant_shape_to_byte_shape

HERE = Path(__file__).parent
MODELS = HERE / "../../../../../engine/tests/goldens/llama"
NAMES = {
    GGUFValueType.UINT8: "u8",
    GGUFValueType.INT8: "i8",
    GGUFValueType.UINT16: "u16",
    GGUFValueType.INT16: "i16",
    GGUFValueType.UINT32: "u32",
    GGUFValueType.INT32: "i32",
    GGUFValueType.UINT64: "u64",
    GGUFValueType.INT64: "i64",
    GGUFValueType.FLOAT32: "f32",
    GGUFValueType.FLOAT64: "f64",
    GGUFValueType.BOOL: "bool",
    GGUFValueType.STRING: "string",
    GGUFValueType.ARRAY: "array",
}


def make_all_kinds(path):
    w = GGUFWriter(path, "test")
    w.add_custom_alignment(64)
    w.add_uint8("kind.u8", 255)
    w.add_int8("kind.i8", -128)
    w.add_uint16("kind.u16", 65535)
    w.add_int16("kind.i16", -32768)
    w.add_uint32("kind.u32", 2**32 - 1)
    w.add_int32("kind.i32", -(2**31))
    w.add_uint64("kind.u64", 2**64 - 1)
    w.add_int64("kind.i64", -(2**63))
    w.add_float32("kind.f32", 0.1)
    w.add_float64("kind.f64", 0.1)
    w.add_float32("kind.tiny", 1e-45)
    w.add_bool("kind.bool", True)
    w.add_string("kind.string", "Zeisig \u2014 \U0001f426\n")
    w.add_array("kind.strings", ["a", "", "\u010a"])
    w.add_array("kind.floats", [0.1, -2.5e30, 3.0])
    w.add_array("kind.integers", [-1, 0, 2147483647])
    w.add_array("kind.bools", [True, False])
    rng = np.random.Generator(np.random.PCG64(1))
    for ty in GGMLQuantizationType:
        # gguf-rs knows no type after 39; the package has another size for Q8_1 than ggml, which never stores it.
        if ty.value >= 40 or ty.name == "Q8_1":
            continue
        shape = quant_shape_to_byte_shape((2, 256), ty)
        data = rng.integers(0, 256, shape, dtype=np.uint8)
        w.add_tensor(f"of.{ty.name}", data, raw_shape=data.shape, raw_dtype=ty)
    w.add_tensor("deep", np.zeros((2, 3, 4, 5), np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def report(path):
    reader = GGUFReader(path)
    metadata = []
    for field in reader.fields.values():
        if field.name.startswith("GGUF."):
            continue
        entry = {"key": field.name, "type": NAMES[field.types[0]], "value": field.contents()}
        if field.types[0] == GGUFValueType.ARRAY:
            entry["elements"] = NAMES[field.types[1]]
        metadata.append(entry)
    tensors = [
        {
            "name": t.name,
            "shape": [int(n) for n in t.shape],
            "type": t.tensor_type.name,
            "offset": int(t.data_offset),
            "bytes": int(t.n_bytes),
        }
        for t in reader.tensors
    ]
    return {"metadata": metadata, "tensors": tensors}


def main():
    make_all_kinds(HERE / "all-kinds.gguf")
    files = [HERE / "all-kinds.gguf", MODELS / "gqa.gguf", MODELS / "head-dim.gguf"]
    for path in files:
        text = json.dumps(report(path), indent=None, default=lambda x: x.item())
        (HERE / f"{path.stem}.json").write_text(text + "\n")


main()
