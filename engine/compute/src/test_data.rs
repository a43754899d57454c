//! Random inputs of the unit tests.

use std::io::Write;

use half::f16;
use siskin_quant::TensorType::{self, *};

use crate::formats::pieces_of;

/// Every format that has kernels.
pub fn kernel_types() -> impl Iterator<Item = TensorType> {
    TensorType::ALL.iter().copied().filter(|&ty| pieces_of(ty).is_some())
}

/// Marsaglia's xorshift64*: any fixed sequence will do.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    /// From −1 to 1.
    pub fn unit(&mut self) -> f32 {
        self.bits() as f32 / (u32::MAX / 2) as f32 - 1.0
    }

    pub fn vector(&mut self, n: usize, scale: f32) -> Vec<f32> {
        (0..n).map(|_| scale * self.unit()).collect()
    }
}

/// Valid blocks of random bytes, with scales of moderate size.
pub fn random_blocks(ty: TensorType, blocks: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let mut bytes: Vec<u8> = (0..blocks * ty.block_bytes()).map(|_| random.bits() as u8).collect();
    for block in bytes.chunks_exact_mut(ty.block_bytes()) {
        for at in float_fields(ty) {
            let scale = f16::from_f32(random.unit());
            block[at..at + 2].copy_from_slice(&scale.to_le_bytes());
        }
        match ty {
            F32 => block.copy_from_slice(&random.unit().to_le_bytes()),
            IQ1_M => {
                let scale = f16::from_f32(random.unit()).to_bits();
                for part in 0..4 {
                    let byte = &mut block[49 + 2 * part];
                    *byte = *byte & 15 | ((scale >> (4 * part)) as u8) << 4;
                }
            }
            MXFP4 => block[0] = 120 + block[0] % 8,
            BF16 => block.copy_from_slice(&half::bf16::from_f32(random.unit()).to_le_bytes()),
            _ => {}
        }
    }
    bytes
}

/// Blocks of equal bytes, after them some of random ones, all with scales that no weights have.
pub fn extreme_blocks(ty: TensorType, blocks: usize, seed: u64) -> Vec<u8> {
    let mut bytes = random_blocks(ty, blocks, seed);
    let subnormal = [0x0001, 0x8001, 0x03ff, 0x83ff].map(f16::from_bits);
    let normal = [f16::MAX, f16::MIN, f16::NEG_ZERO, f16::ONE, f16::MIN_POSITIVE];
    let scales = [&subnormal[..], &normal, &[f16::INFINITY, f16::NAN]].concat();
    for (i, block) in bytes.chunks_exact_mut(ty.block_bytes()).enumerate() {
        if let Some(&byte) = [0x00, 0xff, 0x80, 0x7f, 0x55, 0xaa].get(i % 9) {
            block.fill(byte);
        }
        for (field, at) in float_fields(ty).into_iter().enumerate() {
            block[at..at + 2].copy_from_slice(&scales[(i / 2 + field) % scales.len()].to_le_bytes());
        }
        if ty == MXFP4 {
            block[0] = [0, 1, 2, 127, 254, 255][i / 2 % 6];
        }
    }
    bytes
}

/// Where a block's f16 numbers begin.
fn float_fields(ty: TensorType) -> Vec<usize> {
    if ty == BF16 {
        return Vec::new();
    }
    let pieces = pieces_of(ty).unwrap_or(&[]).iter();
    let halves = pieces.filter(|piece| (piece.bytes, piece.unit) == (2, 2)).map(|piece| piece.at);
    // IQ4_XS has two bytes of integers behind its scale.
    halves.filter(|&at| !(ty == IQ4_XS && at == 2)).collect()
}

/// The tiers that a machine which runs tests must have: those that `SISKIN_TIERS` names, with commas between them.
pub fn required_tiers() -> Vec<String> {
    let named = std::env::var("SISKIN_TIERS").unwrap_or_default();
    named.split(',').filter(|tier| !tier.is_empty()).map(str::to_owned).collect()
}

/// Says that nothing was asked of a tier, which this CPU lacks, where tests' output is not held back.
///
/// # Panics
/// Where the tier is one of [`required_tiers`].
pub fn skip_tier(tier: &str) {
    assert!(!required_tiers().iter().any(|required| required == tier), "this CPU has no {tier}");
    // `eprintln` is held back where a test passes.
    let _ = writeln!(std::io::stderr(), "skipped: this CPU has no {tier}");
}
