//! Gradients of every tier against the scalar tier, bit for bit, and the scalar tier's against differences of what they are the
//! gradients of, in f64.

use siskin_compute::arena::Matrix;
use siskin_compute::kernels::attention::Scoring;
use siskin_compute::kernels::gradient::{AdamW, Factors, Loss, Probabilities, TILE, Terms, across};
use siskin_compute::kernels::{Activation, Kernels};
use siskin_compute::panel::Panels;
use siskin_compute::test_data::{Random, extreme_blocks, kernel_types, random_blocks};

use super::{all, bits, others, scalar};

/// The derivative of a function by each number.
fn differences(x: &[f32], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let wide: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
    let step = 1e-5;
    let at = |i: usize, by: f64| {
        let mut moved = wide.clone();
        moved[i] += by;
        f(&moved)
    };
    (0..x.len()).map(|i| (at(i, step) - at(i, -step)) / (2.0 * step)).collect()
}

fn assert_near(found: &[f32], exact: &[f64], tolerance: f64) {
    assert_eq!(found.len(), exact.len());
    let size = exact.iter().fold(1e-3, |size: f64, x| size.max(x.abs()));
    for (i, (found, exact)) in found.iter().zip(exact).enumerate() {
        assert!((f64::from(*found) - exact).abs() <= tolerance * size, "{i}: {found}, not {exact}");
    }
}

#[test]
fn sums_of_products_equal_scalar_and_their_definition() {
    for (rows, columns, count) in [(1, 16, 1), (3, 48, 7), (13, 80, 33), (16, 16, 100), (37, 48, 9)] {
        let mut random = Random(3);
        let (by_rows, by_columns) =
            (random.vector(rows * (count + 3), 2.0), random.vector(count * (rows + 5), 2.0));
        let terms = random.vector(count * (columns + 16), 2.0);
        let before = random.vector(rows * columns, 1.0);
        for is_rows in [true, false] {
            let factors = match is_rows {
                true => Factors::Rows { x: &by_rows, stride: count + 3 },
                false => Factors::Columns { x: &by_columns, stride: rows + 5 },
            };
            let factor = |row: usize, term: usize| match is_rows {
                true => by_rows[row * (count + 3) + term],
                false => by_columns[term * (rows + 5) + row],
            };
            let mut expected = before.clone();
            for (row, out) in expected.chunks_mut(columns).enumerate() {
                for term in 0..count {
                    for (column, out) in out.iter_mut().enumerate() {
                        *out = factor(row, term).mul_add(terms[term * (columns + 16) + column], *out);
                    }
                }
            }
            let mut tiles = vec![0.5; rows.div_ceil(TILE) * TILE * count];
            for (rows, tile) in by_rows.chunks(TILE * (count + 3)).zip(tiles.chunks_mut(TILE * count)) {
                across(rows, count + 3, 0..count, tile);
            }
            for kernels in all() {
                if is_rows {
                    let mut out = before.clone();
                    let mut tile = Matrix::new(&mut out, columns).tile(0..columns);
                    let terms = Terms { x: &terms, stride: columns + 16, count };
                    kernels.accumulate(Factors::Tiles { x: &tiles, stride: TILE * count }, terms, &mut tile);
                    assert_eq!(bits(&out), bits(&expected), "{} {rows} {columns} {count}", kernels.name());
                }
                let mut out = before.clone();
                let mut tile = Matrix::new(&mut out, columns).tile(0..columns);
                let terms = Terms { x: &terms, stride: columns + 16, count };
                kernels.accumulate(factors, terms, &mut tile);
                assert_eq!(bits(&out), bits(&expected), "{} {rows} {columns} {count}", kernels.name());
                // Cut between two terms.
                let mut out = before.clone();
                let cut = count / 2;
                let mut tile = Matrix::new(&mut out, columns).tile(0..columns);
                let (first, second) = match is_rows {
                    true => (factors, Factors::Rows { x: &by_rows[cut..], stride: count + 3 }),
                    false => {
                        (factors, Factors::Columns { x: &by_columns[cut * (rows + 5)..], stride: rows + 5 })
                    }
                };
                kernels.accumulate(first, Terms { count: cut, ..terms }, &mut tile);
                let x = &terms.x[cut * (columns + 16)..];
                kernels.accumulate(second, Terms { x, count: count - cut, ..terms }, &mut tile);
                assert_eq!(bits(&out), bits(&expected), "{} {rows} {columns} {count}, cut", kernels.name());
            }
        }
    }
}

#[test]
fn decoded_columns_equal_scalar_and_the_tensor_s() {
    let decode = |kernels: Kernels, panels: &Panels, columns: std::ops::Range<usize>| {
        let mut out = vec![0.5; panels.padded_rows() * columns.len()];
        kernels.decode(panels.ty(), panels.panels(0, panels.padded_rows()), panels.k(), columns, &mut out);
        out
    };
    for ty in kernel_types() {
        let k = 2 * ty.block_len().max(32);
        let (random, extreme) =
            (random_blocks(ty, 21 * k / ty.block_len(), 5), extreme_blocks(ty, 21 * k / ty.block_len(), 9));
        for (bytes, is_exact) in [(random, true), (extreme, false)] {
            let panels = Panels::pack(ty, 21, k, &bytes).unwrap();
            for columns in [0..k, 32..64, k - 32..k + 32] {
                let expected = decode(scalar(), &panels, columns.clone());
                for kernels in others() {
                    let out = decode(kernels, &panels, columns.clone());
                    assert_eq!(bits(&out), bits(&expected), "{} {}", ty.name(), kernels.name());
                }
                let mut row = vec![0.0; k];
                for (i, found) in expected.chunks(columns.len()).enumerate().filter(|_| is_exact) {
                    panels.decode_row(i, &mut row);
                    row.resize(columns.end.max(k), 0.0);
                    let size = row.iter().fold(0.0f32, |size, x| size.max(x.abs()));
                    for (found, exact) in found.iter().zip(&row[columns.clone()]) {
                        assert!(
                            (found - exact).abs() <= 3e-7 * size,
                            "{} row {i}: {found}, not {exact}",
                            ty.name()
                        );
                    }
                    row.truncate(k);
                }
            }
        }
    }
}

#[test]
fn gradients_of_norms_equal_scalar_and_differences() {
    for (n, runs) in [(16, 1), (24, 3), (100, 2), (64, 2)] {
        let mut random = Random(8);
        let padded = usize::next_multiple_of(n, 16);
        let (x, dy, before) =
            (random.vector(n * runs, 2.0), random.vector(n * runs, 1.0), random.vector(n * runs, 1.0));
        let mut weight = random.vector(padded, 1.5);
        weight[n..].fill(0.0);
        let eps = 1e-5;
        let mut expected = before.clone();
        scalar().rms_norm_gradient(&x, &weight, n, eps, &dy, &mut expected);
        for kernels in others() {
            let mut dx = before.clone();
            kernels.rms_norm_gradient(&x, &weight, n, eps, &dy, &mut dx);
            assert_eq!(bits(&dx), bits(&expected), "{}", kernels.name());
        }
        let exact = differences(&x, |x| {
            let run = |(x, dy): (&[f64], &[f32])| {
                let mean = x.iter().map(|x| x * x).sum::<f64>() / n as f64;
                let scale = 1.0 / (mean + f64::from(eps)).sqrt();
                x.iter()
                    .zip(dy)
                    .zip(&weight)
                    .map(|((x, dy), w)| x * scale * f64::from(*w) * f64::from(*dy))
                    .sum::<f64>()
            };
            x.chunks(n).zip(dy.chunks(n)).map(run).sum()
        });
        let added: Vec<f64> = exact.iter().zip(&before).map(|(x, before)| x + f64::from(*before)).collect();
        assert_near(&expected, &added, 2e-6);
    }
}

#[test]
fn gradients_of_gates_equal_scalar_and_differences() {
    let active = |activation, x: f64| match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Gelu => {
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            x / (1.0 + (-2.0 * u).exp())
        }
        Activation::ReluSquared => x.max(0.0).powi(2),
    };
    for activation in [Activation::Silu, Activation::Gelu, Activation::ReluSquared] {
        let mut random = Random(5);
        let (gate, up, dy) = (random.vector(64, 6.0), random.vector(64, 2.0), random.vector(64, 1.0));
        let (mut expected_gate, mut expected_up) = (gate.clone(), up.clone());
        scalar().gated_gradient(activation, &mut expected_gate, &mut expected_up, &dy);
        for kernels in others() {
            let (mut gate, mut up) = (gate.clone(), up.clone());
            kernels.gated_gradient(activation, &mut gate, &mut up, &dy);
            assert_eq!(bits(&gate), bits(&expected_gate), "{}", kernels.name());
            assert_eq!(bits(&up), bits(&expected_up), "{}", kernels.name());
        }
        let sum = |gate: &[f64], up: &[f64]| -> f64 {
            let products = gate.iter().zip(up).zip(&dy);
            products.map(|((gate, up), dy)| active(activation, *gate) * up * f64::from(*dy)).sum()
        };
        let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        assert_near(&expected_gate, &differences(&gate, |gate| sum(gate, &wide(&up))), 5e-6);
        assert_near(&expected_up, &differences(&up, |up| sum(&wide(&gate), up)), 5e-6);
    }
    // And where the gate is shut or wide open.
    let (mut gate, mut up) = ([-1e3, 1e3].repeat(8), vec![1.0; 16]);
    scalar().gated_gradient(Activation::Gelu, &mut gate, &mut up, &[1.0; 16]);
    assert!(gate[0].abs() < 1e-20 && up[0].abs() < 1e-20, "shut: {} {}", gate[0], up[0]);
    assert_eq!((gate[1], up[1]), (1.0, 1e3), "open");
}

#[test]
fn gradients_of_caps_equal_scalar_and_differences() {
    let mut random = Random(6);
    let (x, dy) = (random.vector(64, 80.0), random.vector(64, 1.0));
    let mut capped = x.clone();
    scalar().cap(&mut capped, 30.0);
    let mut expected = dy.clone();
    scalar().cap_gradient(&capped, 30.0, &mut expected);
    for kernels in others() {
        let mut out = dy.clone();
        kernels.cap_gradient(&capped, 30.0, &mut out);
        assert_eq!(bits(&out), bits(&expected), "{}", kernels.name());
    }
    let exact =
        differences(&x, |x| x.iter().zip(&dy).map(|(x, dy)| (x / 30.0).tanh() * 30.0 * f64::from(*dy)).sum());
    assert_near(&expected, &exact, 1e-5);
}

#[test]
fn cross_entropy_equals_scalar_and_differences() {
    for (count, target, smoothing, cap) in [
        (5, 4, 0.0, None),
        (16, 0, 0.0, None),
        (77, 31, 0.1, None),
        (4096, 9, 0.05, None),
        (77, 3, 0.1, Some(10.0)),
    ] {
        let before = Random(9).vector(count, 8.0);
        let mut logits = before.clone();
        logits.resize(usize::next_multiple_of(count, 16), 0.0);
        cap.iter().for_each(|limit| scalar().cap(&mut logits, *limit));
        logits.truncate(count);
        let weight = -0.75;
        let of = Loss { weight, smoothing, cap };
        let mut expected = logits.clone();
        let loss = scalar().cross_entropy(&mut expected, target, &of);
        for kernels in others() {
            let mut out = logits.clone();
            assert_eq!(kernels.cross_entropy(&mut out, target, &of).to_bits(), loss.to_bits());
            assert_eq!(bits(&out), bits(&expected), "{}", kernels.name());
        }
        let exact = |x: &[f64]| {
            let capped = |x: &f64| cap.map_or(*x, |cap| (x / f64::from(cap)).tanh() * f64::from(cap));
            let x: Vec<f64> = x.iter().map(capped).collect();
            let high = x.iter().copied().fold(f64::MIN, f64::max);
            let log_sum = high + x.iter().map(|x| (x - high).exp()).sum::<f64>().ln();
            let smoothing = f64::from(smoothing);
            let mean = x.iter().sum::<f64>() / count as f64;
            (1.0 - smoothing) * (log_sum - x[target]) + smoothing * (log_sum - mean)
        };
        let wide: Vec<f64> = before.iter().map(|&x| f64::from(x)).collect();
        assert!((loss - exact(&wide)).abs() < 1e-5, "{loss}");
        let few = count.min(100);
        let gradient = differences(&before[..few], |x| {
            let mut all = wide.clone();
            all[..few].copy_from_slice(x);
            exact(&all) * f64::from(weight)
        });
        assert_near(&expected[..few], &gradient, 1e-5);
        if smoothing == 0.0 {
            assert!((scalar().log_probability(&logits, target) + loss).abs() < 1e-9);
        }
    }
}

#[test]
fn gradients_of_attention_s_probabilities_equal_scalar_and_differences() {
    for (cap, seen) in [(None, 0..32), (None, 3..29), (Some(5.0), 2..20)] {
        let mut random = Random(10);
        let (dots, weights) = (random.vector(32, 9.0), random.vector(32, 1.0));
        let scoring = Scoring { scale: 0.5, cap, window: usize::MAX };
        let run = |kernels: Kernels| {
            let (mut p, mut slopes, mut dp) = (dots.clone(), vec![0.0; 32], weights.clone());
            kernels.probabilities(Probabilities { scores: &mut p, seen: seen.clone(), scoring }, &mut slopes);
            kernels.probabilities_gradient(&p, &slopes, &mut dp);
            (p, dp)
        };
        let expected = run(scalar());
        for kernels in others() {
            let (p, dp) = run(kernels);
            assert_eq!((bits(&p), bits(&dp)), (bits(&expected.0), bits(&expected.1)), "{}", kernels.name());
        }
        let exact = |dots: &[f64]| -> Vec<f64> {
            let score = |x: f64| match cap {
                Some(cap) => (x * 0.5 / f64::from(cap)).tanh() * f64::from(cap),
                None => x * 0.5,
            };
            let weights: Vec<f64> = dots.iter().map(|&x| score(x).exp()).collect();
            let total: f64 = weights[seen.clone()].iter().sum();
            weights.iter().enumerate().map(|(i, w)| if seen.contains(&i) { w / total } else { 0.0 }).collect()
        };
        let wide: Vec<f64> = dots.iter().map(|&x| f64::from(x)).collect();
        assert_near(&expected.0, &exact(&wide), 1e-6);
        let sum = |x: &[f64]| exact(x).iter().zip(&weights).map(|(p, w)| p * f64::from(*w)).sum();
        assert_near(&expected.1, &differences(&dots, sum), 1e-5);
    }
}

#[test]
fn adamw_is_the_same_everywhere_and_as_it_is_defined() {
    let mut random = Random(12);
    let start = random.vector(40, 1.0);
    let options = AdamW { rate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: 0.1, step: 1 };
    let gradients: Vec<Vec<f32>> = (0..5).map(|_| random.vector(40, 3.0)).collect();
    let run = |kernels: Kernels| {
        let (mut weights, mut means, mut squares) = (start.clone(), vec![0.0; 40], vec![0.0; 40]);
        for (step, gradients) in (1..).zip(&gradients) {
            let options = AdamW { step, ..options };
            kernels.adamw(&options, 0.5, &mut weights, gradients, &mut means, &mut squares);
        }
        weights
    };
    let expected = run(scalar());
    for kernels in others() {
        assert_eq!(bits(&run(kernels)), bits(&expected), "{}", kernels.name());
    }
    for (i, found) in expected.iter().enumerate() {
        let (mut weight, mut mean, mut square) = (f64::from(start[i]), 0.0, 0.0);
        for (step, gradients) in (1..).zip(&gradients) {
            let gradient = f64::from(gradients[i]) * 0.5;
            mean = 0.9 * mean + 0.1 * gradient;
            square = 0.999 * square + 0.001 * gradient * gradient;
            weight *= 1.0 - 0.01 * 0.1;
            let (mean, square): (f64, f64) =
                (mean / (1.0 - 0.9f64.powi(step)), square / (1.0 - 0.999f64.powi(step)));
            weight -= 0.01 * mean / (square.sqrt() + 1e-8);
        }
        assert!((f64::from(*found) - weight).abs() < 1e-6, "{found}, not {weight}");
    }
}
