use crate::lanes::Lanes;

/// e^x in each lane, to within 2 ulp; 0 below −87, e^88 above 88, NaN for NaN.
///
/// Cody and Waite's reduction x = n·ln 2 + r, then a polynomial of degree 6 on |r| ≤ ln 2 / 2 (the Taylor
/// coefficients' minimax neighbours from Cephes' `expf`).
#[inline(always)]
pub(crate) fn exp<L: Lanes>(l: L, x: L::F) -> L::F {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const COEFFICIENTS: [f32; 6] =
        [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    let (low, high) = (l.splat(-87.0), l.splat(88.0));
    let inside = l.select_lt(high, x, high, x);
    let inside = l.select_lt(inside, low, low, inside);
    let n = l.round(l.mul(inside, l.splat(std::f32::consts::LOG2_E)));
    let n_f32 = l.to_f32(n);
    let r = l.fma(n_f32, l.splat(-LN2_HIGH), inside);
    let r = l.fma(n_f32, l.splat(-LN2_LOW), r);
    let mut p = l.splat(COEFFICIENTS[0]);
    for c in &COEFFICIENTS[1..] {
        p = l.fma(p, r, l.splat(*c));
    }
    let p = l.fma(l.mul(r, r), p, l.add(r, l.splat(1.0)));
    l.select_lt(x, low, l.splat(0.0), l.mul(p, l.exp2(n)))
}

/// `gate = silu(gate) * up`, where silu(x) = x / (1 + e^−x) (SwiGLU: Shazeer 2020, arXiv 2002.05202).
///
/// Both have the same length, a multiple of 16.
#[inline(always)]
pub(crate) fn silu_mul<L: Lanes>(l: L, gate: &mut [f32], up: &[f32]) {
    let one = l.splat(1.0);
    for (gate, up) in gate.as_chunks_mut().0.iter_mut().zip(up.as_chunks().0) {
        let x = l.load(gate);
        let silu = l.div(x, l.add(one, exp(l, l.sub(l.splat(0.0), x))));
        l.store(l.mul(silu, l.load(up)), gate);
    }
}
