use crate::terminal::note;
use anyhow::{Context, Result};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Cmd, ConditionalEventHandler, Config, Editor, Event, EventContext, EventHandler};
use rustyline::{KeyEvent, Movement, RepeatCount};
use siskin_kit::{folders, read_line};
use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;

/// Where the user's lines come from.
pub(super) enum Lines {
    /// A terminal with a line editor.
    Terminal(Box<Terminal>),
    /// Standard input as it is.
    Plain,
}

impl Lines {
    /// The terminal, if input and output are one.
    pub(super) fn open() -> Result<Lines> {
        if io::stdin().is_terminal() && io::stdout().is_terminal() {
            Ok(Lines::Terminal(Box::new(Terminal::open()?)))
        } else {
            Ok(Lines::Plain)
        }
    }

    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Lines::Terminal(_))
    }

    /// The next line; None when there is none any more, or the user leaves.
    pub(super) fn next(&mut self) -> Result<Option<String>> {
        match self {
            Lines::Terminal(terminal) => terminal.next().context("terminal"),
            Lines::Plain => next_plain(&mut io::stdin().lock()).context("standard input"),
        }
    }
}

fn next_plain(input: &mut impl BufRead) -> Result<Option<String>> {
    let mut line = Vec::new();
    read_line(input, &mut line)?;
    match line.as_slice() {
        [] => Ok(None),
        _ => siskin_kit::text(line).map(Some),
    }
}

/// A line editor whose history is kept in a file.
pub(super) struct Terminal {
    editor: Editor<(), FileHistory>,
    /// None where there is no place for it.
    history: Option<PathBuf>,
}

impl Terminal {
    fn open() -> Result<Terminal> {
        const MOST_LINES: usize = 1000;
        let config = Config::builder().auto_add_history(true).max_history_size(MOST_LINES)?.build();
        let mut editor = Editor::with_config(config)?;
        editor.bind_sequence(KeyEvent::ctrl('C'), EventHandler::Conditional(Box::new(ClearOrLeave)));
        let history = match folders::state() {
            Ok(folder) => Some(folder.join("history")),
            Err(error) => {
                note(format_args!("lines are not kept for later: {}", siskin_kit::one_line(&error)));
                None
            }
        };
        if let Some(path) = &history {
            // The first time there is none.
            let _ = editor.load_history(path);
        }
        Ok(Terminal { editor, history })
    }

    #[allow(clippy::disallowed_methods, reason = "the history is in the folder for state, its owner's alone")]
    fn next(&mut self) -> Result<Option<String>> {
        loop {
            match self.editor.readline("> ") {
                Ok(line) => {
                    if let Some(path) = &self.history {
                        // Not worth a word in the middle of a conversation.
                        let _ = self.editor.append_history(path);
                    }
                    return Ok(Some(line));
                }
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(None),
                // A slip of the hand or of the clipboard, which is not worth a conversation.
                Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    note(format_args!("what was typed is no UTF-8 text: please write the line again"));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// What Ctrl-C does to the line: it empties one that was begun and leaves from an empty one.
struct ClearOrLeave;

impl ConditionalEventHandler for ClearOrLeave {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext<'_>) -> Option<Cmd> {
        match context.line() {
            "" => Some(Cmd::Interrupt),
            _ => Some(Cmd::Kill(Movement::WholeBuffer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_come_one_by_one() {
        let mut input: &[u8] = b"one\n\ntwo";
        let mut next = || next_plain(&mut input).unwrap();
        assert_eq!(
            [next(), next(), next(), next()].map(|l| l.unwrap_or("end".into())),
            ["one\n", "\n", "two", "end"]
        );
        assert!(next_plain(&mut &b"\xff\n"[..]).is_err());
        assert_eq!(next_plain(&mut "\u{feff}a\r\n".as_bytes()).unwrap().as_deref(), Some("a\n"));
    }
}
