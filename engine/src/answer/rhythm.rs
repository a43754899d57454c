//! How much of the prompts is read in a step while others wait for their next token.
//!
//! A step takes a token of each answer through the weights, and with them as many tokens of prompts as it is given. The more
//! these are the sooner a prompt is read, and the longer everybody else waits. So a step with prompts may take no more than
//! so many times what one without takes. How long steps take is measured as they go; it changes when tokens come, and no bit
//! of them.

/// Which part of the prompts is read in a step.
#[derive(Debug)]
pub(super) struct Rhythm {
    /// How many times longer a step may take with prompts than without.
    slowdown: f64,
    /// Seconds of a step without prompts, by the number of answers that it goes on with; 0 where that was not measured.
    alone: Vec<f64>,
    /// Tokens of prompts in a step.
    slice: f64,
}

/// What is read in a step as long as nothing was measured.
const FIRST: f64 = 16.0;
/// How fast measurements are forgotten: the share of a new one.
const NEWEST: f64 = 0.2;
/// What is aimed at is a little less than what is allowed, as steps vary.
const AIM: f64 = 0.85;

impl Rhythm {
    /// For up to so many answers at a time, whose steps may take `slowdown` times as long for the sake of prompts.
    pub(super) fn new(places: usize, slowdown: f32) -> Self {
        Self { slowdown: f64::from(slowdown).max(1.0), alone: vec![0.0; places + 1], slice: FIRST }
    }

    /// Tokens of prompts in a step that goes on with so many answers, at most; at least 1.
    pub(super) fn slice(&self, answers: usize) -> usize {
        if answers == 0 || self.slowdown.is_infinite() {
            return usize::MAX;
        }
        self.slice as usize
    }

    /// Learns how long a step took that went on with so many answers, and read so many tokens of prompts.
    pub(super) fn took(&mut self, answers: usize, prompt: usize, seconds: f64) {
        if answers == 0 || self.slowdown.is_infinite() {
            return;
        }
        if prompt == 0 {
            if let Some(alone) = self.alone.get_mut(answers) {
                *alone = if *alone == 0.0 { seconds } else { *alone + NEWEST * (seconds - *alone) };
            }
            return;
        }
        let Some(alone) = self.without(answers) else { return };
        let (allowed, added) = (alone * (self.slowdown - 1.0) * AIM, (seconds - alone).max(0.0));
        let is_whole = prompt >= self.slice as usize;
        if added > allowed || is_whole {
            // Upwards a little at a time: some tokens more cost nothing, where weights are read anyway, then they do.
            let fitting = (allowed / added.max(1e-9)).clamp(0.5, 1.125);
            let read = if is_whole { self.slice } else { prompt as f64 };
            let most = prompt as f64 * allowed / AIM / added.max(1e-9);
            self.slice = (read * fitting).min(most).clamp(1.0, 4096.0);
        }
    }

    /// Seconds of a step without prompts: as it was with so many answers, or else with the nearest number of them.
    fn without(&self, answers: usize) -> Option<f64> {
        let known = self.alone.iter().enumerate().filter(|(_, seconds)| **seconds > 0.0);
        known.min_by_key(|(number, _)| number.abs_diff(answers)).map(|(_, seconds)| *seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a prompt beside an answer on a machine where a step takes `alone` seconds and `each` more for each token of a
    /// prompt behind the first `free`. Returns the longest step behind the first sixteen, by `alone`, and how many there were.
    fn read(slowdown: f32, prompt: usize, alone: f64, each: f64, free: usize) -> (f64, usize) {
        let mut rhythm = Rhythm::new(4, slowdown);
        let (mut left, mut longest, mut steps) = (prompt, 0.0f64, 0);
        rhythm.took(1, 0, alone);
        while left > 0 {
            let slice = rhythm.slice(1).min(left);
            let seconds = alone + each * slice.saturating_sub(free) as f64;
            rhythm.took(1, slice, seconds);
            left -= slice;
            steps += 1;
            if steps > 16 {
                longest = longest.max(seconds / alone);
            }
        }
        (longest, steps)
    }

    #[test]
    fn steps_stay_within_the_bound_and_near_it() {
        for slowdown in [1.5, 2.0, 4.0] {
            for (alone, each, free) in [(0.01, 0.001, 0), (0.01, 0.001, 6), (0.3, 0.1, 0), (0.1, 0.0001, 0)] {
                let (longest, steps) = read(slowdown, 4000, alone, each, free);
                assert!(longest <= f64::from(slowdown) + 1e-9, "{slowdown} {alone} {each} {free}: {longest}");
                let slice = free as f64 + alone * (f64::from(slowdown) - 1.0) / each;
                let best = (4000.0 / slice.max(1.0)).ceil();
                assert!(
                    (steps as f64) < 2.0 * best + 48.0,
                    "{slowdown} {alone} {each} {free}: {steps} of {best}"
                );
            }
        }
    }

    #[test]
    fn prompts_are_read_whole_where_nobody_waits_or_all_may() {
        let rhythm = Rhythm::new(4, 2.0);
        assert_eq!((rhythm.slice(0), rhythm.slice(1)), (usize::MAX, 16));
        assert_eq!(Rhythm::new(4, f32::INFINITY).slice(3), usize::MAX);
    }

    #[test]
    fn a_bound_of_one_still_reads_a_token_a_step() {
        let (_, steps) = read(1.0, 100, 0.01, 0.001, 0);
        assert!(steps <= 100);
    }
}
