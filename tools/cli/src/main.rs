//! The `siskin` program: language models on small boards, from the command line.
//!
//! `commands` has them, each a file. What they share stands beside it: `arguments`, the flags of models, sessions and
//! samplers and what comes of them; `terminal`, an answer that is written as it comes and the signals that end it;
//! `long_work`, which goes on where it was interrupted; `sensors`, how the machine is kept cool.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make files of their own"))]
#![deny(clippy::print_stdout, clippy::print_stderr)] // They panic where nobody reads.

mod arguments;
mod commands;
#[cfg(feature = "long-work")]
mod long_work;
mod sensors;
mod terminal;

use anyhow::{Context, Error, Result};
use arguments::{names, numbers, paths};
use clap::{CommandFactory, FromArgMatches, Parser};
use commands::Command;
use siskin::Isa;
use siskin::gguf::exit_on_bus_error;
use siskin_kit::{Inputs, one_line};
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

fn main() -> ExitCode {
    let (command, inputs) = match names::with_models(command_line) {
        Ok(found) => found,
        Err(wrong) => {
            let missing = wrong.downcast_ref().and_then(commands::missing);
            return report(&missing.unwrap_or(wrong));
        }
    };
    match begin().and_then(|()| command.run(&inputs)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

/// What comes before every command.
fn begin() -> Result<()> {
    exit_on_bus_error().context("SIGBUS")?;
    // Said here, it is not blamed on a model.
    Isa::choose().context("SISKIN_ISA")?;
    Ok(())
}

/// What is to be done, and all that is read for it.
fn command_line() -> Result<(Command, Inputs), clap::Error> {
    let mut command = Arguments::command();
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    let arguments = Arguments::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    Ok((arguments.command, paths::inputs(&matches)))
}

/// Says why the program failed, in one line.
fn report(error: &Error) -> ExitCode {
    if is_broken_pipe(error) {
        // Whoever read our output has seen enough, as in `siskin run ... | head -c 80`.
        return ExitCode::SUCCESS;
    }
    if let Some(usage) = error.downcast_ref::<clap::Error>() {
        return match usage.print().context("standard output") {
            // A help text that was asked for is what standard output is for.
            Err(unwritten) if !usage.use_stderr() => report(&unwritten),
            _ => u8::try_from(usage.exit_code()).unwrap_or(1).into(),
        };
    }
    if error.is::<terminal::Told>() {
        return ExitCode::FAILURE;
    }
    // There is nobody left to tell where standard error is closed.
    let _ = writeln!(io::stderr(), "siskin: {}", one_line(error));
    ExitCode::FAILURE
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
