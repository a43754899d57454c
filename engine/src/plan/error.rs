use super::{Budget, Plan};
use crate::model::LoadError;
use crate::sequences::SessionError;

/// Why a plan cannot be made, or kept. Each message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The file is no model or adapter that can be run.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An option has no meaning.
    #[error(transparent)]
    Session(#[from] SessionError),
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
}
