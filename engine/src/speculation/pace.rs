/// How many guesses pay, by what passes take and by how likely a guess is right.
///
/// With n guesses, each right with chance c if those before it are, a pass comes to 1 + c + … + cⁿ tokens. What it takes
/// is measured for each n.
pub(super) struct Pace {
    /// Seconds of a pass with so many guesses; None where there was none yet.
    seconds: [Option<f64>; MOST + 1],
    chance: f64,
    /// Tokens that went by without a guess, and how many are to until one is tried.
    idle: usize,
    patience: usize,
}

/// Guesses at a time, at most.
pub(crate) const MOST: usize = 31;
/// What a guess adds to a pass until it was measured, in passes without any.
const HOPE: f64 = 0.12;
/// Weight of the newest time, and of the newest guess.
const TIMES: f64 = 0.2;
const CHANCES: f64 = 0.1;
/// Tokens until another try, the first time and at most.
const PATIENCE: usize = 32;
const LONGEST_PATIENCE: usize = 512;
/// Guesses of a try.
const TRIED: usize = 2;

impl Pace {
    pub(super) fn new() -> Self {
        Self { seconds: [None; MOST + 1], chance: 0.6, idle: 0, patience: PATIENCE }
    }

    /// The number of guesses, up to `most`, with which most tokens come a second.
    pub(super) fn choose(&mut self, most: usize) -> usize {
        let most = most.min(MOST);
        // A pass without guesses is what the others are measured by.
        let [Some(plain), ..] = self.seconds else { return 0 };
        let speed = |guesses: usize| {
            let tokens: f64 = (0..=guesses).map(|i| self.chance.powi(i as i32)).sum();
            let hoped = plain * (1.0 + HOPE * guesses as f64);
            tokens / self.seconds.get(guesses).copied().flatten().unwrap_or(hoped)
        };
        let best =
            (0..=most).fold(0, |best, guesses| if speed(guesses) > speed(best) { guesses } else { best });
        if best > 0 {
            (self.idle, self.patience) = (0, PATIENCE);
            return best;
        }
        self.idle += 1;
        if self.idle < self.patience {
            return 0;
        }
        self.idle = 0;
        self.patience = (2 * self.patience).min(LONGEST_PATIENCE);
        most.min(TRIED)
    }

    pub(super) fn took(&mut self, guesses: usize, seconds: f64) {
        if let Some(mean) = self.seconds.get_mut(guesses) {
            *mean = Some(mean.map_or(seconds, |mean| mean + TIMES * (seconds - mean)));
        }
    }

    pub(super) fn learn(&mut self, guesses: usize, right: usize) {
        for guess in 0..guesses.min(right + 1) {
            let outcome = if guess < right { 1.0 } else { 0.0 };
            self.chance += CHANCES * (outcome - self.chance);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens and seconds of many passes that take what `seconds` says of the number of guesses, each of which is right
    /// with this chance.
    fn run(chance: f64, seconds: impl Fn(usize) -> f64) -> f64 {
        let (mut pace, mut state) = (Pace::new(), 1u64);
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as f64 / (1u64 << 31) as f64
        };
        let (mut tokens, mut total) = (0, 0.0);
        while tokens < 4000 {
            let guesses = pace.choose(7);
            let right = (0..guesses).take_while(|_| random() < chance).count();
            pace.took(guesses, seconds(guesses));
            pace.learn(guesses, right);
            tokens += right + 1;
            total += seconds(guesses);
        }
        tokens as f64 / total
    }

    #[test]
    fn guesses_that_are_never_right_cost_next_to_nothing() {
        assert!(run(0.0, |guesses| 1.0 + 0.3 * guesses as f64) > 0.98);
        assert!(run(0.2, |guesses| 1.0 + 0.5 * guesses as f64) > 0.98);
    }

    #[test]
    fn guesses_that_are_right_are_made() {
        // The best that a fixed number would reach: 7 guesses of chance 0.95 make 6.6 tokens of 1.7 seconds.
        assert!(run(0.95, |guesses| 1.0 + 0.1 * guesses as f64) > 3.5);
        // Two or three of 0.7: 2.19 of 1.6, 2.53 of 1.9.
        assert!(run(0.7, |guesses| 1.0 + 0.3 * guesses as f64) > 1.25);
    }
}
