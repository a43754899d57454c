//! OpenAI's API.

use crate::client::{Reply, get, post};
use crate::server;
use serde_json::{Value, json};

fn ask(path: &str, base: Value, more: &Value) -> Reply {
    let mut body = base;
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    post(&format!("{}{path}", server()), &body)
}

fn chat(more: &Value) -> Reply {
    let base = json!({"messages": [{"role": "user", "content": "Hello"}], "temperature": 0, "max_tokens": 5});
    ask("/v1/chat/completions", base, more)
}

fn completion(more: &Value) -> Reply {
    ask("/v1/completions", json!({"prompt": "A siskin is", "temperature": 0, "max_tokens": 6}), more)
}

fn response(more: &Value) -> Reply {
    ask("/v1/responses", json!({"input": "Hello", "temperature": 0, "max_output_tokens": 5}), more)
}

#[test]
fn models_are_listed() {
    let models = get(&format!("{}/v1/models", server())).ok();
    assert_eq!((&models["object"], &models["data"][0]["id"]), (&json!("list"), &json!("demo")));
    assert_eq!(get(&format!("{}/v1/models/demo", server())).ok(), models["data"][0]);
    let missing = get(&format!("{}/v1/models/a/b", server()));
    assert_eq!((missing.status, &missing.json()["error"]["code"]), (404, &json!("model_not_found")));
}

#[test]
fn a_chat_has_several_answers_and_their_probabilities() {
    let whole = chat(&json!({"n": 2, "seed": 1, "temperature": 4, "logprobs": true, "top_logprobs": 3})).ok();
    let choices = whole["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 2);
    assert_ne!(choices[0]["message"]["content"], choices[1]["message"]["content"]);
    let tokens: usize =
        choices.iter().map(|choice| choice["logprobs"]["content"].as_array().unwrap().len()).sum();
    assert_eq!(whole["usage"]["completion_tokens"], json!(tokens));
    // The second is what the next seed gives alone.
    let alone = chat(&json!({"seed": 2, "temperature": 4})).ok();
    assert_eq!(alone["choices"][0]["message"]["content"], choices[1]["message"]["content"]);
}

#[test]
fn a_chat_s_events_end_with_what_it_took() {
    let reply = chat(&json!({"stream": true, "stream_options": {"include_usage": true}}));
    assert!(reply.body.ends_with("data: [DONE]\n\n"));
    let data = reply.data();
    assert_eq!(data[0]["choices"][0]["delta"]["role"], "assistant");
    let last = data.last().unwrap();
    assert_eq!((&last["choices"], &last["usage"]["completion_tokens"]), (&json!([]), &json!(5)));
    let reasons = data.iter().filter_map(|part| part["choices"][0]["finish_reason"].as_str());
    assert_eq!(reasons.collect::<Vec<_>>(), ["length"]);
}

#[test]
fn completions_echo_and_number_their_choices() {
    let whole = completion(&json!({"prompt": ["A siskin is", "The sun"], "echo": true, "n": 2})).ok();
    let texts: Vec<&str> =
        whole["choices"].as_array().unwrap().iter().map(|choice| choice["text"].as_str().unwrap()).collect();
    assert_eq!(texts.len(), 4);
    assert!(texts[..2].iter().all(|text| text.starts_with("A siskin is")), "{texts:?}");
    assert!(texts[2..].iter().all(|text| text.starts_with("The sun")), "{texts:?}");
    assert_eq!(whole["usage"]["completion_tokens"], 24);
    let mut streamed = vec![String::new(); 4];
    let reply =
        completion(&json!({"prompt": ["A siskin is", "The sun"], "echo": true, "n": 2, "stream": true,
        "stream_options": {"include_usage": true}}));
    for part in reply.data() {
        if let Some(choice) = part["choices"].get(0) {
            let index = choice["index"].as_u64().unwrap() as usize;
            streamed[index].push_str(choice["text"].as_str().unwrap());
        }
    }
    assert_eq!(streamed, texts);
    assert_eq!(reply.data().last().unwrap()["usage"]["completion_tokens"], 24);
}

#[test]
fn completions_have_probabilities_in_the_old_form() {
    let logprobs = completion(&json!({"logprobs": 2})).ok()["choices"][0]["logprobs"].clone();
    for list in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(logprobs[list].as_array().unwrap().len(), 6, "{list}");
    }
    let (token, top) = (logprobs["tokens"][0].as_str().unwrap(), &logprobs["top_logprobs"][0]);
    assert_eq!((top.as_object().unwrap().len(), &top[token]), (2, &logprobs["token_logprobs"][0]));
    assert_eq!(logprobs["text_offset"][1], json!(token.chars().count()));
    let mut streamed = Vec::new();
    for part in completion(&json!({"logprobs": 2, "stream": true})).data() {
        if let Some(offsets) = part["choices"][0]["logprobs"]["text_offset"].as_array() {
            streamed.extend(offsets.clone());
        }
    }
    assert_eq!(json!(streamed), logprobs["text_offset"]);
}

#[test]
fn a_response_is_made_of_items() {
    let whole = response(&json!({"instructions": "You are a bird.", "metadata": {"a": "b"}})).ok();
    assert_eq!((&whole["object"], &whole["status"]), (&json!("response"), &json!("incomplete")));
    assert_eq!(whole["incomplete_details"]["reason"], "max_output_tokens");
    assert_eq!((&whole["instructions"], &whole["metadata"]), (&json!("You are a bird."), &json!({"a": "b"})));
    assert_eq!(whole["usage"]["output_tokens"], 5);
    let item = &whole["output"][0];
    assert_eq!((&item["type"], &item["role"]), (&json!("message"), &json!("assistant")));
    let done = response(&json!({"max_output_tokens": 40})).ok();
    assert_eq!((&done["status"], &done["incomplete_details"]), (&json!("completed"), &Value::Null));
    // A text is the same as the item that says it.
    let items = json!({"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}]});
    let said = |more: &Value| response(more).ok()["output"][0]["content"][0]["text"].clone();
    assert_eq!(said(&items), said(&json!({})));
}

#[test]
fn a_response_s_events_come_in_their_order() {
    let reply =
        response(&json!({"stream": true, "include": ["message.output_text.logprobs"], "top_logprobs": 1}));
    let data = reply.data();
    let names: Vec<String> = reply.events().into_iter().map(|(name, _)| name).collect();
    for (number, (name, event)) in names.iter().zip(&data).enumerate() {
        assert_eq!((&event["type"], &event["sequence_number"]), (&json!(name), &json!(number)));
    }
    let others: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| !name.ends_with(".delta")).collect();
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ];
    assert_eq!(others, expected);
    let whole = &data.last().unwrap()["response"];
    let part = &whole["output"][0]["content"][0];
    assert_eq!(part["logprobs"].as_array().unwrap().len(), 5);
    let streamed = data.iter().filter_map(|event| event["logprobs"].as_array());
    let deltas: usize = streamed.map(Vec::len).sum();
    // Those of deltas, and all once more in the end.
    assert_eq!(deltas, 10);
    let text: String = data.iter().filter_map(|event| event["delta"].as_str()).collect();
    assert_eq!(part["text"], json!(text));
}

#[test]
fn what_is_wrong_is_said_in_openai_s_form() {
    for (reply, status, said) in [
        (chat(&json!({"model": "other"})), 404, "model \"other\" not found"),
        (chat(&json!({"messages": []})), 400, "messages: expected"),
        (chat(&json!({"tools": [{"type": "function"}]})), 400, "tools[0]: expected an object"),
        (chat(&json!({"response_format": {"type": "xml"}})), 400, "response_format.type: expected text"),
        (chat(&json!({"top_p": 3})), 400, "top_p"),
        (chat(&json!({"n": 0})), 400, "n: expected"),
        (completion(&json!({"suffix": "b"})), 400, "suffix: not supported"),
        (completion(&json!({"best_of": 3})), 400, "best_of: only"),
        (completion(&json!({"prompt": null})), 400, "prompt: expected"),
        (completion(&json!({"echo": true, "logprobs": 1})), 400, "echo: not supported with logprobs"),
        (response(&json!({"previous_response_id": "resp_1"})), 400, "previous_response_id: not supported"),
        (
            response(&json!({"text": {"format": {"type": "json_schema"}}})),
            400,
            "text.format.schema is missing",
        ),
        (response(&json!({"input": null})), 400, "input: expected"),
        (post(&format!("{}/v1/nothing", server()), &json!({})), 404, "there is nothing at /v1/nothing"),
    ] {
        assert_eq!(reply.status, status, "{reply:?}");
        let error = &reply.json()["error"];
        assert!(error["message"].as_str().unwrap().contains(said), "{error}");
        assert!(error["type"].is_string() && error.get("param").is_some(), "{error}");
    }
    chat(&json!({"response_format": {"type": "text"}, "tools": [], "store": false, "user": "a"})).ok();
}
