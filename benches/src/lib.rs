//! What the benches share: settings and inputs.
//!
//! `cargo bench -p siskin-benches` runs them all, `cargo bench -p siskin-benches --bench quant -- encode` some.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

use criterion::Criterion;

/// Settings under which a bench takes about four seconds, with the command line's on top.
pub fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .sample_size(20)
        .configure_from_args()
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

/// The model that is measured: the file that `SISKIN_BENCH_MODEL` names, else the demo model.
pub fn model_path() -> PathBuf {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../tools/demo/siskin-demo.gguf");
    std::env::var_os("SISKIN_BENCH_MODEL").map_or_else(|| demo.into(), PathBuf::from)
}
