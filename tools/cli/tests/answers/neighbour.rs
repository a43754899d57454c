//! Programs that others have to live beside: how they end, and what they leave to others.

use crate::common::{names, siskin, text};
use std::fs;
use std::io::{BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A story that does not end by itself: the token that would end it is banned.
const STORY: [&str; 15] = [
    "run",
    "--raw",
    "-p",
    "Once",
    "--seed",
    "3",
    "--temp",
    "1",
    "-c",
    "64",
    "--when-full",
    "window",
    "--logit-bias",
    "2-inf",
    "-q",
];

fn start(more: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_siskin"));
    command.args(STORY).args(more).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_story_goes_on_beyond_the_context() {
    let run = siskin(&[&STORY[..], &["-n", "300"]].concat());
    let said = String::from_utf8(run.stderr).unwrap();
    assert_eq!(said, "the context of 64 tokens was full: the oldest were forgotten\n");
    let story = String::from_utf8(run.stdout).unwrap();
    assert!(story.split_whitespace().count() > 150, "{story}");
    // The same however many threads work, and whatever the prompt's batches are.
    let again = siskin(&[&STORY[..], &["-n", "300", "-t", "1", "-b", "1", "--pin"]].concat());
    assert_eq!(String::from_utf8(again.stdout).unwrap(), story);
    let line = crate::common::failure(&siskin(&[
        "run",
        "-p",
        "hello",
        "-c",
        "64",
        "--when-full",
        "shift",
        "--keep",
        "63",
    ]));
    assert!(line.ends_with("session option keep: expected 0 to 62, found 63"), "{line}");
}

#[test]
fn a_signal_ends_an_answer_where_it_is() {
    let whole = String::from_utf8(siskin(&[&STORY[..], &["-n", "400"]].concat()).stdout).unwrap();
    for name in ["-TERM", "-INT"] {
        let mut child = start(&[]);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut begun = [0; 40];
        out.read_exact(&mut begun).unwrap();
        signal(&child, name);
        let mut rest = Vec::new();
        out.read_to_end(&mut rest).unwrap();
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.ends_with("siskin: interrupted: the answer is not complete\n"), "{said}");
        let story = String::from_utf8([&begun[..], &rest].concat()).unwrap();
        let common = whole.trim_end().len().min(story.trim_end().len());
        assert!(story.ends_with('\n') && whole[..common] == story[..common], "{story:?}");
    }
}

#[test]
fn a_signal_ends_a_long_prompt_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let (prompt, state) = (folder.path().join("prompt"), folder.path().join("state"));
    // A prompt that takes minutes.
    fs::write(&prompt, "once upon a time there was a wolf ".repeat(200_000)).unwrap();
    let more = ["-c", "1024", "--when-full", "shift", "--prompt-cache", text(&state), "-f", text(&prompt)];
    let child = start_with_file(&more);
    std::thread::sleep(Duration::from_millis(1500));
    signal(&child, "-TERM");
    let sent = Instant::now();
    let ended = child.wait_with_output().unwrap();
    assert!(sent.elapsed() < Duration::from_secs(20));
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "siskin: interrupted before the answer began\n");
    assert_eq!(names(folder.path()), ["prompt"]);
}

fn start_with_file(more: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_siskin"));
    command.args(["run", "--raw", "-q"]).args(more).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// How nice a task is, whose folder in /proc this is.
fn niceness(task: &Path) -> i32 {
    let stat = fs::read_to_string(task.join("stat")).unwrap();
    // The 19th field, counted from the state, which stands behind the name in brackets.
    stat.rsplit(") ").next().unwrap().split(' ').nth(16).unwrap().parse().unwrap()
}

#[test]
fn all_threads_are_nice() {
    // The tests may be nice themselves.
    let expected = (niceness("/proc/self".as_ref()) + 7).min(19);
    let mut child = start(&["--nice", "7", "-t", "2"]);
    let mut begun = [0; 40];
    child.stdout.as_mut().unwrap().read_exact(&mut begun).unwrap();
    let mut threads = 0;
    for task in fs::read_dir(format!("/proc/{}/task", child.id())).unwrap() {
        assert_eq!(niceness(&task.unwrap().path()), expected);
        threads += 1;
    }
    assert!(threads >= 1);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_temperature_is_watched_or_it_is_said_that_there_is_none() {
    let run = siskin(&["run", "-p", "hello", "--temp", "0", "-q", "--max-temp", "149"]);
    let said = String::from_utf8(run.stderr).unwrap();
    match run.status.code() {
        Some(0) => assert_eq!(String::from_utf8(run.stdout).unwrap(), "Hello! How can I help?\n"),
        _ => assert_eq!(
            said,
            "siskin: --max-temp: this machine has no sensor in /sys/class/thermal that tells a temperature\n"
        ),
    }
    assert_eq!(siskin(&["run", "-p", "hello", "--max-temp", "warm"]).status.code(), Some(2));
    assert_eq!(siskin(&["run", "-p", "hello", "--nice", "-5"]).status.code(), Some(2));
}
