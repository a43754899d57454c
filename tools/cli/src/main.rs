//! The `siskin` program: language models on small boards, from the command line.
//!
//! Each command is a module with its arguments and a `run` function. What commands share is in modules of its own:
//! opening a model, the flags of sessions and samplers, streaming an answer, files that appear only when complete.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make files of their own"))]
#![deny(clippy::print_stdout, clippy::print_stderr)] // They panic where nobody reads.

mod adapter;
mod answer;
#[cfg(feature = "long-work")]
mod assistant;
#[cfg(feature = "long-work")]
mod batch;
#[cfg(all(feature = "convert", feature = "judge"))]
mod bench;
mod chat;
mod context;
mod doctor;
#[cfg(feature = "judge")]
mod eval;
#[cfg(feature = "convert")]
mod imatrix;
mod inspect;
mod interrupt;
#[cfg(feature = "long-work")]
mod journal;
mod logits;
mod memory;
mod missing;
mod model;
mod neighbour;
mod npy;
mod numbers;
#[cfg(feature = "convert")]
mod pack;
mod plan;
mod prompt_cache;
#[cfg(feature = "convert")]
mod quantize;
mod run;
mod sampling;
mod sensors;
mod session;
mod size;
mod speculation;
#[cfg(feature = "long-work")]
mod summarize;
mod tokenize;
#[cfg(feature = "judge")]
mod tune;

use anyhow::{Context, Error, Result};
use clap::{Parser, Subcommand};
use siskin::gguf::exit_on_bus_error;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// Run, chat with, quantize, pack and inspect language models.
///
/// Models are GGUF files, mapped into memory. The same model, prompt and seed give the same answer on every CPU,
/// with any number of threads.
#[derive(Debug, Parser)]
#[command(
    name = "siskin",
    version,
    after_help = EXAMPLES,
    max_term_width = 100,
    args_override_self = true,
    mut_subcommands(numbers_may_be_negative)
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn numbers_may_be_negative(command: clap::Command) -> clap::Command {
    command.mut_args(numbers::may_be_negative).mut_subcommands(numbers_may_be_negative)
}

const EXAMPLES: &str = "\
Examples:
  siskin quantize SmolLM2-135M-Instruct/ smol.gguf --type q4_k_m
  siskin chat smol.gguf
  siskin run smol.gguf -p \"Name three finches.\" -n 100
  siskin inspect smol.gguf

Exit codes: 0 done, 1 failed, 2 wrong usage. Failures are one line on standard error.";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Chat(chat::Arguments),
    #[cfg(feature = "long-work")]
    Batch(Box<batch::Arguments>),
    #[cfg(feature = "long-work")]
    Summarize(Box<summarize::Arguments>),
    #[cfg(feature = "convert")]
    Quantize(quantize::Arguments),
    #[cfg(feature = "convert")]
    Pack(pack::Arguments),
    #[cfg(feature = "convert")]
    Adapter(adapter::Arguments),
    Plan(plan::Arguments),
    #[cfg(feature = "convert")]
    Imatrix(imatrix::Arguments),
    Inspect(inspect::Arguments),
    Tokenize(tokenize::Arguments),
    Logits(logits::Arguments),
    #[cfg(all(feature = "convert", feature = "judge"))]
    Bench(bench::Arguments),
    #[cfg(feature = "judge")]
    Eval(Box<eval::Arguments>),
    #[cfg(feature = "judge")]
    Tune(Box<tune::Arguments>),
    Doctor(doctor::Arguments),
}

fn main() -> ExitCode {
    let command = match Arguments::try_parse() {
        Ok(arguments) => arguments.command,
        Err(usage) => return report(&missing::command(&usage).unwrap_or_else(|| usage.into())),
    };
    match exit_on_bus_error().context("SIGBUS").and_then(|()| execute(command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn execute(command: Command) -> Result<()> {
    match command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Chat(arguments) => chat::run(&arguments),
        #[cfg(feature = "long-work")]
        Command::Batch(arguments) => batch::run(&arguments),
        #[cfg(feature = "long-work")]
        Command::Summarize(arguments) => summarize::run(&arguments),
        #[cfg(feature = "convert")]
        Command::Quantize(arguments) => quantize::run(&arguments),
        #[cfg(feature = "convert")]
        Command::Pack(arguments) => pack::run(&arguments),
        #[cfg(feature = "convert")]
        Command::Adapter(arguments) => adapter::run(&arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        #[cfg(feature = "convert")]
        Command::Imatrix(arguments) => imatrix::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Tokenize(arguments) => tokenize::run(&arguments),
        Command::Logits(arguments) => logits::run(&arguments),
        #[cfg(all(feature = "convert", feature = "judge"))]
        Command::Bench(arguments) => bench::run(&arguments),
        #[cfg(feature = "judge")]
        Command::Eval(arguments) => eval::run(&arguments),
        #[cfg(feature = "judge")]
        Command::Tune(arguments) => tune::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
    }
}

/// Says why the program failed, in one line.
fn report(error: &Error) -> ExitCode {
    if is_broken_pipe(error) {
        // Whoever read our output has seen enough, as in `siskin run ... | head -c 80`.
        return ExitCode::SUCCESS;
    }
    if let Some(usage) = error.downcast_ref::<clap::Error>() {
        let _ = usage.print();
        return u8::try_from(usage.exit_code()).unwrap_or(1).into();
    }
    // There is nobody left to tell where standard error is closed.
    let _ = writeln!(io::stderr(), "siskin: {}", one_line(error));
    ExitCode::FAILURE
}

/// An error and its causes, nothing twice: a cause may be quoted by the one before, or begin with it, as those do that
/// name the file which whoever asked for it has named too.
fn one_line(error: &Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain().map(|cause| cause.to_string().replace(['\n', '\r'], " ")) {
        if parts.last().is_some_and(|last| last.ends_with(&cause)) {
            continue;
        }
        parts.pop_if(|last| {
            cause.strip_prefix(last.as_str()).is_some_and(|rest| rest.starts_with([':', ',', '/']))
        });
        parts.push(cause);
    }
    parts.join(": ")
}

fn is_broken_pipe(error: &Error) -> bool {
    let io_error = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref().is_some_and(|error: &io::Error| error.kind() == ErrorKind::BrokenPipe)
    };
    error.chain().any(io_error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn an_error_is_one_line_and_says_nothing_twice() {
        let cause = || Error::msg("no such\nfile");
        assert_eq!(one_line(&cause().context("a").context("b")), "b: a: no such file");
        assert_eq!(
            one_line(&cause().context("cannot open a: no such file").context("b")),
            "b: cannot open a: no such file"
        );
        let named = Error::msg("a.gguf: expected a model").context("a.gguf").context("b");
        assert_eq!(one_line(&named), "b: a.gguf: expected a model");
    }

    #[test]
    fn a_broken_pipe_is_found_among_the_causes() {
        let error = |kind: ErrorKind| Error::from(io::Error::from(kind)).context("standard output");
        assert!(is_broken_pipe(&error(ErrorKind::BrokenPipe)));
        assert!(!is_broken_pipe(&error(ErrorKind::StorageFull)));
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
