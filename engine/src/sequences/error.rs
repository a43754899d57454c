use crate::arena::OutOfMemory;
use crate::kernels::UnknownIsa;
use crate::model::{AttachError, Cancelled};
use crate::text::grammar::GrammarError;
use crate::text::sampler::SamplerError;

/// Why a sequence cannot begin or go on. Each message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// There are as many sequences as there may be.
    #[error("no place for another sequence: there are {most}")]
    NoPlace {
        /// How many there may be.
        most: usize,
    },
    /// A sequence that has left.
    #[error("there is no such sequence any more")]
    NoSequence,
    /// The cache that sequences share has too few pages.
    #[error("the cache is full: expected {wanted} free pages of 256 positions, found {free}")]
    CacheFull {
        /// Pages that the tokens need.
        wanted: usize,
        /// Pages that are free.
        free: usize,
    },
    /// `SISKIN_ISA` names an instruction set that is not there.
    #[error(transparent)]
    UnknownIsa(#[from] UnknownIsa),
    /// The system has no memory for a buffer.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
    /// The system starts no thread.
    #[error("cannot start {threads} threads")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A session option has no meaning.
    #[error("session option {option}: expected {expected}, found {found}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// What would have done.
        expected: String,
        /// The value given.
        found: usize,
    },
    /// The tokens do not fit what is left of the context. The session is as it was.
    #[error("the context of {context} tokens is full: {used} are used and {wanted} more were asked for")]
    ContextFull {
        /// Tokens that the session holds at most.
        context: usize,
        /// Tokens that it holds.
        used: usize,
        /// Tokens that were to be added.
        wanted: usize,
    },
    /// A model that is to draft for another has other tokens.
    #[error("the draft model has another vocabulary: token {token} is not the same")]
    DraftVocabulary {
        /// The first token that differs.
        token: u32,
    },
    /// Logits are not all numbers: the model, or what is kept of its tokens, has numbers too large for it.
    #[error("the logits after the token at position {position} are not finite")]
    NotFinite {
        /// The token's position, from 0.
        position: usize,
    },
    /// The work was cancelled from outside.
    #[error("cancelled")]
    Cancelled,
    /// A token number is not in the vocabulary.
    #[error("token {token} is not in the vocabulary of {vocabulary}")]
    Token {
        /// The number given.
        token: u32,
        /// Tokens in the vocabulary.
        vocabulary: usize,
    },
    /// Something was to be generated or read before any token was fed.
    #[error("no token was fed yet: an answer needs a prompt")]
    NoPrompt,
    /// A sampler option is out of range.
    #[error(transparent)]
    Sampler(#[from] SamplerError),
    /// The grammar of an answer leaves no way on.
    #[error(transparent)]
    Grammar(#[from] GrammarError),
    /// An adapter cannot be attached.
    #[error(transparent)]
    Attach(#[from] AttachError),
}

impl From<Cancelled> for SessionError {
    fn from(_: Cancelled) -> Self {
        SessionError::Cancelled
    }
}
