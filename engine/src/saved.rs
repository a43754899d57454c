use std::io::{self, Write};

use twox_hash::XxHash3_128;

use crate::cache::{Cache, CacheType, CacheTypes};
use crate::inputs::Inputs;

/// Why a saved state cannot be restored. The session stays as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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

const MAGIC: [u8; 8] = *b"siskin-s";
const VERSION: u32 = 2;
/// Magic, version, types of keys and values, whether there are logits and what convolutions look back at from the end, the
/// model's fingerprint, tokens, the first of them that are pristine.
const HEADER: usize = 8 + 4 + 4 + 16 + 8 + 8;
/// The XXH3 hash of all bytes before it.
const CHECKSUM: usize = 16;

/// What a state is of: the layers and heads of the cache, the numbers of logits, and whose they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// [`Model::fingerprint`](crate::Model::fingerprint).
    pub(crate) model: u128,
    pub(crate) layers: usize,
    pub(crate) kv_heads: usize,
    pub(crate) vocabulary: usize,
}

/// What a session holds.
#[derive(Clone, Copy)]
pub(crate) struct Tokens<'a> {
    pub(crate) all: &'a [u32],
    /// As [`Session::pristine`](crate::Session::pristine).
    pub(crate) pristine: usize,
}

/// Writes the state of a sequence that has the first slots of a cache.
pub(crate) fn save(
    out: impl Write,
    shape: Shape,
    tokens: Tokens<'_>,
    logits: Option<&[f32]>,
    (cache, inputs): (&Cache, Option<&Inputs>),
) -> io::Result<()> {
    let Tokens { all: tokens, pristine } = tokens;
    let mut out = Hashing { out, hasher: XxHash3_128::new() };
    let CacheTypes { keys, values } = cache.types();
    out.write(&MAGIC)?;
    out.write(&VERSION.to_le_bytes())?;
    let ends = inputs.is_some_and(|inputs| inputs.ends_at(0, tokens.len()));
    out.write(&[number(keys), number(values), logits.is_some().into(), ends.into()])?;
    out.write(&shape.model.to_le_bytes())?;
    out.write(&(tokens.len() as u64).to_le_bytes())?;
    out.write(&(pristine as u64).to_le_bytes())?;
    for token in tokens {
        out.write(&token.to_le_bytes())?;
    }
    for logit in logits.into_iter().flatten() {
        out.write(&logit.to_le_bytes())?;
    }
    for layer in 0..shape.layers {
        for head in 0..shape.kv_heads {
            out.write(cache.keys(layer, head, 0..tokens.len()))?;
            out.write(cache.values(layer, head, 0..tokens.len()))?;
        }
    }
    for number in inputs.iter().flat_map(|inputs| inputs.state(0, tokens.len())) {
        out.write(&number.to_le_bytes())?;
    }
    let checksum = out.hasher.finish_128();
    out.out.write_all(&checksum.to_le_bytes())
}

/// A state that was found to be whole and to fit.
pub(crate) struct Saved<'a> {
    shape: Shape,
    tokens: &'a [[u8; 4]],
    pristine: usize,
    logits: &'a [[u8; 4]],
    cache: &'a [u8],
    /// Whether there is what convolutions look back at from the last token.
    ends: bool,
    inputs: &'a [[u8; 4]],
}

impl<'a> Saved<'a> {
    /// Checks the bytes of a state that is to go into `cache`, of a session of `context` tokens.
    pub(crate) fn check(
        bytes: &'a [u8],
        shape: Shape,
        (cache, inputs): (&Cache, Option<&Inputs>),
        context: usize,
    ) -> Result<Self, StateError> {
        let mut rest = Reader(bytes);
        if rest.array() != Some(MAGIC) {
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
        let [keys, values, has_logits, ends] = rest.array().ok_or(StateError::Damaged)?;
        let types = cache_type(keys).zip(cache_type(values)).ok_or(StateError::Damaged)?;
        if rest.array().map(u128::from_le_bytes) != Some(shape.model) {
            return Err(StateError::OtherModel);
        }
        let found = CacheTypes { keys: types.0, values: types.1 };
        if found != cache.types() {
            return Err(StateError::OtherCache { expected: cache.types(), found });
        }
        let mut number = || {
            let number = rest.array().map_or(u64::MAX, u64::from_le_bytes);
            usize::try_from(number).unwrap_or(usize::MAX)
        };
        let (tokens, pristine) = (number(), number());
        if tokens > context {
            return Err(StateError::TooLong { tokens, context });
        }
        let of_head = cache.keys(0, 0, 0..tokens).len() + cache.values(0, 0, 0..tokens).len();
        let numbers = tokens + if has_logits == 1 { shape.vocabulary } else { 0 };
        let of_cache = shape.layers * shape.kv_heads * of_head;
        let of_inputs = inputs.map_or(0, |inputs| inputs.state_bytes(tokens, ends == 1));
        let length = HEADER + 4 * numbers + of_cache + of_inputs;
        if body.len() != length || has_logits > 1 || ends > 1 || pristine > tokens {
            return Err(StateError::Damaged);
        }
        let (numbers, past) = body[HEADER..].split_at(4 * numbers);
        let (cache, inputs) = past.split_at(of_cache);
        let (tokens, logits) = numbers.as_chunks().0.split_at(tokens);
        if tokens.iter().any(|&token| u32::from_le_bytes(token) as usize >= shape.vocabulary) {
            return Err(StateError::Damaged);
        }
        let inputs = inputs.as_chunks().0;
        Ok(Self { shape, tokens, pristine, logits, cache, ends: ends == 1, inputs })
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = u32> {
        self.tokens.iter().map(|&token| u32::from_le_bytes(token))
    }

    /// As [`Session::pristine`](crate::Session::pristine).
    pub(crate) fn pristine(&self) -> usize {
        self.pristine
    }

    /// None where none were saved.
    pub(crate) fn logits(&self) -> Option<impl Iterator<Item = f32>> {
        let logits = self.logits.iter().map(|&logit| f32::from_le_bytes(logit));
        (!self.logits.is_empty()).then_some(logits)
    }

    /// Puts all into the cache and the inputs that it was checked for.
    pub(crate) fn fill(&self, (cache, inputs): (&mut Cache, Option<&mut Inputs>)) {
        let mut rest = self.cache;
        for layer in 0..self.shape.layers {
            for head in 0..self.shape.kv_heads {
                for part in cache.parts_mut(layer, head, 0..self.tokens.len()) {
                    let (bytes, others) = rest.split_at(part.len());
                    part.copy_from_slice(bytes);
                    rest = others;
                }
            }
        }
        if let Some(inputs) = inputs {
            let numbers = self.inputs.iter().map(|&number| f32::from_le_bytes(number));
            inputs.take_up(0, self.tokens.len(), self.ends, numbers);
        }
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

impl<W: Write> Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.write(bytes);
        self.out.write_all(bytes)
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
