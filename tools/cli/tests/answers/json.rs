//! What commands print for scripts.

use crate::common::{families, here, siskin, text};
use crate::hub::Repository;
use crate::names::User;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::process::Output;

/// What is printed is one JSON object, and nothing else; its fields are those that the page about them names for the command.
fn checked(command: &str, run: &Output) -> Value {
    assert!(run.status.success(), "{command}: {}", String::from_utf8_lossy(&run.stderr));
    let value: Value =
        serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{command}: {error}"));
    let page = fs::read_to_string(here("../../docs/json.md")).unwrap();
    let row = page.lines().find(|line| line.starts_with(&format!("| `{command}` |"))).unwrap();
    for field in value.as_object().unwrap().keys() {
        assert!(row.contains(&format!("`{field}`")), "{command}: {field} is not in docs/json.md");
    }
    value
}

/// All commands whose help has the flag.
fn commands_with_json() -> BTreeSet<String> {
    let subcommands = |words: &[&str]| -> Vec<String> {
        let help = String::from_utf8(siskin(&[words, &["--help"]].concat()).stdout).unwrap();
        let Some((_, rest)) = help.split_once("Commands:\n") else { return Vec::new() };
        let names = rest.lines().take_while(|line| !line.is_empty());
        let names =
            names.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
        names.filter(|name| *name != "help").map(|name| [words, &[name]].concat().join(" ")).collect()
    };
    let mut found = BTreeSet::new();
    let mut open = subcommands(&[]);
    while let Some(command) = open.pop() {
        let words: Vec<&str> = command.split(' ').collect();
        let help = String::from_utf8(siskin(&[&words[..], &["--help"]].concat()).stdout).unwrap();
        if help.split_whitespace().any(|word| word == "--json") {
            found.insert(command.clone());
        }
        open.extend(subcommands(&words));
    }
    found
}

#[test]
fn every_command_with_json_prints_one_object_of_documented_fields() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&folder.path().join(name)).to_owned();
    let demo = here("../demo/siskin-demo.gguf");
    let (demo, out, words) = (text(&demo), path("out.gguf"), path("words.txt"));
    fs::write(&words, "once upon a time there was a wolf. ".repeat(40)).unwrap();
    let adapter = families().join("phi3/adapter.gguf");
    let calls: [&[&str]; 10] = [
        &["run", demo, "-p", "hello", "--temp", "0"],
        &["quantize", demo, &out, "--type", "q4_0"],
        &["adapter inspect", text(&adapter)],
        &["plan", demo],
        &["inspect", demo],
        &["tokenize", demo, "hello 你"],
        &["bench", demo, "-p", "8", "-n", "4", "-r", "1"],
        &["eval", demo, "--text", &words, "--window", "64", "--n-prompt", "8", "--runs", "1"],
        &["tune", demo, "--metric", "decode_tps", "--space", "threads=1", "--trials", "1"],
        &["doctor", "--no-probe"],
    ];
    let mut seen = BTreeSet::from(["pull", "list", "rm"].map(str::to_owned));
    for call in calls {
        let words: Vec<&str> =
            call[0].split(' ').chain(call[1..].iter().copied()).chain(["--json"]).collect();
        checked(call[0], &siskin(&words));
        seen.insert(call[0].to_owned());
    }
    let hub = Repository::with(&[("Demo-Q4_K_M.gguf", &fs::read(demo).unwrap())]).serve();
    let user = User::of(&hub);
    for call in [&["pull", "hf.co/org/repo"][..], &["list"], &["rm", "hf.co/Org/Repo:Q4_K_M"]] {
        checked(call[0], &user.command(&[call, &["--json"]].concat()).output().unwrap());
    }
    assert_eq!(seen, commands_with_json());
}

#[test]
fn an_answer_and_its_figures_are_one_object() {
    let answer =
        |flags: &[&str]| checked("run", &siskin(&[&["run", "-p", "hello", "--json"], flags].concat()));
    let whole = answer(&["--temp", "0"]);
    assert_eq!(whole["content"], "Hello! How can I help?");
    assert_eq!((&whole["finish_reason"], &whole["seed"]), (&json!("stop"), &Value::Null));
    assert_eq!((&whole["forgot"], &whole["restored_tokens"]), (&json!(false), &json!(0)));
    assert!(whole["peak_rss_bytes"].as_u64().unwrap() > 1 << 20);
    let cut = answer(&["--seed", "7", "--temp", "1", "-n", "3"]);
    assert_eq!((&cut["finish_reason"], &cut["completion_tokens"]), (&json!("length"), &json!(3)));
    assert_eq!(cut["seed"], 7);
    let full = answer(&["--temp", "0", "--logit-bias", "2-inf", "-c", "32"]);
    assert_eq!(full["finish_reason"], "context");
}

#[test]
fn tokens_and_types_are_those_that_texts_tell() {
    let demo = here("../demo/siskin-demo.gguf");
    let tokens = siskin(&["tokenize", text(&demo), "--json", "a 你\u{1f600}"]);
    let tokens = checked("tokenize", &tokens);
    let tokens = tokens["tokens"].as_array().unwrap();
    let ids: Vec<String> = tokens.iter().map(|token| token["id"].to_string()).collect();
    let listed = siskin(&["tokenize", text(&demo), "--ids", "a 你\u{1f600}"]);
    assert_eq!(String::from_utf8(listed.stdout).unwrap().trim_end(), ids.join(","));
    let bytes: Vec<u8> = tokens
        .iter()
        .filter(|token| token["special"] == false)
        .flat_map(|token| {
            token["bytes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|byte| byte.as_u64().unwrap() as u8)
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(String::from_utf8(bytes).unwrap().ends_with("a 你\u{1f600}"));

    let planned =
        checked("quantize", &siskin(&["quantize", text(&demo), "--dry-run", "--type", "q8_0", "--json"]));
    assert_eq!(
        (&planned["output"], &planned["recipe"], &planned["fit"]),
        (&Value::Null, &json!("Q8_0"), &Value::Null)
    );
    let bytes: u64 =
        planned["tensors"].as_array().unwrap().iter().map(|tensor| tensor["bytes"].as_u64().unwrap()).sum();
    assert_eq!(planned["tensor_bytes"], bytes);
    assert!(!planned["notes"].as_array().unwrap().is_empty());
}
