//! What the program may take, and whether sessions fit into it.

use siskin::SessionOptions;
use siskin::plan::{Budget, Outline, Plan, PlanError};

/// What the whole program may take: `limit` bytes, or what the machine and the control group have left; None where
/// nobody says.
pub fn budget(limit: Option<u64>) -> Option<Budget> {
    limit.map_or_else(Budget::here, |bytes| Some(Budget::of(bytes)))
}

/// The plan of `sessions` sessions of the model within the [`budget`]. A context longer than the model's counts as that:
/// who asks for it is told elsewhere.
///
/// # Errors
/// [`PlanError::Memory`] where there is too little memory; an option without meaning.
pub fn check(
    limit: Option<u64>,
    outline: &Outline,
    options: &SessionOptions,
    sessions: usize,
) -> Result<Plan, PlanError> {
    let context = options.context.map(|context| context.min(outline.context_length()));
    let options = options.clone().context(context);
    match budget(limit) {
        Some(budget) => outline.within(&options, sessions, &budget),
        None => outline.plan(&options, sessions),
    }
}
