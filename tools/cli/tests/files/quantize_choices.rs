//! `siskin quantize --keep` and `--dry-run`: which type each tensor gets, and that it is known beforehand.

use crate::common::{failure, goldens, here, names, siskin, text};
use serde_json::Value;
use siskin::gguf::Gguf;
use siskin_quant::TensorType;
use std::fs;
use std::path::Path;

#[test]
fn a_dry_run_writes_nothing_and_tells_the_exact_size() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (goldens().join("kquant.gguf"), folder.path().join("out.gguf"));
    for file_type in ["f32", "q8_0", "q4_k_m", "q3_k_l", "iq4_xs"] {
        let arguments =
            ["quantize", text(&input), text(&output), "--type", file_type, "--keep", "*.attn_v.weight=q5_1"];
        let dry = siskin(&[&arguments[..], &["--dry-run"]].concat());
        assert!(dry.status.success());
        assert!(!output.exists());
        assert!(siskin(&arguments).status.success());
        let file = Gguf::open(&output).unwrap();
        let said = String::from_utf8(dry.stdout).unwrap();
        let (summary, lines) =
            said.lines().collect::<Vec<_>>().split_last().map(|(s, l)| (*s, l.to_vec())).unwrap();
        assert!(
            summary.ends_with(&format!(" ({} bytes)", fs::metadata(&output).unwrap().len())),
            "{summary}"
        );
        assert_eq!(lines.len(), file.tensors().len());
        for (line, tensor) in lines.iter().zip(file.tensors()) {
            assert!(line.starts_with(&tensor.name), "{line}");
            assert!(line.contains(&format!("-> {:<6}", tensor.ty.name())), "{line}: {}", tensor.ty);
            assert!(line.ends_with(&format!(" {} bytes", tensor.bytes)), "{line}: {}", tensor.bytes);
        }
        fs::remove_file(&output).unwrap();
    }
    // No name is needed for what is not written.
    assert!(siskin(&["quantize", text(&input), "--type", "q4_0", "--dry-run"]).status.success());
}

#[test]
fn kept_types_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.gguf");
    let input = goldens().join("kquant.gguf");
    let arguments = ["quantize", text(&input), text(&output), "--type", "q4_0"];
    let keeps = ["--keep", "blk.*.ffn_*.weight=Q8_0", "--keep", "blk.0.ffn_down.weight=bf16"];
    assert!(siskin(&[&arguments[..], &keeps].concat()).status.success());
    let file = Gguf::open(&output).unwrap();
    let of = |name: &str| file.tensor(name).unwrap().ty;
    assert_eq!(of("blk.0.ffn_up.weight"), TensorType::Q8_0);
    assert_eq!(of("blk.0.ffn_down.weight"), TensorType::BF16);
    assert_eq!(of("blk.0.attn_q.weight"), TensorType::Q4_0);
    assert_eq!(of("blk.0.ffn_norm.weight"), TensorType::F32);
}

#[test]
fn types_that_cannot_be_kept_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.gguf");
    let refused = |model: &str, keep: &str| {
        let input = goldens().join(model);
        failure(&siskin(&["quantize", text(&input), text(&output), "--type", "q8_0", "--keep", keep]))
    };
    let line = refused("kquant.gguf", "blk.9.*=Q4_0");
    assert_eq!(line, "siskin: --keep blk.9.*=Q4_0: the model has no such tensor");
    assert!(refused("kquant.gguf", "*=IQ2_XXS").contains("cannot write IQ2_XXS, expected one of F32, F16"));
    assert!(refused("kquant.gguf", "*=Q4_K_M").contains("cannot write Q4_K_M"));
    let line = refused("gqa.gguf", "blk.1.ffn_up.weight=Q6_K");
    assert!(
        line.ends_with("the rows of blk.1.ffn_up.weight are 32 long, expected a multiple of 256"),
        "{line}"
    );
    assert!(names(folder.path()).is_empty());
    let input = goldens().join("kquant.gguf");
    let usage = ["quantize", text(&input), text(&output), "--type", "q8_0", "--keep", "output.weight"];
    assert_eq!(siskin(&usage).status.code(), Some(2));
}

#[test]
fn the_largest_type_is_chosen_that_is_fast_enough_on_a_board() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (here("../demo/siskin-demo"), folder.path().join("out.gguf"));
    let on_board = ["--board", "raspberry-pi-4"];
    // What `siskin plan` says of a file: at least so many tokens a second.
    let least = |path: &Path| {
        let run = siskin(&[&["plan", "--json", text(path)], &on_board[..]].concat());
        let plan: Value = serde_json::from_slice(&run.stdout).unwrap();
        plan["board"]["decode_tps"][0].as_f64().unwrap()
    };
    let sizes = ["q6_k", "q5_k_m", "q4_k_m"].map(|file_type| {
        assert!(siskin(&["quantize", text(&input), text(&output), "--type", file_type]).status.success());
        (least(&output), fs::metadata(&output).unwrap().len())
    });
    assert!(sizes.is_sorted_by(|a, b| a.0 < b.0), "{sizes:?}");
    // As fast as the second of them, and no faster: the first is too slow.
    let rate = (sizes[1].0 - 0.5).to_string();
    let arguments = [&["quantize", text(&input), text(&output)], &on_board[..], &["--rate", &rate]].concat();
    let run = siskin(&arguments);
    let said = String::from_utf8(run.stderr).unwrap();
    assert!(run.status.success() && said.contains("Q5_K_M: ") && said.contains("Raspberry Pi 4"), "{said}");
    assert_eq!(fs::metadata(&output).unwrap().len(), sizes[1].1);

    // What is small already does not grow, however slow it may be.
    let small = folder.path().join("small.gguf");
    let slow = [&["quantize", text(&output), text(&small)], &on_board[..], &["--rate", "0.01"]].concat();
    let said = String::from_utf8(siskin(&slow).stderr).unwrap();
    assert!(said.contains("Q5_K_M: "), "{said}");
    assert_eq!(fs::metadata(&small).unwrap().len(), sizes[1].1);

    let too_fast =
        [&["quantize", text(&input), text(&output)], &on_board[..], &["--rate", "1000000"]].concat();
    let line = failure(&siskin(&too_fast));
    assert!(line.contains("no type is expected to do more than"), "{line}");
    assert_eq!(fs::metadata(&output).unwrap().len(), sizes[1].1);
}
