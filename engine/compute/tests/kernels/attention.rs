//! What is too large for a cache's numbers, and what is none, on every tier.

use super::bits;
use siskin_compute::kernels::attention::{Block, CacheType, HEADER, Queries, SPAN, Scoring, WIDTH, begin};
use siskin_compute::kernels::{Isa, Kernels, Q8Block};

const TYPES: [CacheType; 3] = [CacheType::F32, CacheType::F16, CacheType::Q8_0];
/// Two panels.
const POSITIONS: usize = 32;

/// What becomes of one query that looks at all positions: its scores, and its attention.
fn attend(kernels: Kernels, ty: CacheType, keys: &[u8], values: &[u8]) -> (Vec<f32>, Vec<f32>) {
    let mut rows = [0.0; WIDTH];
    rows[3] = 1.0;
    let mut q = [Q8Block::zeros(0.0)];
    kernels.quantize(&rows, WIDTH, WIDTH, &mut q);
    let scoring = Scoring { scale: 1e-6, cap: None, window: usize::MAX };
    let queries = Queries { rows: &rows, q: &q, dims: WIDTH, group: 1, seen: POSITIONS, scoring };
    let (mut wide, mut scores) = (vec![[[0; 64]; 32]; 4], vec![[0.0; SPAN]]);
    let mut part = vec![0.0; queries.part()];
    begin(&mut part);
    kernels.scores(ty, &queries, &Block { bytes: keys, start: 0, next: &[] }, &mut wide, &mut scores);
    let dots = scores[0][..POSITIONS].to_vec();
    kernels.softmax(&queries, 0, &mut scores, &mut part);
    let values = Block { bytes: values, start: 0, next: &[] };
    kernels.weigh(ty, &queries, &values, &mut wide, &scores, &mut part);
    let mut out = vec![0.0; WIDTH];
    kernels.finish(&part, &mut out);
    assert_eq!(part.len(), HEADER + WIDTH);
    (dots, out)
}

/// A cache's part of one head, the number of each position and place given; and what is read of it again.
fn stored(ty: CacheType, key: bool, number: impl Fn(usize, usize) -> f32) -> (Vec<u8>, Vec<Vec<f32>>) {
    let mut bytes = vec![0; POSITIONS / 16 * ty.block_bytes()];
    let read = (0..POSITIONS).map(|position| {
        let mut row: Vec<f32> = (0..WIDTH).map(|i| number(position, i)).collect();
        if key {
            ty.store_key(position, &row, &mut bytes);
            ty.load_key(position, &mut row, &bytes);
        } else {
            ty.store_value(position, &row, &mut bytes);
            ty.load_value(position, &mut row, &bytes);
        }
        row
    });
    let read = read.collect();
    (bytes, read)
}

/// The largest number that a cache holds.
fn most(ty: CacheType) -> f32 {
    match ty {
        CacheType::F32 => f32::MAX,
        CacheType::F16 => 65_504.0,
        CacheType::Q8_0 => 127.0 * 65_504.0,
    }
}

#[test]
fn numbers_saturate_at_the_largest_that_a_cache_holds() {
    for ty in TYPES {
        for key in [true, false] {
            for x in [1e5, 65_504.0, 65_520.0, 1e7, 3e38, f32::INFINITY, -1e5, -1e9, f32::NEG_INFINITY] {
                let (_, read) = stored(ty, key, |_, i| if i == 3 { x } else { 0.0 });
                let expected = if ty == CacheType::F32 { x } else { x.clamp(-most(ty), most(ty)) };
                let found = read[7][3];
                // Q8_0's scales are rounded to half precision.
                let near = ty == CacheType::Q8_0 && (found - expected).abs() <= 5e-4 * expected.abs();
                assert!(found == expected || near, "{ty:?} {x}: {found}");
                assert!(ty == CacheType::F32 || found.abs() <= most(ty), "{ty:?} {x}: {found}");
            }
        }
    }
}

#[test]
fn saturated_keys_and_values_give_numbers_on_every_tier() {
    // Position 9 is too large for F16, position 20 for Q8_0's scale too.
    let number = |position, i| match (position, i) {
        (9, 3) => 1e5,
        (20, 3 | 5) => -1e9,
        _ => (position + i) as f32 / 16.0,
    };
    for ty in TYPES {
        let ((keys, key_rows), (values, _)) = (stored(ty, true, number), stored(ty, false, number));
        let expected = attend(Isa::available().last().unwrap().kernels(), ty, &keys, &values);
        assert!(expected.0.iter().chain(&expected.1).all(|x| x.is_finite()), "{ty:?}: {expected:?}");
        for (dot, row) in expected.0.iter().zip(&key_rows) {
            assert!((dot - row[3]).abs() <= 0.02 * row[3].abs().max(1.0), "{ty:?}: {dot} {}", row[3]);
        }
        for isa in Isa::available() {
            let found = attend(isa.kernels(), ty, &keys, &values);
            assert_eq!(bits(&found.0), bits(&expected.0), "{ty:?} {isa}");
            assert_eq!(bits(&found.1), bits(&expected.1), "{ty:?} {isa}");
        }
    }
}

#[test]
fn nan_stays_nan_on_every_tier() {
    let number = |position, i| if (position, i) == (11, 3) { f32::NAN } else { 0.5 };
    for ty in TYPES {
        let (bad_keys, _) = stored(ty, true, number);
        let (bad_values, _) = stored(ty, false, number);
        let ((keys, _), (values, _)) = (stored(ty, true, |_, _| 0.5), stored(ty, false, |_, _| 0.5));
        for isa in Isa::available() {
            let (dots, _) = attend(isa.kernels(), ty, &bad_keys, &values);
            let nan: Vec<usize> = (0..POSITIONS).filter(|&position| dots[position].is_nan()).collect();
            assert_eq!(nan, [11], "{ty:?} {isa}");
            let (_, out) = attend(isa.kernels(), ty, &keys, &bad_values);
            assert!(out[3].is_nan(), "{ty:?} {isa}: {out:?}");
        }
    }
}
