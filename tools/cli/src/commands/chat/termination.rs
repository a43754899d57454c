use crate::terminal::{Interrupt, stalled};
use anyhow::{Context, Result, bail};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use std::ffi::c_int;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{process, thread};

/// Signals that end the conversation: at once while a line is waited for, else as soon as the answer is broken off.
///
/// Neither a line editor nor a read of a pipe returns when a signal comes, so a thread waits for it. A terminal that takes
/// nothing any more keeps nobody.
#[derive(Debug)]
pub(super) struct Termination(Arc<State>);

#[derive(Debug)]
struct State {
    /// Raised to break off an answer.
    interrupt: Interrupt,
    came: AtomicBool,
    /// A line is waited for. Whoever holds the lock keeps that from changing.
    reading: Mutex<bool>,
    /// The terminal's settings before a line editor had it; None where input is no terminal.
    terminal: Option<Termios>,
}

impl Termination {
    /// Hears the signals from now on. The second of them ends the program as if nobody heard it.
    pub(super) fn on(signals: &[c_int], interrupt: &Interrupt) -> Result<Termination> {
        let state = State {
            interrupt: interrupt.clone(),
            came: AtomicBool::new(false),
            reading: Mutex::new(false),
            terminal: tcgetattr(io::stdin()).ok(),
        };
        let termination = Termination(Arc::new(state));
        let mut signals = Signals::new(signals).context("handling signals")?;
        let state = Arc::clone(&termination.0);
        let listen = move || signals.forever().for_each(|signal| state.end(signal));
        thread::Builder::new().name("signals".to_owned()).spawn(listen).context("handling signals")?;
        Ok(termination)
    }

    /// Waits for a line. Where a signal comes meanwhile, or came before, the program ends here.
    pub(super) fn while_reading<T>(&self, read: impl FnOnce() -> Result<T>) -> Result<T> {
        self.set_reading(true)?;
        let line = read();
        self.set_reading(false)?;
        line
    }

    fn set_reading(&self, reading: bool) -> Result<()> {
        let mut now = self.0.reading();
        if self.came() {
            bail!("interrupted");
        }
        *now = reading;
        Ok(())
    }

    /// Whether a signal came. The interrupt is raised after this is so: one that is lowered before asking is not lost.
    pub(super) fn came(&self) -> bool {
        self.0.came.load(Ordering::SeqCst)
    }
}

impl State {
    fn end(&self, signal: c_int) {
        let reading = self.reading();
        if self.came.swap(true, Ordering::SeqCst) {
            // It can only fail for signals that nobody can hear.
            let _ = emulate_default_handler(signal);
        }
        self.interrupt.raise();
        stalled::end_where_nobody_reads(self.terminal.clone());
        if *reading {
            self.leave_terminal();
            let _ = writeln!(io::stderr(), "siskin: interrupted");
            process::exit(1);
        }
    }

    fn reading(&self) -> MutexGuard<'_, bool> {
        // A flag is whole whatever happened to the thread that held it.
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Undoes what a line editor did to the terminal, and leaves the line that it is on.
    fn leave_terminal(&self) {
        const NO_BRACKETED_PASTE: &[u8] = b"\x1b[?2004l";
        let Some(before) = &self.terminal else { return };
        let edited = tcgetattr(io::stdin()).is_ok_and(|now| !now.local_modes.contains(LocalModes::ICANON));
        // Nothing more can be done about a terminal that is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        let mut out = io::stdout().lock();
        if edited {
            let _ = out.write_all(NO_BRACKETED_PASTE);
        }
        let _ = out.write_all(b"\n").and_then(|()| out.flush());
    }
}
