//! The same bits in the logits on any instruction set, at any thread count, batch size and cutting of the prompt.

use crate::parts::{Parts, family, ids, ids_in, llama_cpp};
use siskin::{CacheType, CacheTypes, Error, Isa, Model, SessionOptions};
use siskin_quant::TensorType::{self, *};

#[derive(Clone, Copy, Debug)]
struct Run {
    isa: Isa,
    threads: usize,
    batch: usize,
    /// Tokens fed at a time.
    piece: usize,
}

fn logits(model: &Model, ids: &[u32], cache: CacheTypes, run: Run) -> Vec<u32> {
    let Run { isa, threads, batch, .. } = run;
    let options = SessionOptions::default().isa(isa).threads(threads).batch(batch).cache(cache);
    let mut session = model.session(&options).unwrap();
    let mut bits = Vec::new();
    for piece in ids.chunks(run.piece) {
        session
            .feed_each(piece, |logits| {
                bits.extend(logits.iter().map(|x| x.to_bits()));
                Ok::<_, Error>(())
            })
            .unwrap();
    }
    bits
}

const THREADS: [usize; 4] = [1, 2, 3, 5];
/// Batch size, and tokens fed at a time.
const CUTTINGS: [(usize, usize); 5] = [(1, 1), (256, 256), (64, 64), (7, 83), (256, 9)];

fn caches() -> [CacheTypes; 4] {
    let mixed = CacheTypes { keys: CacheType::Q8_0, values: CacheType::F16 };
    [CacheType::F16.into(), CacheType::F32.into(), CacheType::Q8_0.into(), mixed]
}

/// Compares every instruction set with the scalar kernels' token by token on one thread. The best one meets all cuttings, the
/// others take turns with them, and so do the teams: what divides the work is the same code for all models and instruction sets.
fn check(what: &str, model: &Model, ids: &[u32], turn: usize, cache: CacheTypes) {
    let ids: Vec<u32> = ids.iter().copied().cycle().take(83).collect();
    let scalar: Isa = "scalar".parse().unwrap();
    let expected = logits(model, &ids, cache, Run { isa: scalar, threads: 1, batch: 1, piece: 1 });
    assert!(expected.iter().all(|&bits| f32::from_bits(bits).is_finite()));
    for (place, isa) in Isa::available().enumerate() {
        for (i, (batch, piece)) in CUTTINGS.into_iter().enumerate() {
            if place > 0 && i != (turn + place) % CUTTINGS.len() {
                continue;
            }
            let run = Run { isa, threads: THREADS[(i + turn) % THREADS.len()], batch, piece };
            assert!(logits(model, &ids, cache, run) == expected, "{what} {cache:?} {run:?}");
        }
    }
}

/// Each format with one of the caches, since attention knows nothing of formats.
fn check_types(name: &str, types: &[TensorType]) {
    for (turn, &ty) in types.iter().enumerate() {
        let model = Model::from_gguf(&Parts::of(name).quantized(ty).gguf()).unwrap();
        check(ty.name(), &model, &ids(name), turn, caches()[turn % 4]);
    }
}

#[test]
fn float_weights() {
    check_types("gqa", &[F32, F16, BF16]);
}

#[test]
fn weights_in_blocks() {
    check_types("kquant", &[Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL]);
}

#[test]
fn weights_in_superblocks() {
    check_types("kquant", &[Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_XS]);
}

/// The types that are read only: of the codebooks, the ternary ones and MXFP4 all are in these files.
#[test]
fn weights_that_llama_cpp_wrote() {
    for (turn, name) in ["codebooks", "ternary_mxfp4"].into_iter().enumerate() {
        let model = Model::open(llama_cpp(&format!("{name}.gguf"))).unwrap();
        check(name, &model, &ids("kquant"), turn, caches()[turn]);
    }
}

/// Each family, whose attention is its own, with two of the caches.
#[test]
fn families() {
    for (turn, name) in
        ["gemma2", "gemma3", "qwen3-moe", "granite", "phi3", "bitnet", "lfm2"].into_iter().enumerate()
    {
        let model = Model::open(family(&format!("{name}.gguf"))).unwrap();
        let ids = ids_in(&family(name));
        for turn in [turn, turn + 1] {
            check(name, &model, &ids, turn, caches()[turn % 4]);
        }
    }
}
