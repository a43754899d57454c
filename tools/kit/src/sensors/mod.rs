//! What the machine tells of its heat and its clocks.

mod clocks;
mod temperature;

pub use clocks::{Clock, clocks};
pub use temperature::{Temperature, temperatures, under_voltage};

/// A made-up machine, as the kernel would describe it in files.
#[cfg(test)]
fn fake(files: &[(&str, &str)]) -> (tempfile::TempDir, siskin::machine::Tree) {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let tree = siskin::machine::Tree::under(folder.path());
    (folder, tree)
}
