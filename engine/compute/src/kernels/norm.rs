use crate::lanes::Lanes;

/// `out = x / sqrt(mean(x²) + eps) * weight` (RMSNorm: Zhang and Sennrich 2019, arXiv 1910.07467).
///
/// The slices have the same length, a multiple of 16; numbers beyond the first `n` are zero.
#[inline(always)]
pub(crate) fn rms_norm<L: Lanes>(l: L, x: &[f32], weight: &[f32], n: usize, eps: f32, out: &mut [f32]) {
    let (x, _) = x.as_chunks::<16>();
    let mut sum = l.splat(0.0);
    for x in x {
        let x = l.load(x);
        sum = l.fma(x, x, sum);
    }
    let scale = l.splat(1.0 / (l.fold_add(sum) / n as f32 + eps).sqrt());
    for ((x, weight), out) in x.iter().zip(weight.as_chunks().0).zip(out.as_chunks_mut().0) {
        l.store(l.mul(l.mul(l.load(x), scale), l.load(weight)), out);
    }
}

/// [`rms_norm`] of each run of `n` numbers by itself, in place. `weight` has at least `n` numbers, padded with zeros to a
/// multiple of 16; the runs need no padding.
#[inline(always)]
pub(crate) fn rms_norm_in_place<L: Lanes>(l: L, x: &mut [f32], weight: &[f32], n: usize, eps: f32) {
    let (weights, _) = weight.as_chunks::<16>();
    for x in x.chunks_exact_mut(n.max(1)) {
        let (vectors, rest) = x.as_chunks_mut::<16>();
        let mut last = [0.0; 16];
        last[..rest.len()].copy_from_slice(rest);
        let mut sum = l.splat(0.0);
        for x in vectors.iter().chain([&last]) {
            let x = l.load(x);
            sum = l.fma(x, x, sum);
        }
        let scale = l.splat(1.0 / (l.fold_add(sum) / n as f32 + eps).sqrt());
        for (x, weight) in vectors.iter_mut().chain([&mut last]).zip(weights) {
            l.store(l.mul(l.mul(l.load(x), scale), l.load(weight)), x);
        }
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

/// `x += y * scale`. Both have the same length, a multiple of 16.
#[inline(always)]
pub(crate) fn add_scaled<L: Lanes>(l: L, x: &mut [f32], y: &[f32], scale: f32) {
    let scale = l.splat(scale);
    for (x, y) in x.as_chunks_mut().0.iter_mut().zip(y.as_chunks().0) {
        l.store(l.fma(l.load(y), scale, l.load(x)), x);
    }
}
