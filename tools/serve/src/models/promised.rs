//! What the models in memory may come to. They have touched but a part of that: who asks the system alone lets another one in that
//! there is no room for once their caches fill.

use siskin::plan::Outline;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Memory that was promised.
#[derive(Debug, Default)]
pub(crate) struct Promised {
    /// Bytes of the program before there was a model, with what clients take.
    program: OnceLock<u64>,
    /// Those of the models.
    models: AtomicU64,
}

impl Promised {
    /// Has a model that is to be loaded counted beside all others, for clients that take so many bytes. Returns what it is counted
    /// beside.
    pub(super) fn beside(&self, outline: &mut Outline, clients: u64) -> u64 {
        let present = outline.program();
        let program = *self.program.get_or_init(|| present.saturating_add(clients));
        let beside = program.saturating_add(self.models.load(Ordering::Relaxed)).max(present);
        outline.set_program(beside);
        beside
    }

    /// Promises so many bytes.
    pub(super) fn take(self: &Arc<Self>, bytes: u64) -> Share {
        self.models.fetch_add(bytes, Ordering::Relaxed);
        Share { of: Arc::clone(self), bytes }
    }

    /// Bytes that the program may take with all models in memory; 0 without one.
    pub(crate) fn bytes(&self) -> u64 {
        match self.models.load(Ordering::Relaxed) {
            0 => 0,
            models => models.saturating_add(self.program()),
        }
    }

    fn program(&self) -> u64 {
        self.program.get().copied().unwrap_or(0)
    }
}

/// A model's part.
#[derive(Debug)]
pub(super) struct Share {
    of: Arc<Promised>,
    bytes: u64,
}

impl Share {
    /// Bytes that the program would take with this model alone.
    pub(super) fn alone(&self) -> u64 {
        self.bytes.saturating_add(self.of.program())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.models.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
