use super::sensitivity::Meter;
use crate::model::Tensor;
use crate::quantize::rows;
use anyhow::{Result, ensure};
use rayon::ThreadPool;
use siskin_quant::TensorType;

/// A matrix whose type is to be chosen, and what is known of its candidates.
pub(super) struct Matrix<'a> {
    /// Its place among the model's tensors.
    pub(super) index: usize,
    pub(super) tensor: &'a Tensor,
    /// The types that it may have.
    pub(super) types: Vec<TensorType>,
    /// The mean KL divergence, in nats, of the model in which it alone is in a coarse type, and that type; None where
    /// it was not measured, as nothing would be lost.
    pub(super) alone: Option<(TensorType, f64)>,
    /// For each of its types, the KL divergence that it is expected to cause, in nats.
    pub(super) costs: Vec<f64>,
}

/// Types in which a matrix alone moves the predictions well beyond rounding, and not so far that they are lost, the
/// best first.
const COARSE: [TensorType; 4] = [TensorType::Q3_K, TensorType::Q4_0, TensorType::Q2_K, TensorType::BF16];

impl<'a> Matrix<'a> {
    /// The matrix `tensor`, which is the model's tensor `index`; `kept` is its type if that is chosen already.
    ///
    /// # Errors
    /// A matrix of a type that cannot be written.
    pub(super) fn new(index: usize, tensor: &'a Tensor, kept: Option<TensorType>) -> Result<Matrix<'a>> {
        let types = match kept {
            Some(ty) => vec![ty],
            None => types(tensor)?,
        };
        Ok(Matrix { index, tensor, types, alone: None, costs: Vec::new() })
    }

    /// Works out the costs: what the matrix does to the predictions in a coarse type, which is measured, times its
    /// weighted squared error in each type relative to that in the coarse one.
    pub(super) fn measure(
        &mut self,
        meter: &Meter<'_>,
        importance: Option<&[f32]>,
        pool: &ThreadPool,
    ) -> Result<()> {
        let tensor = self.tensor;
        let error = |&ty: &TensorType| match ty {
            _ if ty == tensor.ty => Ok(0.0),
            _ => rows::squared_error(tensor, ty, importance, pool),
        };
        let errors: Vec<f64> = self.types.iter().map(error).collect::<Result<_>>()?;
        let smaller = COARSE.into_iter().find(|&ty| is_smaller(tensor, ty));
        let coarse =
            smaller.or(self.types.first().copied()).filter(|_| errors.iter().any(|&error| error > 0.0));
        let Some(coarse) = coarse else {
            self.costs = errors;
            return Ok(());
        };
        let coarse_error = error(&coarse)?;
        let mut bytes = Vec::new();
        rows::convert(tensor, coarse, importance, pool, |rows, _| {
            bytes.extend_from_slice(rows);
            Ok(())
        })?;
        let divergence = meter.divergence(&tensor.name, coarse, &bytes)?;
        tensor.release();
        let sensitivity = if coarse_error > 0.0 { divergence / coarse_error } else { 0.0 };
        self.costs = errors.iter().map(|error| sensitivity * error).collect();
        self.alone = Some((coarse, divergence));
        Ok(())
    }
}

/// A matrix may stay as it is, or become smaller, in any type whose blocks fill its rows.
fn types(tensor: &Tensor) -> Result<Vec<TensorType>> {
    let (name, ty) = (&tensor.name, tensor.ty);
    ensure!(ty.can_encode(), "tensor {name} is {ty}: types are chosen among those that can be written only");
    let fits = |ty: &TensorType| ty.can_encode() && (*ty == tensor.ty || is_smaller(tensor, *ty));
    Ok(TensorType::ALL.iter().copied().filter(fits).collect())
}

fn is_smaller(tensor: &Tensor, ty: TensorType) -> bool {
    let bytes = |ty: TensorType| ty.row_bytes(tensor.row_len());
    bytes(ty).zip(bytes(tensor.ty)).is_some_and(|(new, old)| new < old)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RowOrder, Source};
    use TensorType::*;

    fn of(row_len: u64, ty: TensorType) -> Result<Vec<TensorType>> {
        let source = Source::Memory(Vec::new());
        types(&Tensor { name: "a".into(), shape: vec![row_len, 2], ty, source, order: RowOrder::Same })
    }

    #[test]
    fn a_matrix_stays_or_becomes_smaller_in_blocks_that_fill_its_rows() {
        let all = of(512, F32).unwrap();
        assert!(TensorType::ALL.iter().all(|ty| all.contains(ty) == ty.can_encode()));
        assert_eq!(of(96, BF16).unwrap(), [Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL, BF16]);
        assert_eq!(of(80, F16).unwrap(), [F16]);
        assert_eq!(of(256, Q4_0).unwrap(), [Q4_0, Q2_K, Q3_K, IQ4_XS]);
        assert!(of(256, IQ2_XS).unwrap_err().to_string().starts_with("tensor a is IQ2_XS: "));
    }
}
