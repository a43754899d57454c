//! `siskin quantize --fit` and `--bpw`: types chosen for a budget, on the demo model.

use crate::common::{failure, goldens, here, names, quantized, siskin, text};
use serde_json::Value;
use siskin::gguf::Gguf;
use siskin_quant::TensorType;
use std::fs;
use std::path::{Path, PathBuf};

/// Runs `siskin quantize` with little to read, which must succeed, and returns what it prints.
fn fit(input: &Path, output: &Path, arguments: &[&str]) -> String {
    let run = siskin(&[&["quantize", text(input), text(output), "--windows", "2"], arguments].concat());
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

/// Mean KL divergence of some files from a full model, on a text that nothing was measured with.
fn divergences(files: &[&Path], full: &Path, cache: &Path) -> Vec<f64> {
    let book = here("tests/goldens/eval/text.txt");
    let models: Vec<_> = files.iter().map(|file| text(file)).collect();
    let options = ["--against", text(full), "--text", text(&book), "--logits-cache", text(cache)];
    let fast = ["--window", "256", "--chunks", "4", "--runs", "1", "--n-prompt", "8", "-c", "512", "--json"];
    let run = siskin(&[&["eval"], &models[..], &options, &fast].concat());
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let report: Value = serde_json::from_slice(&run.stdout).unwrap();
    let models = report["models"].as_array().unwrap().iter();
    models.map(|model| model["metrics"]["kl"].as_f64().unwrap()).collect()
}

#[test]
fn at_the_size_of_a_mix_predictions_diverge_a_tenth_less() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (full, imatrix, mix, fitted) =
        (at("full.gguf"), at("imatrix.gguf"), at("mix.gguf"), at("fitted.gguf"));
    quantized(&here("../demo/siskin-demo"), &full, "f16");
    let chunks = ["-c", "256", "--chunks", "12"];
    assert!(
        siskin(&[&["imatrix", text(&full), "-o", text(&imatrix)], &chunks[..]].concat()).status.success()
    );
    let weighted = ["--imatrix", text(&imatrix)];
    let q4_k_m = ["quantize", text(&full), text(&mix), "--type", "q4_k_m"];
    assert!(siskin(&[&q4_k_m[..], &weighted].concat()).status.success());
    let size = fs::metadata(&mix).unwrap().len();
    let said = fit(&full, &fitted, &[&["--fit", &size.to_string()], &weighted[..]].concat());

    let fitted_size = fs::metadata(&fitted).unwrap().len();
    assert!(fitted_size <= size && fitted_size > size - size / 100, "{fitted_size} of {size} bytes");
    let [of_mix, of_fitted] = divergences(&[&mix, &fitted], &full, &at("logits"))[..] else { panic!() };
    assert!(of_fitted <= 0.9 * of_mix, "{of_fitted} against {of_mix}\n{said}");

    // What is said is what is written.
    let file = Gguf::open(&fitted).unwrap();
    for tensor in file.tensors().iter().filter(|tensor| tensor.shape.len() == 2) {
        let line = said.lines().find(|line| line.starts_with(&format!("{} ", tensor.name))).unwrap();
        assert!(line.contains(&format!("F16 -> {:<6}", tensor.ty.name())), "{line}: {}", tensor.ty);
        assert!(line.contains(&format!(" {} ", tensor.bytes)), "{line}: {}", tensor.bytes);
    }
    assert!(said.contains(&format!("{fitted_size} of {size} bytes used")), "{said}");
    // A type that llama.cpp knows, and that of most weights.
    let mut weights: Vec<(u64, TensorType)> = Vec::new();
    for tensor in file.tensors() {
        match weights.iter_mut().find(|(_, ty)| *ty == tensor.ty) {
            Some((count, _)) => *count += tensor.elements(),
            None => weights.push((tensor.elements(), tensor.ty)),
        }
    }
    let (_, most) = weights.into_iter().max_by_key(|&(count, _)| count).unwrap();
    let file_type = match most {
        TensorType::Q4_K => 15,
        TensorType::IQ4_XS => 30,
        TensorType::Q5_K => 17,
        other => panic!("{other} for most weights"),
    };
    assert_eq!(file.u32("general.file_type").unwrap(), Some(file_type));
}

/// A model of one block, with rows of 256, for what needs no real weights, and a text that is long enough for it.
fn small(folder: &Path) -> (PathBuf, PathBuf) {
    let (book, start) =
        (fs::read_to_string(here("tests/goldens/eval/text.txt")).unwrap(), folder.join("start.txt"));
    let chars: String = book.chars().take(2000).collect();
    fs::write(&start, chars).unwrap();
    (goldens().join("kquant.gguf"), start)
}

#[test]
fn no_budget_is_exceeded_and_all_of_it_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.gguf");
    let (input, start) = small(folder.path());
    let of = |arguments: &[&str]| {
        fit(&input, &output, &[&["--text", text(&start)], arguments].concat());
        let file = Gguf::open(&output).unwrap();
        let bytes: u64 = file.tensors().iter().map(|tensor| tensor.bytes).sum();
        let weights: u64 = file.tensors().iter().map(|tensor| tensor.elements()).sum();
        (fs::metadata(&output).unwrap().len(), 8.0 * bytes as f64 / weights as f64)
    };
    for size in [150_000, 200_001, 333_333] {
        let (found, _) = of(&["--fit", &size.to_string()]);
        assert!(found <= size && found > size - size / 20, "{found} of {size} bytes");
        let (packed, _) = of(&["--fit", &size.to_string(), "--pack"]);
        assert!(packed <= size && packed > size - size / 20, "{packed} of {size} bytes");
    }
    let (found, _) = of(&["--fit", "0.25MiB"]);
    assert!(found <= 1 << 18 && found > 9 << 14, "{found}");
    for bits in [2.9, 4.3, 7.25] {
        let (_, found) = of(&["--bpw", &bits.to_string()]);
        assert!(found <= bits && found > 0.95 * bits, "{found} of {bits} bits");
    }
    // With room for everything nothing is lost.
    of(&["--fit", "1GB"]);
    let (before, after) = (Gguf::open(&input).unwrap(), Gguf::open(&output).unwrap());
    for (before, after) in before.tensors().iter().zip(after.tensors()) {
        assert_eq!((&before.name, before.ty), (&after.name, after.ty));
    }
}

#[test]
fn what_is_kept_takes_its_part_of_the_budget() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.gguf");
    let (input, start) = small(folder.path());
    let keep = ["--keep", "blk.0.ffn_*.weight=Q8_0", "--keep", "blk.0.ffn_up.weight=Q2_K"];
    let said = fit(&input, &output, &[&["--fit", "250000", "--text", text(&start)], &keep[..]].concat());
    assert!(fs::metadata(&output).unwrap().len() <= 250_000);
    let file = Gguf::open(&output).unwrap();
    let of = |name: &str| file.tensor(name).unwrap().ty;
    assert_eq!(of("blk.0.ffn_gate.weight"), TensorType::Q8_0, "{said}");
    assert_eq!(of("blk.0.ffn_down.weight"), TensorType::Q8_0, "{said}");
    assert_eq!(of("blk.0.ffn_up.weight"), TensorType::Q2_K, "{said}");
    assert!(of("blk.0.attn_q.weight") != TensorType::BF16, "{said}");
}

#[test]
fn a_plan_is_what_would_be_written_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.gguf");
    let (input, start) = small(folder.path());
    let budget = ["--bpw", "4.3", "--text", text(&start)];
    let planned = fit(&input, &output, &[&budget[..], &["--plan"]].concat());
    assert_eq!(names(folder.path()), ["start.txt"]);
    let written = fit(&input, &output, &budget);
    let (planned, written) =
        (planned.trim_end().rsplit_once('\n').unwrap(), written.trim_end().rsplit_once('\n').unwrap());
    assert_eq!(planned.0, written.0);
    assert_eq!(format!("{}: {}", text(&output), planned.1), written.1);
}

#[test]
fn bytes_are_the_same_at_any_thread_count_and_from_either_source() {
    let folder = tempfile::tempdir().unwrap();
    let (input, start) = small(folder.path());
    let make = |input: &Path, size: &str, threads: &str| {
        let output = folder.path().join(format!("{threads}.gguf"));
        fit(input, &output, &["--fit", size, "--text", text(&start), "--threads", threads]);
        fs::read(output).unwrap()
    };
    let one = make(&input, "190000", "1");
    for threads in ["2", "3", "5"] {
        assert!(make(&input, "190000", threads) == one, "{threads} threads");
    }
    // A checkpoint is run from a file of its own, which is gone afterwards.
    let (folder, file) = (goldens().join("gqa"), goldens().join("gqa.gguf"));
    assert!(make(&folder, "60000", "2") == make(&file, "60000", "2"));
}

#[test]
fn what_cannot_be_is_refused_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.gguf");
    let (input, start) = small(folder.path());
    let run = |input: &Path, arguments: &[&str]| {
        siskin(&[&["quantize", text(input), text(&output), "--text", text(&start)], arguments].concat())
    };
    let refused = |arguments: &[&str]| failure(&run(&input, arguments));

    // The least size that is named is one that can be had.
    let line = refused(&["--fit", "1kB"]);
    let least =
        line.strip_prefix("siskin: --fit: 1000 bytes are too few: the least size of this file is ").unwrap();
    let least: u64 = least.strip_suffix(" bytes").unwrap().parse().unwrap();
    assert!(refused(&["--fit", &(least - 1).to_string()]).contains("too few"));
    fit(&input, &output, &["--fit", &least.to_string(), "--text", text(&start)]);
    assert_eq!(fs::metadata(&output).unwrap().len(), least);
    fs::remove_file(&output).unwrap();
    let line = refused(&["--bpw", "1.5"]);
    let least =
        line.strip_prefix("siskin: --bpw: 1.5 bits per weight are too few: the least for this model are ");
    fit(&input, &output, &["--bpw", least.unwrap(), "--text", text(&start)]);
    fs::remove_file(&output).unwrap();
    assert!(refused(&["--fit", "150000", "--keep", "*=BF16"]).contains("too few"));

    fs::write(&start, "Too short.").unwrap();
    assert!(
        refused(&["--fit", "200000"]).contains("start.txt: the text "),
        "{}",
        refused(&["--fit", "200000"])
    );
    fs::remove_file(&start).unwrap();
    assert!(refused(&["--fit", "200000"]).contains("start.txt: "));
    assert!(names(folder.path()).is_empty());

    for usage in [
        &["--fit", "200000", "--type", "q4_0"][..],
        &["--fit", "200000", "--bpw", "4"],
        &["--bpw", "4", "--type", "q4_0"],
        &["--type", "q4_0"],
        &["--fit", "much"],
        &["--bpw", "-1"],
        &["--fit", "200000", "--windows", "0"],
        &[],
    ] {
        assert_eq!(run(&input, usage).status.code(), Some(2), "{usage:?}");
    }
}

#[test]
fn weights_that_are_no_numbers_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.gguf");
    let (input, start) = small(folder.path());
    let mut bytes = fs::read(&input).unwrap();
    let file = Gguf::open(&input).unwrap();
    let rows = file.data(file.tensor("blk.0.ffn_up.weight").unwrap());
    let place = bytes.windows(rows.len()).position(|window| window == rows).unwrap();
    // The fifth number of the fourth row, in BF16.
    let row = rows.len() / 256;
    bytes[place + 3 * row + 8..][..2].copy_from_slice(&0x7fc0u16.to_le_bytes());
    let bad = folder.path().join("bad.gguf");
    fs::write(&bad, bytes).unwrap();
    let budget = ["--fit", "200000", "--text", text(&start)];
    let line = failure(&siskin(&[&["quantize", text(&bad), text(&output)], &budget[..]].concat()));
    assert!(line.contains("tensor blk.0.ffn_up.weight, row 3: element 4 is NaN"), "{line}");
    assert_eq!(names(folder.path()), ["bad.gguf", "start.txt"]);
}
