//! Conversations become the text that Hugging Face's transformers makes of them.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use serde_json::Value;
use siskin::template::{ChatTemplate, Json, Message, Rendering, TemplateError};

fn golden() -> Value {
    serde_json::from_str(include_str!("../goldens/template/template.json")).expect("JSON")
}

fn conversation(turns: &Value) -> Vec<Message> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    turns.as_array().expect("turns").iter().map(|turn| Message::new(text(&turn[0]), text(&turn[1]))).collect()
}

#[test]
fn templates_render_as_in_transformers() {
    let golden = golden();
    let now = golden["now"].as_u64().expect("seconds");
    let conversations: Vec<_> =
        golden["conversations"].as_array().into_iter().flatten().map(conversation).collect();
    let templates = golden["templates"].as_array().expect("templates");
    assert!(templates.len() > 30);
    let mut differences = Vec::new();
    for case in templates {
        let source = case["template"].as_str().expect("a source");
        let template = match ChatTemplate::new(source, Some("<s>"), Some("</s>")) {
            Ok(template) => template,
            Err(error) => {
                differences.push(format!("{}: {error}", case["name"]));
                continue;
            }
        };
        for (messages, outputs) in conversations.iter().zip(case["outputs"].as_array().expect("outputs")) {
            // A template alone is rendered with the prompt for an answer, a model's also without it.
            let outputs = outputs.as_array().expect("outputs");
            let prompts = if outputs.len() == 1 { &[true][..] } else { &[false, true] };
            for (prompt, expected) in prompts.iter().zip(outputs) {
                let found = template.render_at(messages, *prompt, now);
                if !agree(&found, expected) {
                    differences
                        .push(format!("{}:\n  found    {found:?}\n  expected {expected}", case["name"]));
                }
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn agree(found: &Result<String, TemplateError>, expected: &Value) -> bool {
    match (found, &expected["error"]) {
        (Ok(found), Value::Null) => expected == found,
        (Err(TemplateError::Raised { message, .. }), Value::String(expected)) => message == expected,
        _ => false,
    }
}

/// A conversation of `published.json`.
struct Conversation {
    title: String,
    messages: Vec<Message>,
    rendering: Rendering,
}

impl Conversation {
    fn read(title: &str, value: &Json, now: u64) -> Self {
        let mut rendering = Rendering::default().seconds(now);
        let mut messages = Vec::new();
        for (key, value) in entries(value) {
            match (key.as_str(), value) {
                ("messages", Json::Array(turns)) => {
                    messages =
                        turns.iter().cloned().map(|turn| Message::try_from(turn).expect("a turn")).collect();
                }
                ("tools", Json::Array(tools)) => rendering.tools = Some(tools.clone()),
                ("variables", Json::Object(variables)) => rendering.variables = variables.clone(),
                ("add_generation_prompt", Json::Bool(prompt)) => rendering.add_generation_prompt = *prompt,
                _ => unreachable!("{title}: {key}"),
            }
        }
        Conversation { title: title.to_owned(), messages, rendering }
    }
}

fn entries(value: &Json) -> &[(String, Json)] {
    let Json::Object(entries) = value else { unreachable!("an object") };
    entries
}

fn field<'j>(value: &'j Json, name: &str) -> &'j Json {
    entries(value).iter().find(|(key, _)| key == name).map(|(_, value)| value).expect("a field")
}

fn text(value: &Json) -> &str {
    let Json::String(text) = value else { unreachable!("a text") };
    text
}

/// Where transformers fails for want of a value, ours may go on with an empty text, as llama.cpp's does; it never refuses.
#[test]
fn templates_of_published_models_render_as_in_transformers() {
    let other = std::env::var("SISKIN_TEMPLATE_GOLDENS").ok();
    let read = |path: &String| std::fs::read_to_string(path).expect("the goldens that were named");
    let source =
        other.as_ref().map_or_else(|| include_str!("../goldens/template/published.json").to_owned(), read);
    let golden: Json = source.parse().expect("JSON");
    let Json::Integer(now) = *field(&golden, "now") else { unreachable!("seconds") };
    let conversations: Vec<Conversation> = entries(field(&golden, "conversations"))
        .iter()
        .map(|(title, value)| Conversation::read(title, value, now as u64))
        .collect();
    let Json::Array(templates) = field(&golden, "templates") else { unreachable!("templates") };
    let (mut same, mut differences) = (0, Vec::new());
    for case in templates {
        let name = text(field(case, "name"));
        let template = ChatTemplate::new(text(field(case, "template")), Some("<s>"), Some("</s>"));
        let template = match template {
            Ok(template) => template,
            Err(error) => {
                differences.push(format!("{name}: {error}"));
                println!("| {name} | refused: {error} |");
                continue;
            }
        };
        let before = same;
        for Conversation { title, messages, rendering } in &conversations {
            let expected = field(field(case, "outputs"), title);
            let found = template.render_with(messages, rendering);
            let agree = match (&found, expected) {
                (Ok(found), Json::String(expected)) => found == expected,
                (Err(TemplateError::Raised { message, .. }), Json::Object(_)) => {
                    entries(expected) == [("refuses".to_owned(), Json::from(message.as_str()))]
                }
                (Err(TemplateError::Failed { .. }), Json::Object(refused)) => refused[0].0 == "fails",
                _ => false,
            };
            same += usize::from(agree);
            if !agree {
                differences.push(format!("{name}, {title}:\n  found    {found:?}\n  expected {expected:?}"));
            }
        }
        println!("| {name} | {} of {} |", same - before, conversations.len());
    }
    assert!(differences.is_empty(), "{same} agree, these do not:\n{}", differences.join("\n"));
    assert!(other.is_some() || same == 17 * 24);
}

#[test]
fn a_refusal_is_one_line_with_the_templates_line() {
    let template = ChatTemplate::new("\n\n{{ raise_exception('no\nway') }}", None, None).expect("a template");
    let error = template.render(&[], false).expect_err("raised").to_string();
    assert_eq!(error, "chat template line 3 refuses the conversation: no way");
}

#[test]
fn errors_name_the_line() {
    let error = ChatTemplate::new("a\n{% if %}", None, None).expect_err("not Jinja").to_string();
    assert!(error.starts_with("chat template line 2: syntax error: "), "{error}");
    let template =
        ChatTemplate::new("a\nb\n{{ messages[0].content.nothing.more }}", None, None).expect("a template");
    let error = template.render(&[Message::new("user", "x")], false).expect_err("undefined").to_string();
    assert!(error.starts_with("chat template line 3: undefined value"), "{error}");
}

#[test]
fn tokens_that_a_model_lacks_are_undefined() {
    let source = "{{ bos_token is defined }}{{ bos_token }}{{ eos_token is defined }}";
    let template = ChatTemplate::new(source, None, Some("</s>")).expect("a template");
    assert_eq!(template.render(&[], false).expect("text"), "FalseTrue");
}

/// The templates of `published.json` by name.
fn published() -> Vec<(String, ChatTemplate)> {
    let golden: Json = include_str!("../goldens/template/published.json").parse().expect("JSON");
    let Json::Array(templates) = field(&golden, "templates") else { unreachable!("templates") };
    let compiled = |case: &Json| {
        let template = ChatTemplate::new(text(field(case, "template")), Some("<s>"), Some("</s>"));
        (text(field(case, "name")).to_owned(), template.expect("a template"))
    };
    templates.iter().map(compiled).collect()
}

#[test]
fn what_switches_thinking_is_found_in_published_templates() {
    let switches: Vec<(String, &str)> = published()
        .into_iter()
        .filter_map(|(name, template)| Some((name, template.thinking_variable()?)))
        .collect();
    let expected = [
        ("HuggingFaceTB-SmolLM3-3B", "enable_thinking"),
        ("Qwen-QwQ-32B", "enable_thinking"),
        ("Qwen-Qwen3-0.6B", "enable_thinking"),
        ("ibm-granite-granite-3.3-2B-Instruct", "thinking"),
    ];
    assert_eq!(switches, expected.map(|(name, variable)| (name.to_owned(), variable)));
}

#[test]
fn system_messages_that_are_not_taken_go_before_the_user_s() {
    let conversation = [
        Message::new("system", "<eos>\nBe kind."),
        Message::new("user", "Hi"),
        Message::new("assistant", "Hello."),
        Message::new("user", "And?"),
    ];
    let mut without = Vec::new();
    for (name, template) in published() {
        let taken = template.with_system_taken(&conversation);
        if template.takes_system() {
            assert_eq!(*taken, conversation, "{name}");
            continue;
        }
        assert_eq!(taken.first(), Some(&Message::new("user", "<eos>\nBe kind.\n\nHi")), "{name}");
        assert_eq!(taken.get(1..), conversation.get(2..), "{name}");
        let rendered = template.render_traced(&taken, &Rendering::default()).expect(&name);
        let told = rendered.stretches().find(|(stretch, _)| stretch.contains("Be kind."));
        assert!(told.is_some_and(|(stretch, given)| given && stretch.contains("<eos>")), "{name}");
        without.push(name);
    }
    assert_eq!(without, ["google-gemma-2-2b-it"]);
}
