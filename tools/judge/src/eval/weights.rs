//! How far a file's weights are from those of another file, tensor by tensor.

use anyhow::{Result, ensure};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use siskin::gguf::{Gguf, TensorInfo};
use siskin_quant::decode;

/// The error of one tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct TensorError {
    /// Its name in both files.
    pub(super) name: String,
    /// Its type in the file that is compared.
    #[serde(rename = "type")]
    pub(super) ty: String,
    /// Sum of the squares of the differences.
    pub(super) squared_error: f64,
    /// Sum of the squares of the reference's weights.
    pub(super) squared: f64,
}

impl TensorError {
    /// The layer that the tensor belongs to; None of the embedding and the output.
    pub(super) fn layer(&self) -> Option<u32> {
        self.name.strip_prefix("blk.")?.split('.').next()?.parse().ok()
    }
}

/// The root of the mean square error of some tensors, relative to that of the reference's weights.
pub(super) fn relative_error<'a>(tensors: impl IntoIterator<Item = &'a TensorError>) -> Option<f64> {
    let (error, squared) = tensors
        .into_iter()
        .fold((0.0, 0.0), |(error, squared), t| (error + t.squared_error, squared + t.squared));
    (squared > 0.0).then(|| (error / squared).sqrt())
}

/// Compares all matrices that both files have, in the order of `file`.
///
/// # Errors
/// A tensor of another shape, or of a type that cannot be decoded.
pub(super) fn compare(reference: &Gguf, file: &Gguf) -> Result<Vec<TensorError>> {
    let matrices = file.tensors().par_iter().filter(|tensor| tensor.shape.len() > 1);
    let both = matrices.filter_map(|tensor| Some((reference.tensor(&tensor.name)?, tensor)));
    both.map(|(before, after)| tensor_error((reference, before), (file, after))).collect()
}

fn tensor_error(reference: (&Gguf, &TensorInfo), file: (&Gguf, &TensorInfo)) -> Result<TensorError> {
    let ((_, before), (_, after)) = (reference, file);
    ensure!(
        before.shape == after.shape,
        "{}: tensor {} has the shape {:?}, that of {} {:?}",
        file.0.name(),
        after.name,
        after.shape,
        reference.0.name(),
        before.shape
    );
    let mut error = TensorError {
        name: after.name.clone(),
        ty: after.ty.name().to_owned(),
        squared_error: 0.0,
        squared: 0.0,
    };
    let row_len = usize::try_from(after.row_len())?;
    let (mut a, mut b) = (vec![0.0; row_len], vec![0.0; row_len]);
    let rows = |(gguf, tensor): (&Gguf, &TensorInfo)| -> Result<usize> {
        let bytes = usize::try_from(tensor.bytes.checked_div(tensor.rows()).unwrap_or(0))?;
        ensure!(bytes > 0, "{}: tensor {} is empty", gguf.name(), tensor.name);
        Ok(bytes)
    };
    let (a_bytes, b_bytes) = (rows(reference)?, rows(file)?);
    let (a_rows, b_rows) = (reference.0.data(before), file.0.data(after));
    for (a_row, b_row) in a_rows.chunks_exact(a_bytes).zip(b_rows.chunks_exact(b_bytes)) {
        decode(before.ty, a_row, &mut a)?;
        decode(after.ty, b_row, &mut b)?;
        for (&a, &b) in a.iter().zip(&b) {
            error.squared_error += f64::from(a - b).powi(2);
            error.squared += f64::from(a).powi(2);
        }
    }
    Ok(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(name: &str, squared_error: f64) -> TensorError {
        TensorError { name: name.to_owned(), ty: "Q4_0".to_owned(), squared_error, squared: 4.0 }
    }

    #[test]
    fn layers_are_those_of_the_names() {
        let layers = ["blk.12.attn_q.weight", "output.weight", "blk.x"].map(|name| error(name, 0.0).layer());
        assert_eq!(layers, [Some(12), None, None]);
    }

    #[test]
    fn the_error_of_several_tensors_is_that_of_all_their_weights() {
        assert_eq!(relative_error(&[error("a", 1.0), error("b", 1.0)]), Some(0.5));
        assert_eq!(relative_error(&[]), None);
    }
}
