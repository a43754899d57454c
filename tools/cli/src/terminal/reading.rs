//! What is told of a long prompt while the model reads it.

use anyhow::Result;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use siskin::Answer;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal};
use std::time::Duration;

/// Prompts of fewer new tokens are read before anybody wonders.
const SHORT: u64 = 64;
/// So are those that take no longer.
const SOON: Duration = Duration::from_millis(500);

/// Has the model read the prompt that `answer` is asked. Whoever waits for it at a terminal is told how far it is, how
/// fast, and how long it will take at that rate; pipes and files are told nothing.
///
/// # Errors
/// As for [`Answer::read_prompt`].
pub(crate) fn read_prompt(answer: &mut Answer) -> Result<()> {
    const EACH: Duration = Duration::from_millis(100);
    let count = (answer.prompt().len() - answer.reused()) as u64;
    if count < SHORT || !io::stderr().is_terminal() {
        return Ok(answer.read_prompt()?);
    }
    let bar = ProgressBar::new(count);
    let told = move |state: &ProgressState, out: &mut dyn fmt::Write| {
        // What cannot be drawn is not needed.
        let _ = out.write_str(&progress(state.pos(), count, state.elapsed()));
    };
    if let Ok(style) = ProgressStyle::with_template("{reading}") {
        bar.set_style(style.with_key("reading", told));
    }
    bar.enable_steady_tick(EACH);
    let read = answer.read_prompt_telling(|fed| bar.set_position(fed as u64));
    bar.finish_and_clear();
    Ok(read?)
}

/// Such as `| reading the prompt: 512 of 2048 tokens, 64.0 tokens/s, 24 s left`; nothing as long as it may be over soon.
fn progress(done: u64, count: u64, time: Duration) -> String {
    const FRAMES: [char; 4] = ['|', '/', '-', '\\'];
    if time < SOON {
        return String::new();
    }
    let frame = usize::try_from(time.as_millis() / 200).map_or(' ', |turn| FRAMES[turn % FRAMES.len()]);
    let mut text = format!("{frame} reading the prompt: {done} of {count} tokens");
    if done > 0 {
        let rate = done as f64 / time.as_secs_f64();
        let left = (count.saturating_sub(done) as f64 / rate).ceil();
        // Writing to a string cannot fail.
        let _ = match (left / 60.0).floor() {
            minutes @ 1.0.. => {
                write!(text, ", {rate:.1} tokens/s, {minutes} min {} s left", left - 60.0 * minutes)
            }
            _ => write!(text, ", {rate:.1} tokens/s, {left} s left"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_is_left_follows_from_the_rate_so_far() {
        let told = |done, count, millis| progress(done, count, Duration::from_millis(millis));
        assert_eq!(told(100, 1000, 499), "");
        assert_eq!(told(0, 1000, 600), "\\ reading the prompt: 0 of 1000 tokens");
        assert_eq!(
            told(512, 2048, 8000),
            "| reading the prompt: 512 of 2048 tokens, 64.0 tokens/s, 24 s left"
        );
        assert_eq!(
            told(256, 4096, 25_600),
            "| reading the prompt: 256 of 4096 tokens, 10.0 tokens/s, 6 min 24 s left"
        );
        assert!(told(10, 10, 1000).ends_with(", 10.0 tokens/s, 0 s left"));
    }
}
