//! Flags that commands share, and what comes of them: opened models, options of sessions, samplers.

pub(crate) mod adapter;
mod answer;
pub(crate) mod context;
pub(crate) mod grammar;
pub(crate) mod memory;
pub(crate) mod model;
pub(crate) mod names;
mod neighbour;
pub(crate) mod numbers;
pub(crate) mod paths;
mod sampling;
mod session;
pub(crate) mod size;
pub(crate) mod speculation;
pub(crate) mod template;

pub(crate) use adapter::{AdapterArguments, Adapters};
pub(crate) use answer::AnswerArguments;
pub(crate) use context::ContextArguments;
pub(crate) use grammar::GrammarArguments;
pub(crate) use memory::MemoryArguments;
#[cfg(any(feature = "convert", feature = "inspect", feature = "judge", feature = "serve"))]
pub(crate) use memory::MemoryLimit;
#[cfg(any(feature = "convert", feature = "long-work", feature = "serve"))]
pub(crate) use model::ModelFlag;
#[cfg(feature = "serve")]
pub(crate) use model::demo_model;
pub(crate) use model::{ModelArguments, outline};
pub(crate) use neighbour::NeighbourArguments;
pub(crate) use paths::{InputPath, OutputPath};
pub(crate) use sampling::SamplingArguments;
pub(crate) use session::SessionArguments;
pub(crate) use speculation::SpeculationArguments;
pub(crate) use template::TemplateArguments;
