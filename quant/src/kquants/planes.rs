//! Quants as planes of bits.
//!
//! A plane of `BITS` with stride `STRIDE` cuts the 256 elements into runs of `STRIDE * 8 / BITS`, each stored in
//! `STRIDE` bytes: byte `i` of a run holds elements `i`, `i + STRIDE`, `i + 2 * STRIDE`... from its low bits up.
//! All of a byte's elements can so be unpacked by one shift and mask over a vector of bytes.

/// The elements of a plane of `BYTES` bytes, in their order.
#[inline]
pub(super) fn unpack<const BITS: usize, const STRIDE: usize, const BYTES: usize>(
    plane: &[u8; BYTES],
) -> [u8; 256] {
    const { assert!(BYTES * 8 == 256 * BITS && BYTES.is_multiple_of(STRIDE)) };
    let mask = (1u8 << BITS) - 1;
    let mut elements = [0; 256];
    let runs = plane.as_chunks::<STRIDE>().0.iter().zip(elements.chunks_exact_mut(STRIDE * 8 / BITS));
    for (bytes, run) in runs {
        for (level, out) in run.as_chunks_mut::<STRIDE>().0.iter_mut().enumerate() {
            *out = bytes.map(|byte| (byte >> (BITS * level)) & mask);
        }
    }
    elements
}

/// The low `BITS` bits of the elements, as [`unpack`] reads them.
pub(super) fn pack<const BITS: usize, const STRIDE: usize, const BYTES: usize>(
    elements: &[u8; 256],
) -> [u8; BYTES] {
    const { assert!(BYTES * 8 == 256 * BITS && BYTES.is_multiple_of(STRIDE)) };
    let mask = (1u8 << BITS) - 1;
    let mut plane = [0; BYTES];
    let runs = plane.as_chunks_mut::<STRIDE>().0.iter_mut().zip(elements.chunks_exact(STRIDE * 8 / BITS));
    for (bytes, run) in runs {
        for (level, elements) in run.as_chunks::<STRIDE>().0.iter().enumerate() {
            for (byte, element) in bytes.iter_mut().zip(elements) {
                *byte |= (element & mask) << (BITS * level);
            }
        }
    }
    plane
}

/// Elements whose low `bits` bits are in `low` and whose other bits are in `high`.
#[inline]
pub(super) fn join(low: [u8; 256], bits: u32, high: [u8; 256]) -> [u8; 256] {
    std::array::from_fn(|i| low[i] | high[i] << bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pack_inverts_unpack() {
        let bytes: [u8; 128] = std::array::from_fn(|i| (i * 151 + 7) as u8);
        assert_eq!(pack::<4, 32, 128>(&unpack::<4, 32, 128>(&bytes)), bytes);
        assert_eq!(pack::<4, 64, 128>(&unpack::<4, 64, 128>(&bytes)), bytes);
        let bytes: [u8; 64] = std::array::from_fn(|i| bytes[i]);
        assert_eq!(pack::<2, 32, 64>(&unpack::<2, 32, 64>(&bytes)), bytes);
        let bytes: [u8; 32] = std::array::from_fn(|i| bytes[i]);
        assert_eq!(pack::<1, 32, 32>(&unpack::<1, 32, 32>(&bytes)), bytes);
    }

    #[test]
    fn elements_of_a_byte_stand_a_stride_apart() {
        let mut plane = [0; 64];
        plane[32 + 5] = 0b11_10_01_00;
        let elements = unpack::<2, 32, 64>(&plane);
        assert_eq!([0, 1, 2, 3].map(|level| elements[128 + 5 + 32 * level]), [0, 1, 2, 3]);
        assert_eq!(elements.iter().map(|&q| u32::from(q)).sum::<u32>(), 6);
    }
}
