//! The same bits in the logits on any instruction set, at any thread count, batch size and cutting of the prompt.

use crate::parts::{Parts, ids};
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
    let options = SessionOptions {
        isa: Some(isa),
        threads: Some(threads),
        batch: Some(batch),
        cache,
        ..Default::default()
    };
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

fn check(name: &str, ty: TensorType) {
    let model = Model::from_gguf(&Parts::of(name).quantized(ty).gguf()).unwrap();
    let ids: Vec<u32> = ids(name).into_iter().cycle().take(83).collect();
    let scalar: Isa = "scalar".parse().unwrap();
    let mixed = CacheTypes { keys: CacheType::Q8_0, values: CacheType::F16 };
    for cache in [CacheType::F32.into(), CacheType::F16.into(), CacheType::Q8_0.into(), mixed] {
        let expected = logits(&model, &ids, cache, Run { isa: scalar, threads: 1, batch: 1, piece: 1 });
        assert!(expected.iter().all(|&bits| f32::from_bits(bits).is_finite()));
        for isa in Isa::available() {
            for threads in [1, 2, 3, 5] {
                for (batch, piece) in [(1, 1), (256, 256), (64, 64), (7, 83), (256, 9)] {
                    let run = Run { isa, threads, batch, piece };
                    assert!(logits(&model, &ids, cache, run) == expected, "{ty:?} {cache:?} {run:?}");
                }
            }
        }
    }
}

#[test]
fn threads_and_batches_do_not_change_float_weights() {
    for ty in [F32, F16, BF16] {
        check("gqa", ty);
    }
}

#[test]
fn threads_and_batches_do_not_change_quantized_weights() {
    for ty in [Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K] {
        check("kquant", ty);
    }
}
