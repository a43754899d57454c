use super::{HEADER, Queries, SPAN};
use crate::kernels::Kernels;
use crate::kernels::activation::{cap, exp};
use crate::lanes::{Op, Tier};

impl Kernels {
    /// Makes the scores of a span, which begins at `start`, weights, and begins each query's part: its sums are zero.
    pub fn softmax(self, queries: &Queries<'_>, start: usize, scores: &mut [[f32; SPAN]], parts: &mut [f32]) {
        self.run(Softmax { queries, start, scores, parts });
    }

    /// Joins the part of the next span to that of all before it (online softmax: Milakov and Gimelshein 2018, arXiv
    /// 1805.02867).
    pub fn merge(self, all: &mut [f32], next: &[f32]) {
        self.run(Merge { all, next });
    }

    /// What a part comes to: its weighted sums over the sum of its weights.
    pub fn finish(self, part: &[f32], out: &mut [f32]) {
        self.run(Finish { part, out });
    }
}

/// The part of no positions.
pub fn begin(part: &mut [f32]) {
    part.fill(0.0);
    part[0] = f32::NEG_INFINITY;
}

struct Softmax<'a> {
    queries: &'a Queries<'a>,
    start: usize,
    scores: &'a mut [[f32; SPAN]],
    parts: &'a mut [f32],
}

impl Op for Softmax<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Tier>(self, l: L) {
        let Self { queries, start, scores, parts } = self;
        let parts = parts.chunks_exact_mut(queries.part());
        for (query, (scores, part)) in scores.iter_mut().zip(parts).enumerate() {
            let (count, hidden) = (queries.seen(query, start, SPAN), queries.hidden(query, start, SPAN));
            let first = hidden / 16;
            let scores = scores.as_chunks_mut().0.get_mut(first..count.div_ceil(16)).unwrap_or_default();
            let scale = l.splat(queries.scoring.scale);
            let mut maximum = l.splat(f32::NEG_INFINITY);
            for (panel, score) in (first..).zip(scores.iter_mut()) {
                let mut scaled = l.mul(l.load(score), scale);
                if let Some(limit) = queries.scoring.cap {
                    scaled = cap(l, scaled, limit);
                }
                l.store(scaled, score);
                let (from, to) = (hidden.saturating_sub(16 * panel), (count - 16 * panel).min(16));
                if from > 0 || to < 16 {
                    score[..from].fill(f32::NEG_INFINITY);
                    score[to..].fill(f32::NEG_INFINITY);
                    scaled = l.load(score);
                }
                maximum = l.max(scaled, maximum);
            }
            let maximum = l.fold_max(maximum);
            let mut total = l.splat(0.0);
            for score in scores.iter_mut() {
                let weight = exp(l, l.sub(l.load(score), l.splat(maximum)));
                total = l.add(total, weight);
                l.store(weight, score);
            }
            part.fill(0.0);
            (part[0], part[1]) = (maximum, l.fold_add(total));
        }
    }
}

struct Merge<'a> {
    all: &'a mut [f32],
    next: &'a [f32],
}

impl Op for Merge<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Tier>(self, l: L) {
        let Self { all, next } = self;
        let maximum = if next[0] > all[0] { next[0] } else { all[0] };
        let mut corrections = [0.0; 16];
        (corrections[0], corrections[1]) = (all[0] - maximum, next[0] - maximum);
        l.store(exp(l, l.load(&corrections.clone())), &mut corrections);
        let (old, new) = (l.splat(corrections[0]), l.splat(corrections[1]));
        all[0] = maximum;
        all[1] = all[1].mul_add(corrections[0], next[1] * corrections[1]);
        let (all, next) = (&mut all[HEADER..], &next[HEADER..]);
        for (all, next) in all.as_chunks_mut().0.iter_mut().zip(next.as_chunks().0) {
            l.store(l.fma(l.load(all), old, l.mul(l.load(next), new)), all);
        }
    }
}

struct Finish<'a> {
    part: &'a [f32],
    out: &'a mut [f32],
}

impl Op for Finish<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Tier>(self, l: L) {
        let inverse = l.splat(1.0 / self.part[1]);
        for (sums, out) in self.part[HEADER..].as_chunks().0.iter().zip(self.out.chunks_mut(16)) {
            let mut result = [0.0; 16];
            l.store(l.mul(l.load(sums), inverse), &mut result);
            out.copy_from_slice(&result[..out.len()]);
        }
    }
}
