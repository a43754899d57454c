//! Against the `gguf` package and ggml, whose results `goldens/make_goldens.py` wrote down.
#![allow(clippy::unwrap_used, clippy::panic)] // The helpers' too.

use std::fs;
use std::path::PathBuf;

use siskin_quant::codebooks::*;
use siskin_quant::{TensorType, decode, encode, encode_weighted};

fn golden(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name);
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn golden_lines(name: &str) -> Vec<String> {
    String::from_utf8(golden(name)).unwrap().lines().map(String::from).collect()
}

fn decoded(ty: TensorType, blocks: &[u8]) -> Vec<f32> {
    let mut values = vec![0.0; blocks.len() / ty.block_bytes() * ty.block_len()];
    decode(ty, blocks, &mut values).unwrap();
    values
}

fn encoded(ty: TensorType, values: &[f32]) -> Vec<u8> {
    let mut blocks = vec![0; ty.row_bytes(values.len() as u64).unwrap() as usize];
    encode(ty, values, &mut blocks).unwrap();
    blocks
}

#[test]
fn every_type_has_ggmls_number_name_and_size() {
    let lines = golden_lines("types.csv");
    let ours: Vec<String> = TensorType::ALL
        .iter()
        .map(|ty| format!("{},{},{},{}", ty.id(), ty.name().to_uppercase(), ty.block_len(), ty.block_bytes()))
        .collect();
    assert_eq!(ours, lines);
}

#[test]
fn decode_gives_the_bits_of_gguf() {
    for ty in TensorType::ALL.iter().copied().filter(|&ty| ty.can_decode() && ty != TensorType::F32) {
        let values = decoded(ty, &golden(&format!("{ty}.blocks")));
        let expected = decoded(TensorType::F32, &golden(&format!("{ty}.values")));
        assert_eq!(values.len(), expected.len(), "{ty}");
        for (i, (value, expected)) in values.iter().zip(expected).enumerate() {
            // NumPy's F16 keeps a NaN's signalling bit on some processors only.
            let same = value.to_bits() == expected.to_bits()
                || (ty == TensorType::F16 && value.is_nan() && expected.is_nan());
            assert!(same, "{ty}: element {i} is {value:e}, expected {expected:e}");
        }
    }
}

#[test]
fn codebooks_are_those_of_gguf() {
    fn check<const N: usize>(name: &str, grid: &[[u8; N]], value: impl Fn(i8) -> i8) {
        let ours = grid.as_flattened().iter().map(|&byte| value(byte.cast_signed()));
        let expected = golden(&format!("{name}.grid")).into_iter().map(u8::cast_signed);
        assert!(ours.eq(expected), "{name}");
    }
    check("IQ1_S", &IQ1_GRID, |v| (v - 8) / 8);
    check("IQ2_XXS", &IQ2_XXS_GRID, |v| v);
    check("IQ2_XS", &IQ2_XS_GRID, |v| v);
    check("IQ2_S", &IQ2_S_GRID, |v| v);
    check("IQ3_XXS", &IQ3_XXS_GRID, |v| 2 * v);
    check("IQ3_S", &IQ3_S_GRID, |v| v);
}

#[test]
fn encode_gives_the_bytes_of_gguf() {
    use TensorType::*;
    let input = decoded(F32, &golden("input.f32"));
    for ty in [F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0] {
        let blocks = encoded(ty, &input);
        let expected = golden(&format!("{ty}.encoded"));
        let differs = blocks.iter().zip(&expected).position(|(a, b)| a != b);
        if let Some(at) = differs {
            let block = at / ty.block_bytes();
            let whole = |bytes: &[u8]| bytes.chunks(ty.block_bytes()).nth(block).unwrap().to_vec();
            let x = &input[block * ty.block_len()..][..ty.block_len()];
            panic!("{ty}: block {block} of {x:?} is {:?}, expected {:?}", whole(&blocks), whole(&expected));
        }
        assert_eq!(blocks.len(), expected.len(), "{ty}");
    }
    assert_eq!(encoded(F32, &input), golden("input.f32"));
}

/// Numbers in 0..1 from a linear congruential generator; `Uniform` in make_goldens.py is the same.
struct Uniform(u64);

impl Uniform {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / f64::from(1 << 24)
    }

    fn normal(&mut self) -> f64 {
        (0..12).fold(0.0, |sum, _| sum + self.next()) - 6.0
    }

    fn student(&mut self) -> f64 {
        let [x, a, b, c, d] = std::array::from_fn(|_| self.normal());
        x / ((((a * a + b * b) + c * c) + d * d) / 4.0).sqrt()
    }

    fn lognormal(&mut self) -> f64 {
        (0..6).fold(1.0 + self.normal() / 64.0, |x, _| x * x)
    }
}

const COLUMNS: usize = 768;

/// Rows of three distributions, and importances of their columns, as `make_errors` in make_goldens.py makes them.
fn rows() -> ([(&'static str, Vec<f32>); 3], Vec<f32>) {
    let mut random = Uniform(7);
    let mut fill =
        |count: usize, of: fn(&mut Uniform) -> f64| (0..count).map(|_| of(&mut random) as f32).collect();
    let rows = [
        ("gaussian", fill(16 * COLUMNS, |random| 0.02 * random.normal())),
        ("student", fill(16 * COLUMNS, |random| 0.02 * random.student())),
        ("uniform", fill(16 * COLUMNS, |random| 0.1 * random.next() - 0.05)),
    ];
    (rows, fill(COLUMNS, Uniform::lognormal))
}

fn encoded_weighted(ty: TensorType, values: &[f32], importance: &[f32]) -> Vec<u8> {
    let mut blocks = vec![0; ty.row_bytes(values.len() as u64).unwrap() as usize];
    encode_weighted(ty, values, importance, &mut blocks).unwrap();
    blocks
}

#[test]
fn no_type_leaves_more_error_than_ggml() {
    let (rows, importance) = rows();
    for line in golden_lines("errors.csv") {
        let [distribution, weighted, ty, ggml] = line.split(',').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let (_, x) = rows.iter().find(|(name, _)| *name == distribution).unwrap();
        let ty = TensorType::from_name(ty).unwrap();
        let ggml: f64 = ggml.parse().unwrap();
        let (blocks, weights) = match weighted {
            "1" => (encoded_weighted(ty, x, &importance), importance.clone()),
            _ => (encoded(ty, x), vec![1.0; COLUMNS]),
        };
        let errors = x.iter().zip(decoded(ty, &blocks)).map(|(x, y)| (f64::from(y) - f64::from(*x)).powi(2));
        let ours: f64 = errors.zip(weights.iter().cycle()).map(|(error, &w)| error * f64::from(w)).sum();
        // The same bytes' error differs by the order of summation.
        assert!(ours <= ggml * (1.0 + 1e-9), "{line}: ours is {ours:e}, {:.4} of it", ours / ggml);
    }
}

/// FNV-1a, to compare much output with one number.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

/// Fails when a machine's arithmetic differs, and when the search changes: then take the new numbers over.
#[test]
fn searches_give_the_same_bytes_everywhere() {
    use TensorType::*;
    let (rows, importance) = rows();
    let values: Vec<f32> = rows.into_iter().flat_map(|(_, row)| row).collect();
    let expected = [
        (Q4_0, 0x13bafc53f7bc3d53, 0xcc0791bdc7611baa),
        (Q4_1, 0xd5b3deb10ef791ed, 0x0b9556d7f4c067ad),
        (Q5_0, 0xfe6e18384178b516, 0xcafdab9a52ff600c),
        (Q5_1, 0x0e2dff142e7210cb, 0x25b22a903ed24f27),
        (Q2_K, 0x86d6ed8a98a4fad5, 0xd0205bf431b9213d),
        (Q3_K, 0xd098b380ee2cd4e8, 0x56b17908e6f44ee1),
        (Q4_K, 0x4eca4623f1b01b0e, 0x4d23377ffada5c3f),
        (Q5_K, 0x6aed0aaa58194674, 0xeabd2e0ef0515888),
        (Q6_K, 0xbcc6e148be2b2df7, 0x4835d2312cb23055),
        (IQ4_NL, 0xa594a5cef80fe633, 0x3b04d3047c5e5235),
        (IQ4_XS, 0x4fa298eaec5c1466, 0xf25e1156644b2887),
    ];
    let found = expected.map(|(ty, ..)| {
        let weighted = encoded_weighted(ty, &values, &importance);
        (ty, fingerprint(&encoded(ty, &values)), fingerprint(&weighted))
    });
    assert_eq!(found, expected, "{found:#018x?}");
}
