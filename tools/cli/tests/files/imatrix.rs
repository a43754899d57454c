//! `siskin imatrix`, and `siskin quantize` with what it writes.

use crate::common::{failure, families, goldens, names, siskin, text};
use siskin::gguf::Gguf;
use siskin::gguf::write::{Builder, OwnedArray};
use siskin_quant::{TensorType, decode};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/imatrix").join(name)
}

fn demo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo").join(name)
}

/// Runs `siskin` and returns what it says on standard error.
fn succeed(arguments: &[&str]) -> String {
    let run = siskin(arguments);
    let said = String::from_utf8(run.stderr).unwrap();
    assert!(run.status.success(), "{arguments:?}: {said}");
    said
}

fn values(file: &Gguf, name: &str) -> Vec<f32> {
    let tensor = file.tensor(name).unwrap_or_else(|| panic!("no tensor {name}"));
    let mut values = vec![0.0; tensor.elements() as usize];
    decode(tensor.ty, file.data(tensor), &mut values).unwrap();
    values
}

/// An importance matrix with one entry for each name: so many columns, each of the same weight but for the first.
fn write_imatrix(path: &Path, entries: &[(&str, usize)]) {
    let mut builder = Builder::new();
    builder.set("general.type", "imatrix").unwrap();
    builder.set("imatrix.datasets", OwnedArray::Str(vec![b"text".to_vec()])).unwrap();
    builder.set("imatrix.chunk_count", 3u32).unwrap().set("imatrix.chunk_size", 512u32).unwrap();
    for (name, columns) in entries {
        builder.tensor(&format!("{name}.in_sum2"), &[*columns as u64], TensorType::F32).unwrap();
        builder.tensor(&format!("{name}.counts"), &[1], TensorType::F32).unwrap();
    }
    let mut writer = builder.start(File::create(path).unwrap()).unwrap();
    for (_, columns) in entries {
        let mut sums = vec![1.0f32; *columns];
        sums[0] = 1000.0;
        sums.push(8.0);
        writer.append(&sums.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<_>>()).unwrap();
    }
    writer.finish().unwrap();
}

fn quantize_with(imatrix: &Path, input: &Path, output: &Path, file_type: &str) -> Output {
    siskin(&["quantize", text(input), text(output), "--type", file_type, "--imatrix", text(imatrix)])
}

#[test]
fn sums_are_those_that_pytorch_computes() {
    let folder = tempfile::tempdir().unwrap();
    let (model, found) = (folder.path().join("f32.gguf"), folder.path().join("out.gguf"));
    succeed(&["quantize", text(&demo("siskin-demo")), text(&model), "--type", "f32"]);
    let words = golden("text.txt");
    let arguments = ["imatrix", text(&model), text(&words), "-o", text(&found), "-c", "64"];
    succeed(&[&arguments[..], &["--chunks", "2", "--cache-type", "f32"]].concat());

    let output = folder.path().join("quantized.gguf");
    let run = quantize_with(&golden("expected.gguf"), &model, &output, "q8_0");
    assert!(run.status.success(), "the gguf package's file is read");

    let (expected, found) = (Gguf::open(&golden("expected.gguf")).unwrap(), Gguf::open(&found).unwrap());
    assert_eq!(found.tensors().len(), 2 * (8 * 7 + 1), "each matrix once");
    for key in ["imatrix.chunk_count", "imatrix.chunk_size"] {
        assert_eq!(found.require_u32(key).unwrap(), expected.require_u32(key).unwrap(), "{key}");
    }
    let datasets: Vec<_> = found.require_array("imatrix.datasets").unwrap().iter().collect();
    assert_eq!(datasets[0].as_str(), Some(text(&words)));
    for tensor in expected.tensors() {
        assert_eq!(found.tensor(&tensor.name).unwrap().shape, tensor.shape);
        let pairs = values(&expected, &tensor.name).into_iter().zip(values(&found, &tensor.name));
        for (column, (expected, found)) in pairs.enumerate() {
            let error = (f64::from(found) / f64::from(expected) - 1.0).abs();
            assert!(error < 2e-5, "{} column {column}: {found}, expected {expected}", tensor.name);
        }
    }
}

#[test]
fn sums_are_the_same_bits_with_any_threads_batch_and_instruction_set() {
    let folder = tempfile::tempdir().unwrap();
    let words = golden("text.txt");
    let make = |isa: &str, threads: &str, batch: &str| {
        let output = folder.path().join("out.gguf");
        let model = demo("siskin-demo.gguf");
        let arguments =
            ["imatrix", text(&model), text(&words), "-o", text(&output), "-c", "32", "--chunks", "2"];
        let status = Command::new(env!("CARGO_BIN_EXE_siskin"))
            .args(arguments)
            .args(["--threads", threads, "--batch-size", batch])
            .env("SISKIN_ISA", isa)
            .status();
        assert!(status.unwrap().success());
        fs::read(output).unwrap()
    };
    let best = siskin::Isa::choose().unwrap();
    let expected = make("scalar", "1", "32");
    for (threads, batch) in [("1", "32"), ("2", "7"), ("3", "1")] {
        assert!(make(&best.to_string(), threads, batch) == expected, "{best}, {threads} threads, {batch}");
    }
}

#[test]
fn without_a_text_the_bundled_one_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.gguf");
    let model = demo("siskin-demo.gguf");
    succeed(&["imatrix", text(&model), "-o", text(&output), "-c", "16", "--chunks", "1"]);
    let file = Gguf::open(&output).unwrap();
    let datasets: Vec<_> = file.require_array("imatrix.datasets").unwrap().iter().collect();
    assert_eq!(datasets[0].as_str(), Some("siskin-calibration"));
}

#[test]
fn texts_that_will_not_do_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (words, output) = (folder.path().join("words"), folder.path().join("out.gguf"));
    let model = demo("siskin-demo.gguf");
    let refused = |more: &[&str]| {
        failure(&siskin(&[&["imatrix", text(&model), text(&words), "-o", text(&output)], more].concat()))
    };
    assert!(refused(&[]).contains("words: No such file"));
    fs::write(&words, "far too short").unwrap();
    assert!(refused(&[]).contains("tokens long, expected 512 or more"));
    assert!(refused(&["-c", "4096"]).contains("the model's context has room for 1024"));
    fs::write(&words, b"\xff\xfe").unwrap();
    assert!(refused(&[]).contains("UTF-8"));
    assert_eq!(names(folder.path()), ["words"]);
    fs::write(&words, "any").unwrap();
    let run = siskin(&["imatrix", text(&model), text(&words), "-o", text(&words)]);
    assert!(failure(&run).contains("the output is the input"));
}

#[test]
fn the_file_says_what_it_was_quantized_with() {
    let folder = tempfile::tempdir().unwrap();
    let (imatrix, output) = (folder.path().join("imatrix.gguf"), folder.path().join("out.gguf"));
    write_imatrix(&imatrix, &[("blk.0.ffn_up.weight", 256), ("blk.0.ffn_down.weight", 256)]);
    let run = quantize_with(&imatrix, &goldens().join("kquant.gguf"), &output, "q4_0");
    assert!(run.status.success());
    let said = String::from_utf8(run.stderr).unwrap();
    let notes: Vec<_> = said.lines().filter(|line| line.contains("unweighted")).collect();
    assert_eq!(notes.len(), 1, "{said}");
    let file = Gguf::open(&output).unwrap();
    assert_eq!(file.str("quantize.imatrix.file").unwrap(), Some(text(&imatrix)));
    assert_eq!(file.str("quantize.imatrix.dataset").unwrap(), Some("text"));
    assert_eq!(file.u32("quantize.imatrix.entries_count").unwrap(), Some(2));
    assert_eq!(file.u32("quantize.imatrix.chunks_count").unwrap(), Some(3));
}

#[test]
fn entries_about_tensors_that_the_model_lacks_are_left_out_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (imatrix, output) = (folder.path().join("imatrix.gguf"), folder.path().join("out.gguf"));
    let input = goldens().join("kquant.gguf");
    let known = [("blk.0.ffn_up.weight", 256), ("blk.0.ffn_down.weight", 256)];
    let make = |entries: &[(&str, usize)]| {
        write_imatrix(&imatrix, entries);
        let run = quantize_with(&imatrix, &input, &output, "q4_0");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        (fs::read(&output).unwrap(), String::from_utf8(run.stderr).unwrap())
    };
    let (expected, said) = make(&known);
    assert!(!said.contains("lacks"), "{said}");
    let (found, said) = make(&[known[0], known[1], ("blk.9.nextn.eh_proj.weight", 64)]);
    assert!(found == expected);
    let line = "1 of 3 entries of the importance matrix are about tensors that the model lacks, such as blk.9.nextn.eh_proj.weight";
    assert_eq!(said.matches(line).count(), 1, "{said}");
}

const EXPERTS: &str = "blk.0.ffn_up_exps.weight";

/// An importance matrix about the six experts of a matrix with rows of 32: sums and a count for each.
fn write_experts(path: &Path, sums: &[f32], counts: &[f32]) {
    let mut builder = Builder::new();
    builder.set("general.type", "imatrix").unwrap();
    builder.set("imatrix.chunk_count", 1u32).unwrap().set("imatrix.chunk_size", 512u32).unwrap();
    builder.tensor(&format!("{EXPERTS}.in_sum2"), &[32, 6], TensorType::F32).unwrap();
    builder.tensor(&format!("{EXPERTS}.counts"), &[1, counts.len() as u64], TensorType::F32).unwrap();
    let mut writer = builder.start(File::create(path).unwrap()).unwrap();
    writer.append(&sums.iter().chain(counts).flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>()).unwrap();
    writer.finish().unwrap();
}

/// Sums of six experts, each its own, the second with none.
fn sums_of_experts() -> Vec<f32> {
    (0..6 * 32).map(|i| if i / 32 == 1 { 0.0 } else { 1.0 + (i * 37 % 101) as f32 }).collect()
}

#[test]
fn each_expert_has_its_own_weights_and_one_without_tokens_has_equal_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (imatrix, output) = (folder.path().join("imatrix.gguf"), folder.path().join("out.gguf"));
    let input = families().join("qwen3-moe.gguf");
    let make = |imatrix: &Path| {
        let run = quantize_with(imatrix, &input, &output, "q4_0");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let file = Gguf::open(&output).unwrap();
        let experts: Vec<_> =
            file.data(file.tensor(EXPERTS).unwrap()).chunks(32 * 18).map(<[u8]>::to_vec).collect();
        assert_eq!(experts.len(), 6);
        (experts, String::from_utf8(run.stderr).unwrap())
    };
    let (sums, counts) = (sums_of_experts(), [4.0, 0.0, 9.0, 2.0, 1.0, 8.0]);
    write_experts(&imatrix, &sums, &counts);
    let (expected, said) = make(&imatrix);
    let line = "no token came to a matrix of an expert: its columns all weigh the same";
    assert_eq!(said.matches(line).count(), 1, "{said}");

    // As if all of its columns had been measured alike.
    let mut alike = sums.clone();
    alike[32..64].fill(3.0);
    write_experts(&imatrix, &alike, &[4.0, 3.0, 9.0, 2.0, 1.0, 8.0]);
    assert!(make(&imatrix).0 == expected);

    // Other sums of an expert change that one alone.
    let mut other = sums.clone();
    other[64..96].reverse();
    write_experts(&imatrix, &other, &counts);
    let found = make(&imatrix).0;
    let changed: Vec<_> = (0..6).filter(|&expert| found[expert] != expected[expert]).collect();
    assert_eq!(changed, [2]);

    // The older format: one count, to which all sums are brought.
    let scaled = sums.chunks(32).zip(counts).flat_map(|(sums, count)| {
        sums.iter().map(move |sum| if count == 0.0 { 0.0 } else { sum / count * 8.0 })
    });
    let mut bytes = [1, EXPERTS.len() as i32].map(i32::to_le_bytes).concat();
    bytes.extend(EXPERTS.as_bytes());
    bytes.extend([8, 6 * 32].map(i32::to_le_bytes).concat());
    bytes.extend(scaled.flat_map(f32::to_le_bytes));
    fs::write(&imatrix, bytes).unwrap();
    let (found, said) = make(&imatrix);
    assert!(found == expected && said.contains(line), "{said}");

    write_experts(&imatrix, &sums, &[1.0; 5]);
    let line = failure(&quantize_with(&imatrix, &input, &output, "q4_0"));
    assert!(line.ends_with(&format!("{EXPERTS}.counts: expected 6 counts, found 5")), "{line}");
}

#[test]
fn experts_are_measured_one_by_one_with_any_batch() {
    let folder = tempfile::tempdir().unwrap();
    let (words, found) = (folder.path().join("words"), folder.path().join("out.gguf"));
    let model = families().join("qwen3-moe.gguf");
    fs::write(&words, "a siskin is a small finch ".repeat(40)).unwrap();
    let make = |batch: &str| {
        let arguments =
            ["imatrix", text(&model), text(&words), "-o", text(&found), "-c", "32", "--chunks", "2"];
        succeed(&[&arguments[..], &["--batch-size", batch]].concat());
        fs::read(&found).unwrap()
    };
    assert!(make("1") == make("32"));
    let file = Gguf::open(&found).unwrap();
    assert_eq!(file.tensor(&format!("{EXPERTS}.in_sum2")).unwrap().shape, [32, 6]);
    let counts = values(&file, &format!("{EXPERTS}.counts"));
    assert_eq!((counts.len(), counts.iter().sum::<f32>()), (6, 2.0 * 64.0), "two experts for each token");
    assert!(counts.iter().any(|&count| count != counts[0]));
    let output = folder.path().join("quantized.gguf");
    assert!(quantize_with(&found, &model, &output, "q4_0").status.success());
}

/// The squared error of the first column and of all, with and without an importance matrix that is about the first.
#[test]
fn what_matters_is_kept_better() {
    let folder = tempfile::tempdir().unwrap();
    let (imatrix, output) = (folder.path().join("imatrix.gguf"), folder.path().join("out.gguf"));
    let (name, input) = ("blk.0.ffn_up.weight", goldens().join("kquant.gguf"));
    write_imatrix(&imatrix, &[(name, 256)]);
    let original = values(&Gguf::open(&input).unwrap(), name);
    let errors = |run: Output| {
        assert!(run.status.success());
        let found = values(&Gguf::open(&output).unwrap(), name);
        let squares: Vec<f32> = original.iter().zip(found).map(|(x, y)| (x - y) * (x - y)).collect();
        (squares.iter().step_by(256).sum::<f32>(), squares.iter().sum::<f32>())
    };
    for file_type in ["q4_0", "q4_k_s", "q5_k_s"] {
        let plain = errors(siskin(&["quantize", text(&input), text(&output), "--type", file_type]));
        let weighted = errors(quantize_with(&imatrix, &input, &output, file_type));
        assert!(weighted.0 < 0.7 * plain.0, "{file_type}: first column {} and {}", weighted.0, plain.0);
        assert!(weighted.1 > plain.1, "{file_type}: all columns {} and {}", weighted.1, plain.1);
    }
}

#[test]
fn the_older_format_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (new, old) = (folder.path().join("new.gguf"), folder.path().join("old.dat"));
    let (name, columns) = ("blk.0.ffn_up.weight", 256);
    write_imatrix(&new, &[(name, columns)]);
    // A mean square of 125 and 0.125, times four chunks.
    let mut bytes = [1, name.len() as i32].map(i32::to_le_bytes).concat();
    bytes.extend(name.as_bytes());
    bytes.extend([4, columns as i32].map(i32::to_le_bytes).concat());
    bytes.extend((0..columns).flat_map(|column| if column == 0 { 500f32 } else { 0.5 }.to_le_bytes()));
    fs::write(&old, bytes).unwrap();
    let weights = |imatrix: &Path| {
        let output = folder.path().join("out.gguf");
        assert!(quantize_with(imatrix, &goldens().join("kquant.gguf"), &output, "q4_0").status.success());
        let file = Gguf::open(&output).unwrap();
        file.data(file.tensor(name).unwrap()).to_vec()
    };
    assert!(weights(&new) == weights(&old));
}

#[test]
fn an_importance_matrix_of_another_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (imatrix, output) = (folder.path().join("imatrix.gguf"), folder.path().join("out.gguf"));
    let input = goldens().join("kquant.gguf");
    let refused = |imatrix: &Path| failure(&quantize_with(imatrix, &input, &output, "q4_0"));
    let strange = ["blk.7.ffn_up.weight", "blk.8.ffn_up.weight"].map(|name| (name, 256));
    write_imatrix(&imatrix, &[("blk.0.ffn_up.weight", 256), strange[0], strange[1]]);
    let line = refused(&imatrix);
    let expected =
        "of another model: this one has 1 of the 3 tensors that it is about, and no blk.7.ffn_up.weight";
    assert!(line.ends_with(expected), "{line}");
    write_imatrix(&imatrix, &[("blk.0.ffn_up.weight", 128)]);
    let line = refused(&imatrix);
    assert!(line.ends_with("128 columns for blk.0.ffn_up.weight, whose rows are 256 long"), "{line}");

    assert!(refused(&input).ends_with("general.type: expected imatrix, found model"));
    write_imatrix(&imatrix, &[]);
    assert!(refused(&imatrix).ends_with("the importance matrix is empty"));
    fs::write(&imatrix, "nothing of the kind").unwrap();
    assert!(refused(&imatrix).contains("imatrix.gguf: expected an importance matrix, in GGUF or in"));
    assert!(refused(&folder.path().join("absent")).contains("absent: No such file"));
    assert_eq!(names(folder.path()), ["imatrix.gguf"]);
}

#[test]
fn sums_that_are_no_numbers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (imatrix, output) = (folder.path().join("imatrix.gguf"), folder.path().join("out.gguf"));
    write_imatrix(&imatrix, &[("blk.0.ffn_up.weight", 256)]);
    let sound = fs::read(&imatrix).unwrap();
    let thousand = sound.windows(4).position(|window| window == 1000f32.to_le_bytes()).unwrap();
    for bad in [f32::NAN, f32::INFINITY, -1.0] {
        let mut bytes = sound.clone();
        bytes[thousand + 12..][..4].copy_from_slice(&bad.to_le_bytes());
        fs::write(&imatrix, bytes).unwrap();
        let line = failure(&quantize_with(&imatrix, &goldens().join("kquant.gguf"), &output, "q4_0"));
        assert!(line.ends_with(&format!("blk.0.ffn_up.weight: column 3 has the sum {bad}")), "{line}");
    }
}
