//! What the benches share: settings and inputs.
//!
//! `cargo bench -p siskin-benches` runs them all, `cargo bench -p siskin-benches --bench quant -- encode` some.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

use criterion::Criterion;
use siskin_quant::{TensorType, encode};

/// Settings under which a bench takes about four seconds, with the command line's on top.
pub fn criterion() -> Criterion {
    settings(Duration::from_millis(500), Duration::from_secs(3), 20)
}

/// Settings for hundreds of benches, each of which takes about a second, with the command line's on top.
pub fn criterion_of_many() -> Criterion {
    settings(Duration::from_millis(200), Duration::from_secs(1), 10)
}

fn settings(warm_up: Duration, measurement: Duration, samples: usize) -> Criterion {
    Criterion::default()
        .warm_up_time(warm_up)
        .measurement_time(measurement)
        .sample_size(samples)
        .configure_from_args()
}

/// Whether times are taken: `cargo test` runs everything once, which small inputs are enough for.
pub fn measuring() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// Numbers in -1..1, the same in every run, with a bell-shaped distribution as weights have.
pub fn weights(len: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut uniform = || {
        // Knuth's MMIX generator; its high bits are the good ones.
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| (uniform() + uniform() + uniform() + uniform()) / 4.0).collect()
}

/// `len` weights in the blocks of a format, quantized where there is a quantizer: else of random bytes, so that codebooks
/// are read all over, of which no two make an f16 as large as 2.
pub fn blocks(ty: TensorType, len: usize) -> Vec<u8> {
    let bytes = weights(len / ty.block_len() * ty.block_bytes());
    let mut blocks: Vec<u8> = bytes.iter().map(|x| (x * 65536.0) as i32 as u8 & 0xbf).collect();
    // Where it fails it has written nothing; these weights are finite and small, so only for lack of a quantizer.
    let _ = encode(ty, &weights(len), &mut blocks);
    if ty == TensorType::MXFP4 {
        // Powers of two that weights have: CPUs are slow with the numbers near zero that others would give.
        blocks.iter_mut().step_by(ty.block_bytes()).for_each(|exponent| *exponent = 120 + *exponent % 8);
    }
    blocks
}

/// The model that is measured: the file that `SISKIN_BENCH_MODEL` names, else the demo model.
pub fn model_path() -> PathBuf {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../tools/demo/siskin-demo.gguf");
    std::env::var_os("SISKIN_BENCH_MODEL").map_or_else(|| demo.into(), PathBuf::from)
}
