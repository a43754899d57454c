//! `siskin chat` as somebody before a terminal meets it.

use crate::common::text;
use crate::terminal::{Terminal, read_until};
use std::fs;
use std::io::Write;

const HELLO: &str = "Hello! How can I help?";
const CHAT: [&str; 4] = ["chat", "--temp", "0", "--threads=1"];

#[test]
fn lines_that_arrive_together_are_all_answered_in_order() {
    for kind in ["xterm", "vt100", "dumb"] {
        let mut terminal = Terminal::of(kind, &CHAT);
        read_until(&mut terminal.user, "> ");
        terminal.user.write_all(b"hello\rplease turn on the kitchen light\r/reset\rhello\r").unwrap();
        read_until(&mut terminal.user, HELLO);
        terminal.user.write_all(b"/quit\r").unwrap();
        let said = terminal.rest();
        let answered =
            said.split_once("{\"intent\": \"switch\"").is_some_and(|(_, rest)| rest.contains(HELLO));
        assert!(answered && said.matches(HELLO).count() == 1, "{kind}: {said:?}");
    }
}

#[test]
fn a_file_is_replaced_only_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old.json"), folder.path().join("new.json"));
    fs::write(&old, "precious").unwrap();
    let mut terminal = Terminal::start(&CHAT);
    let mut say = |line: &str, end: &str| {
        terminal.user.write_all(format!("{line}\r").as_bytes()).unwrap();
        read_until(&mut terminal.user, end)
    };
    say("hello", HELLO);
    say("/save", "expected the name of a file, as in /save talk.json\r\n");
    let (old_name, new_name) = (text(&old).to_owned(), text(&new).to_owned());
    say(
        &format!("/save {old_name}"),
        &format!("{old_name} is there already: /save! {old_name} replaces it\r\n"),
    );
    assert_eq!(fs::read(&old).unwrap(), b"precious");
    say(&format!("/save {new_name}"), &format!("saved to {new_name}\r\n"));
    say(&format!("/save {new_name}"), "replaces it\r\n");
    say(&format!("/save! {old_name}"), &format!("saved to {old_name}\r\n"));
    assert_eq!(fs::read(&old).unwrap(), fs::read(&new).unwrap());
    say("/help", "show this list\r\n");
    terminal.user.write_all(b"/quit\r").unwrap();
    terminal.rest();
}
