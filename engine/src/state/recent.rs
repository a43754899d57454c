use std::ops::Range;

use super::Segment;

/// Which positions of each sequence are still at hand where only the last ones are kept, in a ring.
///
/// Behind the last position `kept` ones are promised, however the tokens were cut into batches; the ring has room for
/// more, as a batch writes over the oldest ones before it is through.
pub(super) struct Recent {
    /// Positions before its own that a token looks back at.
    lookback: usize,
    kept: usize,
    ring: usize,
    /// Of each sequence.
    positions: Vec<Range<usize>>,
}

impl Recent {
    pub(super) fn new(
        mut positions: Vec<Range<usize>>,
        sequences: usize,
        lookback: usize,
        kept: usize,
        ring: usize,
    ) -> Self {
        if positions.capacity() >= sequences {
            positions.resize(sequences, 0..0);
        }
        Self { lookback, kept, ring, positions }
    }

    /// Whether all is there that a token behind `len` others looks back at.
    pub(super) fn reaches(&self, sequence: usize, len: usize) -> bool {
        let positions = &self.positions[sequence];
        len == 0 || (positions.start <= len.saturating_sub(self.lookback) && len <= positions.end)
    }

    /// The first position that is looked back at from behind `len` tokens.
    pub(super) fn first(&self, len: usize) -> usize {
        len.saturating_sub(self.lookback)
    }

    /// A segment is begun: its positions take the place of the oldest. What it starts from is there, or is put there now.
    pub(super) fn begin(&mut self, segment: &Segment<'_>) {
        let start = match self.reaches(segment.sequence, segment.start) {
            true => self.positions[segment.sequence].start.min(segment.start),
            false => self.first(segment.start),
        };
        let start = start.max(segment.end().saturating_sub(self.ring));
        self.positions[segment.sequence] = start..segment.start.max(start);
    }

    /// A segment's positions are there.
    pub(super) fn finish(&mut self, segment: &Segment<'_>) {
        let (positions, end) = (&mut self.positions[segment.sequence], segment.end());
        *positions = positions.start.max(end.saturating_sub(self.kept))..end;
    }

    pub(super) fn truncate(&mut self, sequence: usize, len: usize) {
        let positions = &mut self.positions[sequence];
        *positions = positions.start.min(len)..positions.end.min(len);
    }

    /// Takes some tokens out of a sequence: those behind them that are there move up, and they alone are there then.
    /// Returns where they were.
    pub(super) fn forget(&mut self, sequence: usize, tokens: &Range<usize>) -> Range<usize> {
        let positions = &mut self.positions[sequence];
        let moved = positions.start.max(tokens.end)..positions.end;
        *positions = match moved.is_empty() {
            true => 0..0,
            false => moved.start - tokens.len()..moved.end - tokens.len(),
        };
        moved
    }

    /// Has a sequence know what another one does of its first `len` positions.
    pub(super) fn share(&mut self, from: usize, to: usize, len: usize) {
        self.positions[to] = self.positions[from].clone();
        self.truncate(to, len);
    }

    /// What is looked back at from behind `len` tokens is there, or nothing is.
    pub(super) fn set(&mut self, sequence: usize, len: usize, there: bool) {
        self.positions[sequence] = if there { self.first(len)..len } else { 0..0 };
    }
}
