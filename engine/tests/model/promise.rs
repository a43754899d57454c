//! Everything that must not change a bit of the logits, all at once.

use std::sync::LazyLock;

use crate::packed::packed;
use crate::parts::{Parts, ids, llama_cpp};
use proptest::prelude::*;
use siskin::gguf::Gguf;
use siskin::{CacheType, CacheTypes, Error, Isa, Model, SequencesOptions, Session, SessionOptions};
use siskin_quant::TensorType;

const TOKENS: usize = 70;

/// A model as it is and packed, and the bits of the logits after each token for each of the [`caches`].
struct Case {
    models: [Model; 2],
    expected: Vec<Vec<Vec<u32>>>,
}

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let parts = [
        Parts::of("gqa"),
        Parts::of("gqa").quantized(TensorType::Q4_0),
        Parts::of("tied").quantized(TensorType::Q8_0),
        Parts::read(&llama_cpp("q4_k_m.gguf")),
    ];
    let case = |parts: &Parts| {
        let in_panels = Gguf::from_bytes("packed.gguf", packed(parts).0).unwrap();
        let models = [parts.gguf(), in_panels].map(|file| Model::from_gguf(&file).unwrap());
        let expected = caches().map(|cache| {
            let scalar = Some("scalar".parse().unwrap());
            let options =
                SessionOptions { isa: scalar, threads: Some(1), batch: Some(1), cache, ..options() };
            let mut session = models[0].session(&options).unwrap();
            let each = |token: &u32| {
                session.feed(&[*token]).unwrap();
                bits(session.logits().unwrap())
            };
            text().iter().map(each).collect()
        });
        Case { models, expected: expected.to_vec() }
    };
    parts.iter().map(case).collect()
});

fn caches() -> [CacheTypes; 4] {
    let mixed = CacheTypes { keys: CacheType::Q8_0, values: CacheType::F32 };
    [CacheType::F32.into(), CacheType::F16.into(), CacheType::Q8_0.into(), mixed]
}

fn options() -> SessionOptions {
    SessionOptions { context: Some(TOKENS + 20), ..Default::default() }
}

fn text() -> Vec<u32> {
    ids("gqa").iter().copied().cycle().take(TOKENS).collect()
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|x| x.to_bits()).collect()
}

/// Who works, and on how much at a time.
#[derive(Clone, Debug)]
struct Worker {
    isa: prop::sample::Index,
    threads: usize,
    batch: usize,
}

impl Worker {
    fn options(&self, cache: CacheTypes) -> SessionOptions {
        let isas: Vec<Isa> = Isa::available().collect();
        let isa = Some(isas[self.isa.index(isas.len())]);
        SessionOptions { isa, threads: Some(self.threads), batch: Some(self.batch), cache, ..options() }
    }
}

/// Where keys and values come from.
#[derive(Clone, Debug)]
enum Origin {
    Cold,
    /// So many tokens are another session's, who worked on them elsewhere.
    Restored(usize, Worker),
    /// Others are worked on together with this sequence; each has so many tokens in common with it.
    Together(Vec<usize>),
}

fn worker() -> impl Strategy<Value = Worker> {
    let batch = prop_oneof![1usize..9, 1usize..90];
    (any::<prop::sample::Index>(), 1usize..=8, batch).prop_map(|(isa, threads, batch)| Worker {
        isa,
        threads,
        batch,
    })
}

fn origin() -> impl Strategy<Value = Origin> {
    prop_oneof![
        Just(Origin::Cold),
        (1usize..TOKENS, worker()).prop_map(|(tokens, worker)| Origin::Restored(tokens, worker)),
        prop::collection::vec(0usize..TOKENS, 1..4).prop_map(Origin::Together),
    ]
}

/// Feeds what the session lacks of the text, in pieces, and compares all logits.
fn check(session: &mut Session, pieces: &[usize], expected: &[Vec<u32>]) -> Result<(), TestCaseError> {
    for piece in pieces.iter().cycle() {
        let held = session.position();
        prop_assert!(held == 0 || bits(session.logits().unwrap()) == expected[held - 1]);
        if held == TOKENS {
            break;
        }
        let mut after = held;
        let each = |logits: &[f32]| {
            assert!(bits(logits) == expected[after], "after {after}");
            after += 1;
            Ok::<_, Error>(())
        };
        session.feed_each(&text()[held..(held + piece).min(TOKENS)], each).unwrap();
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn logits_are_the_same_bits_whoever_works_on_whatever_together_from_wherever(
        case in 0usize..4,
        in_panels in 0usize..2,
        cache in 0usize..4,
        worker in worker(),
        pieces in prop::collection::vec(prop_oneof![1usize..5, 1usize..80], 1..4),
        origin in origin(),
    ) {
        let (model, expected) = (&CASES[case].models[in_panels], &CASES[case].expected[cache]);
        let options = worker.options(caches()[cache]);
        match origin {
            Origin::Cold => check(&mut model.session(&options).unwrap(), &pieces, expected)?,
            Origin::Restored(tokens, elsewhere) => {
                // The other session has the other kind of file.
                let other = &CASES[case].models[1 - in_panels];
                let mut first = other.session(&elsewhere.options(caches()[cache])).unwrap();
                first.feed(&text()[..tokens]).unwrap();
                let mut state = Vec::new();
                first.save(&mut state).unwrap();
                let mut session = model.session(&options).unwrap();
                session.restore(&state).unwrap();
                check(&mut session, &pieces, expected)?;
            }
            Origin::Together(others) => {
                let together = SequencesOptions { most: others.len() + 1, pages: None, session: options };
                let mut sequences = model.sequences(&together).unwrap();
                for (number, &common) in others.iter().enumerate() {
                    let id = sequences.join().unwrap();
                    let own = (0..9).map(|i| (40 + 11 * number as u32 + i) % 90);
                    sequences.feed(id, &text()[..common].iter().copied().chain(own).collect::<Vec<_>>()).unwrap();
                    // Some have begun before the next ones come.
                    if number % 2 == 0 {
                        sequences.step().unwrap();
                    }
                }
                let id = sequences.join().unwrap();
                let mut held = 0;
                for piece in pieces.iter().cycle() {
                    let end = (held + piece).min(TOKENS);
                    sequences.feed(id, &text()[held..end]).unwrap();
                    while sequences.logits(id).is_err() {
                        prop_assert!(sequences.step().unwrap() > 0);
                    }
                    prop_assert!(bits(sequences.logits(id).unwrap()) == expected[end - 1]);
                    held = end;
                    if held == TOKENS {
                        break;
                    }
                }
            }
        }
    }
}
