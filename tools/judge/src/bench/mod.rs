//! How fast a model runs here, and how near that is to what the machine can do.

mod measure;
mod random_adapter;
pub mod report;

pub use measure::{Measured, Plan, Series, decode, measure, prefill, tokens};
pub use random_adapter::random_adapter;
