//! Calls that are read out of an answer and rendered again by the template of its model are the text that they came from.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use serde_json::Value;
use siskin::template::{ChatTemplate, Json, Message, Rendering};
use siskin::tool_calls::{Tool, ToolPiece, ToolReader, ToolSyntax};

const PARAMETERS: &str = r#"{"type": "object", "properties": {"place": {"type": "string"}, "days": {"type": "integer"},
    "dry": {"type": "boolean"}, "hours": {"type": "array", "items": {"type": "integer"}}}, "required": ["place"]}"#;

/// An answer with a call in each syntax, and the published template, of `published.json`, that renders it.
const ANSWERS: [(&str, ToolSyntax, &str); 11] = [
    ("Qwen-Qwen2.5-7B-Instruct", ToolSyntax::Hermes, HERMES),
    ("Qwen-Qwen3-0.6B", ToolSyntax::Hermes, HERMES),
    ("NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", ToolSyntax::Hermes, HERMES),
    ("NousResearch-Hermes-3-Llama-3.1-8B-tool_use", ToolSyntax::Hermes, HERMES),
    ("Qwen3-Coder", ToolSyntax::Qwen3Coder, QWEN3_CODER),
    ("meta-llama-Llama-3.1-8B-Instruct", ToolSyntax::Llama3, LLAMA),
    ("meta-llama-Llama-3.2-3B-Instruct", ToolSyntax::Llama3, LLAMA),
    (
        "Mistral-Small-3.2-24B-Instruct-2506",
        ToolSyntax::MistralIds,
        "[TOOL_CALLS]weather[CALL_ID]a1b2c3d4e[ARGS]{\"place\": \"Bern \\\"é\\\"\", \"days\": 2}",
    ),
    (
        "mistralai-Ministral-3-14B-Reasoning-2512",
        ToolSyntax::Mistral,
        "[TOOL_CALLS]weather[ARGS]{\"place\": \"Bern \\\"é\\\"\", \"days\": 2}",
    ),
    // Google's template is not ours to keep: one of our own writes calls as it is said to.
    ("", ToolSyntax::FunctionGemma, FUNCTION_GEMMA),
    (
        "",
        ToolSyntax::FunctionGemma,
        "<start_function_call>call:weather{place:<escape>Bern<escape>}<end_function_call>",
    ),
];

const HERMES: &str = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"place\": \"Bern \\\"é\\\"\", \"days\": 2, \
                      \"dry\": true, \"hours\": [1, 2]}}\n</tool_call>";
const LLAMA: &str = "{\"name\": \"weather\", \"parameters\": {\"place\": \"Bern \\\"é\\\"\", \"days\": 2, \"dry\": true, \"hours\": [1, 2]}}";
const QWEN3_CODER: &str = "<tool_call>\n<function=weather>\n<parameter=place>\nBern \"é\"\n\nor 12\n</parameter>\n<parameter=days>\n2\n\
                           </parameter>\n<parameter=dry>\nTrue\n</parameter>\n<parameter=hours>\n[1, 2]\n</parameter>\n</function>\n\
                           </tool_call>";
const FUNCTION_GEMMA: &str = "<start_function_call>call:weather{days:2,dry:true,hours:[1,2],place:<escape>Bern \"é\"<escape>}\
                              <end_function_call>";

/// As vLLM and Google's documents describe what FunctionGemma was trained on.
const OF_GEMMA: &str = r#"
{%- macro value(of) -%}
{%- if of is string -%}{{ '<escape>' + of + '<escape>' }}
{%- elif of is boolean -%}{{ 'true' if of else 'false' }}
{%- elif of is mapping -%}{{ '{' }}{%- for key, one in of | dictsort -%}{{ key }}:{{ value(one) }}{{ ',' if not loop.last }}{%- endfor -%}{{ '}' }}
{%- elif of is sequence -%}[{%- for one in of -%}{{ value(one) }}{{ ',' if not loop.last }}{%- endfor -%}]
{%- else -%}{{ of }}{%- endif -%}
{%- endmacro -%}
{%- for tool in tools or [] -%}<start_function_declaration>declaration:{{ tool.function.name }}<end_function_declaration>{%- endfor -%}
{%- for message in messages -%}
<start_of_turn>{{ message.role }}{{ '\n' }}{{ message.content }}
{%- for call in message.tool_calls or [] -%}
<start_function_call>call:{{ call.function.name }}{{ value(call.function.arguments) }}<end_function_call>
{%- endfor -%}
<end_of_turn>
{%- endfor -%}"#;

fn template(name: &str) -> ChatTemplate {
    let published: Value =
        serde_json::from_str(include_str!("../goldens/template/published.json")).expect("JSON");
    let all = published["templates"].as_array().expect("templates");
    let found = all.iter().find(|template| template["name"] == name);
    let source = found.map_or(OF_GEMMA, |template| template["template"].as_str().expect("a source"));
    ChatTemplate::new(source, Some("<s>"), Some("</s>")).expect("a template")
}

#[test]
fn calls_rendered_again_are_the_text_that_they_were_read_from() {
    let function = format!(r#"{{"name": "weather", "description": "Tells.", "parameters": {PARAMETERS}}}"#);
    let tool: Json = format!(r#"{{"type": "function", "function": {function}}}"#).parse().expect("JSON");
    let tools = [Tool::read(&tool).expect("a tool")];
    for (name, syntax, answer) in ANSWERS {
        let mut calls: Vec<(String, Option<String>, String)> = Vec::new();
        let mut reader = ToolReader::new(syntax, &tools);
        let take_up = |piece| match piece {
            ToolPiece::Text(text) => unreachable!("{name}: {text}"),
            ToolPiece::Call { name, id, .. } => calls.push((name, id, String::new())),
            ToolPiece::Arguments(number, more) => calls[number].2.push_str(&more),
        };
        reader.push(answer, take_up);
        let call = |(name, id, arguments): &(String, Option<String>, String)| {
            let id = id.as_deref().unwrap_or("abcdefgh0");
            let function = format!(r#"{{"name": "{name}", "arguments": {arguments}}}"#);
            format!(r#"{{"type": "function", "id": "{id}", "function": {function}}}"#)
        };
        let calls: Vec<String> = calls.iter().map(call).collect();
        let calls: Json = format!("[{}]", calls.join(", ")).parse().expect("JSON");
        let messages =
            [Message::new("user", "Rain?"), Message::new("assistant", "").with("tool_calls", calls)];
        let mut rendering = Rendering::default().tools(vec![tool.clone()]).seconds(0);
        rendering.add_generation_prompt = false;
        let rendered = template(name).render_with(&messages, &rendering).expect("a conversation");
        assert!(rendered.contains(answer), "{name}: {answer}\n{rendered}");
    }
}
