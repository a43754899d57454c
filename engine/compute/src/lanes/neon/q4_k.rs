//! The product of a panel in Q4_K with one token, in one loop whose every register is chosen by hand: each byte of
//! weights is loaded once, for the two blocks of 32 that share it.
//!
//! Registers: `v0` to `v3` are the results, `v4` to `v7` a superblock's scales and `v8` to `v11` its minimums, both
//! times 2²⁴; `v12` to `v15` are the activations of two blocks, then their scales and sums; `v16` to `v19` are the exact
//! sums of the one, `v20` to `v23` of the other; `v28` is a mask, and the rest is for what comes and goes.

use std::arch::aarch64::*;
use std::arch::asm;

use super::superblocks::{
    RAISE, Unpacked, add_scaled, add_two_blocks, add_two_scaled, multiply, store_first, store_last,
    unpack_scales, widen,
};
use super::{F, ZEROS};
use crate::q8::Q8Block;

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

/// The sums of a panel in Q4_K with one token.
///
/// # Safety
/// The CPU has `sdot`.
pub(super) unsafe fn q4_k(blocks: &[[u8; 2304]], x: &[Q8Block]) -> F {
    let mut unpacked = Unpacked::uninit();
    // SAFETY: the CPU has the instructions, as the caller promises. A superblock's pass reads its 2304 bytes and eight
    // blocks of activations, and writes 256 bytes, which it then reads. `x` starts in the middle of a block, and after
    // the last pass is beyond the end, where nothing is read.
    unsafe {
        multiply! {
            blocks, x, 96,
            (
                bytes = inout(reg) unpacked.as_mut_ptr() => _,
                pairs = out(reg) _,
                zeros = in(reg) ZEROS.as_ptr(),
                raise = in(reg) RAISE,
            ),
            ["movi v28.16b, #15"],
            unpack_scales!(),
            "mov {pairs:w}, #4",
            "3:",
            add_two_blocks!(add_group),
            add_two_scaled!(""),
            "subs {pairs:w}, {pairs:w}, #1",
            "b.ne 3b",
            "sub {bytes}, {bytes}, #256",
        }
    }
}
