//! A terminal with the program in it, and somebody before it.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Action, LocalModes, Winsize, tcflow, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The program with these arguments.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_siskin"));
    command.args(arguments);
    command
}

/// What the program says until `end` comes.
pub(crate) fn read_until(from: &mut impl Read, end: &str) -> String {
    let mut said = Vec::new();
    while !said.ends_with(end.as_bytes()) {
        let mut byte = [0];
        from.read_exact(&mut byte).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&said)));
        said.extend(byte);
    }
    String::from_utf8(said).unwrap()
}

/// Sends a signal to the program.
pub(crate) fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

/// Whether a terminal or a pipe would not take another byte.
pub(crate) fn is_full(to: &impl AsFd) -> bool {
    let mut to = [PollFd::new(to, PollFlags::OUT)];
    poll(&mut to, Some(&Timespec::default())).unwrap();
    to[0].revents().is_empty()
}

/// How the program ended, which it must within some seconds.
pub(crate) fn ended(child: &mut Child) -> Option<i32> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    panic!("it does not end");
}

/// The program in a terminal.
pub(crate) struct Terminal {
    pub(crate) child: Child,
    /// The side of whoever sits before it.
    pub(crate) user: File,
    /// The program's side. The terminal would forget its settings if nobody had it open.
    program: File,
    _state: TempDir,
}

impl Terminal {
    pub(crate) fn start(arguments: &[&str]) -> Terminal {
        Terminal::of("xterm", arguments)
    }

    /// A terminal of this kind.
    pub(crate) fn of(kind: &str, arguments: &[&str]) -> Terminal {
        Terminal::with(kind, arguments, |_| ())
    }

    /// A terminal of this kind, and a program that is changed by `prepare` before it starts.
    pub(crate) fn with(kind: &str, arguments: &[&str], prepare: impl FnOnce(&mut Command)) -> Terminal {
        let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&user).unwrap();
        unlockpt(&user).unwrap();
        let name = ptsname(&user, Vec::new()).unwrap().into_string().unwrap();
        let program = File::options().read(true).write(true).open(name).unwrap();
        let state = tempfile::tempdir().unwrap();
        let mut command = command(arguments);
        command.env("XDG_STATE_HOME", state.path()).env("TERM", kind);
        prepare(&mut command);
        let child = command
            .stdin(program.try_clone().unwrap())
            .stdout(program.try_clone().unwrap())
            .stderr(program.try_clone().unwrap())
            .spawn()
            .unwrap();
        Terminal { child, user: user.into(), program, _state: state }
    }

    /// Makes it so many rows and columns.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.program, size).unwrap();
    }

    /// Takes nothing any more, as after Ctrl-S.
    pub(crate) fn stop(&self) {
        tcflow(&self.program, Action::OOff).unwrap();
    }

    /// What says whether it would not take another byte from the program.
    pub(crate) fn fullness(&self) -> impl Fn() -> bool + use<> {
        let program = self.program.try_clone().unwrap();
        move || is_full(&program)
    }

    /// Adds to `screen` what the program says until it has said nothing for a while.
    pub(crate) fn show(&mut self, screen: &mut vt100::Parser) {
        let quiet = Timespec { tv_sec: 0, tv_nsec: 400_000_000 };
        loop {
            let mut user = [PollFd::new(&self.user, PollFlags::IN)];
            if poll(&mut user, Some(&quiet)).unwrap() == 0 {
                return;
            }
            let mut said = [0; 4096];
            let count = self.user.read(&mut said).unwrap();
            screen.process(&said[..count]);
        }
    }

    /// The terminal gives whole lines to programs, and echoes them, as it does where no editor has it.
    pub(crate) fn is_plain(&self) -> bool {
        tcgetattr(&self.user).unwrap().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// What is said until the program has ended with `last`, as interrupted ones do.
    pub(crate) fn interrupted(mut self, last: &str) -> String {
        let said = read_until(&mut self.user, last);
        assert_eq!(self.child.wait().unwrap().code(), Some(1), "{said:?}");
        assert!(self.is_plain(), "{said:?}");
        said
    }

    /// What is said until the program ends, which it must do well.
    pub(crate) fn rest(mut self) -> String {
        drop(self.program);
        let mut said = Vec::new();
        // The terminal ends with an error once nobody has it open.
        let _ = self.user.read_to_end(&mut said);
        let said = String::from_utf8(said).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{said:?}");
        said
    }
}
