use super::document::{Document, kind};
use super::tensor::FileBytes;
use anyhow::{Context, Result, anyhow, bail};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde_json::Value;
use siskin::gguf::foreign;
use siskin_quant::TensorType;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longest header the format's own library accepts, in bytes.
const MAX_HEADER: u64 = 100_000_000;
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The weights of a Hugging Face folder: every tensor of its one file or of all its shards, by name.
#[derive(Debug)]
pub(crate) struct Weights {
    /// Each tensor, in the order of the names.
    pub(crate) tensors: BTreeMap<String, Stored>,
    /// The files they lie in.
    pub(crate) files: Vec<PathBuf>,
}

/// Where a tensor lies.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// Sizes as PyTorch orders them: the row length is last.
    pub(crate) shape: Vec<u64>,
    /// What the file calls the element type.
    pub(crate) dtype: Dtype,
    /// Its bytes, little-endian.
    pub(crate) bytes: FileBytes,
}

impl Weights {
    /// Reads the headers of `model.safetensors`, or of the shards `model.safetensors.index.json` lists.
    pub(crate) fn open(folder: &Path) -> Result<Weights> {
        match Document::open_optional(folder, INDEX)? {
            Some(index) => Self::open_shards(folder, &index),
            None if folder.join(SINGLE).exists() => Self::of_file(folder, SINGLE),
            None => bail!("{}: found neither {SINGLE} nor {INDEX}", folder.display()),
        }
    }

    /// Reads the header of one file.
    pub(crate) fn of_file(folder: &Path, name: &str) -> Result<Weights> {
        let mut weights = Weights { tensors: BTreeMap::new(), files: Vec::new() };
        weights.add(folder, name)?;
        Ok(weights)
    }

    fn open_shards(folder: &Path, index: &Document<'_>) -> Result<Weights> {
        let map = index.get("weight_map").and_then(Value::as_object);
        let map =
            map.ok_or_else(|| anyhow!("{INDEX}: expected an object weight_map of tensor names and files"))?;
        let mut shards: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (tensor, shard) in map {
            let shard = shard.as_str().filter(|name| !name.contains('/') && *name != "..");
            let shard =
                shard.ok_or_else(|| anyhow!("{INDEX}: weight_map: {tensor}: expected the name of a file"))?;
            shards.entry(shard).or_default().push(tensor);
        }
        let mut weights = Weights { tensors: BTreeMap::new(), files: Vec::new() };
        for (shard, names) in shards {
            let before = weights.tensors.len();
            weights.add(folder, shard).with_context(|| format!("shard listed in {INDEX}"))?;
            if let Some(missing) = names.iter().find(|name| !weights.tensors.contains_key(**name)) {
                bail!("{shard}: tensor {missing}, which {INDEX} places there, is missing");
            }
            if weights.tensors.len() - before != names.len() {
                let extra = weights.tensors.keys().find(|name| !map.contains_key(*name));
                bail!("{shard}: tensor {} is not in {INDEX}", extra.map_or("", |name| name));
            }
        }
        Ok(weights)
    }

    fn add(&mut self, folder: &Path, name: &str) -> Result<()> {
        let path = folder.join(name);
        for (tensor, stored) in read_header(&path).with_context(|| path.display().to_string())? {
            if self.tensors.insert(tensor.clone(), stored).is_some() {
                bail!("{}: tensor {tensor} is in another shard already", path.display());
            }
        }
        self.files.push(path);
        Ok(())
    }
}

/// The type of GGUF that holds the same elements in the same bytes, of those that weights come in.
pub(crate) fn tensor_type(dtype: Dtype) -> Option<TensorType> {
    match dtype {
        Dtype::F32 => Some(TensorType::F32),
        Dtype::F16 => Some(TensorType::F16),
        Dtype::BF16 => Some(TensorType::BF16),
        _ => None,
    }
}

/// Every tensor of one safetensors file; nothing but its header is read.
fn read_header(path: &Path) -> Result<Vec<(String, Stored)>> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut start = Vec::new();
    (&file).take(4096).read_to_end(&mut start)?;
    let is_one = start.get(8..).is_some_and(|header| header.starts_with(b"{"));
    if let Some(found) = foreign(&start).filter(|_| !is_one) {
        bail!("expected a safetensors file, found {found}");
    }
    file.rewind()?;
    let mut size = [0; 8];
    file.read_exact(&mut size).context("too short for a safetensors header")?;
    let size = u64::from_le_bytes(size);
    if size > MAX_HEADER.min(len.saturating_sub(8)) {
        bail!("header of {size} bytes does not fit the file of {len} bytes");
    }
    let mut header = vec![0; usize::try_from(size)?];
    file.read_exact(&mut header).context("header")?;
    let mut tensors = parse_header(&header).context("header")?;
    let start = 8 + size;
    let end = start + tensors.last().map_or(0, |(_, info)| info.data_offsets.1 as u64);
    if end != len {
        bail!("the tensors end at byte {end}, the file at byte {len}");
    }
    let file = Arc::new(file);
    let path: Arc<Path> = path.into();
    Ok(tensors
        .drain(..)
        .map(|(name, info)| {
            let (from, to) = info.data_offsets;
            let bytes = FileBytes::new(&file, &path, start + from as u64, (to - from) as u64);
            (
                name,
                Stored {
                    shape: info.shape.iter().map(|&size| size as u64).collect(),
                    dtype: info.dtype,
                    bytes,
                },
            )
        })
        .collect())
}

/// The entries of a header in the order of their data, checked: no gap, no overlap, sizes that fit the shapes.
///
/// The crate reads headers through a flattened map, which serde_json's `arbitrary_precision` (turned on by gguf-rs)
/// breaks, and says what is wrong in the words of its own types; so headers are read here, and checked there.
fn parse_header(header: &[u8]) -> Result<Vec<(String, TensorInfo)>> {
    let header = match serde_json::from_slice(header)? {
        Value::Object(fields) => fields,
        other => bail!("expected an object, found {}", kind(&other)),
    };
    let mut tensors = Vec::with_capacity(header.len());
    for (name, entry) in header {
        if name == "__metadata__" {
            continue;
        }
        let info = entry_of(&Document::of(&format!("tensor {name}"), &entry)?)?;
        tensors.push((name, info));
    }
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    Metadata::new(None, tensors.clone())?;
    Ok(tensors)
}

fn entry_of(entry: &Document<'_>) -> Result<TensorInfo> {
    let name = entry.name();
    let missing = |key: &str| anyhow!("{name}: {key} is missing");
    let dtype = entry.str("dtype")?.ok_or_else(|| missing("dtype"))?;
    let known = serde_json::from_value(Value::from(dtype));
    let dtype = known.map_err(|_| anyhow!("{name}: dtype: there is no type {dtype:?}"))?;
    let numbers = |key: &str| -> Result<Vec<usize>> {
        let values = entry.array(key)?.ok_or_else(|| missing(key))?;
        let number = |value: &Value| {
            let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
            number.ok_or_else(|| anyhow!("{name}: {key}: expected whole numbers, found {}", kind(value)))
        };
        values.iter().map(number).collect()
    };
    let shape = numbers("shape")?;
    let [from, to] = *numbers("data_offsets")? else {
        bail!("{name}: data_offsets: expected two numbers");
    };
    Ok(TensorInfo { dtype, shape, data_offsets: (from, to) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_in_words_of_the_format() {
        for (header, expected) in [
            ("[]", "expected an object, found an array"),
            (r#"{"a": 3}"#, "tensor a: expected an object, found 3"),
            (r#"{"a": {"shape": [1], "data_offsets": [0, 4]}}"#, "tensor a: dtype is missing"),
            (
                r#"{"a": {"dtype": "F33", "shape": [1], "data_offsets": [0, 4]}}"#,
                "tensor a: dtype: there is no type \"F33\"",
            ),
            (
                r#"{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}"#,
                "tensor a: shape: expected whole numbers, found -1",
            ),
            (
                r#"{"a": {"dtype": "F32", "shape": 1, "data_offsets": [0, 4]}}"#,
                "tensor a: shape: expected an array, found 1",
            ),
            (
                r#"{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4]}}"#,
                "tensor a: data_offsets: expected two numbers",
            ),
        ] {
            assert_eq!(error(header), expected);
        }
    }

    fn error(header: &str) -> String {
        format!("{:#}", parse_header(header.as_bytes()).unwrap_err())
    }

    #[test]
    fn entries_come_in_the_order_of_their_data() {
        let header = br#"{"__metadata__":{"format":"pt"},
            "a":{"dtype":"BF16","shape":[2,2],"data_offsets":[8,16]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let tensors = parse_header(header).unwrap();
        let names: Vec<_> = tensors.iter().map(|(name, info)| (name.as_str(), info.dtype)).collect();
        assert_eq!(names, [("b", Dtype::F32), ("a", Dtype::BF16)]);
    }

    #[test]
    fn gaps_wrong_sizes_and_unknown_types_are_errors() {
        assert!(error(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#).contains('a'));
        let shape = error(r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#);
        assert!(shape.contains("shape"), "{shape}");
        assert!(
            error(r#"{"layer":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}}"#).contains("tensor layer")
        );
        assert!(
            error(r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}"#)
                .contains("verflow")
        );
        assert!(error("[]").contains("expected an object"));
    }
}
