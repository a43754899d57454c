//! The types of a file's tensors, and the file that is written with them.

mod file_type;
pub(crate) mod importance;
mod keep;
pub(crate) mod mix;
pub(crate) mod plan;
mod reads;
pub(crate) mod rows;
mod split;

pub use file_type::FileType;
pub use importance::Importance;
pub use keep::Keep;
pub use mix::Choice;
pub use plan::{Plan, Recipe};

use crate::model::Model;
use anyhow::Result;
use rayon::ThreadPool;
use siskin_kit::Output;
use siskin_quant::TensorType;

impl Model {
    /// The type of each tensor in a file of `file_type`, but for those that are `kept`. `weighted` says whether there is
    /// an importance matrix.
    pub fn choose(&self, file_type: FileType, kept: &[Option<TensorType>], weighted: bool) -> Vec<Choice> {
        let mut choices = mix::choose(&self.tensors, self.shape, file_type, weighted);
        for (choice, kept) in choices.iter_mut().zip(kept) {
            *choice = kept.map_or(*choice, Choice::exactly);
        }
        choices
    }

    /// Bytes of all tensors in the types that they are in.
    pub fn tensor_bytes(&self) -> u64 {
        self.tensors.iter().map(|tensor| plan::bytes_of(tensor, tensor.ty)).sum()
    }

    /// The types of the matrices that `keeps` name, and None for the other tensors. Of several that name the same matrix,
    /// the last counts.
    ///
    /// # Errors
    /// A type that cannot be written, a name that no matrix has, rows that are no whole blocks of the type.
    pub fn kept(&self, keeps: &[Keep]) -> Result<Vec<Option<TensorType>>> {
        keep::kept(keeps, &self.tensors)
    }
}

/// Writes `model`, whose weights may be others than its file's, as a file of the type, or with each tensor in its type of
/// `types`. Returns what the user may not expect, see [`Plan::notes`].
pub(crate) fn rewrite(
    model: &Model,
    file_type: Option<FileType>,
    types: &[TensorType],
    output: Output,
    pool: &ThreadPool,
) -> Result<Vec<String>> {
    let choices: Vec<Choice> = match file_type {
        Some(file_type) => model.choose(file_type, &[], false),
        None => types.iter().map(|&ty| Choice::exactly(ty)).collect(),
    };
    let id = model.mapped.as_ref().and_then(|file| file.u32("general.file_type").ok()?);
    let known = file_type.or_else(|| FileType::ALL.into_iter().find(|known| Some(known.id()) == id));
    let recipe = known.map_or_else(|| Recipe::fitted(model, &choices), Recipe::Mix);
    let plan = Plan::new(model, &choices, recipe, None, false)?;
    plan.write(vec![output], pool)?;
    Ok(plan.notes())
}
