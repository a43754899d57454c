//! Progress bars.

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use std::fmt;

/// A bar on standard error for `length` steps, in a style of indicatif's, in which `{rate}` is how many of them are done
/// in a second or, where that is less than one, in a minute. It draws nothing where that is no terminal.
pub fn bar(length: u64, style: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    // indicatif's own `{per_sec:>12}` would have 12 digits behind the point.
    let told = |state: &ProgressState, out: &mut dyn fmt::Write| {
        // What cannot be drawn is not needed.
        let _ = out.write_str(&rate(state.per_sec()));
    };
    match ProgressStyle::with_template(style) {
        Ok(style) => bar.with_style(style.with_key("rate", told)),
        Err(_) => bar,
    }
}

fn rate(per_second: f64) -> String {
    match per_second {
        1.0.. => format!("{per_second:.1}/s"),
        _ => format!("{:.1}/min", per_second * 60.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_a_digit_behind_the_point() {
        assert_eq!(rate(1.278_712_407_625), "1.3/s");
        assert_eq!(rate(1234.5), "1234.5/s");
        assert_eq!(rate(0.0123), "0.7/min");
        assert_eq!(rate(0.0), "0.0/min");
    }
}
