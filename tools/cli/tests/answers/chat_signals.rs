//! `siskin chat` when signals come, in a terminal and behind pipes.

use crate::terminal::{Terminal, command, ended, is_full, read_until, signal};
use std::io::Write;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Answers that do not end by themselves: the token that would end them is banned.
const ENDLESS: [&str; 10] =
    ["chat", "-c", "64", "--when-full", "window", "--logit-bias", "2-inf", "--temp", "0", "--threads=1"];

#[test]
fn a_signal_in_the_middle_of_a_line_gives_the_terminal_back() {
    let mut terminal = Terminal::start(&["chat", "--threads=1"]);
    assert!(terminal.is_plain());
    read_until(&mut terminal.user, "> ");
    terminal.user.write_all(b"hel").unwrap();
    read_until(&mut terminal.user, "hel");
    assert!(!terminal.is_plain());
    signal(&terminal.child, "-TERM");
    let said = terminal.interrupted("siskin: interrupted\r\n");
    assert!(said.contains("\x1b[?2004l\r\n"), "{said:?}");
}

#[test]
fn a_signal_in_a_terminal_ends_the_answer_and_the_chat() {
    let mut terminal = Terminal::start(&ENDLESS);
    read_until(&mut terminal.user, "> ");
    terminal.user.write_all(b"hello\r").unwrap();
    read_until(&mut terminal.user, "Hello! How");
    signal(&terminal.child, "-TERM");
    terminal.interrupted("\r\nsiskin: interrupted: the answer is not complete\r\n");
}

#[test]
fn ctrl_c_in_a_terminal_ends_the_answer_alone() {
    let mut terminal = Terminal::start(&ENDLESS);
    read_until(&mut terminal.user, "> ");
    terminal.user.write_all(b"hello\r").unwrap();
    read_until(&mut terminal.user, "Hello! How");
    signal(&terminal.child, "-INT");
    read_until(&mut terminal.user, "> ");
    terminal.user.write_all(b"/quit\r").unwrap();
    assert_eq!(terminal.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_signal_ends_a_chat_behind_pipes() {
    for name in ["-TERM", "-INT"] {
        let piped = || {
            let mut chat = command(&ENDLESS);
            chat.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        // In the middle of an answer.
        let mut child = piped();
        child.stdin.as_mut().unwrap().write_all(b"hello\n").unwrap();
        let begun = read_until(child.stdout.as_mut().unwrap(), "Hello! How");
        signal(&child, name);
        let ended = child.wait_with_output().unwrap();
        let rest = String::from_utf8(ended.stdout).unwrap();
        assert!(begun == "Hello! How" && rest.ends_with('\n'), "{rest:?}");
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(said.ends_with("siskin: interrupted: the answer is not complete\n"), "{said}");
        assert_eq!(ended.status.code(), Some(1));

        // While it waits for a line: that it does is known from what /help said.
        let mut child = piped();
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"/help\n").unwrap();
        read_until(child.stderr.as_mut().unwrap(), "show this list\n");
        signal(&child, name);
        let ended = child.wait_with_output().unwrap();
        drop(input);
        assert_eq!(String::from_utf8(ended.stderr).unwrap(), "siskin: interrupted\n");
        assert_eq!((ended.stdout.as_slice(), ended.status.code()), (&b""[..], Some(1)));
    }
}

/// Waits until nobody takes what is written, and sees that a signal ends the program all the same.
fn ends_though_stalled(child: &mut Child, is_full: impl Fn() -> bool) {
    let begun = Instant::now();
    let mut full = 0;
    while full < 10 {
        assert!(begun.elapsed() < Duration::from_mins(5), "it does not fill up");
        thread::sleep(Duration::from_millis(20));
        full = if is_full() { full + 1 } else { 0 };
    }
    signal(child, "-TERM");
    assert_eq!(ended(child), Some(1));
}

#[test]
fn a_signal_ends_an_answer_that_a_terminal_does_not_take() {
    let mut terminal = Terminal::start(&ENDLESS);
    read_until(&mut terminal.user, "> ");
    terminal.user.write_all(b"hello\r").unwrap();
    read_until(&mut terminal.user, "Hello! How");
    // It takes no more once it has room for no more.
    let stalled = terminal.fullness();
    ends_though_stalled(&mut terminal.child, stalled);
}

#[test]
fn a_signal_ends_a_line_on_a_terminal_that_takes_nothing() {
    let mut terminal = Terminal::start(&["chat", "--threads=1"]);
    read_until(&mut terminal.user, "> ");
    terminal.stop();
    terminal.user.write_all(b"hello").unwrap();
    thread::sleep(Duration::from_millis(300));
    signal(&terminal.child, "-TERM");
    assert_eq!(ended(&mut terminal.child), Some(1));
    assert!(terminal.is_plain());
}

#[test]
fn a_signal_ends_a_run_whose_answer_nobody_takes() {
    let endless = [&["run", "-p", "hello"], &ENDLESS[1..]].concat();
    let mut terminal = Terminal::start(&endless);
    read_until(&mut terminal.user, "Hello! How");
    terminal.stop();
    let stalled = terminal.fullness();
    ends_though_stalled(&mut terminal.child, stalled);

    // A pipe whose reader sleeps.
    let (reader, writer) = std::io::pipe().unwrap();
    let other = writer.try_clone().unwrap();
    let mut child = command(&endless).stdout(writer).stderr(Stdio::null()).spawn().unwrap();
    ends_though_stalled(&mut child, || is_full(&other));
    drop(reader);
}
