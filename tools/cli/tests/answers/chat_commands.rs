//! The commands of `siskin chat`.

use crate::common::{families, here, text};
use crate::hub::Repository;
use crate::names::User;
use crate::terminal::command;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

const HELLO: &str = "Hello! How can I help?\n";
const LIGHT: &str = "please turn on the kitchen light";

/// What a chat answers and says of these lines.
fn chat(options: &[&str], lines: &str) -> (String, String) {
    answered(command(&[&["chat", "--threads=1"], options].concat()), lines)
}

fn answered(mut command: Command, lines: &str) -> (String, String) {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(status.success(), "{stderr}");
    (String::from_utf8(stdout).unwrap(), stderr)
}

fn greedy(lines: &str) -> (String, String) {
    chat(&["--temp", "0"], lines)
}

#[test]
fn an_unknown_command_says_what_there_is() {
    let (answers, said) = greedy("/sing\n/help\n");
    assert_eq!(answers, "");
    let names = "/system, /think, /undo, /retry, /load, /model, /save, /save!, /reset, /quit, /help";
    assert!(said.starts_with(&format!("/sing is no command: there are {names}\n")), "{said}");
    for name in names.split(", ") {
        assert!(said.contains(&format!("\n{name} ")), "{name}: {said}");
    }
}

#[test]
fn the_last_exchange_is_taken_back() {
    let (answers, said) =
        greedy(&format!("/undo\nhello\n{LIGHT}\n/undo\n{LIGHT}\n/undo\n/undo\n/undo\nhello\n"));
    let lines: Vec<_> = answers.lines().collect();
    assert!(lines.len() == 4 && lines[1] == lines[2] && lines[0] == lines[3], "{answers}");
    let nothing = "there is no answer to take back\n";
    let taken = "the last message and its answer are taken back\n";
    assert_eq!(said, [nothing, taken, taken, taken, nothing].concat());
}

#[test]
fn another_try_has_another_seed() {
    let story = "tell me a story about a wolf";
    let options = ["--seed", "7", "--temp", "1.2", "-n", "30"];
    let (answers, said) = chat(&options, &format!("/retry\n{story}\n/retry\n"));
    assert_eq!(said, "seed: 7\nthere is no message to answer again\nseed: 8\n");
    let (first, second) = answers.split_at(answers.len() / 2);
    assert_ne!(first, second);
    let (eighth, _) = chat(&["--seed", "8", "--temp", "1.2", "-n", "30"], &format!("{story}\n"));
    assert!(answers.ends_with(&eighth) && answers.len() > eighth.len());
    let (_, said) = greedy("hello\n/retry\n");
    assert_eq!(said, "what is likeliest is answered again: --temp 0 leaves no choice\n");
}

#[test]
fn a_system_message_and_thoughts_are_set_on_the_way() {
    let (answers, said) = greedy("/system\n/system be brief\n/system\nhello\n/think off\n/think loud\n");
    assert_eq!(answers, HELLO);
    assert_eq!(
        said,
        "the model is told nothing: /system TEXT changes that\n\
         the model is told this from your next message on\n\
         the model is told: be brief\n\
         the chat template has no switch for thinking, so --think off does nothing\n\
         expected /think on, /think off or /think hide\n"
    );
}

#[test]
fn a_conversation_that_was_saved_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = text(&folder.path().join("my talk.json")).to_owned();
    let (_, said) = chat(&["--temp", "0", "--system", "be kind"], &format!("hello\n/save {path}\n"));
    assert_eq!(said, format!("saved to {path}\n"));
    let (answers, said) = greedy(&format!("{LIGHT}\n/load {path}\n/system\nhello\n/save! {path}\n"));
    assert!(answers.ends_with(HELLO));
    assert_eq!(said, format!("2 messages of {path}\nthe model is told: be kind\nsaved to {path}\n"));
    let saved: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(saved[0], json!({"role": "system", "content": "be kind"}));
    assert_eq!(saved.as_array().unwrap().len(), 5);
    // What is no conversation is said in one line, and the one that is there goes on.
    let bad = text(&folder.path().join("bad.json")).to_owned();
    fs::write(&bad, "[{\"role\": \"wizard\", \"content\": \"x\"}]").unwrap();
    let (_, said) = greedy(&format!("hello\n/load {bad}\n/load no/such\n/save {path}2\n"));
    let lines: Vec<_> = said.lines().collect();
    assert!(lines[0].starts_with(&format!("siskin: {bad}: message 1: the role is \"wizard\"")), "{said}");
    assert!(lines[1].starts_with("siskin: no/such: No such file") && lines.len() == 3, "{said}");
    assert!(fs::read_to_string(format!("{path}2")).unwrap().contains("hello"));
}

#[test]
fn a_full_context_is_said_once_and_the_conversation_goes_on() {
    let lines = "hello\n".repeat(12);
    let (answers, said) = chat(&["--temp", "0", "-c", "64"], &lines);
    assert_eq!(answers, HELLO.repeat(12));
    assert_eq!(
        said,
        "the context of 64 tokens was full: the oldest of the conversation is forgotten, now and whenever it is full again; \
         -c makes it larger, up to the 1024 that the model was made for, --when-full stop forgets nothing\n"
    );
    let (answers, said) = chat(&["--temp", "0", "-c", "64", "--when-full", "stop"], &lines);
    assert!(answers.len() < HELLO.len() * 12 && said.contains("there is no room for this message"), "{said}");
    let (answers, said) = chat(&["--temp", "0", "-c", "64"], &format!("{}\nhello\n", "very ".repeat(100)));
    assert_eq!(answers, HELLO);
    let refused = said.strip_prefix("the message alone has ").unwrap();
    assert!(
        refused.contains(" tokens, the context has room for 64, and an answer needs some: -c makes"),
        "{said}"
    );
    assert!(refused.contains("; siskin summarize reads texts of any length; --when-full shift"), "{said}");
    // An answer without an end of its own has one.
    let (_, said) = chat(&["--temp", "0", "-c", "64", "--logit-bias", "2-inf"], "hello\n");
    assert!(
        said.ends_with(
            "the answer has 64 tokens, as many as the context: it ends here, -n sets another limit\n"
        ),
        "{said}"
    );
}

#[test]
fn another_model_goes_on_with_the_conversation_or_begins_one() {
    let folder = tempfile::tempdir().unwrap();
    let quantized = text(&folder.path().join("smaller.gguf")).to_owned();
    let made = command(&["quantize", text(&here("../demo/siskin-demo.gguf")), &quantized, "--type", "q4_0"])
        .output();
    assert!(made.unwrap().status.success());
    let talk = text(&folder.path().join("talk.json")).to_owned();
    let count = |said: &str| said.matches(" tokens of context\n").count();

    let (answers, said) =
        greedy(&format!("/model\nhello\n/model {quantized}\n{LIGHT}\n/undo\n/undo\nhello\n/save {talk}\n"));
    assert_eq!((answers.lines().count(), count(&said)), (3, 2), "{said}");
    assert!(said.contains("the conversation goes on; /reset begins a new one\n"), "{said}");
    assert_eq!(said.matches("are taken back").count(), 2);

    let (_, said) = greedy(&format!("hello\n/load {quantized}\n/undo\n"));
    assert!(
        said.contains("a new conversation begins\n") && said.ends_with("no answer to take back\n"),
        "{said}"
    );

    // What cannot be opened leaves all as it was, and no model is replaced by what is saved.
    let broken = text(&folder.path().join("broken.gguf")).to_owned();
    fs::write(&broken, &fs::read(&quantized).unwrap()[..1000]).unwrap();
    let vocabulary = families().join("no-such.gguf");
    let lines = format!(
        "hello\n/model {broken}\n/load {broken}\n/model {talk}\n/model {}\n/model hf.co/a/b\n/model {quantized}\n/save! {quantized}\n/undo\n",
        text(&vocabulary)
    );
    let (_, said) = greedy(&lines);
    let failures: Vec<_> = said.lines().filter(|line| line.starts_with("siskin: ")).collect();
    assert_eq!(failures.len(), 6, "{said}");
    assert!(
        failures[4].contains("siskin pull hf.co/a/b") && failures[5].contains("the output is the input"),
        "{said}"
    );
    assert!(said.ends_with("the last message and its answer are taken back\n"), "{said}");
    assert!(fs::read(&quantized).unwrap().starts_with(b"GGUF"));
}

/// One that is there but has no room is known once the former one has made room: that one is opened again.
#[test]
fn a_model_without_room_leaves_the_former_one() {
    let folder = tempfile::tempdir().unwrap();
    let large = text(&folder.path().join("large.gguf")).to_owned();
    let made =
        command(&["quantize", text(&here("../demo/siskin-demo.gguf")), &large, "--type", "f32"]).output();
    assert!(made.unwrap().status.success());
    let (answers, said) = chat(
        &["--temp", "0", "--memory", "40m"],
        &format!("hello\n/model {large}\n/model\nhello\n/undo\n/undo\n"),
    );
    assert_eq!(answers, HELLO.repeat(2));
    assert!(
        said.contains(&format!("siskin: {large}: needs ")) && said.contains("room for 40.0 MiB; "),
        "{said}"
    );
    assert_eq!(said.matches("are taken back").count(), 2, "{said}");

    // Chance goes on as if nothing had been tried.
    let by_chance = |tried: &str| {
        let lines = format!("hello\n{tried}lamp\n");
        chat(&["--temp", "3", "-s", "5", "-n", "20", "--memory", "40m"], &lines).0
    };
    assert_eq!(by_chance(&format!("/model {large}\n")), by_chance(""));
}

#[test]
fn a_model_that_was_pulled_is_meant_by_its_name() {
    let demo = fs::read(here("../demo/siskin-demo.gguf")).unwrap();
    let hub = Repository::with(&[("Demo-Q4_K_M.gguf", &demo)]).serve();
    let user = User::of(&hub);
    user.said(&["pull", "hf.co/org/repo"]);
    for line in ["/model hf.co/Org/Repo:Q4_K_M", "/load hf.co/org/repo"] {
        let chat = user.command(&["chat", "--threads=1", "--temp", "0"]);
        let (answers, said) = answered(chat, &format!("{line}\nhello\n"));
        assert_eq!(answers, HELLO);
        assert!(!said.contains("siskin: ") && said.contains(" tokens of context\n"), "{said}");
    }
}
