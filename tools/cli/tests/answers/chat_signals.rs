//! `siskin chat` when signals come, in a terminal and behind pipes.

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Answers that do not end by themselves: the token that would end them is banned.
const ENDLESS: [&str; 10] =
    ["chat", "-c", "64", "--when-full", "window", "--logit-bias", "2-inf", "--temp", "0", "--threads=1"];

fn chat(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_siskin"));
    command.args(arguments);
    command
}

fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

/// What the program says until `end` comes.
fn read_until(from: &mut impl Read, end: &str) -> String {
    let mut said = Vec::new();
    while !said.ends_with(end.as_bytes()) {
        let mut byte = [0];
        from.read_exact(&mut byte).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&said)));
        said.extend(byte);
    }
    String::from_utf8(said).unwrap()
}

/// A chat in a terminal.
struct Terminal {
    child: Child,
    /// The side of whoever sits before it.
    user: File,
    /// The program's side. The terminal would forget its settings if nobody had it open.
    _program: File,
    _state: TempDir,
}

impl Terminal {
    fn start(arguments: &[&str]) -> Terminal {
        let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&user).unwrap();
        unlockpt(&user).unwrap();
        let name = ptsname(&user, Vec::new()).unwrap().into_string().unwrap();
        let program = File::options().read(true).write(true).open(name).unwrap();
        let state = tempfile::tempdir().unwrap();
        let child = chat(arguments)
            .env("XDG_STATE_HOME", state.path())
            .env("TERM", "xterm")
            .stdin(program.try_clone().unwrap())
            .stdout(program.try_clone().unwrap())
            .stderr(program.try_clone().unwrap())
            .spawn()
            .unwrap();
        Terminal { child, user: user.into(), _program: program, _state: state }
    }

    /// The terminal gives whole lines to programs, and echoes them, as it does where no editor has it.
    fn is_plain(&self) -> bool {
        tcgetattr(&self.user).unwrap().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// What is said until the program has ended with `last`, as interrupted ones do.
    fn interrupted(mut self, last: &str) -> String {
        let said = read_until(&mut self.user, last);
        assert_eq!(self.child.wait().unwrap().code(), Some(1), "{said:?}");
        assert!(self.is_plain(), "{said:?}");
        said
    }
}

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
            let mut command = chat(&ENDLESS);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
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
