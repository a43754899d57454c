use crate::arena::OutOfMemory;
use crate::kernels::UnknownIsa;
use crate::model::{AttachError, Cancelled};

/// Why an adapter is not trained. Each message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// `SISKIN_ISA` names an instruction set that is not there.
    #[error(transparent)]
    UnknownIsa(#[from] UnknownIsa),
    /// The system has no memory for a buffer.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
    /// An adapter that does not fit.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The system starts no thread.
    #[error("cannot start {threads} threads")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// The system's reason.
        source: std::io::Error,
    },
    /// An option has no meaning.
    #[error("training option {option}: expected {expected}, found {found}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// What would have done.
        expected: String,
        /// The value given.
        found: usize,
    },
    /// No matrix is to be changed.
    #[error("an adapter that changes no matrix: expected at least one")]
    NoChanges,
    /// A matrix that the model lacks, or that the adapter does not change.
    #[error("matrix {matrix}: expected one of the layers' that is changed")]
    Matrix {
        /// Its name.
        matrix: String,
    },
    /// A matrix of several experts, or of their router.
    #[error("matrix {matrix}: expected one that is not of several experts or their router")]
    Experts {
        /// Its name.
        matrix: String,
    },
    /// A rank without meaning.
    #[error("matrix {matrix}: expected a rank of 1 to {most}, found {rank}")]
    Rank {
        /// Its name.
        matrix: String,
        /// The rank.
        rank: usize,
        /// The highest that makes a difference.
        most: usize,
    },
    /// A factor that is no number.
    #[error("matrix {matrix}: expected a scale that is finite, found {scale}")]
    Scale {
        /// Its name.
        matrix: String,
        /// The factor.
        scale: f32,
    },
    /// Other numbers than a matrix's change takes.
    #[error("matrix {matrix}: expected {} numbers of A and {} of B, found {} and {}", expected.0, expected.1, found.0, found.1)]
    Numbers {
        /// Its name.
        matrix: String,
        /// How many A and B have.
        expected: (usize, usize),
        /// How many there are.
        found: (usize, usize),
    },
    /// An example of no use.
    #[error(
        "example {example}: expected 1 to {most} tokens, each learned or not, found {tokens} and {learned}"
    )]
    Length {
        /// Its number.
        example: usize,
        /// Its tokens.
        tokens: usize,
        /// Those of which it is said whether they are learned.
        learned: usize,
        /// The most that there is room for.
        most: usize,
    },
    /// A token that the model lacks.
    #[error("example {example}: expected tokens below {vocabulary}, found {token}")]
    Token {
        /// The example's number.
        example: usize,
        /// The token.
        token: u32,
        /// How many the model has.
        vocabulary: usize,
    },
    /// Bytes that are no saved state of training, or are damaged.
    #[error("the saved state of training: expected one that is whole, found {found}")]
    State {
        /// What is wrong with it.
        found: &'static str,
    },
    /// The work was to end.
    #[error("training was cancelled")]
    Cancelled,
}

impl TrainError {
    pub(super) fn unknown(matrix: &str) -> Self {
        TrainError::Matrix { matrix: matrix.to_owned() }
    }
}

impl From<Cancelled> for TrainError {
    fn from(_: Cancelled) -> Self {
        TrainError::Cancelled
    }
}
