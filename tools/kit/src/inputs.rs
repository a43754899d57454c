use anyhow::{Result, bail, ensure};
use siskin::gguf::shards;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The files that a command reads, and those that it writes elsewhere, none of which an output may replace. Each
/// [`Output`](crate::Output) and all [`Lines`](crate::Lines) are given them, so that no command can forget to say.
#[derive(Clone, Debug, Default)]
pub struct Inputs(Vec<PathBuf>);

impl Inputs {
    /// These files, with all shards of a split model that one is a shard of, and all that is in these folders, but for GGUF
    /// files: what is read as a folder is a checkpoint or an adapter, which has none. A file that does not exist yet may not
    /// be made either.
    pub fn of<P: Into<PathBuf>>(paths: impl IntoIterator<Item = P>) -> Inputs {
        Inputs(paths.into_iter().map(Into::into).collect())
    }

    /// The same and others.
    pub fn and<P: Into<PathBuf>>(mut self, paths: impl IntoIterator<Item = P>) -> Inputs {
        self.0.extend(paths.into_iter().map(Into::into));
        self
    }

    /// Fails where one of them is the file at `path`, by whatever name.
    pub(crate) fn check(&self, path: &Path) -> Result<()> {
        let Some(output) = Identity::of(path) else { return Ok(()) };
        let same = |path: &Path| Identity::of(path).is_some_and(|input| input == output);
        // It may carry a model, and is wanted again in any case.
        if same(Path::new("/proc/self/exe")) {
            bail!("the output is this program");
        }
        if let Some(input) = self.0.iter().find(|input| same(input)) {
            bail!("the output is the input {}", input.display());
        }
        let shards = self.0.iter().filter_map(|input| shards(input)).flatten();
        if let Some(shard) = shards.into_iter().find(|shard| same(shard)) {
            bail!("the output is a shard of the input {}", shard.display());
        }
        for input in &self.0 {
            for entry in fs::read_dir(input).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.extension().is_none_or(|extension| extension != "gguf") && same(&path) {
                    bail!("the output is a file of the input {}", input.display());
                }
            }
        }
        Ok(())
    }
}

/// What tells a file from others, whatever it is called.
#[derive(PartialEq, Eq)]
enum Identity {
    /// Device and inode of a file.
    File(u64, u64),
    /// Those of the folder that a file will be in, and its name there.
    Future(u64, u64, OsString),
}

impl Identity {
    /// None of what cannot be made.
    fn of(path: &Path) -> Option<Identity> {
        if let Ok(file) = fs::metadata(path) {
            return Some(Identity::File(file.dev(), file.ino()));
        }
        let folder = fs::metadata(folder_of(path)).ok()?;
        Some(Identity::Future(folder.dev(), folder.ino(), path.file_name()?.to_owned()))
    }
}

/// Opens the file at `path` to be read; None where there is none.
///
/// # Errors
/// What is no regular file: a pipe would be waited for.
pub fn regular_file(path: &Path) -> Result<Option<File>> {
    match fs::metadata(path) {
        Ok(found) => ensure!(found.is_file(), "found no regular file"),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    Ok(Some(File::open(path)?))
}

/// The folder that a file is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}
