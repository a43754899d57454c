use super::families::Family;
use super::tensor::{RowOrder, Source, Tensor};
use super::{Model, Shape, queries_per_value};
use anyhow::{Context, Result, bail};
use siskin::gguf::write::Builder;
use siskin::gguf::{Gguf, SPLIT_KEYS};
use std::path::Path;
use std::sync::Arc;

/// Reads a GGUF file; its metadata is copied as it stands.
pub(super) fn open(path: &Path) -> Result<Model> {
    let file = Arc::new(Gguf::open(path)?);
    let shape = check(&file).with_context(|| path.display().to_string())?;
    let mut builder = Builder::new();
    for (key, value) in file.metadata().filter(|(key, _)| !key.starts_with(SPLIT_KEYS)) {
        builder.copy(key, value).with_context(|| path.display().to_string())?;
    }
    let tensor = |(index, info): (usize, &siskin::gguf::TensorInfo)| Tensor {
        name: info.name.clone(),
        shape: info.shape.clone(),
        ty: info.ty,
        source: Source::Gguf(Arc::clone(&file), index),
        order: RowOrder::Same,
    };
    let tensors = file.tensors().iter().enumerate().map(tensor).collect();
    Ok(Model { builder, tensors, shape, inputs: vec![path.into()], mapped: Some(file) })
}

fn check(file: &Gguf) -> Result<Shape> {
    file.check_is_model()?;
    let architecture = file.require_str("general.architecture")?;
    Family::check_architecture(architecture)?;
    let key = |name: &str| format!("{architecture}.{name}");
    let experts = file.u32(&key("expert_count"))?.unwrap_or(0);
    if experts > 0 && !Family::has_experts(architecture) {
        bail!("{}: {architecture} models of {experts} experts are not supported", key("expert_count"));
    }
    if file.is_packed() {
        bail!("the file is packed: quantize the original, or what `siskin pack --unpack` makes of this");
    }
    let heads = file.u32(&key("attention.head_count"))?;
    let kv_heads = most(file, &key("attention.head_count_kv"))?;
    Ok(Shape {
        blocks: file.require_u32(&key("block_count"))?,
        queries_per_value: queries_per_value(heads, kv_heads),
        used_experts: file.u32(&key("expert_used_count"))?.unwrap_or(0),
    })
}

/// The number at `key`, or the largest of the numbers there: some models have another one for each block.
fn most(file: &Gguf, key: &str) -> Result<Option<u32>> {
    match file.get(key).and_then(|value| value.as_array()) {
        Some(each) => Ok(each.iter().filter_map(|value| value.as_u32()).max()),
        None => Ok(file.u32(key)?),
    }
}
