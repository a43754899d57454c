//! DRY, "don't repeat yourself" (p-e-w, text-generation-webui pull request 5677, 2024).
//!
//! A token that would lengthen a repetition of what the text just said is penalized by
//! `multiplier * base ^ (length - allowed_length)`, where `length` is how many of the last tokens the earlier passage
//! has in common with the end of the text. A sequence breaker ends the comparison: templates and lists repeat
//! their punctuation by right.

use super::SamplerOptions;
use super::breakers::Breakers;
use super::candidates::{Candidate, Candidates};
use super::history::{History, window};

/// The DRY sampler's state.
#[derive(Debug, Clone)]
pub(super) struct Dry {
    multiplier: f32,
    base: f32,
    allowed: usize,
    breakers: Breakers,
    recent: History,
    /// `overlap[age]`: how many tokens up to the one `age` places back equal those at the end of the text.
    overlap: Vec<usize>,
    /// For each token of the vocabulary, 1 + the longest repetition that it would continue; 0 for none.
    continues: Vec<u32>,
}

impl Dry {
    /// `None` where the options ask for no penalty.
    pub(super) fn new(
        options: &SamplerOptions,
        vocabulary: usize,
        context: usize,
        breakers: &Breakers,
    ) -> Option<Self> {
        let window = window(options.dry_penalty_last_n, context);
        (window > 0 && is_on(options)).then(|| Dry {
            multiplier: options.dry_multiplier,
            base: options.dry_base,
            allowed: options.dry_allowed_length as usize,
            breakers: breakers.clone(),
            recent: History::new(window),
            overlap: vec![0; window],
            continues: vec![0; vocabulary],
        })
    }

    pub(super) fn accept(&mut self, token: u32) {
        self.recent.push(token);
    }

    pub(super) fn reset(&mut self) {
        self.recent.clear();
    }

    pub(super) fn apply(&mut self, candidates: &mut Candidates) {
        if self.recent.len() <= self.allowed {
            return;
        }
        let limit = self.since_breaker();
        if limit < self.allowed {
            return;
        }
        self.measure_overlaps();
        self.mark_continuations(limit);
        candidates.update(|candidate| candidate.logit - self.penalty(candidate));
        self.clear_continuations();
    }

    /// Tokens after the latest sequence breaker; all, when there is none.
    fn since_breaker(&self) -> usize {
        let after = |age: usize| self.breakers.longest_at(&self.recent, age).map(|tail| age - tail);
        (0..self.recent.len()).find_map(after).unwrap_or(self.recent.len())
    }

    /// The Z-function (Main & Lorentz, 1984; Gusfield, 1997) of the text read backwards, in linear time: a stretch
    /// `left..right` known to equal the end of the text answers for the places inside it.
    fn measure_overlaps(&mut self) {
        let (mut left, mut right) = (0usize, 0usize);
        for age in 1..self.recent.len() {
            let known = self.overlap.get(age - left).copied().unwrap_or(0).min(right.saturating_sub(age));
            let mut length = if age < right { known } else { 0 };
            // A known overlap that ends inside the stretch is exact; then the first comparison fails.
            while let Some(token) = self.recent.back(age + length)
                && Some(token) == self.recent.back(length)
            {
                length += 1;
            }
            if age + length > right {
                (left, right) = (age, age + length);
            }
            if let Some(slot) = self.overlap.get_mut(age) {
                *slot = length;
            }
        }
    }

    /// Notes for the token after every repetition how long it is, as far as the last breaker lets it count.
    fn mark_continuations(&mut self, limit: usize) {
        for age in 1..self.recent.len() {
            let length = self.overlap.get(age).map_or(0, |&length| length.min(limit));
            let next = self.recent.back(age - 1).and_then(|token| self.continues.get_mut(token as usize));
            if let Some(longest) = next.filter(|_| length >= self.allowed) {
                *longest = (*longest).max(length as u32 + 1);
            }
        }
    }

    fn clear_continuations(&mut self) {
        for age in 0..self.recent.len() {
            let token = self.recent.back(age);
            if let Some(longest) = token.and_then(|token| self.continues.get_mut(token as usize)) {
                *longest = 0;
            }
        }
    }

    fn penalty(&self, candidate: &Candidate) -> f32 {
        let longest = self.continues.get(candidate.id as usize).map_or(0, |&n| n as usize);
        if longest == 0 || self.breakers.is_breaker(candidate.id) {
            return 0.0;
        }
        let exponent = (longest - 1 - self.allowed).min(self.greatest_exponent());
        (f64::from(self.multiplier) * libm::pow(f64::from(self.base), exponent as f64)) as f32
    }

    /// The exponent beyond which the power would leave the range of f32.
    fn greatest_exponent(&self) -> usize {
        const LN_F32_MAX: f64 = 88.722_839_1;
        let exact = LN_F32_MAX / libm::log(f64::from(self.base));
        if self.base > 1.000_001 { exact as usize } else { usize::MAX }
    }
}

/// Whether the options ask for DRY at all.
pub(super) fn is_on(options: &SamplerOptions) -> bool {
    options.dry_multiplier != 0.0 && options.dry_base >= 1.0 && options.dry_penalty_last_n != 0
}
