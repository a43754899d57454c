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
