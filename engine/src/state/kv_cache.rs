use std::io::{self, Read, Write};
use std::ops::Range;

use super::kv_store::{KvStore, SLOTS_SAVED};
use super::window_cache::WindowCache;
use super::{Cut, KeyShift, PAGE, Segment, SequenceState, StateId, StateRoom, States};
use crate::arena::{Arena, OutOfMemory};

/// What a layer with attention needs kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AttentionSpec {
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    /// Positions that a token looks at, its own among them; `usize::MAX` for all.
    pub(crate) window: usize,
    /// The number of the RoPE table that keys are turned by; None where positions are not told.
    pub(crate) rope: Option<usize>,
}

impl AttentionSpec {
    /// The keys and values of so many layers: of all positions, or of a window's alone where the context is longer.
    pub(super) fn reserve(
        &self,
        arena: &mut Arena,
        layers: usize,
        room: &StateRoom,
    ) -> Result<Box<dyn SequenceState>, OutOfMemory> {
        Ok(match self.window < room.context {
            true => Box::new(WindowCache::new(arena, self, layers, room)?),
            false => Box::new(KvCache {
                store: KvStore::new(arena, self, room.cache, layers, room.slots)?,
                rope: self.rope,
            }),
        })
    }
}

/// Where the positions of a sequence are in a [`KvStore`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Slots<'a> {
    /// In these pages, in order.
    Pages(&'a [u32]),
    /// In `pages` pages from `first` on, over and over, the sequence's first one in that of number `turn`.
    Ring { first: usize, pages: usize, turn: usize },
}

impl Slots<'_> {
    /// The slot of a position.
    pub(crate) fn of(&self, position: usize) -> usize {
        let page = match *self {
            Slots::Pages(pages) => pages[position / PAGE] as usize,
            Slots::Ring { first, pages, turn } => first + (position / PAGE + turn) % pages,
        };
        page * PAGE + position % PAGE
    }
}

/// Knows where the positions of sequences are.
pub(crate) trait Placement: Sync {
    fn slots<'a>(&'a self, segment: &Segment<'a>) -> Slots<'a>;
}

/// Positions are in the pages that the sequence has.
pub(crate) struct InPages;

impl Placement for InPages {
    fn slots<'a>(&'a self, segment: &Segment<'a>) -> Slots<'a> {
        Slots::Pages(segment.pages)
    }
}

/// A state that attention looks back at.
pub(crate) trait AttentionCache {
    fn parts(&self) -> (&KvStore, &dyn Placement);

    fn parts_mut(&mut self) -> (&mut KvStore, &dyn Placement);
}

impl States {
    /// What a layer with attention looks back at.
    pub(crate) fn attention(&self, id: StateId) -> Option<&dyn AttentionCache> {
        match self.of::<KvCache>(id) {
            Some(cache) => Some(cache),
            None => self.of::<WindowCache>(id).map(|cache| cache as &dyn AttentionCache),
        }
    }

    pub(crate) fn attention_mut(&mut self, id: StateId) -> Option<&mut dyn AttentionCache> {
        match self.of::<KvCache>(id).is_some() {
            true => self.of_mut::<KvCache>(id).map(|cache| cache as &mut dyn AttentionCache),
            false => self.of_mut::<WindowCache>(id).map(|cache| cache as &mut dyn AttentionCache),
        }
    }
}

/// The keys and values of all positions, in pages that sequences share (Kwon et al. 2023, arXiv 2309.06180).
pub(super) struct KvCache {
    store: KvStore,
    rope: Option<usize>,
}

impl AttentionCache for KvCache {
    fn parts(&self) -> (&KvStore, &dyn Placement) {
        (&self.store, &InPages)
    }

    fn parts_mut(&mut self) -> (&mut KvStore, &dyn Placement) {
        (&mut self.store, &InPages)
    }
}

impl SequenceState for KvCache {
    fn begin(&mut self, _: &Segment<'_>) {}

    fn finish(&mut self, _: &Segment<'_>) {}

    fn resume(&self, _: usize, len: usize, _: usize) -> usize {
        len
    }

    fn truncate(&mut self, _: usize, _: &Cut) {}

    fn forget(
        &mut self,
        segment: &Segment<'_>,
        tokens: Range<usize>,
        _pristine: usize,
        keys: &mut KeyShift<'_>,
    ) {
        let (slots, count) = (Slots::Pages(segment.pages), tokens.len());
        let moves = (tokens.end..segment.start).map(|from| (slots.of(from), slots.of(from - count)));
        self.store.relocate(moves, self.rope, keys);
    }

    fn share(&mut self, _: usize, _: usize, _: usize) {}

    fn copy_page(&mut self, from: u32, to: u32) {
        self.store.copy(from as usize * PAGE, to as usize * PAGE, PAGE);
    }

    fn save(&self, segment: &Segment<'_>, _pristine: usize, out: &mut dyn Write) -> io::Result<()> {
        self.store.save(Slots::Pages(segment.pages), 0..segment.start, out)
    }

    fn saved_len(&self, len: usize, bytes: &[u8]) -> Option<usize> {
        let saved = self.store.saved_bytes(0..len);
        (saved <= bytes.len()).then_some(saved)
    }

    fn load(&mut self, segment: &Segment<'_>, from: &mut dyn Read) -> io::Result<()> {
        self.store.load(Slots::Pages(segment.pages), 0..segment.start, from)
    }
}

/// Pages begin where saved panels do.
const _: () = assert!(PAGE.is_multiple_of(SLOTS_SAVED));
