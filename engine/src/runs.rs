use std::ops::Range;

use crate::arena::{Arena, OutOfMemory};
use crate::kernels::attention::SPAN;

/// Positions that a page of the cache holds: those whose attention is worked out together.
pub(crate) const PAGE: usize = SPAN;

/// Consecutive tokens of one sequence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    /// The first token's position in the sequence.
    pub(crate) start: usize,
    pub(crate) tokens: usize,
    /// The cache's pages that hold the sequence, in its order, as far as the run's last token.
    pub(crate) pages: &'a [u32],
}

impl Run<'_> {
    /// The slot of the cache that holds the sequence's `position`.
    pub(crate) fn slot(&self, position: usize) -> usize {
        self.pages[position / PAGE] as usize * PAGE + position % PAGE
    }
}

/// The tokens of a batch: runs of different sequences, one after the other.
pub(crate) struct Runs {
    /// Each run's rows of the batch, its first position, its part of `pages`.
    runs: Vec<(Range<usize>, usize, Range<usize>)>,
    pages: Vec<u32>,
}

impl Runs {
    /// Room for so many runs that are in so many pages.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn new(arena: &mut Arena, runs: usize, pages: usize) -> Result<Self, OutOfMemory> {
        Ok(Self { runs: arena.list(runs)?, pages: arena.list(pages)? })
    }

    pub(crate) fn clear(&mut self) {
        self.runs.clear();
        self.pages.clear();
    }

    /// Adds a run. Its rows follow those before.
    pub(crate) fn push(&mut self, Run { start, tokens, pages }: Run<'_>) {
        let (row, page) = (self.tokens(), self.pages.len());
        self.pages.extend_from_slice(&pages[..(start + tokens).div_ceil(PAGE)]);
        self.runs.push((row..row + tokens, start, page..self.pages.len()));
    }

    /// Tokens of all runs.
    pub(crate) fn tokens(&self) -> usize {
        self.runs.last().map_or(0, |(rows, ..)| rows.end)
    }

    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    /// The run of this number, and its rows of the batch.
    pub(crate) fn get(&self, run: usize) -> (Range<usize>, Run<'_>) {
        let (rows, start, pages) = &self.runs[run];
        let run = Run { start: *start, tokens: rows.len(), pages: &self.pages[pages.clone()] };
        (rows.clone(), run)
    }

    /// All runs with their rows of the batch.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Range<usize>, Run<'_>)> {
        (0..self.len()).map(|run| self.get(run))
    }
}
