use anyhow::{Context, Result, anyhow, bail};
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, BufWriter, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::{Builder, NamedTempFile};

/// What the names of unfinished files end in.
const UNFINISHED: &str = ".siskin-unfinished";

/// A file that appears under its name only once it is complete; until then it grows beside it under another name,
/// which goes away if anything fails. A process that was killed leaves its unfinished file behind: the next one that
/// writes the same file clears it away.
#[derive(Debug)]
pub struct Output {
    name: String,
    place: PathBuf,
    folder: PathBuf,
    file: NamedTempFile,
}

impl Output {
    /// Begins the file that will be at `path`, which may hold another file until then, but none of `inputs`.
    pub fn create(path: &Path, inputs: &[PathBuf]) -> Result<Output> {
        let shown = path.display().to_string();
        let context = || shown.clone();
        // A link is followed: the file it leads to is the one to be replaced.
        let place = match fs::canonicalize(path) {
            Ok(place) => {
                check_replaceable(&fs::metadata(&place)?, inputs).with_context(context)?;
                place
            }
            Err(error) if error.kind() == ErrorKind::NotFound => path.to_path_buf(),
            Err(error) => return Err(error).with_context(context),
        };
        let name =
            place.file_name().ok_or_else(|| anyhow!("expected the name of a file")).with_context(context)?;
        let folder = match place.parent() {
            Some(folder) if folder != Path::new("") => folder.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let prefix = hidden(name);
        clear_away(&folder, &prefix).with_context(context)?;
        let file = unfinished(&folder, &prefix).with_context(context)?;
        Ok(Output { name: shown, place, folder, file })
    }

    /// What messages call the file: the path the user gave.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its bytes go.
    pub fn writer(&self) -> BufWriter<&File> {
        BufWriter::with_capacity(1 << 20, self.file.as_file())
    }

    /// The same without a buffer, for what comes in large pieces.
    pub fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Puts the file in its place, once all its bytes are on the disk.
    pub fn commit(self) -> Result<()> {
        let Output { name, place, folder, file } = self;
        let context = || name.clone();
        file.as_file().sync_all().with_context(context)?;
        file.persist(&place).map_err(|failed| failed.error).with_context(context)?;
        // The name, too, must survive a loss of power.
        File::open(folder).and_then(|folder| folder.sync_all()).with_context(context)
    }
}

/// The start of the unfinished file's name: `.model.gguf.`, shortened to leave room for the random rest.
fn hidden(name: &OsStr) -> String {
    let name: String = name.to_string_lossy().chars().take(40).collect();
    format!(".{name}.")
}

/// A new file, locked as long as its process lives.
fn unfinished(folder: &Path, prefix: &str) -> io::Result<NamedTempFile> {
    loop {
        // The umask decides about the permissions, as for any new file.
        let mut builder = Builder::new();
        builder.prefix(prefix).suffix(UNFINISHED).permissions(Permissions::from_mode(0o666));
        let file = builder.tempfile_in(folder)?;
        // File systems without locks have no leftovers cleared away either.
        let _ = file.as_file().lock();
        // Another process may have cleared it away before it was locked.
        if file.as_file().metadata()?.nlink() > 0 {
            return Ok(file);
        }
    }
}

/// Removes the unfinished files of this name whose processes are gone.
fn clear_away(folder: &Path, prefix: &str) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let random = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(UNFINISHED));
        if random.is_none_or(|random| random.contains('.')) {
            continue;
        }
        // The lock is held until the file is gone, so that nobody takes it for a new one of theirs meanwhile.
        if let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            // One that cannot be removed is in nobody's way.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

fn check_replaceable(existing: &Metadata, inputs: &[PathBuf]) -> Result<()> {
    if existing.is_dir() {
        bail!("the output is a folder, expected the name of a file");
    }
    if !existing.is_file() {
        bail!("the output is no regular file");
    }
    for input in inputs {
        let input_file = fs::metadata(input).with_context(|| input.display().to_string())?;
        if (input_file.dev(), input_file.ino()) == (existing.dev(), existing.ino()) {
            bail!("the output is the input {}", input.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::symlink;

    fn names(folder: &Path) -> Vec<std::ffi::OsString> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_old_file_stays_until_the_new_one_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        fs::write(&path, "old").unwrap();
        let output = Output::create(&path, &[]).unwrap();
        output.writer().write_all(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        output.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["model.gguf"]);
    }

    #[test]
    fn an_output_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::create(&folder.path().join("model.gguf"), &[]).unwrap();
        output.writer().write_all(b"half").unwrap();
        assert_eq!(names(folder.path()).len(), 1);
        drop(output);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn leftovers_of_the_dead_are_cleared_away_and_those_of_the_living_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let living = Output::create(&path, &[]).unwrap();
        for name in [".model.gguf.abc123.siskin-unfinished", ".other.gguf.abc123.siskin-unfinished"] {
            fs::write(folder.path().join(name), "half").unwrap();
        }
        let output = Output::create(&path, &[]).unwrap();
        assert!(!folder.path().join(".model.gguf.abc123.siskin-unfinished").exists());
        assert_eq!(names(folder.path()).len(), 3, "this one, the living one and the other file's");
        output.commit().unwrap();
        living.commit().unwrap();
    }

    #[test]
    fn the_input_is_never_the_output() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("in.gguf");
        fs::write(&input, "weights").unwrap();
        let (soft, hard) = (folder.path().join("soft"), folder.path().join("hard"));
        symlink(&input, &soft).unwrap();
        fs::hard_link(&input, &hard).unwrap();
        for path in [&input, &soft, &hard, &folder.path().join("./in.gguf")] {
            let error = format!("{:#}", Output::create(path, std::slice::from_ref(&input)).unwrap_err());
            assert!(error.contains("the output is the input"), "{error}");
        }
        assert!(Output::create(folder.path(), &[]).unwrap_err().root_cause().to_string().contains("folder"));
    }

    #[test]
    fn a_link_to_another_file_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "old").unwrap();
        symlink(&real, &link).unwrap();
        let output = Output::create(&link, &[]).unwrap();
        output.writer().write_all(b"new").unwrap();
        output.commit().unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}
