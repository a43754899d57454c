use crate::gguf::GgufError;
use crate::model::{AttachError, LoadError};
use crate::plan::PlanError;
use crate::sequences::{SessionError, StateError};
use crate::text::grammar::GrammarError;
use crate::text::sampler::SamplerError;
use crate::text::template::TemplateError;

/// Whatever can go wrong between a model file and its answer, for those who do not tell it apart. Each message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is not a sound GGUF file.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The file is no model or adapter that can be run.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The chat template fails.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A sampler option is out of range.
    #[error(transparent)]
    Sampler(#[from] SamplerError),
    /// There is no such grammar.
    #[error(transparent)]
    Grammar(#[from] GrammarError),
    /// A sequence cannot begin or go on.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// An adapter cannot be attached.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A saved state cannot be restored.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is no plan, or it cannot be kept.
    #[error(transparent)]
    Plan(#[from] PlanError),
}
