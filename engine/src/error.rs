use siskin_quant::TensorType;

use crate::arena::OutOfMemory;
use crate::gguf::GgufError;
use crate::kernels::UnknownIsa;
use crate::memory::{Budget, Plan};
use crate::model::AdapterError;
use crate::sampler::SamplerError;
use crate::template::TemplateError;
use crate::tokenizer::TokenizerError;

/// What can go wrong between a model file and its answer. Each message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is not a sound GGUF file, or lacks a key that the model needs.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The file's vocabulary cannot be used.
    #[error("{file}: {source}")]
    Tokenizer {
        /// The model file.
        file: String,
        /// What is wrong with it.
        source: TokenizerError,
    },
    /// The chat template fails.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A sampler option is out of range.
    #[error(transparent)]
    Sampler(#[from] SamplerError),
    /// The model's family has no implementation here.
    #[error("{file}: architecture {found:?} is not supported: expected one of {supported}")]
    Architecture {
        /// The model file.
        file: String,
        /// What `general.architecture` says.
        found: String,
        /// The architectures that are.
        supported: String,
    },
    /// A hyperparameter has a value that no model of the family can have, or that is not implemented.
    #[error("{file}: key {key:?}: expected {expected}, found {found}")]
    Hyperparameter {
        /// The model file.
        file: String,
        /// The metadata key.
        key: String,
        /// The value found.
        found: String,
        /// What would have done.
        expected: String,
    },
    /// A tensor that the architecture needs is not in the file.
    #[error("{file}: tensor {tensor:?} is missing")]
    MissingTensor {
        /// The model file.
        file: String,
        /// The tensor's name.
        tensor: String,
    },
    /// The file holds a tensor that the architecture does not use: running without it would be running wrong.
    #[error("{file}: tensor {tensor:?} is not part of a {architecture} model")]
    UnexpectedTensor {
        /// The model file.
        file: String,
        /// The tensor's name.
        tensor: String,
        /// The model's architecture.
        architecture: String,
    },
    /// A matrix that is several in one, of which one begins within a panel of 16 rows.
    #[error(
        "{file}: tensor {tensor:?}: expected its parts to begin at multiples of 16 rows, found one at {row}"
    )]
    Stacked {
        /// The model file.
        file: String,
        /// The tensor's name.
        tensor: String,
        /// Where a part begins.
        row: usize,
    },
    /// A tensor's shape is not what the hyperparameters ask for.
    #[error("{file}: tensor {tensor:?}: expected shape {expected:?}, found {found:?}")]
    Shape {
        /// The model file.
        file: String,
        /// The tensor's name.
        tensor: String,
        /// The shape by the hyperparameters, row length first.
        expected: Vec<u64>,
        /// The shape in the file.
        found: Vec<u64>,
    },
    /// A tensor's type has no kernels.
    #[error("{file}: tensor {tensor:?}: type {} cannot be run", ty.name())]
    Type {
        /// The model file.
        file: String,
        /// The tensor's name.
        tensor: String,
        /// Its type.
        ty: TensorType,
    },
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
    /// Weights that are to replace a matrix's are not as many.
    #[error("tensor {tensor:?}: expected {rows} rows of {row_len} weights in {}, found {found} bytes", ty.name())]
    Rows {
        /// The matrix.
        tensor: String,
        /// The type of the new weights.
        ty: TensorType,
        /// Rows of the matrix.
        rows: usize,
        /// Weights of a row.
        row_len: usize,
        /// Bytes that were given.
        found: usize,
    },
    /// A vector is packed in panels, which only matrices may be.
    #[error("{file}: tensor {tensor:?} is packed: expected plain numbers")]
    PackedVector {
        /// The model file.
        file: String,
        /// The tensor's name.
        tensor: String,
    },
    /// `SISKIN_ISA` names an instruction set that is not there.
    #[error(transparent)]
    UnknownIsa(#[from] UnknownIsa),
    /// The model and its sessions would take more memory than the process may use.
    #[error("{file}: needs {plan}, there is room for {budget}")]
    Memory {
        /// The model file.
        file: String,
        /// What is needed.
        plan: Box<Plan>,
        /// What may be used.
        budget: Budget,
    },
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
    /// An adapter that cannot be used.
    #[error("{file}: {problem}")]
    Adapter {
        /// The adapter's file.
        file: String,
        /// What is wrong with it.
        problem: AdapterError,
    },
    /// An adapter of a model with matrices of other shapes.
    #[error("{adapter}: made for a model with matrices of other shapes")]
    AdapterMismatch {
        /// The adapter's name.
        adapter: String,
    },
    /// An adapter's scale is no number that anything could be multiplied by.
    #[error("{adapter}: expected a finite scale, found {scale}")]
    AdapterScale {
        /// The adapter's name.
        adapter: String,
        /// The scale.
        scale: f32,
    },
    /// A model that is to guess for another has other tokens.
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
}
