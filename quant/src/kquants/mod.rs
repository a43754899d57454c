//! The K-quants: superblocks of 256 whose sub-blocks' scales are themselves quantized.
//!
//! | type | sub-blocks | value                                  | quants | scales              |
//! |------|------------|----------------------------------------|--------|---------------------|
//! | Q2_K | 16 of 16   | `d * scale * q - dmin * min`           | 2 bits | 4 bits, 4-bit mins  |
//! | Q3_K | 16 of 16   | `d * scale * (q - 4)`                  | 3 bits | 6 bits, signed      |
//! | Q4_K | 8 of 32    | `d * scale * q - dmin * min`           | 4 bits | 6 bits, 6-bit mins  |
//! | Q5_K | 8 of 32    | `d * scale * q - dmin * min`           | 5 bits | 6 bits, 6-bit mins  |
//! | Q6_K | 16 of 16   | `d * scale * (q - 32)`                 | 6 bits | 8 bits, signed      |
//!
//! Bits of quants are stored as *planes*: one byte holds the same bits of several elements that stand 32 (or, for
//! Q6_K's low bits, 64) apart; see [`planes`]. Layouts: `ggml-common.h` in llama.cpp.

mod affine;
mod planes;
mod scales;
mod symmetric;

use half::f16;

use crate::layout::block;
pub use scales::{k4_scales, q3_scales};

block! {
    /// 2 bits a quant: `x = d * scale * q - dmin * min`, sub-blocks of 16.
    Q2_K {
        /// Of each sub-block: scale in the low nibble, minimum in the high one.
        scales: [u8; 16],
        /// Quants, four to a byte, 32 elements apart.
        qs: [u8; 64],
        /// Scale of the scales.
        d: f16,
        /// Scale of the minimums.
        dmin: f16,
    }
}

block! {
    /// 3 bits a quant: `x = d * scale * (q - 4)`, sub-blocks of 16.
    Q3_K {
        /// Third bits, eight to a byte, 32 elements apart.
        hmask: [u8; 32],
        /// Low two bits, four to a byte, 32 elements apart.
        qs: [u8; 64],
        /// Scales, packed as [`q3_scales`] reads them.
        scales: [u8; 12],
        /// Scale of the scales.
        d: f16,
    }
}

block! {
    /// 4 bits a quant: `x = d * scale * q - dmin * min`, sub-blocks of 32.
    Q4_K {
        /// Scale of the scales.
        d: f16,
        /// Scale of the minimums.
        dmin: f16,
        /// Scales and minimums, packed as [`k4_scales`] reads them.
        scales: [u8; 12],
        /// Quants, two to a byte, 32 elements apart.
        qs: [u8; 128],
    }
}

block! {
    /// 5 bits a quant: `x = d * scale * q - dmin * min`, sub-blocks of 32.
    Q5_K {
        /// Scale of the scales.
        d: f16,
        /// Scale of the minimums.
        dmin: f16,
        /// Scales and minimums, packed as [`k4_scales`] reads them.
        scales: [u8; 12],
        /// Fifth bits, eight to a byte, 32 elements apart.
        qh: [u8; 32],
        /// Low four bits, two to a byte, 32 elements apart.
        qs: [u8; 128],
    }
}

block! {
    /// 6 bits a quant: `x = d * scale * (q - 32)`, sub-blocks of 16.
    Q6_K {
        /// Low four bits, two to a byte, 64 elements apart.
        ql: [u8; 128],
        /// High two bits, four to a byte, 32 elements apart.
        qh: [u8; 64],
        /// Scales.
        scales: [i8; 16],
        /// Scale of the scales.
        d: f16,
    }
}

impl Q2_K {
    /// The quants, 0 to 3, in the order of the elements.
    pub fn quants(&self) -> [u8; 256] {
        planes::unpack::<2, 32, 64>(&self.qs)
    }

    /// Values of the block.
    pub fn decode(&self, out: &mut [f32; 256]) {
        let scales = self.scales.map(|byte| byte & 15);
        let mins = self.scales.map(|byte| byte >> 4);
        affine::decode::<16>((self.d, &scales), (self.dmin, &mins), &self.quants(), out);
    }
}

impl Q3_K {
    /// The quants, 0 to 7, in the order of the elements; 4 stands for zero.
    pub fn quants(&self) -> [u8; 256] {
        planes::join(planes::unpack::<2, 32, 64>(&self.qs), 2, planes::unpack::<1, 32, 32>(&self.hmask))
    }

    /// Values of the block.
    pub fn decode(&self, out: &mut [f32; 256]) {
        symmetric::decode(self.d, &q3_scales(&self.scales), &self.quants(), 4, out);
    }
}

impl Q4_K {
    /// The quants, 0 to 15, in the order of the elements.
    pub fn quants(&self) -> [u8; 256] {
        planes::unpack::<4, 32, 128>(&self.qs)
    }

    /// Values of the block.
    pub fn decode(&self, out: &mut [f32; 256]) {
        let (scales, mins) = k4_scales(&self.scales);
        affine::decode::<32>((self.d, &scales), (self.dmin, &mins), &self.quants(), out);
    }
}

impl Q5_K {
    /// The quants, 0 to 31, in the order of the elements.
    pub fn quants(&self) -> [u8; 256] {
        planes::join(planes::unpack::<4, 32, 128>(&self.qs), 4, planes::unpack::<1, 32, 32>(&self.qh))
    }

    /// Values of the block.
    pub fn decode(&self, out: &mut [f32; 256]) {
        let (scales, mins) = k4_scales(&self.scales);
        affine::decode::<32>((self.d, &scales), (self.dmin, &mins), &self.quants(), out);
    }
}

impl Q6_K {
    /// The quants, 0 to 63, in the order of the elements; 32 stands for zero.
    pub fn quants(&self) -> [u8; 256] {
        planes::join(planes::unpack::<4, 64, 128>(&self.ql), 4, planes::unpack::<2, 32, 64>(&self.qh))
    }

    /// Values of the block.
    pub fn decode(&self, out: &mut [f32; 256]) {
        symmetric::decode(self.d, &self.scales, &self.quants(), 32, out);
    }
}
