//! Rotary position embeddings.

use super::Kernels;
use crate::lanes::{Lanes, Op, Tier};

/// Which numbers of a head turn together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs {
    /// (x₀, x₁), (x₂, x₃), … as GGUF's LLaMA files order them.
    Neighbours,
    /// (x₀, x₀₊ₕ), (x₁, x₁₊ₕ), … where h is half of the rotated numbers (GPT-NeoX: Black et al. 2022, arXiv 2204.06745).
    Halves,
}

impl Kernels {
    /// Rotates one head's pairs of numbers (RoPE: Su et al. 2021, arXiv 2104.09864).
    ///
    /// `turns` holds for each number of the head the cosine of its pair's angle, then for each number the sine, negative
    /// for the pair's first. Numbers beyond the rotated ones stay.
    pub fn rotate(self, pairs: Pairs, head: &mut [f32], turns: &[f32]) {
        self.run(Rotate { pairs, head, turns });
    }
}

struct Rotate<'a> {
    pairs: Pairs,
    head: &'a mut [f32],
    turns: &'a [f32],
}

impl Op for Rotate<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Tier>(self, l: L) {
        let (cos, sin) = self.turns.split_at(self.turns.len() / 2);
        let rotated = cos.len().min(self.head.len());
        let (head, _) = self.head.split_at_mut(rotated);
        match self.pairs {
            Pairs::Neighbours => rotate_neighbours(l, head, cos, sin),
            Pairs::Halves => rotate_halves(l, head, cos, sin),
        }
    }
}

#[inline(always)]
fn rotate_neighbours<L: Lanes>(l: L, head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let rotated = head.len();
    let (vectors, rest) = head.as_chunks_mut::<16>();
    for ((x, cos), sin) in vectors.iter_mut().zip(cos.as_chunks().0).zip(sin.as_chunks().0) {
        let turned = l.load(x);
        l.store(l.fma(turned, l.load(cos), l.mul(l.swap_pairs(turned), l.load(sin))), x);
    }
    let done = rotated - rest.len();
    for ((x, cos), sin) in
        rest.chunks_exact_mut(2).zip(cos[done..].chunks_exact(2)).zip(sin[done..].chunks_exact(2))
    {
        let (a, b) = (x[0], x[1]);
        x[0] = a.mul_add(cos[0], b * sin[0]);
        x[1] = b.mul_add(cos[1], a * sin[1]);
    }
}

#[inline(always)]
fn rotate_halves<L: Lanes>(l: L, head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let half = head.len() / 2;
    let (firsts, seconds) = head.split_at_mut(half);
    let (firsts, last_firsts) = firsts.as_chunks_mut::<16>();
    let (seconds, last_seconds) = seconds.as_chunks_mut::<16>();
    // Cosine and sine of a pair are the same in both halves but for the sine's sign.
    let vectors = cos.as_chunks().0.iter().zip(sin[half..].as_chunks().0);
    for ((a, b), (cos, sin)) in firsts.iter_mut().zip(seconds).zip(vectors) {
        let (x, y, cos, sin) = (l.load(a), l.load(b), l.load(cos), l.load(sin));
        l.store(l.fma(x, cos, l.mul(y, l.sub(l.splat(0.0), sin))), a);
        l.store(l.fma(y, cos, l.mul(x, sin)), b);
    }
    let done = half - last_firsts.len();
    let rest = cos[done..half].iter().zip(&sin[half + done..]);
    for ((a, b), (cos, sin)) in last_firsts.iter_mut().zip(last_seconds).zip(rest) {
        let (x, y) = (*a, *b);
        *a = x.mul_add(*cos, y * -sin);
        *b = y.mul_add(*cos, x * sin);
    }
}

/// Makes `turns` turn the other way.
pub fn reverse(turns: &mut [f32]) {
    let half = turns.len() / 2;
    turns[half..].iter_mut().for_each(|sin| *sin = -*sin);
}

/// Fills `turns` for [`Kernels::rotate`] at a position, from the angle that each pair turns by
/// from one position to the next. What is rotated gets longer by the factor `magnitude`.
///
/// The angle is formed in f32, as the reference implementations form it.
pub fn fill_turns(turns: &mut [f32], pairs: Pairs, position: usize, frequencies: &[f32], magnitude: f32) {
    let (cos, sin) = turns.split_at_mut(turns.len() / 2);
    let half = cos.len() / 2;
    for (pair, frequency) in frequencies.iter().enumerate().take(half) {
        let angle = f64::from(position as f32 * frequency);
        let (s, c) = libm::sincos(angle);
        let (s, c) = (s as f32 * magnitude, c as f32 * magnitude);
        let (first, second) = match pairs {
            Pairs::Neighbours => (2 * pair, 2 * pair + 1),
            Pairs::Halves => (pair, half + pair),
        };
        (cos[first], cos[second]) = (c, c);
        (sin[first], sin[second]) = (-s, s);
    }
}
