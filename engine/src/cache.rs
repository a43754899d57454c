use std::ops::Range;

use half::f16;

use crate::arena::{Buf, Chunks, OutOfMemory};
use crate::kernels::attention::{self, BLOCK, Context};

/// The numbers that keys and values are kept in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheType {
    /// Single precision.
    F32,
    /// IEEE half precision, the default: half the memory, and what most models were trained with or finer.
    #[default]
    F16,
}

impl CacheType {
    /// Bytes of one number.
    pub const fn bytes(self) -> usize {
        match self {
            CacheType::F32 => 4,
            CacheType::F16 => 2,
        }
    }
}

/// The keys and values of every layer for every position of a sequence.
///
/// The memory of one KV head of one layer is contiguous: its keys in panels of 16 positions, its values row by row
/// (see [`Context`]).
pub(crate) struct Cache {
    ty: CacheType,
    heads: usize,
    head_dim: usize,
    /// Bytes of one head's keys and values for the whole context.
    key_bytes: usize,
    value_bytes: usize,
    keys: Buf<u8>,
    values: Buf<u8>,
}

impl Cache {
    pub(crate) fn new(
        ty: CacheType,
        layers: usize,
        heads: usize,
        head_dim: usize,
        context: usize,
    ) -> Result<Self, OutOfMemory> {
        let positions = context.next_multiple_of(BLOCK);
        let key_bytes = positions * head_dim * ty.bytes();
        let value_bytes = positions * head_dim.next_multiple_of(16) * ty.bytes();
        Ok(Self {
            ty,
            heads,
            head_dim,
            key_bytes,
            value_bytes,
            keys: Buf::zeroed(layers.saturating_mul(heads).saturating_mul(key_bytes))?,
            values: Buf::zeroed(layers.saturating_mul(heads).saturating_mul(value_bytes))?,
        })
    }

    pub(crate) fn ty(&self) -> CacheType {
        self.ty
    }

    pub(crate) fn bytes(&self) -> usize {
        self.keys.len() + self.values.len()
    }

    /// One layer's keys and values, to be written head by head.
    pub(crate) fn layer(&mut self, layer: usize) -> (Chunks<'_, u8>, Chunks<'_, u8>) {
        let keys = &mut self.keys[heads(layer, self.heads, self.key_bytes)];
        let values = &mut self.values[heads(layer, self.heads, self.value_bytes)];
        (Chunks::new(keys, self.key_bytes), Chunks::new(values, self.value_bytes))
    }

    /// What queries of one layer and KV head see up to, and without, position `positions`.
    pub(crate) fn context(&self, layer: usize, head: usize, positions: usize, scale: f32) -> Context<'_> {
        let index = layer * self.heads + head;
        Context {
            keys: &self.keys[index * self.key_bytes..(index + 1) * self.key_bytes],
            values: &self.values[index * self.value_bytes..(index + 1) * self.value_bytes],
            positions,
            head_dim: self.head_dim,
            scale,
        }
    }
}

fn heads(layer: usize, heads: usize, bytes: usize) -> Range<usize> {
    layer * heads * bytes..(layer + 1) * heads * bytes
}

/// Writes one token's key and value into one head's part of the cache.
pub(crate) fn store(
    ty: CacheType,
    position: usize,
    key: &[f32],
    value: &[f32],
    keys: &mut [u8],
    values: &mut [u8],
) {
    match ty {
        CacheType::F32 => attention::store::<f32>(position, key, value, keys, values),
        CacheType::F16 => attention::store::<f16>(position, key, value, keys, values),
    }
}
