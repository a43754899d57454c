//! Penalties on tokens that the recent text holds.

use super::SamplerOptions;
use super::candidates::{Candidate, Candidates};
use super::history::{History, window};

/// Repetition penalty (Keskar et al., "CTRL", 2019), frequency and presence penalties (OpenAI's API), over the last
/// `penalty_last_n` tokens.
#[derive(Debug, Clone)]
pub(super) struct Penalties {
    repeat: f32,
    frequency: f32,
    presence: f32,
    recent: History,
    /// How often each token of the vocabulary occurs in `recent`.
    counts: Vec<u32>,
}

impl Penalties {
    /// `None` where the options ask for no penalty.
    pub(super) fn new(options: &SamplerOptions, vocabulary: usize, context: usize) -> Option<Self> {
        let window = window(options.penalty_last_n, context);
        let (repeat, frequency, presence) =
            (options.repeat_penalty, options.frequency_penalty, options.presence_penalty);
        let neutral = repeat == 1.0 && frequency == 0.0 && presence == 0.0;
        (window > 0 && !neutral).then(|| Penalties {
            repeat,
            frequency,
            presence,
            recent: History::new(window),
            counts: vec![0; vocabulary],
        })
    }

    pub(super) fn accept(&mut self, token: u32) {
        if let Some(count) = self.counts.get_mut(token as usize) {
            *count += 1;
        }
        let forgotten = self.recent.push(token);
        if let Some(count) = forgotten.and_then(|old| self.counts.get_mut(old as usize)) {
            *count -= 1;
        }
    }

    pub(super) fn reset(&mut self) {
        self.recent.clear();
        self.counts.fill(0);
    }

    pub(super) fn apply(&self, candidates: &mut Candidates) {
        candidates.update(|candidate| match self.counts.get(candidate.id as usize) {
            Some(&count) if count > 0 => self.penalized(candidate, count),
            _ => candidate.logit,
        });
    }

    fn penalized(&self, candidate: &Candidate, count: u32) -> f32 {
        // The paper only divides, which would make a token with a negative logit more likely.
        let logit = candidate.logit;
        let repeated = if logit <= 0.0 { logit * self.repeat } else { logit / self.repeat };
        repeated - (count as f32 * self.frequency + self.presence)
    }
}
