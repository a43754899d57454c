//! The user's folders (XDG Base Directory Specification), for their owner alone.

use anyhow::{Context, Result, anyhow};
use std::env;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// `siskin` in the folder for data: what the user has fetched. It is not made before there is something to be put into it.
///
/// # Errors
/// A user without a home.
pub fn data() -> Result<PathBuf> {
    named("XDG_DATA_HOME", ".local/share")
}

/// `siskin` in the folder for state, made if need be: what is gone on with, and who said what.
///
/// # Errors
/// A user without a home; a folder that cannot be made.
pub fn state() -> Result<PathBuf> {
    folder("XDG_STATE_HOME", ".local/state")
}

/// `siskin` in the folder for what can be worked out again, made if need be.
///
/// # Errors
/// As for [`state`].
pub fn cache() -> Result<PathBuf> {
    folder("XDG_CACHE_HOME", ".cache")
}

fn named(variable: &str, below_home: &str) -> Result<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute(variable)
        .or_else(|| Some(absolute("HOME")?.join(below_home)))
        .ok_or_else(|| anyhow!("neither {variable} nor HOME names a folder"))?;
    Ok(base.join("siskin"))
}

fn folder(variable: &str, below_home: &str) -> Result<PathBuf> {
    let folder = named(variable, below_home)?;
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.with_context(|| folder.display().to_string())?;
    Ok(folder)
}
