//! The matrix product on one thread: every format on every instruction set, for one token (GEMV, as in decode) and
//! for 64 (GEMM, as in prefill). Elements are multiply-adds, bytes are those of the weights.
//!
//! `cargo bench -p siskin-benches --bench kernels -- 'gemm.*Q4_0'` runs some.
#![forbid(unsafe_code)]

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use siskin::Isa;
use siskin::measure::{Matmul, MeasureError};
use siskin_benches::{blocks, measuring, weights};
use siskin_quant::TensorType;

/// More weights than any cache holds, and so what decode has to wait for.
const BEYOND_CACHES: usize = 64 << 20;
const GEMM_TOKENS: usize = 64;

/// A matrix of `rows` rows of `k` weights.
#[derive(Clone, Copy)]
struct Shape {
    rows: usize,
    k: usize,
}

fn main() -> Result<(), MeasureError> {
    let mut criterion = siskin_benches::criterion_of_many();
    // A width and a feed-forward length that many models have.
    let (square, long, wide) = match measuring() {
        true => ((2048, 2048), (2048, 8192), (8192, 2048)),
        false => ((64, 512), (32, 1024), (128, 512)),
    };
    let shapes = [square, long, wide].map(|(rows, k)| Shape { rows, k });
    bench_quantize(&mut criterion)?;
    bench(&mut criterion, "gemv", &shapes, 1, 0)?;
    bench(&mut criterion, "gemv from memory", &shapes[..1], 1, if measuring() { BEYOND_CACHES } else { 0 })?;
    bench(&mut criterion, "gemm", &shapes, GEMM_TOKENS, 0)?;
    criterion.final_summary();
    Ok(())
}

/// Products of `tokens` tokens with one matrix after another, of which there are enough to fill `bytes`, one at least.
fn bench(
    criterion: &mut Criterion,
    name: &str,
    shapes: &[Shape],
    tokens: usize,
    bytes: usize,
) -> Result<(), MeasureError> {
    let mut group = criterion.benchmark_group(name);
    for isa in Isa::available() {
        // The definition, which nobody waits for.
        let shapes = if isa.name() == "scalar" { &shapes[..1] } else { shapes };
        for &ty in TensorType::ALL {
            match matrix(isa, ty, Shape { rows: 16, k: 256 }, 1) {
                Ok(_) => {}
                Err(MeasureError::Type { .. }) => continue,
                Err(error) => return Err(error),
            }
            for &shape in shapes {
                bench_one(&mut group, isa, ty, shape, tokens, bytes)?;
            }
        }
    }
    group.finish();
    Ok(())
}

fn bench_one(
    group: &mut BenchmarkGroup<'_, WallTime>,
    isa: Isa,
    ty: TensorType,
    shape: Shape,
    tokens: usize,
    bytes: usize,
) -> Result<(), MeasureError> {
    let Shape { rows, k } = shape;
    let matrix_bytes = rows * (k / ty.block_len()) * ty.block_bytes();
    group.throughput(Throughput::ElementsAndBytes {
        elements: (rows * k * tokens) as u64,
        bytes: matrix_bytes as u64,
    });
    // Made once it is known that the command line does not leave this one out.
    let mut matrices = None;
    let mut failure = None;
    let id = BenchmarkId::new(format!("{isa}/{ty}"), format!("{rows}x{k}"));
    group.bench_function(id, |bencher| {
        let matrices = matrices.get_or_insert_with(|| {
            let count = bytes.div_ceil(matrix_bytes).max(1);
            let made: Result<Vec<_>, _> = (0..count).map(|_| matrix(isa, ty, shape, tokens)).collect();
            made.unwrap_or_else(|error| {
                failure = Some(error);
                Vec::new()
            })
        });
        let mut next = 0;
        bencher.iter(|| {
            if let Some(matmul) = matrices.get_mut(next) {
                black_box(matmul.run());
            }
            next = if next + 1 < matrices.len() { next + 1 } else { 0 };
        });
    });
    failure.map_or(Ok(()), Err)
}

/// Weights from -1 to 1, and tokens' activations, quantized.
fn matrix(isa: Isa, ty: TensorType, shape: Shape, tokens: usize) -> Result<Matmul, MeasureError> {
    let Shape { rows, k } = shape;
    // Quantizing takes longest: all panels are alike.
    let panel = blocks(ty, 16 * k);
    let bytes = panel.repeat(rows / 16);
    let mut matmul = Matmul::new(isa, ty, rows, k, &bytes, tokens, &weights(k + 1))?;
    matmul.quantize();
    Ok(matmul)
}

/// Quantizing the activations of a batch, once for all the matrices that they meet. Elements are activations.
fn bench_quantize(criterion: &mut Criterion) -> Result<(), MeasureError> {
    let k = if measuring() { 2048 } else { 512 };
    let mut group = criterion.benchmark_group("quantize");
    group.throughput(Throughput::Elements((k * GEMM_TOKENS) as u64));
    for isa in Isa::available() {
        let mut matmul = matrix(isa, TensorType::Q8_0, Shape { rows: 16, k }, GEMM_TOKENS)?;
        group.bench_function(BenchmarkId::from_parameter(isa), |bencher| bencher.iter(|| matmul.quantize()));
    }
    group.finish();
    Ok(())
}
