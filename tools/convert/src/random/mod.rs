//! Models with random weights, of true sizes and types: nothing else of a model decides its speed.

mod model;
mod shape;
mod stream;

pub use model::write;
pub use shape::Shape;
