//! `siskin quantize`: conversions of the tiny checkpoints, quantizing, and everything that must be refused.

use crate::common::{
    Checkpoint, failure, goldens, names, quantize, quantized, siskin, text, write_safetensors,
};
use serde_json::json;
use siskin::gguf::Gguf;
use siskin_quant::{TensorType, decode};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const CHECKPOINTS: [(&str, &str); 6] = [
    ("gqa", "f32"),
    ("tied", "bf16"),
    ("rope-llama3", "f32"),
    ("head-dim", "bf16"),
    ("mha", "f32"),
    ("bias", "bf16"),
];

const FILE_TYPES: [&str; 20] = [
    "F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q2_K_S", "Q3_K_S", "Q3_K_M",
    "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "IQ4_NL", "IQ4_XS",
];

fn open(path: &Path) -> Gguf {
    Gguf::open(path).unwrap()
}

fn values(file: &Gguf, name: &str) -> Vec<f32> {
    let tensor = file.tensor(name).unwrap();
    let mut values = vec![0.0; tensor.elements() as usize];
    decode(tensor.ty, file.data(tensor), &mut values).unwrap();
    values
}

#[test]
fn the_committed_files_are_what_the_checkpoints_become() {
    let folder = tempfile::tempdir().unwrap();
    for (name, file_type) in CHECKPOINTS {
        let bytes = quantized(&goldens().join(name), &folder.path().join("out.gguf"), file_type);
        let expected = fs::read(goldens().join(format!("{name}.gguf"))).unwrap();
        assert!(bytes == expected, "{name}.gguf is no longer what siskin quantize makes of {name}");
    }
}

#[test]
fn bytes_are_the_same_at_any_thread_count() {
    let folder = tempfile::tempdir().unwrap();
    let input = goldens().join("kquant.gguf");
    for file_type in ["q4_k_m", "q4_0"] {
        let make = |threads: &str| {
            let output = folder.path().join(threads);
            let arguments =
                ["quantize", text(&input), text(&output), "--type", file_type, "--threads", threads];
            assert!(siskin(&arguments).status.success());
            fs::read(output).unwrap()
        };
        let one = make("1");
        for threads in ["2", "3", "8"] {
            assert!(make(threads) == one, "{file_type} on {threads} threads");
        }
    }
}

#[test]
fn every_type_keeps_the_weights_within_its_precision() {
    let folder = tempfile::tempdir().unwrap();
    let input = goldens().join("kquant.gguf");
    let original = open(&input);
    for file_type in FILE_TYPES {
        let output = folder.path().join("out.gguf");
        quantized(&input, &output, &file_type.to_lowercase());
        let file = open(&output);
        for tensor in file.tensors() {
            let (expected, found) = (values(&original, &tensor.name), values(&file, &tensor.name));
            let square =
                |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x * x)).sum::<f64>().sqrt();
            let error = square(&mut expected.iter().zip(&found).map(|(x, y)| x - y));
            let relative = error / square(&mut expected.iter().copied());
            let bound = match tensor.ty {
                TensorType::F32 | TensorType::BF16 => 0.0,
                TensorType::F16 => 1e-3,
                TensorType::Q8_0 => 0.01,
                TensorType::Q6_K => 0.025,
                TensorType::Q5_0 | TensorType::Q5_1 | TensorType::Q5_K => 0.06,
                TensorType::Q3_K => 0.25,
                TensorType::Q2_K => 0.4,
                _ => 0.12,
            };
            assert!(relative <= bound, "{file_type}: {} as {}: {relative}", tensor.name, tensor.ty);
        }
    }
}

#[test]
fn mixes_give_some_tensors_more_bits() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.gguf");
    quantized(&goldens().join("kquant.gguf"), &output, "Q4_K_M");
    let file = open(&output);
    let of = |name: &str| file.tensor(name).unwrap().ty;
    assert_eq!(file.u32("general.file_type").unwrap(), Some(15));
    assert_eq!(file.u32("general.quantization_version").unwrap(), Some(2));
    assert_eq!(of("token_embd.weight"), TensorType::Q6_K);
    assert_eq!(of("blk.0.ffn_down.weight"), TensorType::Q6_K);
    assert_eq!(of("blk.0.ffn_up.weight"), TensorType::Q4_K);
    assert_eq!(of("blk.0.attn_norm.weight"), TensorType::F32);
}

#[test]
fn rows_that_are_no_superblocks_fall_back_and_it_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.gguf");
    let run = quantize(&goldens().join("gqa"), &output, "q4_k_s");
    assert!(run.status.success());
    let said = String::from_utf8(run.stderr).unwrap();
    let notes: Vec<_> = said.lines().filter(|line| line.contains("Q4_K: rows of 32 ")).collect();
    assert_eq!(notes.len(), 1, "{said}");
    assert!(notes[0].ends_with("more are Q5_0 instead of Q4_K: rows of 32 are no multiple of 256"), "{said}");
    assert!(String::from_utf8(run.stdout).unwrap().contains("15 tensors of another type"));
    assert_eq!(open(&output).tensor("blk.1.ffn_up.weight").unwrap().ty, TensorType::Q5_0);
}

#[test]
fn queries_and_keys_are_reordered_and_the_rest_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.gguf");
    let mut checkpoint = Checkpoint::copy("bias");
    quantized(&checkpoint.path(), &output, "f32");
    let file = open(&output);
    let mut stored = |name: &str| -> Vec<f32> {
        let bytes = &checkpoint.tensor(name).bytes;
        bytes
            .chunks_exact(2)
            .map(|b| f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16))
            .collect()
    };
    // Two key heads of 16 rows of 64: row 1 of a head was row 8.
    let (keys, expected) =
        (values(&file, "blk.1.attn_k.weight"), stored("model.layers.1.self_attn.k_proj.weight"));
    assert_eq!(keys[64 * 17..64 * 18], expected[64 * 24..64 * 25]);
    let (bias, expected) =
        (values(&file, "blk.1.attn_q.bias"), stored("model.layers.1.self_attn.q_proj.bias"));
    assert_eq!((bias[16], bias[17], bias[18]), (expected[16], expected[24], expected[17]));
    for (gguf, name) in
        [("attn_v.weight", "self_attn.v_proj.weight"), ("ffn_down.bias", "mlp.down_proj.bias")]
    {
        assert_eq!(values(&file, &format!("blk.0.{gguf}")), stored(&format!("model.layers.0.{name}")));
    }
}

#[test]
fn shards_make_the_same_file_as_one() {
    let checkpoint = Checkpoint::copy("gqa");
    let output = checkpoint.parent().join("out.gguf");
    let whole = quantized(&checkpoint.path(), &output, "q8_0");
    let folder = checkpoint.path();
    fs::remove_file(folder.join("model.safetensors")).unwrap();
    let (first, second) = checkpoint.tensors.split_at(9);
    let shards = [("model-00001-of-00002.safetensors", first), ("model-00002-of-00002.safetensors", second)];
    let mut map = serde_json::Map::new();
    for (name, tensors) in shards {
        write_safetensors(&folder.join(name), tensors);
        map.extend(tensors.iter().map(|tensor| (tensor.name.clone(), json!(name))));
    }
    fs::write(folder.join("model.safetensors.index.json"), json!({ "weight_map": map }).to_string()).unwrap();
    assert!(quantized(&folder, &output, "q8_0") == whole);

    fs::remove_file(folder.join(shards[1].0)).unwrap();
    let line = checkpoint.failure("q8_0");
    assert!(line.contains(shards[1].0) && line.contains("No such file"), "{line}");
    write_safetensors(&folder.join(shards[1].0), &second[1..]);
    let line = checkpoint.failure("q8_0");
    assert!(line.contains(&second[0].name) && line.ends_with("is missing"), "{line}");
}

#[test]
fn checkpoints_that_are_not_what_config_says_are_refused() {
    let name = "model.layers.1.mlp.up_proj.weight";
    let mut checkpoint = Checkpoint::copy("gqa");
    checkpoint.tensor(name).name = "model.layers.1.mlp.other.weight".into();
    checkpoint.save();
    assert_eq!(checkpoint.failure("f16"), format!("siskin: tensor {name} is missing, expected [64, 32]"));

    let mut checkpoint = Checkpoint::copy("gqa");
    let mut extra = checkpoint.tensor(name).clone();
    extra.name = "model.layers.1.mlp.other.weight".into();
    checkpoint.tensors.push(extra);
    checkpoint.save();
    assert_eq!(
        checkpoint.failure("f16"),
        "siskin: tensor model.layers.1.mlp.other.weight is unexpected: config.json describes no such tensor"
    );

    let mut checkpoint = Checkpoint::copy("gqa");
    checkpoint.tensor(name).shape = vec![32, 64];
    checkpoint.save();
    assert_eq!(
        checkpoint.failure("f16"),
        format!("siskin: tensor {name}: expected shape [64, 32], found [32, 64]")
    );

    let mut checkpoint = Checkpoint::copy("gqa");
    checkpoint.tensor(name).dtype = "I32".into();
    checkpoint.save();
    assert_eq!(
        checkpoint.failure("f16"),
        format!("siskin: tensor {name}: expected dtype F32, F16 or BF16, found I32")
    );

    let checkpoint = Checkpoint::copy("gqa");
    checkpoint.edit("config.json", |config| config["architectures"] = json!(["GPT2LMHeadModel"]));
    let said = checkpoint.failure("f16");
    let expected = "siskin: config.json: architecture GPT2LMHeadModel is not supported, expected one of LlamaForCausalLM, ";
    assert!(said.starts_with(expected) && said.contains(" Qwen2ForCausalLM, "), "{said}");
}

#[test]
fn unreadable_folders_are_refused() {
    let checkpoint = Checkpoint::copy("tied");
    let weights = checkpoint.path().join("model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    for length in [0, 7, 8, 100, bytes.len() - 1] {
        fs::write(&weights, &bytes[..length]).unwrap();
        assert!(checkpoint.failure("f16").contains("model.safetensors"));
    }
    fs::write(&weights, [&bytes[..], b"x"].concat()).unwrap();
    assert!(checkpoint.failure("f16").contains("the tensors end at byte"));
    fs::remove_file(&weights).unwrap();
    assert!(checkpoint.failure("f16").contains("found neither model.safetensors nor"));

    for file in ["config.json", "tokenizer.json"] {
        let checkpoint = Checkpoint::copy("tied");
        fs::write(checkpoint.path().join(file), "{").unwrap();
        assert!(checkpoint.failure("f16").contains(file));
        fs::remove_file(checkpoint.path().join(file)).unwrap();
        assert!(checkpoint.failure("f16").contains(file));
    }

    let line = failure(&quantize(&checkpoint.path().join("absent"), &checkpoint.parent().join("out"), "f16"));
    assert!(line.contains("absent"), "{line}");
}

#[test]
fn tokenizers_nobody_knows_are_refused() {
    let checkpoint = Checkpoint::copy("tied");
    checkpoint.edit("tokenizer.json", |tokenizer| {
        tokenizer["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "\\w+"}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}
        ]});
    });
    assert!(
        checkpoint
            .failure("f16")
            .contains("tokenizer.json: pre_tokenizer: no supported tokenizer splits text by")
    );
    checkpoint.edit("tokenizer.json", |tokenizer| tokenizer["model"]["vocab"]["beyond"] = json!(128));
    checkpoint.edit("tokenizer.json", |tokenizer| tokenizer["pre_tokenizer"] = json!({"type": "ByteLevel"}));
    let line = checkpoint.failure("f16");
    assert!(
        line.contains("no supported tokenizer splits text by") && line.contains("add_prefix_space: true"),
        "{line}"
    );
}

#[test]
fn numbers_that_are_not_finite_are_named() {
    for bits in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(f32::to_le_bytes) {
        let mut checkpoint = Checkpoint::copy("gqa");
        let up = checkpoint.tensor("model.layers.1.mlp.up_proj.weight");
        // Row 40 of 32 columns, and a later one that must not be the one reported.
        for element in [40 * 32 + 5, 63 * 32] {
            up.bytes[element * 4..element * 4 + 4].copy_from_slice(&bits);
        }
        checkpoint.save();
        for file_type in FILE_TYPES {
            let line = checkpoint.failure(file_type);
            let place = "siskin: tensor blk.1.ffn_up.weight, row 40: element 5 is ";
            assert!(line.starts_with(place), "{file_type}: {line}");
        }
    }
}

#[test]
fn numbers_too_large_for_the_type_are_named() {
    let mut checkpoint = Checkpoint::copy("gqa");
    let head = checkpoint.tensor("lm_head.weight");
    head.bytes[3 * 32 * 4..][..4].copy_from_slice(&1e30f32.to_le_bytes());
    checkpoint.save();
    for file_type in ["f16", "q4_0", "q5_1", "q8_0"] {
        assert!(checkpoint.failure(file_type).contains("tensor output.weight, row 3: "), "{file_type}");
    }
    quantized(&checkpoint.path(), &checkpoint.parent().join("out.gguf"), "bf16");
}

#[test]
fn denormal_and_empty_rows_stay_finite() {
    let folder = tempfile::tempdir().unwrap();
    let mut checkpoint = Checkpoint::copy("gqa");
    let up = checkpoint.tensor("model.layers.0.mlp.up_proj.weight");
    up.bytes[..32 * 4].fill(0);
    for (index, element) in up.bytes[32 * 4..64 * 4].chunks_exact_mut(4).enumerate() {
        element.copy_from_slice(&f32::from_bits(index as u32 * 1000 + 1).to_le_bytes());
    }
    checkpoint.save();
    for file_type in FILE_TYPES {
        let output = folder.path().join("out.gguf");
        quantized(&checkpoint.path(), &output, file_type);
        let values = values(&open(&output), "blk.0.ffn_up.weight");
        assert!(values.iter().all(|value| value.is_finite()), "{file_type}");
        assert!(values[..32].iter().all(|&value| value == 0.0), "{file_type}");
    }
}

#[test]
fn the_input_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.gguf");
    fs::copy(goldens().join("gqa.gguf"), &input).unwrap();
    let before = fs::read(&input).unwrap();
    symlink(&input, folder.path().join("soft")).unwrap();
    fs::hard_link(&input, folder.path().join("hard")).unwrap();
    for name in ["in.gguf", "soft", "hard"] {
        let line = failure(&quantize(&input, &folder.path().join(name), "q8_0"));
        assert!(line.contains("the output is the input"), "{line}");
        // Also when the link is what is read.
        let line = failure(&quantize(&folder.path().join(name), &input, "q8_0"));
        assert!(line.contains("the output is the input"), "{line}");
    }
    let checkpoint = Checkpoint::copy("gqa");
    let weights = checkpoint.path().join("model.safetensors");
    assert!(failure(&quantize(&checkpoint.path(), &weights, "q8_0")).contains("the output is the input"));
    assert_eq!(fs::read(&input).unwrap(), before);
    assert_eq!(names(folder.path()), ["hard", "in.gguf", "soft"]);
}

#[test]
fn outputs_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let input = goldens().join("gqa.gguf");
    let line = failure(&quantize(&input, folder.path(), "q8_0"));
    assert!(line.ends_with("the output is a folder, expected the name of a file"), "{line}");
    assert!(
        failure(&quantize(&input, &folder.path().join("absent/out.gguf"), "q8_0"))
            .contains("absent/out.gguf")
    );
    assert!(names(folder.path()).is_empty());
    // A device takes what comes.
    assert!(quantize(&input, Path::new("/dev/null"), "q8_0").status.success());
}

#[test]
fn an_old_output_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.gguf");
    fs::write(&output, "old").unwrap();
    quantized(&goldens().join("gqa.gguf"), &output, "q8_0");
    assert_eq!(open(&output).u32("general.file_type").unwrap(), Some(7));
    assert_eq!(names(folder.path()), ["out.gguf"]);
}

#[test]
fn a_gguf_file_keeps_its_metadata() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.gguf");
    for (name, file_type) in CHECKPOINTS {
        let input = goldens().join(format!("{name}.gguf"));
        // The same type again: not a byte changes.
        assert!(quantized(&input, &output, file_type) == fs::read(&input).unwrap(), "{name}");
        quantized(&input, &output, "q8_0");
        let (before, after) = (open(&input), open(&output));
        let but_type = |file: &Gguf| -> Vec<String> {
            let keys = file.metadata().filter(|(key, _)| *key != "general.file_type");
            keys.map(|(key, value)| format!("{key} {value:?}")).collect()
        };
        assert_eq!(but_type(&before), but_type(&after));
    }
}

#[test]
fn gguf_files_of_other_kinds_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.gguf"), folder.path().join("out.gguf"));
    let bytes = fs::read(goldens().join("gqa.gguf")).unwrap();
    let at = bytes.windows(5).position(|window| window == b"llama").unwrap();
    let mut other = bytes.clone();
    other[at..at + 5].copy_from_slice(b"other");
    fs::write(&input, other).unwrap();
    let line = failure(&quantize(&input, &output, "q8_0"));
    let expected = "general.architecture: other is not supported, expected one of llama, smollm3, ";
    assert!(line.contains(expected), "{line}");
    fs::write(&input, &bytes[..bytes.len() / 2]).unwrap();
    assert!(failure(&quantize(&input, &output, "q8_0")).contains("in.gguf"));
    fs::write(&input, "nothing").unwrap();
    assert!(failure(&quantize(&input, &output, "q8_0")).contains("in.gguf"));
    assert_eq!(names(folder.path()), ["in.gguf"]);
}

#[test]
fn types_that_cannot_be_decoded_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.gguf"), folder.path().join("out.gguf"));
    let mut builder = siskin::gguf::write::Builder::new();
    builder.set("general.architecture", "llama").unwrap().set("llama.block_count", 1u32).unwrap();
    builder.tensor("blk.0.ffn_up.weight", &[256, 2], TensorType::NVFP4).unwrap();
    let mut writer = builder.start(fs::File::create(&input).unwrap()).unwrap();
    writer.append(&[0; 288]).unwrap();
    writer.finish().unwrap();
    let line = failure(&quantize(&input, &output, "q8_0"));
    assert_eq!(line, "siskin: tensor blk.0.ffn_up.weight: decoding NVFP4 is not supported");
    assert_eq!(names(folder.path()), ["in.gguf"]);
}

#[test]
fn quantizing_twice_is_remarked() {
    let folder = tempfile::tempdir().unwrap();
    let (once, twice) = (folder.path().join("once"), folder.path().join("twice"));
    quantized(&goldens().join("gqa.gguf"), &once, "q8_0");
    let run = quantize(&once, &twice, "q4_0");
    assert!(run.status.success());
    assert!(String::from_utf8(run.stderr).unwrap().contains("note: the input is quantized already"));
}

#[test]
fn wrong_usage_exits_with_two() {
    let input = goldens().join("gqa.gguf");
    for arguments in [
        &["quantize", text(&input), "out", "--type", "q9_9"][..],
        &["quantize", text(&input), "out"],
        &["quantize", text(&input)],
        &["quantize", text(&input), "out", "--type", "q8_0", "--threads", "-1"],
    ] {
        assert_eq!(siskin(arguments).status.code(), Some(2), "{arguments:?}");
    }
    assert!(!Path::new("out").exists());
}
