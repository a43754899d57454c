//! What prompts come to, kept in a file from one run to the next.

use crate::answer::note;
use anyhow::{Context, Result, bail};
use siskin::{Answer, Session, StateError};
use siskin_kit::{Inputs, Output};
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Reads the prompt that `answer` is asked. What it begins with in common with the one whose state is in the file at `path`
/// is taken from there, and the file has this prompt's state afterwards.
///
/// # Errors
/// A file that holds something else, which stays as it is; one that cannot be read or written; a prompt that does not fit.
pub(crate) fn read_prompt(answer: &mut Answer, prompt: &[u32], path: &Path, inputs: &Inputs) -> Result<()> {
    let name = path.display();
    restore(answer.session_mut(), path)?;
    answer.ask_tokens(prompt)?;
    answer.read_prompt().context("the prompt")?;
    if answer.ending().is_some() || answer.reused() == prompt.len() {
        return Ok(());
    }
    // It has the prompt in it.
    let output = Output::create_private(path, inputs)?;
    let mut writer = output.writer();
    let saved = answer.session().save(&mut writer).and_then(|()| writer.flush());
    saved.with_context(|| name.to_string())?;
    drop(writer);
    output.commit()
}

/// Restores the state in a file, if there is one that is of use.
fn restore(session: &mut Session, path: &Path) -> Result<()> {
    let name = path.display();
    let state = match fs::read(path) {
        Ok(state) => state,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).context(name.to_string()),
    };
    match session.restore(&state) {
        Ok(()) => Ok(()),
        // It may be anything, also what somebody cannot do without.
        Err(error @ StateError::Foreign) => {
            bail!("{name}: {error}: expected a file that --prompt-cache wrote")
        }
        Err(error) => {
            note(format_args!("{name}: {error}: the prompt is worked out anew"));
            Ok(())
        }
    }
}
