//! LoRA adapters: the flag that changes a model by some, and the `adapter` command.

#[cfg(feature = "convert")]
mod command;
mod flag;
#[cfg(feature = "convert")]
mod inspect;
#[cfg(feature = "convert")]
mod merge;

#[cfg(feature = "convert")]
pub(crate) use command::{Arguments, run};
pub(crate) use flag::{AdapterArguments, Adapters};
