//! How panel blocks of each format become integers and scales: a struct of a format's name, beside the layout of its
//! blocks in panels.
//!
//! Which there are is said by the table of all types, `siskin_quant::tensor_types`: each of its `floats` and `blocks` has
//! a struct of its name here.

// The formats keep the names that the field writes them with.
#![allow(non_camel_case_types)]

mod codebook;
mod layout;
mod mxfp4;
mod small;
mod superblocks;
mod ternary;

use siskin_quant::TensorType;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub(crate) use codebook::*;
pub(crate) use layout::{Piece, check, piece, pieces};
pub(crate) use mxfp4::*;
pub(crate) use small::*;
pub(crate) use superblocks::*;
pub(crate) use ternary::*;

use crate::lanes::{Ahead, ByteLanes, Lanes, Range, unroll};
use crate::q8::Q8Block;

/// Works out an expression in which `$float` or `$quantized` stands for the format of a type, or another one where there
/// is none, or this build leaves it out.
macro_rules! with_format {
    ($ty:expr, $float:ident => $of_float:expr, $quantized:ident => $of_quantized:expr, _ => $none:expr $(,)?) => {{
        #[allow(unused_imports)] // Where they are in scope already.
        use {siskin_quant::TensorType, $crate::formats::choose_format};
        siskin_quant::tensor_types!(
            choose_format $ty, $float => $of_float, $quantized => $of_quantized, _ => $none
        )
    }};
}
pub(crate) use with_format;

/// The `match` of [`with_format`], from the table of types.
macro_rules! choose_format {
    (
        ($ty:expr, $float:ident => $of_float:expr, $quantized:ident => $of_quantized:expr, _ => $none:expr)
        floats { $($(#[$float_doc:meta])* $f:ident = $f_id:literal, $f_len:literal, $f_bytes:literal;)* }
        blocks { $(
            $(#[$doc:meta])* $q:ident = $id:literal, $len:literal, $bytes:literal, $written:ident $(, $feature:literal)?;
        )* }
        others { $($other:tt)* }
    ) => {
        match $ty {
            $(TensorType::$f => {
                type $float = $crate::formats::$f;
                $of_float
            })*
            $($(#[cfg(feature = $feature)])? TensorType::$q => {
                type $quantized = $crate::formats::$q;
                $of_quantized
            })*
            _ => $none,
        }
    };
}
pub(crate) use choose_format;

/// The pieces of a format's block in the order of the panel, which is the order that products read them in: memory is
/// then read from front to back. None for formats without kernels.
pub(crate) const fn pieces_of(ty: TensorType) -> Option<&'static [Piece]> {
    with_format!(ty, W => Some(W::PIECES), Q => Some(Q::PIECES), _ => None)
}

/// The layouts of all formats fit their blocks, in files and in panels.
const _: () = {
    let mut i = 0;
    while i < TensorType::ALL.len() {
        let ty = TensorType::ALL[i];
        with_format!(ty,
            W => check(ty, W::TYPE, 1, W::PIECES, size_of::<<W as Float>::Lanes16>()),
            Q => check(ty, Q::TYPE, Q::LEN, Q::PIECES, size_of::<<Q as Quantized>::Block>()),
            _ => (),
        );
        i += 1;
    }
};

/// How a panel block of a quantized format becomes integers and scales.
pub(crate) trait Quantized: 'static {
    /// One block of each of 16 rows.
    type Block: FromBytes + IntoBytes + Immutable + KnownLayout;
    /// A block's scales, as far as they are worked out once for all of it.
    type Scales<L: ByteLanes>: Scales<L>;

    /// Its number in files.
    const TYPE: TensorType;
    /// The pieces of a row's block, in the order of [`Quantized::Block`].
    const PIECES: &'static [Piece];
    /// Weights of a row in a block: 32, 128 or 256.
    const LEN: usize;
    /// Scales for each 32 weights: 1, or 2 where 16 weights share one.
    const GRAINS: usize = 1;
    const RANGE: Range;
    /// What is taken from each unpacked weight.
    const OFFSET: u8 = 0;
    /// Whether a grain has a minimum besides its scale.
    const MINS: bool = false;
    /// Whether weights are looked up in memory, so that finding them twice would take twice as long.
    const FROM_MEMORY: bool = false;

    fn blocks(panels: &[u8]) -> &[Self::Block] {
        // The lengths were checked when the panels were made; a remainder would belong to no panel.
        <[Self::Block]>::ref_from_prefix_with_elems(panels, panels.len() / size_of::<Self::Block>())
            .map_or(&[], |(blocks, _)| blocks)
    }

    fn scales<L: ByteLanes>(l: L, block: &Self::Block) -> Self::Scales<L>;

    /// The `sub`-th 32 weights of each row, in groups of four.
    fn weights<L: ByteLanes>(l: L, block: &Self::Block, sub: usize) -> [L::B; 8];

    /// A panel's product with one token, where the format has a way of its own that does for any lanes like these. What a
    /// single tier does in a way of its own is [`Tier::panel_sum`](crate::lanes::Tier::panel_sum). `ahead` are the blocks to ask
    /// memory for meanwhile.
    #[inline(always)]
    fn sum<L: ByteLanes>(
        _: L,
        _blocks: &[Self::Block],
        _x: &[Q8Block],
        _ahead: &mut Ahead<'_, Self::Block>,
    ) -> Option<L::F> {
        None
    }
}

/// A block's scales, and its minimums where it has them, grain by grain.
pub(crate) trait Scales<L: ByteLanes>: Copy {
    /// The scale of each row's grain.
    fn scale(&self, l: L, grain: usize) -> L::F;

    /// What each row's grain adds for each activation.
    #[inline(always)]
    fn min(&self, l: L, _grain: usize) -> L::F {
        l.splat(0.0)
    }
}

/// Weights that are multiplied as floats.
pub(crate) trait Float: 'static {
    /// One weight of each of 16 rows.
    type Lanes16: FromBytes + Immutable + KnownLayout;

    /// Its number in files.
    const TYPE: TensorType;
    /// The one piece that a weight is.
    const PIECES: &'static [Piece];

    fn lanes(panels: &[u8]) -> &[Self::Lanes16];
    fn load<L: Lanes>(l: L, weights: &Self::Lanes16) -> L::F;
}

macro_rules! float {
    ($name:ident, $bytes:literal, $load:ident) => {
        pub(crate) struct $name;
        impl Float for $name {
            type Lanes16 = [u8; $bytes];
            const TYPE: TensorType = TensorType::$name;
            const PIECES: &'static [Piece] = &[piece(0, $bytes / 16, $bytes / 16)];
            fn lanes(panels: &[u8]) -> &[[u8; $bytes]] {
                panels.as_chunks().0
            }
            #[inline(always)]
            fn load<L: Lanes>(l: L, weights: &[u8; $bytes]) -> L::F {
                l.$load(weights)
            }
        }
    };
}
float!(F32, 64, load_f32);
float!(F16, 32, load_f16);
float!(BF16, 32, load_bf16);

/// 16 f16, one for each row.
type Halves = [u8; 32];
/// Four bytes of each of 16 rows.
type Quads = [u8; 64];
/// One byte of each of 16 rows.
type Bytes = [u8; 16];

/// A run of eight groups' low bits, each group with its high bits of all runs.
type WithHigh = [[Quads; 2]; 8];

/// The low bits of a run.
#[inline(always)]
fn low(run: &WithHigh) -> [&Quads; 8] {
    run.each_ref().map(|[low, _]| low)
}

/// The high bits of all runs.
#[inline(always)]
fn high(run: &WithHigh) -> [&Quads; 8] {
    run.each_ref().map(|[_, high]| high)
}

/// The low (`high` 0) or high (1) nibbles of eight groups.
#[inline(always)]
fn nibbles<L: ByteLanes>(l: L, quads: [&Quads; 8], high: usize) -> [L::B; 8] {
    let mask = l.splat_byte(0xf);
    let mut out = [mask; 8];
    unroll!(g < 8 => {
        let b = l.load_in_order(quads[g]);
        out[g] = if high == 0 { l.and(b, mask) } else { l.shr(b, 4) };
    });
    out
}

/// The `run`-th pairs of bits of eight groups.
#[inline(always)]
fn bit_pairs<L: ByteLanes>(l: L, quads: [&Quads; 8], run: usize) -> [L::B; 8] {
    let three = l.splat_byte(3);
    let mut out = [three; 8];
    unroll!(g < 8 => { out[g] = l.and(l.shr(l.load_bytes(quads[g]), 2 * run as u32), three); });
    out
}

/// Adds to each weight of `bits` bits the one that is the `run`-th of its byte in `high`.
#[inline(always)]
fn add_high_bit<L: ByteLanes>(
    l: L,
    mut weights: [L::B; 8],
    high: [&Quads; 8],
    run: usize,
    bits: u32,
) -> [L::B; 8] {
    unroll!(g < 8 => { weights[g] = l.merge(weights[g], l.load_bytes(high[g]), run as u32, bits, 1 << bits); });
    weights
}

/// The nibbles of four groups: the low ones are a row's first 16 weights, the high ones its second.
#[inline(always)]
fn split_nibbles<L: ByteLanes>(l: L, quads: &[Quads; 4]) -> [L::B; 8] {
    let mask = l.splat_byte(0xf);
    let mut out = [mask; 8];
    unroll!(g < 4 => {
        let b = l.load_in_order(&quads[g]);
        out[g] = l.and(b, mask);
        out[g + 4] = l.shr(b, 4);
    });
    out
}

/// Adds 16 to each weight whose bit is set in its row's `bits`.
#[inline(always)]
fn add_fifth_bits<L: ByteLanes>(l: L, mut weights: [L::B; 8], bits: &Quads) -> [L::B; 8] {
    let bits = l.load_bytes(bits);
    unroll!(g < 8 => { weights[g] = l.or(weights[g], l.spread_bits(bits, g, 16)); });
    weights
}

#[inline(always)]
fn look_up<L: ByteLanes>(l: L, values: &[i8; 16], mut index: [L::B; 8]) -> [L::B; 8] {
    unroll!(g < 8 => { index[g] = l.lookup(values, index[g]); });
    index
}

/// The values, divided by `divisor` where that leaves nothing over, and increased by `offset`.
const fn shifted(mut values: [i8; 16], divisor: i8, offset: u8) -> [i8; 16] {
    let mut i = 0;
    while i < 16 {
        assert!(values[i] % divisor == 0);
        values[i] = values[i] / divisor + offset.cast_signed();
        i += 1;
    }
    values
}
