//! The commands, each a module with its arguments and a `run` function.
//!
//! A new one is a file here, declared below and with a line in the list.

#[cfg(feature = "convert")]
mod adapter;
#[cfg(feature = "long-work")]
mod batch;
#[cfg(all(feature = "convert", feature = "judge"))]
mod bench;
mod chat;
mod doctor;
#[cfg(feature = "judge")]
mod eval;
#[cfg(feature = "convert")]
mod imatrix;
mod inspect;
mod logits;
#[cfg(feature = "convert")]
mod pack;
mod plan;
#[cfg(feature = "convert")]
mod quantize;
mod run;
#[cfg(feature = "long-work")]
mod summarize;
mod tokenize;
#[cfg(feature = "judge")]
mod tune;

use anyhow::{Error, Result, anyhow};
use clap::Subcommand;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Makes [`Command`] of the commands' names, their modules and the features that they need.
macro_rules! commands {
    ($($name:ident: $module:ident $($feature:literal)*,)*) => {
        /// A command with its arguments.
        #[derive(Debug, Subcommand)]
        pub(crate) enum Command {
            $(
                #[cfg(all($(feature = $feature),*))]
                $name(Box<$module::Arguments>),
            )*
        }

        impl Command {
            /// Does what the command is there for.
            pub(crate) fn run(&self) -> Result<()> {
                match self {
                    $(
                        #[cfg(all($(feature = $feature),*))]
                        Self::$name(arguments) => $module::run(arguments),
                    )*
                }
            }
        }

        /// Each command, whether this build has it, and the features of a build that does.
        const COMMANDS: &[(&str, bool, &[&str])] =
            &[$((stringify!($module), cfg!(all($(feature = $feature),*)), &[$($feature),*])),*];
    };
}

// In the order of the help.
commands! {
    Run: run,
    Chat: chat,
    Batch: batch "long-work",
    Summarize: summarize "long-work",
    Quantize: quantize "convert",
    Pack: pack "convert",
    Adapter: adapter "convert",
    Plan: plan,
    Imatrix: imatrix "convert",
    Inspect: inspect,
    Tokenize: tokenize,
    Logits: logits,
    Bench: bench "convert" "judge",
    Eval: eval "judge",
    Tune: tune "judge",
    Doctor: doctor,
}

/// What to say where a command line is wrong because it names a command that other builds have.
pub(crate) fn missing(usage: &clap::Error) -> Option<Error> {
    let Some(ContextValue::String(name)) = usage.get(ContextKind::InvalidSubcommand) else { return None };
    let known = (usage.kind() == ErrorKind::InvalidSubcommand)
        .then(|| COMMANDS.iter().find(|(command, there, _)| command == name && !there))?;
    known.map(|(name, _, features)| {
        let features = features.join(",");
        anyhow!("this build has no {name}: build it with cargo build --release -p siskin-cli --features {features}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arguments;
    use clap::{CommandFactory, Parser};

    #[test]
    fn a_missing_command_names_its_features_and_others_are_there() {
        let there: Vec<_> =
            Arguments::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
        for (name, is_there, features) in COMMANDS {
            assert_eq!(there.iter().any(|command| command == name), *is_there, "{name}");
            let said = match Arguments::try_parse_from(["siskin", name, "--no-such-flag"]) {
                Err(usage) => missing(&usage).map(|error| error.to_string()),
                Ok(_) => None,
            };
            assert_eq!(said.is_some(), !is_there, "{name}: {said:?}");
            let ending = format!("--features {}", features.join(","));
            assert!(said.is_none_or(|said| said.ends_with(&ending)));
        }
        let unknown = Arguments::try_parse_from(["siskin", "quantise"]).err();
        assert!(unknown.is_some_and(|usage| missing(&usage).is_none()));
    }
}
