use siskin::machine::Tree;
use std::fs;

/// A made-up machine: the files that a test writes.
pub(crate) struct Fake(tempfile::TempDir);

impl Fake {
    /// A machine that has these files.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let fake = Self(tempfile::tempdir().unwrap());
        files.iter().for_each(|(path, text)| fake.write(path, text));
        fake
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn tree(&self) -> Tree {
        Tree::under(self.0.path())
    }
}
