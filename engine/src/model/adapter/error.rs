use siskin_quant::TensorType;

/// Why an adapter cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// The file holds something else.
    #[error("key {key:?}: expected {expected:?}, found {found:?}")]
    Kind {
        /// The metadata key.
        key: &'static str,
        /// What would have done.
        expected: String,
        /// What it says.
        found: String,
    },
    /// Alpha is no number that anything could be multiplied by.
    #[error("key \"adapter.lora.alpha\": expected a finite number, found {0}")]
    Alpha(f32),
    /// The file has no tensor.
    #[error("the adapter changes no matrix")]
    Empty,
    /// One half of a pair is missing.
    #[error("tensor {0:?} is missing")]
    Half(String),
    /// A tensor belongs to no matrix that an adapter may change.
    #[error("tensor {tensor:?}: the model has no such matrix among those of its layers{}", instead(.tensor))]
    NoMatrix {
        /// The tensor's name.
        tensor: String,
    },
    /// A tensor belongs to the matrices of experts, of which each token uses a few.
    #[error("tensor {tensor:?}: changes of experts are not supported")]
    Experts {
        /// The tensor's name.
        tensor: String,
    },
    /// A tensor's shape does not fit the matrix, or the other half.
    #[error("tensor {tensor:?}: expected shape {expected}, found {found:?}")]
    Shape {
        /// The tensor's name.
        tensor: String,
        /// What would have done.
        expected: String,
        /// The shape in the file, row length first.
        found: Vec<u64>,
    },
    /// A tensor's numbers cannot be read.
    #[error("tensor {tensor:?}: type {} cannot be read", ty.name())]
    Type {
        /// The tensor's name.
        tensor: String,
        /// Its type.
        ty: TensorType,
    },
    /// A tensor holds an infinity or NaN.
    #[error("tensor {tensor:?}: expected finite numbers")]
    NotFinite {
        /// The tensor's name.
        tensor: String,
    },
}

/// What to do about a change of what is in no layer.
fn instead(tensor: &str) -> &'static str {
    match tensor.split('.').next() {
        Some("output" | "token_embd") => "; merge the adapter into the model where it was trained",
        _ => "",
    }
}
