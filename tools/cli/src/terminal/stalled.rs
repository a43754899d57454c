//! Terminals and pipes that take nothing any more.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::low_level;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// How long somebody who is told to end waits for them.
const PATIENCE: Duration = Duration::from_secs(1);

/// Sees to it that a program that is told to end does so though nobody takes what it writes, as on a terminal that Ctrl-S
/// stopped: a write that waits returns at no signal. `before` are the terminal's settings to leave behind, where it has
/// others now.
pub(crate) fn end_where_nobody_reads(before: Option<Termios>) {
    // Where no thread can be started, a second signal ends the program.
    let _ = thread::Builder::new().name("siskin-ending".to_owned()).spawn(move || {
        wait_until_stalled();
        if let Some(before) = before
            && tcgetattr(io::stdin()).is_ok()
        {
            // Nothing more can be done about a terminal that is gone.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
        }
        // At once: whoever waits to write has what is needed for an ordinary end.
        low_level::exit(1);
    });
}

/// Returns once standard output or standard error have taken nothing for as long as [`PATIENCE`] says.
fn wait_until_stalled() {
    const EACH: Duration = Duration::from_millis(50);
    let mut since = Instant::now();
    while since.elapsed() < PATIENCE {
        thread::sleep(EACH);
        if !is_stalled() {
            since = Instant::now();
        }
    }
}

/// Whether one of them would not take anything now. One whose reader is gone takes all.
fn is_stalled() -> bool {
    let (out, err) = (io::stdout(), io::stderr());
    let mut both = [PollFd::new(&out, PollFlags::OUT), PollFd::new(&err, PollFlags::OUT)];
    match poll(&mut both, Some(&Timespec::default())) {
        Ok(_) => both.iter().any(|stream| stream.revents().is_empty()),
        Err(_) => false,
    }
}
