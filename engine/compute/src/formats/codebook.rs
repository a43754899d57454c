//! Formats of 256 weights to a superblock that choose groups of weights from a fixed grid.
//!
//! Groups are looked up row by row, and signs are put on the weights of all rows at once; then, where it helps, an offset that
//! makes them positive. Powers of two that the grids leave out of the values are put into the scale, which stays exact.

use siskin_quant::TensorType;
use siskin_quant::codebooks::{
    IQ1_GRID, IQ2_S_GRID, IQ2_XS_GRID, IQ2_XXS_GRID, IQ3_S_GRID, IQ3_XXS_GRID, unpack_signs,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::layout::Field;
use super::{Bytes, Halves, Piece, Quads, Quantized, Scales, piece, pieces};
use crate::lanes::{ByteLanes, Range, unroll};

/// The scales of a superblock whose grains have a small odd number for each.
#[derive(Clone, Copy)]
pub(crate) struct Odd<F, const N: usize> {
    d: F,
    scales: [Bytes; N],
}

impl<L: ByteLanes, const N: usize> Scales<L> for Odd<L::F, N> {
    #[inline(always)]
    fn scale(&self, l: L, grain: usize) -> L::F {
        l.mul(self.d, l.load_u8(&self.scales[grain]))
    }
}

/// `d` times `unit`, a power of two, and `2 * scale + 1` for each row's grain.
#[inline(always)]
fn odd<L: ByteLanes, const N: usize>(
    l: L,
    d: &Halves,
    unit: f32,
    scale: impl Fn(usize, usize) -> u8,
) -> Odd<L::F, N> {
    let mut scales = [[0; 16]; N];
    for (grain, rows) in scales.iter_mut().enumerate() {
        for (row, odd) in rows.iter_mut().enumerate() {
            *odd = 2 * scale(grain, row) + 1;
        }
    }
    Odd { d: l.mul(l.load_f16(d), l.splat(unit)), scales }
}

/// The scale of a grain, of two in each byte.
#[inline(always)]
fn nibble(scales: &[Bytes], grain: usize, row: usize) -> u8 {
    scales[grain / 2][row] >> (grain % 2 * 4) & 15
}

/// `first`, then in turn the eight pieces of two kinds, of which `groups` and `signs` are the first ones.
const fn groups_and_signs<const N: usize>(first: &[Piece], groups: Piece, signs: Piece) -> [Piece; N] {
    let mut pieces = [groups; N];
    let mut i = 0;
    while i < N {
        pieces[i] = match i.checked_sub(first.len()) {
            None => first[i],
            Some(i) => {
                let piece = if i.is_multiple_of(2) { groups } else { signs };
                Piece { at: piece.at + i / 2 * piece.bytes, ..piece }
            }
        };
        i += 1;
    }
    pieces
}

/// The `i`-th eight weights of each row: the grid's group of that number.
#[inline(always)]
fn eights<L: ByteLanes, const GROUPS: usize>(
    l: L,
    grid: &[[u8; 8]; GROUPS],
    number: impl Fn(usize, usize) -> u16,
) -> [L::B; 8] {
    let mut out = [l.splat_byte(0); 8];
    unroll!(i < 4 => {
        let mut rows = [[0; 8]; 16];
        for (row, to) in rows.iter_mut().enumerate() {
            *to = grid[usize::from(number(row, i)) % GROUPS];
        }
        [out[2 * i], out[2 * i + 1]] = l.halves(&rows);
    });
    out
}

/// The `i`-th four weights of each row: the grid's group of that number.
#[inline(always)]
fn fours<L: ByteLanes, const GROUPS: usize>(
    l: L,
    grid: &[[u8; 4]; GROUPS],
    number: impl Fn(usize, usize) -> u16,
) -> [L::B; 8] {
    let mut out = [l.splat_byte(0); 8];
    unroll!(i < 8 => {
        out[i] = l.look_up(grid, |row| usize::from(number(row, i)));
    });
    out
}

/// Puts signs on the weights.
#[inline(always)]
fn signed<L: ByteLanes>(l: L, mut weights: [L::B; 8], signs: &Quads) -> [L::B; 8] {
    let signs = l.load_bytes(signs);
    unroll!(g < 8 => { weights[g] = l.negate(weights[g], signs, g); });
    weights
}

/// Adds the same to all weights.
#[inline(always)]
fn increased<L: ByteLanes>(l: L, mut weights: [L::B; 8], by: u8) -> [L::B; 8] {
    let by = l.splat_byte(by);
    unroll!(g < 8 => { weights[g] = l.add_bytes(weights[g], by); });
    weights
}

/// Signs that are packed in the low 28 bits of each row's `quad`.
#[inline(always)]
fn packed_signs(quad: impl Fn(usize) -> u32) -> Quads {
    each_row(|row| unpack_signs(quad(row)))
}

/// A little-endian u32 for each row.
#[inline(always)]
fn each_row(number: impl Fn(usize) -> u32) -> Quads {
    let mut out = [0; 64];
    for (row, to) in out.as_chunks_mut().0.iter_mut().enumerate() {
        *to = number(row).to_le_bytes();
    }
    out
}

#[inline(always)]
fn u16_at(halves: &Halves, row: usize) -> u16 {
    u16::from_le_bytes([halves[2 * row], halves[2 * row + 1]])
}

#[inline(always)]
fn u32_at(quads: &Quads, row: usize) -> u32 {
    u32::from_le_bytes([quads[4 * row], quads[4 * row + 1], quads[4 * row + 2], quads[4 * row + 3]])
}

/// `w = d * (2 * scale + 1) / 8 * v`: eight grains, groups of eight, a sign for each grain.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct IQ1_SBlock {
    d: Halves,
    high: [Halves; 8],
    groups: [Quads; 8],
}

pub(crate) struct IQ1_S;
impl Quantized for IQ1_S {
    type Block = IQ1_SBlock;
    type Scales<L: ByteLanes> = Odd<L::F, 8>;
    const TYPE: TensorType = TensorType::IQ1_S;
    const PIECES: &'static [Piece] = pieces!(IQ1_SBlock { d: 0, high: 34, groups: 2 });
    const LEN: usize = 256;
    const RANGE: Range = Range::U5;
    const OFFSET: u8 = 9;
    const FROM_MEMORY: bool = true;

    #[inline(always)]
    fn scales<L: ByteLanes>(l: L, block: &IQ1_SBlock) -> Odd<L::F, 8> {
        odd(l, &block.d, 0.125, |grain, row| block.high[grain][2 * row + 1] >> 4 & 7)
    }
    #[inline(always)]
    fn weights<L: ByteLanes>(l: L, block: &IQ1_SBlock, sub: usize) -> [L::B; 8] {
        let (low, high) = (&block.groups[sub], &block.high[sub]);
        let number = |row, i| u16::from(low[4 * row + i]) | (u16_at(high, row) >> (3 * i) & 7) << 8;
        // An eighth more, or less where the sign is set.
        let shifts = each_row(|row| if u16_at(high, row) >> 15 == 0 { 0x0202_0202 } else { 0 });
        let (mut weights, shifts) = (eights(l, &IQ1_GRID, number), l.load_bytes(&shifts));
        unroll!(g < 8 => { weights[g] = l.add_bytes(weights[g], shifts); });
        weights
    }
}

/// `w = d * (2 * scale + 1) / 8 * v`: sixteen grains, groups of eight, a sign for each group.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct IQ1_MBlock {
    scales: [Halves; 4],
    high: [Halves; 8],
    groups: [Quads; 8],
}

pub(crate) struct IQ1_M;
impl Quantized for IQ1_M {
    type Block = IQ1_MBlock;
    type Scales<L: ByteLanes> = Odd<L::F, 16>;
    const TYPE: TensorType = TensorType::IQ1_M;
    const PIECES: &'static [Piece] = pieces!(IQ1_MBlock { scales: 48, high: 32, groups: 0 });
    const LEN: usize = 256;
    const GRAINS: usize = 2;
    const RANGE: Range = Range::U5;
    const OFFSET: u8 = 9;
    const FROM_MEMORY: bool = true;

    #[inline(always)]
    fn scales<L: ByteLanes>(l: L, block: &IQ1_MBlock) -> Odd<L::F, 16> {
        let mut d = [0; 32];
        for (row, d) in d.as_chunks_mut().0.iter_mut().enumerate() {
            let [a, b, c, e] = block.scales.each_ref().map(|part| part[2 * row + 1]);
            *d = [a >> 4 | b & 0xf0, c >> 4 | e & 0xf0];
        }
        let scale = |grain, row| (u16_at(&block.scales[grain / 4], row) >> (grain % 4 * 3)) as u8 & 7;
        odd(l, &d, 0.125, scale)
    }
    #[inline(always)]
    fn weights<L: ByteLanes>(l: L, block: &IQ1_MBlock, sub: usize) -> [L::B; 8] {
        let (low, high) = (&block.groups[sub], &block.high[sub]);
        let number = |row, i| u16::from(low[4 * row + i]) | (u16_at(high, row) >> (4 * i) & 7) << 8;
        let mut weights = eights(l, &IQ1_GRID, number);
        unroll!(i < 4 => {
            // An eighth more, or less where the group's sign is set.
            let shifts = each_row(|row| if u16_at(high, row) >> (4 * i + 3) & 1 == 0 { 0x0202_0202 } else { 0 });
            let shifts = l.load_bytes(&shifts);
            weights[2 * i] = l.add_bytes(weights[2 * i], shifts);
            weights[2 * i + 1] = l.add_bytes(weights[2 * i + 1], shifts);
        });
        weights
    }
}

/// `w = d * (2 * scale + 1) / 8 * v`: eight grains, groups of eight. The scale is on top of the signs.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct IQ2_XXSBlock {
    d: Halves,
    subs: [GroupsAndSigns; 8],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct GroupsAndSigns {
    groups: Quads,
    signs: Quads,
}

impl Field for GroupsAndSigns {
    const UNIT: usize = 4;
}

pub(crate) struct IQ2_XXS;
impl Quantized for IQ2_XXS {
    type Block = IQ2_XXSBlock;
    type Scales<L: ByteLanes> = Odd<L::F, 8>;
    const TYPE: TensorType = TensorType::IQ2_XXS;
    const PIECES: &'static [Piece] = pieces!(IQ2_XXSBlock { d: 0, subs: 2 });
    const LEN: usize = 256;
    const RANGE: Range = Range::S8;
    const FROM_MEMORY: bool = true;

    #[inline(always)]
    fn scales<L: ByteLanes>(l: L, block: &IQ2_XXSBlock) -> Odd<L::F, 8> {
        odd(l, &block.d, 0.125, |grain, row| block.subs[grain].signs[4 * row + 3] >> 4)
    }
    #[inline(always)]
    fn weights<L: ByteLanes>(l: L, block: &IQ2_XXSBlock, sub: usize) -> [L::B; 8] {
        let sub = &block.subs[sub];
        let weights = eights(l, &IQ2_XXS_GRID, |row, i| u16::from(sub.groups[4 * row + i]));
        signed(l, weights, &packed_signs(|row| u32_at(&sub.signs, row)))
    }
}

/// `w = d * (2 * scale + 1) / 8 * v`: sixteen grains, groups of eight. Seven signs are on top of a group's number.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct IQ2_XSBlock {
    d: Halves,
    scales: [Bytes; 8],
    groups: [[Quads; 2]; 8],
}

pub(crate) struct IQ2_XS;
impl Quantized for IQ2_XS {
    type Block = IQ2_XSBlock;
    type Scales<L: ByteLanes> = Odd<L::F, 16>;
    const TYPE: TensorType = TensorType::IQ2_XS;
    const PIECES: &'static [Piece] = pieces!(IQ2_XSBlock { d: 0, scales: 66, groups: 2 });
    const LEN: usize = 256;
    const GRAINS: usize = 2;
    const RANGE: Range = Range::S8;
    const FROM_MEMORY: bool = true;

    #[inline(always)]
    fn scales<L: ByteLanes>(l: L, block: &IQ2_XSBlock) -> Odd<L::F, 16> {
        odd(l, &block.d, 0.125, |grain, row| nibble(&block.scales, grain, row))
    }
    #[inline(always)]
    fn weights<L: ByteLanes>(l: L, block: &IQ2_XSBlock, sub: usize) -> [L::B; 8] {
        let groups = &block.groups[sub];
        let number = |row, i| (u32_at(&groups[i / 2], row) >> (i % 2 * 16)) as u16;
        let signs = packed_signs(|row| {
            let [low, high] = groups.each_ref().map(|pair| {
                let pair = u32_at(pair, row);
                pair >> 9 & 0x7f | pair >> 25 << 7
            });
            low | high << 14
        });
        signed(l, eights(l, &IQ2_XS_GRID, number), &signs)
    }
}

/// `w = d * (2 * scale + 1) / 8 * v`: sixteen grains, groups of eight, a sign for each weight.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct IQ2_SBlock {
    d: Halves,
    scales: [Bytes; 8],
    high: [Bytes; 8],
    subs: [GroupsAndSigns; 8],
}

/// d, scales and high bits; then for each 32 weights their groups and their signs.
const IQ2_S_PIECES: [Piece; 19] =
    groups_and_signs(&[piece(0, 2, 2), piece(74, 8, 1), piece(66, 8, 1)], piece(2, 4, 4), piece(34, 4, 4));

pub(crate) struct IQ2_S;
impl Quantized for IQ2_S {
    type Block = IQ2_SBlock;
    type Scales<L: ByteLanes> = Odd<L::F, 16>;
    const TYPE: TensorType = TensorType::IQ2_S;
    const PIECES: &'static [Piece] = &IQ2_S_PIECES;
    const LEN: usize = 256;
    const GRAINS: usize = 2;
    const RANGE: Range = Range::S8;
    const FROM_MEMORY: bool = true;

    #[inline(always)]
    fn scales<L: ByteLanes>(l: L, block: &IQ2_SBlock) -> Odd<L::F, 16> {
        odd(l, &block.d, 0.125, |grain, row| nibble(&block.scales, grain, row))
    }
    #[inline(always)]
    fn weights<L: ByteLanes>(l: L, block: &IQ2_SBlock, sub: usize) -> [L::B; 8] {
        let (sub, high) = (&block.subs[sub], &block.high[sub]);
        let number = |row, i| u16::from(sub.groups[4 * row + i]) | u16::from(high[row] >> (2 * i) & 3) << 8;
        signed(l, eights(l, &IQ2_S_GRID, number), &sub.signs)
    }
}

/// `w = d * (2 * scale + 1) / 2 * v`: eight grains, groups of four. The scale is on top of the signs.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct IQ3_XXSBlock {
    d: Halves,
    subs: [PairsAndSigns; 8],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct PairsAndSigns {
    groups: [Quads; 2],
    signs: Quads,
}

/// d; then for each 32 weights their groups and their signs.
const IQ3_XXS_PIECES: [Piece; 17] = groups_and_signs(&[piece(0, 2, 2)], piece(2, 8, 4), piece(66, 4, 4));

pub(crate) struct IQ3_XXS;
impl Quantized for IQ3_XXS {
    type Block = IQ3_XXSBlock;
    type Scales<L: ByteLanes> = Odd<L::F, 8>;
    const TYPE: TensorType = TensorType::IQ3_XXS;
    const PIECES: &'static [Piece] = &IQ3_XXS_PIECES;
    const LEN: usize = 256;
    const RANGE: Range = Range::U6;
    const OFFSET: u8 = 31;
    const FROM_MEMORY: bool = true;

    #[inline(always)]
    fn scales<L: ByteLanes>(l: L, block: &IQ3_XXSBlock) -> Odd<L::F, 8> {
        odd(l, &block.d, 0.5, |grain, row| block.subs[grain].signs[4 * row + 3] >> 4)
    }
    #[inline(always)]
    fn weights<L: ByteLanes>(l: L, block: &IQ3_XXSBlock, sub: usize) -> [L::B; 8] {
        let sub = &block.subs[sub];
        let weights = fours(l, &IQ3_XXS_GRID, |row, i| u16::from(sub.groups[i / 4][4 * row + i % 4]));
        let weights = signed(l, weights, &packed_signs(|row| u32_at(&sub.signs, row)));
        increased(l, weights, Self::OFFSET)
    }
}

/// `w = d * (2 * scale + 1) * v`: eight grains, groups of four, a sign for each weight.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct IQ3_SBlock {
    d: Halves,
    scales: [Bytes; 4],
    high: [Bytes; 8],
    subs: [PairsAndSigns; 8],
}

/// d, scales and high bits; then for each 32 weights their groups and their signs.
const IQ3_S_PIECES: [Piece; 19] =
    groups_and_signs(&[piece(0, 2, 2), piece(106, 4, 1), piece(66, 8, 1)], piece(2, 8, 4), piece(74, 4, 4));

pub(crate) struct IQ3_S;
impl Quantized for IQ3_S {
    type Block = IQ3_SBlock;
    type Scales<L: ByteLanes> = Odd<L::F, 8>;
    const TYPE: TensorType = TensorType::IQ3_S;
    const PIECES: &'static [Piece] = &IQ3_S_PIECES;
    const LEN: usize = 256;
    const RANGE: Range = Range::U5;
    const OFFSET: u8 = 15;
    const FROM_MEMORY: bool = true;

    #[inline(always)]
    fn scales<L: ByteLanes>(l: L, block: &IQ3_SBlock) -> Odd<L::F, 8> {
        odd(l, &block.d, 1.0, |grain, row| nibble(&block.scales, grain, row))
    }
    #[inline(always)]
    fn weights<L: ByteLanes>(l: L, block: &IQ3_SBlock, sub: usize) -> [L::B; 8] {
        let (sub, high) = (&block.subs[sub], &block.high[sub]);
        let number = |row: usize, i: usize| {
            u16::from(sub.groups[i / 4][4 * row + i % 4]) | u16::from(high[row] >> i & 1) << 8
        };
        increased(l, signed(l, fours(l, &IQ3_S_GRID, number), &sub.signs), Self::OFFSET)
    }
}
