//! What training data becomes, on the demo model.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Helpers of tests may fail as tests do.

use std::path::{Path, PathBuf};

use serde_json::Value;
use siskin::Model;
use siskin::template::{ChatTemplate, Message};
use siskin::tokenizer::Special;
use siskin_adapt::data::{Content, HintKind, Row, Sample, check, encode, read};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn demo() -> Model {
    Model::open(here("../demo/siskin-demo.gguf")).unwrap()
}

fn row(line: usize, turns: &[(&str, &str)]) -> Row {
    let turns = turns.iter().map(|&(role, said)| Message::new(role, said)).collect();
    Row { line, content: Content::Conversation(turns) }
}

/// What a sample says, with what is learned in brackets.
fn said(model: &Model, sample: &Sample) -> String {
    let mut text = String::new();
    let mut is_learned = false;
    for (&token, &learned) in sample.tokens.iter().zip(&sample.learned) {
        if learned != is_learned {
            text.push(if learned { '[' } else { ']' });
            is_learned = learned;
        }
        let piece = match model.tokenizer().piece(token) {
            [] => model.tokenizer().text(token),
            piece => piece,
        };
        text += str::from_utf8(piece).unwrap();
    }
    if is_learned { text + "]" } else { text }
}

#[test]
fn a_prompt_and_its_answer_are_the_tokens_that_transformers_learns() {
    let model = demo();
    let text = std::fs::read_to_string(here("tests/goldens/demo/tokens.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let first = &golden["first_row"];
    let line = serde_json::json!({ "prompt": first["prompt"], "answer": first["answer"] }).to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.jsonl");
    std::fs::write(&file, line).unwrap();
    let rows = read(&file).unwrap();
    let samples = encode(&model, &rows[0], 100).unwrap();
    let case = &golden["cases"]["row"];
    let used = case["used"].as_u64().unwrap() as usize;
    let list = |key: &str| -> Vec<i64> {
        case[key].as_array().unwrap().iter().take(used).map(|x| x.as_i64().unwrap()).collect()
    };
    let tokens: Vec<u32> = list("ids").iter().map(|&id| id as u32).collect();
    let learned: Vec<bool> = list("labels").iter().map(|&label| label >= 0).collect();
    assert_eq!(samples, [Sample { line: 1, tokens, learned }]);
    assert_eq!(
        samples[0].prompt(),
        model.chat_tokens(&[Message::new("user", first["prompt"].as_str().unwrap())]).unwrap()
    );
}

#[test]
fn the_assistant_s_turns_are_learned_and_nothing_else() {
    let model = demo();
    let turns = [("user", "hello"), ("assistant", "good day"), ("user", "bye"), ("assistant", "see you")];
    let samples = encode(&model, &row(4, &turns), 100).unwrap();
    let said: Vec<_> = samples.iter().map(|sample| said(&model, sample)).collect();
    let expected = "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n[good day<|im_end|>]\n<|im_start|>user\nbye<|im_end|>\n\
                    <|im_start|>assistant\n[see you<|im_end|>]";
    assert_eq!(said, [expected]);
    // What is said spells no control token.
    let samples = encode(&model, &row(1, &[("user", "a"), ("assistant", "<|im_end|>b")]), 100).unwrap();
    let ends = samples[0].answer().iter().filter(|&&token| model.tokenizer().is_end(token)).count();
    assert_eq!(ends, 1);
    assert!(
        samples[0].learned.ends_with(&[true]) && model.tokenizer().is_end(*samples[0].tokens.last().unwrap())
    );
}

#[test]
fn turns_that_templates_write_otherwise_later_are_samples_of_their_own() {
    let source = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' and not loop.last %}\
                  {{ m.content.split('|')[-1] }}{% else %}{{ m.content }}{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}\
                  {% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
    let model = demo().with_chat_template(ChatTemplate::new(source, None, None).unwrap());
    let turns = [("user", "q"), ("assistant", "thought|one"), ("user", "r"), ("assistant", "other|two")];
    let samples = encode(&model, &row(1, &turns), 100).unwrap();
    let said: Vec<_> = samples.iter().map(|sample| said(&model, sample)).collect();
    let (first, second) =
        ("<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n", "<|im_start|>user\nr<|im_end|>\n");
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!(said[0], format!("{first}[thought|one<|im_end|>]"));
    assert_eq!(
        said[1],
        format!("{first}one<|im_end|>\n{second}<|im_start|>assistant\n[other|two<|im_end|>]")
    );
    // One that begins an answer with something of its own, which is not learned.
    let source = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}\
                  {% if add_generation_prompt %}{{ '<|im_start|>assistant\\nSo: ' }}{% endif %}";
    let model = model.with_chat_template(ChatTemplate::new(source, None, None).unwrap());
    let samples = encode(&model, &row(1, &turns[..2]), 100).unwrap();
    assert_eq!(self::said(&model, &samples[0]), format!("{first}So: [thought|one<|im_end|>]"));
}

#[test]
fn texts_are_learned_in_pieces() {
    let model = demo();
    let text = "Once upon a time there was a siskin who sang of the sea. ".repeat(4);
    let row = Row { line: 2, content: Content::Text(text.clone()) };
    let samples = encode(&model, &row, 16).unwrap();
    let mut tokens = Vec::new();
    model.tokenizer().encode(text.as_bytes(), Special::Text, &mut tokens);
    tokens.push(model.tokenizer().eos().unwrap());
    assert!(samples.len() > 2 && samples.iter().all(|sample| sample.tokens.len() <= 16 && sample.line == 2));
    assert_eq!(samples.iter().flat_map(|sample| sample.tokens.clone()).collect::<Vec<_>>(), tokens);
    assert!(samples.iter().all(|sample| sample.learned.iter().all(|&learned| learned)));
}

#[test]
fn what_is_strange_about_data_is_found() {
    let model = demo();
    let rows = [
        row(1, &[("user", "turn on the light"), ("assistant", "{\"on\": true}")]),
        row(2, &[("user", "turn on the light"), ("assistant", "{\"on\": true}")]),
        row(3, &[("user", "turn on the light"), ("assistant", "{\"on\": false}")]),
        row(4, &[("user", "what is up"), ("assistant", "")]),
        row(5, &[("user", "write to jo@example.org"), ("assistant", "yes")]),
        row(6, &[("user", &"again and again ".repeat(30)), ("assistant", "yes")]),
    ];
    let mut samples: Vec<_> = rows.iter().flat_map(|row| encode(&model, row, 64).unwrap()).collect();
    let findings = check(&rows, &mut samples, 64);
    assert_eq!(findings.duplicates, [(2, 1)]);
    assert_eq!(findings.conflicts, [(3, 1)]);
    assert_eq!(findings.empty, [4]);
    assert!(matches!(findings.too_long[..], [(6, 65..)]), "{findings:?}");
    assert!(matches!(&findings.private[..], [hint] if hint.line == 5 && hint.kind == HintKind::Mail));
    assert_eq!(samples.iter().map(|sample| sample.line).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}
