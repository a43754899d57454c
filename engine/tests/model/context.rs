//! What becomes of a session whose context is full, and of one that is told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::parts::{Parts, family, golden, ids, ids_in, nmse};
use proptest::prelude::*;
use siskin::{
    CacheType, CacheTypes, Error, Isa, Model, Observer, Rows, Session, SessionError, SessionOptions, WhenFull,
};

fn model() -> Model {
    Model::open(golden("gqa.gguf")).unwrap()
}

/// The same with its first layer alone, whose keys and values know of nothing but their own token.
fn single_layer() -> Model {
    let mut parts = Parts::of("gqa").key("llama.block_count", Some(1u32.into()));
    parts.tensors.retain(|tensor| !tensor.name.starts_with("blk.") || tensor.name.starts_with("blk.0."));
    Model::from_gguf(&parts.gguf()).unwrap()
}

fn options(context: usize, cache: CacheTypes) -> SessionOptions {
    SessionOptions::default().context(context).threads(2).cache(cache)
}

fn session(context: usize) -> Session {
    model().session(&options(context, CacheType::F16.into())).unwrap()
}

fn text(len: usize) -> Vec<u32> {
    ids("gqa").iter().copied().cycle().take(len).collect()
}

fn bits(session: &Session) -> Vec<u32> {
    session.logits().unwrap().iter().map(|x| x.to_bits()).collect()
}

#[test]
fn tokens_behind_forgotten_ones_stand_where_they_stand_now() {
    let model = single_layer();
    let text = text(90);
    for (cache, most) in [(CacheType::F32, 1e-12), (CacheType::F16, 1e-5), (CacheType::Q8_0, 1e-3)] {
        for (forgotten, more) in [(4..30, 9), (0..1, 1), (17..80, 3), (40..41, 2)] {
            let mut session = model.session(&options(100, cache.into())).unwrap();
            session.feed(&text).unwrap();
            session.forget(forgotten.clone());
            let kept = [&text[..forgotten.start], &text[forgotten.end..]].concat();
            assert_eq!((session.tokens(), session.pristine()), (&kept[..], forgotten.start));
            session.feed(&text[..more]).unwrap();
            let mut fresh = model.session(&options(100, cache.into())).unwrap();
            fresh.feed(&[&kept, &text[..more]].concat()).unwrap();
            let error = nmse(session.logits().unwrap(), fresh.logits().unwrap());
            assert!(error < most, "{cache:?} {forgotten:?}: {error:e}");
        }
    }
}

#[test]
fn what_is_forgotten_is_what_the_policy_says() {
    let text = text(40);
    for (when_full, len, forgotten) in [
        (WhenFull::Shift { keep: 4 }, 25, 4..14),
        (WhenFull::Shift { keep: 0 }, 25, 0..12),
        (WhenFull::Shift { keep: 22 }, 25, 22..23),
        (WhenFull::Window { keep: 4 }, 25, 4..6),
        (WhenFull::Window { keep: 22 }, 25, 22..23),
    ] {
        let mut session = session(24);
        session.set_when_full(when_full).unwrap();
        session.feed(&text[..24]).unwrap();
        assert_eq!(session.position(), 24);
        let kept = bits(&session);
        session.feed(&[]).unwrap();
        assert!(bits(&session) == kept);
        session.feed(&text[24..len]).unwrap();
        assert_eq!(session.tokens(), [&text[..forgotten.start], &text[forgotten.end..len]].concat());
        assert_eq!(session.pristine(), forgotten.start);
    }
    let mut session = session(24);
    for keep in [23, 24, 1000] {
        let error = session.set_when_full(WhenFull::Shift { keep }).unwrap_err();
        assert_eq!(error.to_string(), format!("session option keep: expected 0 to 22, found {keep}"));
    }
    session.feed(&text[..24]).unwrap();
    assert!(matches!(session.feed(&[1]), Err(SessionError::ContextFull { .. })));
}

#[test]
fn a_text_without_end_has_the_same_bits_however_it_is_cut() {
    let model = model();
    let text = text(330);
    let mixed = CacheTypes { keys: CacheType::Q8_0, values: CacheType::F16 };
    for cache in [CacheType::F32.into(), CacheType::F16.into(), CacheType::Q8_0.into(), mixed] {
        for when_full in [WhenFull::Shift { keep: 9 }, WhenFull::Window { keep: 4 }] {
            let run = |isa: Isa, threads, batch, piece| {
                let options = options(50, cache).isa(isa).threads(threads).batch(batch);
                let mut session = model.session(&options).unwrap();
                session.set_when_full(when_full).unwrap();
                text.chunks(piece).for_each(|piece| session.feed(piece).unwrap());
                (session.tokens().to_vec(), bits(&session))
            };
            let expected = run("scalar".parse().unwrap(), 1, 1, 1);
            for isa in Isa::available() {
                for (threads, batch, piece) in [(2, 256, 330), (3, 16, 7), (1, 7, 64)] {
                    assert!(
                        run(isa, threads, batch, piece) == expected,
                        "{isa} {cache} {when_full:?} {piece}"
                    );
                }
            }
        }
    }
}

#[test]
fn an_answer_goes_on_where_the_context_ends() {
    let mut session = session(32);
    session.set_when_full(WhenFull::Window { keep: 4 }).unwrap();
    session.feed(&text(20)).unwrap();
    let sampling = siskin::sampler::SamplerOptions::default().seed(3).temperature(1.0);
    let mut sampler = session.sampler(&sampling).unwrap();
    let mut generation = session.generate(&mut sampler, 200).unwrap();
    let mut count = 0;
    while generation.next_token().unwrap().is_some() {
        count += 1;
    }
    assert!(count == 200 || generation.end() != Some(siskin::End::Limit));
    assert!(session.position() <= 32);
}

#[test]
fn a_saved_state_tells_that_something_was_forgotten() {
    let mut first = session(32);
    first.set_when_full(WhenFull::Shift { keep: 5 }).unwrap();
    first.feed(&text(60)).unwrap();
    let mut state = Vec::new();
    first.save(&mut state).unwrap();
    let mut second = session(32);
    second.set_when_full(WhenFull::Shift { keep: 5 }).unwrap();
    second.restore(&state).unwrap();
    assert_eq!((second.pristine(), second.tokens()), (5, first.tokens()));
    for session in [&mut first, &mut second] {
        session.feed(&text(30)).unwrap();
    }
    assert!(bits(&first) == bits(&second));
    // What is left of the beginning is that of any session.
    second.truncate(5);
    assert_eq!(second.pristine(), 5);
    second.feed(&text(12)).unwrap();
    let mut fresh = session(32);
    fresh.feed(&[&text(5)[..], &text(12)].concat()).unwrap();
    assert!(second.pristine() == 17 && bits(&second) == bits(&fresh));
}

/// Raises a flag at the product of this name.
struct Raise<'a> {
    flag: &'a AtomicBool,
    at: &'a str,
    seen: Vec<String>,
}

impl Observer for Raise<'_> {
    fn product(&mut self, name: &str, _: Rows<'_>) {
        self.seen.push(name.to_owned());
        if name == self.at {
            self.flag.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn what_is_cancelled_ends_before_the_next_layer() {
    let text = text(40);
    let mut session = session(64);
    session.feed(&text[..10]).unwrap();
    let before = bits(&session);
    let flag = Arc::new(AtomicBool::new(false));
    session.cancel_when(Arc::clone(&flag));
    let mut raise = Raise { flag: &flag, at: "blk.0.attn_q.weight", seen: Vec::new() };
    let error = session.feed_observed(&text[10..], &mut raise).unwrap_err();
    assert_eq!(error.to_string(), "cancelled");
    assert!(raise.seen.iter().all(|name| name.starts_with("blk.0.")), "{:?}", raise.seen);
    assert!(matches!(session.feed(&text[10..]), Err(SessionError::Cancelled)));
    assert!(session.tokens() == &text[..10] && bits(&session) == before);
    flag.store(false, Ordering::Relaxed);
    session.feed(&text[10..]).unwrap();
    let mut fresh = self::session(64);
    fresh.feed(&text).unwrap();
    assert!(bits(&session) == bits(&fresh));
}

#[test]
fn another_thread_ends_a_text_without_end() {
    let mut session = session(64);
    session.set_when_full(WhenFull::Window { keep: 4 }).unwrap();
    let flag = Arc::new(AtomicBool::new(false));
    session.cancel_when(Arc::clone(&flag));
    let text = text(50);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(30));
            flag.store(true, Ordering::Relaxed);
        });
        let error = loop {
            if let Err(error) = session.feed(&text) {
                break error;
            }
        };
        assert!(matches!(error, SessionError::Cancelled));
    });
    flag.store(false, Ordering::Relaxed);
    session.clear();
    session.feed(&text).unwrap();
    let mut fresh = self::session(64);
    fresh.feed(&text).unwrap();
    assert!(bits(&session) == bits(&fresh));
}

#[test]
fn threads_that_may_not_work_rest_and_change_nothing() {
    let text = text(60);
    let mut expected = session(64);
    expected.feed(&text).unwrap();
    let options = options(64, CacheType::F16.into()).threads(3).pin(true);
    let mut session = model().session(&options).unwrap();
    let limit = Arc::new(AtomicUsize::new(0));
    session.limit_threads(Arc::clone(&limit));
    thread::scope(|scope| {
        let work = scope.spawn(|| {
            for token in &text {
                session.feed(&[*token]).unwrap();
            }
            bits(&session)
        });
        thread::sleep(Duration::from_millis(50));
        assert!(!work.is_finished());
        for threads in [1, 3, 0, 2].into_iter().cycle() {
            limit.store(threads, Ordering::Relaxed);
            thread::sleep(Duration::from_micros(300));
            if work.is_finished() {
                break;
            }
        }
        assert!(work.join().unwrap() == bits(&expected));
    });
}

#[test]
fn work_that_rests_can_be_cancelled() {
    let mut session = session(64);
    let flag = Arc::new(AtomicBool::new(false));
    session.cancel_when(Arc::clone(&flag));
    session.limit_threads(Arc::new(AtomicUsize::new(0)));
    thread::scope(|scope| {
        let work = scope.spawn(|| session.feed(&text(9)));
        thread::sleep(Duration::from_millis(20));
        flag.store(true, Ordering::Relaxed);
        assert!(matches!(work.join().unwrap(), Err(SessionError::Cancelled)));
    });
}

/// Biases of Qwen2's keys are large: those of real models reach hundreds, and a fine-tuned one may have more than half
/// precision can say.
#[test]
fn keys_beyond_half_precision_give_numbers_in_every_cache() {
    let parts = Parts::read(&family("qwen2.gguf")).tensor("blk.0.attn_k.bias", |tensor| {
        tensor.data.as_chunks_mut().0.iter_mut().for_each(|bias| *bias = 1e5f32.to_le_bytes());
    });
    let model = Model::from_gguf(&parts.gguf()).unwrap();
    let text = ids_in(&family("qwen2"));
    for cache in [CacheType::F16, CacheType::F32, CacheType::Q8_0] {
        let on = |isa| {
            let mut session = model.session(&options(64, cache.into()).isa(isa)).unwrap();
            session.feed(&text).unwrap();
            session.logits().unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        };
        let expected = on("scalar".parse().unwrap());
        for isa in Isa::available() {
            assert!(on(isa) == expected, "{cache:?} on {isa}");
        }
    }
}

/// A model whose logits are too large to be numbers, from the second token on that `loud` is among.
#[test]
fn logits_that_are_no_numbers_are_an_error_that_says_where() {
    let loud = 40;
    let parts = Parts::of("gqa").tensor("token_embd.weight", |tensor| {
        let row = tensor.data.len() / tensor.shape[1] as usize;
        tensor.data[loud * row..loud * row + 4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    });
    let model = Model::from_gguf(&parts.gguf()).unwrap();
    let text = [1, 2, 3, loud as u32, 5];
    let options = options(64, CacheType::F16.into());
    let mut session = model.session(&options).unwrap();
    session.feed(&text[..3]).unwrap();
    assert!(session.logits().is_ok());
    session.feed(&text[3..4]).unwrap();
    let error = session.logits().unwrap_err();
    assert!(matches!(error, SessionError::NotFinite { position: 3 }));
    assert_eq!(error.to_string(), "the logits after the token at position 3 are not finite");
    // What is cut again is as good as before.
    session.truncate(3);
    session.feed(&[7]).unwrap();
    assert!(session.logits().is_ok());

    let mut session = model.session(&options).unwrap();
    let mut seen = 0;
    let each = |_: &[f32]| {
        seen += 1;
        Ok::<_, Error>(())
    };
    let error = session.feed_each(&text, each).unwrap_err();
    assert!(matches!(error, Error::Session(SessionError::NotFinite { position: 3 })) && seen == 3);

    let mut session = model.session(&options).unwrap();
    session.feed(&text).unwrap();
    let mut sampler = session.sampler(&Default::default()).unwrap();
    let error = session.generate(&mut sampler, 5).err().unwrap();
    assert!(matches!(error, SessionError::NotFinite { position: 4 }));

    let together = siskin::SequencesOptions::default().most(2).session(options);
    let mut sequences = model.sequences(&together).unwrap();
    let [good, bad] = [&text[..3], &text].map(|text| {
        let id = sequences.join().unwrap();
        sequences.feed(id, text).unwrap();
        id
    });
    while sequences.step().unwrap() > 0 {
        if let Err(error) = sequences.logits(bad) {
            assert!(matches!(error, SessionError::NotFinite { position: 4 } | SessionError::NoPrompt));
        }
        if let Err(error) = sequences.logits(good) {
            assert!(matches!(error, SessionError::NoPrompt));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_lies_before_a_gap_is_pristine(gaps in prop::collection::vec((0usize..40, 0usize..40), 1..6), cut in 0usize..40) {
        let mut session = session(64);
        session.feed(&text(40)).unwrap();
        // For each token whether one before it is gone.
        let mut known: Vec<(u32, bool)> = text(40).into_iter().map(|token| (token, false)).collect();
        for (start, len) in gaps {
            session.forget(start..start + len);
            let end = (start + len).min(known.len());
            if start < end {
                known.drain(start..end);
                known[start..].iter_mut().for_each(|(_, after)| *after = true);
            }
            prop_assert_eq!(session.pristine(), known.iter().take_while(|(_, after)| !after).count());
        }
        session.truncate(cut);
        known.truncate(cut);
        prop_assert_eq!(session.pristine(), known.iter().take_while(|(_, after)| !after).count());
        prop_assert!(session.tokens().iter().eq(known.iter().map(|(token, _)| token)));
    }
}
