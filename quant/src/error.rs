use crate::TensorType;

/// Why a row could not be decoded or encoded. Nothing of the destination is meaningful after an error.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The type has no decoder here.
    #[error("decoding {0} is not supported")]
    CannotDecode(TensorType),
    /// The type has no encoder here.
    #[error("encoding to {0} is not supported")]
    CannotEncode(TensorType),
    /// The elements do not fill whole blocks.
    #[error("{elements} elements are not whole {ty} blocks of {}", ty.block_len())]
    PartialBlock {
        /// Type of the blocks.
        ty: TensorType,
        /// Length of the unquantized slice.
        elements: usize,
    },
    /// The two slices disagree about the number of blocks.
    #[error("{elements} elements of {ty} take {expected} bytes, not {bytes}")]
    WrongLength {
        /// Type of the blocks.
        ty: TensorType,
        /// Length of the unquantized slice.
        elements: usize,
        /// Length of the slice of blocks.
        bytes: usize,
        /// The length it should have.
        expected: u64,
    },
    /// The elements do not fill whole rows of as many columns as there are weights.
    #[error("{elements} elements are not whole rows of {columns}, the number of importances")]
    PartialRow {
        /// Length of the unquantized slice.
        elements: usize,
        /// Length of the slice of importances.
        columns: usize,
    },
    /// A column's importance is negative, NaN or infinite.
    #[error("importance of column {column} is {value}, expected a finite number of at least 0")]
    BadImportance {
        /// Position in the slice of importances.
        column: usize,
        /// What is there.
        value: f32,
    },
    /// A value to encode is NaN or infinite.
    #[error("element {index} is {value}, expected a finite number")]
    NotFinite {
        /// Position in the slice.
        index: usize,
        /// What is there.
        value: f32,
    },
    /// A value to encode is beyond the largest finite number of a 16-bit float type.
    #[error("element {index}: value {value} does not fit {ty}")]
    ValueOverflow {
        /// The 16-bit float type.
        ty: TensorType,
        /// Position in the slice.
        index: usize,
        /// What is there.
        value: f32,
    },
    /// A block's values need a scale (or minimum) beyond the largest finite F16.
    #[error("block {block}: scale {scale} of {ty} does not fit F16")]
    ScaleOverflow {
        /// Type of the block.
        ty: TensorType,
        /// Number of the block in the slice.
        block: usize,
        /// The scale or minimum that does not fit.
        scale: f32,
    },
}
