use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends a pull from another thread: what has come stays where that is of use. A server that says nothing is waited for as long
/// as it may.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Has the pull end.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is to end.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
