//! What adapters are trained with: conversations, prompts with their answers, and texts.

mod check;
mod encode;
mod private;
mod row;
mod split;

pub use check::{Findings, check};
pub use encode::{Sample, encode};
pub use private::{Hint, HintKind};
pub use row::{Content, Row, read};
pub use split::{Parts, split};
