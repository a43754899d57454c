//! Files that people take for models: each is called by its name, by every command, in one line.

use crate::common::{Checkpoint, failure, goldens, here, quantized, siskin, text};
use siskin::gguf::Gguf;
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
    let vocabulary = [("general.architecture", "llama"), ("tokenizer.ggml.tokens", "")];
    let vocabulary = gguf(&vocabulary, None);
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
        ("matrix.dat", old_matrix, "an importance matrix: siskin quantize takes it as --imatrix"),
        ("matrix", gguf(&[("general.type", "imatrix")], Some("t")), "an importance matrix: siskin quantize"),
        ("adapter", typed("adapter"), "an adapter: --adapter takes it, beside its model"),
        ("mmproj", typed("mmproj"), "the projector of a vision model: "),
        ("clip", gguf(&[("general.architecture", "clip")], Some("v.t")), "the projector of a vision model: "),
        ("vocabulary", vocabulary, "a vocabulary without weights"),
        ("keys", gguf(&[("general.architecture", "llama")], None), "a file without tensors"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        said(&path, expected);
    }
}

#[test]
fn what_sees_images_is_left_out_said_once_and_quantized_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let [model, out, logits] = ["model.gguf", "out.gguf", "logits.npy"].map(|name| folder.path().join(name));
    let plain = goldens().join("gqa.gguf");
    let file = Gguf::open(&plain).unwrap();
    let mut builder = Builder::new();
    for (key, value) in file.metadata() {
        builder.copy(key, value).unwrap();
    }
    let tower = [("v.blk.0.attn_q.weight", TensorType::F16), ("mm.input_projection.weight", TensorType::F32)];
    for (name, ty) in tower {
        builder.tensor(name, &[32, 2], ty).unwrap();
    }
    for tensor in file.tensors() {
        builder.tensor(&tensor.name, &tensor.shape, tensor.ty).unwrap();
    }
    let mut writer = builder.start(Vec::new()).unwrap();
    tower.iter().for_each(|(name, ty)| writer.tensor(name, &vec![0; 64 * ty.block_bytes()]).unwrap());
    file.tensors().iter().for_each(|t| writer.tensor(&t.name, file.data(t)).unwrap());
    fs::write(&model, writer.finish().unwrap()).unwrap();

    let note =
        format!("note: {}: what sees images (v.*, mm.*) is left out: 2 tensors, 0.0 MiB\n", text(&model));
    let run = |model: &Path| {
        let run = siskin(&["logits", text(model), "--tokens", "1,2", "--out", text(&logits)]);
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        (fs::read(&logits).unwrap(), String::from_utf8(run.stderr).unwrap())
    };
    let (expected, found) = (run(&plain), run(&model));
    assert!(found.0 == expected.0);
    assert_eq!(found.1.matches(&note).count(), 1, "{}", found.1);
    for command in [
        &["run", text(&model), "--raw", "-p", "a", "-n", "2"][..],
        &["plan", text(&model)],
        &["bench", text(&model), "-p", "1", "-n", "1", "-r", "1"],
    ] {
        let said = String::from_utf8(siskin(command).stderr).unwrap();
        assert_eq!(said.matches(&note).count(), 1, "{command:?}: {said}");
    }
    let made = Gguf::from_bytes("made", quantized(&model, &out, "q8_0")).unwrap();
    for (name, ty) in tower {
        assert_eq!(made.tensor(name).unwrap().ty, ty, "{name}");
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

    // So are vocabularies, which are large, too.
    for (name, kind) in [("tokenizer.json", "JSON"), ("tokenizer.model", "a SentencePiece model")] {
        let checkpoint = Checkpoint::copy(if name == "tokenizer.json" { "gqa" } else { "mha" });
        fs::copy(&weights, checkpoint.path().join(name)).unwrap();
        let line = checkpoint.failure("f16");
        assert!(line.contains(&format!("{name}: expected {kind}, found a Git LFS pointer, ")), "{line}");
    }

    let folder = tempfile::tempdir().unwrap();
    let adapter = folder.path().join("adapter");
    fs::create_dir(&adapter).unwrap();
    fs::copy(here("../demo/factory/adapter_config.json"), adapter.join("adapter_config.json")).unwrap();
    fs::copy(&weights, adapter.join("adapter_model.safetensors")).unwrap();
    let line = failure(&siskin(&["run", "-p", "a", "--adapter", text(&adapter)]));
    assert!(line.contains("expected a safetensors file, found a Git LFS pointer, "), "{line}");
}
