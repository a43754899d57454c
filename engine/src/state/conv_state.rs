use std::io::{self, Read, Write};
use std::ops::Range;

use super::recent::Recent;
use super::{Cut, KeyShift, PAGE, Segment, SequenceState, StateRoom, TAKEN_BACK};
use crate::arena::{Arena, Buf, OutOfMemory};

/// Positions of a sequence whose inputs are at hand.
const RECENT: usize = 64;

/// Those of them that a sequence may be cut by, with what is looked back at, wherever it goes on from; the others are behind
/// as many drafts as are ever taken back at once.
const KEPT: usize = RECENT - TAKEN_BACK;

const _: () = assert!(KEPT > ConvSpec::MOST);

/// What a layer with a short convolution needs kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ConvSpec {
    /// Channels.
    pub(crate) width: usize,
    /// Positions before its own that a token's output depends on, at most [`ConvSpec::MOST`].
    pub(crate) lookback: usize,
}

impl ConvSpec {
    pub(crate) const MOST: usize = 16;

    /// Numbers from one position's inputs to the next.
    fn stride(&self) -> usize {
        self.width.next_multiple_of(32)
    }

    pub(super) fn reserve(
        &self,
        arena: &mut Arena,
        layers: usize,
        room: &StateRoom,
    ) -> Result<Box<dyn SequenceState>, OutOfMemory> {
        let &StateRoom { sequences, pages, .. } = room;
        let (stride, end) = (self.stride(), layers * self.lookback * self.stride());
        let (positions, mut shifts) = (arena.list(sequences)?, arena.list(sequences)?);
        if shifts.capacity() >= sequences {
            shifts.resize(sequences, 0);
        }
        Ok(Box::new(ConvState {
            spec: self.clone(),
            layers,
            ring: arena.buf(sequences.saturating_mul(layers.saturating_mul(RECENT * stride)))?,
            ends: arena.buf(pages.saturating_mul(end))?,
            recent: Recent::new(positions, sequences, self.lookback, KEPT, RECENT),
            shifts,
            zeros: arena.buf(stride)?,
        }))
    }
}

/// What short convolutions look back at: their inputs at the last positions of each sequence, in a ring, and at the end of
/// each page. So a sequence can go on from where it is and from the start of each page, and pages can be shared.
pub(crate) struct ConvState {
    spec: ConvSpec,
    layers: usize,
    /// `[sequence][layer][position % RECENT][channel]`
    ring: Buf<f32>,
    /// `[page][layer][position][channel]`: the last positions of each page.
    ends: Buf<f32>,
    recent: Recent,
    /// How many tokens of each sequence were forgotten: what stands at a position stood so many further on.
    shifts: Vec<usize>,
    /// What stands before the first position.
    zeros: Buf<f32>,
}

impl ConvState {
    /// A layer's input so many positions before the start of a segment.
    pub(crate) fn before(&self, layer: usize, segment: &Segment<'_>, distance: usize) -> &[f32] {
        match segment.start.checked_sub(distance) {
            Some(position) => &self.ring[self.place(segment.sequence, layer, position)],
            None => &self.zeros,
        }
    }

    /// Keeps a layer's inputs at the positions of a segment, `input` of its tokens' numbers.
    pub(crate) fn keep<'a>(
        &mut self,
        layer: usize,
        segment: &Segment<'_>,
        input: impl Fn(usize) -> &'a [f32],
    ) {
        for (token, position) in (segment.start..segment.end()).enumerate() {
            if token + RECENT >= segment.tokens {
                let place = self.place(segment.sequence, layer, position);
                self.ring[place].copy_from_slice(input(token));
            }
            if position % PAGE >= PAGE - self.spec.lookback {
                let place = self.end(segment.pages[position / PAGE], layer, position);
                self.ends[place].copy_from_slice(input(token));
            }
        }
    }

    fn place(&self, sequence: usize, layer: usize, position: usize) -> Range<usize> {
        let position = (position + self.shifts[sequence]) % RECENT;
        self.row((sequence * self.layers + layer) * RECENT + position)
    }

    /// Where the input at one of the last positions of a page is.
    fn end(&self, page: u32, layer: usize, position: usize) -> Range<usize> {
        let position = position % PAGE - (PAGE - self.spec.lookback);
        self.row((page as usize * self.layers + layer) * self.spec.lookback + position)
    }

    fn row(&self, number: usize) -> Range<usize> {
        let stride = self.spec.stride();
        number * stride..(number + 1) * stride
    }

    /// Where the inputs at the ends of a page are, of all layers.
    fn ends_of(&self, page: u32) -> Range<usize> {
        let numbers = self.layers * self.spec.lookback * self.spec.stride();
        page as usize * numbers..(page as usize + 1) * numbers
    }

    /// The inputs at some positions.
    fn inputs(&self, sequence: usize, positions: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        (0..self.layers).flat_map(move |layer| {
            positions.clone().map(move |position| self.place(sequence, layer, position))
        })
    }
}

impl SequenceState for ConvState {
    fn begin(&mut self, segment: &Segment<'_>) {
        let &Segment { sequence, start, pages, .. } = segment;
        if !self.recent.has(sequence, start)
            && let Some(&page) = (start / PAGE).checked_sub(1).and_then(|page| pages.get(page))
        {
            for layer in 0..self.layers {
                for position in self.recent.first(start)..start {
                    let (end, place) =
                        (self.end(page, layer, position), self.place(sequence, layer, position));
                    self.ring[place].copy_from_slice(&self.ends[end]);
                }
            }
        }
        self.recent.begin(segment);
    }

    fn finish(&mut self, segment: &Segment<'_>) {
        self.recent.finish(segment);
    }

    fn resume(&self, sequence: usize, len: usize, pristine: usize) -> usize {
        match self.recent.has(sequence, len) {
            true => len,
            false => len.min(pristine) / PAGE * PAGE,
        }
    }

    fn resume_to_forget(&self, sequence: usize, len: usize, pristine: usize) -> usize {
        match self.recent.lacks(sequence, len, pristine) {
            None => self.resume(sequence, len, pristine),
            Some(first) => (first + self.spec.lookback).min(pristine) / PAGE * PAGE,
        }
    }

    fn truncate(&mut self, sequence: usize, cut: &Cut) {
        self.recent.truncate(sequence, cut);
    }

    fn part(&mut self, sequence: usize, len: usize) {
        self.recent.part(sequence, len);
    }

    fn forget(&mut self, segment: &Segment<'_>, tokens: Range<usize>, pristine: usize, _: &mut KeyShift<'_>) {
        self.recent.forget(segment.sequence, &tokens, segment.start, pristine);
        self.shifts[segment.sequence] += tokens.len();
    }

    fn share(&mut self, from: usize, to: usize, len: usize) {
        self.recent.share(from, to, len);
        self.shifts[to] = self.shifts[from];
        let rows = self.layers * RECENT * self.spec.stride();
        self.ring.copy_within(from * rows..(from + 1) * rows, to * rows);
    }

    fn copy_page(&mut self, from: u32, to: u32) {
        let (from, to) = (self.ends_of(from), self.ends_of(to));
        self.ends.copy_within(from, to.start);
    }

    fn save(&self, segment: &Segment<'_>, pristine: usize, out: &mut dyn Write) -> io::Result<()> {
        let &Segment { sequence, start: len, pages, .. } = segment;
        let positions = self.recent.save(sequence, len, pristine, out)?;
        let mut write =
            |numbers: &[f32]| numbers.iter().try_for_each(|number| out.write_all(&number.to_le_bytes()));
        for &page in &pages[..len / PAGE] {
            write(&self.ends[self.ends_of(page)])?;
        }
        self.inputs(sequence, positions).try_for_each(|place| write(&self.ring[place]))
    }

    fn saved_len(&self, len: usize, bytes: &[u8]) -> Option<usize> {
        let (header, positions) = self.recent.saved(len, bytes)?;
        let rows = len / PAGE * self.layers * self.spec.lookback + self.layers * positions.len();
        let saved = header + rows * self.spec.stride() * size_of::<f32>();
        (saved <= bytes.len()).then_some(saved)
    }

    fn load(&mut self, segment: &Segment<'_>, from: &mut dyn Read) -> io::Result<()> {
        let &Segment { sequence, start: len, pages, .. } = segment;
        self.shifts[sequence] = 0;
        let positions = self.recent.load(sequence, len, from)?;
        let mut fill = |place: &mut [f32]| -> io::Result<()> {
            place.iter_mut().try_for_each(|number| {
                let mut bytes = [0; 4];
                from.read_exact(&mut bytes)?;
                *number = f32::from_le_bytes(bytes);
                Ok(())
            })
        };
        for &page in &pages[..len / PAGE] {
            let ends = self.ends_of(page);
            fill(&mut self.ends[ends])?;
        }
        let places: Vec<_> = self.inputs(sequence, positions).collect();
        places.into_iter().try_for_each(|place| fill(&mut self.ring[place]))
    }
}
