//! The API of llama.cpp's server.

use crate::client::{Reply, get, post};
use crate::{server, start};
use serde_json::{Value, json};
use siskin::gguf::Gguf;
use siskin::gguf::write::{Builder, OwnedArray, OwnedValue};
use siskin_serve::ModelSource;
use std::path::{Path, PathBuf};

fn at(path: &str) -> String {
    format!("{}{path}", server())
}

fn completion(more: &Value) -> Reply {
    let mut body = json!({"prompt": "A siskin is", "temperature": 0, "n_predict": 6});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    post(&at("/completion"), &body)
}

#[test]
fn what_there_is_is_told() {
    assert_eq!(get(&at("/health")).ok(), json!({"status": "ok"}));
    let props = get(&at("/props")).ok();
    assert_eq!(props["default_generation_settings"]["n_ctx"], 512);
    assert!(props["default_generation_settings"]["params"]["top_k"].is_number());
    assert_eq!(props["total_slots"], 4);
    assert!(props["chat_template"].as_str().unwrap().contains("{%"));
    assert!(!props["eos_token"].as_str().unwrap().is_empty());
    assert_eq!(get(&at("/props?model=other")).status, 404);
    let slots = get(&at("/slots")).ok();
    assert_eq!((slots.as_array().unwrap().len(), &slots[0]["n_ctx"]), (4, &json!(512)));
    assert_eq!(get(&at("/lora-adapters")).ok(), json!([]));
}

#[test]
fn probabilities_are_bounded_in_number_and_in_memory() {
    for wrong in [json!(101), json!(300_000), json!(-1)] {
        let reply = completion(&json!({"n_probs": wrong}));
        assert_eq!(reply.status, 400, "{reply:?}");
        assert!(reply.body.contains("n_probs: expected a whole number from 0 to 100"), "{reply:?}");
    }
    let whole = completion(&json!({"n_probs": 100, "return_tokens": true})).ok();
    let told = whole["completion_probabilities"].as_array().unwrap();
    assert_eq!(told.len(), whole["tokens"].as_array().unwrap().len());
    assert!(told.iter().all(|token| token["top_logprobs"].as_array().unwrap().len() == 100));
}

#[test]
fn long_texts_are_written_as_they_are_read() {
    let text = "a \"b\"\n\u{1f426}".repeat(3000);
    let pieces = post(&at("/tokenize"), &json!({"content": text, "with_pieces": true})).ok();
    let plain = post(&at("/tokenize"), &json!({"content": text})).ok();
    let ids = |value: &Value| value["tokens"].as_array().unwrap().clone();
    let of_pieces: Vec<Value> = ids(&pieces).iter().map(|token| token["id"].clone()).collect();
    assert_eq!(of_pieces, ids(&plain));
    let again = post(&at("/detokenize"), &json!({"tokens": plain["tokens"]})).ok();
    assert_eq!(again["content"], text);
    let messages = json!([{"role": "user", "content": text}]);
    let prompt = post(&at("/apply-template"), &json!({"messages": messages})).ok();
    assert!(prompt["prompt"].as_str().unwrap().contains(&text));
}

#[test]
fn figures_are_told_in_prometheus_text() {
    let server = start(|_| {});
    let figures = || {
        let reply = get(&format!("{server}/metrics"));
        assert_eq!((reply.status, reply.kind.as_str()), (200, "text/plain; version=0.0.4"));
        reply.body
    };
    let value = |text: &str, name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} in {text}")).parse().unwrap()
    };
    assert_eq!(value(&figures(), "llamacpp:tokens_predicted_total"), 0.0);
    let body = json!({"prompt": "A siskin is a small bird", "n_predict": 5, "ignore_eos": true});
    let first = post(&format!("{server}/completion"), &body).ok();
    let again = post(&format!("{server}/completion"), &body).ok();
    let text = figures();
    assert_eq!(value(&text, "llamacpp:tokens_predicted_total"), 10.0);
    assert_eq!(value(&text, "siskin_answers_total{model=\"demo\"}"), 2.0);
    let (prompt, cached) =
        (first["tokens_evaluated"].as_f64().unwrap(), again["tokens_cached"].as_f64().unwrap());
    assert!(cached > 0.0, "{again}");
    assert_eq!(value(&text, "siskin_prompt_tokens_total{model=\"demo\"}"), 2.0 * prompt);
    assert_eq!(value(&text, "siskin_cached_tokens_total{model=\"demo\"}"), cached);
    assert_eq!(value(&text, "llamacpp:prompt_tokens_total"), 2.0 * prompt - cached);
    assert!(value(&text, "siskin_model_bytes{model=\"demo\"}") > 1e6);
    assert!(value(&text, "process_resident_memory_bytes") > 1e6);
    // Every figure says what it is, and none goes back when a model leaves.
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split([' ', '{']).next().unwrap();
        assert!(
            text.contains(&format!("# HELP {name} ")) && text.contains(&format!("# TYPE {name} ")),
            "{name}"
        );
    }
    post(&format!("{server}/api/generate"), &json!({"model": "demo", "keep_alive": 0})).ok();
    assert_eq!(value(&figures(), "llamacpp:tokens_predicted_total"), 10.0);
}

#[test]
fn a_completion_ends_with_its_timings() {
    let whole = completion(&json!({})).ok();
    let events = completion(&json!({"stream": true})).data();
    let (last, pieces) = events.split_last().unwrap();
    assert!(pieces.iter().all(|piece| piece["stop"] == json!(false)));
    for end in [&whole, last] {
        assert_eq!((&end["stop"], &end["stop_type"]), (&json!(true), &json!("limit")));
        assert_eq!((&end["tokens_predicted"], &end["timings"]["predicted_n"]), (&json!(6), &json!(6)));
        assert_eq!(end["prompt"], "A siskin is");
        let timings = &end["timings"];
        let (read, cached) = (timings["prompt_n"].as_u64().unwrap(), timings["cache_n"].as_u64().unwrap());
        assert_eq!(end["tokens_evaluated"].as_u64().unwrap(), read + cached);
        assert!(timings["predicted_per_second"].as_f64().unwrap() > 0.0);
    }
    let text = whole["content"].as_str().unwrap();
    let word = text.split_whitespace().nth(1).unwrap();
    let stopped = completion(&json!({"stop": ["~~~", word]})).ok();
    assert_eq!((&stopped["stop_type"], &stopped["stopping_word"]), (&json!("word"), &json!(word)));
}

#[test]
fn tokens_and_probabilities_are_told() {
    let whole = completion(&json!({"return_tokens": true, "n_probs": 2})).ok();
    let tokens = whole["tokens"].as_array().unwrap();
    let probabilities = whole["completion_probabilities"].as_array().unwrap();
    assert_eq!((tokens.len(), probabilities.len()), (6, 6));
    for (token, probability) in tokens.iter().zip(probabilities) {
        assert_eq!(&probability["id"], token);
        assert_eq!(&probability["top_logprobs"][0]["id"], token);
        assert_eq!(probability["top_logprobs"].as_array().unwrap().len(), 2);
    }
    let events = completion(&json!({"return_tokens": true, "stream": true})).data();
    let streamed: Vec<&Value> = events.iter().flat_map(|event| event["tokens"].as_array().unwrap()).collect();
    assert_eq!(streamed, tokens.iter().collect::<Vec<_>>());
}

#[test]
fn sampling_is_as_it_is_asked() {
    let text = |more: &Value| completion(more).ok()["content"].clone();
    let greedy = text(&json!({}));
    // The first of each is the most probable one.
    assert_eq!(text(&json!({"temperature": 5, "top_k": 1})), greedy);
    assert_eq!(text(&json!({"temperature": 5, "top_k": 1, "samplers": ["top_k"]})), greedy);
    assert_eq!(text(&json!({"temperature": 5, "top_k": 1, "samplers": "k"})), greedy);
    let first = completion(&json!({"return_tokens": true})).ok()["tokens"][0].clone();
    for bias in [json!([[first, false]]), json!([[first, -1000]]), json!({first.to_string(): -1000})] {
        let other = completion(&json!({"logit_bias": bias, "return_tokens": true})).ok();
        assert_ne!(other["tokens"][0], first, "{bias}");
    }
}

#[test]
fn texts_become_tokens_and_back() {
    let tokenize = |more: Value| {
        let mut body = json!({"content": "Hello, siskin! 鳥"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post(&at("/tokenize"), &body).ok()["tokens"].as_array().unwrap().clone()
    };
    let tokens = tokenize(json!({}));
    let text = post(&at("/detokenize"), &json!({"tokens": tokens})).ok();
    assert_eq!(text["content"], "Hello, siskin! 鳥");
    let pieces = tokenize(json!({"with_pieces": true}));
    let ids: Vec<Value> = pieces.iter().map(|piece| piece["id"].clone()).collect();
    assert_eq!(ids, tokens);
    let bytes = pieces.iter().flat_map(|piece| match &piece["piece"] {
        Value::String(text) => text.as_bytes().to_vec(),
        bytes => serde_json::from_value(bytes.clone()).unwrap(),
    });
    assert_eq!(String::from_utf8(bytes.collect()).unwrap(), "Hello, siskin! 鳥");
    // A control token that is spelled, and one that is only text.
    let eos = get(&at("/props")).ok()["eos_token"].clone();
    let count = |special: bool| {
        let body = json!({"content": eos, "parse_special": special});
        post(&at("/tokenize"), &body).ok()["tokens"].as_array().unwrap().len()
    };
    assert!(count(true) == 1 && count(false) > 1);
}

#[test]
fn what_is_wrong_is_said_in_llama_cpp_s_form() {
    for (path, body, status, kind, said) in [
        ("/completion", json!({}), 400, "invalid_request_error", "prompt: expected"),
        ("/completion", json!({"prompt": ["a", "b"]}), 400, "invalid_request_error", "several prompts"),
        (
            "/completion",
            json!({"prompt": "a", "grammar": "root ::= b"}),
            400,
            "invalid_request_error",
            "grammar: GBNF grammar",
        ),
        ("/completion", json!({"prompt": "a", "samplers": ["best"]}), 400, "invalid_request_error", "best"),
        ("/completion", json!({"prompt": "a", "logit_bias": 3}), 400, "invalid_request_error", "logit_bias"),
        ("/completion", json!({"prompt": [1 << 30]}), 400, "invalid_request_error", "token"),
        ("/completion", json!({"prompt": "a", "model": "other"}), 404, "not_found_error", "other"),
        ("/infill", json!({"input_prefix": "a", "input_suffix": "b"}), 501, "not_supported_error", "middle"),
        ("/tokenize", json!({}), 400, "invalid_request_error", "content is missing"),
        ("/detokenize", json!({"tokens": ["a"]}), 400, "invalid_request_error", "tokens: expected"),
        ("/apply-template", json!({}), 400, "invalid_request_error", "messages: expected"),
        ("/nothing", json!({}), 404, "not_found_error", "there is nothing at /nothing"),
    ] {
        let reply = post(&at(path), &body);
        assert_eq!(reply.status, status, "{path} {body}: {reply:?}");
        let error = &reply.json()["error"];
        assert_eq!((&error["code"], &error["type"]), (&json!(status), &json!(kind)), "{path} {body}");
        assert!(error["message"].as_str().unwrap().contains(said), "{path} {body}: {error}");
    }
    let long = completion(&json!({"prompt": "word ".repeat(600)}));
    let error = &long.json()["error"];
    assert_eq!((&error["type"], &error["n_ctx"]), (&json!("exceed_context_size_error"), &json!(512)));
}

/// The demo model with a vocabulary whose last tokens are those for filling in.
fn model_that_fills_in(folder: &Path) -> PathBuf {
    const TOKENS: [&str; 4] = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|file_sep|>"];
    const CONTROL: i32 = 3;
    let demo = Gguf::open(&crate::demo()).unwrap();
    let texts = |key: &str| -> Vec<Vec<u8>> {
        demo.array(key).unwrap().unwrap().iter().map(|text| text.as_bytes().unwrap().to_vec()).collect()
    };
    let mut tokens = texts("tokenizer.ggml.tokens");
    let first = tokens.len() - TOKENS.len();
    tokens.splice(first.., TOKENS.map(|text| text.as_bytes().to_vec()));
    let types = demo.array("tokenizer.ggml.token_type").unwrap().unwrap();
    let mut types: Vec<i32> = types.iter().map(|kind| kind.as_i32().unwrap()).collect();
    types[first..].fill(CONTROL);
    // What these were made of.
    let mut merges = texts("tokenizer.ggml.merges");
    merges.truncate(merges.len() - TOKENS.len());
    let mut builder = Builder::new();
    for (key, value) in demo.metadata() {
        builder.copy(key, value).unwrap();
    }
    builder.set("tokenizer.ggml.tokens", OwnedValue::Array(OwnedArray::Str(tokens))).unwrap();
    builder.set("tokenizer.ggml.token_type", OwnedValue::Array(OwnedArray::I32(types))).unwrap();
    builder.set("tokenizer.ggml.merges", OwnedValue::Array(OwnedArray::Str(merges))).unwrap();
    for tensor in demo.tensors() {
        builder.tensor(&tensor.name, &tensor.shape, tensor.ty).unwrap();
    }
    let mut writer = builder.start(Vec::new()).unwrap();
    for tensor in demo.tensors() {
        writer.tensor(&tensor.name, demo.data(tensor)).unwrap();
    }
    let path = folder.join("fills.gguf");
    std::fs::write(&path, writer.finish().unwrap()).unwrap();
    path
}

#[test]
fn a_model_that_was_taught_to_fills_in_the_middle() {
    let folder = tempfile::tempdir().unwrap();
    let file = model_that_fills_in(folder.path());
    let server = start(|options| options.models = vec![("fills".to_owned(), ModelSource::File(file))]);
    let tokens = |text: &str| {
        let body = json!({"content": text, "parse_special": false});
        post(&format!("{server}/tokenize"), &body).ok()["tokens"].as_array().unwrap().clone()
    };
    let control = |text: &str| {
        let body = json!({"content": text});
        post(&format!("{server}/tokenize"), &body).ok()["tokens"].as_array().unwrap().clone()
    };
    let [prefix, suffix, middle] = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"].map(control);
    assert_eq!(prefix.len(), 1);
    // What a text spells stays text.
    let (before, after) = ("The bird <|fim_middle|> ", " on a branch.");
    let prompt = [prefix, tokens(before), suffix, tokens(after), middle].concat();
    let settings = json!({"temperature": 0, "n_predict": 8});
    let ask = |path: &str, more: Value| {
        let mut body = settings.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post(&format!("{server}{path}"), &body).ok()
    };
    let expected = ask("/completion", json!({"prompt": prompt}));
    let filled = ask(
        "/infill",
        json!({"input_prefix": "The bird ", "prompt": "<|fim_middle|> ", "input_suffix": after}),
    );
    assert_eq!(filled["tokens_evaluated"], prompt.len());
    assert_eq!(filled["content"], expected["content"]);
    let generated = json!({"prompt": before, "suffix": after, "stream": false,
        "options": {"temperature": 0, "num_predict": 8}});
    let generated = post(&format!("{server}/api/generate"), &generated).ok();
    assert_eq!(generated["prompt_eval_count"], prompt.len());
    assert_eq!(generated["response"], expected["content"]);
    let more = json!({"input_prefix": before, "input_suffix": after,
        "input_extra": [{"filename": "a.txt", "text": "A siskin."}]});
    let files = control("<|file_sep|>").len() * 2 + tokens("a.txt\nA siskin.\n").len() + tokens("\n").len();
    assert_eq!(ask("/infill", more)["tokens_evaluated"], prompt.len() + files);
}
