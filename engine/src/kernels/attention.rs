use half::f16;

use super::activation::exp;
use crate::lanes::{Lanes, unroll};

/// Positions whose scores are weighed together: a fixed grid from the start of the context, so that the result does
/// not depend on how the prompt was cut.
pub(crate) const BLOCK: usize = 64;
/// The largest head that attention's buffers hold.
pub(crate) const MAX_HEAD_DIM: usize = 512;

/// The numbers of a KV cache.
pub(crate) trait Element: Copy {
    /// Bytes of one number.
    const BYTES: usize;
    fn write(x: f32, to: &mut [u8]);
    /// 16 numbers from their bytes.
    fn load<L: Lanes>(l: L, bytes: &[u8]) -> L::F;
}

impl Element for f32 {
    const BYTES: usize = 4;
    #[inline(always)]
    fn write(x: f32, to: &mut [u8]) {
        to.copy_from_slice(&x.to_le_bytes());
    }
    #[inline(always)]
    fn load<L: Lanes>(l: L, bytes: &[u8]) -> L::F {
        bytes.first_chunk().map_or_else(|| l.splat(0.0), |bytes| l.load_f32(bytes))
    }
}

impl Element for f16 {
    const BYTES: usize = 2;
    #[inline(always)]
    fn write(x: f32, to: &mut [u8]) {
        to.copy_from_slice(&f16::from_f32(x).to_le_bytes());
    }
    #[inline(always)]
    fn load<L: Lanes>(l: L, bytes: &[u8]) -> L::F {
        bytes.first_chunk().map_or_else(|| l.splat(0.0), |bytes| l.load_f16(bytes))
    }
}

/// What one token's query heads of one KV head attend to.
pub(crate) struct Context<'a> {
    /// The KV head's keys in panels of 16 positions, `[position / 16][head_dim][16]`.
    pub(crate) keys: &'a [u8],
    /// Its values, `[position][head_dim rounded up to 16]`.
    pub(crate) values: &'a [u8],
    /// Positions 0 to `positions` − 1 are attended to.
    pub(crate) positions: usize,
    pub(crate) head_dim: usize,
    /// What the dot product of query and key is multiplied by.
    pub(crate) scale: f32,
}

/// `out = softmax(queries · keys · scale) · values` for the query heads that share a KV head, each `head_dim` long
/// (Vaswani et al. 2017, arXiv 1706.03762; online softmax: Milakov and Gimelshein 2018, arXiv 1805.02867).
#[inline(always)]
pub(crate) fn attend<L: Lanes, E: Element>(l: L, context: &Context<'_>, queries: &[f32], out: &mut [f32]) {
    let dim = context.head_dim;
    let (mut queries, mut out) = (queries, out);
    // As many heads at a time as share the loads of a key without spilling; each head's numbers are its own.
    while queries.len() >= dim && out.len() >= dim {
        let heads = match queries.len() / dim {
            1 => 1,
            2 | 3 => 2,
            _ => 4,
        };
        let (now, later) = std::mem::take(&mut out).split_at_mut(heads * dim);
        match heads {
            1 => attend_heads::<L, E, 1>(l, context, queries, now),
            2 => attend_heads::<L, E, 2>(l, context, queries, now),
            _ => attend_heads::<L, E, 4>(l, context, queries, now),
        }
        (queries, out) = (&queries[heads * dim..], later);
    }
}

#[inline(always)]
fn attend_heads<L: Lanes, E: Element, const H: usize>(
    l: L,
    context: &Context<'_>,
    queries: &[f32],
    out: &mut [f32],
) {
    let &Context { keys, values, positions, head_dim: dim, scale } = context;
    let vectors = dim.div_ceil(16);
    let queries: [&[f32]; H] = std::array::from_fn(|h| &queries[h * dim..(h + 1) * dim]);
    let mut sums = [[[0.0f32; 16]; MAX_HEAD_DIM / 16]; H];
    let mut maximum = [f32::NEG_INFINITY; H];
    let mut total = [0.0f32; H];
    let mut start = 0;
    while start < positions {
        let count = (positions - start).min(BLOCK);
        let mut weights = [[[0.0f32; 16]; BLOCK / 16]; H];
        let block_keys = &keys[start * dim * E::BYTES..];
        for (panel, keys) in block_keys.chunks(16 * dim * E::BYTES).take(count.div_ceil(16)).enumerate() {
            let mut score = [l.splat(0.0); H];
            for (d, key) in keys.chunks_exact(16 * E::BYTES).enumerate() {
                let key = E::load(l, key);
                unroll!(h < H => { score[h] = l.fma(l.splat(queries[h][d]), key, score[h]); });
            }
            unroll!(h < H => {
                let scaled = l.mul(score[h], l.splat(scale));
                l.store(l.keep(scaled, count - 16 * panel, f32::NEG_INFINITY), &mut weights[h][panel]);
            });
        }
        for h in 0..H {
            let panels = &mut weights[h][..count.div_ceil(16)];
            let mut best = l.splat(maximum[h]);
            for score in panels.iter() {
                best = l.max(l.load(score), best);
            }
            let best = l.fold_max(best);
            let new = l.splat(best);
            let mut sum = l.splat(0.0);
            for score in panels.iter_mut() {
                let weight = exp(l, l.sub(l.load(score), new));
                sum = l.add(sum, weight);
                l.store(weight, score);
            }
            let mut correction = [0.0; 16];
            l.store(exp(l, l.splat(maximum[h] - best)), &mut correction);
            total[h] = total[h].mul_add(correction[0], l.fold_add(sum));
            maximum[h] = best;
            let correction = l.load(&correction);
            for sum in &mut sums[h][..vectors] {
                l.store(l.mul(l.load(sum), correction), sum);
            }
        }
        let row = 16 * vectors * E::BYTES;
        let block_values = &values[start * row..(start + count) * row];
        for vector in 0..vectors {
            let mut sum = [l.splat(0.0); H];
            unroll!(h < H => { sum[h] = l.load(&sums[h][vector]); });
            for (position, value) in block_values.chunks_exact(row).enumerate() {
                let value = E::load(l, &value[16 * vector * E::BYTES..]);
                unroll!(h < H => {
                    sum[h] = l.fma(l.splat(weights[h][position / 16][position % 16]), value, sum[h]);
                });
            }
            unroll!(h < H => { l.store(sum[h], &mut sums[h][vector]); });
        }
        start += BLOCK;
    }
    for (h, out) in out.chunks_exact_mut(dim).enumerate() {
        let inverse = l.splat(1.0 / total[h]);
        for (sum, out) in sums[h].iter_mut().zip(out.chunks_mut(16)) {
            l.store(l.mul(l.load(sum), inverse), sum);
            out.copy_from_slice(&sum[..out.len()]);
        }
    }
}

/// Writes one token's key and value of one KV head into its cache, laid out as [`Context`] says.
pub(crate) fn store<E: Element>(
    position: usize,
    key: &[f32],
    value: &[f32],
    keys: &mut [u8],
    values: &mut [u8],
) {
    let dim = key.len();
    let (panel, lane) = (position / 16, position % 16);
    let panel = &mut keys[panel * 16 * dim * E::BYTES..];
    for (&x, lanes) in key.iter().zip(panel.chunks_exact_mut(16 * E::BYTES)) {
        E::write(x, &mut lanes[lane * E::BYTES..(lane + 1) * E::BYTES]);
    }
    let row = dim.next_multiple_of(16) * E::BYTES;
    for (&x, to) in value.iter().zip(values[position * row..].chunks_exact_mut(E::BYTES)) {
        E::write(x, to);
    }
}
