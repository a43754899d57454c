//! Calls of tools, through each API: the demo model was not trained to call any, so what is right is the constraint's work.

use crate::client::{Reply, post};
use crate::server;
use serde_json::{Value, json};

/// Tools as OpenAI's chats and Ollama have them.
fn tools() -> Value {
    let light = json!({"type": "object", "required": ["room", "level"], "properties": {
        "room": {"enum": ["kitchen", "hall"]}, "level": {"type": "integer", "minimum": 0, "maximum": 9}}});
    json!([
        {"type": "function", "function": {"name": "set_light", "description": "Sets a light.", "parameters": light}},
        {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}},
    ])
}

fn hello() -> Value {
    json!([{"role": "user", "content": "Turn on the kitchen light."}])
}

fn ask(path: &str, base: Value, more: &Value) -> Reply {
    let mut body = base;
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    post(&format!("{}{path}", server()), &body)
}

fn chat(more: &Value) -> Reply {
    let base = json!({"messages": hello(), "tools": tools(), "tool_choice": "required", "seed": 5, "max_tokens": 150,
        "parallel_tool_calls": false});
    ask("/v1/chat/completions", base, more)
}

/// Whether a call is one of the tools'.
#[track_caller]
fn check(name: &Value, arguments: &Value) {
    let fields = arguments.as_object().unwrap();
    match name.as_str().unwrap() {
        "set_light" => {
            assert_eq!(fields.len(), 2, "{arguments}");
            assert!(arguments["room"] == "kitchen" || arguments["room"] == "hall", "{arguments}");
            assert!(arguments["level"].as_u64().unwrap() <= 9, "{arguments}");
        }
        "get_time" => assert!(fields.is_empty(), "{arguments}"),
        other => panic!("{other}"),
    }
}

fn parsed(text: &Value) -> Value {
    serde_json::from_str(text.as_str().unwrap()).unwrap()
}

#[test]
fn a_chat_s_calls_keep_to_the_tools() {
    for seed in 0..6 {
        let reply = chat(&json!({"seed": seed, "temperature": 1.5})).ok();
        let choice = &reply["choices"][0];
        assert_eq!(
            (&choice["finish_reason"], &choice["message"]["content"]),
            (&json!("tool_calls"), &Value::Null)
        );
        let calls = choice["message"]["tool_calls"].as_array().unwrap();
        assert_eq!(calls.len(), 1);
        assert_eq!((&calls[0]["type"], calls[0]["id"].as_str().unwrap().len()), (&json!("function"), 9));
        check(&calls[0]["function"]["name"], &parsed(&calls[0]["function"]["arguments"]));
    }
    for name in ["set_light", "get_time"] {
        let named = chat(&json!({"tool_choice": {"type": "function", "function": {"name": name}}})).ok();
        let call = named["choices"][0]["message"]["tool_calls"][0]["function"].clone();
        assert_eq!(call["name"], name);
        check(&call["name"], &parsed(&call["arguments"]));
    }
    let several = chat(&json!({"n": 2, "parallel_tool_calls": true, "max_tokens": 60})).ok();
    for choice in several["choices"].as_array().unwrap() {
        assert!(!choice["message"]["tool_calls"].as_array().unwrap().is_empty(), "{choice}");
    }
}

#[test]
fn a_chat_s_deltas_are_the_same_call() {
    let whole = chat(&json!({})).ok()["choices"][0]["message"]["tool_calls"][0]["function"].clone();
    let data = chat(&json!({"stream": true})).data();
    let calls: Vec<&Value> = data
        .iter()
        .filter_map(|part| part["choices"][0]["delta"].get("tool_calls"))
        .map(|calls| &calls[0])
        .collect();
    assert!(calls.len() >= 2 && calls.iter().all(|call| call["index"] == 0), "{calls:?}");
    assert!(calls[0]["id"].is_string() && calls[1..].iter().all(|call| call["id"].is_null()));
    let arguments: String =
        calls.iter().map(|call| call["function"]["arguments"].as_str().unwrap()).collect();
    assert_eq!((&calls[0]["function"]["name"], &json!(arguments)), (&whole["name"], &whole["arguments"]));
    let reasons: Vec<&str> =
        data.iter().filter_map(|part| part["choices"][0]["finish_reason"].as_str()).collect();
    assert_eq!(reasons, ["tool_calls"]);
}

/// What a stop string leaves of a call is no call to be made.
#[test]
fn a_call_that_a_stop_string_cuts_is_told_as_cut() {
    let named = json!({"type": "function", "function": {"name": "set_light"}});
    let reply = chat(&json!({"tool_choice": named, "stop": ["level"]})).ok();
    let choice = &reply["choices"][0];
    let arguments = choice["message"]["tool_calls"][0]["function"]["arguments"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(arguments).is_err(), "{arguments}");
    assert_eq!(choice["finish_reason"], "length");
}

#[test]
fn without_a_need_to_call_a_text_is_a_text() {
    for more in [json!({"tool_choice": "none"}), json!({"tool_choice": "auto", "temperature": 0})] {
        let reply = chat(&more).ok();
        let choice = &reply["choices"][0];
        // What the model says then is its own affair; no mark is left in it.
        let text = choice["message"]["content"].as_str().unwrap_or_default();
        assert!(!text.contains("tool_call") && !text.contains("<|im_"), "{choice}");
        assert_eq!(choice["message"]["tool_calls"].is_null(), choice["finish_reason"] != "tool_calls");
    }
    let none = chat(&json!({"tool_choice": "none", "temperature": 0})).ok();
    let plain = chat(&json!({"tools": null, "tool_choice": null, "temperature": 0})).ok();
    assert_eq!(none["choices"][0]["message"], plain["choices"][0]["message"]);
}

#[test]
fn ollama_s_calls_have_objects_and_are_told_whole() {
    let base = json!({"messages": hello(), "tools": tools(), "tool_choice": "required", "parallel_tool_calls": false,
        "options": {"seed": 5, "num_predict": 150}});
    let whole = ask("/api/chat", base.clone(), &json!({"stream": false})).ok();
    let call = whole["message"]["tool_calls"][0]["function"].clone();
    check(&call["name"], &call["arguments"]);
    assert_eq!((&whole["message"]["content"], &whole["done_reason"]), (&json!(""), &json!("stop")));
    let lines = ask("/api/chat", base, &json!({})).lines();
    let calls: Vec<&Value> = lines.iter().filter_map(|line| line["message"].get("tool_calls")).collect();
    assert_eq!((calls.len(), &calls[0][0]["function"]), (1, &call));
    assert_eq!(lines.last().unwrap()["done"], true);
}

#[test]
fn a_response_s_calls_are_items() {
    let flat: Vec<Value> = tools()
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| {
            let mut flat = tool["function"].clone();
            flat["type"] = json!("function");
            flat
        })
        .collect();
    let base = json!({"input": hello(), "tools": flat, "tool_choice": "required", "parallel_tool_calls": false, "seed": 5,
        "max_output_tokens": 150});
    let whole = ask("/v1/responses", base.clone(), &json!({})).ok();
    let item = &whole["output"][0];
    assert_eq!((&item["type"], &whole["status"]), (&json!("function_call"), &json!("completed")));
    check(&item["name"], &parsed(&item["arguments"]));
    let events = ask("/v1/responses", base, &json!({"stream": true})).data();
    let of = |kind: &str| events.iter().filter(|event| event["type"] == kind).cloned().collect::<Vec<_>>();
    let deltas: String = of("response.function_call_arguments.delta")
        .iter()
        .map(|event| event["delta"].as_str().unwrap())
        .collect();
    let done = of("response.function_call_arguments.done");
    assert_eq!((done.len(), &done[0]["arguments"]), (1, &json!(deltas)));
    assert_eq!(json!(deltas), item["arguments"]);
    let last = &events.last().unwrap()["response"];
    assert_eq!((last["output"].as_array().unwrap().len(), &last["output"][0]["name"]), (1, &item["name"]));
}

#[test]
fn anthropic_s_calls_are_blocks() {
    let tools: Vec<Value> = tools()
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| json!({"name": tool["function"]["name"], "input_schema": tool["function"]["parameters"]}))
        .collect();
    let base = json!({"messages": hello(), "tools": tools, "max_tokens": 150, "seed": 5,
        "tool_choice": {"type": "any", "disable_parallel_tool_use": true}});
    let whole = ask("/v1/messages", base.clone(), &json!({})).ok();
    let block = &whole["content"][0];
    assert_eq!((&block["type"], &whole["stop_reason"]), (&json!("tool_use"), &json!("tool_use")));
    check(&block["name"], &block["input"]);
    let events = ask("/v1/messages", base, &json!({"stream": true})).data();
    let partial: String = events.iter().filter_map(|event| event["delta"]["partial_json"].as_str()).collect();
    assert_eq!(serde_json::from_str::<Value>(&partial).unwrap(), block["input"]);
    let starts: Vec<&Value> = events
        .iter()
        .filter(|event| event["type"] == "content_block_start")
        .map(|event| &event["content_block"]["type"])
        .collect();
    assert_eq!(starts, ["tool_use"]);
}

#[test]
fn a_conversation_goes_on_behind_a_call() {
    let call =
        json!({"id": "abcdefghi", "type": "function", "function": {"name": "get_time", "arguments": "{}"}});
    let messages = json!([{"role": "user", "content": "What time is it?"},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "abcdefghi", "content": "12:30"}]);
    let reply = chat(&json!({"messages": messages, "tool_choice": "auto", "max_tokens": 20})).ok();
    let alone = chat(&json!({"messages": [messages[0]], "tool_choice": "auto", "max_tokens": 20})).ok();
    let tokens = |reply: &Value| reply["usage"]["prompt_tokens"].as_u64().unwrap();
    assert!(tokens(&reply) > tokens(&alone));
}

#[test]
fn what_is_wrong_with_tools_is_said() {
    let bad = json!([tools()[1], {"type": "function", "function": {"name": "f", "parameters": {"type": "object",
        "properties": {"a": {"not": {}}}}}}]);
    for (more, said) in [
        (json!({"tools": null}), "tool_choice: there are no tools"),
        (json!({"tool_choice": "maybe"}), "tool_choice: expected none, auto"),
        (
            json!({"tool_choice": {"type": "function", "function": {"name": "nothing"}}}),
            "tool_choice: there is no tool",
        ),
        (json!({"response_format": {"type": "json_object"}}), "response_format and tools"),
        (json!({"tools": bad}), "tools[1] (f), parameters: JSON schema"),
        (json!({"tools": [{"function": {"name": "a b"}}]}), "tools[0]: expected a function.name"),
        (json!({"tools": [tools()[1], tools()[1]]}), "two tools are called"),
    ] {
        let reply = chat(&more);
        assert_eq!(reply.status, 400, "{reply:?}");
        let error = reply.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(error.contains(said), "{error}");
    }
}
