use std::ops::Range;

use crate::adapter::Attached;
use crate::arena::{Arena, OutOfMemory};
use crate::kernels::attention::SPAN;

/// Positions that a page of the cache holds: those whose attention is worked out together.
pub(crate) const PAGE: usize = SPAN;

/// Consecutive tokens of one sequence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    /// The number of the sequence among those that there is room for.
    pub(crate) sequence: usize,
    /// The first token's position in the sequence.
    pub(crate) start: usize,
    pub(crate) tokens: usize,
    /// The cache's pages that hold the sequence, in its order, as far as the run's last token.
    pub(crate) pages: &'a [u32],
    /// What the products of its tokens are changed by.
    pub(crate) adapters: &'a [Attached],
}

impl Run<'_> {
    /// The slot of the cache that holds the sequence's `position`.
    pub(crate) fn slot(&self, position: usize) -> usize {
        self.pages[position / PAGE] as usize * PAGE + position % PAGE
    }
}

/// The tokens of a batch: runs of different sequences, one after the other.
pub(crate) struct Runs {
    runs: Vec<Part>,
    pages: Vec<u32>,
    adapters: Vec<Attached>,
}

/// What there is of a run.
struct Part {
    sequence: usize,
    /// Its rows of the batch.
    rows: Range<usize>,
    start: usize,
    /// Its part of all pages, and of all adapters.
    pages: Range<usize>,
    adapters: Range<usize>,
}

impl Runs {
    /// Room for so many runs that are in so many pages.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn new(arena: &mut Arena, runs: usize, pages: usize) -> Result<Self, OutOfMemory> {
        Ok(Self { runs: arena.list(runs)?, pages: arena.list(pages)?, adapters: Vec::new() })
    }

    /// Makes room for so many adapters of all runs together.
    pub(crate) fn reserve_adapters(&mut self, adapters: usize) {
        self.adapters.clear();
        self.adapters.reserve(adapters);
    }

    /// The rows that the same adapters change, and these.
    pub(crate) fn adapted(&self) -> impl Iterator<Item = (Range<usize>, &[Attached])> {
        let adapters = |part: &Part| &self.adapters[part.adapters.clone()];
        let alike = self.runs.chunk_by(move |a, b| adapters(a) == adapters(b));
        alike.map(move |parts| {
            let rows = parts[0].rows.start..parts[parts.len() - 1].rows.end;
            (rows, adapters(&parts[0]))
        })
    }

    /// Whether a run has an adapter.
    pub(crate) fn are_adapted(&self) -> bool {
        !self.adapters.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.runs.clear();
        self.pages.clear();
        self.adapters.clear();
    }

    /// Adds a run. Its rows follow those before.
    pub(crate) fn push(&mut self, Run { sequence, start, tokens, pages, adapters }: Run<'_>) {
        let (row, page, adapter) = (self.tokens(), self.pages.len(), self.adapters.len());
        self.pages.extend_from_slice(&pages[..(start + tokens).div_ceil(PAGE)]);
        // One of no effect must not change a zero's sign.
        self.adapters.extend(adapters.iter().filter(|attached| attached.scale != 0.0).cloned());
        self.runs.push(Part {
            sequence,
            rows: row..row + tokens,
            start,
            pages: page..self.pages.len(),
            adapters: adapter..self.adapters.len(),
        });
    }

    /// Tokens of all runs.
    pub(crate) fn tokens(&self) -> usize {
        self.runs.last().map_or(0, |part| part.rows.end)
    }

    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    /// The run of this number, and its rows of the batch.
    pub(crate) fn get(&self, run: usize) -> (Range<usize>, Run<'_>) {
        let Part { sequence, rows, start, pages, adapters } = &self.runs[run];
        let (pages, adapters) = (&self.pages[pages.clone()], &self.adapters[adapters.clone()]);
        (rows.clone(), Run { sequence: *sequence, start: *start, tokens: rows.len(), pages, adapters })
    }

    /// The run that has a row of the batch, and all its rows.
    pub(crate) fn of(&self, row: usize) -> (Range<usize>, Run<'_>) {
        self.get(self.runs.partition_point(|part| part.rows.end <= row))
    }

    /// All runs with their rows of the batch.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Range<usize>, Run<'_>)> {
        (0..self.len()).map(|run| self.get(run))
    }
}
