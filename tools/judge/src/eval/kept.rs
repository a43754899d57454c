//! The folder where reference logits are kept from one evaluation to the next. Those that nobody used for the longest
//! time make room for new ones.

use anyhow::{Context, Result};
use siskin_kit::folders;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Bytes that all files in the folder have together, but while a command uses one that alone is larger.
pub const MOST_KEPT: u64 = 4 << 30;

/// What the names of files with logits end in.
pub(super) const LOGITS: &str = ".logits";
/// What the names of those end in that were not finished.
const UNFINISHED: &str = ".siskin-unfinished";

/// The folder.
#[derive(Clone, Debug)]
pub struct Kept {
    folder: PathBuf,
    most: u64,
}

/// Files that were removed, and the bytes that they had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many.
    pub files: usize,
    /// Bytes of all.
    pub bytes: u64,
}

/// A file of the folder.
struct Entry {
    path: PathBuf,
    bytes: u64,
    /// When it was made, or used since.
    used: SystemTime,
    whole: bool,
}

impl Kept {
    /// The folder of this user, made if need be.
    ///
    /// # Errors
    /// A user without a home; a folder that cannot be made.
    pub fn open() -> Result<Kept> {
        Ok(Kept { folder: folders::cache()?, most: MOST_KEPT })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Marks a file of the folder as used now. It stays for as long as what is returned does; then the folder has its
    /// bounds again.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub fn use_file(&self, path: &Path) -> Result<InUse> {
        let lock = || {
            let file = File::open(path)?;
            // File systems without locks trust their users, and one that is not the user's own keeps its time.
            let _ = file.lock_shared();
            let _ = file.set_modified(SystemTime::now());
            Ok::<_, io::Error>(file)
        };
        let file = lock().with_context(|| path.display().to_string())?;
        Ok(InUse { file: Some(file), kept: self.clone() })
    }

    /// Makes room for a file of so many bytes. There is none for what alone is larger than the folder may be.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn make_room(&self, bytes: u64) -> Result<()> {
        let Some(rest) = self.most.checked_sub(bytes) else { return Ok(()) };
        let mut entries = self.entries()?;
        // What was not finished, then what is larger than all may be, then what was not used for the longest time.
        entries.sort_by_key(|entry| (entry.whole, entry.bytes <= self.most, entry.used));
        let mut total: u64 = entries.iter().map(|entry| entry.bytes).sum();
        for entry in entries {
            if (total > rest || !entry.whole) && remove(&entry.path) {
                total -= entry.bytes;
            }
        }
        Ok(())
    }

    /// Removes all files that nobody uses.
    ///
    /// # Errors
    /// What the file system says.
    pub fn clear(&self) -> Result<Removed> {
        let mut removed = Removed::default();
        for entry in self.entries()? {
            if remove(&entry.path) {
                removed.files += 1;
                removed.bytes += entry.bytes;
            }
        }
        Ok(removed)
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let read = || {
            let mut entries = Vec::new();
            for entry in fs::read_dir(&self.folder)? {
                let entry = entry?;
                let name = entry.file_name();
                let name = name.to_string_lossy();
                let whole = name.ends_with(LOGITS);
                let unfinished = name.ends_with(UNFINISHED) && name.contains(LOGITS);
                // Another process may have removed it.
                let Some(found) = entry.metadata().ok().filter(|found| found.is_file()) else { continue };
                if whole || unfinished {
                    let used = found.modified()?;
                    entries.push(Entry { path: entry.path(), bytes: found.len(), used, whole });
                }
            }
            Ok::<_, io::Error>(entries)
        };
        read().with_context(|| self.folder.display().to_string())
    }
}

/// Removes a file unless somebody uses it. Returns whether it is gone.
#[allow(
    clippy::disallowed_methods,
    reason = "files of these names in this folder are made by evaluations alone"
)]
fn remove(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => false,
        // Who locked it, even in vain, is the only one to use it.
        Err(TryLockError::Error(_)) | Ok(()) => fs::remove_file(path).is_ok(),
    }
}

/// A file that is used.
#[derive(Debug)]
pub struct InUse {
    file: Option<File>,
    kept: Kept,
}

impl Drop for InUse {
    fn drop(&mut self) {
        drop(self.file.take());
        // What cannot be removed now is removed by the next command.
        let _ = self.kept.make_room(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A folder with room for 100 bytes.
    fn kept() -> (tempfile::TempDir, Kept) {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept { folder: folder.path().to_owned(), most: 100 };
        (folder, kept)
    }

    /// Makes a file that was used so many hours ago.
    fn file(kept: &Kept, name: &str, bytes: usize, hours: u64) -> PathBuf {
        let path = kept.folder.join(name);
        fs::write(&path, vec![0; bytes]).unwrap();
        let used = SystemTime::now() - Duration::from_secs(3600 * hours);
        File::options().write(true).open(&path).unwrap().set_modified(used).unwrap();
        path
    }

    fn names(kept: &Kept) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<_> = fs::read_dir(&kept.folder).unwrap().map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_used_last_stays() {
        let (_folder, kept) = kept();
        file(&kept, "a.logits", 40, 3);
        let b = file(&kept, "b.logits", 40, 9);
        file(&kept, "other", 500, 99);
        kept.make_room(20).unwrap();
        assert_eq!(names(&kept), ["a.logits", "b.logits", "other"]);
        drop(kept.use_file(&b).unwrap());
        kept.make_room(30).unwrap();
        assert_eq!(names(&kept), ["b.logits", "other"]);
    }

    #[test]
    fn what_is_in_use_stays_and_what_is_too_large_goes_afterwards() {
        let (_folder, kept) = kept();
        let large = file(&kept, "large.logits", 101, 0);
        file(&kept, "small.logits", 60, 5);
        let in_use = kept.use_file(&large).unwrap();
        kept.make_room(10).unwrap();
        assert_eq!(names(&kept), ["large.logits"]);
        file(&kept, "small.logits", 60, 5);
        // There is no room for what is larger than all may be: nothing is gained by removing others.
        kept.make_room(101).unwrap();
        drop(in_use);
        assert_eq!(names(&kept), ["small.logits"]);
    }

    #[test]
    fn leftovers_go_and_all_else_by_request() {
        let (_folder, kept) = kept();
        file(&kept, ".a.logits.x1y2z3.siskin-unfinished", 10, 0);
        let used = file(&kept, "a.logits", 20, 0);
        file(&kept, "b.logits", 30, 0);
        file(&kept, "history", 5, 0);
        kept.make_room(0).unwrap();
        assert_eq!(names(&kept), ["a.logits", "b.logits", "history"]);
        let in_use = kept.use_file(&used).unwrap();
        assert_eq!(kept.clear().unwrap(), Removed { files: 1, bytes: 30 });
        drop(in_use);
        assert_eq!(kept.clear().unwrap(), Removed { files: 1, bytes: 20 });
        assert_eq!(names(&kept), ["history"]);
    }
}
