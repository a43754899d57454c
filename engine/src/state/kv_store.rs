use std::fmt;
use std::io::{self, Read, Write};
use std::ops::Range;

use super::kv_cache::{AttentionSpec, Slots};
use super::{KeyShift, PAGE};
use crate::arena::{Arena, Buf, Interleaved, OutOfMemory, Pieces};
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

    /// One layer's keys and values, to be written head by head with [`CacheTypes::store_at`].
    pub(crate) fn layer(&mut self, layer: usize) -> (Interleaved<'_, u8>, Interleaved<'_, u8>) {
        (self.keys.layer(layer), self.values.layer(layer))
    }

    /// Keys of one layer and KV head: those in the slots, which lie in one page, and what lies in the same panels.
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
            team.for_each_with(scratch, self.layer(layer), |scratch, _, mut cache| {
                let numbers = &mut scratch[..head_dim];
                for (from, to) in moves.clone() {
                    let turn = |key: &mut [f32]| rope.into_iter().for_each(|table| turn(table, key));
                    types.relocate(from, to, numbers, turn, &mut cache);
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
    let first =
        if positions.is_empty() { positions.end } else { positions.start / SLOTS_SAVED * SLOTS_SAVED };
    (first..positions.end).step_by(SLOTS_SAVED)
}

/// The keys, or the values: `[page][layer][head][slot of the page / 16][number / WIDTH]` blocks. What a sequence has of all
/// layers lies together, so pages that nobody has filled take no memory yet, and no two layers' slots are a power of two
/// apart, where they would keep each other out of caches.
struct Half {
    heads: usize,
    /// Heads of all layers.
    all: usize,
    panel_bytes: usize,
    /// Of one head: those of the last page may be fewer than a page's.
    panels: usize,
    bytes: Buf<u8>,
}

/// Panels of a head in a page.
const PANELS: usize = PAGE / 16;

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
        let (all, panels) = (layers.saturating_mul(heads), slots.next_multiple_of(BLOCK) / 16);
        let bytes = arena.buf(all.saturating_mul(panels).saturating_mul(panel_bytes))?;
        Ok(Self { heads, all, panel_bytes, panels, bytes })
    }

    fn layer(&mut self, layer: usize) -> Interleaved<'_, u8> {
        let page = self.all * PANELS * self.panel_bytes;
        Interleaved::new(&mut self.bytes, page, self.all, layer * self.heads..(layer + 1) * self.heads)
    }

    fn copy(&mut self, from: usize, to: usize, count: usize) {
        let (mut from, mut to, mut left) = (from / 16, to / 16, count / 16);
        while left > 0 {
            // As many as lie in one page here and there.
            let panels = left.min(PANELS - from % PANELS).min(PANELS - to % PANELS);
            for head in 0..self.all {
                let (from, to) = (self.panel(head, from), self.panel(head, to));
                self.bytes.copy_within(from..from + panels * self.panel_bytes, to);
            }
            (from, to, left) = (from + panels, to + panels, left - panels);
        }
    }

    /// Where a panel of a head begins, of all layers' heads.
    fn panel(&self, head: usize, panel: usize) -> usize {
        let (page, within) = (panel / PANELS * PANELS, panel % PANELS);
        (page * self.all + head * PANELS.min(self.panels - page) + within) * self.panel_bytes
    }

    /// Where the slots' panels are, an even number of them, as the kernels want them.
    fn place(&self, layer: usize, head: usize, slots: Range<usize>) -> Range<usize> {
        let from = self.panel(layer * self.heads + head, slots.start / 16);
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

    /// Writes one token's key and value into a slot of a head in a [`KvStore::layer`].
    pub(crate) fn store_at(
        self,
        slot: usize,
        key: &[f32],
        value: &[f32],
        (keys, values): &mut (Pieces<'_, u8>, Pieces<'_, u8>),
    ) {
        let (page, slot) = (slot / PAGE, slot % PAGE);
        self.store(slot, key, value, (keys.of_run(page), values.of_run(page)));
    }

    /// Moves one token's key and value to another slot of the same head; the key becomes what `turn` makes of it.
    /// `numbers` has room for those of a head.
    fn relocate(
        self,
        from: usize,
        to: usize,
        numbers: &mut [f32],
        turn: impl FnOnce(&mut [f32]),
        (keys, values): &mut (Pieces<'_, u8>, Pieces<'_, u8>),
    ) {
        let [from, to] = [from, to].map(|slot| (slot / PAGE, slot % PAGE));
        self.keys.load_key(from.1, numbers, keys.of_run(from.0));
        turn(numbers);
        self.keys.store_key(to.1, numbers, keys.of_run(to.0));
        self.values.load_value(from.1, numbers, values.of_run(from.0));
        self.values.store_value(to.1, numbers, values.of_run(to.0));
    }
}
