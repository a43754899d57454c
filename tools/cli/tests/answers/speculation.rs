//! Answers guessed ahead by `siskin run` and `siskin chat`.

use crate::common::{failure, goldens, siskin, text};
use crate::terminal::read_until;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../demo/siskin-demo.gguf");

/// The answer, and what was said about it.
fn run(sampling: &[&str], more: &[&str]) -> (String, String) {
    let story =
        ["run", "--raw", "-p", "Once upon a time there was a wolf. Once upon a time", "-n", "60", "-s", "4"];
    let run = siskin(&[&story, sampling, more].concat());
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    (String::from_utf8(run.stdout).unwrap(), String::from_utf8(run.stderr).unwrap())
}

#[test]
fn answers_are_those_of_a_run_without_guesses() {
    for sampling in [&["--temp", "0"][..], &["--temp", "0.8", "--repeat-penalty", "1.2"]] {
        let (plain, said) = run(sampling, &[]);
        assert!(!said.contains("guessed"), "{said}");
        for more in
            [&["--lookup"][..], &["--draft-model", DEMO], &["--draft-model", DEMO, "--draft-max", "2"]]
        {
            let (answer, said) = run(sampling, more);
            assert_eq!(answer, plain, "{more:?}");
            assert!(said.lines().any(|line| line.starts_with("drafted: ")), "{said}");
        }
    }
}

#[test]
fn guesses_of_other_tokens_are_refused() {
    let other = goldens().join("gqa.gguf");
    let line = failure(&siskin(&["run", "-p", "hello", "--draft-model", text(&other)]));
    assert!(
        line.starts_with(&format!("siskin: {}: the draft model has another vocabulary", other.display())),
        "{line}"
    );
    let missing = Path::new("/no/such.gguf");
    assert!(
        failure(&siskin(&["run", "-p", "hello", "--draft-model", text(missing)])).contains("/no/such.gguf")
    );
    let line = failure(&siskin(&["run", "-p", "hello", "--lookup", "--draft-max", "32"]));
    assert!(line.ends_with("session option drafts: expected 0 to 31, found 32"), "{line}");
}

/// Files that the process has mapped, once it has said that it waits for a line.
fn mapped(arguments: &[&str]) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_siskin"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.as_mut().unwrap().write_all(b"/help\n").unwrap();
    read_until(child.stderr.as_mut().unwrap(), "show this list\n");
    let maps = fs::read_to_string(format!("/proc/{}/maps", child.id())).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    maps
}

#[test]
fn a_draft_model_is_read_where_the_model_is() {
    let folder = tempfile::tempdir().unwrap();
    // What is packed stays mapped as long as it is used.
    let draft = folder.path().join("draft.gguf");
    assert!(siskin(&["pack", DEMO, text(&draft)]).status.success());
    let chat = ["chat", DEMO, "--temp", "0", "--draft-model", text(&draft)];
    assert!(mapped(&chat).contains("draft.gguf"));
    assert!(!mapped(&[&chat[..], &["--no-mmap"]].concat()).contains("draft.gguf"));
}
