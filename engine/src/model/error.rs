use siskin_quant::TensorType;

use super::adapter::AdapterError;
use crate::arena::OutOfMemory;
use crate::gguf::GgufError;
use crate::kernels::Kernels;
use crate::text::template::TemplateError;
use crate::text::tokenizer::TokenizerError;

/// Why a file is no model or adapter that can be run. Each message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file is not a sound GGUF file, or lacks a key that the model needs.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// Who was told how far it is had it end.
    #[error("{file}: cancelled while it was loaded")]
    Cancelled {
        /// The model file.
        file: String,
    },
    /// The file's vocabulary cannot be used.
    #[error("{file}: {source}")]
    Tokenizer {
        /// The model file.
        file: String,
        /// What is wrong with it.
        source: TokenizerError,
    },
    /// The chat template is none.
    #[error(transparent)]
    Template(#[from] TemplateError),
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
    #[error("{file}: tensor {tensor:?}: type {} cannot be run{}", ty.name(), brought_by(*ty))]
    Type {
        /// The model file.
        file: String,
        /// The tensor's name.
        tensor: String,
        /// Its type.
        ty: TensorType,
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
    /// An adapter that cannot be used.
    #[error("{file}: {problem}")]
    Adapter {
        /// The adapter's file.
        file: String,
        /// What is wrong with it.
        problem: AdapterError,
    },
    /// The system has no memory for a buffer.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
}

/// Why an adapter cannot be attached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// An adapter of a model with matrices of other shapes.
    #[error("{adapter}: made for a model with matrices of other shapes")]
    Mismatch {
        /// The adapter's name.
        adapter: String,
    },
    /// An adapter's scale is no number that anything could be multiplied by.
    #[error("{adapter}: expected a finite scale, found {scale}")]
    Scale {
        /// The adapter's name.
        adapter: String,
        /// The scale.
        scale: f32,
    },
    /// The system has no memory for what it works with.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
}

/// What a build lacks that cannot run a type, if it is the build that cannot.
fn brought_by(ty: TensorType) -> String {
    let feature = ty.feature().filter(|_| !Kernels::supports(ty));
    feature.map_or_else(String::new, |feature| format!(": this build lacks the feature `{feature}`"))
}

/// A forward pass was cancelled from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cancelled;
