//! What the loops over superblocks share that multiply a panel with one token: `q4_k.rs`, `q5_k.rs` and `q6_k.rs`.

use std::mem::MaybeUninit;

/// The loop over the superblocks of a panel and of one token: does once what the lines in brackets say, and for each
/// superblock what the others do, which use up the weights and the activations. `x` starts `$x_at` bytes from these;
/// `v0` to `v3` are the results.
macro_rules! multiply {
    ($blocks:ident, $x:ident, $x_at:literal, ($($operand:tt)*), [$($first:expr),*], $($line:expr,)*) => {{
        let (x, _) = $x.as_chunks::<8>();
        let count = $blocks.len().min(x.len());
        let mut sums = [vdupq_n_f32(0.0); 4];
        if count > 0 {
            asm!(
                ".arch_extension dotprod",
                $($first,)*
                "2:",
                $($line,)*
                "subs {count}, {count}, #1",
                "b.ne 2b",
                w = inout(reg) $blocks.as_ptr() => _,
                x = inout(reg) x.as_ptr().cast::<u8>().wrapping_add($x_at) => _,
                count = inout(reg) count => _,
                $($operand)*
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
    }};
}
pub(super) use multiply;

/// What d and dmin of Q4_K and Q5_K are multiplied with: 2²⁴, since a byte widened to 16 bits is the half-precision
/// number byte · 2⁻²⁴, which half the conversions make an f32. All of these are exact: half-precision numbers are far
/// from the ends of what an f32 can be.
pub(super) const RAISE: u32 = ((1 << 24) as f32).to_bits();

/// A superblock's scales and minimums, 6 bits each, as bytes: 16 rows' of a grain, then its minimums, then the next.
pub(super) type Unpacked = MaybeUninit<[u8; 256]>;

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
pub(super) use store_first;

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
pub(super) use store_last;

/// The first 256 bytes of a superblock in Q4_K or Q5_K: `v4` to `v7` are d and `v8` to `v11` less dmin, both times 2²⁴,
/// and `bytes` are what they are multiplied with. `v28` is 15.
macro_rules! unpack_scales {
    () => {
        concat!(
            "ld1 {{v24.8h, v25.8h, v26.8h, v27.8h}}, [{w}], #64\n",
            "ld1 {{v12.16b, v13.16b, v14.16b, v15.16b}}, [{w}], #64\n",
            "ld1 {{v16.16b, v17.16b, v18.16b, v19.16b}}, [{w}], #64\n",
            "ld1 {{v20.16b, v21.16b, v22.16b, v23.16b}}, [{w}], #64\n",
            "movi v29.2d, #0\n",
            "dup v30.4s, {raise:w}\n",
            "fcvtl v4.4s, v24.4h\n",
            "fcvtl2 v5.4s, v24.8h\n",
            "fcvtl v6.4s, v25.4h\n",
            "fcvtl2 v7.4s, v25.8h\n",
            "fcvtl v8.4s, v26.4h\n",
            "fcvtl2 v9.4s, v26.8h\n",
            "fcvtl v10.4s, v27.4h\n",
            "fcvtl2 v11.4s, v27.8h\n",
            "fsub v8.4s, v29.4s, v8.4s\n",
            "fsub v9.4s, v29.4s, v9.4s\n",
            "fsub v10.4s, v29.4s, v10.4s\n",
            "fsub v11.4s, v29.4s, v11.4s\n",
            "fmul v4.4s, v4.4s, v30.4s\n",
            "fmul v5.4s, v5.4s, v30.4s\n",
            "fmul v6.4s, v6.4s, v30.4s\n",
            "fmul v7.4s, v7.4s, v30.4s\n",
            "fmul v8.4s, v8.4s, v30.4s\n",
            "fmul v9.4s, v9.4s, v30.4s\n",
            "fmul v10.4s, v10.4s, v30.4s\n",
            "fmul v11.4s, v11.4s, v30.4s\n",
            "movi v29.16b, #63\n",
            store_first!("v12", "v16", "v13", "v17"),
            store_first!("v14", "v18", "v15", "v19"),
            store_last!("v12", "v16", "v20", "v13", "v17", "v21"),
            store_last!("v14", "v18", "v22", "v15", "v19", "v23"),
            "sub {bytes}, {bytes}, #256\n",
        )
    };
}
pub(super) use unpack_scales;

/// The exact sums of two blocks of 32, `v16` to `v19` of the one and `v20` to `v23` of the other: `$add_group` adds the
/// products of a group of both with activations in the registers that it is given.
macro_rules! add_two_blocks {
    ($add_group:ident $(, $more:literal)*) => {
        concat!(
            "ldp q12, q13, [{x}, #-96]\n",
            "ldp q14, q15, [{x}, #-32]\n",
            "ld1 {{v16.4s, v17.4s, v18.4s, v19.4s}}, [{zeros}]\n",
            "ld1 {{v20.4s, v21.4s, v22.4s, v23.4s}}, [{zeros}]\n",
            $add_group!("v12", "v14", 0 $(, $more)*),
            $add_group!("v12", "v14", 1 $(, $more)*),
            $add_group!("v12", "v14", 2 $(, $more)*),
            $add_group!("v12", "v14", 3 $(, $more)*),
            $add_group!("v13", "v15", 0 $(, $more)*),
            $add_group!("v13", "v15", 1 $(, $more)*),
            $add_group!("v13", "v15", 2 $(, $more)*),
            $add_group!("v13", "v15", 3 $(, $more)*),
        )
    };
}
pub(super) use add_two_blocks;

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
pub(super) use widen;

/// Adds a block's exact sums times its scales, and its minimums times the sum of its activations. `$fraction` is how many
/// bits of the exact sums stand behind the point.
macro_rules! add_scaled {
    ($x_scale:literal, $x_sum:literal, $fraction:literal, $a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            "ldp q24, q25, [{bytes}], #32\n",
            widen!("v24"),
            "fmul v29.4s, v29.4s, v4.4s\n",
            "fmul v30.4s, v30.4s, v5.4s\n",
            "fmul v31.4s, v31.4s, v6.4s\n",
            "fmul v24.4s, v24.4s, v7.4s\n",
            concat!("scvtf ", $a, ".4s, ", $a, ".4s", $fraction, "\n"),
            concat!("scvtf ", $b, ".4s, ", $b, ".4s", $fraction, "\n"),
            concat!("scvtf ", $c, ".4s, ", $c, ".4s", $fraction, "\n"),
            concat!("scvtf ", $d, ".4s, ", $d, ".4s", $fraction, "\n"),
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
pub(super) use add_scaled;

/// Adds two blocks' exact sums times their scales, and their minimums, and moves on to the next two. `$second` is how
/// many bits of the second's exact sums stand behind the point.
macro_rules! add_two_scaled {
    ($second:literal) => {
        concat!(
            "ldp q12, q13, [{x}, #-64]\n",
            "ldp q14, q15, [{x}], #128\n",
            add_scaled!("v12", "v13", "", "v16", "v17", "v18", "v19"),
            add_scaled!("v14", "v15", $second, "v20", "v21", "v22", "v23"),
        )
    };
}
pub(super) use add_two_scaled;
