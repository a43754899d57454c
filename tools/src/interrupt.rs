//! Ctrl-C, which work asks about between two of its steps.

use anyhow::{Context, Result};
use signal_hook::consts::SIGINT;
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

    /// Whether a signal came.
    pub(crate) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Forgets the signals that came.
    pub(crate) fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
