//! `siskin pack`: the same answers from where the file is mapped, the same bytes back, and what is refused.

use crate::common::{failure, goldens, names, quantize, siskin, text};
use siskin::gguf::Gguf;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/siskin-demo.gguf")
}

fn pack(input: &Path, output: &Path) -> Output {
    siskin(&["pack", text(input), text(output)])
}

fn unpack(input: &Path, output: &Path) -> Output {
    siskin(&["pack", "--unpack", text(input), text(output)])
}

/// What a successful run prints.
fn said(run: &Output) -> String {
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout.clone()).unwrap()
}

/// The demo model, packed, in a folder of its own.
fn packed_demo() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("packed.gguf");
    said(&pack(&demo(), &path));
    (folder, path)
}

#[test]
fn the_packed_demo_model_gives_the_same_bits() {
    let (folder, packed) = packed_demo();
    let out = folder.path().join("logits.npy");
    let logits = |model: &Path, more: &[&str]| {
        let tokens = "1,385,201,3796,264,1582,730,3239,320,1065,2,201,1,386,201";
        said(&siskin(&[&["logits", text(model), "--tokens", tokens, "--out", text(&out)], more].concat()));
        fs::read(&out).unwrap()
    };
    let expected = logits(&demo(), &["--threads", "1"]);
    for more in [&["--threads", "1"][..], &["--threads", "2"], &["--no-mmap"], &["--isa", "scalar"]] {
        assert!(logits(&packed, more) == expected, "{more:?}");
    }
    let answer = |model: &Path| said(&siskin(&["run", text(model), "-p", "Hello", "-n", "8", "--seed", "1"]));
    assert_eq!(answer(&packed), answer(&demo()));
}

#[test]
fn unpacking_gives_the_file_back() {
    let folder = tempfile::tempdir().unwrap();
    let (packed, back) = (folder.path().join("packed.gguf"), folder.path().join("back.gguf"));
    let tiny = ["gqa", "tied", "bias", "kquant"].map(|name| goldens().join(format!("{name}.gguf")));
    for input in tiny.iter().chain([&demo()]) {
        let line = said(&pack(input, &packed));
        assert!(line.contains("packed.gguf: packed ") && line.contains("layout version 1"), "{line}");
        said(&unpack(&packed, &back));
        assert!(fs::read(&back).unwrap() == fs::read(input).unwrap(), "{}", input.display());
    }
    assert_eq!(names(folder.path()), ["back.gguf", "packed.gguf"]);
}

#[test]
fn quantizing_to_a_packed_file_is_quantizing_and_packing() {
    let folder = tempfile::tempdir().unwrap();
    let [plain, packed, back] =
        ["plain.gguf", "packed.gguf", "back.gguf"].map(|name| folder.path().join(name));
    let demo = demo();
    let quantize = |to: &Path, more: &[&str]| {
        said(&siskin(&[&["quantize", text(&demo), text(to), "--type", "q4_0"], more].concat()));
    };
    quantize(&plain, &[]);
    quantize(&packed, &["--pack"]);
    assert!(Gguf::open(&packed).unwrap().is_packed());
    said(&unpack(&packed, &back));
    assert!(fs::read(&back).unwrap() == fs::read(&plain).unwrap());
}

#[test]
fn metadata_and_vectors_stay_as_they_are() {
    let (_folder, path) = packed_demo();
    let (packed, plain) = (Gguf::open(&path).unwrap(), Gguf::open(&demo()).unwrap());
    for (key, value) in plain.metadata() {
        assert_eq!(packed.get(key), Some(value), "{key}");
    }
    assert_eq!(packed.metadata().count(), plain.metadata().count() + 2);
    assert_eq!(packed.alignment(), 64);
    for (packed_tensor, tensor) in packed.tensors().iter().zip(plain.tensors()) {
        assert_eq!((&packed_tensor.name, &packed_tensor.shape), (&tensor.name, &tensor.shape));
        assert_eq!(packed_tensor.ty, tensor.ty);
        let is_vector = tensor.shape.len() == 1;
        assert_eq!(packed.data(packed_tensor) == plain.data(tensor), is_vector, "{}", tensor.name);
    }
}

#[test]
fn inspect_names_what_is_packed() {
    let (_folder, packed) = packed_demo();
    let page = said(&siskin(&["inspect", text(&packed)]));
    for part in ["Q4_K packed ", "siskin.packed.version", "bits per weight"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let report: serde_json::Value =
        serde_json::from_str(&said(&siskin(&["inspect", "--json", text(&packed)]))).unwrap();
    assert!(report["totals"]["types"]["Q4_K packed"]["tensors"].as_u64() > Some(10));
}

#[test]
fn bench_takes_a_packed_file() {
    let (_folder, packed) = packed_demo();
    said(&siskin(&["bench", text(&packed), "-p", "8", "-n", "2", "-r", "1", "--threads", "1"]));
}

#[test]
fn what_cannot_be_packed_is_refused_and_leaves_the_output_alone() {
    let (folder, packed) = packed_demo();
    let out = folder.path().join("out.gguf");
    fs::write(&out, "old").unwrap();
    let refused = |run: Output, why: &str| {
        let line = failure(&run);
        assert!(line.contains(why), "{line}");
        assert_eq!(fs::read(&out).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["out.gguf", "packed.gguf"]);
    };
    refused(pack(&packed, &out), "packed.gguf: the file is packed already");
    refused(unpack(&demo(), &out), "siskin-demo.gguf: expected a packed file, found an ordinary one");
    refused(quantize(&packed, &out, "q8_0"), "the file is packed: quantize the original");
    refused(pack(&packed.with_file_name("absent.gguf"), &out), "absent.gguf");

    let bytes = fs::read(&packed).unwrap();
    refused(unpack(&packed, &packed), "the output is the input");
    assert!(fs::read(&packed).unwrap() == bytes);
    fs::write(&packed, &bytes[..bytes.len() - 100]).unwrap();
    for command in ["run", "inspect", "bench"] {
        refused(siskin(&[command, text(&packed)]), "packed.gguf");
    }
    refused(unpack(&packed, &out), "packed.gguf");
}

#[test]
fn a_packed_file_of_another_version_is_refused_by_name() {
    let (_folder, packed) = packed_demo();
    let mut bytes = fs::read(&packed).unwrap();
    let key = b"siskin.packed.version";
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap();
    // The key is followed by the type of its value, four bytes, and the value.
    bytes[at + key.len() + 4] = 2;
    fs::write(&packed, bytes).unwrap();
    let line = failure(&siskin(&["inspect", text(&packed)]));
    assert!(line.contains("expected panels of layout version 1, found version 2"), "{line}");
}
