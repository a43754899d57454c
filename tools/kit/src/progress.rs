//! Progress bars.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on standard error for `length` steps, in a style of indicatif's. It draws nothing where that is no terminal.
pub fn bar(length: u64, style: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    match ProgressStyle::with_template(style) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
