//! The product of a panel in Q5_K with one token, in one loop whose every register is chosen by hand: each byte of
//! weights is loaded once, for the two blocks of 32 that share it, and so are their high bits.
//!
//! Registers: `v0` to `v3` are the results, `v12` to `v15` the activations of two blocks, then their scales and sums,
//! `v16` to `v19` the exact sums of the one, `v20` to `v23` of the other, which are twice as large. While these are
//! added up, `v4` to `v7` are the weights of the one, `v8` to `v11` the high bits and then the weights of the other,
//! `v24` to `v27` their low bits, and `v28` to `v30` masks. Then `v4` to `v7` are the superblock's scales and `v8` to
//! `v11` its minimums, both times 2²⁴, and the rest but `v28` is for what comes and goes.

use std::arch::aarch64::*;
use std::arch::asm;
use std::mem::MaybeUninit;

use super::superblocks::{
    RAISE, Unpacked, add_scaled, add_two_blocks, add_two_scaled, multiply, store_first, store_last,
    unpack_scales, widen,
};
use super::{F, ZEROS};
use crate::q8::Q8Block;

/// Adds the products of a group's weights with the activations of both blocks. One shift brings the high bits of both to
/// bits 4 and 5 of a byte, so the other's weights are those times 2. `$high` is where these bits are.
macro_rules! add_group {
    ($even:literal, $odd:literal, $group:literal, $high:literal $(, $shift:literal, $by:literal)?) => {
        concat!(
            "ld1 {{v24.16b, v25.16b, v26.16b, v27.16b}}, [{w}], #64\n",
            concat!("ld1 {{v8.16b, v9.16b, v10.16b, v11.16b}}, ", $high, "\n"),
            $(
                concat!($shift, " v8.16b, v8.16b, ", $by, "\n"),
                concat!($shift, " v9.16b, v9.16b, ", $by, "\n"),
                concat!($shift, " v10.16b, v10.16b, ", $by, "\n"),
                concat!($shift, " v11.16b, v11.16b, ", $by, "\n"),
            )?
            "and v4.16b, v24.16b, v28.16b\n",
            "and v5.16b, v25.16b, v28.16b\n",
            "and v6.16b, v26.16b, v28.16b\n",
            "and v7.16b, v27.16b, v28.16b\n",
            "bit v4.16b, v8.16b, v29.16b\n",
            "bit v5.16b, v9.16b, v29.16b\n",
            "bit v6.16b, v10.16b, v29.16b\n",
            "bit v7.16b, v11.16b, v29.16b\n",
            "sri v8.16b, v24.16b, #3\n",
            "sri v9.16b, v25.16b, #3\n",
            "sri v10.16b, v26.16b, #3\n",
            "sri v11.16b, v27.16b, #3\n",
            concat!("sdot v16.4s, v4.16b, ", $even, ".4b[", $group, "]\n"),
            concat!("sdot v17.4s, v5.16b, ", $even, ".4b[", $group, "]\n"),
            "and v8.16b, v8.16b, v30.16b\n",
            "and v9.16b, v9.16b, v30.16b\n",
            "and v10.16b, v10.16b, v30.16b\n",
            "and v11.16b, v11.16b, v30.16b\n",
            concat!("sdot v18.4s, v6.16b, ", $even, ".4b[", $group, "]\n"),
            concat!("sdot v19.4s, v7.16b, ", $even, ".4b[", $group, "]\n"),
            concat!("sdot v20.4s, v8.16b, ", $odd, ".4b[", $group, "]\n"),
            concat!("sdot v21.4s, v9.16b, ", $odd, ".4b[", $group, "]\n"),
            concat!("sdot v22.4s, v10.16b, ", $odd, ".4b[", $group, "]\n"),
            concat!("sdot v23.4s, v11.16b, ", $odd, ".4b[", $group, "]\n"),
        )
    };
}

/// Adds two blocks' products. `$high` is where their high bits are, and how these are shifted unless they are bits 4 and 5
/// already.
macro_rules! add_pair {
    ($($high:literal),*) => {
        concat!(
            "movi v29.16b, #0x10\n",
            "movi v30.16b, #0x3e\n",
            add_two_blocks!(add_group, $($high),*),
            "ld1 {{v4.4s, v5.4s, v6.4s, v7.4s}}, [{factors}], #64\n",
            "ld1 {{v8.4s, v9.4s, v10.4s, v11.4s}}, [{factors}], {back}\n",
            add_two_scaled!(", #1"),
        )
    };
}

/// The sums of a panel in Q5_K with one token.
///
/// # Safety
/// The CPU has `sdot`.
pub(super) unsafe fn q5_k(blocks: &[[u8; 2816]], x: &[Q8Block]) -> F {
    let mut unpacked = Unpacked::uninit();
    let mut factors = MaybeUninit::<[[f32; 16]; 2]>::uninit();
    // SAFETY: the CPU has the instructions, as the caller promises. A superblock's pass reads its 2816 bytes and eight
    // blocks of activations, and writes 256 and 128 bytes, which it then reads. `x` starts in the middle of a block, and
    // after the last pass is beyond the end, where nothing is read.
    unsafe {
        multiply! {
            blocks, x, 96,
            (
                bytes = inout(reg) unpacked.as_mut_ptr() => _,
                factors = inout(reg) factors.as_mut_ptr() => _,
                high = out(reg) _,
                step = in(reg) 128_usize,
                back = in(reg) -64_isize,
                zeros = in(reg) ZEROS.as_ptr(),
                raise = in(reg) RAISE,
            ),
            ["movi v28.16b, #15"],
            unpack_scales!(),
            "st1 {{v4.4s, v5.4s, v6.4s, v7.4s}}, [{factors}], #64",
            "st1 {{v8.4s, v9.4s, v10.4s, v11.4s}}, [{factors}], {back}",
            "add {high}, {w}, #64",
            add_pair!("[{w}], #64", "shl", "#4"),
            add_pair!("[{high}], {step}", "shl", "#2"),
            "sub {high}, {high}, #1024",
            add_pair!("[{high}], {step}"),
            "sub {high}, {high}, #1024",
            add_pair!("[{high}], {step}", "ushr", "#2"),
            "sub {bytes}, {bytes}, #256",
        }
    }
}
