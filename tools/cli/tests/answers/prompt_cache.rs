//! `siskin run --prompt-cache`: the same answers, and nothing lost.

use crate::common::{failure, names, siskin, text};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const FIRST: &str = "please turn on the kitchen light";
const SECOND: &str = "please turn on the bedroom fan";

/// The answer, and what was said about it.
fn run(prompt: &str, more: &[&str]) -> (String, String) {
    let run = siskin(&[&["run", "-p", prompt, "--temp", "0", "--threads", "2"], more].concat());
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    (String::from_utf8(run.stdout).unwrap(), String::from_utf8(run.stderr).unwrap())
}

fn restored(said: &str) -> usize {
    let line = said.lines().find_map(|line| line.strip_prefix("prompt: ")?.strip_suffix(" tokens restored"));
    line.map_or(0, |tokens| tokens.parse().unwrap())
}

fn with(cache: &Path, prompt: &str) -> (String, String) {
    run(prompt, &["--prompt-cache", text(cache)])
}

#[test]
fn answers_are_those_of_a_run_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("state");
    let plain = [FIRST, SECOND].map(|prompt| run(prompt, &[]).0);
    let (answer, said) = with(&cache, FIRST);
    assert_eq!((&answer, restored(&said)), (&plain[0], 0));
    // It has the prompt in it.
    assert_eq!(fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o600);
    // All of it, then what two prompts have in common.
    let (answer, said) = with(&cache, FIRST);
    let all = restored(&said);
    assert!(answer == plain[0] && all > 8 && said.contains("prompt: 0 tokens in"), "{said}");
    let (answer, said) = with(&cache, SECOND);
    assert!(answer == plain[1] && (4..all).contains(&restored(&said)), "{said}");
    let (answer, said) = with(&cache, FIRST);
    assert!(answer == plain[0] && (4..all).contains(&restored(&said)), "{said}");
    assert_eq!(names(folder.path()), ["state"]);
}

#[test]
fn a_state_that_is_of_no_use_is_replaced_and_it_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("state");
    let plain = run(FIRST, &[]).0;
    with(&cache, FIRST);
    let whole = fs::read(&cache).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    for damaged in [&whole[..whole.len() - 1], &whole[..20], &flipped] {
        fs::write(&cache, damaged).unwrap();
        let (answer, said) = with(&cache, FIRST);
        assert!(answer == plain && restored(&said) == 0, "{said}");
        assert!(
            said.contains("state: damaged: its bytes are not those that were saved: the prompt"),
            "{said}"
        );
        assert!(fs::read(&cache).unwrap() == whole);
    }
    let (_, said) = run(FIRST, &["--prompt-cache", text(&cache), "--cache-type", "q8_0"]);
    assert!(said.contains("state: saved with a cache of f16, expected q8_0: the prompt"), "{said}");
}

#[test]
fn a_state_that_is_only_read_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("state");
    let read_only = |prompt: &str| run(prompt, &["--prompt-cache", text(&cache), "--prompt-cache-ro"]);
    let missing = ["run", "-p", FIRST, "--prompt-cache", text(&cache), "--prompt-cache-ro"];
    let line = failure(&siskin(&missing));
    assert!(line.contains("state: No such file"), "{line}");
    with(&cache, FIRST);
    let kept = fs::read(&cache).unwrap();
    let (answer, said) = read_only(SECOND);
    assert!(answer == run(SECOND, &[]).0 && restored(&said) > 3, "{said}");
    assert!(fs::read(&cache).unwrap() == kept);
    // One that is of no use costs time alone.
    fs::write(&cache, &kept[..20]).unwrap();
    let (answer, said) = read_only(FIRST);
    assert!(answer == run(FIRST, &[]).0 && said.contains("the prompt is worked out anew"), "{said}");
    assert!(fs::read(&cache).unwrap() == kept[..20]);
    assert_eq!(names(folder.path()), ["state"]);
}

#[test]
fn other_files_are_left_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("letter.txt");
    for content in ["", "Dear Ada,"] {
        fs::write(&cache, content).unwrap();
        let line = failure(&siskin(&["run", "-p", FIRST, "--prompt-cache", text(&cache)]));
        assert!(line.contains("letter.txt: not the saved state of a session"), "{line}");
        assert_eq!(fs::read_to_string(&cache).unwrap(), content);
    }
    let line = failure(&siskin(&["run", "-p", FIRST, "--prompt-cache", text(folder.path())]));
    assert!(line.contains(text(folder.path())), "{line}");
}

#[test]
fn no_more_is_read_than_a_state_can_have() {
    let folder = tempfile::tempdir().unwrap();
    let [state, pipe, other] = ["state", "pipe", "other"].map(|name| folder.path().join(name));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [Path::new("/dev/zero"), &pipe] {
        let line = failure(&siskin(&["run", "-p", FIRST, "--prompt-cache", text(path)]));
        assert!(line.contains("expected a regular file"), "{line}");
    }
    // Files as long as these would not fit into memory.
    let grow = |path: &Path| fs::File::options().append(true).open(path).unwrap().set_len(1 << 40).unwrap();
    let (answer, _) = with(&state, FIRST);
    grow(&state);
    let (again, said) = with(&state, FIRST);
    assert!(again == answer && said.contains("larger than what this context has room for"), "{said}");
    assert!(fs::metadata(&state).unwrap().len() < 1 << 30);
    fs::write(&other, "what somebody wrote").unwrap();
    grow(&other);
    let line = failure(&siskin(&["run", "-p", FIRST, "--prompt-cache", text(&other)]));
    assert!(line.contains("not the saved state of a session"), "{line}");
    assert!(fs::metadata(&other).unwrap().len() == 1 << 40);
}
