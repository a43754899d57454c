//! Models that are split over several files: any of them opens all, and what is no whole model is said to be none.
#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests may fail as tests do.

use siskin::gguf::write::Builder;
use siskin::gguf::{Gguf, SPLIT_COUNT_KEY, SPLIT_NUMBER_KEY, SPLIT_TENSORS_KEY};
use siskin_quant::TensorType;
use std::fs;
use std::path::{Path, PathBuf};

/// What a shard holds: its keys but the first's others, and its tensors.
struct Shard {
    number: Option<u16>,
    count: u16,
    all: i32,
    tensors: &'static [&'static str],
}

impl Shard {
    /// One of a model of three shards, of which the first has no tensors.
    fn of(number: u16) -> Shard {
        let tensors: [&[&str]; 3] = [&[], &["a", "b"], &["c"]];
        Shard { number: Some(number), count: 3, all: 3, tensors: tensors[usize::from(number)] }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut builder = Builder::new();
        if self.number == Some(0) {
            builder.set("general.architecture", "llama").unwrap();
        } else {
            // What others say is not asked for.
            builder.set("general.architecture", "shard").unwrap();
        }
        if let Some(number) = self.number {
            builder.set(SPLIT_NUMBER_KEY, number).unwrap();
        }
        builder.set(SPLIT_COUNT_KEY, self.count).unwrap().set(SPLIT_TENSORS_KEY, self.all).unwrap();
        for name in self.tensors {
            builder.tensor(name, &[5], TensorType::I8).unwrap();
        }
        let mut writer = builder.start(Vec::new()).unwrap();
        for name in self.tensors {
            writer.tensor(name, &[name.as_bytes()[0]; 5]).unwrap();
        }
        writer.finish().unwrap()
    }
}

fn path(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("m-{number:05}-of-00003.gguf"))
}

/// A folder with the model.
fn model() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..3 {
        fs::write(path(folder.path(), usize::from(number) + 1), Shard::of(number).bytes()).unwrap();
    }
    folder
}

/// What is said of the model by the name of its second shard, without the folder's path.
fn said(folder: &Path) -> String {
    let lines = [Gguf::open, Gguf::read].map(|open| open(&path(folder, 2)).unwrap_err().to_string());
    assert_eq!(lines[0], lines[1]);
    assert!(!lines[0].contains('\n'));
    lines[0].replace(&format!("{}/", folder.display()), "")
}

#[test]
fn any_shard_opens_the_model() {
    let folder = model();
    let len: u64 = (1..=3).map(|number| fs::metadata(path(folder.path(), number)).unwrap().len()).sum();
    for number in 1..=3 {
        for open in [Gguf::open, Gguf::read] {
            let path = path(folder.path(), number);
            let file = open(&path).unwrap();
            assert_eq!(file.name(), path.display().to_string());
            assert_eq!((file.files().count(), file.file_len()), (3, len));
            assert_eq!(file.require_str("general.architecture").unwrap(), "llama");
            assert_eq!(file.get(SPLIT_COUNT_KEY), None, "it is whole");
            for (tensor, shard) in [("a", 1), ("b", 1), ("c", 2)] {
                let info = file.tensor(tensor).unwrap();
                assert_eq!((info.shard, file.data(info)), (shard, &[tensor.as_bytes()[0]; 5][..]));
            }
            file.check_unchanged().unwrap();
        }
    }
}

#[test]
fn links_are_called_as_they_are_or_as_what_they_lead_to() {
    use std::os::unix::fs::symlink;
    let (blobs, links) = (model(), tempfile::tempdir().unwrap());
    // As the hub's own cache has them.
    for number in 1..=3 {
        let blob = blobs.path().join(format!("blob{number}"));
        fs::rename(path(blobs.path(), number), &blob).unwrap();
        symlink(blob, path(links.path(), number)).unwrap();
    }
    assert_eq!(Gguf::open(&path(links.path(), 3)).unwrap().tensors().len(), 3);
    let folder = model();
    let link = links.path().join("model.gguf");
    symlink(path(folder.path(), 2), &link).unwrap();
    assert_eq!(Gguf::open(&link).unwrap().tensors().len(), 3);
}

#[test]
fn a_change_of_any_shard_is_noticed() {
    let folder = model();
    let file = Gguf::open(&path(folder.path(), 1)).unwrap();
    let third = path(folder.path(), 3);
    fs::remove_file(&third).unwrap();
    fs::write(&third, Shard::of(2).bytes()).unwrap();
    let line = file.check_unchanged().unwrap_err().to_string();
    assert!(line.contains("m-00003-of-00003.gguf: was replaced"), "{line}");
}

#[test]
fn a_missing_shard_is_named() {
    let folder = model();
    fs::remove_file(path(folder.path(), 3)).unwrap();
    let expected = "m-00002-of-00003.gguf: shard 3 of 3 is missing: expected m-00003-of-00003.gguf";
    assert_eq!(said(folder.path()), expected);
}

#[test]
fn a_shard_called_otherwise_is_said_to_be_one() {
    let expected = "expected a name that ends with \"-00002-of-00003.gguf\", since it is shard 2 of 3 and the others \
                    are found by name";
    for name in ["model.gguf", "m-00001-of-00003.gguf", "m-00002-of-00004.gguf"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, Shard::of(1).bytes()).unwrap();
        let line = Gguf::open(&path).unwrap_err().to_string();
        assert_eq!(line, format!("{}: {expected}", path.display()));
    }
    let line = Gguf::from_bytes("memory", Shard::of(1).bytes()).unwrap_err().to_string();
    assert_eq!(line, "memory: expected a whole model, found shard 2 of 3");
}

#[test]
fn a_foreign_shard_is_named() {
    let foreign = "as of a shard beside m-00002-of-00003.gguf, found";
    for (shard, expected) in [
        (
            Shard { number: None, ..Shard::of(2) },
            format!("key \"split.no\": expected 2 {foreign} no such key"),
        ),
        (Shard::of(1), format!("key \"split.no\": expected 2 {foreign} 1")),
        (Shard { count: 4, ..Shard::of(2) }, format!("key \"split.count\": expected 3 {foreign} 4")),
        (Shard { all: 4, ..Shard::of(2) }, format!("key \"split.tensors.count\": expected 3 {foreign} 4")),
    ] {
        let folder = model();
        fs::write(path(folder.path(), 3), shard.bytes()).unwrap();
        assert_eq!(said(folder.path()), format!("m-00003-of-00003.gguf: {expected}"));
    }
    // A whole model with the name of a shard.
    let folder = model();
    fs::write(path(folder.path(), 3), Builder::new().start(Vec::new()).unwrap().finish().unwrap()).unwrap();
    assert!(said(folder.path()).starts_with("m-00003-of-00003.gguf: key \"split.no\": expected 2"));
}

#[test]
fn tensors_that_are_too_many_too_few_or_there_twice_are_said() {
    for (tensors, expected) in [
        (&[][..], "expected 3 tensors in all shards together, found 2"),
        (&["c", "d"], "expected 3 tensors in all shards together, found 4"),
        (&["b"], "tensor \"b\" is in shard 2 and in shard 3"),
    ] {
        let folder = model();
        fs::write(path(folder.path(), 3), Shard { tensors, ..Shard::of(2) }.bytes()).unwrap();
        assert_eq!(said(folder.path()), format!("m-00002-of-00003.gguf: {expected}"));
    }
}

#[test]
fn shards_joined_end_to_end_are_said_to_be_that() {
    let folder = tempfile::tempdir().unwrap();
    let joined = [0, 1, 2].map(|number| Shard::of(number).bytes()).concat();
    for name in ["model.gguf", "m-00001-of-00003.gguf"] {
        let path = folder.path().join(name);
        fs::write(&path, &joined).unwrap();
        let line = Gguf::open(&path).unwrap_err().to_string();
        let expected = "the 3 shards of a split model were joined end to end, as by cat: expected each in a file of its own";
        assert_eq!(line, format!("{}: {expected}", path.display()));
    }
}

#[test]
fn more_shards_than_a_model_has_are_not_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m-00002-of-65535.gguf");
    fs::write(&path, Shard { count: u16::MAX, ..Shard::of(1) }.bytes()).unwrap();
    let line = Gguf::open(&path).unwrap_err().to_string();
    assert!(line.ends_with("expected a model of at most 1024 shards, found 65535"), "{line}");
}
