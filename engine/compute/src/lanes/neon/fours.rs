//! The product of a panel with four tokens, in one loop whose every register is chosen by hand: 16 rows' sums of four
//! tokens are 16 registers, four tokens' activations are 8, and four rows' exact sums and weights are the other 8.
//!
//! Registers: `v0` to `v3` are the activations of the tokens' first half, `v4` to `v7` of their second; `v8` to `v11` are
//! four rows' exact sums, one for each token; `v12` to `v15` are their weights, then scales; `v16` to `v31` are the results.

use std::arch::aarch64::*;
use std::arch::asm;

use super::ZEROS;
use crate::q8::{Fours, Q8Block};

/// Adds the products of a group's weights with each token's activations.
macro_rules! add_group {
    ($w:literal, $group:literal, $a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            concat!("sdot v8.4s, ", $w, ".16b, ", $a, ".4b[", $group, "]\n"),
            concat!("sdot v9.4s, ", $w, ".16b, ", $b, ".4b[", $group, "]\n"),
            concat!("sdot v10.4s, ", $w, ".16b, ", $c, ".4b[", $group, "]\n"),
            concat!("sdot v11.4s, ", $w, ".16b, ", $d, ".4b[", $group, "]\n"),
        )
    };
}

/// Loads four groups' weights, moves on by `$step`, and adds their products.
macro_rules! add_groups {
    ($step:literal, $($x:literal),*) => {
        concat!(
            "ld1 {{v12.16b, v13.16b, v14.16b, v15.16b}}, [{w}], {", $step, "}\n",
            add_group!("v12", 0, $($x),*),
            add_group!("v13", 1, $($x),*),
            add_group!("v14", 2, $($x),*),
            add_group!("v15", 3, $($x),*),
        )
    };
}

macro_rules! add_first_half {
    () => {
        add_groups!("ahead", "v0", "v1", "v2", "v3")
    };
}
macro_rules! add_second_half {
    ($step:literal) => {
        add_groups!($step, "v4", "v5", "v6", "v7")
    };
}

/// Exact sums of nothing yet: one load where four registers would be set to zero.
macro_rules! start {
    () => {
        "ld1 {{v8.4s, v9.4s, v10.4s, v11.4s}}, [{zeros}]\n"
    };
}

/// Adds the exact sums times the scales, which are those `$at` bytes from the weights that are next.
macro_rules! add_scaled {
    ($at:literal, $a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            concat!("ldr q12, [{w}, #", $at, "]\n"),
            "ldr q13, [{x}]\n",
            "scvtf v8.4s, v8.4s\n",
            "scvtf v9.4s, v9.4s\n",
            "fmul v14.4s, v12.4s, v13.s[0]\n",
            "fmul v15.4s, v12.4s, v13.s[1]\n",
            "scvtf v10.4s, v10.4s\n",
            "scvtf v11.4s, v11.4s\n",
            concat!("fmla ", $a, ".4s, v8.4s, v14.4s\n"),
            concat!("fmla ", $b, ".4s, v9.4s, v15.4s\n"),
            "fmul v14.4s, v12.4s, v13.s[2]\n",
            "fmul v15.4s, v12.4s, v13.s[3]\n",
            concat!("fmla ", $c, ".4s, v10.4s, v14.4s\n"),
            concat!("fmla ", $d, ".4s, v11.4s, v15.4s\n"),
        )
    };
}

/// Adds the minimums `$at` bytes from the weights that are next times the sums of activations `$sums` bytes from `x`.
macro_rules! add_mins {
    ($at:literal, $sums:literal, $a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            concat!("ldr q12, [{w}, #", $at, "]\n"),
            concat!("ldr q13, [{x}, #", $sums, "]\n"),
            concat!("fmla ", $a, ".4s, v12.4s, v13.s[0]\n"),
            concat!("fmla ", $b, ".4s, v12.4s, v13.s[1]\n"),
            concat!("fmla ", $c, ".4s, v12.4s, v13.s[2]\n"),
            concat!("fmla ", $d, ".4s, v12.4s, v13.s[3]\n"),
        )
    };
}

/// Four rows' products with a block whose weights share a scale.
macro_rules! one_grain {
    ($step:literal, $at:literal, $($sum:literal),*) => {
        concat!(start!(), add_first_half!(), add_second_half!($step), add_scaled!($at, $($sum),*))
    };
}

/// Loads half of four tokens' activations, and moves on by `$step`.
macro_rules! load_half {
    ($step:literal) => {
        concat!("ld1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [{x}], ", $step, "\n")
    };
}

/// Four rows' products with a block whose halves have a scale each, `v4` to `v7` being their sums.
macro_rules! two_grains {
    ($step:literal, $first:literal, $second:literal, $a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            load_half!("#64"),
            start!(),
            add_first_half!(),
            concat!("ldr q12, [{w}, #", $first, "]\n"),
            "scvtf v8.4s, v8.4s\n",
            "scvtf v9.4s, v9.4s\n",
            "scvtf v10.4s, v10.4s\n",
            "scvtf v11.4s, v11.4s\n",
            "fmul v4.4s, v8.4s, v12.4s\n",
            "fmul v5.4s, v9.4s, v12.4s\n",
            "fmul v6.4s, v10.4s, v12.4s\n",
            "fmul v7.4s, v11.4s, v12.4s\n",
            load_half!("{again}"),
            start!(),
            add_groups!($step, "v0", "v1", "v2", "v3"),
            concat!("ldr q12, [{w}, #", $second, "]\n"),
            "ldr q13, [{x}, #128]\n",
            "scvtf v8.4s, v8.4s\n",
            "scvtf v9.4s, v9.4s\n",
            "scvtf v10.4s, v10.4s\n",
            "scvtf v11.4s, v11.4s\n",
            "fmla v4.4s, v8.4s, v12.4s\n",
            "fmla v5.4s, v9.4s, v12.4s\n",
            "fmla v6.4s, v10.4s, v12.4s\n",
            "fmla v7.4s, v11.4s, v12.4s\n",
            concat!("fmla ", $a, ".4s, v4.4s, v13.s[0]\n"),
            concat!("fmla ", $b, ".4s, v5.4s, v13.s[1]\n"),
            concat!("fmla ", $c, ".4s, v6.4s, v13.s[2]\n"),
            concat!("fmla ", $d, ".4s, v7.4s, v13.s[3]\n"),
        )
    };
}

/// The loop over blocks: does what the lines say, which use up the weights and leave `x` by `$x_used` bytes farther.
macro_rules! multiply {
    ($blocks:ident, $x_used:literal, ($($operand:tt)*), $($line:expr,)*) => {{
        let Blocks { w, x, count, width, lines } = $blocks;
        let zero = vdupq_n_f32(0.0);
        let mut sums = [[zero; 4]; 4];
        asm!(
            ".arch_extension dotprod",
            "2:",
            $($line,)*
            "subs {count}, {count}, #1",
            "add {x}, {x}, {x_step}",
            "b.ne 2b",
            w = inout(reg) w => _,
            x = inout(reg) x => _,
            count = inout(reg) count => _,
            x_step = in(reg) (size_of::<Q8Block>() * width).wrapping_sub($x_used),
            zeros = in(reg) ZEROS.as_ptr(),
            ahead = in(reg) 256_isize,
            back = in(reg) -192_isize,
            last = in(reg) (64 * lines).wrapping_sub(448),
            $($operand)*
            out("v0") _, out("v1") _, out("v2") _, out("v3") _,
            out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            out("v8") _, out("v9") _, out("v10") _, out("v11") _,
            out("v12") _, out("v13") _, out("v14") _, out("v15") _,
            inout("v16") zero => sums[0][0], inout("v17") zero => sums[1][0],
            inout("v18") zero => sums[2][0], inout("v19") zero => sums[3][0],
            inout("v20") zero => sums[0][1], inout("v21") zero => sums[1][1],
            inout("v22") zero => sums[2][1], inout("v23") zero => sums[3][1],
            inout("v24") zero => sums[0][2], inout("v25") zero => sums[1][2],
            inout("v26") zero => sums[2][2], inout("v27") zero => sums[3][2],
            inout("v28") zero => sums[0][3], inout("v29") zero => sums[1][3],
            inout("v30") zero => sums[2][3], inout("v31") zero => sums[3][3],
            options(readonly, nostack),
        );
        sums
    }};
}

/// Blocks of 32 weights of a panel, and of four tokens' activations.
#[derive(Clone, Copy)]
struct Blocks {
    w: *const u8,
    x: *const u8,
    /// At least one.
    count: usize,
    /// Activations from one block to the next, in blocks of one token.
    width: usize,
    /// Lines of a block's weights.
    lines: usize,
}

impl Blocks {
    fn new(weights: &[[u8; 64]], lines: usize, x: Fours<'_>) -> Option<Self> {
        let count = (weights.len() / lines).min(x.len());
        (count > 0).then(|| Self {
            w: weights.as_ptr().cast(),
            x: x.blocks.as_ptr().cast(),
            count,
            width: x.width,
            lines,
        })
    }
}

/// See [`Tier::fours`](crate::lanes::Tier::fours).
///
/// # Safety
/// The CPU has `sdot`.
pub(super) unsafe fn fours<const GRAINS: usize, const MINS: bool>(
    weights: &[[u8; 64]],
    x: Fours<'_>,
) -> [[float32x4_t; 4]; 4] {
    let lines = 8 + if MINS { 2 * GRAINS } else { GRAINS };
    let Some(blocks) = Blocks::new(weights, lines, x) else {
        // SAFETY: Advanced SIMD is part of every AArch64 target that Rust's `std` supports.
        return unsafe { [[vdupq_n_f32(0.0); 4]; 4] };
    };
    // SAFETY: the CPU has the instructions, as the caller promises. The loop reads `count` times `lines` lines of
    // weights and the four blocks of activations that begin each `width`, which `Blocks::new` found to be there.
    unsafe {
        match (GRAINS, MINS) {
            (1, false) => one_scale(blocks),
            (1, true) => one_scale_and_min(blocks),
            (_, false) => two_scales(blocks),
            (_, true) => two_scales_and_mins(blocks),
        }
    }
}

/// # Safety
/// As [`fours`]; `blocks` are of a format with these scales and minimums.
unsafe fn one_scale(blocks: Blocks) -> [[float32x4_t; 4]; 4] {
    // SAFETY: as the caller promises.
    unsafe {
        multiply! {
            blocks, 128, (),
            load_half!("#64"),
            "ld1 {{v4.16b, v5.16b, v6.16b, v7.16b}}, [{x}], #64",
            one_grain!("back", 448, "v16", "v17", "v18", "v19"),
            one_grain!("back", 400, "v20", "v21", "v22", "v23"),
            one_grain!("back", 352, "v24", "v25", "v26", "v27"),
            one_grain!("last", -16, "v28", "v29", "v30", "v31"),
        }
    }
}

/// # Safety
/// As [`one_scale`].
unsafe fn one_scale_and_min(blocks: Blocks) -> [[float32x4_t; 4]; 4] {
    // SAFETY: as the caller promises.
    unsafe {
        multiply! {
            blocks, 128, (),
            load_half!("#64"),
            "ld1 {{v4.16b, v5.16b, v6.16b, v7.16b}}, [{x}], #64",
            one_grain!("back", 448, "v16", "v17", "v18", "v19"),
            add_mins!(512, 16, "v16", "v17", "v18", "v19"),
            one_grain!("back", 400, "v20", "v21", "v22", "v23"),
            add_mins!(464, 16, "v20", "v21", "v22", "v23"),
            one_grain!("back", 352, "v24", "v25", "v26", "v27"),
            add_mins!(416, 16, "v24", "v25", "v26", "v27"),
            one_grain!("last", -80, "v28", "v29", "v30", "v31"),
            add_mins!(-16, 16, "v28", "v29", "v30", "v31"),
        }
    }
}

/// # Safety
/// As [`one_scale`].
unsafe fn two_scales(blocks: Blocks) -> [[float32x4_t; 4]; 4] {
    // SAFETY: as the caller promises.
    unsafe {
        multiply! {
            blocks, 0, (again = in(reg) -64_isize,),
            two_grains!("back", 256, 512, "v16", "v17", "v18", "v19"),
            two_grains!("back", 208, 464, "v20", "v21", "v22", "v23"),
            two_grains!("back", 160, 416, "v24", "v25", "v26", "v27"),
            two_grains!("last", 112, -16, "v28", "v29", "v30", "v31"),
        }
    }
}

/// # Safety
/// As [`one_scale`].
unsafe fn two_scales_and_mins(blocks: Blocks) -> [[float32x4_t; 4]; 4] {
    // SAFETY: as the caller promises.
    unsafe {
        multiply! {
            blocks, 0, (again = in(reg) -64_isize,),
            two_grains!("back", 256, 512, "v16", "v17", "v18", "v19"),
            add_mins!(576, 160, "v16", "v17", "v18", "v19"),
            add_mins!(640, 176, "v16", "v17", "v18", "v19"),
            two_grains!("back", 208, 464, "v20", "v21", "v22", "v23"),
            add_mins!(528, 160, "v20", "v21", "v22", "v23"),
            add_mins!(592, 176, "v20", "v21", "v22", "v23"),
            two_grains!("back", 160, 416, "v24", "v25", "v26", "v27"),
            add_mins!(480, 160, "v24", "v25", "v26", "v27"),
            add_mins!(544, 176, "v24", "v25", "v26", "v27"),
            two_grains!("last", 112, -144, "v28", "v29", "v30", "v31"),
            add_mins!(-80, 160, "v28", "v29", "v30", "v31"),
            add_mins!(-16, 176, "v28", "v29", "v30", "v31"),
        }
    }
}
