use super::budget::Budget;
use super::candidates::Matrix;
use super::knapsack::{self, Candidate};
use crate::model::{Model, Tensor};
use crate::quantize::importance::Importance;
use crate::quantize::mix::{Choice, is_quantized, unquantized};
use crate::quantize::plan::{Plan, Recipe, bytes_of, stored_bytes};
use anyhow::{Result, bail};
use siskin_quant::TensorType;

/// What the matrices have to share.
pub(super) struct Room {
    budget: Budget,
    /// Bytes for all matrices, as those of a matrix are counted.
    bytes: u64,
    /// Of a file that is bounded: whether it is packed, and what its tensors' data are padded to.
    file: Option<(bool, u64)>,
}

impl Room {
    /// Finds out how much of the budget the matrices have; `importance` is what the file will tell of.
    ///
    /// # Errors
    /// Less than their smallest types take.
    pub(super) fn new(
        model: &Model,
        matrices: &[Matrix<'_>],
        budget: Budget,
        importance: &Importance,
        pack: bool,
    ) -> Result<Room> {
        let smallest = |matrix: &Matrix<'_>| {
            let types = matrix.types.iter().copied();
            types.min_by_key(|&ty| bytes_of(matrix.tensor, ty)).unwrap_or(matrix.tensor.ty)
        };
        let smallest: Vec<_> = matrices.iter().map(smallest).collect();
        let choices = choices(model, matrices, &smallest);
        let plan = Plan::new(model, &choices, Recipe::fitted(model, &choices), Some(importance), pack)?;
        let file = matches!(budget, Budget::File(_)).then(|| (pack, plan.alignment()));
        let mut room = Room { budget, bytes: 0, file };
        let weights = model.tensors.iter().map(Tensor::elements).sum();
        let least = if file.is_some() { plan.file_len() } else { plan.tensor_bytes() };
        let Some(spare) = budget.bytes(weights).checked_sub(least) else {
            bail!(budget.too_small(least, weights))
        };
        let theirs = matrices.iter().zip(smallest).map(|(matrix, ty)| room.counted(matrix.tensor, ty));
        room.bytes = theirs.sum::<u64>() + spare;
        Ok(room)
    }

    /// Bytes of a matrix in a type, as the budget counts them.
    fn counted(&self, tensor: &Tensor, ty: TensorType) -> u64 {
        match self.file {
            Some((pack, alignment)) => stored_bytes(tensor, ty, pack).next_multiple_of(alignment),
            None => bytes_of(tensor, ty),
        }
    }

    /// For each matrix the number of the type, among its types, with which all cost least.
    pub(super) fn choose(&self, matrices: &[Matrix<'_>]) -> Result<Vec<usize>> {
        let candidates = |matrix: &Matrix<'_>| -> Vec<Candidate> {
            let each = matrix.types.iter().zip(&matrix.costs);
            each.map(|(&ty, &cost)| Candidate { bytes: self.counted(matrix.tensor, ty), cost }).collect()
        };
        let items: Vec<_> = matrices.iter().map(candidates).collect();
        let Some(choices) = knapsack::solve(&items, self.bytes) else {
            bail!("{}: the matrices' smallest types are larger", self.budget)
        };
        Ok(choices)
    }
}

/// The types of all tensors, where `types` are those of `matrices`.
pub(super) fn choices(model: &Model, matrices: &[Matrix<'_>], types: &[TensorType]) -> Vec<Choice> {
    let mut choices: Vec<_> =
        model.tensors.iter().map(|tensor| unquantized(&tensor.name, tensor.ty)).collect();
    for (matrix, &ty) in matrices.iter().zip(types) {
        if let Some(choice) = choices.get_mut(matrix.index) {
            *choice = Choice::exactly(ty);
        }
    }
    choices
}

/// The matrices among the model's tensors; `kept` has the types that are chosen already.
///
/// # Errors
/// A matrix of a type that cannot be written.
pub(super) fn matrices<'a>(model: &'a Model, kept: &[Option<TensorType>]) -> Result<Vec<Matrix<'a>>> {
    let tensors = model.tensors.iter().zip(kept).enumerate();
    let matrices = tensors.filter(|(_, (tensor, _))| is_quantized(tensor));
    matrices.map(|(index, (tensor, &kept))| Matrix::new(index, tensor, kept)).collect()
}
