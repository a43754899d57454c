use std::io::{self, Read, Write};
use std::ops::Range;

use super::{Cut, Segment};

/// Which positions of each sequence are still at hand where only the last ones are kept, in a ring.
///
/// As long as the tokens of a sequence all follow from each other, whatever is gone can be worked out again, and comes to
/// the same. Behind a gap it cannot: there bits depend on what is still at hand, so that must not depend on batches, on
/// what was worked on yet, or on what came from other sequences. So the last `kept` positions before the longest end that a
/// sequence had are promised, by the tokens that it was fed, and nothing else counts; the ring has room for as many drafts
/// more as are ever taken back, and for what a batch writes over.
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
    /// The first one that is promised behind a gap, as of the last cut behind it.
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
        let first = match self.has(sequence, start) {
            true => self.held[sequence].positions.start.min(start),
            false => self.first(start),
        };
        let first = first.max(segment.end().saturating_sub(self.ring));
        self.held[sequence].positions = first..start.max(first);
    }

    /// A segment's positions are there.
    pub(super) fn finish(&mut self, segment: &Segment<'_>) {
        self.held[segment.sequence].positions.end = segment.end();
    }

    /// Behind a gap, what is looked back at from the cut is there as it was promised, or nothing is.
    pub(super) fn truncate(&mut self, sequence: usize, cut: &Cut) {
        let &Cut { fed, pristine, len } = cut;
        let promised = self.promised(sequence, fed, pristine);
        let (first, held) = (self.first(len), &mut self.held[sequence]);
        if len <= pristine {
            held.promised = 0;
        } else if promised <= first {
            held.promised = promised;
        } else {
            *held = Held { positions: len..len, promised: len };
        }
        held.positions = held.positions.start.min(len)..held.positions.end.min(len);
    }

    /// The first position that is promised of a sequence of `len` tokens, of which the first `pristine` follow from each
    /// other alone.
    fn promised(&self, sequence: usize, len: usize, pristine: usize) -> usize {
        let last = len.saturating_sub(self.kept);
        if pristine < len { last.max(self.held[sequence].promised) } else { last }
    }

    /// Of a sequence of which all is there that the next token looks back at: what else has to be, before tokens are
    /// forgotten. That is the first position of what is promised, where it is not there.
    pub(super) fn lacks(&self, sequence: usize, len: usize, pristine: usize) -> Option<usize> {
        let promised = self.promised(sequence, len, pristine);
        (promised < self.held[sequence].positions.start).then_some(promised)
    }

    /// The tokens of a sequence no longer follow from each other alone, those that it is fed from now on from all of them.
    pub(super) fn part(&mut self, sequence: usize, len: usize) {
        self.held[sequence].promised = self.first(len);
    }

    /// Takes some tokens out of a sequence of `len`: those behind them that are promised move up, and they alone are there
    /// then. Returns where they were.
    pub(super) fn forget(
        &mut self,
        sequence: usize,
        tokens: &Range<usize>,
        len: usize,
        pristine: usize,
    ) -> Range<usize> {
        let moved = self.promised(sequence, len, pristine).max(tokens.end)..len;
        let first = moved.start - tokens.len();
        self.held[sequence] = Held { positions: first..len - tokens.len(), promised: first };
        moved
    }

    /// Has a sequence know what another one does of its first `len` positions.
    pub(super) fn share(&mut self, from: usize, to: usize, len: usize) {
        self.held[to] = self.held[from].clone();
        self.truncate(to, &Cut { fed: len, pristine: len, len });
    }

    /// Which of a sequence's first `len` positions are saved: those that the next token looks back at. Behind a gap, all that are
    /// promised, so that a sequence that is restored can be cut as this one can. None where something is lacking.
    fn to_save(&self, sequence: usize, len: usize, pristine: usize) -> Option<Range<usize>> {
        let looked_at = self.has(sequence, len).then(|| self.looked_at(len))?;
        let promised = self.promised(sequence, len, pristine);
        match pristine < len && self.held[sequence].positions.start <= promised {
            true => Some(promised.min(looked_at.start)..len),
            false => Some(looked_at),
        }
    }

    /// Writes which positions of a sequence are saved behind it, and returns them.
    pub(super) fn save(
        &self,
        sequence: usize,
        len: usize,
        pristine: usize,
        out: &mut dyn Write,
    ) -> io::Result<Range<usize>> {
        let Some(positions) = self.to_save(sequence, len, pristine) else {
            out.write_all(&[NOTHING])?;
            return Ok(len..len);
        };
        match positions == self.looked_at(len) {
            true => out.write_all(&[LOOKED_AT])?,
            false => {
                out.write_all(&[MORE])?;
                out.write_all(&(positions.start as u64).to_le_bytes())?;
            }
        }
        Ok(positions)
    }

    /// What [`save`](Self::save) wrote: how many bytes that are, and the positions. None where it did not write that.
    pub(super) fn saved(&self, len: usize, bytes: &[u8]) -> Option<(usize, Range<usize>)> {
        let mut rest = bytes;
        let positions = self.read(len, &mut rest).ok()?.unwrap_or(len..len);
        Some((bytes.len() - rest.len(), positions))
    }

    /// Takes up what [`save`](Self::save) wrote of a sequence, and returns the positions that follow.
    pub(super) fn load(
        &mut self,
        sequence: usize,
        len: usize,
        from: &mut dyn Read,
    ) -> io::Result<Range<usize>> {
        self.held[sequence] = Held::default();
        let Some(positions) = self.read(len, from)? else { return Ok(len..len) };
        self.held[sequence] = Held { positions: positions.clone(), promised: positions.start };
        Ok(positions)
    }

    fn read(&self, len: usize, from: &mut dyn Read) -> io::Result<Option<Range<usize>>> {
        let mut kind = [0];
        from.read_exact(&mut kind)?;
        match kind {
            [NOTHING] => Ok(None),
            [LOOKED_AT] => Ok(Some(self.looked_at(len))),
            [MORE] => {
                let mut first = [0; 8];
                from.read_exact(&mut first)?;
                let first = usize::try_from(u64::from_le_bytes(first)).ok();
                let is_sound =
                    |first: &usize| *first < self.first(len) && len - *first <= self.kept.min(self.ring);
                first.filter(is_sound).map(|first| Some(first..len)).ok_or(io::ErrorKind::InvalidData.into())
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// What is saved of a sequence: nothing, what its next token looks back at, or from a position on that follows as a u64.
const NOTHING: u8 = 0;
const LOOKED_AT: u8 = 1;
const MORE: u8 = 2;
