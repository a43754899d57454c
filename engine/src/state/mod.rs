//! What layers keep of a sequence's tokens for those that follow: keys and values, the inputs of convolutions.
//!
//! A kind of state is a file here and a layer in [`model`](crate::model). The layer says what it needs kept
//! ([`StateSpec`]) and works with it in its own terms; everybody else knows [`SequenceState`] alone.

mod conv_state;
pub(crate) mod kv_cache;
mod kv_store;
mod recent;
mod window_cache;

use std::any::Any;
use std::io::{self, Read, Write};
use std::ops::Range;

use crate::arena::{Arena, Buf, OutOfMemory};
use crate::kernels::attention::SPAN;
use crate::team::Team;

pub(crate) use conv_state::{ConvSpec, ConvState};
pub(crate) use kv_cache::{AttentionSpec, Placement, Slots};
pub(crate) use kv_store::KvStore;
pub use kv_store::{CacheType, CacheTypes};

/// Positions that a page of the cache holds: those whose attention is worked out together.
pub(crate) const PAGE: usize = SPAN;

/// Positions that a sequence goes back by at most where nobody may notice: those of drafts that turned out wrong.
pub(crate) const TAKEN_BACK: usize = 32;

/// Consecutive tokens of one sequence in a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment<'a> {
    /// The number of the sequence among those that there is room for.
    pub(crate) sequence: usize,
    /// The first token's position in the sequence.
    pub(crate) start: usize,
    pub(crate) tokens: usize,
    /// The pages that hold the sequence, in its order, as far as the segment's last token.
    pub(crate) pages: &'a [u32],
}

impl Segment<'_> {
    /// The position behind its last token.
    pub(crate) fn end(&self) -> usize {
        self.start + self.tokens
    }
}

/// How a sequence is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// Tokens that it was fed until now, whether or not they were worked on. Drafts that nobody accepted are not among them.
    pub(crate) fed: usize,
    /// The first of them, which follow from each other alone.
    pub(crate) pristine: usize,
    /// How many it keeps.
    pub(crate) len: usize,
}

/// What the layers of one kind keep of all sequences.
///
/// A sequence is known by its number. Its tokens lie in pages of [`PAGE`] positions, which sequences with the same
/// beginning share; what a state keeps by page goes with the pages, and what it keeps by sequence is handed on by
/// [`share`](Self::share). Whatever a state has lost, [`resume`](Self::resume) says from where the tokens have to be
/// worked on again, so that no answer ever depends on what was kept.
pub(crate) trait SequenceState: Any + Send {
    /// Before the layers work on a segment, which starts where [`resume`](Self::resume) said. Until
    /// [`finish`](Self::finish) it may be cut short anywhere.
    fn begin(&mut self, segment: &Segment<'_>);

    /// All layers are through with a segment.
    fn finish(&mut self, segment: &Segment<'_>);

    /// Where work can go on in a sequence of `len` tokens, of which the first `pristine` follow from each other alone:
    /// at `len`, or before it where what the next token looks back at is gone.
    fn resume(&self, sequence: usize, len: usize, pristine: usize) -> usize;

    /// The same so that [`forget`](Self::forget) finds all that it is to move.
    fn resume_to_forget(&self, sequence: usize, len: usize, pristine: usize) -> usize {
        self.resume(sequence, len, pristine)
    }

    /// Forgets all of a sequence behind its first tokens.
    fn truncate(&mut self, sequence: usize, cut: &Cut);

    /// From here on the tokens of a sequence, which are so many, do not follow from each other alone.
    fn part(&mut self, _sequence: usize, _len: usize) {}

    /// Takes `tokens` out of a sequence, which ends where the segment starts and whose first `pristine` follow from each
    /// other alone: those behind move up.
    fn forget(
        &mut self,
        segment: &Segment<'_>,
        tokens: Range<usize>,
        pristine: usize,
        keys: &mut KeyShift<'_>,
    );

    /// Gives one sequence what another one keeps of its first `len` tokens, beside the pages.
    fn share(&mut self, from: usize, to: usize, len: usize);

    /// Copies what is kept by page from one page to another.
    fn copy_page(&mut self, from: u32, to: u32);

    /// Writes what is kept of the `segment.start` tokens of a sequence, of which the first `pristine` follow from each other alone:
    /// the same bytes for the same tokens.
    fn save(&self, segment: &Segment<'_>, pristine: usize, out: &mut dyn Write) -> io::Result<()>;

    /// How many of these bytes are what [`save`](Self::save) wrote of `len` tokens; None where they are not.
    fn saved_len(&self, len: usize, bytes: &[u8]) -> Option<usize>;

    /// Takes up what [`save`](Self::save) has written, as the state of a sequence of `segment.start` tokens.
    ///
    /// # Errors
    /// What `from` returns, and bytes that were not written there: the state is of no use then.
    fn load(&mut self, segment: &Segment<'_>, from: &mut dyn Read) -> io::Result<()>;
}

/// How keys that move up in a sequence are turned to where they stand then.
pub(crate) struct KeyShift<'a> {
    pub(crate) team: &'a mut Team,
    /// For each thread, room for the numbers of a head.
    pub(crate) scratch: &'a mut [Buf<f32>],
    /// Turns a head's key back, by the RoPE table of this number.
    pub(crate) turn: &'a (dyn Fn(usize, &mut [f32]) + Sync),
}

/// What layers of one kind need kept. Those with equal ones share a state, each with a number of its own in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StateSpec {
    Attention(AttentionSpec),
    Conv(ConvSpec),
}

/// What states are to have room for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateRoom {
    pub(crate) sequences: usize,
    /// Positions of a sequence, at most.
    pub(crate) context: usize,
    /// Tokens of a batch, at most.
    pub(crate) batch: usize,
    /// Pages of all sequences.
    pub(crate) pages: usize,
    /// Positions that these hold: the last page may be shorter where there is one sequence alone.
    pub(crate) slots: usize,
    /// What keys and values are kept in.
    pub(crate) cache: CacheTypes,
}

/// A layer's place: a state, and the layer's number in it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StateId {
    state: usize,
    pub(crate) layer: usize,
}

/// The specs of a network's layers.
#[derive(Clone, Debug, Default)]
pub(crate) struct StateSpecs(Vec<(StateSpec, usize)>);

impl StateSpecs {
    /// A place for one layer more.
    pub(crate) fn add(&mut self, spec: StateSpec) -> StateId {
        let state = self.0.iter().position(|(known, _)| *known == spec).unwrap_or_else(|| {
            self.0.push((spec, 0));
            self.0.len() - 1
        });
        let layers = &mut self.0[state].1;
        *layers += 1;
        StateId { state, layer: *layers - 1 }
    }

    /// The states themselves.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn reserve(&self, arena: &mut Arena, room: &StateRoom) -> Result<States, OutOfMemory> {
        let state = |(spec, layers): &(StateSpec, usize)| match spec {
            StateSpec::Attention(spec) => spec.reserve(arena, *layers, room),
            StateSpec::Conv(spec) => spec.reserve(arena, *layers, room),
        };
        Ok(States(self.0.iter().map(state).collect::<Result<_, _>>()?))
    }
}

/// All that a network's layers keep of all sequences.
pub(crate) struct States(Vec<Box<dyn SequenceState>>);

impl States {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &dyn SequenceState> {
        self.0.iter().map(|state| &**state)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut (dyn SequenceState + 'static)> {
        self.0.iter_mut().map(|state| &mut **state)
    }

    /// Where work can go on in a sequence so that all states have what is looked back at: see
    /// [`SequenceState::resume`].
    pub(crate) fn resume(&self, sequence: usize, len: usize, pristine: usize) -> usize {
        let mut start = len;
        loop {
            let earlier = self.iter().map(|state| state.resume(sequence, start, pristine)).min();
            match earlier {
                Some(earlier) if earlier < start => start = earlier,
                _ => return start,
            }
        }
    }

    /// The same before tokens of the sequence are forgotten: see [`SequenceState::resume_to_forget`].
    pub(crate) fn resume_to_forget(&self, sequence: usize, len: usize, pristine: usize) -> usize {
        let earliest = self.iter().map(|state| state.resume_to_forget(sequence, len, pristine)).min();
        self.resume(sequence, earliest.unwrap_or(len), pristine)
    }

    /// The state of a layer that knows its kind.
    pub(crate) fn of<S: SequenceState>(&self, id: StateId) -> Option<&S> {
        (&*self.0[id.state] as &dyn Any).downcast_ref()
    }

    pub(crate) fn of_mut<S: SequenceState>(&mut self, id: StateId) -> Option<&mut S> {
        (&mut *self.0[id.state] as &mut dyn Any).downcast_mut()
    }
}
