//! After a session and a sampler are made, prefill, decode, sampling and detokenizing allocate nothing in any thread.

#![allow(clippy::unwrap_used)] // Helpers of tests may fail as tests do.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use siskin::gguf::Gguf;
use siskin::gguf::write::Builder;
use siskin::sampler::SamplerOptions;
use siskin::{
    Adapter, AnswerRequest, CacheType, Model, Scheduler, SequencesOptions, SessionOptions, Speculation,
    WhenFull,
};
use siskin_quant::TensorType;

/// Counts allocations and releases of all threads while it is armed.
struct Counting {
    armed: AtomicBool,
    count: AtomicUsize,
}

#[global_allocator]
static COUNTING: Counting = Counting { armed: AtomicBool::new(false), count: AtomicUsize::new(0) };

impl Counting {
    fn note(&self) {
        if self.armed.load(SeqCst) {
            self.count.fetch_add(1, SeqCst);
        }
    }

    fn during(&self, work: impl FnOnce()) -> usize {
        self.count.store(0, SeqCst);
        self.armed.store(true, SeqCst);
        work();
        self.armed.store(false, SeqCst);
        self.count.load(SeqCst)
    }
}

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.note();
        // SAFETY: the caller's promises are the system allocator's conditions.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        self.note();
        // SAFETY: as above.
        unsafe { System.dealloc(start, layout) }
    }
}

/// An adapter of rank 5 for all matrices of the layers.
fn adapter(path: &Path, model: &Model) -> Adapter {
    let base = Gguf::open(path).unwrap();
    let mut builder = Builder::new();
    builder.set("general.type", "adapter").unwrap();
    builder.set("general.architecture", model.architecture()).unwrap();
    builder.set("adapter.type", "lora").unwrap().set("adapter.lora.alpha", 8f32).unwrap();
    // The kernel of a convolution is none.
    let is_matrix = |name: &str| name.starts_with("blk.") && !name.ends_with(".conv.weight");
    let matrices = base.tensors().iter().filter(|t| is_matrix(&t.name) && t.shape.len() == 2);
    let halves: Vec<_> = matrices
        .flat_map(|t| {
            let (a, b) = ([t.shape[0], 5], [5, t.shape[1]]);
            [(format!("{}.lora_a", t.name), a), (format!("{}.lora_b", t.name), b)]
        })
        .collect();
    for (name, shape) in &halves {
        builder.tensor(name, shape, TensorType::F32).unwrap();
    }
    let mut writer = builder.start(Vec::new()).unwrap();
    for (name, [k, rows]) in &halves {
        let numbers: Vec<u8> = (0..k * rows).flat_map(|i| (i as f32 % 7.0 * 0.01).to_le_bytes()).collect();
        writer.tensor(name, &numbers).unwrap();
    }
    Adapter::from_gguf(&Gguf::from_bytes("adapter", writer.finish().unwrap()).unwrap(), model).unwrap()
}

/// Allocations of some steps of training.
#[cfg(feature = "training")]
fn training(model: &Model, cache: CacheType) -> usize {
    use siskin::training::{Change, Example, Step, Trainer, TrainerOptions};
    let changes = Trainer::matrices(model).map(|matrix| Change { matrix, rank: 5, scale: 2.0 }).collect();
    let options = TrainerOptions::new(50, changes).together(2).slice(7).threads(3).cache(cache);
    let mut trainer = model.trainer(&options).unwrap();
    trainer.begin(1);
    let tokens: Vec<u32> = (1..51).map(|i| i % 90).collect();
    let learned = [true; 50];
    let examples =
        [50, 20, 31, 1].map(|len| Example { tokens: &tokens[..len], learned: &learned[..len], weight: 0.01 });
    let mut sum = 0.0;
    let steps = COUNTING.during(|| {
        for _ in 0..2 {
            trainer.learn(&examples, 0.1, &mut |_, loss| sum += loss).unwrap();
            trainer.step(&Step::new(1e-3).clip(1.0));
        }
        trainer.losses(&examples, &mut |_, loss| sum += loss).unwrap();
    });
    assert!(sum > 0.0, "something was learned");
    steps
}

// One test alone in this file: another one's allocations would be counted too.
#[test]
fn an_answer_allocates_nothing() {
    assert!(COUNTING.during(|| drop(vec![1u8])) >= 2, "the allocator counts");
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    for name in [
        "llama/gqa",
        "llama_cpp/q4_k_m",
        "families/gemma3",
        "families/phi3",
        "families/qwen3-moe",
        "families/lfm2",
    ] {
        let path = goldens.join(format!("{name}.gguf"));
        let model = Model::open(&path).unwrap();
        let adapter = adapter(&path, &model);
        for cache in [CacheType::F32, CacheType::F16, CacheType::Q8_0] {
            let options = SessionOptions::default().threads(3).context(96).cache(cache);
            let mut session = model.session(&options).unwrap();
            let sampling =
                SamplerOptions::default().temperature(1.0).seed(1).repeat_penalty(1.1).dry_multiplier(0.8);
            let mut sampler = session.sampler(&sampling).unwrap();
            let prompt: Vec<u32> = (1..60).map(|i| i % 90).collect();
            let prefill = COUNTING.during(|| session.feed(&prompt).unwrap());
            assert_eq!(prefill, 0, "{name}: prefill");
            let mut generation = session.generate(&mut sampler, 30).unwrap();
            let mut characters = 0;
            let decode = COUNTING.during(|| {
                while let Some(piece) = generation.next_text().unwrap() {
                    characters += piece.len();
                }
            });
            assert_eq!(decode, 0, "{name}: decode");
            assert!(characters > 0, "{name}: something was said");

            session.attach(&adapter, 0.5).unwrap();
            session.set_when_full(WhenFull::Window { keep: 4 }).unwrap();
            let beyond = COUNTING.during(|| {
                session.feed(&prompt).unwrap();
                prompt.iter().for_each(|&token| session.feed(&[token]).unwrap());
            });
            assert_eq!(beyond, 0, "{name}: beyond the context, with an adapter");

            for speculation in [Speculation::lookup(), Speculation::of(model.session(&options).unwrap())] {
                let mut session = model.session(&options.clone().drafts(4)).unwrap();
                session.set_when_full(WhenFull::Shift { keep: 4 }).unwrap();
                session.speculate(speculation.fixed(3)).unwrap();
                session.feed(&prompt).unwrap();
                let mut sampler = session.sampler(&sampling).unwrap();
                let mut generation = session.generate(&mut sampler, 60).unwrap();
                let ahead = COUNTING.during(|| while generation.next_text().unwrap().is_some() {});
                assert_eq!(ahead, 0, "{name}: guessing ahead");
            }

            let session = SessionOptions::default().threads(3).context(96).batch(16).cache(cache);
            let together = SequencesOptions::default().most(3).session(session);
            let mut scheduler = Scheduler::new(model.sequences(&together).unwrap());
            let ends = (0..model.vocabulary() as u32).filter(|&token| model.tokenizer().is_end(token));
            let never = ends.map(|token| (token, f32::NEG_INFINITY)).collect();
            let sampling = sampling.logit_bias(never);
            for len in [20, 40, 50] {
                let prompt = prompt[..len].to_vec();
                let sampling = sampling.clone();
                scheduler.ask(AnswerRequest::new(prompt).sampling(sampling)).unwrap();
            }
            scheduler.step(|_, _| ()).unwrap();
            let answers = COUNTING.during(|| {
                for _ in 0..30 {
                    assert_eq!(scheduler.step(|_, _| ()).unwrap(), 3);
                }
            });
            assert_eq!(answers, 0, "{name}: answers at once");

            #[cfg(feature = "training")]
            {
                let steps = training(&model, cache);
                assert_eq!(steps, 0, "{name}: steps of training");
            }

            let mut sequences = model.sequences(&together).unwrap();
            let together = COUNTING.during(|| {
                for _ in 0..2 {
                    let ids = [(); 3].map(|()| sequences.join().unwrap());
                    for (id, len) in ids.into_iter().zip([20, 40, 50]) {
                        sequences.feed(id, &prompt[..len]).unwrap();
                    }
                    while sequences.step().unwrap() > 0 {}
                    // As far as the context goes.
                    for token in 50..96 {
                        sequences.feed(ids[2], &[token]).unwrap();
                        sequences.step().unwrap();
                    }
                    sequences.logits(ids[2]).unwrap();
                    for id in ids {
                        sequences.leave(id).unwrap();
                    }
                }
            });
            assert_eq!(together, 0, "{name}: sequences");
        }
    }
}
