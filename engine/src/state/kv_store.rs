use std::fmt;
use std::io::{self, Read, Write};
use std::ops::Range;

use super::KeyShift;
use super::kv_cache::{AttentionSpec, Slots};
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

/// Slots that are saved together: panels of 16 are read in pairs.
pub(super) const SLOTS_SAVED: usize = 32;

/// The keys and values of some layers, in slots that sequences' positions are given: see [`Slots`].
pub(crate) struct KvStore {
    types: CacheTypes,
    layers: usize,
    head_dim: usize,
    keys: Half,
    values: Half,
}

impl KvStore {
    /// Room for so many slots in each of so many layers.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn new(
        arena: &mut Arena,
        spec: &AttentionSpec,
        types: CacheTypes,
        layers: usize,
        slots: usize,
    ) -> Result<Self, OutOfMemory> {
        let &AttentionSpec { kv_heads, head_dim, .. } = spec;
        let mut half = |ty| Half::new(arena, ty, layers, kv_heads, head_dim, slots);
        Ok(Self { types, layers, head_dim, keys: half(types.keys)?, values: half(types.values)? })
    }

    pub(crate) fn types(&self) -> CacheTypes {
        self.types
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

    /// Values, as [`KvStore::keys`].
    pub(crate) fn values(&self, layer: usize, head: usize, slots: Range<usize>) -> &[u8] {
        self.values.panels(layer, head, slots)
    }

    /// Moves what is in some slots to others, one after the other; keys are turned by the RoPE table of this number.
    pub(super) fn relocate(
        &mut self,
        moves: impl Iterator<Item = (usize, usize)> + Clone + Sync,
        rope: Option<usize>,
        KeyShift { team, scratch, turn }: &mut KeyShift<'_>,
    ) {
        let (types, head_dim, turn) = (self.types, self.head_dim, *turn);
        for layer in 0..self.layers {
            team.for_each_with(scratch, self.layer(layer), |scratch, _, (keys, values)| {
                let numbers = &mut scratch[..head_dim];
                for (from, to) in moves.clone() {
                    let turn = |key: &mut [f32]| rope.into_iter().for_each(|table| turn(table, key));
                    types.relocate(from, to, numbers, turn, (&mut *keys, &mut *values));
                }
            });
        }
    }

    /// Writes what is kept of some positions, which lie in these slots. In panels that have others too these are zero, so
    /// that the same keys and values are the same bytes, and nothing of what was forgotten is among them.
    pub(super) fn save(
        &self,
        slots: Slots<'_>,
        positions: Range<usize>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let zeros = vec![0.0; self.head_dim];
        let panels = |half: &Half| Buf::zeroed(2 * half.panel_bytes).map_err(io::Error::other);
        let (mut keys, mut values) = (panels(&self.keys)?, panels(&self.values)?);
        for (layer, head) in self.heads() {
            for start in starts(&positions) {
                let slot = slots.of(start);
                keys.copy_from_slice(self.keys(layer, head, slot..slot + SLOTS_SAVED));
                values.copy_from_slice(self.values(layer, head, slot..slot + SLOTS_SAVED));
                for other in (start..start + SLOTS_SAVED).filter(|other| !positions.contains(other)) {
                    self.types.store(other - start, &zeros, &zeros, (&mut keys, &mut values));
                }
                out.write_all(&keys)?;
                out.write_all(&values)?;
            }
        }
        Ok(())
    }

    /// Bytes of what [`KvStore::save`] writes.
    pub(super) fn saved_bytes(&self, positions: Range<usize>) -> usize {
        let panels = 2 * starts(&positions).count();
        self.heads().count() * panels * (self.keys.panel_bytes + self.values.panel_bytes)
    }

    /// Takes up so many bytes.
    pub(super) fn load(
        &mut self,
        slots: Slots<'_>,
        positions: Range<usize>,
        from: &mut dyn Read,
    ) -> io::Result<()> {
        for (layer, head) in self.heads() {
            for start in starts(&positions) {
                let slot = slots.of(start);
                for half in [&mut self.keys, &mut self.values] {
                    from.read_exact(half.panels_mut(layer, head, slot..slot + SLOTS_SAVED))?;
                }
            }
        }
        Ok(())
    }

    /// All layers' KV heads.
    fn heads(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let heads = self.keys.heads;
        (0..self.layers).flat_map(move |layer| (0..heads).map(move |head| (layer, head)))
    }
}

/// Where the panels begin that have some positions.
pub(super) fn starts(positions: &Range<usize>) -> impl Iterator<Item = usize> + use<> {
    let first = positions.start / SLOTS_SAVED * SLOTS_SAVED;
    (first..positions.end).step_by(SLOTS_SAVED)
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
