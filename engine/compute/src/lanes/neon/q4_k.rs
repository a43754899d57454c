//! The product of a panel in Q4_K with one token, in one loop whose every register is chosen by hand: each byte of
//! weights is loaded once, for the two blocks of 32 that share it.
//!
//! Registers: `v0` to `v3` are the results, `v4` to `v7` a superblock's scales and `v8` to `v11` its minimums, both
//! times 2²⁴; `v12` to `v15` are the activations of two blocks, then their scales and sums; `v16` to `v19` are the exact
//! sums of the one, `v20` to `v23` of the other; `v28` is a mask, and the rest is for what comes and goes.

use std::arch::aarch64::*;
use std::arch::asm;
use std::mem::MaybeUninit;

use super::F;
use crate::q8::Q8Block;

/// Two grains' scales and minimums, 6 bits each, unpacked and stored, from those of bytes `$low`, `$middle`.
macro_rules! store_first {
    ($low0:literal, $middle0:literal, $low1:literal, $middle1:literal) => {
        concat!(
            concat!("and v24.16b, ", $low0, ".16b, v29.16b\n"),
            concat!("and v25.16b, ", $middle0, ".16b, v29.16b\n"),
            concat!("and v26.16b, ", $low1, ".16b, v29.16b\n"),
            concat!("and v27.16b, ", $middle1, ".16b, v29.16b\n"),
            "st1 {{v24.16b, v25.16b, v26.16b, v27.16b}}, [{bytes}], #64\n",
        )
    };
}

/// The same for the last four grains, whose lower four bits are in `$high`.
macro_rules! store_last {
    ($low0:literal, $middle0:literal, $high0:literal, $low1:literal, $middle1:literal, $high1:literal) => {
        concat!(
            concat!("ushr v24.16b, ", $low0, ".16b, #2\n"),
            concat!("ushr v25.16b, ", $middle0, ".16b, #2\n"),
            concat!("ushr v26.16b, ", $low1, ".16b, #2\n"),
            concat!("ushr v27.16b, ", $middle1, ".16b, #2\n"),
            concat!("bit v24.16b, ", $high0, ".16b, v28.16b\n"),
            concat!("sri v25.16b, ", $high0, ".16b, #4\n"),
            concat!("bit v26.16b, ", $high1, ".16b, v28.16b\n"),
            concat!("sri v27.16b, ", $high1, ".16b, #4\n"),
            "st1 {{v24.16b, v25.16b, v26.16b, v27.16b}}, [{bytes}], #64\n",
        )
    };
}

/// Adds the products of a group's weights with the activations of both blocks.
macro_rules! add_group {
    ($even:literal, $odd:literal, $group:literal) => {
        concat!(
            "ld1 {{v24.16b, v25.16b, v26.16b, v27.16b}}, [{w}], #64\n",
            "and v29.16b, v24.16b, v28.16b\n",
            "and v30.16b, v25.16b, v28.16b\n",
            "ushr v24.16b, v24.16b, #4\n",
            "ushr v25.16b, v25.16b, #4\n",
            concat!("sdot v16.4s, v29.16b, ", $even, ".4b[", $group, "]\n"),
            concat!("sdot v17.4s, v30.16b, ", $even, ".4b[", $group, "]\n"),
            "and v29.16b, v26.16b, v28.16b\n",
            "and v30.16b, v27.16b, v28.16b\n",
            concat!("sdot v20.4s, v24.16b, ", $odd, ".4b[", $group, "]\n"),
            concat!("sdot v21.4s, v25.16b, ", $odd, ".4b[", $group, "]\n"),
            "ushr v26.16b, v26.16b, #4\n",
            "ushr v27.16b, v27.16b, #4\n",
            concat!("sdot v18.4s, v29.16b, ", $even, ".4b[", $group, "]\n"),
            concat!("sdot v19.4s, v30.16b, ", $even, ".4b[", $group, "]\n"),
            concat!("sdot v22.4s, v26.16b, ", $odd, ".4b[", $group, "]\n"),
            concat!("sdot v23.4s, v27.16b, ", $odd, ".4b[", $group, "]\n"),
        )
    };
}

/// Widens 16 bytes to f32, times 2⁻²⁴: `v29`, `v30`, `v31` and the first register of the bytes'.
macro_rules! widen {
    ($bytes:literal) => {
        concat!(
            concat!("uxtl v26.8h, ", $bytes, ".8b\n"),
            concat!("uxtl2 v27.8h, ", $bytes, ".16b\n"),
            "fcvtl v29.4s, v26.4h\n",
            "fcvtl2 v30.4s, v26.8h\n",
            "fcvtl v31.4s, v27.4h\n",
            "fcvtl2 v24.4s, v27.8h\n",
        )
    };
}

/// Adds a block's exact sums times its scales, and its minimums times the sum of its activations.
macro_rules! add_scaled {
    ($x_scale:literal, $x_sum:literal, $a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            "ldp q24, q25, [{bytes}], #32\n",
            widen!("v24"),
            "fmul v29.4s, v29.4s, v4.4s\n",
            "fmul v30.4s, v30.4s, v5.4s\n",
            "fmul v31.4s, v31.4s, v6.4s\n",
            "fmul v24.4s, v24.4s, v7.4s\n",
            concat!("scvtf ", $a, ".4s, ", $a, ".4s\n"),
            concat!("scvtf ", $b, ".4s, ", $b, ".4s\n"),
            concat!("scvtf ", $c, ".4s, ", $c, ".4s\n"),
            concat!("scvtf ", $d, ".4s, ", $d, ".4s\n"),
            concat!("fmul v29.4s, v29.4s, ", $x_scale, ".s[0]\n"),
            concat!("fmul v30.4s, v30.4s, ", $x_scale, ".s[0]\n"),
            concat!("fmul v31.4s, v31.4s, ", $x_scale, ".s[0]\n"),
            concat!("fmul v24.4s, v24.4s, ", $x_scale, ".s[0]\n"),
            concat!("fmla v0.4s, ", $a, ".4s, v29.4s\n"),
            concat!("fmla v1.4s, ", $b, ".4s, v30.4s\n"),
            concat!("fmla v2.4s, ", $c, ".4s, v31.4s\n"),
            concat!("fmla v3.4s, ", $d, ".4s, v24.4s\n"),
            widen!("v25"),
            "fmul v29.4s, v29.4s, v8.4s\n",
            "fmul v30.4s, v30.4s, v9.4s\n",
            "fmul v31.4s, v31.4s, v10.4s\n",
            "fmul v24.4s, v24.4s, v11.4s\n",
            concat!("fmla v0.4s, v29.4s, ", $x_sum, ".s[0]\n"),
            concat!("fmla v1.4s, v30.4s, ", $x_sum, ".s[0]\n"),
            concat!("fmla v2.4s, v31.4s, ", $x_sum, ".s[0]\n"),
            concat!("fmla v3.4s, v24.4s, ", $x_sum, ".s[0]\n"),
        )
    };
}

/// What one load sets four registers to zero from.
static ZEROS: [u8; 64] = [0; 64];

/// The sums of a panel in Q4_K with one token.
///
/// # Safety
/// The CPU has `sdot`.
pub(super) unsafe fn q4_k(blocks: &[[u8; 2304]], x: &[Q8Block]) -> F {
    let (x, _) = x.as_chunks::<8>();
    let count = blocks.len().min(x.len());
    let mut unpacked = MaybeUninit::<[u8; 256]>::uninit();
    // SAFETY: Advanced SIMD is part of every AArch64 target that Rust's `std` supports.
    let mut sums = unsafe { [vdupq_n_f32(0.0); 4] };
    if count == 0 {
        return sums;
    }
    // SAFETY: the CPU has the instructions, as the caller promises. A superblock's pass reads its 2304 bytes and eight
    // blocks of activations, and writes 256 bytes, which it then reads. `x` starts in the middle of a block, and after
    // the last pass is beyond the end, where nothing is read.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "movi v28.16b, #15",
            "2:",
            "ld1 {{v24.8h, v25.8h, v26.8h, v27.8h}}, [{w}], #64",
            "ld1 {{v12.16b, v13.16b, v14.16b, v15.16b}}, [{w}], #64",
            "ld1 {{v16.16b, v17.16b, v18.16b, v19.16b}}, [{w}], #64",
            "ld1 {{v20.16b, v21.16b, v22.16b, v23.16b}}, [{w}], #64",
            "movi v29.2d, #0",
            "dup v30.4s, {raise:w}",
            "fcvtl v4.4s, v24.4h",
            "fcvtl2 v5.4s, v24.8h",
            "fcvtl v6.4s, v25.4h",
            "fcvtl2 v7.4s, v25.8h",
            "fcvtl v8.4s, v26.4h",
            "fcvtl2 v9.4s, v26.8h",
            "fcvtl v10.4s, v27.4h",
            "fcvtl2 v11.4s, v27.8h",
            "fsub v8.4s, v29.4s, v8.4s",
            "fsub v9.4s, v29.4s, v9.4s",
            "fsub v10.4s, v29.4s, v10.4s",
            "fsub v11.4s, v29.4s, v11.4s",
            "fmul v4.4s, v4.4s, v30.4s",
            "fmul v5.4s, v5.4s, v30.4s",
            "fmul v6.4s, v6.4s, v30.4s",
            "fmul v7.4s, v7.4s, v30.4s",
            "fmul v8.4s, v8.4s, v30.4s",
            "fmul v9.4s, v9.4s, v30.4s",
            "fmul v10.4s, v10.4s, v30.4s",
            "fmul v11.4s, v11.4s, v30.4s",
            "movi v29.16b, #63",
            store_first!("v12", "v16", "v13", "v17"),
            store_first!("v14", "v18", "v15", "v19"),
            store_last!("v12", "v16", "v20", "v13", "v17", "v21"),
            store_last!("v14", "v18", "v22", "v15", "v19", "v23"),
            "sub {bytes}, {bytes}, #256",
            "mov {pairs:w}, #4",
            "3:",
            "ldp q12, q13, [{x}, #-96]",
            "ldp q14, q15, [{x}, #-32]",
            "ld1 {{v16.4s, v17.4s, v18.4s, v19.4s}}, [{zeros}]",
            "ld1 {{v20.4s, v21.4s, v22.4s, v23.4s}}, [{zeros}]",
            add_group!("v12", "v14", 0),
            add_group!("v12", "v14", 1),
            add_group!("v12", "v14", 2),
            add_group!("v12", "v14", 3),
            add_group!("v13", "v15", 0),
            add_group!("v13", "v15", 1),
            add_group!("v13", "v15", 2),
            add_group!("v13", "v15", 3),
            "ldp q12, q13, [{x}, #-64]",
            "ldp q14, q15, [{x}], #128",
            add_scaled!("v12", "v13", "v16", "v17", "v18", "v19"),
            add_scaled!("v14", "v15", "v20", "v21", "v22", "v23"),
            "subs {pairs:w}, {pairs:w}, #1",
            "b.ne 3b",
            "sub {bytes}, {bytes}, #256",
            "subs {count}, {count}, #1",
            "b.ne 2b",
            w = inout(reg) blocks.as_ptr() => _,
            x = inout(reg) x.as_ptr().cast::<u8>().wrapping_add(96) => _,
            count = inout(reg) count => _,
            bytes = inout(reg) unpacked.as_mut_ptr() => _,
            pairs = out(reg) _,
            zeros = in(reg) ZEROS.as_ptr(),
            raise = in(reg) ((1 << 24) as f32).to_bits(),
            inout("v0") sums[0], inout("v1") sums[1], inout("v2") sums[2], inout("v3") sums[3],
            out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            out("v8") _, out("v9") _, out("v10") _, out("v11") _,
            out("v12") _, out("v13") _, out("v14") _, out("v15") _,
            out("v16") _, out("v17") _, out("v18") _, out("v19") _,
            out("v20") _, out("v21") _, out("v22") _, out("v23") _,
            out("v24") _, out("v25") _, out("v26") _, out("v27") _,
            out("v28") _, out("v29") _, out("v30") _, out("v31") _,
            options(nostack),
        );
    }
    sums
}
