//! Ctrl-C and SIGTERM, which end what a session is at.

use super::stalled;
use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Whether someone wants the work to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Hears Ctrl-C from now on, in place of being ended by it.
    pub(crate) fn on_ctrl_c() -> Result<Interrupt> {
        let interrupt = Interrupt::default();
        flag::register(SIGINT, Arc::clone(&interrupt.0)).context("handling Ctrl-C")?;
        Ok(interrupt)
    }

    /// Hears Ctrl-C and SIGTERM from now on. The second of them ends the program at once, and the first where nobody takes
    /// what it writes.
    pub(crate) fn on_termination() -> Result<Interrupt> {
        const HANDLING: &str = "handling Ctrl-C and SIGTERM";
        let interrupt = Interrupt::default();
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag down, and raises it.
            flag::register_conditional_default(signal, Arc::clone(&interrupt.0))
                .and_then(|_| flag::register(signal, Arc::clone(&interrupt.0)))
                .context(HANDLING)?;
        }
        let mut signals = Signals::new([SIGINT, SIGTERM]).context(HANDLING)?;
        let listen = move || {
            if signals.forever().next().is_some() {
                stalled::end_where_nobody_reads(None);
            }
        };
        thread::Builder::new().name("siskin-signals".to_owned()).spawn(listen).context(HANDLING)?;
        Ok(interrupt)
    }

    /// What is true when a signal came.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// Makes it as if a signal came.
    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Forgets the signals that came.
    pub(crate) fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
