//! The `man` command: a manual page for each command, for those who make packages.

use crate::arguments::OutputPath;
use anyhow::{Context, Result};
use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use siskin_kit::{Inputs, Output, tell};
use std::fs;
use std::io::Write;
use std::path::Path;

/// Write a manual page for each command, as packages have them in man1.
#[derive(Debug, Args)]
#[command(hide = true, after_help = "Example:\n  siskin man usr/share/man/man1")]
pub(crate) struct Arguments {
    /// The folder to write them to, which is made where there is none
    #[arg(value_name = "DIR")]
    folder: OutputPath,
}

/// Writes the pages, and prints a line about them.
pub(crate) fn run(arguments: &Arguments, inputs: &Inputs) -> Result<()> {
    let folder = &*arguments.folder;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let mut command = crate::Arguments::command().disable_help_subcommand(true);
    command.build();
    let pages = write(&command, folder, inputs)?;
    tell(format_args!("{}: {pages} manual pages", folder.display()))
}

/// Writes the pages of a command and those below it, and returns how many.
fn write(command: &Command, folder: &Path, inputs: &Inputs) -> Result<usize> {
    let man = Man::new(command.clone());
    let output = Output::create(&folder.join(man.get_filename()), inputs)?;
    output.file().write_all(&page(&man, command)?).with_context(|| output.name().to_owned())?;
    output.commit()?;
    command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .try_fold(1, |pages, command| Ok(pages + write(command, folder, inputs)?))
}

fn page(man: &Man, command: &Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|command| !command.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(help) = command.get_after_long_help().or_else(|| command.get_after_help()) {
        page.extend(as_it_stands(&help.to_string()).into_bytes());
    }
    Ok(page)
}

/// A section of lines that are not to be filled, such as examples, under what their first line calls them.
fn as_it_stands(text: &str) -> String {
    let (heading, text) = match text.split_once(":\n") {
        Some((heading, rest)) if heading.starts_with("Example") => (heading.to_uppercase(), rest),
        _ => ("NOTES".to_owned(), text),
    };
    let escaped = |line: &str| format!("\\&{}\n", line.replace('\\', "\\e").replace('-', "\\-"));
    let lines: String = text.lines().map(escaped).collect();
    format!(".SH {heading}\n.nf\n{lines}.fi\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_stand_as_they_are_written() {
        assert_eq!(
            as_it_stands("Examples:\n  a -b '\\n'\n.c"),
            ".SH EXAMPLES\n.nf\n\\&  a \\-b '\\en'\n\\&.c\n.fi\n"
        );
        assert_eq!(
            as_it_stands("Metrics, by name:\n x"),
            ".SH NOTES\n.nf\n\\&Metrics, by name:\n\\& x\n.fi\n"
        );
    }
}
