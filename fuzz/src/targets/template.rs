//! A chat template and the conversation that it renders, both a stranger's: an end comes soon, with a text or an error.

use super::golden;
use serde_json::Value;
use siskin::template::{ChatTemplate, Json, MAX_OUTPUT, Message, Rendering};

/// Published templates, and those that ask one question each, with conversations and tools.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for file in ["template/published.json", "template/template.json"] {
        let goldens: Value = serde_json::from_slice(&golden(file)).expect("a golden");
        let conversations: Vec<String> = match &goldens["conversations"] {
            Value::Object(named) => named.values().map(|value| value["messages"].to_string()).collect(),
            other => other.as_array().into_iter().flatten().map(messages).collect(),
        };
        for (number, template) in goldens["templates"].as_array().into_iter().flatten().enumerate() {
            let source = template["template"].as_str().unwrap_or_default();
            let conversation = &conversations[number % conversations.len()];
            seeds.push([source.as_bytes(), b"\0", conversation.as_bytes()].concat());
        }
    }
    seeds
}

/// A conversation of pairs.
fn messages(pairs: &Value) -> String {
    let message = |pair: &Value| serde_json::json!({"role": pair[0], "content": pair[1]});
    Value::Array(pairs.as_array().into_iter().flatten().map(message).collect()).to_string()
}

/// The template is what stands before the first NUL, the rest the messages in JSON, or else what a user says.
pub fn run(data: &[u8]) {
    let end = data.iter().position(|&byte| byte == 0).unwrap_or(data.len());
    let (source, conversation) =
        (String::from_utf8_lossy(&data[..end]), data.get(end + 1..).unwrap_or_default());
    let conversation = String::from_utf8_lossy(conversation);
    let Ok(template) = ChatTemplate::new(&source, Some("<s>"), Some("</s>")) else { return };
    let messages: Vec<Message> = match conversation.parse() {
        Ok(Json::Array(items)) => items.into_iter().filter_map(|item| Message::try_from(item).ok()).collect(),
        _ => vec![Message::new("user", conversation)],
    };
    let tool = r#"{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}"#;
    let rendering = Rendering::default()
        .tools(vec![tool.parse().expect("JSON")])
        .variables(vec![("enable_thinking".to_owned(), Json::from(true))])
        .seconds(1_772_694_489);
    let first = template.render_with(&messages, &rendering);
    match &first {
        Ok(text) => assert!(text.len() <= MAX_OUTPUT),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let again = template.render_with(&messages, &rendering);
    assert_eq!(first.ok(), again.ok(), "the same conversation, the same text");
}
