//! Files of the `gguf` package from PyPI: our reader says what its reader says, our writer writes what it writes.
#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests may fail as tests do.

use serde_json::{Value as Json, json};
use siskin::gguf::write::Builder;
use siskin::gguf::{Gguf, TensorInfo, Value};
use std::fmt::Write;

const EVERY_TYPE: (&[u8], &str) =
    (include_bytes!("../goldens/gguf/every_type.gguf"), include_str!("../goldens/gguf/every_type.json"));
const VERSION_2: (&[u8], &str) =
    (include_bytes!("../goldens/gguf/version2.gguf"), include_str!("../goldens/gguf/version2.json"));

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn value(value: Value<'_>) -> Json {
    match value {
        Value::F32(x) => json!(hex(&x.to_le_bytes())),
        Value::F64(x) => json!(hex(&x.to_le_bytes())),
        Value::Bool(x) => json!(x),
        Value::Str(x) => json!(hex(x)),
        Value::Array(x) => x.iter().map(self::value).collect(),
        Value::U64(x) => json!(x),
        integer => json!(i64::try_from(integer.as_integer().unwrap()).unwrap()),
    }
}

/// What `dump` in `make_gguf_goldens.py` says.
fn dump(file: &Gguf) -> Json {
    let metadata = file.metadata().map(|(key, found)| {
        json!({
            "key": key,
            "type": found.kind().id(),
            "element": found.as_array().map(|array| array.kind().id()),
            "value": value(found),
        })
    });
    let tensors = file.tensors().iter().map(|tensor| {
        json!({
            "name": tensor.name,
            "type": tensor.ty.id(),
            "shape": tensor.shape,
            "offset": tensor.offset,
            "bytes": tensor.bytes,
            "data": hex(file.data(tensor)),
        })
    });
    json!({
        "version": file.version(),
        "alignment": file.alignment(),
        "metadata": metadata.collect::<Json>(),
        "tensors": tensors.collect::<Json>(),
    })
}

#[test]
fn reads_as_the_reference_reader_does() {
    for (bytes, expected) in [EVERY_TYPE, VERSION_2] {
        let expected: Json = serde_json::from_str(expected).unwrap();
        assert_eq!(dump(&Gguf::from_static("golden", bytes).unwrap()), expected);
    }
}

#[test]
fn a_split_model_is_what_it_is_in_one_file() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/gguf");
    let whole = Gguf::from_static("golden", VERSION_2.0).unwrap();
    for number in [1, 2] {
        let split = Gguf::open(&folder.join(format!("split-0000{number}-of-00002.gguf"))).unwrap();
        assert!(split.metadata().eq(whole.metadata()));
        let contents = |file: &Gguf| -> Vec<_> {
            let of = |tensor: &TensorInfo| (tensor.name.clone(), tensor.ty, file.data(tensor).to_vec());
            file.tensors().iter().map(of).collect()
        };
        assert_eq!(contents(&split), contents(&whole));
        assert_eq!(split.tensors().iter().map(|tensor| tensor.shard).collect::<Vec<_>>(), [0, 1]);
    }
}

#[test]
fn finds_by_name_what_it_lists() {
    for (bytes, _) in [EVERY_TYPE, VERSION_2] {
        let file = Gguf::from_static("golden", bytes).unwrap();
        for (key, value) in file.metadata() {
            assert_eq!(file.get(key), Some(value), "{key}");
        }
        for tensor in file.tensors() {
            assert_eq!(file.tensor(&tensor.name), Some(tensor));
        }
        assert_eq!(file.get("scalar"), None);
        assert_eq!(file.tensor("zzz"), None);
    }
}

fn rewritten(file: &Gguf) -> Vec<u8> {
    let mut builder = Builder::new();
    for (key, value) in file.metadata() {
        builder.copy(key, value).unwrap();
    }
    for tensor in file.tensors() {
        builder.tensor(&tensor.name, &tensor.shape, tensor.ty).unwrap();
    }
    let file_len = builder.file_len().unwrap();
    let mut writer = builder.start(Vec::new()).unwrap();
    for tensor in file.tensors() {
        writer.tensor(&tensor.name, file.data(tensor)).unwrap();
    }
    let bytes = writer.finish().unwrap();
    assert_eq!(bytes.len() as u64, file_len);
    bytes
}

#[test]
fn writes_the_bytes_of_the_reference_writer() {
    let (bytes, _) = EVERY_TYPE;
    assert!(rewritten(&Gguf::from_static("golden", bytes).unwrap()) == bytes, "other bytes");

    // Versions 2 and 3 differ in nothing but their number, which the writer renews.
    let (bytes, _) = VERSION_2;
    let mut renewed = bytes.to_vec();
    renewed[4] = 3;
    assert!(rewritten(&Gguf::from_static("golden", bytes).unwrap()) == renewed, "other bytes");
}
