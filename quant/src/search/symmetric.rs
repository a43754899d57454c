//! `scale * level` for the levels of a fixed grid around 0.

use super::lanes::{Group, Lanes, Weights, each, inverse, nearest};

/// The levels that quants stand for.
pub(crate) trait Grid {
    /// The level of quant 0, the largest in magnitude.
    const LOWEST: f32;
    /// Each try lays the largest element in magnitude on such a level, beyond [`LOWEST`](Self::LOWEST) or short of it.
    const TRIES: &[f32];
    /// How often the best try's scale is fitted again to the quants that it gives.
    const AGAIN: usize;

    /// The level nearest to `x`.
    fn nearest(x: f32) -> f32;
    /// The quant of the level nearest to `x`.
    fn quant(x: f32) -> u8;
}

/// Scales that explain most of the values, of several tries.
///
/// The quants of each try have a best scale in closed form, and so have those of the best try.
pub(crate) fn fit<G: Grid, const LEN: usize, W: Weights>(group: &Group<'_, W, LEN>) -> Lanes {
    let (low, high) = group.extremes();
    let extreme = each(|i| if high[i] > -low[i] { high[i] } else { low[i] });
    let mut best = extreme.map(|x| x / G::LOWEST);
    let mut most = [0.0; 8];
    let mut offer = |start: Lanes, best: Lanes| {
        let (xl, ll) = moments::<G, LEN, W>(start, group);
        let scale = each(|i| xl[i] / ll[i]);
        let better: [bool; 8] = std::array::from_fn(|i| scale[i] * xl[i] > most[i]);
        most = each(|i| if better[i] { scale[i] * xl[i] } else { most[i] });
        each(|i| if better[i] { scale[i] } else { best[i] })
    };
    for &level in G::TRIES {
        best = offer(extreme.map(|x| x / level), best);
    }
    for _ in 0..G::AGAIN {
        best = offer(best, best);
    }
    best
}

/// The sums of x·level and of level², for the nearest levels.
#[inline(never)]
pub(crate) fn moments<G: Grid, const LEN: usize, W: Weights>(
    scale: Lanes,
    group: &Group<'_, W, LEN>,
) -> (Lanes, Lanes) {
    let inverse = scale.map(inverse);
    let [xl, ll] = group.sums(|i, w, x| {
        let level = G::nearest(x * inverse[i]);
        let weighted = w * level;
        [weighted * x, weighted * level]
    });
    (xl, ll)
}

/// Weighted squared error with the nearest levels.
#[inline(never)]
pub(crate) fn error<G: Grid, const LEN: usize, W: Weights>(scale: Lanes, group: &Group<'_, W, LEN>) -> Lanes {
    let inverse = scale.map(inverse);
    let [error] = group.sums(|i, w, x| {
        let e = scale[i] * G::nearest(x * inverse[i]) - x;
        [w * (e * e)]
    });
    error
}

/// The quants of the nearest levels.
pub(crate) fn quants<G: Grid, const LEN: usize, W: Weights>(
    scale: Lanes,
    group: &Group<'_, W, LEN>,
    out: &mut [u8; 256],
) {
    let inverse = scale.map(inverse);
    group.quants(|i, x| G::quant(x * inverse[i]), out);
}

/// Declares a grid of the whole numbers from `-zero` to `zero - 1`.
macro_rules! whole {
    ($(#[$doc:meta])* $name:ident, $zero:literal, tries $tries:expr, again $again:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name;

        impl Grid for $name {
            const LOWEST: f32 = -$zero;
            const TRIES: &[f32] = &$tries;
            const AGAIN: usize = $again;

            #[inline(always)]
            fn nearest(x: f32) -> f32 {
                nearest(x, -$zero, $zero - 1.0)
            }

            #[inline(always)]
            fn quant(x: f32) -> u8 {
                (Self::nearest(x) + $zero) as u8
            }
        }
    };
}

whole!(
    /// -4 to 3.
    ThreeBits, 4.0,
    tries [-4.4, -4.0, -3.7, -3.4, -3.1, -2.8, -2.5, -2.1, 4.0, 3.6, 3.2, 2.9, 2.5], again 2
);
whole!(
    /// -8 to 7.
    FourBits, 8.0,
    tries [-8.6, -8.3, -8.0, -7.7, -7.4, -7.1, -6.8, -6.5, -6.1, -5.7, -5.2, 7.9, 7.5, 7.2, 6.9, 6.5, 6.0], again 2
);
whole!(
    /// -16 to 15.
    FiveBits, 16.0,
    tries [-16.6, -16.3, -16.0, -15.6, -15.3, -15.0, -14.6, -14.2, -13.8, -13.3, -12.5, 15.8, 15.3, 14.8, 14.2], again 2
);
whole!(
    /// -32 to 31.
    SixBits, 32.0,
    tries [-33.0, -32.6, -32.3, -32.0, -31.7, -31.3, -31.0, -30.6, -30.2, -29.8, -29.4, -28.8, -28.2], again 1
);
