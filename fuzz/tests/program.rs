//! The program that hands targets what it has made.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

fn siskin_fuzz(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_siskin-fuzz")).args(arguments).output().unwrap()
}

#[test]
fn it_counts_what_it_has_handed_over() {
    let run = siskin_fuzz(&["tokenizer", "--first", "1000", "--executions", "50"]);
    let said = String::from_utf8(run.stdout).unwrap();
    assert!(run.status.success() && said.starts_with("tokenizer: 50 executions in "), "{said}");
}

#[test]
fn a_target_that_there_is_not_is_refused_with_those_that_there_are() {
    let run = siskin_fuzz(&["nothing"]);
    let said = String::from_utf8(run.stderr).unwrap();
    assert!(!run.status.success() && said.contains("nothing: expected one of gguf, tokenizer, "), "{said}");
}
