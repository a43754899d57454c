//! Decoding and encoding of every block format. Bytes are those of the `f32` side, so formats compare by weights.
#![forbid(unsafe_code)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use siskin_benches::weights;
use siskin_quant::{FormatError, TensorType, decode, encode};

/// Weights in a slice: few enough to stay in the cache, where what is measured is not the memory.
const LEN: usize = 64 * 256;

fn main() -> Result<(), FormatError> {
    let mut criterion = siskin_benches::criterion();
    bench_decode(&mut criterion)?;
    bench_encode(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}

fn bench_decode(criterion: &mut Criterion) -> Result<(), FormatError> {
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Bytes(4 * LEN as u64));
    let mut values = vec![0.0; LEN];
    for &ty in TensorType::ALL.iter().filter(|ty| ty.can_decode()) {
        let mut blocks = vec![0x2a; blocks_len(ty)];
        if ty.can_encode() {
            encode(ty, &weights(LEN), &mut blocks)?;
        }
        decode(ty, &blocks, &mut values)?;
        group.bench_function(BenchmarkId::from_parameter(ty), |bencher| {
            bencher.iter(|| decode(ty, black_box(&blocks), black_box(&mut values)));
        });
    }
    group.finish();
    Ok(())
}

fn bench_encode(criterion: &mut Criterion) -> Result<(), FormatError> {
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Bytes(4 * LEN as u64));
    let values = weights(LEN);
    for &ty in TensorType::ALL.iter().filter(|ty| ty.can_encode()) {
        let mut blocks = vec![0; blocks_len(ty)];
        encode(ty, &values, &mut blocks)?;
        group.bench_function(BenchmarkId::from_parameter(ty), |bencher| {
            bencher.iter(|| encode(ty, black_box(&values), black_box(&mut blocks)));
        });
    }
    group.finish();
    Ok(())
}

fn blocks_len(ty: TensorType) -> usize {
    LEN / ty.block_len() * ty.block_bytes()
}
