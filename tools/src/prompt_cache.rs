//! What prompts come to, kept in a file from one run to the next.

use crate::answer::note;
use crate::output::Output;
use anyhow::{Context, Result, bail};
use siskin::{Session, StateError};
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Feeds a new session a prompt. What the prompt begins with in common with the one whose state is in the file at `path`
/// is taken from there, and the file has this prompt's state afterwards. Returns how many tokens were taken.
///
/// # Errors
/// A file that holds something else, which stays as it is; one that cannot be read or written; a prompt that does not fit.
pub(crate) fn feed(session: &mut Session, prompt: &[u32], path: &Path) -> Result<usize> {
    let name = path.display();
    restore(session, path)?;
    let both = session.tokens().iter().take(session.pristine()).zip(prompt);
    let common = both.take_while(|(held, token)| held == token).count();
    if common == prompt.len() && session.tokens().len() == common && session.logits().is_ok() {
        return Ok(common);
    }
    // The last token is fed in any case, as its logits are needed.
    let kept = common.min(prompt.len().saturating_sub(1));
    session.truncate(kept);
    session.feed(prompt.get(kept..).unwrap_or_default()).context("the prompt")?;
    let output = Output::create(path, &[])?;
    let mut writer = output.writer();
    let saved = session.save(&mut writer).and_then(|()| writer.flush());
    saved.with_context(|| name.to_string())?;
    drop(writer);
    output.commit()?;
    Ok(kept)
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
