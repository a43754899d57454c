//! Work of hours, which goes on where it was interrupted: who answers, and what is written down of it.

pub(crate) mod assistant;
pub(crate) mod journal;
pub(crate) mod repetition;
