use std::ops::Range;

use crate::arena::{Arena, Buf, OutOfMemory};
use crate::runs::{PAGE, Run};

/// Positions of a sequence whose inputs are at hand: those that are looked back at, behind as many as are taken back at
/// once where guesses were wrong.
const RECENT: usize = 64;

/// How far the convolutions of a network look back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// Layers with a convolution.
    pub(crate) layers: usize,
    /// Channels of each.
    pub(crate) width: usize,
    /// Positions before its own that a token's output depends on, at most [`Reach::MOST`].
    pub(crate) positions: usize,
}

impl Reach {
    pub(crate) const MOST: usize = 16;

    /// Numbers from one position's inputs to the next.
    fn stride(&self) -> usize {
        self.width.next_multiple_of(32)
    }

    /// Numbers of what all layers look back at from one position.
    fn numbers(&self) -> usize {
        self.layers * self.positions * self.stride()
    }
}

/// What short convolutions look back at, the second kind of state beside the KV cache: their inputs at the last positions of
/// each sequence, and at the end of each page of the cache. So a sequence can go on from where it is and from the start of
/// each page, and pages can be shared.
pub(crate) struct Inputs {
    reach: Reach,
    /// `[sequence][layer][position % RECENT][channel]`
    recent: Buf<f32>,
    /// `[page][layer][position][channel]`: the last positions of each page.
    ends: Buf<f32>,
    /// Of each sequence.
    held: Vec<Held>,
    /// What stands before the first position.
    zeros: Buf<f32>,
}

/// What is in [`Inputs::recent`] of a sequence.
struct Held {
    /// Positions; none while layers work on more.
    positions: Range<usize>,
    /// The first of them once that is done.
    from: usize,
    /// How many tokens were forgotten: what stands at a position stood so many further on.
    shift: usize,
}

impl Inputs {
    /// Room for what so many sequences in so many pages look back at.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn new(
        arena: &mut Arena,
        reach: Reach,
        sequences: usize,
        pages: usize,
    ) -> Result<Self, OutOfMemory> {
        let (stride, numbers) = (reach.stride(), reach.numbers());
        let recent = reach.layers.saturating_mul(RECENT * stride);
        let mut held = arena.list(sequences)?;
        if held.capacity() >= sequences {
            held.extend((0..sequences).map(|_| Held { positions: 0..0, from: 0, shift: 0 }));
        }
        Ok(Self {
            reach,
            recent: arena.buf(sequences.saturating_mul(recent))?,
            ends: arena.buf(pages.saturating_mul(numbers))?,
            held,
            zeros: arena.buf(stride)?,
        })
    }

    /// Where work can go on in a sequence that has `len` tokens, of which the first `sound` follow from each other alone:
    /// behind the last, or at the start of a page before.
    pub(crate) fn resume(&self, sequence: usize, len: usize, sound: usize) -> usize {
        match self.covers(sequence, len) {
            true => len,
            false => len.min(sound) / PAGE * PAGE,
        }
    }

    fn covers(&self, sequence: usize, len: usize) -> bool {
        let Held { positions, .. } = &self.held[sequence];
        len == 0 || (positions.start <= len.saturating_sub(self.reach.positions) && len <= positions.end)
    }

    /// Begins work on a run, which starts where [`Inputs::resume`] says.
    pub(crate) fn begin(&mut self, run: &Run<'_>) {
        let Run { sequence, start, pages, .. } = *run;
        let first = start.saturating_sub(self.reach.positions);
        let mut from = first;
        if self.covers(sequence, start) {
            from = from.min(self.held[sequence].positions.start);
        } else if let Some(&page) = (start / PAGE).checked_sub(1).and_then(|page| pages.get(page)) {
            for layer in 0..self.reach.layers {
                for position in first..start {
                    let (end, place) =
                        (self.end(page, layer, position), self.place(sequence, layer, position));
                    self.recent[place].copy_from_slice(&self.ends[end]);
                }
            }
        }
        let held = &mut self.held[sequence];
        (held.positions, held.from) = (0..0, from);
    }

    /// Ends work on a run.
    pub(crate) fn finish(&mut self, run: &Run<'_>) {
        let end = run.start + run.tokens;
        let held = &mut self.held[run.sequence];
        held.positions = held.from.max(end.saturating_sub(RECENT))..end;
    }

    /// A layer's input so many positions before the start of a run.
    pub(crate) fn before(&self, layer: usize, run: &Run<'_>, distance: usize) -> &[f32] {
        match run.start.checked_sub(distance) {
            Some(position) => &self.recent[self.place(run.sequence, layer, position)],
            None => &self.zeros,
        }
    }

    /// Keeps a layer's inputs at the positions of a run, `input` of its tokens' numbers.
    pub(crate) fn keep<'a>(&mut self, layer: usize, run: &Run<'_>, input: impl Fn(usize) -> &'a [f32]) {
        let reach = self.reach.positions;
        for (token, position) in (run.start..run.start + run.tokens).enumerate() {
            if token + RECENT >= run.tokens {
                let place = self.place(run.sequence, layer, position);
                self.recent[place].copy_from_slice(input(token));
            }
            if position % PAGE >= PAGE - reach {
                let place = self.end(run.pages[position / PAGE], layer, position);
                self.ends[place].copy_from_slice(input(token));
            }
        }
    }

    /// Forgets all of a sequence behind the first `len` positions.
    pub(crate) fn truncate(&mut self, sequence: usize, len: usize) {
        let held = &mut self.held[sequence];
        held.positions.end = held.positions.end.min(len);
        held.positions.start = held.positions.start.min(len);
    }

    /// Takes some tokens out of a sequence: those behind move up.
    pub(crate) fn forget(&mut self, sequence: usize, tokens: Range<usize>) {
        let held = &mut self.held[sequence];
        let positions = held.positions.start.max(tokens.end)..held.positions.end;
        let moved = |position: usize| position - tokens.len();
        held.positions =
            if positions.is_empty() { 0..0 } else { moved(positions.start)..moved(positions.end) };
        held.shift += tokens.len();
    }

    /// Bytes that the state of a sequence of `len` tokens takes, with what its last position looks back at if it `ends`.
    pub(crate) fn state_bytes(&self, len: usize, ends: bool) -> usize {
        (len / PAGE + usize::from(ends)) * self.reach.numbers() * size_of::<f32>()
    }

    /// Whether there is what the last of `len` positions looks back at.
    pub(crate) fn ends_at(&self, sequence: usize, len: usize) -> bool {
        len > 0 && self.covers(sequence, len)
    }

    /// The numbers of the state of a sequence that is in the first pages, in order.
    pub(crate) fn state(&self, sequence: usize, len: usize) -> impl Iterator<Item = f32> {
        let pages = &self.ends[..len / PAGE * self.reach.numbers()];
        let last = self.ends_at(sequence, len).then(|| {
            self.last(len).map(move |(layer, position)| match position {
                Some(position) => &self.recent[self.place(sequence, layer, position)],
                None => &self.zeros[..],
            })
        });
        pages.iter().chain(last.into_iter().flatten().flatten()).copied()
    }

    /// Takes up such numbers, of a sequence that `ends` or does not.
    pub(crate) fn take_up(
        &mut self,
        sequence: usize,
        len: usize,
        ends: bool,
        mut numbers: impl Iterator<Item = f32>,
    ) {
        let pages = len / PAGE * self.reach.numbers();
        self.ends[..pages].iter_mut().zip(&mut numbers).for_each(|(place, number)| *place = number);
        self.held[sequence] = Held { positions: 0..0, from: 0, shift: 0 };
        if !ends {
            return;
        }
        for (layer, position) in self.last(len) {
            let place = position.map(|position| self.place(sequence, layer, position));
            let mut row = numbers.by_ref().take(self.reach.stride());
            match place {
                Some(place) => {
                    self.recent[place].iter_mut().zip(row).for_each(|(place, number)| *place = number)
                }
                None => while row.next().is_some() {},
            }
        }
        self.held[sequence].positions = len.saturating_sub(self.reach.positions)..len;
    }

    /// The layers and positions that the one after `len` positions looks back at; None of one before the first.
    fn last(&self, len: usize) -> impl Iterator<Item = (usize, Option<usize>)> + use<> {
        let Reach { layers, positions, .. } = self.reach;
        (0..layers)
            .flat_map(move |layer| (1..=positions).rev().map(move |back| (layer, len.checked_sub(back))))
    }

    fn place(&self, sequence: usize, layer: usize, position: usize) -> Range<usize> {
        let Reach { layers, .. } = self.reach;
        let position = (position + self.held[sequence].shift) % RECENT;
        self.row((sequence * layers + layer) * RECENT + position)
    }

    /// Where the input at one of the last positions of a page is.
    fn end(&self, page: u32, layer: usize, position: usize) -> Range<usize> {
        let Reach { layers, positions, .. } = self.reach;
        let position = position % PAGE - (PAGE - positions);
        self.row((page as usize * layers + layer) * positions + position)
    }

    fn row(&self, number: usize) -> Range<usize> {
        let stride = self.reach.stride();
        number * stride..(number + 1) * stride
    }
}
