//! Mirostat (Basu et al., "Mirostat: A Neural Text Decoding Algorithm that Directly Controls Perplexity", 2020): keeps
//! the surprise of the text near a target by a moving bound on the surprise of the next token.

use super::candidates::{Candidate, Candidates};
use super::{Mirostat, SamplerOptions};

/// Mirostat's state.
#[derive(Debug, Clone)]
pub(super) struct State {
    version: Mirostat,
    tau: f32,
    eta: f32,
    vocabulary: usize,
    /// The bound on the surprise, in bits.
    mu: f32,
    /// The token last picked and its surprise, until it is accepted.
    picked: Option<(u32, f32)>,
}

impl State {
    /// `None` where the options leave it off.
    pub(super) fn new(options: &SamplerOptions, vocabulary: usize) -> Option<Self> {
        let (version, tau, eta) = (options.mirostat, options.mirostat_tau, options.mirostat_eta);
        let on = version != Mirostat::Off;
        on.then_some(State { version, tau, eta, vocabulary, mu: 2.0 * tau, picked: None })
    }

    pub(super) fn reset(&mut self) {
        self.mu = 2.0 * self.tau;
        self.picked = None;
    }

    /// Drops what is too surprising.
    pub(super) fn truncate(&self, candidates: &mut Candidates) {
        candidates.softmax();
        candidates.sort_first(candidates.len());
        let kept = match self.version {
            Mirostat::V1 => self.zipf_rank(candidates),
            _ => candidates.items().iter().take_while(|c| surprise(c) <= self.mu).count(),
        };
        candidates.truncate(kept.max(1));
    }

    /// Version 1: the rank at which the surprise reaches `mu`, in a Zipf distribution whose exponent is estimated from
    /// the 100 most probable tokens.
    fn zipf_rank(&self, candidates: &Candidates) -> usize {
        const MOST_PROBABLE: usize = 100;
        let possible = candidates.items().iter().take_while(|c| c.p > 0.0).take(MOST_PROBABLE);
        let logits = possible.map(|c| c.logit);
        let (mut products, mut squares) = (0.0f32, 0.0f32);
        for (i, (better, worse)) in logits.clone().zip(logits.skip(1)).enumerate() {
            let t = libm::logf((i + 2) as f32 / (i + 1) as f32);
            products += t * (better - worse);
            squares += t * t;
        }
        let exponent = products / squares;
        let epsilon = exponent - 1.0;
        let scale = 1.0 - libm::powf(self.vocabulary as f32, -epsilon);
        // A conversion to an integer saturates and makes NaN 0: no estimate, such as of one token, keeps one.
        libm::powf(epsilon * libm::exp2f(self.mu) / scale, 1.0 / exponent) as usize
    }

    /// Notes what was picked of the candidates that were left.
    pub(super) fn pick(&mut self, picked: &Candidate) {
        self.picked = Some((picked.id, surprise(picked)));
    }

    /// Learns from a token that it picked itself; others, such as the prompt's, tell nothing.
    pub(super) fn accept(&mut self, token: u32) {
        if let Some((_, surprise)) = self.picked.take().filter(|(picked, _)| *picked == token) {
            self.mu -= self.eta * (surprise - self.tau);
        }
    }
}

/// The surprise of a candidate in bits.
fn surprise(candidate: &Candidate) -> f32 {
    -libm::log2f(candidate.p)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(version: Mirostat) -> State {
        let options = SamplerOptions { mirostat: version, ..Default::default() };
        State::new(&options, 4).expect("on")
    }

    fn candidates(logits: &[f32]) -> Candidates {
        let mut candidates = Candidates::with_capacity(logits.len());
        candidates.load(logits, None);
        candidates
    }

    #[test]
    fn the_bound_moves_by_the_error_of_accepted_picks() {
        let mut state = state(Mirostat::V2);
        assert_eq!(state.mu, 10.0);
        state.pick(&Candidate { id: 3, logit: 0.0, p: 0.125 });
        state.accept(3);
        assert_eq!(state.mu, 10.0 - 0.1 * (3.0 - 5.0));
        state.accept(3);
        state.pick(&Candidate { id: 3, logit: 0.0, p: 0.5 });
        state.accept(2);
        assert_eq!(state.mu, 10.2);
        state.reset();
        assert_eq!(state.mu, 10.0);
    }

    #[test]
    fn version_two_drops_what_is_more_surprising_than_mu() {
        let mut state = state(Mirostat::V2);
        state.mu = 2.0;
        let mut some = candidates(&[0.5f32.ln(), 0.25f32.ln(), 0.125f32.ln(), 0.125f32.ln()]);
        some.softmax();
        state.mu = 2.5;
        state.truncate(&mut some);
        assert_eq!(some.len(), 2);
        state.mu = 0.0;
        state.truncate(&mut some);
        assert_eq!(some.len(), 1);
    }

    #[test]
    fn version_one_always_leaves_a_token() {
        for logits in [&[1.0][..], &[1.0, 1.0, 1.0], &[f32::NEG_INFINITY; 3], &[1.0, f32::NEG_INFINITY]] {
            let mut some = candidates(logits);
            state(Mirostat::V1).truncate(&mut some);
            assert!(some.len() >= 1, "{logits:?}");
        }
    }
}
