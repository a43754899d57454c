//! What is told of a long prompt while the model reads it.

use anyhow::Result;
use siskin::Answer;
use std::io::{self, IsTerminal, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

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
    const EACH: Duration = Duration::from_millis(200);
    let count = (answer.prompt().len() - answer.reused()) as u64;
    if count < SHORT || !io::stderr().is_terminal() {
        return Ok(answer.read_prompt()?);
    }
    let (fed, start) = (&AtomicU64::new(0), Instant::now());
    let (done, is_done) = mpsc::channel::<()>();
    let tell = move || {
        while is_done.recv_timeout(EACH) == Err(RecvTimeoutError::Timeout) {
            show(&progress(fed.load(Ordering::Relaxed), count, start.elapsed()));
        }
        show("");
    };
    thread::scope(|scope| {
        // Where no thread can be started, nothing is told.
        let _ = thread::Builder::new().name("siskin-progress".to_owned()).spawn_scoped(scope, tell);
        let read = answer.read_prompt_telling(|count| fed.store(count as u64, Ordering::Relaxed));
        drop(done);
        Ok(read?)
    })
}

/// Has a line of the terminal say this, and the next one take its place.
fn show(line: &str) {
    // What cannot be shown is not needed.
    let _ = write!(io::stderr().lock(), "\r{line}\x1b[K");
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
        let left = match (left / 60.0).floor() {
            minutes @ 1.0.. => format!("{minutes} min {} s left", left - 60.0 * minutes),
            _ => format!("{left} s left"),
        };
        text += &format!(", {rate:.1} tokens/s, {left}");
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
