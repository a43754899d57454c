use std::io::{self, Read, Write};

use twox_hash::XxHash3_128;

use super::step::finite;
use super::{SequenceId, Sequences, SessionError};
use crate::model::{Adapter, Attached};
use crate::state::{CacheType, CacheTypes, PAGE, Segment, States};

/// Why a saved state cannot be restored. The session stays as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Something else than a saved state.
    #[error("not the saved state of a session")]
    Foreign,
    /// A state in another format.
    #[error("saved in version {0} of the format, expected {VERSION}")]
    Version(u32),
    /// A state whose checksum, or whose length, is not what it was.
    #[error("damaged: its bytes are not those that were saved")]
    Damaged,
    /// A state of other weights or of another shape.
    #[error("the state of a session of another model")]
    OtherModel,
    /// A state whose keys or values are kept in other types.
    #[error("saved with a cache of {found}, expected {expected}")]
    OtherCache {
        /// The session's types.
        expected: CacheTypes,
        /// The state's.
        found: CacheTypes,
    },
    /// A state of more tokens than the session has room for.
    #[error("{tokens} tokens, more than the context of {context} has room for")]
    TooLong {
        /// Tokens of the state.
        tokens: usize,
        /// Tokens that the session holds at most.
        context: usize,
    },
}

/// What the saved state of a session begins with.
pub const STATE_MAGIC: [u8; 8] = *b"siskin-s";
const VERSION: u32 = 3;
/// Magic, version, types of keys and values, whether there are logits, a zero, the fingerprint, tokens, the first of them
/// that are pristine.
const HEADER: usize = 8 + 4 + 4 + 16 + 8 + 8;
/// The XXH3 hash of all bytes before it.
const CHECKSUM: usize = 16;

/// What is saved of a sequence, beside its states.
pub(super) struct Contents<'a> {
    /// Of all that logits of the same tokens depend on.
    pub(super) fingerprint: u128,
    pub(super) cache: CacheTypes,
    pub(super) tokens: &'a [u32],
    /// As [`Session::pristine`](crate::Session::pristine).
    pub(super) pristine: usize,
    pub(super) logits: Option<&'a [f32]>,
}

/// What a state must be of to be taken up.
pub(super) struct Expected {
    pub(super) fingerprint: u128,
    pub(super) cache: CacheTypes,
    /// Numbers of logits.
    pub(super) vocabulary: usize,
    /// Tokens that there is room for.
    pub(super) context: usize,
}

/// Writes a sequence that ends where the segment starts.
pub(super) fn save(
    out: impl Write,
    contents: &Contents<'_>,
    segment: &Segment<'_>,
    states: &States,
) -> io::Result<()> {
    let &Contents { fingerprint, cache: CacheTypes { keys, values }, tokens, pristine, logits } = contents;
    let mut out = Hashing { out, hasher: XxHash3_128::new() };
    out.write_all(&STATE_MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    out.write_all(&[number(keys), number(values), logits.is_some().into(), 0])?;
    out.write_all(&fingerprint.to_le_bytes())?;
    out.write_all(&(tokens.len() as u64).to_le_bytes())?;
    out.write_all(&(pristine as u64).to_le_bytes())?;
    for token in tokens {
        out.write_all(&token.to_le_bytes())?;
    }
    for logit in logits.into_iter().flatten() {
        out.write_all(&logit.to_le_bytes())?;
    }
    for state in states.iter() {
        state.save(segment, &mut out)?;
    }
    let checksum = out.hasher.finish_128();
    out.out.write_all(&checksum.to_le_bytes())
}

/// A state that was found to be whole and to fit.
pub(super) struct Saved<'a> {
    tokens: &'a [[u8; 4]],
    pristine: usize,
    logits: &'a [[u8; 4]],
    states: &'a [u8],
}

impl<'a> Saved<'a> {
    /// Checks the bytes of a state that is to go into `states`.
    pub(super) fn check(bytes: &'a [u8], expected: &Expected, states: &States) -> Result<Self, StateError> {
        let mut rest = Reader(bytes);
        if rest.array() != Some(STATE_MAGIC) {
            return Err(StateError::Foreign);
        }
        let version = rest.array().map(u32::from_le_bytes).ok_or(StateError::Damaged)?;
        if version != VERSION {
            return Err(StateError::Version(version));
        }
        let (body, checksum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(StateError::Damaged)?;
        if body.len() < HEADER || XxHash3_128::oneshot(body) != u128::from_le_bytes(*checksum) {
            return Err(StateError::Damaged);
        }
        let [keys, values, has_logits, zero] = rest.array().ok_or(StateError::Damaged)?;
        let types = cache_type(keys).zip(cache_type(values)).ok_or(StateError::Damaged)?;
        if rest.array().map(u128::from_le_bytes) != Some(expected.fingerprint) {
            return Err(StateError::OtherModel);
        }
        let found = CacheTypes { keys: types.0, values: types.1 };
        if found != expected.cache {
            return Err(StateError::OtherCache { expected: expected.cache, found });
        }
        let mut number = || {
            let number = rest.array().map_or(u64::MAX, u64::from_le_bytes);
            usize::try_from(number).unwrap_or(usize::MAX)
        };
        let (tokens, pristine) = (number(), number());
        if tokens > expected.context {
            return Err(StateError::TooLong { tokens, context: expected.context });
        }
        let logits = if has_logits == 1 { expected.vocabulary } else { 0 };
        let (numbers, states_of) =
            body[HEADER..].split_at_checked(4 * (tokens + logits)).ok_or(StateError::Damaged)?;
        let mut left = states_of;
        for state in states.iter() {
            let len = state.saved_len(tokens, left).ok_or(StateError::Damaged)?;
            left = left.get(len..).ok_or(StateError::Damaged)?;
        }
        if !left.is_empty() || has_logits > 1 || zero > 0 || pristine > tokens {
            return Err(StateError::Damaged);
        }
        let (tokens, logits) = numbers.as_chunks().0.split_at(tokens);
        if tokens.iter().any(|&token| u32::from_le_bytes(token) as usize >= expected.vocabulary) {
            return Err(StateError::Damaged);
        }
        Ok(Self { tokens, pristine, logits, states: states_of })
    }

    pub(super) fn tokens(&self) -> impl Iterator<Item = u32> {
        self.tokens.iter().map(|&token| u32::from_le_bytes(token))
    }

    /// As [`Session::pristine`](crate::Session::pristine).
    pub(super) fn pristine(&self) -> usize {
        self.pristine
    }

    /// The logits after the last token; none where none were saved.
    pub(super) fn logits(&self) -> impl Iterator<Item = f32> {
        self.logits.iter().map(|&logit| f32::from_le_bytes(logit))
    }

    /// Puts all into the states that it was checked for, as those of a sequence that ends where the segment starts.
    pub(super) fn fill(&self, segment: &Segment<'_>, states: &mut States) {
        let mut rest = self.states;
        for state in states.iter_mut() {
            let len = state.saved_len(segment.start, rest).unwrap_or(0);
            let (bytes, others) = rest.split_at(len);
            state.load(segment, bytes);
            rest = others;
        }
    }
}

/// What the saved state of a sequence says of itself. Whether it is whole shows when it is restored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SavedHead {
    /// Of all that the state depends on beside its tokens: the weights, the adapters.
    pub fingerprint: u128,
    /// The types of its keys and values.
    pub cache: CacheTypes,
    /// The tokens that it is of.
    pub tokens: Vec<u32>,
}

impl SavedHead {
    /// Reads the beginning of a saved state, no more of it than that.
    ///
    /// # Errors
    /// What `state` returns; bytes that begin otherwise, and more than `most` tokens.
    pub fn read(state: &mut impl Read, most: usize) -> io::Result<Self> {
        let mut header = [0; HEADER];
        state.read_exact(&mut header)?;
        let mut rest = Reader(&header);
        let is_ours =
            rest.array() == Some(STATE_MAGIC) && rest.array().map(u32::from_le_bytes) == Some(VERSION);
        let kinds: [u8; 4] = rest.array().unwrap_or_default();
        let types = cache_type(kinds[0]).zip(cache_type(kinds[1]));
        let fingerprint = rest.array().map(u128::from_le_bytes).unwrap_or_default();
        let tokens = rest.array().map_or(u64::MAX, u64::from_le_bytes);
        let tokens = usize::try_from(tokens).ok().filter(|&tokens| tokens <= most);
        let (true, Some((keys, values)), Some(tokens)) = (is_ours, types, tokens) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, StateError::Foreign));
        };
        let mut bytes = vec![0; 4 * tokens];
        state.read_exact(&mut bytes)?;
        let tokens = bytes.as_chunks().0.iter().map(|&token| u32::from_le_bytes(token)).collect();
        Ok(Self { fingerprint, cache: CacheTypes { keys, values }, tokens })
    }
}

impl Sequences {
    /// Writes what a sequence holds, but for tokens that wait to be worked on: see [`Session::save`](crate::Session::save).
    ///
    /// # Errors
    /// What `out` returns, and a sequence that has left.
    pub fn save(&self, id: SequenceId, out: impl Write) -> io::Result<()> {
        let place = self.place(id).map_err(io::Error::other)?;
        self.save_first(id, self.members[place].worked, None, out)
    }

    /// What states of this sequence are of, but for its tokens.
    ///
    /// # Errors
    /// [`SessionError::NoSequence`].
    pub fn fingerprint_of(&self, id: SequenceId) -> Result<u128, SessionError> {
        Ok(self.fingerprint(&self.members[self.place(id)?].adapters))
    }

    /// What states of a sequence with these adapters would be of, but for its tokens.
    pub(crate) fn fingerprint_with(&self, adapters: &[(Adapter, f32)]) -> u128 {
        let attached =
            |(adapter, scale): &(Adapter, f32)| Attached { adapter: adapter.clone(), scale: *scale };
        self.fingerprint(&adapters.iter().map(attached).collect::<Vec<_>>())
    }

    /// Writes what a sequence holds of its first `len` tokens: see [`Session::save`](crate::Session::save).
    pub(super) fn save_first(
        &self,
        id: SequenceId,
        len: usize,
        logits: Option<&[f32]>,
        out: impl Write,
    ) -> io::Result<()> {
        let member = &self.members[id.place];
        let contents = Contents {
            fingerprint: self.fingerprint(&member.adapters),
            cache: self.context.options().cache,
            tokens: &member.tokens[..len],
            pristine: member.pristine().min(len),
            logits,
        };
        let segment = Segment { sequence: id.place, start: len, tokens: 0, pages: &member.pages };
        save(out, &contents, &segment, &self.context.ops.states)
    }

    /// Takes up a saved state; whether it has logits, which are those of number 0 then.
    pub(crate) fn restore(&mut self, id: SequenceId, state: &[u8]) -> Result<bool, StateError> {
        let (place, context) = (id.place, self.context());
        let expected = Expected {
            fingerprint: self.fingerprint(&self.members[place].adapters),
            cache: self.context.options().cache,
            vocabulary: self.model.vocabulary(),
            context: context.min(PAGE * (self.pages.free() + self.members[place].pages.len())),
        };
        let saved = Saved::check(state, &expected, &self.context.ops.states)?;
        // Whoever shares its pages keeps them.
        let _ = self.truncate(id, 0);
        let member = &mut self.members[place];
        member.tokens.extend(saved.tokens());
        let len = member.tokens.len();
        member.pages.extend((0..len.div_ceil(PAGE)).map_while(|_| self.pages.take()));
        member.worked = len;
        member.first_after_gap = Some(saved.pristine()).filter(|&first| first < len);
        let segment = Segment { sequence: place, start: len, tokens: 0, pages: &member.pages };
        saved.fill(&segment, &mut self.context.ops.states);
        let logits = self.context.buffers.logits_mut(0, self.model.vocabulary());
        logits.iter_mut().zip(saved.logits()).for_each(|(logit, saved)| *logit = saved);
        self.not_finite.clear();
        if !finite(logits) {
            self.not_finite.push(0);
        }
        Ok(saved.logits().next().is_some())
    }

    /// What states of sequences with these adapters are of.
    fn fingerprint(&self, adapters: &[Attached]) -> u128 {
        self.context.fingerprint(self.model.network(), self.model.fingerprint(), adapters)
    }
}

const TYPES: [CacheType; 3] = [CacheType::F32, CacheType::F16, CacheType::Q8_0];

fn number(ty: CacheType) -> u8 {
    TYPES.iter().position(|&other| other == ty).unwrap_or(0) as u8
}

fn cache_type(number: u8) -> Option<CacheType> {
    TYPES.get(usize::from(number)).copied()
}

/// Hashes what is written.
struct Hashing<W> {
    out: W,
    hasher: XxHash3_128,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.write(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }
}
