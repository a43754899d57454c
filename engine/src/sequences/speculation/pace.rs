use crate::state::TAKEN_BACK;

/// How many drafts pay, by what passes take and by how likely a draft is right.
///
/// With n drafts, each right with chance c if those before it are, a pass comes to 1 + c + … + cⁿ tokens. What it takes
/// is measured for each n. Where no number of drafts seems to pay, a few are tried now and then, but only as long as all
/// that tries have cost is next to nothing of all that was done.
pub(super) struct Pace {
    /// Seconds of a pass with so many drafts; None where there was none yet.
    seconds: [Option<f64>; MOST + 1],
    /// Drafts that were right, and all that were looked at; the older, the less they count.
    right: f64,
    seen: f64,
    /// Seconds of all passes, and how many of them would not have been without drafts.
    total: f64,
    lost: f64,
}

/// Drafts at a time, at most.
pub(crate) const MOST: usize = TAKEN_BACK - 1;
/// Drafts of a try.
const TRIED: usize = 2;
/// The part of the time that tries may cost.
const TOLL: f64 = 0.01;
/// What a draft adds to a pass until one was measured, in passes without any.
const HOPE: f64 = 0.12;
/// Weight of the newest time.
const NEWEST: f64 = 0.2;
/// Part of their weight that the outcomes of drafts keep from one to the next.
const FORGET: f64 = 0.95;
/// Gains make up for this many passes of later tries.
const CREDIT: f64 = 4.0;

impl Pace {
    pub(super) fn new() -> Self {
        // As if one of two drafts had been right.
        Self { seconds: [None; MOST + 1], right: 1.0, seen: 2.0, total: 0.0, lost: 0.0 }
    }

    /// The number of drafts, up to `most`, with which most tokens come a second.
    pub(super) fn choose(&mut self, most: usize) -> usize {
        let most = most.min(MOST);
        // A pass without drafts is what the others are measured by.
        let [Some(plain), drafting @ ..] = &self.seconds else { return 0 };
        let measured = drafting.iter().zip(1..).filter_map(|(&seconds, drafts)| Some((drafts, seconds?)));
        let none_measured = measured.clone().next().is_none();
        let seconds = |drafts: usize| {
            let nearest = measured.clone().min_by_key(|&(measured, _)| drafts.abs_diff(measured));
            let each =
                nearest.map_or(HOPE * plain, |(drafts, seconds)| (seconds - plain).max(0.0) / drafts as f64);
            plain + each * drafts as f64
        };
        let chance = self.right / self.seen;
        let speed = |drafts: usize| match drafts {
            0 => 1.0 / plain,
            _ => (0..=drafts).map(|right| chance.powi(right as i32)).sum::<f64>() / seconds(drafts),
        };
        let most = if none_measured { most.min(TRIED) } else { most };
        let best = (0..=most).fold(0, |best, drafts| if speed(drafts) > speed(best) { drafts } else { best });
        let tried = most.min(TRIED);
        match best {
            0 if self.lost + seconds(tried) - plain < TOLL * self.total => tried,
            best => best,
        }
    }

    /// Learns what a pass took.
    pub(super) fn took(&mut self, drafts: usize, seconds: f64) {
        if let Some(mean) = self.seconds.get_mut(drafts) {
            *mean = Some(mean.map_or(seconds, |mean| mean + NEWEST * (seconds - mean)));
        }
        self.total += seconds;
        if let (1.., Some(plain)) = (drafts, self.seconds[0]) {
            self.lost += seconds - plain;
        }
    }

    /// Learns of seconds that were needed to draft at all, such as for a prompt that another model has to read too.
    pub(super) fn prepared(&mut self, seconds: f64) {
        self.total += seconds;
        self.lost += seconds;
    }

    /// Learns how many drafts of a pass were right.
    pub(super) fn learn(&mut self, drafts: usize, right: usize) {
        for draft in 0..drafts.min(right + 1) {
            self.right = FORGET * self.right + if draft < right { 1.0 } else { 0.0 };
            self.seen = FORGET * self.seen + 1.0;
        }
        if let Some(plain) = self.seconds[0] {
            self.lost = (self.lost - right as f64 * plain).max(-CREDIT * plain);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens a second of so many, of passes that take what `seconds` says of the number of drafts, each of which is
    /// right with a chance; without drafts it is one.
    fn run(tokens: usize, chance: f64, seconds: impl Fn(usize) -> f64) -> f64 {
        let (mut pace, mut state) = (Pace::new(), 1u64);
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as f64 / (1u64 << 31) as f64
        };
        let (mut done, mut total) = (0, 0.0);
        while done < tokens {
            let drafts = pace.choose(7);
            let right = (0..drafts).take_while(|_| random() < chance).count();
            pace.took(drafts, seconds(drafts));
            pace.learn(drafts, right);
            done += right + 1;
            total += seconds(drafts);
        }
        done as f64 / total
    }

    #[test]
    fn drafts_that_do_not_pay_cost_next_to_nothing() {
        for (chance, each) in [(0.0, 0.1), (0.0, 0.3), (0.2, 0.5), (0.0, 1.2)] {
            let (short, long) = (run(100, chance, plus(each)), run(4000, chance, plus(each)));
            assert!(short > 0.95 && long > 0.985, "{chance} {each}: {short} {long}");
        }
    }

    #[test]
    fn drafts_that_pay_are_made() {
        // The best that a fixed number would reach: 7 drafts of chance 0.95 make 6.7 tokens of 1.7 seconds.
        assert!(run(4000, 0.95, plus(0.1)) > 3.5);
        // Two of 0.7: 2.19 of 1.6.
        assert!(run(4000, 0.7, plus(0.3)) > 1.25);
    }

    #[test]
    fn what_begins_to_pay_is_found_out() {
        let mut pace = Pace::new();
        for pass in 0..4000 {
            let drafts = pace.choose(7);
            pace.took(drafts, plus(0.2)(drafts));
            // Nothing is right at first, everything later.
            pace.learn(drafts, if pass < 1000 { 0 } else { drafts });
        }
        assert_eq!(pace.choose(7), 7);
    }

    fn plus(each: f64) -> impl Fn(usize) -> f64 {
        move |drafts| 1.0 + each * drafts as f64
    }
}
