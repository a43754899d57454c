use std::io::{self, Write};
use std::ops::Range;

use super::kv_cache::{AttentionCache, AttentionSpec, Placement, Slots};
use super::kv_store::{KvStore, SLOTS_SAVED};
use super::recent::Recent;
use super::{KeyShift, PAGE, Segment, SequenceState, StateRoom};
use crate::arena::{Arena, OutOfMemory};

/// The keys and values of a sliding window (Beltagy et al. 2020, arXiv 2004.05150): of each sequence the last positions
/// alone, in a ring of pages of its own.
///
/// The ring holds the window, a page behind it, so that a sequence may be cut by as much and go on, and what a batch adds.
/// A sequence that lacks a part of its window is worked on again from its start: keys depend on the windows of all layers
/// below. After tokens were taken out, those that moved up are all that is left of it, however long the ring is.
pub(super) struct WindowCache {
    store: KvStore,
    rope: Option<usize>,
    rings: Rings,
}

/// Where sequences' positions are.
struct Rings {
    recent: Recent,
    /// Pages of each ring.
    pages: usize,
    /// Of each sequence: the number of the page in its ring that holds its first positions.
    turns: Vec<usize>,
}

impl Rings {
    fn slots(&self, sequence: usize) -> Slots<'static> {
        Slots::Ring { first: sequence * self.pages, pages: self.pages, turn: self.turns[sequence] }
    }
}

impl Placement for Rings {
    fn slots<'a>(&'a self, segment: &Segment<'a>) -> Slots<'a> {
        Rings::slots(self, segment.sequence)
    }
}

impl WindowCache {
    pub(super) fn new(
        arena: &mut Arena,
        spec: &AttentionSpec,
        layers: usize,
        room: &StateRoom,
    ) -> Result<Self, OutOfMemory> {
        let &StateRoom { sequences, context, batch, .. } = room;
        let kept = spec.window.saturating_add(PAGE);
        // As long as the moves of `forget` are by less than a page they must not run into what is yet to be moved.
        let ring = kept.saturating_add(batch.max(PAGE)).min(context).next_multiple_of(PAGE);
        let (positions, mut turns) = (arena.list(sequences)?, arena.list(sequences)?);
        if turns.capacity() >= sequences {
            turns.resize(sequences, 0);
        }
        Ok(Self {
            store: KvStore::new(arena, spec, room.cache, layers, sequences.saturating_mul(ring))?,
            rope: spec.rope,
            rings: Rings {
                recent: Recent::new(positions, sequences, spec.window - 1, kept, ring),
                pages: ring / PAGE,
                turns,
            },
        })
    }

    /// The positions that a saved state of `len` tokens has: those that are looked back at, from a panel's start on.
    fn saved(&self, len: usize) -> Range<usize> {
        self.rings.recent.first(len)..len
    }
}

impl AttentionCache for WindowCache {
    fn parts(&self) -> (&KvStore, &dyn Placement) {
        (&self.store, &self.rings)
    }

    fn parts_mut(&mut self) -> (&mut KvStore, &dyn Placement) {
        (&mut self.store, &self.rings)
    }
}

impl SequenceState for WindowCache {
    fn begin(&mut self, segment: &Segment<'_>) {
        if segment.start == 0 {
            self.rings.turns[segment.sequence] = 0;
        }
        self.rings.recent.begin(segment);
    }

    fn finish(&mut self, segment: &Segment<'_>) {
        self.rings.recent.finish(segment);
    }

    fn resume(&self, sequence: usize, len: usize, _: usize) -> usize {
        if self.rings.recent.reaches(sequence, len) { len } else { 0 }
    }

    fn truncate(&mut self, sequence: usize, len: usize) {
        self.rings.recent.truncate(sequence, len);
    }

    fn forget(&mut self, segment: &Segment<'_>, tokens: Range<usize>, keys: &mut KeyShift<'_>) {
        let (sequence, count) = (segment.sequence, tokens.len());
        let before = self.rings.slots(sequence);
        let moved = self.rings.recent.forget(sequence, &tokens);
        // Whole pages move by what they count from, so that keys move by less than a page within the ring.
        let turn = &mut self.rings.turns[sequence];
        *turn = (*turn + count / PAGE) % self.rings.pages;
        let after = self.rings.slots(sequence);
        let moves = moved.map(|from| (before.of(from), after.of(from - count)));
        self.store.relocate(moves, self.rope, keys);
    }

    fn share(&mut self, from: usize, to: usize, len: usize) {
        self.rings.recent.share(from, to, len);
        self.rings.turns[to] = self.rings.turns[from];
        let pages = self.rings.pages * PAGE;
        self.store.copy(from * pages, to * pages, pages);
    }

    fn copy_page(&mut self, _: u32, _: u32) {}

    fn save(&self, segment: &Segment<'_>, out: &mut dyn Write) -> io::Result<()> {
        let there = self.rings.recent.reaches(segment.sequence, segment.start);
        out.write_all(&[there.into()])?;
        match there {
            true => self.store.save(self.rings.slots(segment.sequence), self.saved(segment.start), out),
            false => Ok(()),
        }
    }

    fn saved_len(&self, len: usize, bytes: &[u8]) -> Option<usize> {
        let saved = match bytes.first()? {
            0 => 1,
            1 => 1 + self.store.saved_bytes(self.saved(len)),
            _ => return None,
        };
        (saved <= bytes.len()).then_some(saved)
    }

    fn load(&mut self, segment: &Segment<'_>, bytes: &[u8]) {
        let (sequence, len) = (segment.sequence, segment.start);
        let there = bytes.first() == Some(&1);
        self.rings.turns[sequence] = 0;
        self.rings.recent.set(sequence, len, there);
        if there {
            self.store.load(self.rings.slots(sequence), self.saved(len), &bytes[1..]);
        }
    }
}

/// What a ring is saved in begins where its pages do.
const _: () = assert!(PAGE.is_multiple_of(SLOTS_SAVED));
