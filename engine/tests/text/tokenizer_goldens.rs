//! The tokens of every golden vocabulary against what Hugging Face's `tokenizers`, `sentencepiece` and llama.cpp say.
//! The goldens and the script that makes them are in `goldens/tokenizer`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::path::PathBuf;

use serde_json::Value;
use siskin::gguf::Gguf;
use siskin::tokenizer::{Detokenizer, Special, Tokenizer};

/// The goldens' folder; another one may be named to try many more cases.
fn folder() -> PathBuf {
    let usual = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/tokenizer");
    std::env::var_os("SISKIN_TOKENIZER_GOLDENS").map_or_else(|| usual.into(), PathBuf::from)
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap().try_into().unwrap()).collect()
}

fn encode(tokenizer: &Tokenizer, text: &str, special: Special) -> Vec<u32> {
    let mut ids = Vec::new();
    tokenizer.encode(text.as_bytes(), special, &mut ids);
    ids
}

fn decode(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let mut detokenizer = Detokenizer::new(tokenizer);
    let mut text = String::new();
    for &id in ids {
        text += detokenizer.push(tokenizer, id);
    }
    text + detokenizer.finish()
}

/// Compares all cases of a golden; fails with the first few that differ.
fn check(name: &str) {
    let file = Gguf::read(&folder().join(format!("{name}.gguf"))).unwrap();
    let tokenizer = Tokenizer::from_gguf(&file).unwrap();
    let cases = std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&cases).unwrap();
    assert!(cases.len() >= 300);

    let mut differences = Vec::new();
    for case in &cases {
        let text = case["text"].as_str().unwrap();
        let plain = ids(&case["ids"]);
        let parsed = case.get("parsed").map_or_else(|| plain.clone(), ids);
        let decoded = match case.get("decoded") {
            None => Some(text),
            Some(decoded) => decoded.as_str(),
        };
        for (special, expected) in [(Special::Text, &plain), (Special::Parse, &parsed)] {
            let found = encode(&tokenizer, text, special);
            if found != *expected {
                differences.push(format!("{text:?} {special:?}: {found:?}, expected {expected:?}"));
            }
        }
        if let Some(expected) = decoded {
            let found = decode(&tokenizer, &plain);
            if found != expected {
                differences.push(format!("{plain:?}: {found:?}, expected {expected:?}"));
            }
        }
    }
    let (count, of) = (differences.len(), cases.len());
    assert!(
        count == 0,
        "{name}: {count} differences in {of} cases:\n{}",
        differences[..count.min(10)].join("\n")
    );
}

macro_rules! goldens {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(#[test] fn $test() { check($name); })*
    };
}

goldens! {
    llama_3: "llama-bpe",
    llama_3_without_whole_words: "smaug-bpe",
    qwen_2: "qwen2",
    qwen_3_5: "qwen35",
    gpt_4o: "gpt-4o",
    tekken: "tekken",
    gpt_2: "gpt-2",
    smol_lm_with_bytes_missing: "smollm",
    demo: "demo",
    no_pre_tokenizer_named: "default",
    sentence_piece: "spm",
    sentence_piece_without_bytes: "spm-unknown",
    sentence_piece_without_prefix: "spm-no-prefix",
    sentence_piece_with_single_spaces: "spm-single-spaces",
}

/// Flips bits all over a golden's file. What still loads must still encode and decode, to whatever it may be.
fn survive_flipped_bits(name: &str) {
    let bytes = std::fs::read(folder().join(format!("{name}.gguf"))).unwrap();
    let mut loaded = 0;
    let mut state = 1_u64;
    for round in 0..1500 {
        let mut flipped = bytes.clone();
        for _ in 0..1 + round % 4 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let place = (state >> 33) as usize % bytes.len();
            flipped[place] ^= 1 << (state >> 30 & 7);
        }
        let Ok(file) = Gguf::from_bytes(name, flipped) else { continue };
        let Ok(tokenizer) = Tokenizer::from_gguf(&file) else { continue };
        loaded += 1;
        for special in [Special::Parse, Special::Text] {
            let ids = encode(&tokenizer, "<s> It's 12 漢字 <|im_end|>\n\n", special);
            assert!(ids.iter().all(|&id| (id as usize) < tokenizer.len()));
            decode(&tokenizer, &ids);
        }
    }
    assert!(loaded > 0, "nothing was tried");
}

#[test]
fn a_damaged_byte_level_vocabulary_is_refused_or_works() {
    survive_flipped_bits("gpt-2");
}

#[test]
fn a_damaged_sentence_piece_vocabulary_is_refused_or_works() {
    survive_flipped_bits("spm");
}
