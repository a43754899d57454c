use std::fmt;
use std::ops::Range;

use crate::arena::{Arena, Buf, Chunks, OutOfMemory};
pub use crate::kernels::attention::CacheType;
use crate::kernels::attention::{BLOCK, WIDTH};

/// What keys and values are kept in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheTypes {
    /// The keys' type.
    pub keys: CacheType,
    /// The values' type.
    pub values: CacheType,
}

impl fmt::Display for CacheTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |ty| match ty {
            CacheType::F32 => "f32",
            CacheType::F16 => "f16",
            CacheType::Q8_0 => "q8_0",
        };
        match self.keys == self.values {
            true => write!(f, "{}", name(self.keys)),
            false => write!(f, "{} and {}", name(self.keys), name(self.values)),
        }
    }
}

impl From<CacheType> for CacheTypes {
    /// The same for both.
    fn from(ty: CacheType) -> Self {
        Self { keys: ty, values: ty }
    }
}

/// The keys and values of every layer, in slots that sequences' positions are given: pages of them, see
/// [`Run::slot`](crate::runs::Run::slot).
pub(crate) struct Cache {
    types: CacheTypes,
    keys: Half,
    values: Half,
}

impl Cache {
    pub(crate) fn new(
        arena: &mut Arena,
        types: CacheTypes,
        layers: usize,
        heads: usize,
        head_dim: usize,
        slots: usize,
    ) -> Result<Self, OutOfMemory> {
        let mut half = |ty| Half::new(arena, ty, layers, heads, head_dim, slots);
        Ok(Self { types, keys: half(types.keys)?, values: half(types.values)? })
    }

    pub(crate) fn types(&self) -> CacheTypes {
        self.types
    }

    /// Keys and values of one layer and KV head: those in the slots, and what lies in the same panels.
    pub(crate) fn parts_mut(&mut self, layer: usize, head: usize, slots: Range<usize>) -> [&mut [u8]; 2] {
        [&mut self.keys, &mut self.values].map(|half| half.panels_mut(layer, head, slots.clone()))
    }

    /// Copies what is in `count` slots, a multiple of 16 as the slots' numbers are.
    pub(crate) fn copy(&mut self, from: usize, to: usize, count: usize) {
        self.keys.copy(from, to, count);
        self.values.copy(from, to, count);
    }

    /// One layer's keys and values, to be written head by head with [`CacheTypes::store`].
    pub(crate) fn layer(&mut self, layer: usize) -> (Chunks<'_, u8>, Chunks<'_, u8>) {
        (self.keys.layer(layer), self.values.layer(layer))
    }

    /// Keys of one layer and KV head: those in the slots, and what lies in the same panels.
    pub(crate) fn keys(&self, layer: usize, head: usize, slots: Range<usize>) -> &[u8] {
        self.keys.panels(layer, head, slots)
    }

    /// Values, as [`Cache::keys`].
    pub(crate) fn values(&self, layer: usize, head: usize, slots: Range<usize>) -> &[u8] {
        self.values.panels(layer, head, slots)
    }
}

/// The keys, or the values: `[layer][head][slot / 16][number / WIDTH]` blocks.
struct Half {
    heads: usize,
    panel_bytes: usize,
    /// Of one head, for all slots.
    head_bytes: usize,
    bytes: Buf<u8>,
}

impl Half {
    fn new(
        arena: &mut Arena,
        ty: CacheType,
        layers: usize,
        heads: usize,
        head_dim: usize,
        slots: usize,
    ) -> Result<Self, OutOfMemory> {
        let panel_bytes = head_dim.div_ceil(WIDTH) * ty.block_bytes();
        let head_bytes = (slots.next_multiple_of(BLOCK) / 16).saturating_mul(panel_bytes);
        let bytes = arena.buf(layers.saturating_mul(heads).saturating_mul(head_bytes))?;
        Ok(Self { heads, panel_bytes, head_bytes, bytes })
    }

    fn layer(&mut self, layer: usize) -> Chunks<'_, u8> {
        let bytes = self.heads * self.head_bytes;
        Chunks::new(&mut self.bytes[layer * bytes..(layer + 1) * bytes], self.head_bytes)
    }

    fn copy(&mut self, from: usize, to: usize, count: usize) {
        let [from, to, count] = [from, to, count].map(|slots| slots / 16 * self.panel_bytes);
        for head in self.bytes.chunks_exact_mut(self.head_bytes.max(1)) {
            head.copy_within(from..from + count, to);
        }
    }

    /// Where the slots' panels are, an even number of them, as the kernels want them.
    fn place(&self, layer: usize, head: usize, slots: Range<usize>) -> Range<usize> {
        let from = (layer * self.heads + head) * self.head_bytes + slots.start / 16 * self.panel_bytes;
        from..from + slots.len().div_ceil(32) * 2 * self.panel_bytes
    }

    fn panels(&self, layer: usize, head: usize, slots: Range<usize>) -> &[u8] {
        &self.bytes[self.place(layer, head, slots)]
    }

    fn panels_mut(&mut self, layer: usize, head: usize, slots: Range<usize>) -> &mut [u8] {
        let place = self.place(layer, head, slots);
        &mut self.bytes[place]
    }
}

impl CacheTypes {
    /// Writes one token's key and value into a slot of one head's part of the cache.
    pub(crate) fn store(
        self,
        slot: usize,
        key: &[f32],
        value: &[f32],
        (keys, values): (&mut [u8], &mut [u8]),
    ) {
        self.keys.store_key(slot, key, keys);
        self.values.store_value(slot, value, values);
    }

    /// Moves one token's key and value to another slot of the same head; the key becomes what `turn` makes of it.
    /// `numbers` has room for those of a head.
    pub(crate) fn relocate(
        self,
        from: usize,
        to: usize,
        numbers: &mut [f32],
        turn: impl FnOnce(&mut [f32]),
        (keys, values): (&mut [u8], &mut [u8]),
    ) {
        self.keys.load_key(from, numbers, keys);
        turn(numbers);
        self.keys.store_key(to, numbers, keys);
        self.values.load_value(from, numbers, values);
        self.values.store_value(to, numbers, values);
    }
}
