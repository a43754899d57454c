//! What systemd is told, where it is who started the server (`Type=notify`, `WatchdogSec=`).

use sd_notify::NotifyState;

/// Clients can connect.
pub(crate) fn is_ready() {
    let _ = sd_notify::notify(false, &[NotifyState::Ready]);
}

/// The server still does what it is there for.
pub(crate) fn is_alive() {
    let _ = sd_notify::notify(false, &[NotifyState::Watchdog]);
}

/// The server is about to end.
pub(crate) fn is_ending() {
    let _ = sd_notify::notify(false, &[NotifyState::Stopping]);
}
