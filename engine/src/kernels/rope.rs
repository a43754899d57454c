use crate::lanes::Lanes;

/// Rotates the pairs (x₀, x₁), (x₂, x₃), … of one head (RoPE: Su et al. 2021, arXiv 2104.09864, pairs as GGUF's LLaMA
/// files order them).
///
/// `turns` holds for each number of the head the cosine of its pair's angle, then for each number the sine, negative
/// for the pair's first. Numbers beyond the rotated ones stay.
#[inline(always)]
pub(crate) fn rotate_pairs<L: Lanes>(l: L, head: &mut [f32], turns: &[f32]) {
    let (cos, sin) = turns.split_at(turns.len() / 2);
    let rotated = cos.len().min(head.len());
    let (head, _) = head.split_at_mut(rotated);
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

/// Makes `turns` turn the other way.
pub(crate) fn reverse(turns: &mut [f32]) {
    let half = turns.len() / 2;
    turns[half..].iter_mut().for_each(|sin| *sin = -*sin);
}

/// Fills `turns` for [`rotate_pairs`] at a position, from the angle that each pair turns by from one position to the
/// next.
///
/// The angle is formed in f32, as the reference implementations form it.
pub(crate) fn fill_turns(turns: &mut [f32], position: usize, frequencies: &[f32]) {
    let (cos, sin) = turns.split_at_mut(turns.len() / 2);
    for ((cos, sin), frequency) in cos.chunks_exact_mut(2).zip(sin.chunks_exact_mut(2)).zip(frequencies) {
        let angle = f64::from(position as f32 * frequency);
        let (s, c) = libm::sincos(angle);
        cos.fill(c as f32);
        sin[0] = -(s as f32);
        sin[1] = s as f32;
    }
}
