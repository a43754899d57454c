//! `siskin chat` as somebody before a terminal meets it.

use crate::common::text;
use crate::terminal::{Terminal, command, ended, read_until, signal};
use serde_json::Value;
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

#[test]
fn pasted_lines_are_one_message() {
    let folder = tempfile::tempdir().unwrap();
    let talk = folder.path().join("talk.json");
    let mut terminal = Terminal::start(&CHAT);
    let mut say = |keys: &str, end: &str| {
        terminal.user.write_all(keys.as_bytes()).unwrap();
        read_until(&mut terminal.user, end)
    };
    say("", "> ");
    // Whatever the terminal has ended its lines with.
    say("\x1b[200~hello\r/quit\nhow are\r\nyou?\x1b[201~\r", "> ");
    say(&format!("/save {}\r", text(&talk)), &format!("saved to {}\r\n", text(&talk)));
    say("/quit\r", "/quit");
    terminal.rest();
    let saved: Value = serde_json::from_slice(&fs::read(&talk).unwrap()).unwrap();
    let messages: Vec<_> = saved.as_array().unwrap().iter().map(|message| message["role"].as_str()).collect();
    assert_eq!(messages, [Some("user"), Some("assistant")]);
    assert_eq!(saved[0]["content"], "hello\n/quit\nhow are\nyou?");
}

fn screen(rows: u16, columns: u16) -> vt100::Parser {
    let [rows, columns] = [rows, columns].map(|count| count.try_into().unwrap());
    vt100::Parser::new(rows, columns, 0)
}

/// What is on the screen, and where its cursor is, after these keys.
fn typed(columns: u16, keys: &str) -> (String, (u16, u16)) {
    let mut screen = screen(10, columns);
    let mut terminal = Terminal::start(&CHAT);
    terminal.resize(10, columns);
    terminal.show(&mut screen);
    terminal.user.write_all(keys.as_bytes()).unwrap();
    terminal.show(&mut screen);
    let (row, column) = screen.screen().cursor_position();
    let rows: Vec<String> = screen.screen().rows(0, columns).collect();
    let first = rows.iter().position(|row| row.starts_with("> ")).unwrap();
    let line = rows[first..=usize::from(row)].join("|");
    signal(&terminal.child, "-TERM");
    ended(&mut terminal.child);
    (line, (row - first as u16, column))
}

#[test]
fn wide_and_combining_characters_stand_where_the_cursor_is() {
    const LEFT: &str = "\x1b[D";
    for (keys, line, cursor) in [
        // Two columns each.
        ("你好吗".to_owned(), "> 你好吗", (0, 8)),
        (format!("你好吗{LEFT}{LEFT}"), "> 你好吗", (0, 4)),
        (format!("你吗{LEFT}好"), "> 你好吗", (0, 6)),
        ("한국어 日本".to_owned(), "> 한국어 日本", (0, 13)),
        ("你好\x7f!".to_owned(), "> 你!", (0, 5)),
        // An accent of its own stands on the letter before.
        (format!("cafe\u{301}s{LEFT}"), "> cafe\u{301}s", (0, 6)),
        (format!("e\u{301}e\u{301}{LEFT}x"), "> e\u{301}xe\u{301}", (0, 4)),
        // Emoji.
        (format!("a😀b{LEFT}"), "> a😀b", (0, 5)),
        (format!("😀😀{LEFT}\x7f"), "> 😀", (0, 2)),
        // The beginning and the end of the line.
        ("你好\x01x".to_owned(), "> x你好", (0, 3)),
        ("你好\x01\x05x".to_owned(), "> 你好x", (0, 7)),
    ] {
        assert_eq!(typed(40, &keys), (line.to_owned(), cursor), "{keys:?}");
    }
    // A character that has no room in the last column goes to the next row.
    let (line, cursor) = typed(11, "你好吗好你");
    assert_eq!((line.as_str(), cursor), ("> 你好吗好|你", (1, 2)));
}

#[test]
fn whoever_waits_for_a_long_prompt_is_told_how_long() {
    // Some seconds, where nothing is told within the first half of one.
    let prompt = "please turn on the kitchen light ".repeat(12);
    let slow = ["--temp", "0", "--isa=scalar", "--threads=1", "--batch-size=1", "-n", "1"];
    let reading = |said: &str| {
        let at = said.rfind("reading the prompt: ").unwrap_or_else(|| panic!("{said:?}"));
        let told = &said[at..];
        assert!(told.contains(" tokens/s, ") && told.contains(" s left"), "{told:?}");
    };
    let mut terminal = Terminal::start(&[&["chat"], &slow[..]].concat());
    read_until(&mut terminal.user, "> ");
    terminal.user.write_all(format!("{prompt}\r").as_bytes()).unwrap();
    let mut screen = screen(60, 200);
    let said = read_until(&mut terminal.user, " s left");
    reading(&said);
    let rest = read_until(&mut terminal.user, "> ");
    terminal.user.write_all(b"/quit\r").unwrap();
    terminal.rest();
    screen.process(said.as_bytes());
    assert!(screen.screen().contents().contains("reading the prompt"));
    // Of which nothing is left.
    screen.process(rest.as_bytes());
    assert!(!screen.screen().contents().contains("reading the prompt"), "{}", screen.screen().contents());

    let run = [&["run", "-p", &prompt], &slow[..]].concat();
    reading(&Terminal::start(&run).rest());
    let quiet = command(&run).output().unwrap();
    assert!(quiet.status.success() && !String::from_utf8_lossy(&quiet.stderr).contains("reading"));
}
