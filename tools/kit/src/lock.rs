#![allow(clippy::disallowed_methods, reason = "files that hold nothing but a lock are made here")]

use anyhow::{Context, Result};
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A lock between processes, held until it is dropped or its process ends, however that may be.
#[derive(Debug)]
pub struct Lock {
    // Closing it gives the lock back.
    _file: File,
}

impl Lock {
    /// Waits for the lock that the file at `path` is for, which is made if need be.
    ///
    /// # Errors
    /// What cannot be opened; a file system without locks.
    pub fn wait(path: &Path) -> Result<Lock> {
        let open = || {
            let mut options = File::options();
            let file = options.write(true).create(true).truncate(false).mode(0o600).open(path)?;
            file.lock().map(|()| file)
        };
        let file = open().with_context(|| path.display().to_string())?;
        Ok(Lock { _file: file })
    }
}
