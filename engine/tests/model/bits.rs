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

/// Every cutting of the prompt meets each of these, every team most.
fn caches() -> [CacheTypes; 4] {
    let mixed = CacheTypes { keys: CacheType::Q8_0, values: CacheType::F16 };
    [CacheType::F16.into(), CacheType::F32.into(), CacheType::Q8_0.into(), mixed]
}

/// Compares every instruction set, team and cutting with the scalar kernels' token by token on one thread.
fn check(what: &str, model: &Model, ids: &[u32]) {
    let ids: Vec<u32> = ids.iter().copied().cycle().take(83).collect();
    let scalar: Isa = "scalar".parse().unwrap();
    let expected = caches().map(|cache| {
        let run = Run { isa: scalar, threads: 1, batch: 1, piece: 1 };
        let expected = logits(model, &ids, cache, run);
        assert!(expected.iter().all(|&bits| f32::from_bits(bits).is_finite()));
        expected
    });
    for isa in Isa::available() {
        for (i, (batch, piece)) in [(1, 1), (256, 256), (64, 64), (7, 83), (256, 9)].into_iter().enumerate() {
            for (j, threads) in [1, 2, 3, 5].into_iter().enumerate() {
                // What divides the work is the same code for all; the reference's own kernels are the slowest.
                if isa == scalar && i != j {
                    continue;
                }
                let turn = (i + j) % 4;
                let (cache, run) = (caches()[turn], Run { isa, threads, batch, piece });
                assert!(logits(model, &ids, cache, run) == expected[turn], "{what} {cache:?} {run:?}");
            }
        }
    }
}

fn check_type(name: &str, ty: TensorType) {
    let model = Model::from_gguf(&Parts::of(name).quantized(ty).gguf()).unwrap();
    check(ty.name(), &model, &ids(name));
}

#[test]
fn float_weights() {
    [F32, F16, BF16].into_iter().for_each(|ty| check_type("gqa", ty));
}

#[test]
fn weights_in_blocks() {
    [Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL].into_iter().for_each(|ty| check_type("kquant", ty));
}

#[test]
fn weights_in_superblocks() {
    [Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_XS].into_iter().for_each(|ty| check_type("kquant", ty));
}

/// The types that are read only: of the codebooks, the ternary ones and MXFP4 all are in these files.
#[test]
fn weights_that_llama_cpp_wrote() {
    for name in ["codebooks", "ternary_mxfp4"] {
        check(name, &Model::open(llama_cpp(&format!("{name}.gguf"))).unwrap(), &ids("kquant"));
    }
}

#[test]
fn families() {
    for name in ["gemma2", "gemma3", "qwen3-moe", "granite", "phi3", "bitnet", "lfm2"] {
        let model = Model::open(family(&format!("{name}.gguf"))).unwrap();
        check(name, &model, &ids_in(&family(name)));
    }
}
