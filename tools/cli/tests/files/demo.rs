//! The demo model: that the file inside the program is what the quantizer makes of the checkpoint beside it, and that
//! the checkpoint answers as it does in Hugging Face transformers.

use crate::common::{here, nmse, npy, quantized};
use serde::Deserialize;
use siskin::sampler::SamplerOptions;
use siskin::template::Message;
use siskin::{CacheType, End, Error, Model, Session, SessionOptions};

/// `golden.json`: greedy answers in float32, at most 64 tokens, made by `demo/make/finish.py`.
#[derive(Deserialize)]
struct Goldens {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    prompt: String,
    prompt_ids: Vec<u32>,
    output_ids: Vec<u32>,
}

fn goldens() -> Goldens {
    serde_json::from_slice(&std::fs::read(here("tests/goldens/demo/golden.json")).unwrap()).unwrap()
}

/// The checkpoint in single precision, as `siskin quantize --type f32` writes it.
fn full_precision() -> Model {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo-f32.gguf");
    quantized(&here("../demo/siskin-demo"), &path, "f32");
    Model::open(&path).unwrap()
}

fn session(model: &Model) -> Session {
    let options = SessionOptions::default().cache(CacheType::F32).threads(2);
    model.session(&options).unwrap()
}

/// The greedy answer to a conversation's tokens, with the token that ends it.
fn answer(model: &Model, prompt: &[u32]) -> Vec<u32> {
    let mut session = session(model);
    session.feed(prompt).unwrap();
    let mut sampler = session.sampler(&SamplerOptions::default().overlay(model.sampling())).unwrap();
    let mut generation = session.generate(&mut sampler, 64).unwrap();
    let mut tokens = Vec::new();
    while let Some(token) = generation.next_token().unwrap() {
        tokens.push(token);
    }
    if let Some(End::Turn(end)) = generation.end() {
        tokens.push(end);
    }
    tokens
}

#[test]
fn the_file_in_the_program_is_made_from_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let made = quantized(&here("../demo/siskin-demo"), &folder.path().join("demo.gguf"), "q4_k_m");
    assert!(
        made == std::fs::read(here("../demo/siskin-demo.gguf")).unwrap(),
        "remake it as demo/CARD.md says"
    );
}

#[test]
fn the_checkpoint_s_greedy_answers_are_those_of_transformers() {
    let model = full_precision();
    let cases = goldens().cases;
    assert_eq!(cases.len(), 24);
    for case in cases {
        let prompt = model.chat_tokens(&[Message::new("user", &case.prompt)]).unwrap();
        assert_eq!(prompt, case.prompt_ids, "{:?}", case.prompt);
        assert_eq!(answer(&model, &prompt), case.output_ids, "{:?}", case.prompt);
    }
}

#[test]
fn the_checkpoint_s_logits_are_those_of_transformers() {
    let expected = npy(&here("tests/goldens/demo/golden-logits.npy"));
    let model = full_precision();
    let mut found = Vec::new();
    let each = |logits: &[f32]| {
        found.extend_from_slice(logits);
        Ok::<_, Error>(())
    };
    session(&model).feed_each(&goldens().cases[0].prompt_ids, each).unwrap();
    let error = nmse(&found, &expected);
    assert!(error <= 1e-9, "{error:e}");
}

#[test]
fn the_quantized_demo_answers_most_golden_prompts_alike() {
    let model = Model::open(here("../demo/siskin-demo.gguf")).unwrap();
    let cases = goldens().cases;
    let alike = cases.iter().filter(|case| answer(&model, &case.prompt_ids) == case.output_ids).count();
    // The two fairy tales go their own way; commands and summaries do not.
    assert!(alike >= 22, "{alike} of {}", cases.len());
}
