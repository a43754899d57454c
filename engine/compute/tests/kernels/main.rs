//! Every kernel of every tier that this CPU has against the scalar tier, bit for bit, and the scalar tier against
//! plain arithmetic.

#![allow(clippy::unwrap_used)] // Helpers of tests may fail as tests do.

mod attention;
#[cfg(feature = "training")]
mod gradient;

use siskin_compute::arena::{Matrix, Split, Tile};
use siskin_compute::kernels::quantize::TILE;
use siskin_compute::kernels::{Activation, Activations, Isa, Kernels, Output, Pairs, Product, Q8Block, rope};
use siskin_compute::panel::Panels;
use siskin_compute::test_data::{
    Random, extreme_blocks, kernel_types, random_blocks, required_tiers, skip_tier,
};

fn scalar() -> Kernels {
    "scalar".parse::<Isa>().unwrap().kernels()
}

fn all() -> impl Iterator<Item = Kernels> {
    Isa::available().map(Isa::kernels)
}

fn others() -> impl Iterator<Item = Kernels> {
    all().filter(|k| k.name() != "scalar")
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
}

/// Rows of activations, some of them nasty.
fn activations(tokens: usize, k: usize, seed: u64) -> Vec<f32> {
    let mut random = Random(seed);
    let mut x = random.vector(tokens * k, 3.0);
    for (token, row) in x.chunks_mut(k).enumerate() {
        match token {
            1 => row.fill(0.0),
            2 => row.iter_mut().for_each(|x| *x *= 1e-39),
            3 => row.iter_mut().for_each(|x| *x *= 1e34),
            4 => row[k / 2] = f32::INFINITY,
            5 => row[k / 3] = f32::NAN,
            6 => row.iter_mut().enumerate().for_each(|(i, x)| *x = (i % 255) as f32 - 127.5),
            _ => {}
        }
    }
    x
}

fn quantized(kernels: Kernels, x: &[f32], k: usize) -> Vec<Q8Block> {
    let tokens = x.len() / k;
    let mut q = vec![Q8Block::zeros(0.0); tokens * k / 32];
    for (rows, tile) in x.chunks(TILE * k).zip(q.chunks_mut((TILE * k / 32).max(1))) {
        kernels.quantize(rows, k, k, tile);
    }
    q
}

/// `out` as the kernels make it from scratch.
fn multiply(kernels: Kernels, weights: &Panels, x: &[f32], output: Output) -> Vec<f32> {
    let (k, columns) = (weights.k(), weights.padded_rows());
    let tokens = x.len() / k;
    let q = if k % 32 == 0 { quantized(kernels, x, k) } else { Vec::new() };
    let mut out = vec![0.25; tokens * columns];
    let tiles = Matrix::new(&mut out, columns).columns(columns, 32);
    for i in 0..tiles.parts() {
        // SAFETY: each number once.
        let mut tile: Tile<'_> = unsafe { tiles.part(i) };
        let panels = weights.panels(tile.columns().start, tile.columns().end);
        let x = Activations { x, stride: k, q: &q, tokens };
        let mut scratch = vec![[0; 64]; Kernels::scratch(weights.ty(), 1, k)];
        kernels.matmul(weights.ty(), &Product { panels, k, x, output }, &mut scratch, &mut tile);
    }
    out
}

/// The other tests ask every tier that is here, so this one says which are not, and fails where one must be.
#[test]
fn the_tiers_that_must_be_here_are() {
    #[cfg(target_arch = "x86_64")]
    const TIERS: &[&str] = &["ssse3", "avx2", "avx-vnni", "avx512-vnni"];
    #[cfg(target_arch = "aarch64")]
    const TIERS: &[&str] = &["neon", "neon-dotprod", "neon-i8mm"];
    let here: Vec<_> = all().map(Kernels::name).collect();
    for tier in TIERS.iter().filter(|tier| !here.contains(tier)) {
        skip_tier(tier);
    }
    for tier in required_tiers() {
        assert!(here.contains(&tier.as_str()), "SISKIN_TIERS: {tier} is none of {here:?}");
    }
}

#[test]
fn quantizing_equals_scalar_and_its_definition() {
    let x = activations(11, 96, 1);
    // Token by token: how several stand together is between a tier's own kernels.
    let alone = |kernels| x.chunks(96).flat_map(|x| quantized(kernels, x, 96)).collect::<Vec<_>>();
    let q = alone(scalar());
    for kernels in others() {
        for (a, b) in q.iter().zip(&alone(kernels)) {
            let parts = |q: &Q8Block| (q.q, q.sums(), bits(&[q.scale]), bits(&q.weighted_sums()));
            assert_eq!(parts(a), parts(b), "{}", kernels.name());
        }
    }
    let block = &q[0];
    let amax = x[..32].iter().fold(0.0f32, |m, x| m.max(x.abs()));
    assert_eq!(block.scale, amax / 127.0);
    for (q, x) in block.q.as_flattened().iter().zip(&x) {
        assert_eq!(f32::from(*q), (x * (127.0 / amax)).round_ties_even());
    }
    let sum = |q: &[[i8; 4]]| q.as_flattened().iter().map(|&q| i32::from(q)).sum::<i32>();
    assert_eq!(block.sums(), [sum(&block.q), sum(&block.q[..4]), sum(&block.q[4..])]);
    assert_eq!(block.weighted_sums(), block.sums().map(|sum| block.scale * sum as f32));
}

#[test]
fn products_equal_scalar_for_every_format_and_batch() {
    for ty in kernel_types() {
        let k = 2 * ty.block_len().max(32);
        let weights = Panels::pack(ty, 104, k, &random_blocks(ty, 104 * k / ty.block_len(), 5)).unwrap();
        for tokens in [1, 2, 3, 5, 7, 8, 9, 16, 21] {
            let x = activations(tokens, k, 2);
            for output in [Output::Replace, Output::Add] {
                let expected = multiply(scalar(), &weights, &x, output);
                for kernels in others() {
                    let out = multiply(kernels, &weights, &x, output);
                    assert_eq!(bits(&out), bits(&expected), "{} {} {tokens}", ty.name(), kernels.name());
                }
            }
        }
    }
}

#[test]
fn products_with_extreme_weights_equal_scalar() {
    for ty in kernel_types() {
        let k = 2 * ty.block_len().max(32);
        let blocks = extreme_blocks(ty, 64 * k / ty.block_len(), 9);
        let weights = Panels::pack(ty, 64, k, &blocks).unwrap();
        for tokens in [1, 8] {
            let x = activations(tokens, k, 2);
            let expected = multiply(scalar(), &weights, &x, Output::Replace);
            for kernels in others() {
                let out = multiply(kernels, &weights, &x, Output::Replace);
                assert_eq!(bits(&out), bits(&expected), "{} {} {tokens}", ty.name(), kernels.name());
            }
        }
    }
}

/// With activations that tell apart sums in another order, products rounded once more or less, and zeros of either sign,
/// in different numbers of blocks.
#[test]
fn products_with_one_token_equal_scalar_to_the_last_bit() {
    for ty in kernel_types() {
        for length in [1, 2, 5] {
            let k = length * ty.block_len().max(32);
            let blocks = 48 * k / ty.block_len();
            let mut random = Random(7);
            let mut steep = random.vector(k, 3.0);
            for x in steep.chunks_mut(32) {
                let factor = 10f32.powi((random.bits() % 13) as i32 - 6);
                x.iter_mut().for_each(|x| *x *= factor);
            }
            let tokens = [1e-39, 1e-37, 1e34].map(|scale| random.vector(k, scale));
            for bytes in [random_blocks(ty, blocks, 5), extreme_blocks(ty, blocks, 9)] {
                let weights = Panels::pack(ty, 48, k, &bytes).unwrap();
                for x in tokens.iter().chain([&steep]) {
                    let expected = multiply(scalar(), &weights, x, Output::Replace);
                    for kernels in others() {
                        let out = multiply(kernels, &weights, x, Output::Replace);
                        assert_eq!(bits(&out), bits(&expected), "{} {} {k}", ty.name(), kernels.name());
                    }
                }
            }
        }
    }
}

#[test]
fn a_token_s_product_does_not_depend_on_its_batch() {
    for ty in kernel_types() {
        let k = ty.block_len().max(32);
        let weights = Panels::pack(ty, 16, k, &random_blocks(ty, 16 * k / ty.block_len(), 6)).unwrap();
        let x = activations(19, k, 3);
        for kernels in all() {
            let together = multiply(kernels, &weights, &x, Output::Replace);
            for (x, together) in x.chunks(k).zip(together.chunks(16)) {
                let alone = multiply(kernels, &weights, x, Output::Replace);
                assert_eq!(bits(&alone), bits(together), "{} {}", ty.name(), kernels.name());
            }
        }
    }
}

#[test]
fn scalar_products_are_those_of_the_decoded_weights() {
    for ty in kernel_types() {
        let k = 2 * ty.block_len().max(32);
        let bytes = random_blocks(ty, 16 * k / ty.block_len(), 8);
        let mut decoded = vec![0.0; 16 * k];
        siskin_quant::decode(ty, &bytes, &mut decoded).unwrap();
        let weights = Panels::pack(ty, 16, k, &bytes).unwrap();
        let x = Random(4).vector(k, 2.0);
        let out = multiply(scalar(), &weights, &x, Output::Replace);
        // Quantized formats see the activations as the blocks hold them.
        let quantized = quantized(scalar(), &x, k);
        let float = ty.block_len() == 1;
        for (row, out) in decoded.chunks(k).zip(&out) {
            let x = |i: usize| {
                let block = &quantized[i / 32];
                if float {
                    f64::from(x[i])
                } else {
                    f64::from(block.scale) * f64::from(block.q.as_flattened()[i % 32])
                }
            };
            let exact: f64 = row.iter().enumerate().map(|(i, w)| f64::from(*w) * x(i)).sum();
            let size: f64 = row.iter().enumerate().map(|(i, w)| (f64::from(*w) * x(i)).abs()).sum();
            assert!((f64::from(*out) - exact).abs() <= 1e-5 * size, "{} {out} {exact}", ty.name());
        }
    }
}

#[test]
fn a_row_of_odd_length_works_with_float_weights() {
    for ty in kernel_types().filter(|ty| ty.block_len() == 1) {
        let weights = Panels::pack(ty, 5, 37, &random_blocks(ty, 5 * 37, 8)).unwrap();
        let x = Random(4).vector(3 * 37, 2.0);
        let expected = multiply(scalar(), &weights, &x, Output::Replace);
        for kernels in others() {
            assert_eq!(bits(&multiply(kernels, &weights, &x, Output::Replace)), bits(&expected));
        }
        assert!(expected[5..16].iter().all(|&x| x == 0.0), "rows of the padding give zero");
    }
}

#[test]
fn norms_equal_scalar_and_their_definition() {
    for (n, eps) in [(16, 1e-5), (100, 1e-6), (2048, 1e-5)] {
        let padded = usize::next_multiple_of(n, 16);
        for x in activations(7, padded, 12).chunks_mut(padded) {
            x[n..].fill(0.0);
            let mut weight = Random(2).vector(padded, 1.0);
            weight[n..].fill(0.0);
            let mut expected = vec![0.0; padded];
            scalar().rms_norm(x, &weight, n, eps, &mut expected);
            for kernels in others() {
                let mut out = vec![0.0; padded];
                kernels.rms_norm(x, &weight, n, eps, &mut out);
                assert_eq!(bits(&out), bits(&expected), "{}", kernels.name());
            }
            let mean = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n as f64;
            if mean.is_finite() && mean < 1e30 {
                for ((out, x), w) in expected.iter().zip(&*x).zip(&weight) {
                    let exact = f64::from(*x) / (mean + f64::from(eps)).sqrt() * f64::from(*w);
                    assert!((f64::from(*out) - exact).abs() <= 1e-5 * exact.abs() + 1e-30);
                }
            }
        }
    }
}

#[test]
fn norms_in_place_are_norms_of_each_run() {
    let eps = 1e-6;
    for (n, runs) in [(16, 3), (24, 5), (100, 2), (128, 4)] {
        let padded = usize::next_multiple_of(n, 16);
        let x = Random(3).vector(n * runs, 3.0);
        let mut weight = Random(4).vector(padded, 1.0);
        weight[n..].fill(0.0);
        for kernels in others().chain([scalar()]) {
            let mut out = x.clone();
            kernels.rms_norm_in_place(&mut out, &weight, n, eps);
            for (x, out) in x.chunks(n).zip(out.chunks(n)) {
                let mut row = vec![0.0; padded];
                row[..n].copy_from_slice(x);
                let mut expected = vec![0.0; padded];
                scalar().rms_norm(&row, &weight, n, eps, &mut expected);
                assert_eq!(bits(out), bits(&expected[..n]), "{}", kernels.name());
            }
        }
    }
}

#[test]
fn sums_with_a_factor_are_rounded_once() {
    let (x, y) = (activations(1, 256, 5), activations(1, 256, 6));
    for kernels in others().chain([scalar()]) {
        let mut out = x.clone();
        kernels.add_scaled(&mut out, &y, 0.22);
        let expected: Vec<f32> = x.iter().zip(&y).map(|(x, y)| y.mul_add(0.22, *x)).collect();
        assert_eq!(bits(&out), bits(&expected), "{}", kernels.name());
    }
}

#[test]
fn rotations_equal_scalar_and_their_definition() {
    for pairs in [Pairs::Neighbours, Pairs::Halves] {
        for (dim, rotated) in [(64, 64), (80, 80), (24, 24), (6, 6), (64, 32), (96, 72)] {
            let frequencies: Vec<f32> =
                (0..rotated / 2).map(|i| 1e4f32.powf(-2.0 * i as f32 / rotated as f32)).collect();
            let mut turns = vec![0.0; 2 * rotated];
            rope::fill_turns(&mut turns, pairs, 123, &frequencies, 1.5);
            let head = Random(6).vector(dim, 2.0);
            let mut expected = head.clone();
            scalar().rotate(pairs, &mut expected, &turns);
            for kernels in others() {
                let mut out = head.clone();
                kernels.rotate(pairs, &mut out, &turns);
                assert_eq!(bits(&out), bits(&expected), "{}", kernels.name());
            }
            for (i, frequency) in frequencies.iter().enumerate() {
                let (first, second) = match pairs {
                    Pairs::Neighbours => (2 * i, 2 * i + 1),
                    Pairs::Halves => (i, rotated / 2 + i),
                };
                let (sin, cos) = f64::from(123.0 * frequency).sin_cos();
                let (a, b) = (1.5 * f64::from(head[first]), 1.5 * f64::from(head[second]));
                assert!((f64::from(expected[first]) - (a * cos - b * sin)).abs() < 1e-6);
                assert!((f64::from(expected[second]) - (a * sin + b * cos)).abs() < 1e-6);
            }
            assert_eq!(expected[rotated..], head[rotated..]);
            rope::reverse(&mut turns);
            scalar().rotate(pairs, &mut expected, &turns);
            for (back, x) in expected[..rotated].iter().zip(&head) {
                assert!((back / 2.25 - x).abs() < 1e-6, "turned back");
            }
        }
    }
}

#[test]
fn gates_equal_scalar_and_their_definition() {
    let exact = |activation, x: f64| match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Gelu => {
            // (1 + tanh u) / 2 where the gate is open, the same without cancellation where it is shut.
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            x / (1.0 + (-2.0 * u).exp())
        }
        Activation::ReluSquared => x.max(0.0).powi(2),
    };
    for activation in [Activation::Silu, Activation::Gelu, Activation::ReluSquared] {
        let mut x = Random(13).vector(4096, 100.0);
        x[2048..].iter_mut().for_each(|x| *x /= 30.0);
        x[..6].copy_from_slice(&[0.0, -0.0, 1e-40, f32::INFINITY, f32::NEG_INFINITY, f32::NAN]);
        let up = vec![1.0; x.len()];
        let mut expected = x.clone();
        scalar().gated(activation, &mut expected, &up);
        for kernels in others() {
            let mut out = x.clone();
            kernels.gated(activation, &mut out, &up);
            assert_eq!(bits(&out), bits(&expected), "{}", kernels.name());
        }
        for (x, out) in x.iter().zip(&expected).skip(6) {
            let exact = exact(activation, f64::from(*x));
            let error = (f64::from(*out) - exact).abs();
            // e^u takes on the rounding of u, times u.
            let tolerance = if activation == Activation::Gelu { 2e-5 } else { 1e-6 };
            assert!(error <= tolerance * exact.abs() + 1e-36, "{activation:?}({x}) = {out}, not {exact}");
        }
    }
}

#[test]
fn caps_equal_scalar_and_their_definition() {
    let mut x = Random(14).vector(4096, 300.0);
    x[2048..].iter_mut().for_each(|x| *x /= 100.0);
    for limit in [30.0, 50.0] {
        let mut expected = x.clone();
        scalar().cap(&mut expected, limit);
        for kernels in others() {
            let mut out = x.clone();
            kernels.cap(&mut out, limit);
            assert_eq!(bits(&out), bits(&expected), "{}", kernels.name());
        }
        for (x, out) in x.iter().zip(&expected) {
            let exact = (f64::from(*x) / f64::from(limit)).tanh() * f64::from(limit);
            assert!((f64::from(*out) - exact).abs() <= 1e-6 * f64::from(limit), "{x}: {out}, not {exact}");
        }
    }
}
