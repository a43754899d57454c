//! What the program does with real, published models, which `ci/real` fetches: `bash ci/real`.

#![allow(clippy::disallowed_methods, reason = "tests make files of their own")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Helpers of tests may fail as tests do.

#[path = "../common/mod.rs"]
mod common;
mod hours;

use common::{here, peak, siskin, text};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const NEEDED: &str = "needs the models that ci/real fetches";

/// One of the published models, or what `ci/real` made of one.
fn model(name: &str) -> PathBuf {
    let folder = std::env::var_os("SISKIN_REAL_MODELS").expect(NEEDED);
    Path::new(&folder).join(name)
}

fn golden(name: &str) -> Value {
    serde_json::from_slice(&fs::read(here("tests/goldens/real").join(name)).unwrap()).unwrap()
}

/// Runs the program, which must succeed, and returns what it prints.
fn printed(arguments: &[&str]) -> String {
    let run = siskin(arguments);
    assert!(run.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

/// The greedy answers to the prompts of the goldens.
fn answers(model: &Path, more: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let lines: Vec<String> = golden("prompts.json")
        .as_array()
        .unwrap()
        .iter()
        .map(|prompt| json!({"prompt": prompt}).to_string() + "\n")
        .collect();
    fs::write(path("in.jsonl"), lines.concat()).unwrap();
    let (input, output) = (path("in.jsonl"), path("out.jsonl"));
    let files = ["batch", text(&input), text(&output), "--model", text(model)];
    printed(&[&files[..], &["--temp", "0", "-n", "48", "-c", "512"], more].concat());
    let answers = fs::read_to_string(output).unwrap();
    let content = |line: &str| serde_json::from_str::<Value>(line).unwrap()["content"].clone();
    answers.lines().map(|line| content(line).as_str().unwrap().to_owned()).collect()
}

#[test]
#[ignore = "needs the models that ci/real fetches"]
fn answers_in_single_precision_are_llama_cpp_s() {
    let golden = golden("llama_cpp.json");
    let found = answers(&model("smollm2-f32.gguf"), &["--cache-type", "f32"]);
    for (found, expected) in found.iter().zip(golden["answers"].as_array().unwrap()) {
        assert_eq!(found, expected.as_str().unwrap());
    }
    assert_eq!(found.len(), 20);
}

/// README shows what a model says that people have.
#[test]
#[ignore = "needs the models that ci/real fetches"]
fn the_session_in_the_readme_is_one() {
    let page = fs::read_to_string(here("../../README.md")).unwrap();
    let mut lines = page.lines().skip_while(|line| !line.starts_with("$ siskin run smollm2.gguf "));
    let command = lines.next().unwrap();
    let expected: Vec<&str> = lines.take_while(|line| *line != "```").collect();
    let prompt = command.split('"').nth(1).unwrap();
    assert_eq!(command, format!("$ siskin run smollm2.gguf -p \"{prompt}\" --temp 0 --quiet"));
    let said = printed(&["run", text(&model("smollm2.gguf")), "-p", prompt, "--temp", "0", "--quiet"]);
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}

/// Whoever changes these changes what every user's model says.
#[test]
#[ignore = "needs the models that ci/real fetches"]
fn answers_stay_what_they_are() {
    // Gemma 3 comes without a chat template.
    for (name, more) in [("smollm2", &[][..]), ("gemma3", &["--raw"])] {
        let found = answers(&model(&format!("{name}.gguf")), more);
        assert_eq!(json!(found), golden("answers.json")[name], "{name}: {:#}", json!(found));
    }
}

/// Activations in 8 bits cost less than half a hundredth, beside llama.cpp's figure with the same weights in F32.
#[test]
#[ignore = "needs the models that ci/real fetches"]
fn perplexity_is_llama_cpp_s() {
    let text_file = here("tests/goldens/eval/text.txt");
    for (name, expected) in golden("llama_cpp.json")["perplexity"].as_object().unwrap() {
        let model = model(&format!("{name}.gguf"));
        let said = printed(&[
            "eval",
            text(&model),
            "--text",
            text(&text_file),
            "--window",
            "256",
            "--runs",
            "1",
            "--n-prompt",
            "1",
            "--json",
        ]);
        let found = &serde_json::from_str::<Value>(&said).unwrap()["models"][0]["metrics"]["ppl"];
        let ratio = found.as_f64().unwrap() / expected["f32"].as_f64().unwrap();
        assert!((0.995..=1.005).contains(&ratio), "{name}: {found}, llama.cpp has {expected}");
    }
}

#[test]
#[ignore = "needs the models that ci/real fetches"]
fn every_instruction_set_has_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["smollm2.gguf", "gemma3.gguf"] {
        let logits = |isa: &str, threads: &str| {
            let out = folder.path().join("logits.npy");
            let model = model(name);
            printed(&[
                "logits",
                text(&model),
                "--tokens",
                "1,504,2000,17,905,31,4,88,1200,7",
                "--isa",
                isa,
                "-t",
                threads,
                "--out",
                text(&out),
            ]);
            fs::read(out).unwrap()
        };
        let expected = logits("scalar", "1");
        for isa in siskin::Isa::available() {
            assert!(logits(isa.name(), "2") == expected, "{name}: {isa}");
        }
    }
}

#[test]
#[ignore = "needs the models that ci/real fetches"]
fn memory_is_what_was_planned() {
    let prompt = "The fox and the owl went to the market to buy some bread. ".repeat(24);
    for name in ["smollm2.gguf", "gemma3.gguf"] {
        let model = model(name);
        let model = ["-c", "512", "-t", "2", text(&model)];
        let plan: Value =
            serde_json::from_str(&printed(&[&["plan", "--json"], &model[..]].concat())).unwrap();
        let planned = plan["peak_bytes"].as_u64().unwrap() as f64;
        let asked = ["run", "--raw", "-p", &prompt, "-n", "140", "--temp", "1", "--seed", "1"];
        let measured = peak(&[&asked[..], &model[..]].concat()) as f64;
        assert!((0.95..=1.05).contains(&(measured / planned)), "{name}: {measured} of {planned} bytes");
    }
}

/// The mean KL divergence of models from a reference, in nats.
fn divergences(models: &[&Path], reference: &Path) -> Vec<f64> {
    let folder = tempfile::tempdir().unwrap();
    let (text_file, cache) = (here("tests/goldens/eval/text.txt"), folder.path().join("logits"));
    let models: Vec<&str> = models.iter().map(|path| text(path)).collect();
    let how = [
        "--text",
        text(&text_file),
        "--window",
        "256",
        "--chunks",
        "4",
        "--runs",
        "1",
        "--n-prompt",
        "1",
        "--json",
        "--against",
        text(reference),
        "--logits-cache",
        text(&cache),
    ];
    let report: Value = serde_json::from_str(&printed(&[&["eval"], &models[..], &how].concat())).unwrap();
    let models = report["models"].as_array().unwrap().iter();
    models.map(|model| model["metrics"]["kl"].as_f64().unwrap()).collect()
}

/// Makes a file of a model.
fn quantized(model: &Path, output: &Path, how: &[&str]) {
    printed(&[&["quantize", text(model), text(output)], how].concat());
}

/// The figures of docs/quantization.md.
#[test]
#[ignore = "needs the models that ci/real fetches"]
fn quantized_again_it_diverges_as_is_documented() {
    let (folder, reference) = (tempfile::tempdir().unwrap(), model("smollm2-f32.gguf"));
    let [q4_0, q8_0] = ["q4_0", "q8_0"].map(|name| {
        let path = folder.path().join(name);
        quantized(&reference, &path, &["--type", name]);
        path
    });
    let found = divergences(&[&q4_0, &q8_0], &reference);
    let rounded: Vec<String> = found.iter().map(|kl| format!("{kl:.4}")).collect();
    assert_eq!(rounded, ["0.2582", "0.0036"]);
}
