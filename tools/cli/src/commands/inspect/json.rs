use super::{Totals, type_name};
use serde_json::{Map, Number, Value as Json, json};
use siskin::gguf::{Gguf, TensorInfo, Value};

/// Everything the file says, in one object. Keys and tensors are lists in the order of the file.
pub(super) fn report(file: &Gguf, second: Option<&str>) -> Json {
    let totals = Totals::of(file.tensors());
    let types: Map<String, Json> = totals
        .types
        .iter()
        .map(|(name, (count, bytes))| (name.to_string(), json!({ "tensors": count, "bytes": bytes })))
        .collect();
    let mut report = json!({
        "file": file.name(),
        "version": file.version(),
        "alignment": file.alignment(),
        "bytes": file.file_len(),
        "metadata": file.metadata().map(|(key, value)| entry(key, value)).collect::<Vec<_>>(),
        "tensors": file.tensors().iter().map(|info| tensor(file, info)).collect::<Vec<_>>(),
        "totals": {
            "tensors": file.tensors().len(),
            "elements": totals.elements,
            "bytes": totals.bytes,
            "bits_per_weight": float(format!("{:.4}", totals.bits())),
            "types": types,
        },
        "readers": readers(second),
    });
    // A model in one file has nothing to tell.
    let files: Vec<_> = file.files().map(|path| path.display().to_string()).collect();
    if let Some(report) = report.as_object_mut().filter(|_| files.len() > 1) {
        report.insert("files".into(), files.into());
    }
    report
}

/// Whose word it is.
fn readers(second: Option<&str>) -> Json {
    match second {
        Some(second) => json!({ "siskin": "reads", "gguf-rs": second }),
        None => json!({ "siskin": "reads" }),
    }
}

fn entry(key: &str, value: Value<'_>) -> Json {
    let mut entry = json!({ "key": key, "type": value.kind().name(), "value": plain(value) });
    if let (Value::Array(array), Some(entry)) = (value, entry.as_object_mut()) {
        entry.insert("elements".into(), array.kind().name().into());
        entry.insert("length".into(), array.len().into());
    }
    entry
}

fn tensor(file: &Gguf, tensor: &TensorInfo) -> Json {
    let mut entry = json!({
        "name": tensor.name,
        "shape": tensor.shape,
        "type": type_name(tensor),
        "offset": tensor.offset,
        "bytes": tensor.bytes,
    });
    // Which of "files" has it.
    if let Some(entry) = entry.as_object_mut().filter(|_| file.files().nth(1).is_some()) {
        entry.insert("file".into(), tensor.shard.into());
    }
    entry
}

/// The value as JSON. Bytes that are not UTF-8 become U+FFFD; NaN and infinities, which JSON lacks, become strings.
fn plain(value: Value<'_>) -> Json {
    match value {
        Value::Bool(value) => value.into(),
        Value::Str(bytes) => String::from_utf8_lossy(bytes).into(),
        Value::F32(value) => float(format!("{value:?}")),
        Value::F64(value) => float(format!("{value:?}")),
        Value::U64(value) => value.into(),
        Value::Array(array) => array.iter().map(plain).collect(),
        integer => integer.as_integer().and_then(|integer| i64::try_from(integer).ok()).into(),
    }
}

/// A number in the shortest spelling that says which float it is.
fn float(spelling: String) -> Json {
    match spelling.parse::<Number>() {
        Ok(number) => number.into(),
        Err(_) => spelling.into(),
    }
}
