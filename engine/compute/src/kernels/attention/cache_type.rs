use half::f16;

use super::element::{Element, Q8_0, WIDTH};

/// The numbers that keys or values are kept in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheType {
    /// Single precision.
    F32,
    /// IEEE half precision, the default: half the memory, and what most models were trained with or finer.
    #[default]
    F16,
    /// Bytes with a half-precision scale for each 32 numbers of a head: 17/32 of the memory of [`CacheType::F16`].
    Q8_0,
}

/// Works out an expression in which the name stands for a cache type's [`Element`].
macro_rules! with_element {
    ($ty:expr, $element:ident => $expression:expr) => {
        match $ty {
            CacheType::F32 => {
                type $element = f32;
                $expression
            }
            CacheType::F16 => {
                type $element = f16;
                $expression
            }
            CacheType::Q8_0 => {
                type $element = Q8_0;
                $expression
            }
        }
    };
}

pub(super) use with_element;

impl CacheType {
    /// The type's name as llama.cpp spells it: `f32`, `f16`, `q8_0`.
    pub fn name(self) -> &'static str {
        match self {
            CacheType::F32 => "f32",
            CacheType::F16 => "f16",
            CacheType::Q8_0 => "q8_0",
        }
    }

    /// Bytes of a block of 16 positions × [`WIDTH`] numbers.
    pub const fn block_bytes(self) -> usize {
        with_element!(self, E => size_of::<<E as Element>::Block>())
    }

    /// Writes the key of one position into a head's part of a cache, `[position / 16][block]`.
    pub fn store_key(self, position: usize, key: &[f32], cache: &mut [u8]) {
        with_element!(self, E => {
            store::<E>(position, key, cache, |i| E::key_place(position % 16, i));
        });
    }

    /// Writes the value of one position, as [`CacheType::store_key`].
    pub fn store_value(self, position: usize, value: &[f32], cache: &mut [u8]) {
        with_element!(self, E => store::<E>(position, value, cache, |i| value_place(position, i)));
    }

    /// Reads the key of one position, as [`CacheType::store_key`] wrote it.
    pub fn load_key(self, position: usize, key: &mut [f32], cache: &[u8]) {
        with_element!(self, E => load::<E>(position, key, cache, |i| E::key_place(position % 16, i)));
    }

    /// Reads the value of one position, as [`CacheType::store_value`] wrote it.
    pub fn load_value(self, position: usize, value: &mut [f32], cache: &[u8]) {
        with_element!(self, E => load::<E>(position, value, cache, |i| value_place(position, i)));
    }
}

/// Where a block of values holds the i-th number of a position.
fn value_place(position: usize, i: usize) -> usize {
    WIDTH * (position % 16) + i
}

fn load<E: Element>(position: usize, x: &mut [f32], cache: &[u8], place: impl Fn(usize) -> usize) {
    let first = position / 16 * x.len().div_ceil(WIDTH);
    for (block, x) in E::blocks(cache)[first..].iter().zip(x.chunks_mut(WIDTH)) {
        E::read(block, position % 16, x, &place);
    }
}

fn store<E: Element>(position: usize, x: &[f32], cache: &mut [u8], place: impl Fn(usize) -> usize) {
    let first = position / 16 * x.len().div_ceil(WIDTH);
    for (block, x) in E::blocks_mut(cache)[first..].iter_mut().zip(x.chunks(WIDTH)) {
        E::write(block, position % 16, x, &place);
    }
}
