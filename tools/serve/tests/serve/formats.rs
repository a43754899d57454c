//! Answers that keep to JSON, a schema or a grammar, through each API.

use crate::client::{Reply, post};
use crate::{demo, server, start, start_one};
use serde_json::{Value, json};
use siskin::grammar::GrammarSource;
use siskin::sampler::{SamplerOptions, SamplerOverrides};
use siskin::{Answer, AnswerLimits, Model, SessionOptions};
use siskin_serve::AuditOptions;

fn ask(path: &str, more: Value) -> Reply {
    let hello = json!([{"role": "user", "content": "turn on the light in the kitchen"}]);
    let mut body = json!({"seed": 7, "max_tokens": 200, "max_output_tokens": 200, "messages": hello.clone(),
        "stream": false, "input": hello, "options": {"seed": 7, "num_predict": 200}});
    if path.starts_with("/completion") || path.starts_with("/api/generate") {
        body["prompt"] = json!("A siskin is");
    } else if path == "/v1/responses" {
        body.as_object_mut().unwrap().remove("messages");
    }
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    post(&format!("{}{path}", server()), &body)
}

/// What only a constraint has the model say.
fn schema() -> Value {
    json!({"type": "object", "additionalProperties": false, "required": ["colour", "wings"], "properties": {
        "colour": {"enum": ["green", "yellow"]}, "wings": {"type": "integer", "minimum": 2, "maximum": 4}}})
}

#[track_caller]
fn check(text: &Value) {
    let value: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
    let fields = value.as_object().unwrap();
    assert_eq!(fields.len(), 2, "{value}");
    assert!(value["colour"] == "green" || value["colour"] == "yellow", "{value}");
    assert!((2..=4).contains(&value["wings"].as_u64().unwrap()), "{value}");
}

#[test]
fn a_grammar_that_cannot_be_gone_on_with_is_the_request_s_fault() {
    let properties: serde_json::Map<String, Value> =
        (0..1000).map(|at| (format!("p{at}"), json!({"type": "integer"}))).collect();
    let wide = json!({"type": "object", "properties": properties});
    let deep = json!({"type": "object", "properties": {"a": wide}, "required": ["a"]});
    for schema in [wide.clone(), deep] {
        let body = json!({"prompt": "a", "n_predict": 40, "temperature": 0, "json_schema": schema});
        let reply = post(&format!("{}/completion", server()), &body);
        assert_eq!(reply.status, 400, "{reply:?}");
        assert!(reply.body.contains("max is 2000"), "{reply:?}");
    }
}

#[test]
fn answers_validate_through_each_api() {
    let chat = ask(
        "/v1/chat/completions",
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "bird", "strict": true, "schema": schema()}}}),
    );
    check(&chat.ok()["choices"][0]["message"]["content"]);
    assert_eq!(chat.ok()["choices"][0]["finish_reason"], "stop");
    let format = json!({"type": "json_schema", "name": "bird", "schema": schema()});
    let response = ask("/v1/responses", json!({"text": {"format": format}})).ok();
    check(&response["output"][0]["content"][0]["text"]);
    assert_eq!(response["text"]["format"]["name"], "bird");
    let format = json!({"type": "json_schema", "schema": schema()});
    let message = ask("/v1/messages", json!({"output_config": {"format": format}})).ok();
    check(&message["content"][0]["text"]);
    check(&ask("/api/chat", json!({"format": schema()})).ok()["message"]["content"]);
    check(&ask("/api/generate", json!({"format": schema()})).ok()["response"]);
    check(&ask("/completion", json!({"json_schema": schema()})).ok()["content"]);
    let any = ask("/api/chat", json!({"format": "json", "options": {"num_predict": 400, "seed": 2}})).ok();
    assert!(serde_json::from_str::<Value>(any["message"]["content"].as_str().unwrap()).unwrap().is_object());
    let grammar = json!({"grammar": "root ::= \"green\" | \"yellow\""});
    let text = ask("/completion", grammar).ok()["content"].clone();
    assert!(text == "green" || text == "yellow", "{text}");
}

#[test]
fn a_format_that_cannot_be_kept_is_refused_by_its_field() {
    let not = json!({"not": {"type": "string"}});
    let format = json!({"type": "json_schema", "json_schema": {"name": "a", "schema": not}});
    for (path, more, field) in [
        ("/v1/chat/completions", json!({"response_format": format}), "response_format: JSON schema"),
        ("/api/chat", json!({"format": not}), "format: JSON schema"),
        ("/completion", json!({"json_schema": not}), "json_schema: JSON schema"),
        ("/completion", json!({"grammar": "root ::= b"}), "grammar: GBNF grammar"),
        (
            "/v1/responses",
            json!({"text": {"format": {"type": "json_schema", "name": "a", "schema": not}}}),
            "text.format: JSON schema",
        ),
    ] {
        let reply = ask(path, more);
        assert_eq!(reply.status, 400, "{path}: {reply:?}");
        assert!(reply.body.contains(field), "{path}: {reply:?}");
    }
}

#[test]
fn a_server_without_grammars_says_so() {
    let server = start(|options| options.grammars = false);
    let body = json!({"messages": [{"role": "user", "content": "a"}], "format": "json"});
    let reply = post(&format!("{server}/api/chat"), &body);
    assert_eq!((reply.status, reply.body.contains("without grammars")), (501, true), "{reply:?}");
}

#[test]
fn the_log_has_all_that_such_an_answer_is_made_again_from() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let audit = |texts| AuditOptions { file: file.clone(), texts, bytes: 1 << 20 };
    for texts in [false, true] {
        let (server, thread) = start_one(|options| options.audit = Some(audit(texts)));
        let body =
            json!({"messages": [{"role": "user", "content": "a"}], "format": schema(), "stream": false});
        post(&format!("{}/api/chat", server.address()), &body).ok();
        server.stop();
        thread.join().unwrap();
    }
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&lines[0]["grammar"]["kind"], &lines[0]["grammar"]["text"]),
        (&json!("json_schema"), &json!(null))
    );
    let line = &lines[1];
    let tokens = |name: &str| -> Vec<u32> { serde_json::from_value(line[name].clone()).unwrap() };
    let mut sampling = SamplerOverrides::default();
    for (name, value) in line["sampling"].as_object().unwrap() {
        let value = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(sampling.set(name, &value), Some(true), "{name}");
    }
    let sampling = SamplerOptions::default().overlay(&sampling).seed(line["seed"].as_u64().unwrap());
    let model = Model::open(demo()).unwrap();
    let text = line["grammar"]["text"].as_str().unwrap().to_owned();
    let source = GrammarSource::from_named(line["grammar"]["kind"].as_str().unwrap(), text).unwrap();
    let session = model.session(&SessionOptions::default().context(512).threads(1)).unwrap();
    let sampler = session.sampler(&sampling).unwrap();
    let mut answer = Answer::with_sampler(session, sampler);
    answer.set_limits(AnswerLimits::default());
    answer.set_grammar(Some(model.grammar(&source).unwrap()));
    answer.ask_tokens(&tokens("prompt")).unwrap();
    while answer.next_piece().unwrap().is_some() {}
    assert_eq!(answer.tokens(), tokens("answer"));
}
