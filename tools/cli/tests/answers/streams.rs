//! Standard output and standard error that nobody reads, or that are closed.

use crate::common::text;
use std::fs;
use std::io::pipe;
use std::process::{Command, Output, Stdio};

fn siskin(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_siskin"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A pipe whose other end is gone.
fn nobody() -> Stdio {
    pipe().unwrap().1.into()
}

/// Runs the program with standard error closed from the beginning.
fn closed(arguments: &[&str]) -> Output {
    let mut command = Command::new("sh");
    command.args(["-c", "\"$0\" \"$@\" 2>&-", env!("CARGO_BIN_EXE_siskin")]).args(arguments);
    command.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn helps_and_versions_that_nobody_reads_to_the_end_are_no_failures() {
    for arguments in [&["--help"][..], &["--version"], &["run", "--help"], &["-h"], &["help", "batch"]] {
        let run = siskin(arguments).stdout(nobody()).output().unwrap();
        let said = String::from_utf8(run.stderr).unwrap();
        assert_eq!((run.status.code(), said.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn nothing_depends_on_a_reader_of_standard_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&folder.path().join(name)).to_owned();
    fs::write(path("in.jsonl"), "{\"prompt\": \"hello\"}\n").unwrap();
    fs::write(path("bad.jsonl"), "{\"prompt\": 1}\n").unwrap();
    fs::write(path("tasks.jsonl"), "{\"prompt\": \"hello\", \"answer\": \"x\"}\n").unwrap();
    fs::write(path("text.md"), "# Wolves\n\nThe wolf slept. The wolf woke.\n").unwrap();
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../demo/siskin-demo.gguf");
    let (input, output, bad) = (path("in.jsonl"), path("out.jsonl"), path("bad.jsonl"));
    let (tasks, journal, summary) = (path("tasks.jsonl"), path("journal"), path("text.md"));
    let (quantized, matrix, cache) = (path("out.gguf"), path("out.imatrix"), path("cache"));
    fs::write(&cache, "").unwrap();
    let cases: [(&[&str], i32); 13] = [
        (&["run", "-p", "hello"], 0),
        (&["run", "-p", "hello", "-c", "20", "--prompt-cache", &cache], 1),
        (&["run", "missing.gguf", "-p", "hello"], 1),
        (&["run", "--sing"], 2),
        (&["sing"], 2),
        (&["chat"], 0),
        (&["batch", &input, &output, "-n", "4"], 0),
        (&["batch", &bad, &output], 1),
        (&["summarize", &summary, "--journal", &journal, "-n", "8"], 0),
        (&["quantize", demo, &quantized, "--type", "q4_k_m"], 0),
        (&["imatrix", demo, "-o", &matrix, "--chunks", "1"], 0),
        (&["eval", demo, "--tasks", &tasks, "--runs", "1", "--n-prompt", "8", "--require", "exact>=2"], 1),
        (&["plan", "--memory", "1MB"], 1),
    ];
    for (arguments, code) in cases {
        let open = siskin(arguments).output().unwrap();
        assert_eq!(
            open.status.code(),
            Some(code),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&open.stderr)
        );
        for run in [siskin(arguments).stderr(nobody()).output().unwrap(), closed(arguments)] {
            assert_eq!(run.status.code(), Some(code), "{arguments:?}");
        }
    }
}
