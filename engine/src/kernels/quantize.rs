use crate::lanes::Lanes;

/// Weights or activations that share an activation scale.
pub(crate) const BLOCK: usize = 32;

/// Tokens that stand together in quantized activations: the most that any instruction set multiplies at once.
pub(crate) const TILE: usize = 8;

/// 32 quantized activations.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub(crate) struct Q8Block {
    /// What 1 in `q` stands for. NaN where an activation is infinite or NaN, so that the result is NaN.
    pub(crate) scale: f32,
    /// The sums of the two halves of `q`.
    pub(crate) sums: [i16; 2],
    /// −127 to 127.
    pub(crate) q: [i8; 32],
}

/// Quantizes rows of activations into one tile.
///
/// `rows` holds up to [`TILE`] rows of `stride` numbers, of which the first `k` count; `k` is a multiple of 32.
/// `tile` holds `k / 32` groups of one block for each row.
#[inline(always)]
pub(crate) fn quantize<L: Lanes>(l: L, rows: &[f32], stride: usize, k: usize, tile: &mut [Q8Block]) {
    let width = tile.len() / (k / BLOCK).max(1);
    for (token, row) in rows.chunks_exact(stride).take(width).enumerate() {
        let (halves, _) = row[..k].as_chunks::<16>();
        for (x, blocks) in halves.chunks_exact(2).zip(tile.chunks_exact_mut(width)) {
            blocks[token] = block(l, &x[0], &x[1]);
        }
    }
}

#[inline(always)]
fn block<L: Lanes>(l: L, low: &[f32; 16], high: &[f32; 16]) -> Q8Block {
    let (low, high) = (l.load(low), l.load(high));
    let amax = f32::from_bits(l.max_abs_bits(low).max(l.max_abs_bits(high)));
    let inverse = 127.0 / amax;
    let mut q = [[0; 16]; 2];
    if !amax.is_finite() {
        return Q8Block { scale: f32::NAN, sums: [0; 2], q: [0; 32] };
    }
    if !inverse.is_finite() {
        // All zero, or too small for 127 / amax to be a number.
        return Q8Block { scale: 0.0, sums: [0; 2], q: [0; 32] };
    }
    let inverse = l.splat(inverse);
    l.store_i8(l.round(l.mul(low, inverse)), &mut q[0]);
    l.store_i8(l.round(l.mul(high, inverse)), &mut q[1]);
    let sum = |half: &[i8; 16]| half.iter().map(|&q| i16::from(q)).sum();
    let mut block = Q8Block { scale: amax / 127.0, sums: [sum(&q[0]), sum(&q[1])], q: [0; 32] };
    block.q.copy_from_slice(q.as_flattened());
    block
}
