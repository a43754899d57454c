//! Gradients and steps of training against PyTorch's and PEFT's, in float32.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Helpers of tests may fail as tests do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use siskin::gguf::Gguf;
use siskin::training::{AdamW, Change, Example, Step, Trainer, TrainerOptions};
use siskin::{CacheType, Model};
use siskin_convert::quantize::{FileType, Plan, Recipe};
use siskin_kit::{Inputs, Output};

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

/// A checkpoint's folder as a GGUF file.
fn converted(folder: &Path, file_type: FileType, to: &Path) -> Gguf {
    let model = siskin_convert::Model::open(folder).unwrap();
    let kept = model.kept(&[]).unwrap();
    let choices = model.choose(file_type, &kept, false);
    let plan = Plan::new(&model, &choices, Recipe::Mix(file_type), None, false).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    plan.write(vec![Output::create(to, &Inputs::default()).unwrap()], &pool).unwrap();
    Gguf::open(to).unwrap()
}

/// The numbers of a PEFT file, by the names and in the order of the model's file.
fn numbers(weights: &Path, config: &Path, base: &Gguf) -> BTreeMap<String, [Vec<f32>; 2]> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(weights, folder.path().join("adapter_model.safetensors")).unwrap();
    std::fs::copy(config, folder.path().join("adapter_config.json")).unwrap();
    let bytes = siskin_convert::peft::convert(folder.path(), base).unwrap();
    let file = Gguf::from_bytes("golden", bytes).unwrap();
    let mut all = BTreeMap::new();
    for tensor in file.tensors() {
        let (matrix, half) = tensor.name.split_once(".lora_").unwrap();
        let mut numbers = vec![0.0; tensor.shape.iter().product::<u64>() as usize];
        siskin_quant::decode(tensor.ty, file.data(tensor), &mut numbers).unwrap();
        all.entry(matrix.to_owned()).or_insert_with(|| [Vec::new(), Vec::new()])[usize::from(half == "b")] =
            numbers;
    }
    all
}

/// The length of the difference of two vectors, over that of the second.
fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |x: f64| x * x;
    let error: f64 = found.iter().zip(expected).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    (error / expected.iter().map(|&b| square(f64::from(b))).sum::<f64>()).sqrt()
}

/// A sequence of the golden's cases: its tokens, and which of them are learned.
fn case(name: &str) -> (Vec<u32>, Vec<bool>) {
    let text = std::fs::read_to_string(goldens().join("demo/tokens.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    let list = |key: &str| -> Vec<i64> {
        all["cases"][name][key].as_array().unwrap().iter().map(|x| x.as_i64().unwrap()).collect()
    };
    (
        list("ids").iter().map(|&id| id as u32).collect(),
        list("labels").iter().map(|&label| label >= 0).collect(),
    )
}

#[test]
fn the_demo_s_gradients_and_steps_are_torch_s() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/siskin-demo");
    let base = converted(&demo, FileType::F32, &folder.path().join("demo.gguf"));
    let model = Model::from_gguf(&base).unwrap();
    let golden = |name: &str| goldens().join("demo").join(format!("{name}.safetensors"));
    let of = |name: &str| numbers(&golden(name), &goldens().join("demo/adapter_config.json"), &base);
    let start = of("adapter-init");
    let changes: Vec<_> =
        start.keys().map(|matrix| Change { matrix: matrix.clone(), rank: 8, scale: 2.0 }).collect();
    let options = TrainerOptions::new(64, changes).cache(CacheType::F32).threads(2);
    let mut trainer = model.trainer(&options).unwrap();
    start.iter().for_each(|(matrix, [a, b])| trainer.set(matrix, a, b).unwrap());
    let losses: Value =
        serde_json::from_str(&std::fs::read_to_string(goldens().join("demo/loss.json")).unwrap()).unwrap();
    let learn = |trainer: &mut Trainer, name: &str| {
        let (tokens, learned) = case(name);
        let mut example = Example { tokens: &tokens, learned: &learned, weight: 1.0 };
        example.weight /= example.learned() as f32;
        let (mut sum, count) = (0.0, example.learned() as f64);
        trainer.learn(&[example], 0.0, &mut |_, loss| sum += loss).unwrap();
        sum / count
    };
    for name in ["packed", "row"] {
        trainer.forget_gradients();
        let loss = learn(&mut trainer, name);
        assert!((loss - losses["loss_float64"][name].as_f64().unwrap()).abs() < 2e-6, "{name}: {loss}");
    }
    for (matrix, expected) in of("grads") {
        let found = trainer.gradients(&matrix).unwrap();
        for half in 0..2 {
            let error = relative_error(&found[half], &expected[half]);
            assert!(error <= 1e-5, "{matrix} {half}: {error:e}");
        }
    }
    trainer.forget_gradients();
    let optimizer = AdamW { rate: 1e-3, decay: 0.01, ..AdamW::default() };
    for step in 1..=10 {
        let loss = learn(&mut trainer, "row");
        let expected = losses["losses_before_each_step_float64"][step - 1].as_f64().unwrap();
        assert!((loss - expected).abs() < 1e-4, "before step {step}: {loss}, not {expected}");
        trainer.step(&Step::new(1e-3).optimizer(optimizer));
    }
    for (matrix, expected) in of("adapter-after-10") {
        let found = trainer.numbers(&matrix).unwrap();
        for half in 0..2 {
            let error = relative_error(&found[half], &expected[half]);
            assert!(error <= 1e-3, "after ten steps: {matrix} {half}: {error:e}");
        }
    }
}

#[test]
fn each_family_s_gradients_are_peft_s() {
    let engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../engine/tests/goldens/families");
    let mut families = 0;
    for entry in std::fs::read_dir(goldens().join("families")).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        families += 1;
        let name = folder.file_name().unwrap().to_str().unwrap();
        let work = tempfile::tempdir().unwrap();
        let base = converted(&engine.join(name), FileType::F32, &work.path().join("base.gguf"));
        let model = Model::from_gguf(&base).unwrap();
        let of = |file: &str| numbers(&folder.join(file), &folder.join("adapter_config.json"), &base);
        let start = of("adapter.safetensors");
        let changes =
            start.keys().map(|matrix| Change { matrix: matrix.clone(), rank: 2, scale: 1.5 }).collect();
        let text = std::fs::read_to_string(engine.join(name).join("ids.json")).unwrap();
        let tokens: Vec<u32> = serde_json::from_str(&text).unwrap();
        let options = TrainerOptions::new(tokens.len(), changes).cache(CacheType::F32).threads(2);
        let mut trainer = model.trainer(&options).unwrap();
        start.iter().for_each(|(matrix, [a, b])| trainer.set(matrix, a, b).unwrap());
        let learned: Vec<bool> = (0..tokens.len()).map(|i| i % 3 != 0).collect();
        let mut example = Example { tokens: &tokens, learned: &learned, weight: 1.0 };
        example.weight /= example.learned() as f32;
        let (mut sum, count) = (0.0, example.learned() as f64);
        trainer.learn(&[example], 0.0, &mut |_, loss| sum += loss).unwrap();
        let text = std::fs::read_to_string(folder.join("loss.json")).unwrap();
        let expected = serde_json::from_str::<Value>(&text).unwrap()["loss"].as_f64().unwrap();
        assert!((sum / count - expected).abs() <= 1e-5 * expected, "{name}: {}, not {expected}", sum / count);
        for (matrix, expected) in of("gradients.safetensors") {
            let found = trainer.gradients(&matrix).unwrap();
            for half in 0..2 {
                let error = relative_error(&found[half], &expected[half]);
                assert!(error <= 1e-4, "{name}: {matrix} {half}: {error:e}");
            }
        }
    }
    assert_eq!(families, 14);
}
