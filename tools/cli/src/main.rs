//! The `siskin` program: language models on small boards, from the command line.
//!
//! Each command is a module with its arguments and a `run` function. What commands share is in modules of its own:
//! opening a model, the flags of sessions and samplers, streaming an answer, files that appear only when complete.

#![forbid(unsafe_code)]

mod adapter;
mod answer;
mod assistant;
mod batch;
mod bench;
mod chat;
mod context;
mod doctor;
mod eval;
mod imatrix;
mod inspect;
mod interrupt;
mod journal;
mod logits;
mod memory;
mod model;
mod neighbour;
mod npy;
mod pack;
mod plan;
mod prompt_cache;
mod quantize;
mod run;
mod sampling;
mod sensors;
mod session;
mod size;
mod speculation;
mod state;
mod summarize;
mod tokenize;
mod tune;

use anyhow::{Context, Error, Result};
use clap::{Parser, Subcommand};
use siskin::gguf::exit_on_bus_error;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Run, chat with, quantize, pack and inspect language models.
///
/// Models are GGUF files, mapped into memory. The same model, prompt and seed give the same answer on every CPU,
/// with any number of threads.
#[derive(Debug, Parser)]
#[command(name = "siskin", version, after_help = EXAMPLES, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
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
    Batch(Box<batch::Arguments>),
    Summarize(Box<summarize::Arguments>),
    Quantize(quantize::Arguments),
    Pack(pack::Arguments),
    Adapter(adapter::Arguments),
    Plan(plan::Arguments),
    Imatrix(imatrix::Arguments),
    /// Show what a GGUF file holds
    Inspect {
        /// A GGUF file
        file: PathBuf,
        /// Print one JSON object, with every value in full
        #[arg(long)]
        json: bool,
    },
    Tokenize(tokenize::Arguments),
    Logits(logits::Arguments),
    Bench(bench::Arguments),
    Eval(Box<eval::Arguments>),
    Tune(Box<tune::Arguments>),
    Doctor(doctor::Arguments),
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    match exit_on_bus_error().context("SIGBUS").and_then(|()| execute(command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn execute(command: Command) -> Result<()> {
    match command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Chat(arguments) => chat::run(&arguments),
        Command::Batch(arguments) => batch::run(&arguments),
        Command::Summarize(arguments) => summarize::run(&arguments),
        Command::Quantize(arguments) => quantize::run(&arguments),
        Command::Pack(arguments) => pack::run(&arguments),
        Command::Adapter(arguments) => adapter::run(&arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Imatrix(arguments) => imatrix::run(&arguments),
        Command::Inspect { file, json } => inspect::run(&file, json),
        Command::Tokenize(arguments) => tokenize::run(&arguments),
        Command::Logits(arguments) => logits::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Eval(arguments) => eval::run(&arguments),
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
        const USAGE: u8 = 2;
        let _ = usage.print();
        return USAGE.into();
    }
    // There is nobody left to tell where standard error is closed.
    let _ = writeln!(io::stderr(), "siskin: {}", one_line(error));
    ExitCode::FAILURE
}

/// An error and its causes, but for those that the one before has quoted already.
fn one_line(error: &Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(|cause| cause.to_string().replace(['\n', '\r'], " ")) {
        if line.is_empty() {
            line = cause;
        } else if !line.ends_with(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
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
