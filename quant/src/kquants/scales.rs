//! 6-bit scales packed into 12 bytes.

/// Scales and minimums of a Q4_K or Q5_K superblock, 0 to 63 each.
///
/// The first four scales and minimums are the low six bits of bytes 0-3 and 4-7. The low four bits of the last four
/// are the nibbles of bytes 8-11 (scale low, minimum high), and their upper two bits are the upper two bits of
/// bytes 0-3 and 4-7 (`get_scale_min_k4` in llama.cpp).
#[inline]
pub fn k4_scales(packed: &[u8; 12]) -> ([u8; 8], [u8; 8]) {
    let mut scales = [0; 8];
    let mut mins = [0; 8];
    for i in 0..4 {
        let (scale, min, nibbles) = (packed[i], packed[i + 4], packed[i + 8]);
        scales[i] = scale & 63;
        mins[i] = min & 63;
        scales[i + 4] = (nibbles & 15) | (scale >> 6) << 4;
        mins[i + 4] = (nibbles >> 4) | (min >> 6) << 4;
    }
    (scales, mins)
}

/// The inverse of [`k4_scales`], for values of at most 63.
pub(super) fn pack_k4_scales(scales: &[u8; 8], mins: &[u8; 8]) -> [u8; 12] {
    let mut packed = [0; 12];
    for i in 0..4 {
        packed[i] = scales[i] | (scales[i + 4] >> 4) << 6;
        packed[i + 4] = mins[i] | (mins[i + 4] >> 4) << 6;
        packed[i + 8] = (scales[i + 4] & 15) | (mins[i + 4] & 15) << 4;
    }
    packed
}

/// Scales of a Q3_K superblock, -32 to 31.
///
/// Low four bits: the low nibbles of bytes 0-7, then their high nibbles. Upper two bits: bit pairs of bytes 8-11, the
/// lowest pair of all four bytes first.
#[inline]
pub fn q3_scales(packed: &[u8; 12]) -> [i8; 16] {
    std::array::from_fn(|i| {
        let low = (packed[i % 8] >> (4 * (i / 8))) & 15;
        let high = (packed[8 + i % 4] >> (2 * (i / 4))) & 3;
        (low | high << 4) as i8 - 32
    })
}

/// The inverse of [`q3_scales`].
pub(super) fn pack_q3_scales(scales: &[i8; 16]) -> [u8; 12] {
    let mut packed = [0; 12];
    for (i, &scale) in scales.iter().enumerate() {
        let bits = (scale + 32) as u8;
        packed[i % 8] |= (bits & 15) << (4 * (i / 8));
        packed[8 + i % 4] |= (bits >> 4) << (2 * (i / 4));
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_k4_byte_string_survives() {
        let packed: [u8; 12] = std::array::from_fn(|i| (i * 89 + 201) as u8);
        let (scales, mins) = k4_scales(&packed);
        assert_eq!(pack_k4_scales(&scales, &mins), packed);
    }

    #[test]
    fn every_q3_byte_string_survives() {
        let packed: [u8; 12] = std::array::from_fn(|i| (i * 89 + 201) as u8);
        assert_eq!(pack_q3_scales(&q3_scales(&packed)), packed);
    }

    #[test]
    fn q3_scales_join_nibbles_and_pairs() {
        let mut packed = [0; 12];
        assert_eq!(q3_scales(&packed), [-32; 16]);
        packed[1] = 0x50; // low bits of scale 9
        packed[8 + 1] = 0b11 << 4; // high bits of scale 9
        let mut expected = [-32; 16];
        expected[9] = 5 + 48 - 32;
        assert_eq!(q3_scales(&packed), expected);
    }
}
