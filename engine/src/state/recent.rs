use std::ops::Range;

use super::Segment;

/// Which positions of each sequence are still at hand where only the last ones are kept, in a ring.
///
/// Behind the last position `kept` ones are promised, however the tokens were cut into batches. The ring has room for more,
/// as a batch writes over the oldest ones before it is through. What is there by that chance may only save work that would
/// come to the same: see [`Recent::reaches`].
pub(super) struct Recent {
    /// Positions before its own that a token looks back at.
    lookback: usize,
    kept: usize,
    ring: usize,
    /// Of each sequence.
    held: Vec<Held>,
}

/// What is there of a sequence.
#[derive(Clone, Default)]
pub(super) struct Held {
    positions: Range<usize>,
    /// The first of them that is promised.
    promised: usize,
}

impl Recent {
    pub(super) fn new(
        mut held: Vec<Held>,
        sequences: usize,
        lookback: usize,
        kept: usize,
        ring: usize,
    ) -> Self {
        if held.capacity() >= sequences {
            held.resize(sequences, Held::default());
        }
        Self { lookback, kept, ring, held }
    }

    /// Whether all is there that a token behind `len` others looks back at.
    pub(super) fn has(&self, sequence: usize, len: usize) -> bool {
        let Held { positions, .. } = &self.held[sequence];
        len == 0 || (positions.start <= self.first(len) && len <= positions.end)
    }

    /// The same, but of a sequence whose tokens do not all follow from each other, the `pristine` first alone: what these
    /// look back at is not what it would be if they were worked on again, so only what is promised counts.
    pub(super) fn reaches(&self, sequence: usize, len: usize, pristine: usize) -> bool {
        let promised = len <= pristine || self.held[sequence].promised <= self.first(len);
        self.has(sequence, len) && (len == 0 || promised)
    }

    /// The first position that is looked back at from behind `len` tokens.
    pub(super) fn first(&self, len: usize) -> usize {
        len.saturating_sub(self.lookback)
    }

    /// The positions that are looked back at from behind `len` tokens.
    pub(super) fn looked_at(&self, len: usize) -> Range<usize> {
        self.first(len)..len
    }

    /// A segment is begun: its positions take the place of the oldest. What it starts from is there, or is put there now.
    pub(super) fn begin(&mut self, segment: &Segment<'_>) {
        let &Segment { sequence, start, .. } = segment;
        let held = match self.has(sequence, start) {
            true => self.held[sequence].clone(),
            false => Held { positions: self.looked_at(start), promised: self.first(start) },
        };
        let first = held.positions.start.min(start).max(segment.end().saturating_sub(self.ring));
        self.held[sequence] = Held { positions: first..start.max(first), promised: held.promised.min(start) };
    }

    /// A segment's positions are there.
    pub(super) fn finish(&mut self, segment: &Segment<'_>) {
        let (held, end) = (&mut self.held[segment.sequence], segment.end());
        held.positions.end = end;
        held.promised = held.promised.max(end.saturating_sub(self.kept));
    }

    pub(super) fn truncate(&mut self, sequence: usize, len: usize) {
        let Held { positions, promised } = &mut self.held[sequence];
        *positions = positions.start.min(len)..positions.end.min(len);
        *promised = len.min(*promised);
    }

    /// Takes some tokens out of a sequence: those behind them that are there move up, and they alone are there then.
    /// Returns where they were.
    pub(super) fn forget(&mut self, sequence: usize, tokens: &Range<usize>) -> Range<usize> {
        let Held { positions, promised } = self.held[sequence].clone();
        // Only what is promised, so that batches do not matter.
        let moved = positions.start.max(promised).max(tokens.end)..positions.end;
        self.held[sequence] = match moved.is_empty() {
            true => Held::default(),
            false => {
                let first = moved.start - tokens.len();
                Held { positions: first..moved.end - tokens.len(), promised: first }
            }
        };
        moved
    }

    /// Has a sequence know what another one does of its first `len` positions.
    pub(super) fn share(&mut self, from: usize, to: usize, len: usize) {
        self.held[to] = self.held[from].clone();
        self.truncate(to, len);
    }

    /// What is looked back at from behind `len` tokens is there, or nothing is.
    pub(super) fn set(&mut self, sequence: usize, len: usize, there: bool) {
        self.held[sequence] = match there {
            true => Held { positions: self.looked_at(len), promised: self.first(len) },
            false => Held::default(),
        };
    }
}
