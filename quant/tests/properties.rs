//! What holds for every input.
#![allow(clippy::unwrap_used, clippy::panic)] // The helpers' too.

use proptest::prelude::*;
use siskin_quant::{FormatError, TensorType, decode, encode, encode_weighted};

const ENCODED: [TensorType; 15] = {
    use TensorType::*;
    [F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS]
};

fn encoded(ty: TensorType, x: &[f32]) -> Result<Vec<u8>, FormatError> {
    let mut blocks = vec![0; ty.row_bytes(x.len() as u64).unwrap() as usize];
    encode(ty, x, &mut blocks).map(|()| blocks)
}

fn encoded_weighted(ty: TensorType, x: &[f32], importance: &[f32]) -> Result<Vec<u8>, FormatError> {
    let mut blocks = vec![0; ty.row_bytes(x.len() as u64).unwrap() as usize];
    encode_weighted(ty, x, importance, &mut blocks).map(|()| blocks)
}

fn restored(ty: TensorType, x: &[f32]) -> Vec<f32> {
    let mut values = vec![f32::NAN; x.len()];
    decode(ty, &encoded(ty, x).unwrap(), &mut values).unwrap();
    values
}

/// Weights as models have them, of any usual scale.
fn weights(n: usize) -> impl Strategy<Value = Vec<f32>> {
    (-12i32..8)
        .prop_flat_map(move |e| prop::collection::vec((-1.0f32..1.0).prop_map(move |x| x * 2f32.powi(e)), n))
}

/// Anything finite: zeros, denormals, huge values.
fn finite(n: usize) -> impl Strategy<Value = Vec<f32>> {
    use prop::num::f32::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    let any = POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO;
    let near = |e: i32| (-1.0f32..1.0).prop_map(move |x| x * 2f32.powi(e));
    prop_oneof![
        prop::collection::vec(any, n),
        prop::collection::vec(SUBNORMAL | ZERO, n),
        (-149..128i32).prop_flat_map(move |e| prop::collection::vec(near(e), n)),
        (-149..128i32).prop_flat_map(move |e| prop::collection::vec(prop_oneof![near(e), near(e - 40)], n)),
    ]
}

/// The largest error of an element of a block with values from `low` to `high`: half a step between quants, or a
/// whole one where the positive end is clipped.
fn bound(ty: TensorType, low: f32, high: f32) -> f32 {
    let (range, magnitude) = (high - low, high.max(-low));
    // Scales and minimums are rounded to F16, whose least step of 6e-8 counts up to 127 times.
    let half_precision = magnitude / 1000.0 + 4e-6;
    half_precision
        + match ty {
            TensorType::F32 => 0.0,
            TensorType::F16 => magnitude / 2048.0,
            TensorType::BF16 => magnitude / 256.0,
            TensorType::Q4_0 => magnitude / 8.0,
            TensorType::Q5_0 => magnitude / 16.0,
            TensorType::Q8_0 => magnitude / 127.0 / 2.0,
            TensorType::Q4_1 => range / 15.0 / 2.0,
            TensorType::Q5_1 => range / 31.0 / 2.0,
            // The widest gap between levels is 24 of 127, and the positive end is clipped by 14 at most.
            TensorType::IQ4_NL => magnitude * 24.0 / 113.0,
            _ => unreachable!(),
        }
}

proptest! {
    #[test]
    fn error_stays_within_a_step(x in weights(32)) {
        let (low, high) = x.iter().fold((f32::MAX, f32::MIN), |(l, h), &v| (l.min(v), h.max(v)));
        for ty in ENCODED.into_iter().filter(|ty| ty.block_len() <= 32) {
            let bound = bound(ty, low, high);
            for (x, y) in x.iter().zip(restored(ty, &x)) {
                prop_assert!((x - y).abs() <= bound, "{ty}: {x} became {y}, more than {bound} away");
            }
        }
    }

    /// K-quants may clip an outlier, but cost no more than dividing the superblock's whole range into steps would.
    #[test]
    fn superblocks_keep_to_the_error_of_their_widest_step(x in weights(512)) {
        use TensorType::*;
        for (ty, steps) in [(Q2_K, 3.0), (Q3_K, 7.0), (Q4_K, 15.0), (Q5_K, 31.0), (Q6_K, 63.0), (IQ4_XS, 11.0)] {
            for (x, y) in x.chunks(256).zip(restored(ty, &x).chunks(256)) {
                let (low, high) = x.iter().fold((0f32, 0f32), |(l, h), &v| (l.min(v), h.max(v)));
                // The scale of scales is an F16, whose least step counts up to 63 times.
                let step = (high - low) / steps + 63.0 / 2.0 * 2f32.powi(-24);
                let squares: f32 = x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum();
                // Rounding spreads evenly over a step: its mean square is a twelfth.
                prop_assert!(squares / 256.0 <= step * step / 12.0 * 1.1 + 1e-14, "{ty}: {squares} at step {step}");
            }
        }
    }

    #[test]
    fn finite_input_gives_finite_output_or_an_error(x in finite(256)) {
        for ty in ENCODED {
            match encoded(ty, &x) {
                Ok(blocks) => {
                    let mut values = vec![f32::NAN; 256];
                    decode(ty, &blocks, &mut values).unwrap();
                    prop_assert!(values.iter().all(|y| y.is_finite()), "{ty}");
                    // Nothing grows by more than half a step: a search that overflowed would. Q2_K's is a third of the
                    // range, which is twice the largest value at most.
                    let largest = x.iter().fold(0f32, |a, v| a.max(v.abs()));
                    let growth = if ty == TensorType::Q2_K { 1.5 } else { 1.25 };
                    prop_assert!(values.iter().all(|y| y.abs() <= largest * growth + 1e-5), "{ty}");
                    let squares = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>();
                    let energy = squares(&mut x.iter().map(|&x| x.into()));
                    let error = squares(&mut x.iter().zip(&values).map(|(&x, &y)| f64::from(x) - f64::from(y)));
                    // A scale below F16's least step is lost; K-quants have scales of scales to lose less. The levels
                    // of IQ4_XS stand up to 24 of the least steps apart.
                    let lost = match ty {
                        _ if ty.block_len() == 32 => 4e-6f64,
                        TensorType::IQ4_XS => 8e-7,
                        _ => 1e-7,
                    };
                    let share = match ty {
                        TensorType::Q2_K => 0.2,
                        TensorType::Q3_K => 0.1,
                        _ => 0.05,
                    };
                    prop_assert!(error <= share * energy + 256.0 * lost * lost, "{ty}: {error} of {energy}");
                }
                Err(FormatError::ScaleOverflow { ty: named, block, .. }) => {
                    prop_assert_eq!(named, ty);
                    prop_assert!(x[block * ty.block_len()..][..ty.block_len()].iter().any(|v| v.abs() > 65504.0));
                }
                Err(FormatError::ValueOverflow { ty: named, index, value }) => {
                    prop_assert_eq!(named, ty);
                    prop_assert!(x[index] == value && value.abs() > 65504.0);
                }
                Err(other) => prop_assert!(false, "{ty}: {other}"),
            }
        }
    }

    /// What a block can hold exactly, it holds the second time. (K-quants search, and may find better.)
    #[test]
    fn encoding_again_changes_nothing(x in weights(32)) {
        for ty in ENCODED.into_iter().filter(|ty| ty.block_len() <= 32) {
            let once = restored(ty, &x);
            prop_assert_eq!(restored(ty, &once), once, "{}", ty);
        }
    }

    /// Blocks do not see each other, so rows can be cut anywhere between them.
    #[test]
    fn a_row_is_the_sum_of_its_blocks(x in weights(512)) {
        for ty in ENCODED {
            let halves = [encoded(ty, &x[..256]).unwrap(), encoded(ty, &x[256..]).unwrap()].concat();
            prop_assert_eq!(encoded(ty, &x).unwrap(), halves, "{}", ty);
        }
    }

    #[test]
    fn a_value_that_is_not_finite_is_named(at in 0usize..512, value in prop::sample::select(
        vec![f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY]
    )) {
        let mut x = vec![0.5; 512];
        x[at] = value;
        for ty in ENCODED {
            let error = encoded(ty, &x).unwrap_err();
            prop_assert!(matches!(error, FormatError::NotFinite { index, .. } if index == at), "{ty}: {error}");
        }
    }

    /// Equal importances are none, and so are those of a block that has zeros only.
    #[test]
    fn equal_importances_change_nothing(x in weights(768), weight in prop::sample::select(
        vec![0.0, f32::from_bits(1), 0.3, 1.0, f32::MAX]
    )) {
        for ty in ENCODED {
            prop_assert_eq!(encoded_weighted(ty, &x, &vec![weight; 768]), encoded(ty, &x), "{}", ty);
            let mut importance: Vec<f32> = (1..=768).map(|i| 1.0 / i as f32).collect();
            importance[256..512].fill(0.0);
            let heeded = encoded_weighted(ty, &x, &importance).unwrap();
            let part = ty.row_bytes(256).unwrap() as usize;
            prop_assert_eq!(&heeded[part..2 * part], encoded(ty, &x[256..512]).unwrap(), "{}", ty);
        }
    }

    /// Types with a plain encoding never fare worse for knowing what matters, in rows of any number of blocks.
    #[test]
    fn importances_lower_the_error_that_counts(
        x in weights(3 * 288),
        importance in prop::collection::vec((0i32..20).prop_map(|e| 0.5f32.powi(e)), 288),
    ) {
        use TensorType::*;
        for ty in [Q4_0, Q4_1, Q5_0, Q5_1, Q8_0] {
            let error = |blocks: Vec<u8>| -> f32 {
                let mut y = vec![f32::NAN; x.len()];
                decode(ty, &blocks, &mut y).unwrap();
                let errors = x.iter().zip(&y).map(|(x, y)| (x - y) * (x - y));
                errors.zip(importance.iter().cycle()).map(|(error, w)| error * w).sum()
            };
            let (heeded, plain) = (encoded_weighted(ty, &x, &importance).unwrap(), encoded(ty, &x).unwrap());
            let (heeded, plain) = (error(heeded), error(plain));
            prop_assert!(heeded <= plain * 1.00001, "{ty}: {heeded} instead of {plain}");
        }
    }

    #[test]
    fn any_importances_give_finite_output_or_an_error(
        x in finite(256),
        importance in prop::collection::vec(prop_oneof![Just(0.0f32), 0.0..1e-38f32, 0.0..1f32, 0.0..3e38f32], 256),
    ) {
        for ty in ENCODED {
            if let Ok(blocks) = encoded_weighted(ty, &x, &importance) {
                let mut values = vec![f32::NAN; 256];
                decode(ty, &blocks, &mut values).unwrap();
                prop_assert!(values.iter().all(|y| y.is_finite()), "{ty}");
            }
        }
    }

    /// Random bytes decode without a panic, whatever their scales are.
    #[test]
    fn any_bytes_decode(bytes in prop::collection::vec(any::<u8>(), 512)) {
        for &ty in TensorType::ALL.iter().filter(|ty| ty.can_decode()) {
            let blocks = bytes.len() / ty.block_bytes();
            let mut values = vec![0.0; blocks * ty.block_len()];
            decode(ty, &bytes[..blocks * ty.block_bytes()], &mut values).unwrap();
        }
    }
}

#[test]
fn lengths_must_agree_and_fill_blocks() {
    for &ty in TensorType::ALL {
        let (len, bytes) = (ty.block_len(), ty.block_bytes());
        if ty.can_decode() {
            assert_eq!(decode(ty, &[], &mut []), Ok(()));
            let found = decode(ty, &vec![0; 2 * bytes - 1], &mut vec![0.0; 2 * len]).unwrap_err();
            assert_eq!(
                found,
                FormatError::WrongLength {
                    ty,
                    elements: 2 * len,
                    bytes: 2 * bytes - 1,
                    expected: 2 * bytes as u64
                }
            );
            assert!(decode(ty, &vec![0; 2 * bytes], &mut vec![0.0; len]).is_err());
        } else {
            assert_eq!(decode(ty, &[], &mut []), Err(FormatError::CannotDecode(ty)));
        }
        if ty.can_encode() {
            assert_eq!(encode(ty, &[], &mut []), Ok(()));
            assert!(encode(ty, &vec![0.0; 2 * len], &mut vec![0; bytes]).is_err());
        } else {
            assert_eq!(encode(ty, &[], &mut []), Err(FormatError::CannotEncode(ty)));
        }
        if ty.can_encode() && len > 1 {
            let found = encode(ty, &vec![0.0; len - 1], &mut vec![0; bytes]).unwrap_err();
            assert_eq!(found, FormatError::PartialBlock { ty, elements: len - 1 });
        }
    }
}

#[test]
fn importances_must_be_weights_of_whole_rows() {
    let ty = TensorType::Q4_K;
    let weighted = |elements: usize, importance: &[f32]| {
        encode_weighted(ty, &vec![0.5; elements], importance, &mut vec![0; elements / 256 * 144])
    };
    let mut importance = vec![1.0; 512];
    assert_eq!(weighted(0, &[]), Ok(()));
    assert_eq!(weighted(0, &importance), Ok(()));
    assert_eq!(weighted(1024, &importance), Ok(()));
    assert_eq!(weighted(256, &[]), Err(FormatError::PartialRow { elements: 256, columns: 0 }));
    assert_eq!(weighted(768, &importance), Err(FormatError::PartialRow { elements: 768, columns: 512 }));
    assert_eq!(weighted(768, &importance[..384]), Err(FormatError::PartialBlock { ty, elements: 384 }));
    for value in [-1e-9, f32::NEG_INFINITY, f32::INFINITY] {
        importance[300] = value;
        assert_eq!(weighted(512, &importance), Err(FormatError::BadImportance { column: 300, value }));
    }
    importance[300] = f32::NAN;
    assert!(matches!(weighted(512, &importance), Err(FormatError::BadImportance { column: 300, .. })));
}

#[test]
fn values_beyond_a_type_are_refused_by_name() {
    let mut x = vec![0.0f32; 512];
    x[300] = 3e38;
    x[301] = -3e38;
    for ty in ENCODED {
        let block = 300 / ty.block_len();
        match (ty, encoded(ty, &x)) {
            (TensorType::F32 | TensorType::BF16, found) => assert!(found.is_ok()),
            (TensorType::F16, found) => {
                assert_eq!(found, Err(FormatError::ValueOverflow { ty, index: 300, value: 3e38 }));
            }
            (_, Err(FormatError::ScaleOverflow { ty: named, block: at, .. })) => {
                assert_eq!((named, at), (ty, block));
            }
            (_, other) => panic!("{ty}: {other:?}"),
        }
    }
    x[300] = f32::MAX;
    let found = encoded(TensorType::BF16, &x);
    assert_eq!(found, Err(FormatError::ValueOverflow { ty: TensorType::BF16, index: 300, value: f32::MAX }));
}

/// The measure and bound of llama.cpp's test-quantize-fns: root of the summed squares over the count.
#[test]
fn total_error_is_below_llama_cpps_bound() {
    let x: Vec<f32> = (0..4096).map(|i| 0.1 + 2.0 * (i as f32).cos()).collect();
    for ty in ENCODED {
        let squares = x.iter().zip(restored(ty, &x)).map(|(x, y)| f64::from(x - y).powi(2));
        let total = squares.sum::<f64>().sqrt() / 4096.0;
        let bound = match ty {
            TensorType::Q2_K => 0.0075,
            TensorType::Q3_K => 0.004,
            _ => 0.002,
        };
        assert!(total < bound, "{ty}: {total}");
    }
}
