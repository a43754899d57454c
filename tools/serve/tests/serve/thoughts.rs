//! What a model thinks is told apart from what it says, in each API's own way.

use crate::client::post;
use crate::{demo, start};
use serde_json::{Value, json};
use siskin::gguf::Gguf;
use siskin::gguf::write::{Builder, OwnedValue};
use siskin_serve::ModelSource;
use std::path::{Path, PathBuf};

/// The demo model with a template that opens thoughts: it knows of none, and never ends them.
fn model_that_thinks(folder: &Path) -> PathBuf {
    let demo = Gguf::open(&demo()).unwrap();
    let template = demo.str("tokenizer.chat_template").unwrap().unwrap().to_owned() + "<think>\n";
    let mut builder = Builder::new();
    for (key, value) in demo.metadata() {
        builder.copy(key, value).unwrap();
    }
    builder.set("tokenizer.chat_template", OwnedValue::Str(template.into_bytes())).unwrap();
    for tensor in demo.tensors() {
        builder.tensor(&tensor.name, &tensor.shape, tensor.ty).unwrap();
    }
    let mut writer = builder.start(Vec::new()).unwrap();
    for tensor in demo.tensors() {
        writer.tensor(&tensor.name, demo.data(tensor)).unwrap();
    }
    let path = folder.join("thinks.gguf");
    std::fs::write(&path, writer.finish().unwrap()).unwrap();
    path
}

fn joined<'v>(parts: &'v [Value], text: impl Fn(&'v Value) -> &'v Value) -> String {
    parts.iter().filter_map(|part| text(part).as_str()).collect()
}

#[test]
fn thoughts_are_told_apart_from_what_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = model_that_thinks(folder.path());
    let server = start(|options| options.models = vec![("thinks".to_owned(), ModelSource::File(file))]);
    let messages = json!([{"role": "user", "content": "tell me a story about a fox"}]);
    let ask = |path: &str, stream: bool| {
        let body = json!({"messages": messages, "input": messages, "model": "thinks", "temperature": 0,
            "max_tokens": 16, "options": {"temperature": 0, "num_predict": 16}, "stream": stream});
        let mut body = body;
        if path == "/v1/responses" {
            body.as_object_mut().unwrap().remove("max_tokens");
            body["max_output_tokens"] = json!(16);
        }
        post(&format!("{server}{path}"), &body)
    };
    let chat = ask("/v1/chat/completions", false).ok();
    let message = &chat["choices"][0]["message"];
    assert_eq!(message["content"], "");
    let thoughts = message["reasoning_content"].as_str().unwrap();
    assert!(!thoughts.is_empty());
    assert_eq!(
        chat["usage"]["completion_tokens_details"]["reasoning_tokens"],
        chat["usage"]["completion_tokens"]
    );
    let parts = ask("/v1/chat/completions", true).data();
    assert_eq!(joined(&parts, |part| &part["choices"][0]["delta"]["reasoning_content"]), thoughts);

    let answer = ask("/api/chat", false).ok();
    assert_eq!(
        (&answer["message"]["content"], &answer["message"]["thinking"]),
        (&json!(""), &json!(thoughts))
    );
    let lines = ask("/api/chat", true).lines();
    assert_eq!(joined(&lines, |line| &line["message"]["thinking"]), thoughts);

    let message = ask("/v1/messages", false).ok();
    let content = json!([{"type": "thinking", "thinking": thoughts, "signature": ""}]);
    assert_eq!(message["content"], content);
    let events = ask("/v1/messages", true).data();
    assert_eq!(joined(&events, |event| &event["delta"]["thinking"]), thoughts);
    let block = events.iter().find(|event| event["type"] == "content_block_start").unwrap();
    assert_eq!(block["content_block"]["type"], "thinking");

    let response = ask("/v1/responses", false).ok();
    let kinds: Vec<&Value> =
        response["output"].as_array().unwrap().iter().map(|item| &item["type"]).collect();
    assert_eq!(kinds, ["reasoning", "message"]);
    assert_eq!(response["output"][0]["content"], json!([{"type": "reasoning_text", "text": thoughts}]));
    let events = ask("/v1/responses", true).data();
    let deltas: Vec<Value> =
        events.iter().filter(|event| event["type"] == "response.reasoning_text.delta").cloned().collect();
    assert_eq!(joined(&deltas, |event| &event["delta"]), thoughts);
    let last = &events.last().unwrap()["response"];
    let kinds: Vec<&Value> = last["output"].as_array().unwrap().iter().map(|item| &item["type"]).collect();
    assert_eq!(kinds, ["reasoning", "message"]);
}
