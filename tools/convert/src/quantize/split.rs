//! Models in several files, as llama.cpp's `gguf-split` writes them.

use super::mix::Choice;
use super::plan::{FilePlan, declare, stored_bytes};
use crate::model::Tensor;
use anyhow::{Result, bail};
use siskin::gguf::write::Builder;
use siskin::gguf::{
    ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAX_SHARDS, PACKED_VERSION, PACKED_VERSION_KEY, PANEL_ALIGNMENT,
    SPLIT_COUNT_KEY, SPLIT_NUMBER_KEY, SPLIT_TENSORS_KEY,
};

/// Divides tensors, in their order, among files of at most `most` bytes each, of which the first has the model's `keys`. As
/// `gguf-split` does, it has no tensors where there is no room for one beside these.
///
/// # Errors
/// Keys, or a tensor, larger than that; more files than a model may have.
pub(super) fn files<'a>(
    keys: &Builder,
    tensors: impl Iterator<Item = (&'a Tensor, Choice)>,
    pack: bool,
    most: u64,
) -> Result<Vec<FilePlan>> {
    let first = Shard::new(keys.clone(), pack)?;
    if first.len > most {
        bail!("--split: expected files of at least {} bytes, which the model's keys take", first.len);
    }
    let alignment = first.builder.alignment();
    let mut shards = vec![first];
    let mut count = 0usize;
    for (tensor, choice) in tensors {
        count += 1;
        let is_full = shards.last().is_none_or(|shard| shard.with(tensor, choice, pack) > most);
        if is_full {
            let mut next = Builder::new();
            if alignment != DEFAULT_ALIGNMENT {
                next.set(ALIGNMENT_KEY, alignment)?;
            }
            shards.push(Shard::new(next, pack)?);
        }
        let Some(shard) = shards.last_mut() else { continue };
        shard.len = shard.with(tensor, choice, pack);
        if shard.len > most {
            let (name, bytes) = (&tensor.name, shard.len);
            bail!("--split: expected files of at least {bytes} bytes, which tensor {name} takes");
        }
        declare(&mut shard.builder, tensor, choice, pack)?;
        shard.tensors += 1;
    }
    finish(shards, count)
}

/// Has each file say which it is.
fn finish(shards: Vec<Shard>, tensors: usize) -> Result<Vec<FilePlan>> {
    let count = shards.len();
    if count > MAX_SHARDS as usize {
        bail!("--split: expected larger files, of which there are at most {MAX_SHARDS}; these are {count}");
    }
    let (count, all) = (u16::try_from(count)?, i32::try_from(tensors)?);
    let finish = |(number, Shard { mut builder, tensors, .. }): (u16, Shard)| {
        builder.set(SPLIT_NUMBER_KEY, number)?.set(SPLIT_COUNT_KEY, count)?.set(SPLIT_TENSORS_KEY, all)?;
        let len = builder.file_len()?;
        Ok(FilePlan { builder, tensors, len })
    };
    (0..).zip(shards).map(finish).collect()
}

/// A file in the making.
struct Shard {
    builder: Builder,
    tensors: usize,
    /// Bytes that it will have, at most.
    len: u64,
}

impl Shard {
    fn new(mut builder: Builder, pack: bool) -> Result<Shard> {
        if pack && builder.alignment() < PANEL_ALIGNMENT {
            builder.set(ALIGNMENT_KEY, PANEL_ALIGNMENT)?;
        }
        let mut finished = builder.clone();
        if pack {
            finished.set(PACKED_VERSION_KEY, PACKED_VERSION)?;
        }
        finished.set(SPLIT_NUMBER_KEY, 0u16)?.set(SPLIT_COUNT_KEY, 0u16)?.set(SPLIT_TENSORS_KEY, 0i32)?;
        // Descriptions of tensors are padded together.
        let len = finished.file_len()? + u64::from(builder.alignment());
        Ok(Shard { builder, tensors: 0, len })
    }

    /// Bytes with another tensor.
    fn with(&self, tensor: &Tensor, choice: Choice, pack: bool) -> u64 {
        // Lengths of the name and of the shape, type, offset.
        let description = 8 + 4 + 4 + 8 + tensor.name.len() as u64 + 8 * tensor.shape.len() as u64;
        let data = stored_bytes(tensor, choice.ty, pack).next_multiple_of(self.builder.alignment().into());
        self.len + description + data
    }
}
