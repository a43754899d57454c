//! Files that people take for models: each is called by its name, by every command, in one line.

use crate::common::{Checkpoint, failure, goldens, here, siskin, text};
use siskin::gguf::write::Builder;
use siskin_quant::TensorType;
use std::fs;
use std::path::Path;

/// What every command says of the file.
fn said(path: &Path, expected: &str) {
    let out = path.with_file_name("out");
    let commands: [&[&str]; 8] = [
        &["run", text(path), "-p", "a"],
        &["run", text(path), "-p", "a", "--no-mmap"],
        &["plan", text(path)],
        &["logits", text(path), "--tokens", "1", "--out", text(&out)],
        &["eval", text(path)],
        &["bench", text(path), "-p", "1", "-n", "1"],
        &["quantize", text(path), text(&out), "--type", "q8_0"],
        &["imatrix", text(path), "--output", text(&out)],
    ];
    for command in commands {
        let line = failure(&siskin(command));
        assert!(
            line.contains(&format!("{}: expected a model in a GGUF file, found {expected}", text(path))),
            "{line}"
        );
        assert!(line.matches(text(path)).count() == 1 && !out.exists(), "{line}");
    }
}

/// A GGUF file with these texts for keys, and a tensor.
fn gguf(keys: &[(&str, &str)], tensor: Option<&str>) -> Vec<u8> {
    let mut builder = Builder::new();
    for (key, value) in keys {
        builder.set(key, *value).unwrap();
    }
    if let Some(name) = tensor {
        builder.tensor(name, &[2], TensorType::F32).unwrap();
    }
    let mut writer = builder.start(Vec::new()).unwrap();
    tensor.iter().for_each(|name| writer.tensor(name, &[0; 8]).unwrap());
    writer.finish().unwrap()
}

#[test]
fn files_that_are_no_models_are_called_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daa\n\
                   size 12345\n";
    let old_matrix = [&1i32.to_le_bytes()[..], &8i32.to_le_bytes(), b"a.weight", &[0; 12]].concat();
    let safetensors = fs::read(goldens().join("gqa/model.safetensors")).unwrap();
    let typed = |kind: &str| gguf(&[("general.type", kind), ("general.architecture", "llama")], Some("t"));
    for (name, bytes, expected) in [
        (
            "pointer",
            pointer.into(),
            "a Git LFS pointer, which stands for the file: fetch that with git lfs pull",
        ),
        ("page", b"<!doctype html>\n<title>Sign in</title>".to_vec(), "a page of the web: "),
        ("zip", b"PK\x03\x04\x14\0".to_vec(), "a zip archive, "),
        ("safetensors", safetensors, "a safetensors file: siskin quantize converts the folder that it is in"),
        ("old", b"tjgg\x03\0\0\0".to_vec(), "a model of llama.cpp from before GGUF: "),
        ("nothing", Vec::new(), "an empty file"),
        ("matrix.dat", old_matrix, "an importance matrix: siskin quantize takes it as --imatrix"),
        ("matrix", gguf(&[("general.type", "imatrix")], Some("t")), "an importance matrix: siskin quantize"),
        ("adapter", typed("adapter"), "an adapter: --adapter takes it, beside its model"),
        ("mmproj", typed("mmproj"), "the projector of a vision model: "),
        ("clip", gguf(&[("general.architecture", "clip")], Some("v.t")), "the projector of a vision model: "),
        ("vocabulary", gguf(&[("general.architecture", "llama")], None), "a vocabulary without weights"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        said(&path, expected);
    }
}

#[test]
fn weights_that_were_not_fetched_are_told_of_in_folders_too() {
    let checkpoint = Checkpoint::copy("gqa");
    let weights = checkpoint.path().join("model.safetensors");
    fs::write(&weights, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n").unwrap();
    let line = checkpoint.failure("f16");
    assert!(
        line.contains("model.safetensors: expected a safetensors file, found a Git LFS pointer, "),
        "{line}"
    );

    let folder = tempfile::tempdir().unwrap();
    let adapter = folder.path().join("adapter");
    fs::create_dir(&adapter).unwrap();
    fs::copy(here("../demo/factory/adapter_config.json"), adapter.join("adapter_config.json")).unwrap();
    fs::copy(&weights, adapter.join("adapter_model.safetensors")).unwrap();
    let line = failure(&siskin(&["run", "-p", "a", "--adapter", text(&adapter)]));
    assert!(line.contains("expected a safetensors file, found a Git LFS pointer, "), "{line}");
}
