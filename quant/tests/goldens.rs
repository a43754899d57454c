//! Against the `gguf` package and ggml, whose results `goldens/make_goldens.py` wrote down.
#![allow(clippy::unwrap_used, clippy::panic)] // The helpers' too.

use std::fs;
use std::path::PathBuf;

use siskin_quant::{TensorType, decode, encode};

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

/// The rows of `rows.f16`, by distribution.
fn rows() -> Vec<(String, Vec<f32>)> {
    let values = decoded(TensorType::F16, &golden("rows.f16"));
    let rows = ["gaussian", "laplacian", "uniform"];
    rows.into_iter().map(String::from).zip(values.chunks(values.len() / 3).map(Vec::from)).collect()
}

#[test]
fn k_quants_leave_less_error_than_ggml() {
    let rows = rows();
    for line in golden_lines("rows.csv") {
        let fields: Vec<&str> = line.split(',').collect();
        let (_, x) = rows.iter().find(|(name, _)| name == fields[0]).unwrap();
        let ty = TensorType::from_name(fields[1]).unwrap();
        let ggml: f64 = fields[2].parse().unwrap();
        let restored = decoded(ty, &encoded(ty, x));
        let squares = x.iter().zip(&restored).map(|(x, y)| f64::from(x - y).powi(2));
        let ours = squares.sum::<f64>() / x.len() as f64;
        assert!(ours < 0.985 * ggml, "{line}: ours is {ours:e}, {:.3} of it", ours / ggml);
    }
}

/// FNV-1a, to compare much output with one number.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

/// Fails when a machine's arithmetic differs, and when the search changes: then take the new numbers over.
#[test]
fn k_quants_have_the_same_bytes_everywhere() {
    let values: Vec<f32> = rows().into_iter().flat_map(|(_, row)| row).collect();
    let expected = [
        (TensorType::Q2_K, 0x58bfe055b2985cec),
        (TensorType::Q3_K, 0xe4590c3f6b1ce3a6),
        (TensorType::Q4_K, 0x589a09adc95fbb34),
        (TensorType::Q5_K, 0x96bf3a1c03eba465),
        (TensorType::Q6_K, 0xe6a2da074c73ba99),
        (TensorType::IQ4_NL, 0xcebc2dc01e04d494),
        (TensorType::IQ4_XS, 0x2ca78ba8a9011e65),
    ];
    let found = expected.map(|(ty, _)| (ty, fingerprint(&encoded(ty, &values))));
    assert_eq!(found, expected, "{found:#018x?}");
}
