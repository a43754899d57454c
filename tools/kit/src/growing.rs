#![allow(clippy::disallowed_methods, reason = "what grows over several runs is made here, and removed")]

use crate::inputs::folder_of;
use anyhow::{Context, Result, bail};
use rustix::fs::OFlags;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A folder of files that grow over several runs of a program, and appear together in their place once all of them are
/// complete. It belongs to one process at a time; what a killed one has left is there for the next.
#[derive(Debug)]
pub struct GrowingFolder {
    path: PathBuf,
    // Closing it gives the lock back.
    _lock: File,
}

impl GrowingFolder {
    /// Opens the folder at `path`, or makes it and those above it, for their owner alone. Where another process has it,
    /// `waiting` is called, and that process waited for: afterwards its files may be in their place.
    ///
    /// # Errors
    /// What is no folder; what the file system says.
    pub fn open(path: &Path, waiting: impl FnOnce()) -> Result<GrowingFolder> {
        let mut waiting = Some(waiting);
        let mut open = || loop {
            make_folder(path)?;
            let lock = open_folder(path)?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    if let Some(waiting) = waiting.take() {
                        waiting();
                    }
                    lock.lock()?;
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Whoever had it may have put it in its place, or removed it.
            if is_still(&lock, path) {
                return Ok(lock);
            }
        };
        let lock = open().with_context(|| path.display().to_string())?;
        Ok(GrowingFolder { path: path.to_owned(), _lock: lock })
    }

    /// Opens the folder at `path` if it is there and no process has it.
    ///
    /// # Errors
    /// As for [`GrowingFolder::open`].
    pub fn open_free(path: &Path) -> Result<Option<GrowingFolder>> {
        let lock = match open_folder(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            lock => lock.with_context(|| path.display().to_string())?,
        };
        let free = lock.try_lock().is_ok() && is_still(&lock, path);
        Ok(free.then(|| GrowingFolder { path: path.to_owned(), _lock: lock }))
    }

    /// Where it is for now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One of its files, with what it has got so far.
    ///
    /// # Errors
    /// What is no regular file, and a `name` that leads elsewhere.
    pub fn file(&self, name: &str) -> Result<GrowingFile> {
        let path = self.path.join(name);
        if path.file_name().is_none_or(|last| last != name) {
            bail!("{name:?} is no name of a file");
        }
        let open = || -> io::Result<(File, u64)> {
            let mut options = OpenOptions::new();
            options.read(true).append(true).create(true).mode(0o600);
            let file = options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(&path)?;
            let length = file.metadata()?.len();
            Ok((file, length))
        };
        let (file, length) = open().with_context(|| path.display().to_string())?;
        Ok(GrowingFile { path, file, length })
    }

    /// Puts the folder with these files, and no others, in its place, once all their bytes are on the disk. There is
    /// nothing, or an empty folder, at `place` before.
    ///
    /// # Errors
    /// A file that is missing; what the file system says.
    pub fn commit(self, files: &[&str], place: &Path) -> Result<()> {
        for entry in fs::read_dir(&self.path).with_context(|| self.path.display().to_string())? {
            let entry = entry?;
            if !files.iter().any(|file| entry.file_name() == *file) {
                fs::remove_file(entry.path()).with_context(|| entry.path().display().to_string())?;
            }
        }
        let sync = |path: &Path| {
            File::open(path).and_then(|file| file.sync_all()).with_context(|| path.display().to_string())
        };
        files.iter().try_for_each(|file| sync(&self.path.join(file)))?;
        sync(&self.path)?;
        let folder = folder_of(place);
        make_folder(folder)
            .and_then(|()| fs::rename(&self.path, place))
            .with_context(|| place.display().to_string())?;
        // The name, too, must survive a loss of power.
        sync(folder)
    }

    /// Removes the folder and what is in it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn discard(self) -> Result<()> {
        fs::remove_dir_all(&self.path).with_context(|| self.path.display().to_string())
    }
}

/// A file of a [`GrowingFolder`].
#[derive(Debug)]
pub struct GrowingFile {
    path: PathBuf,
    file: File,
    length: u64,
}

impl GrowingFile {
    /// Where it is for now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that it has got so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Adds bytes at its end.
    ///
    /// # Errors
    /// What the file system says; what of them is there counts.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all(bytes);
        self.length = match &written {
            Ok(()) => self.length + bytes.len() as u64,
            Err(_) => self.file.metadata().map_or(self.length, |metadata| metadata.len()),
        };
        written.with_context(|| self.path.display().to_string())
    }

    /// Forgets all that it has got.
    ///
    /// # Errors
    /// What the file system says.
    pub fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).with_context(|| self.path.display().to_string())?;
        self.length = 0;
        Ok(())
    }

    /// Shows all that it has got so far, in pieces.
    ///
    /// # Errors
    /// What the file system says.
    pub fn read_back(&mut self, mut piece: impl FnMut(&[u8])) -> Result<()> {
        let mut read = || {
            self.file.seek(SeekFrom::Start(0))?;
            let mut buffer = vec![0; 1 << 20];
            loop {
                match self.file.read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(count) => piece(buffer.get(..count).unwrap_or_default()),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        };
        read().with_context(|| self.path.display().to_string())
    }
}

/// Takes away the folder that [`GrowingFolder::commit`] put at `place`: from its place at once, and then from the disk.
/// It goes by way of the folder `bin`, all of which is removed, with what a process has left there that was killed.
///
/// # Errors
/// What the file system says.
pub fn withdraw(place: &Path, bin: &Path) -> Result<()> {
    let withdraw = || {
        empty(bin)?;
        make_folder(bin)?;
        let name = place.file_name().unwrap_or(place.as_os_str());
        fs::rename(place, bin.join(name))?;
        empty(bin)
    };
    withdraw().with_context(|| place.display().to_string())
}

fn empty(bin: &Path) -> io::Result<()> {
    match fs::remove_dir_all(bin) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Opens a folder, and no link to one.
fn open_folder(path: &Path) -> io::Result<File> {
    const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW);
    OpenOptions::new().read(true).custom_flags(FOLDER.bits().cast_signed()).open(path)
}

/// Whether the open folder is the one at `path`.
fn is_still(folder: &File, path: &Path) -> bool {
    let same = |a: fs::Metadata, b: fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    fs::symlink_metadata(path).is_ok_and(|there| folder.metadata().is_ok_and(|folder| same(folder, there)))
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn files_grow_over_several_runs_and_appear_together() {
        let folder = tempfile::tempdir().unwrap();
        let (path, place) = (folder.path().join("growing/one"), folder.path().join("places/one"));
        for (run, piece) in ["ab", "cd"].into_iter().enumerate() {
            let growing = GrowingFolder::open(&path, || panic!("nobody has it")).unwrap();
            let mut file = growing.file("file").unwrap();
            assert_eq!(file.length(), 2 * run as u64);
            file.append(piece.as_bytes()).unwrap();
        }
        let growing = GrowingFolder::open(&path, || panic!("nobody has it")).unwrap();
        let mut seen = Vec::new();
        growing.file("file").unwrap().read_back(|piece| seen.extend_from_slice(piece)).unwrap();
        assert_eq!(seen, b"abcd");
        growing.file("of an earlier run").unwrap();
        growing.file("second").unwrap().append(b"x").unwrap();
        growing.commit(&["file", "second"], &place).unwrap();
        assert!(!path.exists() && GrowingFolder::open_free(&path).unwrap().is_none());
        assert_eq!(fs::read_dir(&place).unwrap().count(), 2);
        assert_eq!(fs::read(place.join("file")).unwrap(), b"abcd");
        withdraw(&place, &folder.path().join("bin")).unwrap();
        assert!(!place.exists() && !folder.path().join("bin").exists());
    }

    #[test]
    fn a_second_process_waits_and_gets_a_folder_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (path, place) = (folder.path().join("growing"), folder.path().join("place"));
        let first = GrowingFolder::open(&path, || ()).unwrap();
        first.file("file").unwrap();
        let (waiting, waits) = mpsc::channel();
        let second = thread::spawn({
            let path = path.clone();
            move || GrowingFolder::open(&path, || waiting.send(()).unwrap())
        });
        waits.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(GrowingFolder::open_free(&path).unwrap().is_none());
        first.commit(&["file"], &place).unwrap();
        let second = second.join().unwrap().unwrap();
        assert_eq!(fs::read_dir(second.path()).unwrap().count(), 0);
        second.discard().unwrap();
        assert!(!path.exists() && place.join("file").exists());
    }

    #[test]
    fn links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (elsewhere, path) = (folder.path().join("elsewhere"), folder.path().join("growing"));
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("file"), "kept").unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert!(GrowingFolder::open(&path, || ()).is_err());
        fs::remove_file(&path).unwrap();
        let growing = GrowingFolder::open(&path, || ()).unwrap();
        symlink(elsewhere.join("file"), path.join("file")).unwrap();
        assert!(growing.file("file").is_err());
        for name in ["", ".", "..", "../elsewhere/file", "/etc/passwd", "a/"] {
            assert!(growing.file(name).is_err(), "{name}");
        }
        growing.discard().unwrap();
        assert_eq!(fs::read(elsewhere.join("file")).unwrap(), b"kept");
    }

    #[test]
    fn what_was_withdrawn_halfway_goes_too() {
        let folder = tempfile::tempdir().unwrap();
        let (place, bin) = (folder.path().join("place"), folder.path().join("bin"));
        fs::create_dir_all(bin.join("place/rest")).unwrap();
        fs::create_dir(&place).unwrap();
        withdraw(&place, &bin).unwrap();
        assert!(!bin.exists());
    }
}
