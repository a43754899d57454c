//! How good, how fast and how large models are: `docs/evaluation.md` is its manual.

mod answers;
mod energy;
mod evaluation;
mod kept;
mod metrics;
mod page;
mod plot;
mod reference;
mod report;
mod speed;
mod tasks;
mod weights;

pub use answers::scores;
pub use evaluation::Evaluation;
pub use kept::{InUse, Kept, MOST_KEPT, Removed};
pub use metrics::{Figures, Metric, Requirement};
pub use page::page;
pub use reference::{Key, Logits, State, state};
pub use report::{Report, Row};
pub use tasks::{Score, Scores, Task, read as read_tasks, rouge_l};

use siskin::{AnswerLimits, SessionOptions};
use std::path::PathBuf;

/// What is measured, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// A text whose perplexity is measured.
    pub text: Option<PathBuf>,
    /// Tokens of a window of the text; the second half of each is scored. 512 unless it is said.
    pub window: usize,
    /// Windows of the text that are taken at most.
    pub chunks: Option<usize>,
    /// The reference model that all models are compared with.
    pub against: Option<PathBuf>,
    /// A file of tasks, which are answered greedily in the chat template.
    pub tasks: Option<PathBuf>,
    /// When an answer to a task ends.
    pub limits: AnswerLimits,
    /// Tokens of the prefill that is timed. 512 unless it is said.
    pub prompt: usize,
    /// How often speeds are measured; the median counts. 3 unless it is said.
    pub runs: usize,
    /// How sessions work.
    pub session: SessionOptions,
    /// Bytes that the whole program may take; None for what the machine has left.
    pub memory: Option<u64>,
}

impl Default for Settings {
    /// Speeds alone.
    fn default() -> Self {
        Self {
            text: None,
            window: 512,
            chunks: None,
            against: None,
            tasks: None,
            limits: AnswerLimits::default(),
            prompt: 512,
            runs: 3,
            session: SessionOptions::default(),
            memory: None,
        }
    }
}

impl Settings {
    siskin::setters! {
        text: impl Into<Option<PathBuf>>,
        window: usize,
        chunks: impl Into<Option<usize>>,
        against: impl Into<Option<PathBuf>>,
        tasks: impl Into<Option<PathBuf>>,
        limits: AnswerLimits,
        prompt: usize,
        runs: usize,
        session: SessionOptions,
        memory: impl Into<Option<u64>>,
    }
}
