#![allow(clippy::disallowed_methods, reason = "what grows line by line is made here, and removed")]

use crate::inputs::{Inputs, folder_of};
use crate::output::descriptor;
use crate::text::read_line;
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A file of lines that grows at its end. A line is on the disk when [`Lines::append`] returns; one that was not
/// finished is seen by [`Lines::recover`] and cut off. No two processes have the same file open. Once its name is gone or
/// another file's, nothing is said to be written any more.
#[derive(Debug)]
pub struct Lines {
    name: String,
    path: PathBuf,
    file: File,
    /// Bytes of the file, all of which are whole lines once it was recovered.
    length: u64,
    created: bool,
}

impl Lines {
    /// Opens the file at `path`, which is none of `inputs`, or makes it. A new one goes away again if no line is
    /// appended; the umask decides who may read it.
    ///
    /// # Errors
    /// What is no regular file, is an input, is a link that leads nowhere, or is open elsewhere. Nothing is made then.
    pub fn open(path: &Path, inputs: &Inputs) -> Result<Lines> {
        Lines::with_mode(path, inputs, 0o666)
    }

    /// The same for what is of its owner's concern alone: nobody else may read a new file.
    ///
    /// # Errors
    /// As for [`Lines::open`].
    pub fn open_private(path: &Path, inputs: &Inputs) -> Result<Lines> {
        Lines::with_mode(path, inputs, 0o600)
    }

    fn with_mode(path: &Path, inputs: &Inputs, mode: u32) -> Result<Lines> {
        let name = path.display().to_string();
        // What a descriptor leads to may be written by others, and cannot be opened again tomorrow.
        let own = || match path == Path::new("-") || descriptor(path).is_some() {
            true => bail!(
                "found a descriptor, expected the name of a file: its lines are read again where work goes on"
            ),
            false => Ok(()),
        };
        own()
            .and_then(|()| inputs.check(path))
            .and_then(|()| open(path, mode, sync))
            .with_context(|| name.clone())
            .map(|(file, length, created)| Lines { path: path.to_owned(), name, file, length, created })
    }

    /// What messages call the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether it begins with `text`, or ends before all of that is there.
    pub fn begins_with(&mut self, text: &str) -> Result<bool> {
        let mut read = || {
            self.file.seek(SeekFrom::Start(0))?;
            let mut beginning = Vec::new();
            (&self.file).take(text.len() as u64).read_to_end(&mut beginning).map(|_| beginning)
        };
        let beginning = read().with_context(|| self.name.clone())?;
        Ok(text.as_bytes().starts_with(&beginning))
    }

    /// Shows `check` every whole line with its number, from 1, and returns how many there are. What is behind the last
    /// newline is cut off, and so is the last line if `check` returns false for it: a loss of power may leave a line
    /// that is not what was written.
    ///
    /// # Errors
    /// What `check` returns, and a line that it returned false for in front of others; the file stays as it was.
    pub fn recover(&mut self, mut check: impl FnMut(u64, &[u8]) -> Result<bool>) -> Result<u64> {
        self.file.seek(SeekFrom::Start(0)).with_context(|| self.name.clone())?;
        let mut reader = BufReader::new(&self.file);
        let (mut whole, mut count, mut damaged) = (0, 0, None);
        let mut line = Vec::new();
        loop {
            read_line(&mut reader, &mut line).with_context(|| self.name.clone())?;
            let length = line.len() as u64;
            let Some(text) = line.strip_suffix(b"\n") else { break };
            if let Some(number) = damaged {
                bail!("{}, line {number}: this is not what was written there", self.name);
            }
            if check(count + 1, text)? {
                count += 1;
                whole += length;
            } else {
                damaged = Some(count + 1);
            }
        }
        if whole < self.length {
            self.cut(whole).with_context(|| self.name.clone())?;
        }
        Ok(count)
    }

    /// Appends a line, and waits until it is on the disk.
    ///
    /// # Errors
    /// A line that cannot be written leaves nothing behind. That the file is not the one of its name any more.
    pub fn append(&mut self, line: &str) -> Result<()> {
        let bytes = format!("{line}\n");
        let written = self.file.write_all(bytes.as_bytes()).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.length += bytes.len() as u64,
            Err(error) => {
                // If this fails too, the next process does it.
                let _ = self.cut(self.length);
                return Err(error).with_context(|| self.name.clone());
            }
        }
        self.check_name()
    }

    /// Checks that the file is still the one of its name: of what nobody can open any more, nothing is kept.
    ///
    /// # Errors
    /// A name that is gone, or another file's.
    pub fn check_name(&self) -> Result<()> {
        let named = is_named(&self.path, &self.file).with_context(|| self.name.clone())?;
        ensure!(named, "{}: the file was removed or replaced while it was written", self.name);
        Ok(())
    }

    /// Removes the file.
    ///
    /// # Errors
    /// As for [`Lines::check_name`], and what the file system says.
    pub fn remove(self) -> Result<()> {
        self.check_name()?;
        fs::remove_file(&self.path).with_context(|| self.name.clone())
    }

    /// Removes the files in `folder` whose names begin with `prefix`, which nobody has open or has written for `age`:
    /// what was given up. Those that cannot be removed stay.
    pub fn remove_abandoned(folder: &Path, prefix: &str, age: Duration) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()) {
                let _ = remove_abandoned(&entry.path(), age);
            }
        }
    }

    fn cut(&mut self, length: u64) -> std::io::Result<()> {
        self.file.set_len(length)?;
        self.file.sync_data()?;
        self.length = length;
        Ok(())
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if self.created && self.length == 0 {
            take_back(&self.path, &self.file);
        }
    }
}

/// Removes a file that nobody has open or has written for `age`.
fn remove_abandoned(path: &Path, age: Duration) -> io::Result<()> {
    let written = |found: fs::Metadata| found.modified()?.elapsed().map_err(io::Error::other);
    let is_old = |found: fs::Metadata| Ok::<_, io::Error>(found.is_file() && written(found)? >= age);
    if is_old(fs::symlink_metadata(path)?)? {
        let file = File::open(path)?;
        file.try_lock()?;
        // Somebody may have gone on with it before it was locked.
        if is_old(file.metadata()?)? {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Waits until the names in a folder are on the disk.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Whether `file` is what `path` leads to.
fn is_named(path: &Path, file: &File) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes a file that this process has made, unless its name is another's by now. An empty file that stays is in nobody's
/// way.
fn take_back(path: &Path, file: &File) {
    if is_named(path, file).unwrap_or(false) {
        let _ = fs::remove_file(path);
    }
}

/// The file at `path`, locked for as long as it is open, its length, and whether it is new. As long as it has no line its
/// name may not have survived a loss of power either, whoever made it: `sync` is asked to see to that.
fn open(path: &Path, mode: u32, sync: impl Fn(&Path) -> io::Result<()>) -> Result<(File, u64, bool)> {
    loop {
        let created = !exists(path)?;
        let mut options = OpenOptions::new();
        // What is new is made under this very name, never where a link leads.
        options.read(true).append(true).create_new(created).mode(mode);
        let file = match options.open(path) {
            // Another process has made or removed it meanwhile.
            Err(error) if created && error.kind() == ErrorKind::AlreadyExists => continue,
            Err(error) if !created && error.kind() == ErrorKind::NotFound => continue,
            opened => opened?,
        };
        match file.try_lock() {
            Err(fs::TryLockError::WouldBlock) => bail!("another process is writing it"),
            // File systems without locks trust their users.
            Err(fs::TryLockError::Error(_)) | Ok(()) => {}
        }
        // Another process may have removed it before it was locked.
        if !is_named(path, &file)? {
            continue;
        }
        let length = file.metadata()?.len();
        if length == 0
            && let Err(error) = sync(folder_of(path))
        {
            if created {
                take_back(path, &file);
            }
            return Err(error.into());
        }
        return Ok((file, length, created));
    }
}

/// Whether there is a regular file at `path`, or nothing.
///
/// # Errors
/// Anything else.
fn exists(path: &Path) -> Result<bool> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => bail!("found a folder, expected the name of a file"),
        Ok(found) if !found.is_file() => bail!("found no regular file"),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            ensure!(fs::symlink_metadata(path).is_err(), "found a link that leads nowhere");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn open(path: &Path) -> Result<Lines> {
        Lines::open(path, &Inputs::of([""; 0]))
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    /// Recovers the file and returns its lines, of which `torn` is none.
    fn recovered(path: &Path, torn: &str) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        open(path)?.recover(|number, line| {
            let line = String::from_utf8(line.to_vec())?;
            let whole = line != torn;
            if whole {
                lines.push(line);
                assert_eq!(number, lines.len() as u64);
            }
            Ok(whole)
        })?;
        Ok(lines)
    }

    #[test]
    fn the_name_of_a_file_without_lines_is_synced_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let synced = || {
            let folders = RefCell::new(Vec::new());
            let sync = |folder: &Path| {
                assert!(path.exists(), "a name can be synced once it is there");
                folders.borrow_mut().push(folder.to_owned());
                super::sync(folder)
            };
            super::open(&path, 0o666, sync).unwrap();
            folders.into_inner()
        };
        assert_eq!(synced(), [folder.path()]);
        // Whoever made it may have been killed before that.
        assert_eq!(synced(), [folder.path()]);
        fs::write(&path, "one\n").unwrap();
        assert!(synced().is_empty());
        fs::remove_file(&path).unwrap();
        let failing = |_: &Path| Err(io::Error::from(ErrorKind::StorageFull));
        assert!(super::open(&path, 0o666, failing).is_err());
        assert!(!path.exists(), "what cannot be kept is not made");
    }

    #[test]
    fn a_link_that_leads_nowhere_is_refused_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let error = format!("{:#}", open(&link).unwrap_err());
        assert!(error.ends_with("link: found a link that leads nowhere"), "{error}");
        assert!(link.is_symlink() && !target.exists());
        // One that leads somewhere is followed.
        fs::write(&target, "").unwrap();
        drop(open(&link).unwrap());
        open(&link).unwrap().append("one").unwrap();
        assert!(link.is_symlink());
        assert_eq!(read(&target), "one\n");
    }

    #[test]
    fn nothing_is_said_to_be_written_once_the_name_is_another_s() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a"), folder.path().join("other"));
        let changes: [&dyn Fn(); 3] =
            [&|| fs::remove_file(&path).unwrap(), &|| fs::rename(&path, &other).unwrap(), &|| {
                fs::write(&other, "mine").unwrap();
                fs::rename(&other, &path).unwrap();
            }];
        for (index, change) in changes.iter().enumerate() {
            for lines_before in 0..2 {
                let _ = (fs::remove_file(&path), fs::remove_file(&other));
                let mut lines = open(&path).unwrap();
                for _ in 0..lines_before {
                    lines.append("one").unwrap();
                }
                lines.check_name().unwrap();
                change();
                let error = lines.append("two").unwrap_err().to_string();
                assert!(
                    error.ends_with("a: the file was removed or replaced while it was written"),
                    "{error}"
                );
                assert!(lines.check_name().is_err() && lines.remove().is_err());
                if index == 2 {
                    assert_eq!(read(&path), "mine");
                }
            }
            // Nor is what has the name now taken for the new file that goes away.
            let _ = (fs::remove_file(&path), fs::remove_file(&other));
            let lines = open(&path).unwrap();
            change();
            drop(lines);
            assert_eq!(path.exists(), index == 2);
        }
    }

    #[test]
    fn lines_are_appended_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for line in ["one", "", "drei"] {
            open(&path).unwrap().append(line).unwrap();
        }
        assert_eq!(read(&path), "one\n\ndrei\n");
        assert_eq!(recovered(&path, "-").unwrap(), ["one", "", "drei"]);
    }

    #[test]
    fn a_torn_end_is_cut_off_wherever_it_is_torn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let whole = "one\ntwo\nthree\n";
        for length in 0..=whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let expected: Vec<&str> =
                whole[..length].split_inclusive('\n').filter(|l| l.ends_with('\n')).collect();
            assert_eq!(recovered(&path, "-").unwrap().len(), expected.len());
            assert_eq!(read(&path), expected.concat());
        }
        fs::write(&path, "one\ntwo\n").unwrap();
        assert_eq!(recovered(&path, "two").unwrap(), ["one"]);
        assert_eq!(read(&path), "one\n");
    }

    #[test]
    fn damage_in_the_middle_is_said_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "one\ntwo\nthree\nto").unwrap();
        let error = recovered(&path, "two").unwrap_err().to_string();
        assert!(error.ends_with("a, line 2: this is not what was written there"), "{error}");
        assert_eq!(read(&path), "one\ntwo\nthree\nto");
    }

    #[test]
    fn two_processes_do_not_write_one_file_and_a_new_one_without_lines_goes_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let first = open(&path).unwrap();
        let error = format!("{:#}", open(&path).unwrap_err());
        assert!(error.ends_with("another process is writing it"), "{error}");
        drop(first);
        assert!(!path.exists());
        fs::write(&path, "").unwrap();
        drop(open(&path).unwrap());
        assert!(path.exists());
        assert!(open(folder.path()).is_err() && open(Path::new("/dev/null")).is_err());
    }

    #[test]
    fn what_was_given_up_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let age = Duration::from_secs(3600);
        let file = |name: &str, old: bool| {
            let path = folder.path().join(name);
            fs::write(&path, "one\n").unwrap();
            if old {
                File::open(&path).unwrap().set_modified(std::time::SystemTime::now() - 2 * age).unwrap();
            }
            path
        };
        let (old, new, other) = (file("a-old", true), file("a-new", false), file("b-old", true));
        let used = file("a-used", true);
        let lines = open(&used).unwrap();
        Lines::remove_abandoned(folder.path(), "a-", age);
        assert_eq!([&old, &new, &other, &used].map(|path| path.exists()), [false, true, true, true]);
        drop(lines);
        Lines::remove_abandoned(folder.path(), "a-", age);
        assert!(!used.exists());
        Lines::remove_abandoned(&folder.path().join("missing"), "a-", age);
    }

    #[test]
    fn an_input_is_never_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        let (input, link) = (folder.path().join("input"), folder.path().join("link"));
        fs::write(&input, "one\n").unwrap();
        std::os::unix::fs::symlink(&input, &link).unwrap();
        let (inputs, other) = (Inputs::of([&input]), folder.path().join("other"));
        for path in [&input, &link, &folder.path().join("./input")] {
            let error = format!("{:#}", Lines::open_private(path, &inputs).unwrap_err());
            assert!(error.contains("the output is the input"), "{error}");
        }
        // Nor is what another output will be.
        assert!(Lines::open(&folder.path().join("./other"), &inputs.and([&other])).is_err());
        assert!(!other.exists());
    }

    #[test]
    fn private_lines_are_their_owner_s_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (private, shared) = (folder.path().join("private"), folder.path().join("shared"));
        Lines::open_private(&private, &Inputs::of([""; 0])).unwrap().append("one").unwrap();
        open(&shared).unwrap().append("one").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&private), 0o600);
        // What this process's umask leaves of a new file.
        let umask = folder.path().join("umask");
        fs::write(&umask, "").unwrap();
        assert_eq!(mode(&shared), mode(&umask));
    }
}
