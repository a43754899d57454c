//! `--json-schema`, `--grammar` and `--regex`, and `response_format` in lines of `batch`.

use crate::common::{failure, siskin, text};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

const LIGHT: &str = r#"{"type": "object", "properties": {
    "room": {"enum": ["kitchen", "hall", "attic"]}, "on": {"type": "boolean"}, "level": {"type": "integer", "minimum": 0, "maximum": 100}},
    "required": ["room", "on", "level"], "additionalProperties": false}"#;

/// What a command prints, which succeeds.
fn said(arguments: &[&str]) -> String {
    let run = siskin(arguments);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

fn is_light(answer: &str) -> bool {
    let light: Value = serde_json::from_str(answer).unwrap();
    let is_room = ["kitchen", "hall", "attic"].iter().any(|room| light["room"] == *room);
    is_room && light["on"].is_boolean() && light["level"].as_u64().is_some_and(|level| level <= 100)
}

#[test]
fn an_answer_keeps_to_a_schema_a_grammar_or_a_regular_expression() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let schema = file("light.json", LIGHT);
    let run = |flags: &[&str]| {
        said(&[&["run", "-q", "-p", "please turn on the kitchen light", "--seed", "3"], flags].concat())
    };
    let answer = run(&["--json-schema", &schema]);
    assert!(is_light(&answer), "{answer}");
    assert_eq!(run(&["--json-schema", LIGHT]), answer);
    assert_eq!(run(&["--json-schema", LIGHT, "--lookup"]), answer);
    // Chance that knows no better, too.
    assert!(is_light(&run(&[
        "--json-schema",
        LIGHT,
        "--temp",
        "9",
        "--top-k",
        "0",
        "--min-p",
        "0",
        "--top-p",
        "1"
    ])));

    let gbnf = "root ::= (\"yes\" | \"no\") \", \" [a-z]{3,5} \"!\"\n";
    let lark = "start: (\"yes\" | \"no\") \", \" WORD \"!\"\nWORD: /[a-z]{3,5}/\n";
    let regex = "(yes|no), [a-z]{3,5}!";
    let answers = [
        run(&["--grammar", &file("a.gbnf", gbnf)]),
        run(&["--grammar", &file("plain", gbnf)]),
        run(&["--grammar", &file("a.lark", lark)]),
        run(&["--grammar", &file("a.txt", lark)]),
        run(&["--regex", regex]),
    ];
    for answer in &answers {
        let rest = answer.strip_prefix("yes, ").or_else(|| answer.strip_prefix("no, ")).unwrap();
        let word = rest.strip_suffix("!\n").unwrap();
        assert!(
            (3..=5).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase()),
            "{answer}"
        );
    }
    // Also where a text is continued as it is.
    let raw = said(&["run", "-q", "--raw", "-p", "Once", "--regex", " upon a (time|fox)", "--seed", "1"]);
    assert!(raw == " upon a time\n" || raw == " upon a fox\n", "{raw:?}");
}

#[test]
fn what_is_cut_is_said_to_be() {
    let run = siskin(&["run", "-p", "hello", "--json-schema", LIGHT, "-n", "3", "--seed", "1"]);
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(said.contains("the answer is cut: it is not all that was asked for"), "{said}");
    let run = siskin(&["run", "-p", "hello", "--json-schema", LIGHT, "-n", "3", "--seed", "1", "--json"]);
    let told: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(told["finish_reason"], "length");
    let run = siskin(&["run", "-p", "hello", "--json-schema", LIGHT, "--seed", "1", "--json"]);
    let told: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(told["finish_reason"], "stop");
    assert!(is_light(told["content"].as_str().unwrap()));
}

#[test]
fn what_cannot_be_kept_to_is_refused_before_the_first_token() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.gbnf");
    fs::write(&file, "root ::= \"a\"\nroot ::= \"b\"\n").unwrap();
    for (flags, expected) in [
        (["--json-schema", r#"{"not": {}}"#], "siskin: --json-schema: JSON schema: "),
        (["--json-schema", r#"{"type": "#], "siskin: --json-schema: JSON schema: it is no JSON: "),
        (["--regex", "(a"], "siskin: --regex: regular expression: "),
        (["--grammar", text(&file)], "GBNF grammar, line 2: rule root is defined twice, first in line 1"),
        (["--grammar", "/nowhere.lark"], "siskin: /nowhere.lark: No such file or directory"),
    ] {
        let line = failure(&siskin(&[&["run", "-q", "-p", "hello"], &flags[..]].concat()));
        assert!(line.contains(expected), "{line}");
    }
    let both = siskin(&["run", "-p", "a", "--regex", "a", "--json-schema", "{}"]);
    assert_eq!(both.status.code(), Some(2));
}

#[test]
fn each_answer_of_a_conversation_keeps_to_it() {
    let mut chat = Command::new(env!("CARGO_BIN_EXE_siskin"))
        .args(["chat", "--regex", "(yes|no)", "--seed", "1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    chat.stdin.take().unwrap().write_all(b"hello\nand now?\n").unwrap();
    let said = String::from_utf8(chat.wait_with_output().unwrap().stdout).unwrap();
    let answers: Vec<&str> = said.lines().collect();
    assert!(answers.len() == 2 && answers.iter().all(|answer| ["yes", "no"].contains(answer)), "{said:?}");
}

#[test]
fn lines_of_a_batch_have_formats_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.jsonl"), folder.path().join("out.jsonl"));
    let schema: Value = serde_json::from_str(LIGHT).unwrap();
    let named = |strict: bool| json!({"type": "json_schema", "json_schema": {"name": "light", "strict": strict, "schema": schema}});
    let prompt = "please turn on the kitchen light";
    let lines = [
        line(prompt, named(true)),
        line(prompt, named(false)),
        line(prompt, json!({"type": "text"})),
        json!({"prompt": prompt}),
        json!({"prompt": prompt, "response_format": {"type": "json_object"}, "max_tokens": 3}),
    ];
    let write = |lines: &[Value]| {
        fs::write(&input, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    };
    write(&lines);
    let batch =
        |flags: &[&str]| siskin(&[&["batch", text(&input), text(&output), "--temp", "0"], flags].concat());
    let run = batch(&["--regex", "(yes|no)"]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let answers: Vec<Value> = fs::read_to_string(&output)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let content = |at: usize| answers[at]["content"].as_str().unwrap();
    assert!(is_light(content(0)));
    assert_eq!(content(1), content(0));
    let free = said(&["run", "-q", "-p", prompt, "--temp", "0"]);
    assert_eq!(content(2), free.trim_end_matches('\n'));
    assert!(["yes", "no"].contains(&content(3)));
    assert!(content(4).starts_with('{'));
    assert_eq!(answers[4]["finish_reason"], "length");
    // The flags are settings.
    let refused = failure(&batch(&["--regex", "(yes|maybe)"]));
    assert!(refused.contains("grammar"), "{refused}");

    for (format, expected) in [
        (
            json!({"type": "xml"}),
            "response_format.type: expected text, json_object or json_schema, found \"xml\"",
        ),
        (json!({"type": "json_schema"}), "response_format.json_schema is missing"),
        (
            json!({"type": "json_schema", "json_schema": {"name": "a"}}),
            "response_format.json_schema.schema is missing",
        ),
        (
            json!({"type": "json_schema", "json_schema": {"schema": {"uniqueItems": true}}}),
            "line 1: response_format: JSON schema: ",
        ),
    ] {
        write(&[line(prompt, format)]);
        let said = failure(&siskin(&["batch", text(&input), text(&folder.path().join("other.jsonl"))]));
        assert!(said.contains(expected), "{said}");
    }
}

fn line(prompt: &str, format: Value) -> Value {
    json!({"prompt": prompt, "response_format": format})
}
