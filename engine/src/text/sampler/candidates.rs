//! The tokens still in question, with what the samplers need of them: order, probabilities, removal.

use std::cmp::Ordering;

/// A token that may still be picked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) id: u32,
    /// Never NaN and never -0.
    pub(super) logit: f32,
    /// Probability among the candidates, once [`Candidates::softmax`] has been asked for it.
    pub(super) p: f32,
}

impl Candidate {
    pub(super) fn new(id: usize, logit: f32) -> Self {
        Candidate { id: id as u32, logit: clean(logit), p: 0.0 }
    }

    /// Best first: the higher logit, then the lower id. No two candidates are equal, so every sort has one result.
    fn order(&self, other: &Self) -> Ordering {
        other.logit.total_cmp(&self.logit).then(self.id.cmp(&other.id))
    }
}

/// A logit that orders as numbers do: NaN counts as impossible, -0 as 0.
fn clean(logit: f32) -> f32 {
    if logit.is_nan() { f32::NEG_INFINITY } else { logit + 0.0 }
}

/// The candidates, in a buffer reserved once for the whole vocabulary.
#[derive(Debug, Clone)]
pub(super) struct Candidates {
    items: Vec<Candidate>,
    /// The first so many are in their final order, better than all that follow.
    sorted: usize,
    vocabulary: usize,
}

impl Candidates {
    pub(super) fn with_capacity(vocabulary: usize) -> Self {
        Candidates { items: Vec::with_capacity(vocabulary), sorted: 0, vocabulary }
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn items(&self) -> &[Candidate] {
        &self.items
    }

    /// Takes every token that is allowed, in order of id: all, or those whose bit is set. Logits beyond the vocabulary are
    /// ignored.
    pub(super) fn load(&mut self, logits: &[f32], allowed: Option<&[u32]>) {
        self.items.clear();
        self.sorted = 0;
        let logits = logits.get(..self.vocabulary).unwrap_or(logits);
        let all = logits.iter().enumerate().map(|(id, &logit)| Candidate::new(id, logit));
        let Some(allowed) = allowed else { return self.items.extend(all) };
        for (index, &word) in allowed.iter().enumerate() {
            let mut rest = word;
            while rest != 0 {
                let id = index * 32 + rest.trailing_zeros() as usize;
                self.items.extend(logits.get(id).map(|&logit| Candidate::new(id, logit)));
                rest &= rest - 1;
            }
        }
    }

    /// Takes the `k` best tokens, in order: `load` and `keep_best(k)` in one pass that writes few of them.
    pub(super) fn load_best(&mut self, logits: &[f32], k: usize) {
        /// Logits that are looked at together: most such runs have none that matters.
        const RUN: usize = 64;
        let room = k.saturating_mul(4).max(256);
        let mut worst = f32::NEG_INFINITY;
        self.items.clear();
        self.sorted = 0;
        let logits = logits.get(..self.vocabulary).unwrap_or(logits);
        for (run, logits) in logits.chunks(RUN).enumerate() {
            // Of equal logits the earlier id is the better, so once k are held only a greater one can matter.
            if self.items.len() >= k && !logits.iter().fold(false, |any, &logit| any | (logit > worst)) {
                continue;
            }
            for (id, &logit) in (run * RUN..).zip(logits) {
                if self.items.len() < k || logit > worst {
                    self.items.push(Candidate::new(id, logit));
                }
                if self.items.len() >= room {
                    self.keep_best_unsorted(k);
                    worst = self.items.last().map_or(worst, |c| c.logit);
                }
            }
        }
        self.keep_best(k);
    }

    /// Leaves the `k` best with the worst of them last.
    fn keep_best_unsorted(&mut self, k: usize) {
        if k < self.items.len() {
            self.items.select_nth_unstable_by(k.saturating_sub(1), Candidate::order);
            self.items.truncate(k);
        }
    }

    /// Leaves the `k` best, in order.
    pub(super) fn keep_best(&mut self, k: usize) {
        self.sort_first(k);
        self.truncate(k);
    }

    /// Brings the best `n` to the front, in order.
    pub(super) fn sort_first(&mut self, n: usize) {
        let n = n.min(self.items.len());
        if n <= self.sorted {
            return;
        }
        let rest = self.items.get_mut(self.sorted..).unwrap_or_default();
        let wanted = n - self.sorted;
        if wanted < rest.len() {
            rest.select_nth_unstable_by(wanted, Candidate::order);
        }
        if let Some(front) = rest.get_mut(..wanted) {
            front.sort_unstable_by(Candidate::order);
        }
        self.sorted = n;
    }

    /// Orders the candidates otherwise.
    pub(super) fn sort_by(&mut self, order: impl Fn(&Candidate, &Candidate) -> Ordering) {
        self.items.sort_unstable_by(order);
        self.sorted = 0;
    }

    /// Keeps the first `n`.
    pub(super) fn truncate(&mut self, n: usize) {
        self.items.truncate(n);
        self.sorted = self.sorted.min(self.items.len());
    }

    /// Drops the first `n`.
    pub(super) fn drop_first(&mut self, n: usize) {
        let n = n.min(self.items.len());
        self.items.drain(..n);
        self.sorted = self.sorted.saturating_sub(n);
    }

    /// Keeps the candidates with at least this logit, in the order they have.
    pub(super) fn keep_from(&mut self, least: f32) {
        let kept = |c: &Candidate| c.logit >= least;
        self.sorted = self.items.iter().take(self.sorted).filter(|c| kept(c)).count();
        self.items.retain(kept);
    }

    /// Changes logits one by one. The order is lost.
    pub(super) fn update(&mut self, change: impl Fn(&Candidate) -> f32) {
        for candidate in &mut self.items {
            candidate.logit = clean(change(candidate));
        }
        self.sorted = 0;
    }

    /// Divides every logit by `temperature`, above 0; the order stays.
    pub(super) fn scale(&mut self, temperature: f32) {
        for candidate in &mut self.items {
            candidate.logit = clean(candidate.logit / temperature);
        }
    }

    /// Adds to the logit of one token, of all that were loaded by [`load`](Self::load) and not yet moved.
    pub(super) fn bias(&mut self, id: u32, bias: f32) {
        if let Ok(at) = self.items.binary_search_by_key(&id, |candidate| candidate.id)
            && let Some(candidate) = self.items.get_mut(at)
        {
            candidate.logit = clean(candidate.logit + bias);
        }
    }

    /// The best candidate: the highest logit, of equals the lowest id.
    pub(super) fn best(&self) -> Option<Candidate> {
        let unsorted = || self.items.iter().copied().min_by(Candidate::order);
        if self.sorted > 0 { self.items.first().copied() } else { unsorted() }
    }

    /// Fills in the probabilities; returns the logarithm of the sum of `exp(logit)`.
    pub(super) fn softmax(&mut self) -> f64 {
        let max = self.best().map_or(0.0, |c| c.logit);
        let mut sum = 0.0f64;
        for candidate in &mut self.items {
            candidate.p = weight(candidate.logit, max);
            sum += f64::from(candidate.p);
        }
        for candidate in &mut self.items {
            candidate.p = (f64::from(candidate.p) / sum) as f32;
        }
        f64::from(max) + libm::log(sum)
    }

    /// Picks by probability: `uniform` in `0.0..1.0` falls into some candidate's share of the whole.
    pub(super) fn draw(&mut self, uniform: f64) -> Option<Candidate> {
        self.softmax();
        let total: f64 = self.items.iter().map(|c| f64::from(c.p)).sum();
        let target = uniform * total;
        let mut running = 0.0f64;
        let inside = |c: &&Candidate| {
            running += f64::from(c.p);
            running > target
        };
        self.items.iter().find(inside).or_else(|| self.items.iter().rfind(|c| c.p > 0.0)).copied()
    }
}

/// `exp(logit - max)`; also right where both are infinite.
fn weight(logit: f32, max: f32) -> f32 {
    if logit == max { 1.0 } else { libm::expf(logit - max) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(logits: &[f32]) -> Candidates {
        let mut candidates = Candidates::with_capacity(logits.len());
        candidates.load(logits, None);
        candidates
    }

    fn ids(candidates: &Candidates) -> Vec<u32> {
        candidates.items().iter().map(|c| c.id).collect()
    }

    #[test]
    fn order_is_by_logit_then_id_and_nan_is_last() {
        let mut candidates = load(&[1.0, f32::NAN, -0.0, 2.0, 0.0, f32::NEG_INFINITY, 2.0]);
        candidates.sort_first(7);
        assert_eq!(ids(&candidates), [3, 6, 0, 2, 4, 1, 5]);
    }

    #[test]
    fn a_prefix_sorted_in_steps_equals_a_full_sort() {
        let mut rng = super::super::rng::Rng::new(1);
        let logits: Vec<f32> = (0..500).map(|_| (rng.uniform() * 40.0) as f32).map(f32::floor).collect();
        let mut whole = load(&logits);
        whole.sort_first(500);
        let mut steps = load(&logits);
        for n in [1, 2, 17, 200, 499, 500] {
            steps.sort_first(n);
            assert_eq!(ids(&steps)[..n], ids(&whole)[..n]);
        }
    }

    #[test]
    fn loading_the_best_equals_loading_all_and_keeping_the_best() {
        let mut rng = super::super::rng::Rng::new(2);
        for (n, k) in [(10, 3), (1000, 1), (1000, 40), (5000, 300), (100, 100), (100, 1000)] {
            let logits: Vec<f32> = (0..n).map(|_| (rng.uniform() * 90.0) as f32).map(f32::floor).collect();
            let mut all = load(&logits);
            all.keep_best(k);
            let mut best = Candidates::with_capacity(n);
            best.load_best(&logits, k);
            assert_eq!(ids(&best), ids(&all), "{k} of {n}");
        }
    }

    #[test]
    fn loading_the_best_survives_nan() {
        let mut candidates = Candidates::with_capacity(600);
        candidates.load_best(&[f32::NAN; 600], 2);
        assert_eq!(ids(&candidates), [0, 1]);
    }

    #[test]
    fn probabilities_sum_to_one_even_at_infinity() {
        for logits in [[1.0, 2.0, 3.0], [f32::INFINITY, f32::INFINITY, 0.0], [f32::NEG_INFINITY; 3]] {
            let mut candidates = load(&logits);
            candidates.softmax();
            let sum: f32 = candidates.items().iter().map(|c| c.p).sum();
            assert!((sum - 1.0).abs() < 1e-6, "{logits:?}: {sum}");
        }
    }

    #[test]
    fn a_draw_never_picks_the_impossible() {
        let mut candidates = load(&[f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY]);
        for uniform in [0.0, 0.5, 1.0 - f64::EPSILON / 2.0] {
            assert_eq!(candidates.draw(uniform).map(|c| c.id), Some(1));
        }
    }

    #[test]
    fn dropping_the_first_keeps_what_is_sorted() {
        let mut candidates = load(&[1.0, 5.0, 3.0, 4.0]);
        candidates.sort_first(4);
        candidates.drop_first(2);
        assert_eq!(ids(&candidates), [2, 0]);
        assert_eq!(candidates.best().map(|c| c.id), Some(2));
    }
}
