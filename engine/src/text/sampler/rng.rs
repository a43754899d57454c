//! Random numbers that are the same on every machine.

/// xoshiro256++ 1.0 (Blackman & Vigna, "Scrambled linear pseudorandom number generators", ACM TOMS 47, 2021), its
/// state filled from a 64-bit seed by SplitMix64 as its authors recommend. Integers only, so no machine, C library or
/// compiler changes the stream.
#[derive(Debug, Clone)]
pub(super) struct Rng {
    state: [u64; 4],
}

impl Rng {
    pub(super) fn new(mut seed: u64) -> Self {
        Rng { state: std::array::from_fn(|_| split_mix(&mut seed)) }
    }

    pub(super) fn next_u64(&mut self) -> u64 {
        let [s0, s1, s2, s3] = &mut self.state;
        let result = s0.wrapping_add(*s3).rotate_left(23).wrapping_add(*s0);
        let t = *s1 << 17;
        *s2 ^= *s0;
        *s3 ^= *s1;
        *s1 ^= *s2;
        *s0 ^= *s3;
        *s2 ^= t;
        *s3 = s3.rotate_left(45);
        result
    }

    /// A multiple of 2^-53 in `0.0..1.0`, each as likely as any other.
    pub(super) fn uniform(&mut self) -> f64 {
        const STEP: f64 = 1.0 / (1u64 << 53) as f64;
        (self.next_u64() >> 11) as f64 * STEP
    }
}

/// SplitMix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A seed nobody can foresee: the standard library keys its hashers from the operating system's random numbers.
pub(super) fn seed_from_os() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs of Vigna's C program `splitmix64.c` for the seed 1234567.
    #[test]
    fn split_mix_follows_the_reference() {
        let mut seed = 1_234_567;
        let found: [u64; 3] = std::array::from_fn(|_| split_mix(&mut seed));
        assert_eq!(found, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    /// The first outputs of `xoshiro256plusplus.c` for the state 1, 2, 3, 4.
    #[test]
    fn xoshiro_follows_the_reference() {
        let mut rng = Rng { state: [1, 2, 3, 4] };
        let found: [u64; 4] = std::array::from_fn(|_| rng.next_u64());
        assert_eq!(found, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
    }

    #[test]
    fn uniform_stays_below_one() {
        let mut rng = Rng { state: [0; 4] };
        assert_eq!(rng.uniform(), 0.0);
        assert_eq!((u64::MAX >> 11) as f64 / (1u64 << 53) as f64, 1.0 - f64::EPSILON / 2.0);
        let mut rng = Rng::new(7);
        assert!((0..10_000).all(|_| (0.0..1.0).contains(&rng.uniform())));
    }

    #[test]
    fn seeds_from_the_system_differ() {
        assert_ne!(seed_from_os(), seed_from_os());
    }
}
