//! The product of a panel in Q6_K with one token, in one loop whose every register is chosen by hand: of a half
//! superblock's four runs of 32 weights, those that share bytes are multiplied together.
//!
//! Registers: `v0` to `v3` are the results, `v4` to `v7` a superblock's scales; `v12` and `v13` are activations of two
//! runs, then their scales; `v14` and `v15` are masks; `v16` to `v19` are the exact sums of the one run, `v20` to `v23`
//! of the other. While these are added up, `v24` to `v27` are low bits and then the weights of the one run, `v8` to
//! `v11` those of the other, and `v28` to `v31` are high bits. Then `v8` to `v11` are a table, `v28` to `v31` scales, and
//! `v24` to `v27` sums of both grains of a run.

use std::arch::aarch64::*;
use std::arch::asm;
use std::mem::MaybeUninit;

use super::F;
use super::superblocks::multiply;
use crate::q8::Q8Block;

/// Loads both runs' activations of a grain, and starts its exact sums with what the offset of 32 takes from them.
macro_rules! start_grain {
    ($pair:literal, $grain:literal) => {
        concat!(
            concat!("ldr q28, [{x}, #64*", $pair, "+32]\n"),
            concat!("ldr q29, [{x}, #64*", $pair, "+160]\n"),
            concat!("ldr q12, [{x}, #64*", $pair, "+16*", $grain, "]\n"),
            concat!("ldr q13, [{x}, #64*", $pair, "+16*", $grain, "+128]\n"),
            "shl v28.4s, v28.4s, #5\n",
            "shl v29.4s, v29.4s, #5\n",
            concat!("dup v16.4s, v28.s[2+", $grain, "]\n"),
            concat!("dup v17.4s, v28.s[2+", $grain, "]\n"),
            concat!("dup v18.4s, v28.s[2+", $grain, "]\n"),
            concat!("dup v19.4s, v28.s[2+", $grain, "]\n"),
            concat!("dup v20.4s, v29.s[2+", $grain, "]\n"),
            concat!("dup v21.4s, v29.s[2+", $grain, "]\n"),
            concat!("dup v22.4s, v29.s[2+", $grain, "]\n"),
            concat!("dup v23.4s, v29.s[2+", $grain, "]\n"),
        )
    };
}

/// Loads a group's bits of the first and the third run, and the high ones of all four.
macro_rules! load_first {
    () => {
        concat!(
            "ld1 {{v24.16b, v25.16b, v26.16b, v27.16b}}, [{w}], #64\n",
            "ld1 {{v28.16b, v29.16b, v30.16b, v31.16b}}, [{w}], #64\n",
        )
    };
}

/// The same of the second and the fourth run, with the high bits where [`load_first`] leaves those of the other two.
macro_rules! load_second {
    () => {
        concat!(
            "ld1 {{v28.16b, v29.16b, v30.16b, v31.16b}}, [{high}], {step}\n",
            "ld1 {{v24.16b, v25.16b, v26.16b, v27.16b}}, [{w}], #64\n",
            "ushr v28.16b, v28.16b, #2\n",
            "ushr v29.16b, v29.16b, #2\n",
            "ushr v30.16b, v30.16b, #2\n",
            "ushr v31.16b, v31.16b, #2\n",
        )
    };
}

/// Adds the products of a group's weights with the activations of both runs.
macro_rules! add_group {
    ($load:ident, $group:literal) => {
        concat!(
            $load!(),
            "ushr v8.16b, v24.16b, #4\n",
            "ushr v9.16b, v25.16b, #4\n",
            "ushr v10.16b, v26.16b, #4\n",
            "ushr v11.16b, v27.16b, #4\n",
            "sli v24.16b, v28.16b, #4\n",
            "sli v25.16b, v29.16b, #4\n",
            "sli v26.16b, v30.16b, #4\n",
            "sli v27.16b, v31.16b, #4\n",
            "bit v8.16b, v28.16b, v15.16b\n",
            "bit v9.16b, v29.16b, v15.16b\n",
            "bit v10.16b, v30.16b, v15.16b\n",
            "bit v11.16b, v31.16b, v15.16b\n",
            "and v24.16b, v24.16b, v14.16b\n",
            "and v25.16b, v25.16b, v14.16b\n",
            "and v26.16b, v26.16b, v14.16b\n",
            "and v27.16b, v27.16b, v14.16b\n",
            concat!("sdot v20.4s, v8.16b, v13.4b[", $group, "]\n"),
            concat!("sdot v21.4s, v9.16b, v13.4b[", $group, "]\n"),
            concat!("sdot v22.4s, v10.16b, v13.4b[", $group, "]\n"),
            concat!("sdot v23.4s, v11.16b, v13.4b[", $group, "]\n"),
            concat!("sdot v16.4s, v24.16b, v12.4b[", $group, "]\n"),
            concat!("sdot v17.4s, v25.16b, v12.4b[", $group, "]\n"),
            concat!("sdot v18.4s, v26.16b, v12.4b[", $group, "]\n"),
            concat!("sdot v19.4s, v27.16b, v12.4b[", $group, "]\n"),
        )
    };
}

/// The exact sums of a grain of both runs, then bytes of their scales.
macro_rules! sum_grain {
    ($pair:literal, $grain:literal, $load:ident) => {
        concat!(
            start_grain!($pair, $grain),
            add_group!($load, 0),
            add_group!($load, 1),
            add_group!($load, 2),
            add_group!($load, 3),
            "ld1 {{v8.16b, v9.16b, v10.16b, v11.16b}}, [{spread}]\n",
            concat!("ldr q12, [{scales}, #32*", $pair, "+16*", $grain, "]\n"),
            concat!("ldr q13, [{scales}, #32*", $pair, "+16*", $grain, "+64]\n"),
        )
    };
}

/// Makes f32 of a grain's exact sums, and its scales of 16 signed bytes.
macro_rules! to_f32 {
    ($bytes:literal, $a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            concat!("tbl v28.16b, {{", $bytes, ".16b}}, v8.16b\n"),
            concat!("tbl v29.16b, {{", $bytes, ".16b}}, v9.16b\n"),
            concat!("tbl v30.16b, {{", $bytes, ".16b}}, v10.16b\n"),
            concat!("tbl v31.16b, {{", $bytes, ".16b}}, v11.16b\n"),
            "scvtf v28.4s, v28.4s, #24\n",
            "scvtf v29.4s, v29.4s, #24\n",
            "scvtf v30.4s, v30.4s, #24\n",
            "scvtf v31.4s, v31.4s, #24\n",
            concat!("scvtf ", $a, ".4s, ", $a, ".4s\n"),
            concat!("scvtf ", $b, ".4s, ", $b, ".4s\n"),
            concat!("scvtf ", $c, ".4s, ", $c, ".4s\n"),
            concat!("scvtf ", $d, ".4s, ", $d, ".4s\n"),
            "fmul v28.4s, v28.4s, v4.4s\n",
            "fmul v29.4s, v29.4s, v5.4s\n",
            "fmul v30.4s, v30.4s, v6.4s\n",
            "fmul v31.4s, v31.4s, v7.4s\n",
        )
    };
}

/// A run's sums of its first grain, stored.
macro_rules! store_first_grain {
    ($bytes:literal, $a:literal, $b:literal, $c:literal, $d:literal, $to:literal) => {
        concat!(
            to_f32!($bytes, $a, $b, $c, $d),
            concat!("fmul ", $a, ".4s, ", $a, ".4s, v28.4s\n"),
            concat!("fmul ", $b, ".4s, ", $b, ".4s, v29.4s\n"),
            concat!("fmul ", $c, ".4s, ", $c, ".4s, v30.4s\n"),
            concat!("fmul ", $d, ".4s, ", $d, ".4s, v31.4s\n"),
            concat!("st1 {{", $a, ".4s, ", $b, ".4s, ", $c, ".4s, ", $d, ".4s}}, ", $to, "\n"),
        )
    };
}

/// A run's sums of both grains, from those of the first, which were stored.
macro_rules! add_second_grain {
    ($bytes:literal, $a:literal, $b:literal, $c:literal, $d:literal, $from:literal) => {
        concat!(
            concat!("ld1 {{v24.4s, v25.4s, v26.4s, v27.4s}}, ", $from, "\n"),
            to_f32!($bytes, $a, $b, $c, $d),
            concat!("fmla v24.4s, ", $a, ".4s, v28.4s\n"),
            concat!("fmla v25.4s, ", $b, ".4s, v29.4s\n"),
            concat!("fmla v26.4s, ", $c, ".4s, v30.4s\n"),
            concat!("fmla v27.4s, ", $d, ".4s, v31.4s\n"),
        )
    };
}

/// Adds a run's sums times the scale of its activations.
macro_rules! add_run {
    ($run:literal, $a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            concat!("ldr s12, [{x}, #64*", $run, "+32]\n"),
            concat!("fmla v0.4s, ", $a, ".4s, v12.s[0]\n"),
            concat!("fmla v1.4s, ", $b, ".4s, v12.s[0]\n"),
            concat!("fmla v2.4s, ", $c, ".4s, v12.s[0]\n"),
            concat!("fmla v3.4s, ", $d, ".4s, v12.s[0]\n"),
        )
    };
}

/// Adds one run's sums, and has the other's in `v24` to `v27`.
macro_rules! add_pair {
    ($pair:literal, $load:ident) => {
        concat!(
            sum_grain!($pair, 0, $load),
            store_first_grain!("v13", "v20", "v21", "v22", "v23", "[{kept}], #64"),
            store_first_grain!("v12", "v16", "v17", "v18", "v19", "[{kept}]"),
            sum_grain!($pair, 1, $load),
            add_second_grain!("v12", "v16", "v17", "v18", "v19", "[{kept}], {back}"),
            add_run!($pair, "v24", "v25", "v26", "v27"),
            add_second_grain!("v13", "v20", "v21", "v22", "v23", "[{kept}]"),
        )
    };
}

/// Where `tbl` finds four rows' signed bytes for the top of 32 bits each; below there is nothing, which it makes zero.
static SPREAD: [[[u8; 4]; 4]; 4] = {
    let mut spread = [[[0xff; 4]; 4]; 4];
    let mut row = 0;
    while row < 16 {
        spread[row / 4][row % 4][3] = row as u8;
        row += 1;
    }
    spread
};

/// The sums of a panel in Q6_K with one token.
///
/// # Safety
/// The CPU has `sdot`.
pub(super) unsafe fn q6_k(blocks: &[[u8; 3360]], x: &[Q8Block]) -> F {
    let mut kept = MaybeUninit::<[[f32; 16]; 3]>::uninit();
    // SAFETY: the CPU has the instructions, as the caller promises. A superblock's pass reads its 3360 bytes and eight
    // blocks of activations, and writes 192 bytes, which it then reads.
    unsafe {
        multiply! {
            blocks, x, 0,
            (
                scales = out(reg) _,
                high = out(reg) _,
                halves = out(reg) _,
                kept = inout(reg) kept.as_mut_ptr() => _,
                step = in(reg) 128_usize,
                back = in(reg) -64_isize,
                spread = in(reg) SPREAD.as_ptr(),
            ),
            ["movi v14.16b, #0x3f", "movi v15.16b, #0x30"],
            "ldp q28, q29, [{w}]",
            "add {scales}, {w}, #32",
            "add {w}, {w}, #288",
            "fcvtl v4.4s, v28.4h",
            "fcvtl2 v5.4s, v28.8h",
            "fcvtl v6.4s, v29.4h",
            "fcvtl2 v7.4s, v29.8h",
            "mov {halves:w}, #2",
            "3:",
            "add {high}, {w}, #64",
            add_pair!(0, load_first),
            // The third run's sums wait for the second's: results are rounded in the order of the weights.
            "st1 {{v24.4s, v25.4s, v26.4s, v27.4s}}, [{kept}], #64",
            add_pair!(1, load_second),
            "sub {kept}, {kept}, #64",
            "ld1 {{v28.4s, v29.4s, v30.4s, v31.4s}}, [{kept}]",
            add_run!(2, "v28", "v29", "v30", "v31"),
            add_run!(3, "v24", "v25", "v26", "v27"),
            "add {scales}, {scales}, #128",
            "add {x}, {x}, #256",
            "subs {halves:w}, {halves:w}, #1",
            "b.ne 3b",
        }
    }
}
