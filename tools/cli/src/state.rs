//! The user's folder for state.

use anyhow::{Context, Result, anyhow};
use std::env;
use std::fs;
use std::path::PathBuf;

/// `siskin` in the user's folder for state (XDG Base Directory Specification), which is made if need be.
pub(crate) fn folder() -> Result<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .ok_or_else(|| anyhow!("neither XDG_STATE_HOME nor HOME names a folder"))?;
    let folder = state.join("siskin");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}
