use std::io::{self, ErrorKind, Read, Seek, Write};

use twox_hash::XxHash3_128;

use super::step::finite;
use super::{Member, SequenceId, Sequences, SessionError};
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
    /// A state whose file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(ErrorKind),
    /// A state of other weights or of another shape.
    #[error("the state of a session of another model, or with other adapters")]
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
        state.save(segment, pristine, &mut out)?;
    }
    let checksum = out.hasher.finish_128();
    out.out.write_all(&checksum.to_le_bytes())
}

/// What a state says of itself before anything else.
#[derive(Clone, Copy, Debug)]
struct Header {
    cache: CacheTypes,
    has_logits: bool,
    fingerprint: u128,
    tokens: usize,
    pristine: usize,
}

impl Header {
    /// Reads the first bytes of a state.
    fn parse(bytes: &[u8]) -> Result<Self, StateError> {
        let mut rest = Reader(bytes);
        if rest.array() != Some(STATE_MAGIC) {
            return Err(StateError::Foreign);
        }
        let version = rest.array().map(u32::from_le_bytes).ok_or(StateError::Damaged)?;
        if version != VERSION {
            return Err(StateError::Version(version));
        }
        let [keys, values, has_logits @ (0 | 1), 0] = rest.array().ok_or(StateError::Damaged)? else {
            return Err(StateError::Damaged);
        };
        let (keys, values) = cache_type(keys).zip(cache_type(values)).ok_or(StateError::Damaged)?;
        let fingerprint = rest.array().map(u128::from_le_bytes).ok_or(StateError::Damaged)?;
        let mut number = || {
            let number = rest.array().map(u64::from_le_bytes).ok_or(StateError::Damaged)?;
            Ok(usize::try_from(number).unwrap_or(usize::MAX))
        };
        let (tokens, pristine) = (number()?, number()?);
        if pristine > tokens {
            return Err(StateError::Damaged);
        }
        Ok(Self {
            cache: CacheTypes { keys, values },
            has_logits: has_logits == 1,
            fingerprint,
            tokens,
            pristine,
        })
    }

    /// Whether such a state can be taken up there.
    fn fits(&self, expected: &Expected) -> Result<(), StateError> {
        if self.fingerprint != expected.fingerprint {
            return Err(StateError::OtherModel);
        }
        if self.cache != expected.cache {
            return Err(StateError::OtherCache { expected: expected.cache, found: self.cache });
        }
        if self.tokens > expected.context {
            return Err(StateError::TooLong { tokens: self.tokens, context: expected.context });
        }
        Ok(())
    }

    /// Numbers of logits.
    fn logits(&self, expected: &Expected) -> usize {
        if self.has_logits { expected.vocabulary } else { 0 }
    }
}

/// What of a state is taken up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restored {
    /// All but the logits.
    State,
    WithLogits,
}

/// A state in a file that was found to be whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateFile {
    header: Header,
}

impl StateFile {
    /// Reads all of a file, and keeps nothing of it but what it says of itself.
    ///
    /// # Errors
    /// What is no state, a damaged one, and what cannot be read.
    pub(crate) fn check(file: &mut (impl Read + Seek)) -> Result<Self, StateError> {
        let length = file.seek(io::SeekFrom::End(0)).map_err(unreadable)?;
        file.rewind().map_err(unreadable)?;
        let mut body = Hashed::new(&mut *file);
        let mut first = Vec::with_capacity(HEADER);
        (&mut body).take(HEADER as u64).read_to_end(&mut first).map_err(unreadable)?;
        let header = Header::parse(&first)?;
        let rest = length.checked_sub((HEADER + CHECKSUM) as u64).ok_or(StateError::Damaged)?;
        io::copy(&mut (&mut body).take(rest), &mut io::sink()).map_err(unreadable)?;
        body.check()?;
        Ok(Self { header })
    }

    /// How many tokens it is of.
    pub(crate) fn tokens(&self) -> usize {
        self.header.tokens
    }
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
        let header = Header::parse(bytes)?;
        let (body, checksum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(StateError::Damaged)?;
        if body.len() < HEADER || XxHash3_128::oneshot(body) != u128::from_le_bytes(*checksum) {
            return Err(StateError::Damaged);
        }
        header.fits(expected)?;
        let (tokens, logits) = (header.tokens, header.logits(expected));
        let (numbers, states_of) =
            body[HEADER..].split_at_checked(4 * (tokens + logits)).ok_or(StateError::Damaged)?;
        let mut left = states_of;
        for state in states.iter() {
            let len = state.saved_len(tokens, left).ok_or(StateError::Damaged)?;
            left = left.get(len..).ok_or(StateError::Damaged)?;
        }
        if !left.is_empty() {
            return Err(StateError::Damaged);
        }
        let (tokens, logits) = numbers.as_chunks().0.split_at(tokens);
        if tokens.iter().any(|&token| u32::from_le_bytes(token) as usize >= expected.vocabulary) {
            return Err(StateError::Damaged);
        }
        Ok(Self { tokens, pristine: header.pristine, logits, states: states_of })
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
            // All that it wants to read was found to be there.
            let _ = state.load(segment, &mut rest);
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
        let foreign = |error| io::Error::new(ErrorKind::InvalidData, error);
        let Header { cache, fingerprint, tokens, .. } = Header::parse(&header).map_err(foreign)?;
        if tokens > most {
            return Err(foreign(StateError::TooLong { tokens, context: most }));
        }
        let mut bytes = vec![0; 4 * tokens];
        state.read_exact(&mut bytes)?;
        let tokens = bytes.as_chunks().0.iter().map(|&token| u32::from_le_bytes(token)).collect();
        Ok(Self { fingerprint, cache, tokens })
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
        let expected = self.expected(id);
        let saved = Saved::check(state, &expected, &self.context.ops.states)?;
        self.begin_restored(id, saved.tokens(), saved.pristine());
        let segment = Self::restored(id, &self.members);
        saved.fill(&segment, &mut self.context.ops.states);
        let logits = self.context.buffers.logits_mut(0, self.model.vocabulary());
        logits.iter_mut().zip(saved.logits()).for_each(|(logit, saved)| *logit = saved);
        self.not_finite.clear();
        if !finite(logits) {
            self.not_finite.push(0);
        }
        Ok(saved.logits().next().is_some())
    }

    /// Takes up a saved state piece by piece, so that it is not in memory twice; whether it has logits, which are those of
    /// number 0 then, if they are wanted. One that changed after it was [checked](StateFile::check) leaves the sequence with
    /// nothing.
    pub(crate) fn restore_from(
        &mut self,
        id: SequenceId,
        state: &StateFile,
        file: &mut (impl Read + Seek),
        logits: Restored,
    ) -> Result<bool, StateError> {
        let (expected, StateFile { header }) = (self.expected(id), state);
        header.fits(&expected)?;
        file.rewind().map_err(unreadable)?;
        let mut body = Hashed::new(file);
        let mut numbers = vec![[0; 4]; header.tokens];
        io::copy(&mut (&mut body).take(HEADER as u64), &mut io::sink()).map_err(unreadable)?;
        body.read_exact(numbers.as_flattened_mut()).map_err(unreadable)?;
        if numbers.iter().any(|&token| u32::from_le_bytes(token) as usize >= expected.vocabulary) {
            return Err(StateError::Damaged);
        }
        self.begin_restored(id, numbers.into_iter().map(u32::from_le_bytes), header.pristine);
        let has_logits = header.has_logits && logits == Restored::WithLogits;
        let logits = match has_logits {
            true => self.read_logits(&mut body),
            false => {
                let logits = 4 * header.logits(&expected) as u64;
                io::copy(&mut (&mut body).take(logits), &mut io::sink()).map(drop)
            }
        };
        let segment = Self::restored(id, &self.members);
        let states = &mut self.context.ops.states;
        let read =
            logits.and_then(|()| states.iter_mut().try_for_each(|state| state.load(&segment, &mut body)));
        let whole = read.map_err(unreadable).and_then(|()| body.check());
        if whole.is_err() {
            let _ = self.truncate(id, 0);
        }
        whole.map(|()| has_logits)
    }

    /// Reads the logits of number 0.
    fn read_logits(&mut self, from: &mut impl Read) -> io::Result<()> {
        let logits = self.context.buffers.logits_mut(0, self.model.vocabulary());
        for logit in logits.iter_mut() {
            let mut bytes = [0; 4];
            from.read_exact(&mut bytes)?;
            *logit = f32::from_le_bytes(bytes);
        }
        self.not_finite.clear();
        if !finite(logits) {
            self.not_finite.push(0);
        }
        Ok(())
    }

    /// What a state must be of that is to be taken up by a sequence.
    fn expected(&self, id: SequenceId) -> Expected {
        let pages = self.pages.free() + self.members[id.place].pages.len();
        Expected {
            fingerprint: self.fingerprint(&self.members[id.place].adapters),
            cache: self.context.options().cache,
            vocabulary: self.model.vocabulary(),
            context: self.context().min(PAGE * pages),
        }
    }

    /// Gives a sequence the tokens of a saved state, and pages for what comes with them.
    fn begin_restored(&mut self, id: SequenceId, tokens: impl Iterator<Item = u32>, pristine: usize) {
        // Whoever shares its pages keeps them.
        let _ = self.truncate(id, 0);
        let member = &mut self.members[id.place];
        member.tokens.extend(tokens);
        let len = member.tokens.len();
        member.pages.extend((0..len.div_ceil(PAGE)).map_while(|_| self.pages.take()));
        member.worked = len;
        member.first_after_gap = Some(pristine).filter(|&first| first < len);
    }

    /// What states are to have of it then.
    fn restored(id: SequenceId, members: &[Member]) -> Segment<'_> {
        let Member { tokens, pages, .. } = &members[id.place];
        Segment { sequence: id.place, start: tokens.len(), tokens: 0, pages }
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

/// Hashes what is read.
struct Hashed<R> {
    from: R,
    hasher: XxHash3_128,
}

impl<R: Read> Hashed<R> {
    fn new(from: R) -> Self {
        Self { from, hasher: XxHash3_128::new() }
    }

    /// Whether the checksum that follows is that of what was read.
    fn check(mut self) -> Result<(), StateError> {
        let mut checksum = [0; CHECKSUM];
        self.from.read_exact(&mut checksum).map_err(unreadable)?;
        match self.hasher.finish_128() == u128::from_le_bytes(checksum) {
            true => Ok(()),
            false => Err(StateError::Damaged),
        }
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(bytes)?;
        self.hasher.write(&bytes[..read]);
        Ok(read)
    }
}

/// Why a state could not be read.
fn unreadable(error: io::Error) -> StateError {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::InvalidData => StateError::Damaged,
        kind => StateError::Unreadable(kind),
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
