/// A number from −1 to 1 that looks like chance: the same for the same seed and counter, whatever was drawn before (counter-based
/// generators: Salmon et al. 2011). The mixing is that of SplitMix64 (Steele et al. 2014).
pub(super) fn unit(seed: u64, counter: u64) -> f32 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut bits = mix(seed.wrapping_add(STEP)).wrapping_add(counter.wrapping_mul(STEP));
    bits = mix(bits);
    // 24 bits are what an f32 has.
    (bits >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
