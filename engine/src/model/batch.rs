use std::ops::Range;

use super::adapter::Attached;
use crate::arena::{Arena, OutOfMemory};
use crate::state::{PAGE, Segment};

/// The tokens of a forward pass: segments of different sequences, one after the other. Only RoPE, states and attention ask
/// which row is of which; to everything else a batch is rows.
pub(crate) struct Batch {
    parts: Vec<Part>,
    pages: Vec<u32>,
    adapters: Vec<Attached>,
}

/// What there is of a segment.
struct Part {
    sequence: usize,
    /// Its rows of the batch.
    rows: Range<usize>,
    start: usize,
    /// Its part of all pages, and of all adapters.
    pages: Range<usize>,
    adapters: Range<usize>,
}

impl Batch {
    /// Room for so many segments that are in so many pages.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn new(arena: &mut Arena, segments: usize, pages: usize) -> Result<Self, OutOfMemory> {
        Ok(Self { parts: arena.list(segments)?, pages: arena.list(pages)?, adapters: Vec::new() })
    }

    /// Makes room for so many adapters of all segments together.
    pub(crate) fn reserve_adapters(&mut self, adapters: usize) {
        self.adapters.clear();
        self.adapters.reserve(adapters);
    }

    /// The rows that the same adapters change, and these.
    pub(crate) fn adapted(&self) -> impl Iterator<Item = (Range<usize>, &[Attached])> {
        let adapters = |part: &Part| &self.adapters[part.adapters.clone()];
        let alike = self.parts.chunk_by(move |a, b| adapters(a) == adapters(b));
        alike.map(move |parts| {
            let rows = parts[0].rows.start..parts[parts.len() - 1].rows.end;
            (rows, adapters(&parts[0]))
        })
    }

    /// Whether a segment has an adapter.
    pub(crate) fn is_adapted(&self) -> bool {
        !self.adapters.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.parts.clear();
        self.pages.clear();
        self.adapters.clear();
    }

    /// Adds a segment, the products of whose tokens these adapters change. Its rows follow those before.
    pub(crate) fn push(&mut self, segment: Segment<'_>, adapters: &[Attached]) {
        let Segment { sequence, start, tokens, pages } = segment;
        let (row, page, adapter) = (self.tokens(), self.pages.len(), self.adapters.len());
        self.pages.extend_from_slice(&pages[..segment.end().div_ceil(PAGE)]);
        // One of no effect must not change a zero's sign.
        self.adapters.extend(adapters.iter().filter(|attached| attached.scale != 0.0).cloned());
        self.parts.push(Part {
            sequence,
            rows: row..row + tokens,
            start,
            pages: page..self.pages.len(),
            adapters: adapter..self.adapters.len(),
        });
    }

    /// Tokens of all segments.
    pub(crate) fn tokens(&self) -> usize {
        self.parts.last().map_or(0, |part| part.rows.end)
    }

    /// The segment of this number, and its rows of the batch.
    pub(crate) fn get(&self, number: usize) -> (Range<usize>, Segment<'_>) {
        let Part { sequence, rows, start, pages, .. } = &self.parts[number];
        let pages = &self.pages[pages.clone()];
        (rows.clone(), Segment { sequence: *sequence, start: *start, tokens: rows.len(), pages })
    }

    /// The segment that has a row of the batch, and all its rows.
    pub(crate) fn of(&self, row: usize) -> (Range<usize>, Segment<'_>) {
        self.get(self.parts.partition_point(|part| part.rows.end <= row))
    }

    /// All segments with their rows of the batch.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Range<usize>, Segment<'_>)> {
        (0..self.parts.len()).map(|number| self.get(number))
    }
}
