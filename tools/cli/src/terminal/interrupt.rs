//! Ctrl-C and SIGTERM, which end what a session is at.

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

    /// Hears Ctrl-C and SIGTERM from now on. The second of them ends the program at once.
    pub(crate) fn on_termination() -> Result<Interrupt> {
        let interrupt = Interrupt::default();
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag down, and raises it.
            flag::register_conditional_default(signal, Arc::clone(&interrupt.0))
                .and_then(|_| flag::register(signal, Arc::clone(&interrupt.0)))
                .context("handling Ctrl-C and SIGTERM")?;
        }
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
