use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The files in which a Linux kernel describes a machine: `proc` and `sys` below some folder.
#[derive(Clone, Debug)]
pub struct Tree(PathBuf);

impl Tree {
    /// The machine that the process runs on.
    pub fn here() -> Self {
        Self::under("/")
    }

    /// A machine as described by the files below `root`.
    pub fn under(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// The text of a file, named from the root on, without the white space around it; None where it cannot be read.
    pub fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        Some(fs::read_to_string(self.path(path.as_ref())).ok()?.trim().to_owned())
    }

    /// The number that is all a file holds.
    pub fn number<T: FromStr>(&self, path: impl AsRef<Path>) -> Option<T> {
        self.text(path)?.parse().ok()
    }

    /// The numbers in a file that holds a list of CPUs, see [`cpu_list`].
    pub fn list(&self, path: impl AsRef<Path>) -> Option<Vec<usize>> {
        cpu_list(&self.text(path)?)
    }

    /// The names in a folder that are `prefix` and a number, by that number.
    pub fn numbered(&self, folder: impl AsRef<Path>, prefix: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder.as_ref())).into_iter().flatten().flatten();
        let number = |name: String| Some((name.strip_prefix(prefix)?.parse::<u32>().ok()?, name));
        let mut names: Vec<_> =
            entries.filter_map(|entry| number(entry.file_name().into_string().ok()?)).collect();
        names.sort();
        names.into_iter().map(|(_, name)| name).collect()
    }

    fn path(&self, path: &Path) -> PathBuf {
        // Joined as it is, an absolute path would leave the root.
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// The numbers of a list as the kernel writes them, such as `0-3,6`, in its order; None of anything else.
pub fn cpu_list(text: &str) -> Option<Vec<usize>> {
    /// More than any kernel numbers.
    const MOST: usize = 1 << 16;
    let mut numbers = Vec::new();
    for range in text.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= MOST || numbers.last().is_some_and(|&before| before >= first) {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

/// Trees that tests make up.
#[cfg(test)]
pub(crate) mod fake {
    use super::*;

    pub(crate) struct Fake(tempfile::TempDir);

    impl Default for Fake {
        fn default() -> Self {
            Self(tempfile::tempdir().unwrap())
        }
    }

    impl Fake {
        pub(crate) fn write(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        pub(crate) fn tree(&self) -> Tree {
            Tree::under(self.0.path())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fake::Fake;
    use super::*;

    #[test]
    fn lists_of_cpus_are_read_as_the_kernel_writes_them() {
        assert_eq!(cpu_list("0\n"), Some(vec![0]));
        assert_eq!(cpu_list("\t0-2,5,7-8"), Some(vec![0, 1, 2, 5, 7, 8]));
        for garbled in ["", "-", "0-", "2-1", "3,3", "5,1-2", "0,,1", "a", "-1", "0-1-2", "0-4294967295"] {
            assert_eq!(cpu_list(garbled), None, "{garbled:?}");
        }
    }

    #[test]
    fn numbered_entries_come_in_the_order_of_their_numbers() {
        let fake = Fake::default();
        for name in ["zone10", "zone2", "zonex", "zone", "other1"] {
            fake.write(&format!("sys/zones/{name}/type"), "cpu\n");
        }
        assert_eq!(fake.tree().numbered("sys/zones", "zone"), ["zone2", "zone10"]);
        assert_eq!(fake.tree().numbered("/sys/none", "zone"), [""; 0]);
    }

    #[test]
    fn texts_are_trimmed_and_missing_ones_are_none() {
        let fake = Fake::default();
        fake.write("sys/number", " 12\n");
        let tree = fake.tree();
        assert_eq!(tree.text("/sys/number").as_deref(), Some("12"));
        assert_eq!(tree.number("sys/number"), Some(12u8));
        assert_eq!(tree.number::<u8>("sys/none"), None);
    }
}
