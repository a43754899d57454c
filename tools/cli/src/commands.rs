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
#[cfg(feature = "shell")]
mod completions;
mod doctor;
#[cfg(feature = "judge")]
mod eval;
#[cfg(feature = "convert")]
mod imatrix;
#[cfg(feature = "inspect")]
mod inspect;
#[cfg(feature = "hub")]
mod list;
#[cfg(feature = "inspect")]
mod logits;
#[cfg(feature = "shell")]
mod man;
#[cfg(feature = "convert")]
mod pack;
mod plan;
#[cfg(feature = "hub")]
mod pull;
#[cfg(feature = "convert")]
mod quantize;
#[cfg(feature = "serve")]
mod replay;
#[cfg(feature = "hub")]
mod rm;
mod run;
#[cfg(feature = "serve")]
mod serve;
#[cfg(feature = "long-work")]
mod summarize;
#[cfg(feature = "inspect")]
mod tokenize;
#[cfg(feature = "judge")]
mod tune;

use anyhow::{Error, Result, anyhow};
use clap::Subcommand;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use siskin_kit::Inputs;

/// Makes [`Command`] of the commands' names, their modules, whether they write files, and the features that they need.
macro_rules! commands {
    ($($name:ident: $module:ident $($writes:ident)? $($feature:literal)*,)*) => {
        /// A command with its arguments.
        #[derive(Debug, Subcommand)]
        pub(crate) enum Command {
            $(
                #[cfg(all($(feature = $feature),*))]
                $name(Box<$module::Arguments>),
            )*
        }

        impl Command {
            /// Does what the command is there for. What it writes takes the place of none of `inputs`, all that it reads.
            pub(crate) fn run(&self, inputs: &Inputs) -> Result<()> {
                match self {
                    $(
                        #[cfg(all($(feature = $feature),*))]
                        Self::$name(arguments) => commands!(@run $module, arguments $(, $writes, inputs)?),
                    )*
                }
            }
        }

        /// Each command, whether this build has it, and the features of a build that does.
        const COMMANDS: &[(&str, bool, &[&str])] =
            &[$((stringify!($module), cfg!(all($(feature = $feature),*)), &[$($feature),*])),*];
    };
    (@run $module:ident, $arguments:ident) => { $module::run($arguments) };
    (@run $module:ident, $arguments:ident, writes, $inputs:ident) => { $module::run($arguments, $inputs) };
}

// In the order of the help.
commands! {
    Run: run writes,
    Chat: chat writes,
    Pull: pull "hub",
    List: list "hub",
    Rm: rm "hub",
    Serve: serve "serve",
    Replay: replay "serve",
    Batch: batch writes "long-work",
    Summarize: summarize writes "long-work",
    Quantize: quantize writes "convert",
    Pack: pack writes "convert",
    Adapter: adapter writes "convert",
    Plan: plan,
    Imatrix: imatrix writes "convert",
    Inspect: inspect "inspect",
    Tokenize: tokenize "inspect",
    Logits: logits writes "inspect",
    Bench: bench "convert" "judge",
    Eval: eval writes "judge",
    Tune: tune "judge",
    Doctor: doctor,
    Completions: completions "shell",
    Man: man writes "shell",
}

/// Flags that commands share, whether this build has them, and the feature of a build that does.
const FLAGS: &[(&str, bool, &str)] = &[
    ("--json-schema", cfg!(feature = "grammar"), "grammar"),
    ("--grammar", cfg!(feature = "grammar"), "grammar"),
    ("--regex", cfg!(feature = "grammar"), "grammar"),
    ("--board", cfg!(feature = "boards"), "boards"),
    ("--together", cfg!(feature = "long-work"), "long-work"),
    ("--second-reader", cfg!(feature = "second-reader"), "second-reader"),
];

/// What to say where a command line is wrong because it names a command or a flag that other builds have.
pub(crate) fn missing(usage: &clap::Error) -> Option<Error> {
    let kind = match usage.kind() {
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        _ => return None,
    };
    let Some(ContextValue::String(name)) = usage.get(kind) else { return None };
    let of_command = COMMANDS.iter().find(|(command, there, _)| command == name && !there);
    let of_flag = FLAGS.iter().find(|(flag, there, _)| flag == name && !there);
    match (of_command, of_flag) {
        (Some((_, _, [feature])), _) | (None, Some((_, _, feature))) => {
            Some(anyhow!("this build has no {name}: the feature `{feature}` brings it"))
        }
        (Some((_, _, features)), _) => {
            Some(anyhow!("this build has no {name}: the features `{}` bring it", features.join("` and `")))
        }
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arguments;
    use crate::arguments::adapter::Named;
    use crate::arguments::paths::inputs;
    use crate::arguments::{InputPath, OutputPath};
    use clap::{CommandFactory, Parser};
    use siskin_kit::Output;
    use std::any::TypeId;
    use std::ffi::OsString;
    use std::path::PathBuf;

    /// All arguments of a command and of those below it, each with the command's name.
    fn arguments(command: &clap::Command) -> Vec<(String, clap::Arg)> {
        let own = command.get_arguments().map(|arg| (command.get_name().to_owned(), arg.clone()));
        own.chain(command.get_subcommands().flat_map(arguments)).collect()
    }

    #[test]
    fn each_path_says_whether_it_is_read_or_written() {
        let said = [
            TypeId::of::<InputPath>(),
            TypeId::of::<OutputPath>(),
            TypeId::of::<Named>(),
            #[cfg(feature = "grammar")]
            TypeId::of::<crate::arguments::grammar::SchemaArgument>(),
        ];
        let mut paths = 0;
        for (command, arg) in arguments(&Arguments::command()) {
            let ty = arg.get_value_parser().type_id();
            if said.iter().any(|said| ty == *said) {
                paths += 1;
                continue;
            }
            let any = [TypeId::of::<PathBuf>(), TypeId::of::<OsString>()].iter().any(|any| ty == *any);
            let file = arg.get_value_names().into_iter().flatten().any(|name| name.contains("FILE"));
            // Of its files the last is written.
            let known = (command.as_str(), arg.get_id().as_str()) == ("merge", "files");
            assert!(!any && !file || known, "{command}: {}", arg.get_id());
        }
        assert!(paths >= 9, "{paths} paths");
    }

    #[test]
    fn all_that_is_read_is_found_among_the_arguments() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (model, prompt, draft, adapter) = (path("model"), path("prompt"), path("draft"), path("adapter"));
        let cache = path("cache");
        for file in [&model, &prompt, &draft, &adapter, &cache] {
            std::fs::write(file, "").unwrap();
        }
        let scaled = format!("{adapter}=0.5");
        #[cfg(feature = "grammar")]
        {
            let schema = path("schema");
            std::fs::write(&schema, "").unwrap();
            let line = ["siskin", "run", "--json-schema", &schema];
            let inputs = inputs(&Arguments::command().try_get_matches_from(line).unwrap());
            assert!(Output::check(schema.as_ref(), &inputs).is_err());
        }
        let line = ["siskin", "run", &model, "-f", &prompt, "--draft-model", &draft, "--adapter", &scaled];
        let line = line.into_iter().chain(["--prompt-cache", &cache]);
        let inputs = inputs(&Arguments::command().try_get_matches_from(line).unwrap());
        for read in [&model, &prompt, &draft, &adapter] {
            let refused = Output::check(read.as_ref(), &inputs).unwrap_err();
            assert!(format!("{refused:#}").contains("the output is the input"), "{read}: {refused:#}");
        }
        Output::check(cache.as_ref(), &inputs).unwrap();
    }

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
