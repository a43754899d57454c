//! Chat templates out of model files.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use siskin::gguf::Gguf;
use siskin::gguf::write::{Builder, OwnedArray, OwnedValue};
use siskin::template::{CHATML, ChatTemplate, Message, Rendering};

fn file(keys: impl IntoIterator<Item = (&'static str, OwnedValue)>) -> Gguf {
    let mut builder = Builder::new();
    for (key, value) in keys {
        builder.set(key, value).expect("a key");
    }
    let bytes = builder.start(Vec::new()).and_then(|writer| writer.finish()).expect("a file");
    Gguf::from_bytes("model.gguf", bytes).expect("a well-formed file")
}

#[test]
fn the_models_own_template_and_tokens_are_used() {
    let file = file([
        (
            "tokenizer.chat_template",
            OwnedValue::from("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"),
        ),
        (
            "tokenizer.ggml.tokens",
            OwnedValue::from(OwnedArray::Str(
                ["<unk>", "<s>", "</s>"].map(|token: &str| token.into()).to_vec(),
            )),
        ),
        ("tokenizer.ggml.bos_token_id", OwnedValue::from(1u32)),
        ("tokenizer.ggml.eos_token_id", OwnedValue::from(2u32)),
    ]);
    let template = ChatTemplate::from_gguf(&file).expect("a template");
    assert_eq!(template.render(&[Message::new("user", "Hi")], false).expect("text"), "<s>Hi</s>");
}

#[test]
fn a_model_without_a_template_speaks_chatml() {
    let template = ChatTemplate::from_gguf(&file([])).expect("a template");
    assert_eq!((template.source(), template.is_fallback()), (CHATML, true));
    let text = template.render(&[Message::new("user", "Hi")], true).expect("text");
    assert_eq!(text, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

#[test]
fn a_token_outside_the_vocabulary_is_no_token() {
    let file = file([
        ("tokenizer.chat_template", OwnedValue::from("{{ bos_token is defined }}")),
        (
            "tokenizer.ggml.tokens",
            OwnedValue::from(OwnedArray::Str(["<unk>"].map(|token: &str| token.into()).to_vec())),
        ),
        ("tokenizer.ggml.bos_token_id", OwnedValue::from(4_000_000_000u32)),
    ]);
    let template = ChatTemplate::from_gguf(&file).expect("a template");
    assert_eq!(template.render(&[], false).expect("text"), "False");
}

#[test]
fn a_template_of_the_wrong_type_is_named() {
    let file = file([("tokenizer.chat_template", OwnedValue::from(7u32))]);
    let error = ChatTemplate::from_gguf(&file).expect_err("no text").to_string();
    assert!(error.starts_with("model.gguf: key \"tokenizer.chat_template\": expected string"), "{error}");
}

#[test]
fn conversations_with_tools_have_their_own_template_where_there_is_one() {
    let file = file([
        ("tokenizer.chat_template", OwnedValue::from("plain")),
        ("tokenizer.chat_template.tool_use", OwnedValue::from("tools")),
        ("tokenizer.chat_template.rag", OwnedValue::from("documents")),
    ]);
    let template = ChatTemplate::from_gguf(&file).expect("templates");
    let render = |tools| template.render_with(&[], &Rendering::default().tools(tools)).expect("text");
    assert_eq!((render(None), render(Some(vec![]))), ("plain".to_owned(), "tools".to_owned()));
    assert!(!template.is_fallback());
    let named =
        |name| ChatTemplate::named(&file, name).expect("a template").map(|named| named.source().to_owned());
    assert_eq!((named("rag").as_deref(), named("other")), (Some("documents"), None));
}

#[test]
fn templates_that_have_other_names_only_serve_no_conversation() {
    let named = |name| file([(name, OwnedValue::from("text"))]);
    let template = ChatTemplate::from_gguf(&named("tokenizer.chat_template.default")).expect("a template");
    assert_eq!(template.render(&[], false).expect("text"), "text");
    let template = ChatTemplate::from_gguf(&named("tokenizer.chat_template.rag")).expect("a template");
    let error = template.render(&[], false).expect_err("refused").to_string();
    assert_eq!(
        error,
        "the model's chat templates are called rag; expected one without a name, or called default"
    );
    let template = ChatTemplate::from_gguf(&named("tokenizer.chat_template.tool_use")).expect("a template");
    assert!(template.render(&[], false).is_err());
    let rendering = Rendering::default().tools(vec![]);
    assert_eq!(template.render_with(&[], &rendering).expect("text"), "text");
}
