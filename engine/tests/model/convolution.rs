//! Short convolutions, whose state is no list of positions: it must be the same wherever a sequence goes on from.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::parts::{Parts, family, ids_in};
use siskin::sampler::SamplerOptions;
use siskin::{
    CacheType, Model, Observer, Rows, SequencesOptions, Session, SessionError, SessionOptions, Speculation,
    StateError, WhenFull,
};

const LEN: usize = 620;

/// The checkpoint as one that was made for more than two pages of 256 positions.
fn model() -> Model {
    let parts = Parts::read(&family("lfm2.gguf")).key("lfm2.context_length", Some(1024u32.into()));
    Model::from_gguf(&parts.gguf()).unwrap()
}

fn text(len: usize) -> Vec<u32> {
    let ids = ids_in(&family("lfm2"));
    // Not the same again and again.
    ids.iter().copied().cycle().enumerate().map(|(i, id)| (id + i as u32 / 60) % 128).take(len).collect()
}

fn options() -> SessionOptions {
    SessionOptions::default().context(LEN + 80).threads(2).cache(CacheType::F32)
}

fn bits(session: &Session) -> Vec<u32> {
    session.logits().unwrap().iter().map(|x| x.to_bits()).collect()
}

/// The logits after the tokens of a session that was fed nothing else.
fn fresh(model: &Model, tokens: &[u32]) -> Vec<u32> {
    let mut session = model.session(&options()).unwrap();
    session.feed(tokens).unwrap();
    bits(&session)
}

#[test]
fn a_session_goes_on_wherever_it_was_cut() {
    let (model, text) = (model(), text(LEN));
    let other: Vec<u32> = text.iter().rev().copied().take(9).collect();
    let mut session = model.session(&options().batch(100)).unwrap();
    for len in [619, 600, 559, 555, 513, 512, 511, 400, 257, 256, 255, 100, 2, 1] {
        let held = session.position().min(len);
        session.truncate(held);
        session.feed(&text[held..]).unwrap();
        session.truncate(len);
        session.feed(&other).unwrap();
        assert!(bits(&session) == fresh(&model, &[&text[..len], &other].concat()), "cut at {len}");
        session.truncate(len);
    }
}

#[test]
fn a_saved_state_has_what_is_looked_back_at() {
    let (model, text) = (model(), text(LEN));
    for len in [1, 2, 3, 200, 256, 257, 300, 512, 600] {
        let mut session = model.session(&options()).unwrap();
        session.feed(&text[..len]).unwrap();
        let (mut state, mut other) = (Vec::new(), model.session(&options()).unwrap());
        session.save(&mut state).unwrap();
        other.restore(&state).unwrap();
        assert!(bits(&other) == bits(&session));
        other.feed(&text[len..]).unwrap();
        let expected = fresh(&model, &text);
        assert!(bits(&other) == expected, "restored at {len}");
        // What was restored can be cut too.
        other.restore(&state).unwrap();
        other.truncate(len * 2 / 3);
        let mut cut = Vec::new();
        other.save(&mut cut).unwrap();
        other.feed(&text[len * 2 / 3..]).unwrap();
        assert!(bits(&other) == expected, "restored at {len}, and cut");
        // And what was cut, saved.
        other.restore(&cut).unwrap();
        other.feed(&text[len * 2 / 3..]).unwrap();
        assert!(bits(&other) == expected, "restored at {len}, cut, and saved");

        let mut damaged = state.clone();
        damaged.truncate(state.len() - 40);
        assert_eq!(other.restore(&damaged), Err(StateError::Damaged));
    }
}

#[test]
fn sequences_share_beginnings() {
    let (model, text) = (model(), text(LEN));
    let beginnings = [300, 512, 600, 40, 256];
    let texts = beginnings.map(|common| [&text[..common], &text[7..30]].concat());
    let most = 1 + beginnings.len();
    let mut sequences = model.sequences(&SequencesOptions::default().most(most).session(options())).unwrap();
    let first = sequences.join().unwrap();
    sequences.feed(first, &text).unwrap();
    sequences.step().unwrap();
    let ids = [(); 5].map(|()| sequences.join().unwrap());
    for round in 0..2 {
        for (id, text) in ids.iter().zip(&texts) {
            sequences.feed(*id, text).unwrap();
        }
        let mut found = [const { Vec::new() }; 5];
        while sequences.step().unwrap() > 0 {
            for (id, found) in ids.iter().zip(&mut found) {
                if let Ok(logits) = sequences.logits(*id) {
                    *found = logits.iter().map(|x| x.to_bits()).collect();
                }
            }
        }
        for (found, text) in found.iter().zip(&texts) {
            assert!(*found == fresh(&model, text), "round {round}: {} tokens", text.len());
        }
        // A place that others had before, and a cut within what is shared.
        for id in ids {
            sequences.truncate(id, 0).unwrap();
        }
        sequences.truncate(first, 270).unwrap();
        sequences.feed(first, &text[3..9]).unwrap();
        // The page again from its start, in one step.
        assert_eq!(sequences.step().unwrap(), 14 + 6);
        let logits: Vec<u32> = sequences.logits(first).unwrap().iter().map(|x| x.to_bits()).collect();
        assert!(logits == fresh(&model, &[&text[..270], &text[3..9]].concat()));
        sequences.truncate(first, 270).unwrap();
        sequences.feed(first, &text[270..]).unwrap();
        while sequences.step().unwrap() > 0 {}
    }
}

/// Raises a flag at a product.
struct At(usize, Arc<AtomicBool>);

impl Observer for At {
    fn product(&mut self, _: &str, _: Rows<'_>) {
        self.0 = self.0.wrapping_sub(1);
        if self.0 == 0 {
            self.1.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn work_that_was_ended_leaves_no_trace() {
    let (model, text) = (model(), text(LEN));
    let flag = Arc::new(AtomicBool::new(false));
    for (held, products) in [(0, 3), (1, 9), (100, 3), (300, 12), (512, 6), (515, 9)] {
        let mut session = model.session(&options()).unwrap();
        session.cancel_when(Arc::clone(&flag));
        session.feed(&text[..held]).unwrap();
        let ended = session.feed_observed(&text[held..], &mut At(products, Arc::clone(&flag)));
        assert!(matches!(ended, Err(SessionError::Cancelled)) && session.position() == held);
        flag.store(false, Ordering::Relaxed);
        session.feed(&text[held..]).unwrap();
        assert!(bits(&session) == fresh(&model, &text), "{held}, ended at product {products}");
    }
}

#[test]
fn what_was_forgotten_is_not_looked_back_at() {
    let (model, text) = (model(), text(LEN));
    let full = |batch, pieces: usize| {
        let options = options().context(150).batch(batch);
        let mut session = model.session(&options).unwrap();
        session.set_when_full(WhenFull::Window { keep: 4 }).unwrap();
        text.chunks(pieces).for_each(|piece| session.feed(piece).unwrap());
        session
    };
    let session = full(150, LEN);
    for (batch, pieces) in [(1, 1), (64, 7), (150, 100)] {
        assert!(bits(&full(batch, pieces)) == bits(&session), "{batch} {pieces}");
    }
    // A state that is restored stands where it stood.
    let mut other = full(64, 9);
    let mut state = Vec::new();
    session.save(&mut state).unwrap();
    other.clear();
    other.restore(&state).unwrap();
    let mut session = session;
    for piece in text.chunks(11) {
        session.feed(piece).unwrap();
        other.feed(piece).unwrap();
        assert!(bits(&session) == bits(&other));
    }
}

#[test]
fn guesses_change_nothing() {
    let (model, text) = (model(), text(280));
    let answer = |drafts, speculation: Option<Speculation>| {
        let mut session = model.session(&options().drafts(drafts)).unwrap();
        if let Some(speculation) = speculation {
            session.speculate(speculation.fixed(5)).unwrap();
        }
        session.feed(&text).unwrap();
        let sampling = SamplerOptions::default().temperature(0.7).seed(3);
        let mut sampler = session.sampler(&sampling).unwrap();
        let mut generation = session.generate(&mut sampler, 90).unwrap();
        let mut tokens = Vec::new();
        while let Some(token) = generation.next_token().unwrap() {
            tokens.push(token);
        }
        (tokens, bits(&session))
    };
    let plain = answer(0, None);
    assert!(answer(8, Some(Speculation::lookup())) == plain);
    let draft = model.session(&options().context(300)).unwrap();
    assert!(answer(8, Some(Speculation::of(draft))) == plain);
}

#[test]
fn lists_that_say_something_else_are_refused() {
    use siskin::gguf::write::{OwnedArray, OwnedValue};
    let refusal = |name: &str, key: &str, value: OwnedValue| {
        let parts = Parts::read(&family(&format!("{name}.gguf"))).key(key, Some(value));
        Model::from_gguf(&parts.gguf()).err().unwrap().to_string()
    };
    let list = |counts: &[i32]| OwnedValue::Array(OwnedArray::I32(counts.to_vec()));
    let kv = "lfm2.attention.head_count_kv";
    for (counts, expected) in [
        (&[0, 1, 0][..], "a number for each of the 4 layers"),
        (&[0, 1, 0, -1], "a number for each of the 4 layers"),
        (&[0, 1, 0, 2], "one number in all layers with attention"),
        (&[0, 0, 0, 0], "one number in all layers with attention"),
    ] {
        let line = refusal("lfm2", kv, list(counts));
        assert!(line.contains(kv) && line.contains(expected), "{line}");
    }
    let line = refusal("lfm2", kv, 1u32.into());
    assert!(line.contains("a number for each of the 4 layers"), "{line}");
    let line = refusal("lfm2", "lfm2.shortconv.l_cache", 40u32.into());
    assert!(line.contains("expected 2 to 17"), "{line}");
    let line = refusal("qwen3", "qwen3.attention.head_count_kv", list(&[2, 0]));
    assert!(line.contains("a number of at least 1 in each"), "{line}");
}
