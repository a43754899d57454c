//! How tools are told to models whose templates have no place for them.

use std::fmt::Write as _;

use super::super::template::{Json, Message};
use super::{field, written};

/// A conversation for a model whose template tells of no tools: a system message tells of them, calls and results become text,
/// all in the syntax [`Hermes`](super::ToolSyntax::Hermes), which most models have seen.
pub fn told(messages: &[Message], tools: &[Json]) -> Vec<Message> {
    let mut text = String::from("You may call one or more functions. They are:\n<tools>\n");
    for tool in tools {
        let _ = writeln!(text, "{}", written(field(tool, "function").unwrap_or(tool)));
    }
    text.push_str(
        "</tools>\nTo call one, answer with its name and arguments as JSON within these tags:\n<tool_call>\n\
         {\"name\": NAME, \"arguments\": ARGUMENTS}\n</tool_call>",
    );
    let (system, rest) = match messages.split_first() {
        Some((first, rest)) if first.role == "system" => (format!("{}\n\n{text}", first.content), rest),
        _ => (text, messages),
    };
    [Message::new("system", system)].into_iter().chain(rest.iter().map(message)).collect()
}

fn message(message: &Message) -> Message {
    if message.role == "tool" {
        return Message::new("user", format!("<tool_response>\n{}\n</tool_response>", message.content));
    }
    let calls = message.fields.iter().find(|(name, _)| name == "tool_calls");
    let Some((_, Json::Array(calls))) = calls else { return message.clone() };
    let mut said = message.content.clone();
    for call in calls {
        let function = field(call, "function").unwrap_or(call);
        let name = written(field(function, "name").unwrap_or(&Json::Null));
        let arguments = written(field(function, "arguments").unwrap_or(&Json::Null));
        let line = if said.is_empty() { "" } else { "\n" };
        let _ =
            write!(said, "{line}<tool_call>\n{{\"name\": {name}, \"arguments\": {arguments}}}\n</tool_call>");
    }
    let fields = message.fields.iter().filter(|(name, _)| name != "tool_calls" && name != "content");
    Message { role: message.role.clone(), content: said, fields: fields.cloned().collect() }
}
