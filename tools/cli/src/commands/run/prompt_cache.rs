//! What prompts come to, kept in a file from one run to the next.

use crate::terminal::{self, note};
use anyhow::{Context, Result, bail};
use siskin::{Answer, STATE_MAGIC, Session, StateError};
use siskin_kit::{Inputs, Output};
use std::fs::{self, File};
use std::io::{BufReader, ErrorKind, Read, Write};
use std::path::Path;

/// Reads the prompt that `answer` is asked. What it begins with in common with the one whose state is in the file at `path`
/// is taken from there.
///
/// # Errors
/// A file that is not there or holds something else; one that cannot be read; a prompt that does not fit.
pub(crate) fn go_on(answer: &mut Answer, prompt: &[u32], path: &Path) -> Result<()> {
    fs::metadata(path).with_context(|| path.display().to_string())?;
    read_prompt(answer, prompt, path)
}

/// The same where the file may be missing, which has this prompt's state afterwards.
///
/// # Errors
/// A file that holds something else, which stays as it is; one that cannot be read or written; a prompt that does not fit.
pub(crate) fn keep(answer: &mut Answer, prompt: &[u32], path: &Path, inputs: &Inputs) -> Result<()> {
    let name = path.display();
    read_prompt(answer, prompt, path)?;
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

fn read_prompt(answer: &mut Answer, prompt: &[u32], path: &Path) -> Result<()> {
    restore(answer.session_mut(), path)?;
    answer.ask_tokens(prompt)?;
    terminal::read_prompt(answer).context("the prompt")
}

/// Restores the state in a file, if there is one that is of use.
fn restore(session: &mut Session, path: &Path) -> Result<()> {
    let name = path.display();
    let state = match fs::metadata(path) {
        Ok(found) if !found.is_file() => bail!("{name}: expected a regular file"),
        // Whatever it is, it is not read.
        Ok(found) if found.len() > most(session) && is_state(path)? => {
            note(format_args!(
                "{name}: larger than what this context has room for: the prompt is worked out anew"
            ));
            return Ok(());
        }
        Ok(found) if found.len() > most(session) => Err(StateError::Foreign),
        Ok(_) => Ok(File::open(path).with_context(|| name.to_string())?),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).context(name.to_string()),
    };
    match state.and_then(|state| session.restore_from(&mut BufReader::new(state))) {
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

/// Bytes that no state of the session is longer than: it has keys and values, tokens, logits, and some of its own.
fn most(session: &Session) -> u64 {
    const OWN: usize = 1 << 12;
    (session.bytes() + 4 * (session.context() + session.model().vocabulary()) + OWN) as u64
}

/// Whether a file begins as states do.
fn is_state(path: &Path) -> Result<bool> {
    let mut start = [0; STATE_MAGIC.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.with_context(|| path.display().to_string()).map(|()| start == STATE_MAGIC)
}
