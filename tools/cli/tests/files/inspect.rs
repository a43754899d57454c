//! `siskin inspect`: three readers, one answer.

use crate::common::{failure, goldens, quantized, siskin, text};
use serde_json::Value;
use siskin::gguf::Gguf;
use siskin::gguf::write::{Builder, OwnedArray, OwnedValue};
use siskin_quant::TensorType;
use std::fs;
use std::path::{Path, PathBuf};

fn own_goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/inspect")
}

fn inspect(path: &Path) -> Value {
    let run = siskin(&["inspect", "--json", text(path)]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice(&run.stdout).unwrap()
}

/// What gguf-rs says about a file, in any build of the program.
#[path = "../../src/commands/inspect/second_reader.rs"]
mod second_reader;

fn gguf_rs(path: &Path) -> String {
    second_reader::compare(path, &Gguf::open(path).unwrap()).to_string()
}

fn write(path: &Path, builder: Builder) {
    let length = builder.file_len().unwrap();
    let mut writer = builder.start(fs::File::create(path).unwrap()).unwrap();
    let file = fs::metadata(path).unwrap().len();
    writer.append(&vec![0; (length - file) as usize]).ok();
    drop(writer);
}

/// Whether two values are equal, floats as floats of the width they are stored in.
fn same(ours: &Value, theirs: &Value, kind: &str) -> bool {
    match (ours, theirs) {
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(ours, theirs)| same(ours, theirs, kind))
        }
        _ if kind == "f32" => ours.as_f64().unwrap() as f32 == theirs.as_f64().unwrap() as f32,
        _ if kind == "f64" => ours.as_f64() == theirs.as_f64(),
        _ => ours == theirs,
    }
}

#[test]
fn siskin_gguf_rs_and_the_gguf_package_read_the_same() {
    let files = [
        (own_goldens().join("all-kinds.gguf"), "all-kinds.json"),
        (goldens().join("gqa.gguf"), "gqa.json"),
        (goldens().join("head-dim.gguf"), "head-dim.json"),
    ];
    for (path, golden) in files {
        let report = inspect(&path);
        assert_eq!(gguf_rs(&path), "agrees", "{golden}");
        let theirs: Value = serde_json::from_slice(&fs::read(own_goldens().join(golden)).unwrap()).unwrap();
        assert_eq!(report["tensors"], theirs["tensors"], "{golden}");
        let (ours, theirs) = (report["metadata"].as_array().unwrap(), theirs["metadata"].as_array().unwrap());
        assert_eq!(ours.len(), theirs.len(), "{golden}");
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert_eq!((&ours["key"], &ours["type"]), (&theirs["key"], &theirs["type"]), "{golden}");
            assert_eq!(ours.get("elements"), theirs.get("elements"), "{golden}: {}", ours["key"]);
            let kind = ours.get("elements").unwrap_or(&ours["type"]).as_str().unwrap();
            assert!(same(&ours["value"], &theirs["value"], kind), "{golden}: {}", ours["key"]);
        }
    }
}

#[test]
fn gguf_rs_agrees_on_every_file_we_write() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.gguf");
    for file_type in
        ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K_S", "Q4_K_M", "Q5_K_M", "Q6_K"]
    {
        quantized(&goldens().join("kquant.gguf"), &output, file_type);
        assert_eq!(gguf_rs(&output), "agrees", "{file_type}");
    }
    for name in ["gqa", "tied", "rope-llama3", "head-dim", "mha", "bias", "kquant"] {
        assert_eq!(gguf_rs(&goldens().join(format!("{name}.gguf"))), "agrees", "{name}");
    }
}

#[test]
fn gguf_rs_is_not_asked_what_it_cannot_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.gguf");
    let second = |builder: Builder| {
        write(&path, builder);
        gguf_rs(&path)
    };
    // gguf-rs panics on this type.
    let mut builder = Builder::new();
    builder.tensor("t", &[64, 2], TensorType::NVFP4).unwrap();
    assert_eq!(second(builder), "not asked: tensor t is of type NVFP4");
    let mut builder = Builder::new();
    let nested = OwnedArray::Array(vec![OwnedArray::U8(vec![1]), OwnedArray::Str(vec![b"x".to_vec()])]);
    builder.set("nested", OwnedValue::Array(nested)).unwrap();
    assert_eq!(second(builder), "not asked: nested is an array of arrays");
    let mut builder = Builder::new();
    builder.set("tokens", OwnedValue::Array(OwnedArray::Str(vec![b"ok".to_vec(), vec![0xff]]))).unwrap();
    assert_eq!(second(builder), "not asked: tokens is not all UTF-8");
    // What JSON cannot say is no difference.
    let mut builder = Builder::new();
    builder.set("nan", f32::NAN).unwrap().set("inf", f64::INFINITY).unwrap().set("zero", -0.0f32).unwrap();
    assert_eq!(second(builder), "agrees");
    let report = inspect(&path);
    assert_eq!(
        (&report["metadata"][0]["value"], &report["metadata"][1]["value"]),
        (&"NaN".into(), &"inf".into())
    );
}

#[test]
fn totals_count_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.gguf");
    let bytes = quantized(&goldens().join("kquant.gguf"), &output, "Q8_0");
    let report = inspect(&output);
    assert_eq!(report["bytes"], bytes.len());
    let totals = &report["totals"];
    let tensors = report["tensors"].as_array().unwrap();
    let sum: u64 = tensors.iter().map(|tensor| tensor["bytes"].as_u64().unwrap()).sum();
    assert_eq!((&totals["tensors"], &totals["bytes"]), (&tensors.len().into(), &sum.into()));
    assert_eq!(totals["types"]["Q8_0"]["tensors"], 8);
    let bits = totals["bits_per_weight"].as_f64().unwrap();
    assert!((8.5..8.6).contains(&bits), "{bits}");
}

#[test]
fn the_page_for_people_names_keys_tensors_and_totals() {
    let run = siskin(&["inspect", text(&goldens().join("gqa.gguf"))]);
    let page = String::from_utf8(run.stdout).unwrap();
    for part in ["llama.block_count", "128 string [", "blk.1.ffn_down.weight", "[64, 32]", "bits per weight"]
    {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn the_second_reader_is_asked_where_it_is_there() {
    let path = goldens().join("gqa.gguf");
    let run = siskin(&["inspect", text(&path), "--second-reader"]);
    if cfg!(feature = "second-reader") {
        assert!(String::from_utf8(run.stdout).unwrap().contains("gguf-rs agrees"));
    } else {
        let line = failure(&run);
        assert!(line.ends_with("--second-reader needs a build with the feature second-reader"), "{line}");
    }
    assert_eq!(inspect(&path)["readers"], serde_json::json!({ "siskin": "reads" }));
}

#[test]
fn files_that_are_no_models_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.gguf");
    let bytes = fs::read(own_goldens().join("all-kinds.gguf")).unwrap();
    for length in [0, 3, 24, 200, bytes.len() - 100] {
        fs::write(&path, &bytes[..length]).unwrap();
        let line = failure(&siskin(&["inspect", text(&path)]));
        assert!(line.contains("in.gguf"), "{line}");
    }
    assert!(failure(&siskin(&["inspect", "absent.gguf"])).contains("absent.gguf"));
    assert_eq!(siskin(&["inspect"]).status.code(), Some(2));
}
