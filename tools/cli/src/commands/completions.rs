//! The `completions` command: what a shell completes command lines with.

use crate::arguments::adapter::Named;
use crate::arguments::{InputPath, OutputPath};
use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;
use clap::{Arg, Args, CommandFactory, ValueHint};
use clap_complete::{Generator, Shell};
use std::any::TypeId;
use std::io::{self, ErrorKind, Write};

/// Print what a shell completes command lines with.
///
/// To be put where the shell looks for it; packages put it into the system's folders of these names.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  siskin completions bash > ~/.local/share/bash-completion/completions/siskin
  siskin completions zsh > ~/.local/share/zsh/site-functions/_siskin     # a folder that is in $fpath
  siskin completions fish > ~/.config/fish/completions/siskin.fish")]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut command = shown(&crate::Arguments::command());
    command.set_bin_name("siskin");
    command.build();
    let mut script = Vec::new();
    arguments.shell.try_generate(&command, &mut script).context("the script")?;
    match io::stdout().lock().write_all(&script) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output"),
    }
}

/// What of a command helps show: generators would offer all that there is.
fn shown(command: &clap::Command) -> clap::Command {
    let args = command.get_arguments().filter(|arg| !arg.is_hide_set()).map(described);
    let commands = command.get_subcommands().filter(|command| !command.is_hide_set()).map(shown);
    let about = command.get_about().cloned().unwrap_or_default();
    clap::Command::new(command.get_name().to_owned()).about(about).args(args).subcommands(commands)
}

/// What completions need of an argument, which is less than what it is read with: how it is spelled, what it takes, and
/// whether that is a path.
fn described(arg: &Arg) -> Arg {
    let paths = [TypeId::of::<InputPath>(), TypeId::of::<OutputPath>(), TypeId::of::<Named>()];
    let mut described = Arg::new(arg.get_id().clone())
        .action(arg.get_action().clone())
        .help(arg.get_help().cloned().unwrap_or_default())
        .short(arg.get_short());
    if let Some(name) = arg.get_long() {
        described = described
            .long(name.to_owned())
            .visible_aliases(arg.get_visible_aliases().unwrap_or_default().into_iter().map(str::to_owned));
    }
    if let Some(names) = arg.get_value_names() {
        described = described.value_names(names.to_vec());
    }
    if paths.iter().any(|path| arg.get_value_parser().type_id() == *path) {
        described = described.value_hint(ValueHint::AnyPath);
    }
    match arg.get_possible_values() {
        values if arg.get_action().takes_values() && !values.is_empty() => {
            described.value_parser(PossibleValuesParser::new(values))
        }
        _ => described,
    }
}
