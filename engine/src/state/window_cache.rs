use std::io::{self, Read, Write};
use std::ops::Range;

use super::kv_cache::{AttentionCache, AttentionSpec, Placement, Slots};
use super::kv_store::{KvStore, SLOTS_SAVED, starts};
use super::recent::Recent;
use super::{Cut, KeyShift, PAGE, Segment, SequenceState, StateRoom, TAKEN_BACK};
use crate::arena::{Arena, OutOfMemory};

/// The keys and values of a sliding window (Beltagy et al. 2020, arXiv 2004.05150): of each sequence the last positions
/// alone, in a ring of pages of its own.
///
/// The ring holds the window, a page behind it, so that a sequence may be cut by as much and go on, and what a batch adds.
/// Where a sequence is cut by more, a copy of the window is kept once it has come there again: prompts that begin alike are
/// all cut in the same place. A sequence that lacks a part of its window is worked on again from that place, or from its
/// start: keys depend on the windows of all layers below. After tokens were taken out, those that moved up are all that is
/// left of it, however long the ring is.
pub(super) struct WindowCache {
    store: KvStore,
    rope: Option<usize>,
    rings: Rings,
    /// Of each sequence.
    anchors: Vec<Anchor>,
}

/// A place that a sequence goes on from again and again. 0 is none.
#[derive(Clone, Copy, Default)]
struct Anchor {
    /// Tokens before the place whose window is kept.
    kept: usize,
    /// Those before the place whose window will be, once the sequence comes there.
    wanted: usize,
}

impl Anchor {
    /// Forgets places behind the first `len` tokens.
    fn truncate(&mut self, len: usize) {
        for place in [&mut self.kept, &mut self.wanted] {
            if *place > len {
                *place = 0;
            }
        }
    }
}

/// Where sequences' positions are.
struct Rings {
    recent: Recent,
    /// Pages of each ring, and of the copy of a window behind it: none where the ring is as long as the context.
    pages: usize,
    copied: usize,
    /// Of each sequence: the number of the page in its ring that holds its first positions.
    turns: Vec<usize>,
}

impl Rings {
    fn slots(&self, sequence: usize) -> Slots<'static> {
        let first = sequence * (self.pages + self.copied);
        Slots::Ring { first, pages: self.pages, turn: self.turns[sequence] }
    }

    /// Where the copy of a window is.
    fn copy(&self, sequence: usize) -> Slots<'static> {
        let first = sequence * (self.pages + self.copied) + self.pages;
        Slots::Ring { first, pages: self.copied, turn: 0 }
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
        let (kept, all) = (spec.window.saturating_add(PAGE), context.next_multiple_of(PAGE));
        // As long as the moves of `forget` are by less than a page they must not run into what is yet to be moved.
        let mut ring = kept.saturating_add(batch.max(PAGE)).min(all).next_multiple_of(PAGE);
        // A page more, as a window need not begin where a page does.
        let mut copied = spec.window.min(all).next_multiple_of(PAGE) + PAGE;
        if ring + copied >= all {
            (ring, copied) = (all, 0);
        }
        let last = if copied == 0 { context } else { ring + copied };
        let slots = (sequences - 1).saturating_mul(ring + copied).saturating_add(last);
        let (positions, mut turns, mut anchors) =
            (arena.list(sequences)?, arena.list(sequences)?, arena.list(sequences)?);
        if turns.capacity() >= sequences && anchors.capacity() >= sequences {
            turns.resize(sequences, 0);
            anchors.resize(sequences, Anchor::default());
        }
        Ok(Self {
            store: KvStore::new(arena, spec, room.cache, layers, slots)?,
            rope: spec.rope,
            rings: Rings {
                recent: Recent::new(positions, sequences, spec.window.saturating_sub(1), kept, ring),
                pages: ring / PAGE,
                copied: copied / PAGE,
                turns,
            },
            anchors,
        })
    }

    /// Copies what is looked back at from behind `len` tokens.
    fn copy_window(&mut self, from: Slots<'_>, to: Slots<'_>, len: usize) {
        for start in starts(&self.rings.recent.looked_at(len)) {
            self.store.copy(from.of(start), to.of(start), SLOTS_SAVED);
        }
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
        let &Segment { sequence, start, .. } = segment;
        if !self.rings.recent.has(sequence, start) || start == 0 {
            self.rings.turns[sequence] = 0;
            if start > 0 {
                let (copy, ring) = (self.rings.copy(sequence), self.rings.slots(sequence));
                self.copy_window(copy, ring, start);
            }
        }
        // What is behind a place that is worked on again may be something else this time.
        if self.anchors[sequence].kept > start {
            self.anchors[sequence].kept = 0;
        }
        self.rings.recent.begin(segment);
    }

    fn finish(&mut self, segment: &Segment<'_>) {
        self.rings.recent.finish(segment);
        let &Segment { sequence, start, .. } = segment;
        let wanted = self.anchors[sequence].wanted;
        if start < wanted && wanted <= segment.end() {
            let (ring, copy) = (self.rings.slots(sequence), self.rings.copy(sequence));
            self.copy_window(ring, copy, wanted);
            self.anchors[sequence] = Anchor { kept: wanted, wanted: 0 };
        }
    }

    fn resume(&self, sequence: usize, len: usize, pristine: usize) -> usize {
        let Anchor { kept, .. } = self.anchors[sequence];
        match self.rings.recent.has(sequence, len) {
            true => len,
            false if kept <= len.min(pristine) => kept,
            false => 0,
        }
    }

    fn resume_to_forget(&self, sequence: usize, len: usize, pristine: usize) -> usize {
        let Anchor { kept, .. } = self.anchors[sequence];
        match self.rings.recent.lacks(sequence, len, pristine) {
            None => self.resume(sequence, len, pristine),
            Some(first) if kept <= pristine && self.rings.recent.first(kept) <= first => kept,
            Some(_) => 0,
        }
    }

    fn truncate(&mut self, sequence: usize, cut: &Cut) {
        let len = cut.len;
        self.rings.recent.truncate(sequence, cut);
        let reached = self.rings.recent.has(sequence, len);
        let anchor = &mut self.anchors[sequence];
        anchor.truncate(len);
        if !reached && anchor.kept != len && self.rings.copied > 0 {
            anchor.wanted = len;
        }
    }

    fn part(&mut self, sequence: usize, len: usize) {
        self.rings.recent.part(sequence, len);
    }

    fn forget(
        &mut self,
        segment: &Segment<'_>,
        tokens: Range<usize>,
        pristine: usize,
        keys: &mut KeyShift<'_>,
    ) {
        let (sequence, count) = (segment.sequence, tokens.len());
        self.anchors[sequence].truncate(tokens.start);
        let before = self.rings.slots(sequence);
        let moved = self.rings.recent.forget(sequence, &tokens, segment.start, pristine);
        // Whole pages move by what they count from, so that keys move by less than a page within a ring that goes round.
        if self.rings.copied > 0 {
            let turn = &mut self.rings.turns[sequence];
            *turn = (*turn + count / PAGE) % self.rings.pages;
        }
        let after = self.rings.slots(sequence);
        let moves = moved.map(|from| (before.of(from), after.of(from - count)));
        self.store.relocate(moves, self.rope, keys);
    }

    fn share(&mut self, from: usize, to: usize, len: usize) {
        self.rings.recent.share(from, to, len);
        self.rings.turns[to] = self.rings.turns[from];
        self.anchors[to] = self.anchors[from];
        self.anchors[to].truncate(len);
        let slots = (self.rings.pages + self.rings.copied) * PAGE;
        let count = if self.rings.copied > 0 { slots } else { len.next_multiple_of(SLOTS_SAVED) };
        self.store.copy(from * slots, to * slots, count);
    }

    fn copy_page(&mut self, _: u32, _: u32) {}

    fn save(&self, segment: &Segment<'_>, pristine: usize, out: &mut dyn Write) -> io::Result<()> {
        let positions = self.rings.recent.save(segment.sequence, segment.start, pristine, out)?;
        self.store.save(self.rings.slots(segment.sequence), positions, out)
    }

    fn saved_len(&self, len: usize, bytes: &[u8]) -> Option<usize> {
        let (header, positions) = self.rings.recent.saved(len, bytes)?;
        let saved = header + self.store.saved_bytes(positions);
        (saved <= bytes.len()).then_some(saved)
    }

    fn load(&mut self, segment: &Segment<'_>, from: &mut dyn Read) -> io::Result<()> {
        let (sequence, len) = (segment.sequence, segment.start);
        self.rings.turns[sequence] = 0;
        self.anchors[sequence] = Anchor::default();
        let positions = self.rings.recent.load(sequence, len, from)?;
        self.store.load(self.rings.slots(sequence), positions, from)
    }
}

/// What a ring is saved in begins where its pages do.
const _: () = assert!(PAGE.is_multiple_of(SLOTS_SAVED));
/// Behind what is kept the ring has room for drafts.
const _: () = assert!(PAGE >= TAKEN_BACK);
