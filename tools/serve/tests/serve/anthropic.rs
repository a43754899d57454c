//! Anthropic's API.

use crate::client::post;
use crate::server;
use serde_json::{Value, json};

fn hello(more: &Value) -> Value {
    let mut body = json!({"model": "demo", "max_tokens": 5, "temperature": 0,
        "messages": [{"role": "user", "content": "Hello"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn messages(more: &Value) -> crate::client::Reply {
    post(&format!("{}/v1/messages", server()), &hello(more))
}

#[test]
fn a_message_has_its_content_and_what_it_took() {
    let message = messages(&json!({"max_tokens": 3})).ok();
    assert_eq!((&message["type"], &message["role"]), (&json!("message"), &json!("assistant")));
    assert!(message["id"].as_str().unwrap().starts_with("msg_"));
    assert_eq!(message["content"][0]["type"], "text");
    assert_eq!((&message["stop_reason"], &message["stop_sequence"]), (&json!("max_tokens"), &Value::Null));
    assert_eq!(message["usage"]["output_tokens"], 3);

    // All of the prompt counts, whether it was there already or not.
    let usage = &message["usage"];
    let input = usage["input_tokens"].as_u64().unwrap() + usage["cache_read_input_tokens"].as_u64().unwrap();
    let counted = post(&format!("{}/v1/messages/count_tokens", server()), &hello(&json!({}))).ok();
    assert_eq!(counted, json!({"input_tokens": input}));
}

#[test]
fn it_is_said_why_an_answer_ended() {
    let whole = messages(&json!({"max_tokens": 40})).ok();
    assert_eq!(whole["stop_reason"], "end_turn");
    let text = whole["content"][0]["text"].as_str().unwrap();
    let stop = text.split(' ').nth(1).unwrap();
    for stream in [false, true] {
        let reply = messages(&json!({"max_tokens": 40, "stop_sequences": ["~~~", stop], "stream": stream}));
        let ended = match stream {
            false => reply.ok(),
            true => {
                let events = reply.data();
                events.iter().find(|event| event["type"] == "message_delta").unwrap()["delta"].clone()
            }
        };
        assert_eq!((&ended["stop_reason"], &ended["stop_sequence"]), (&json!("stop_sequence"), &json!(stop)));
    }
}

#[test]
fn events_come_in_their_order() {
    let reply = messages(&json!({"stream": true}));
    let names: Vec<String> = reply.events().into_iter().map(|(name, _)| name).collect();
    let data = reply.data();
    assert!(names.iter().zip(&data).all(|(name, data)| data["type"] == json!(name)));
    let (deltas, others): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|name| name == "content_block_delta");
    assert!(deltas.len() > 1);
    let expected = [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(others, expected);
    assert_eq!(data[0]["message"]["content"], json!([]));
    let ended = &data[data.len() - 2];
    assert_eq!(ended["usage"]["output_tokens"], 5);
}

#[test]
fn a_system_s_text_may_be_blocks() {
    let text = json!({"system": "You are a bird."});
    let blocks = json!({"system": [{"type": "text", "text": "You are ", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "a bird."}], "messages": [{"role": "user", "content":
        [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]}]});
    let content = |more: &Value| messages(more).ok()["content"].clone();
    assert_eq!(content(&text), content(&blocks));
    let count = |more: &Value| {
        let counted = post(&format!("{}/v1/messages/count_tokens", server()), &hello(more)).ok();
        counted["input_tokens"].as_u64().unwrap()
    };
    assert_eq!(count(&text), count(&blocks));
    assert!(count(&text) > count(&json!({})));
}

#[test]
fn what_is_wrong_is_said_in_anthropic_s_form() {
    for (more, status, kind, said) in [
        (json!({"model": "other"}), 404, "not_found_error", "model \"other\" not found"),
        (json!({"max_tokens": null}), 400, "invalid_request_error", "max_tokens: expected"),
        (json!({"messages": []}), 400, "invalid_request_error", "messages: expected"),
        (json!({"tools": [{"name": "a b"}]}), 400, "invalid_request_error", "tools[0]: expected"),
        (json!({"temperature": -1}), 400, "invalid_request_error", "temperature"),
        (json!({"thinking": {"type": "deep"}}), 400, "invalid_request_error", "thinking.type: expected"),
        (
            json!({"system": "word ".repeat(600)}),
            400,
            "invalid_request_error",
            "the context has room for 512",
        ),
    ] {
        let reply = messages(&more);
        assert_eq!(reply.status, status, "{more}: {reply:?}");
        let body = reply.json();
        assert_eq!((&body["type"], &body["error"]["type"]), (&json!("error"), &json!(kind)));
        assert!(body["error"]["message"].as_str().unwrap().contains(said), "{more}: {body}");
    }
    assert_eq!(post(&format!("{}/v1/messages/other", server()), &json!({})).json()["type"], "error");
    // What is ignored.
    messages(&json!({"metadata": {"user_id": "a"}, "service_tier": "auto", "tools": [],
        "thinking": {"type": "disabled"}}))
    .ok();
}
