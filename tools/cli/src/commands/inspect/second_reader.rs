use anyhow::{Result, anyhow, bail, ensure};
use gguf_rs::{ByteOrder, GGUFContainer, GGUFModel};
use serde_json::Value as Json;
use siskin::gguf::{Array, Gguf, Layout, TensorInfo, Value, ValueType};
use siskin_quant::TensorType;
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// What gguf-rs says about a file that our own reader accepts.
#[derive(Debug)]
pub(super) enum Second {
    /// It reads the same.
    Agrees,
    /// It was not asked: the file holds something that it is known not to read.
    NotAsked(String),
    /// It reads something else, or nothing.
    Differs(String),
}

impl fmt::Display for Second {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Second::Agrees => f.write_str("agrees"),
            Second::NotAsked(why) => write!(f, "not asked: {why}"),
            Second::Differs(how) => write!(f, "differs: {how}"),
        }
    }
}

/// Reads the file again with gguf-rs and compares. Only a file that passed our checks gets there: gguf-rs believes
/// what a file says of itself.
pub(super) fn compare(path: &Path, file: &Gguf) -> Second {
    if let Some(why) = unreadable(file) {
        return Second::NotAsked(why);
    }
    match read(path).and_then(|model| agree(file, &model)) {
        Ok(()) => Second::Agrees,
        Err(error) => Second::Differs(format!("{error:#}")),
    }
}

/// What gguf-rs 0.1.8 does not read: type 40 makes it panic, and it knows none after that; arrays in arrays are an
/// error; text that is not UTF-8 is changed.
fn unreadable(file: &Gguf) -> Option<String> {
    if file.files().count() > 1 {
        return Some("it is in several files".into());
    }
    if let Some(tensor) = file.tensors().iter().find(|tensor| tensor.layout == Layout::Panels) {
        return Some(format!("tensor {} is packed", tensor.name));
    }
    if let Some(tensor) = file.tensors().iter().find(|tensor| tensor.ty.id() >= TensorType::NVFP4.id()) {
        return Some(format!("tensor {} is of type {}", tensor.name, tensor.ty));
    }
    file.metadata().find_map(|(key, value)| match value {
        Value::Array(array) if array.kind() == ValueType::Array => {
            Some(format!("{key} is an array of arrays"))
        }
        Value::Array(array) if array.iter().any(|element| !is_text(&element)) => Some(not_text(key)),
        ref value if !is_text(value) => Some(not_text(key)),
        _ => None,
    })
}

fn not_text(key: &str) -> String {
    format!("{key} is not all UTF-8")
}

fn is_text(value: &Value<'_>) -> bool {
    value.as_bytes().is_none_or(|bytes| str::from_utf8(bytes).is_ok())
}

fn read(path: &Path) -> Result<GGUFModel> {
    let mut reader = BufReader::new(File::open(path)?);
    // The container begins after the magic, which our reader has seen.
    reader.read_exact(&mut [0; 4])?;
    GGUFContainer::new(ByteOrder::LE, Box::new(reader), u64::MAX).decode()
}

fn agree(file: &Gguf, model: &GGUFModel) -> Result<()> {
    let version = format!("v{}", file.version());
    ensure!(model.get_version() == version, "version {}, not {version}", model.get_version());
    ensure!(model.alignment() == file.alignment(), "alignment {}", model.alignment());
    let keys = file.metadata().count();
    ensure!(model.metadata().len() == keys, "{} keys, not {keys}", model.metadata().len());
    for (key, value) in file.metadata() {
        let theirs = model.metadata().get(key).ok_or_else(|| anyhow!("no key {key}"))?;
        ensure!(same(value, theirs), "another value of {key}");
    }
    let theirs: HashMap<&str, _> =
        model.tensors().iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    ensure!(theirs.len() == file.tensors().len(), "{} tensors, not {}", theirs.len(), file.tensors().len());
    for tensor in file.tensors() {
        let name = tensor.name.as_str();
        let Some(theirs) = theirs.get(name) else { bail!("no tensor {name}") };
        ensure!(theirs.kind == tensor.ty.id(), "tensor {name} of type {}", theirs.kind);
        ensure!(theirs.shape == tensor.shape, "tensor {name} of shape {:?}", theirs.shape);
        let offset = model.data_offset().checked_add(theirs.offset);
        ensure!(offset == Some(tensor.offset), "tensor {name} at another offset");
        ensure!(!counts(tensor) || theirs.size == tensor.bytes, "tensor {name} of {} bytes", theirs.size);
    }
    Ok(())
}

/// Whether gguf-rs counts the bytes of a tensor correctly. Of most types without superblocks of 256 it does not.
fn counts(tensor: &TensorInfo) -> bool {
    use TensorType::*;
    let small = matches!(tensor.ty, F32 | F16 | Q4_0 | Q4_1 | Q5_0 | Q5_1 | Q8_0);
    small || matches!(tensor.ty, Q2_K | Q3_K | Q4_K | Q5_K | Q6_K)
}

fn same(ours: Value<'_>, theirs: &Json) -> bool {
    match ours {
        Value::Bool(value) => theirs.as_bool() == Some(value),
        Value::Str(value) => theirs.as_str().map(str::as_bytes) == Some(value),
        // JSON has no NaN and no infinity; gguf-rs makes them null.
        Value::F32(value) => same_float(value.into(), theirs, |theirs| f64::from(theirs as f32)),
        Value::F64(value) => same_float(value, theirs, |theirs| theirs),
        Value::Array(array) => theirs.as_array().is_some_and(|theirs| same_array(array, theirs)),
        integer => {
            integer.as_integer() == theirs.as_i64().map(i128::from).or(theirs.as_u64().map(i128::from))
        }
    }
}

fn same_float(ours: f64, theirs: &Json, round: impl Fn(f64) -> f64) -> bool {
    match theirs.as_f64() {
        Some(theirs) => round(theirs).to_bits() == ours.to_bits(),
        None => theirs.is_null() && !ours.is_finite(),
    }
}

fn same_array(ours: Array<'_>, theirs: &[Json]) -> bool {
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| same(ours, theirs))
}
