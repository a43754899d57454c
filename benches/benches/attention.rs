//! One layer's attention in Llama-3.2-1B's shape, on one thread: batches of a prompt and single tokens, at several
//! lengths of the context, with each type of cache.
#![forbid(unsafe_code)]

use criterion::{BenchmarkId, Criterion, Throughput};
use siskin::measure::{Attention, AttentionShape, MeasureError};
use siskin::{CacheType, Isa};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut criterion = siskin_benches::criterion();
    let isa = Isa::choose()?;
    for (name, tokens) in [("attention prefill of 64", 64), ("attention decode", 1)] {
        for cache in [CacheType::F32, CacheType::F16, CacheType::Q8_0] {
            for positions in [512, 2048, 8192] {
                bench(&mut criterion, isa, name, cache, positions, tokens)?;
            }
        }
    }
    criterion.final_summary();
    Ok(())
}

fn bench(
    criterion: &mut Criterion,
    isa: Isa,
    name: &str,
    cache: CacheType,
    positions: usize,
    tokens: usize,
) -> Result<(), MeasureError> {
    let shape =
        AttentionShape { cache: cache.into(), heads: 32, kv_heads: 8, head_dim: 64, positions, tokens };
    let mut attention = Attention::new(isa, 1, shape)?;
    let mut group = criterion.benchmark_group(name);
    // Elements are multiply-adds with keys and values.
    group.throughput(Throughput::Elements(attention.multiply_adds()));
    group.bench_function(BenchmarkId::new(format!("{cache:?}"), positions), |bencher| {
        bencher.iter(|| attention.run()[0]);
    });
    group.finish();
    Ok(())
}
