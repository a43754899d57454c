//! How probable the model held the tokens of an answer.

/// How probable a token was, and which ones were most: natural logarithms of the probabilities that the logits stand for,
/// before the sampler changes any. They are the same bits on every machine, as the logits are.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Logprobs {
    /// That of the token that was picked.
    pub picked: f32,
    /// The most probable tokens, the first before all others; of equal ones the lower number.
    pub top: Vec<(u32, f32)>,
}

impl Logprobs {
    /// Takes up the logits that `token` was picked by, with the `most` most probable ones.
    pub(super) fn take_up(&mut self, logits: &[f32], token: u32, most: usize) {
        let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|&logit| libm::exp(f64::from(logit) - f64::from(greatest))).sum();
        let whole = f64::from(greatest) + libm::log(sum);
        let of = |logit: f32| (f64::from(logit) - whole) as f32;
        self.picked = logits.get(token as usize).map_or(f32::NEG_INFINITY, |&logit| of(logit));
        self.top.clear();
        for (id, &logit) in (0..).zip(logits) {
            let is_full = self.top.len() == most;
            if is_full && self.top.last().is_none_or(|&(_, least)| logit <= least) {
                continue;
            }
            let at = self.top.partition_point(|&(_, other)| other >= logit);
            self.top.truncate(most.saturating_sub(1));
            self.top.insert(at, (id, logit));
        }
        self.top.iter_mut().for_each(|(_, logit)| *logit = of(*logit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_add_up_and_the_greatest_come_first() {
        let logits = [0.5, 3.0, -1.0, 3.0, 2.0];
        let mut logprobs = Logprobs::default();
        for most in [0, 1, 3, 5] {
            logprobs.take_up(&logits, 4, most);
            let ids: Vec<u32> = logprobs.top.iter().map(|&(id, _)| id).collect();
            assert_eq!(ids, [1, 3, 4, 0, 2][..most]);
        }
        let sum: f64 = logprobs.top.iter().map(|&(_, p)| f64::from(p).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        assert_eq!(logprobs.picked, logprobs.top[2].1);
    }

    #[test]
    fn more_are_asked_for_than_there_are() {
        let mut logprobs = Logprobs::default();
        logprobs.take_up(&[1.0, 1.0], 0, 9);
        assert_eq!(logprobs.top.len(), 2);
        assert_eq!(logprobs.picked, -std::f32::consts::LN_2);
    }
}
