//! Sequences that are cut, and forget: their bits come of what was asked of them alone, not of when it was worked on, in which
//! batches, with whom they share their beginning, or which drafts were wrong.

use std::sync::LazyLock;

use crate::parts::{Parts, family, ids_in};
use proptest::prelude::*;
use siskin::gguf::write::OwnedValue;
use siskin::sampler::SamplerOptions;
use siskin::{
    CacheType, Model, SequenceId, Sequences, SequencesOptions, Session, SessionOptions, Speculation,
};

const CONTEXT: usize = 2048;

/// Short convolutions, windows whose ring is shorter than the context, and windows whose ring is as long.
static MODELS: LazyLock<[(Model, Vec<u32>); 3]> = LazyLock::new(|| {
    let long = |name: &str, window: Option<u32>| {
        let mut parts = Parts::read(&family(&format!("{name}.gguf")))
            .key(&format!("{name}.context_length"), Some(OwnedValue::U32(CONTEXT as u32)));
        if let Some(window) = window {
            parts = parts.key(&format!("{name}.attention.sliding_window"), Some(OwnedValue::U32(window)));
        }
        // Not the same again and again.
        let ids =
            ids_in(&family(name)).into_iter().cycle().enumerate().map(|(i, id)| (id + i as u32 / 60) % 128);
        (Model::from_gguf(&parts.gguf()).unwrap(), ids.take(CONTEXT).collect())
    };
    [long("lfm2", None), long("gemma3", Some(40)), long("gemma3", Some(900))]
});

/// What is asked of a sequence.
#[derive(Clone, Debug)]
enum Call {
    Feed(usize),
    /// The last so many are forgotten.
    Cut(usize),
    /// So many are, from a place on.
    Forget(usize, usize),
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        4 => prop_oneof![1usize..9, 1usize..100, 200usize..500].prop_map(Call::Feed),
        4 => prop_oneof![1usize..70, 250usize..600].prop_map(Call::Cut),
        3 => (0usize..90, 1usize..40).prop_map(|(from, count)| Call::Forget(from, count)),
    ]
}

fn options(batch: usize) -> SessionOptions {
    SessionOptions::default().context(CONTEXT).threads(2).batch(batch).cache(CacheType::F32).drafts(6)
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|x| x.to_bits()).collect()
}

/// The logits after all calls and a token more, in a session, which works at once.
fn in_session(model: &Model, text: &[u32], calls: &[Call], batch: usize) -> Vec<u32> {
    let mut session = model.session(&options(batch)).unwrap();
    for call in calls {
        let held = session.position();
        match *call {
            Call::Feed(count) => session.feed(&text[held..held + count]).unwrap(),
            Call::Cut(count) => session.truncate(held.saturating_sub(count)),
            Call::Forget(from, count) => session.forget(from..from + count),
        }
    }
    session.feed(&text[..1]).unwrap();
    bits(session.logits().unwrap())
}

/// The same in sequences that take so many steps after each call, the beginning being another one's too.
fn in_sequences(
    model: &Model,
    text: &[u32],
    calls: &[Call],
    (batch, steps, shared): (usize, usize, usize),
) -> Vec<u32> {
    let most = SequencesOptions::default().most(2).session(options(batch));
    let mut sequences = model.sequences(&most).unwrap();
    let [other, id] = [(); 2].map(|()| sequences.join().unwrap());
    sequences.feed(other, &text[..shared]).unwrap();
    work(&mut sequences, other);
    for call in calls {
        let held = sequences.position(id).unwrap();
        match *call {
            Call::Feed(count) => sequences.feed(id, &text[held..held + count]).unwrap(),
            Call::Cut(count) => sequences.truncate(id, held.saturating_sub(count)).unwrap(),
            Call::Forget(from, count) => sequences.forget(id, from..from + count).unwrap(),
        }
        for _ in 0..steps {
            sequences.step().unwrap();
        }
    }
    sequences.feed(id, &text[..1]).unwrap();
    work(&mut sequences, id)
}

/// Works until nothing waits: the logits of a sequence.
fn work(sequences: &mut Sequences, id: SequenceId) -> Vec<u32> {
    let mut found = Vec::new();
    while sequences.step().unwrap() > 0 {
        if let Ok(logits) = sequences.logits(id) {
            found = bits(logits);
        }
    }
    found
}

fn the_same(model: usize, calls: &[Call], batch: usize, steps: usize, shared: usize) {
    let (model, text) = &MODELS[model];
    let expected = in_session(model, text, calls, 256);
    assert!(in_session(model, text, calls, batch) == expected, "batches of {batch}");
    let found = in_sequences(model, text, calls, (batch, steps, shared));
    assert!(found == expected, "batches of {batch}, {steps} steps a call, {shared} tokens from elsewhere");
}

#[test]
fn what_was_cut_before_it_was_worked_on_left_no_trace() {
    use Call::{Cut, Feed, Forget};
    for model in 0..3 {
        for steps in [0, 9] {
            // A long cut, and then a gap.
            the_same(model, &[Feed(162), Cut(65), Forget(0, 7)], 100, steps, 1);
            the_same(model, &[Feed(600), Cut(299), Forget(0, 7), Feed(3), Cut(50)], 100, steps, 1);
            // A gap, and then a long cut.
            the_same(model, &[Feed(300), Forget(3, 40), Feed(100), Cut(80)], 100, steps, 1);
            the_same(model, &[Feed(800), Forget(3, 40), Feed(500), Cut(400), Feed(9), Cut(2)], 100, steps, 1);
            // What is left is no longer promised when the rest of it is cut, and is once more has been fed.
            the_same(model, &[Feed(300), Forget(3, 40), Feed(100), Cut(25), Cut(25), Cut(25)], 40, steps, 1);
            the_same(model, &[Feed(260), Cut(1), Forget(5, 1), Cut(20), Feed(2)], 40, steps, 1);
            // Of a beginning that another sequence worked on, less is there than of one's own.
            the_same(model, &[Feed(700), Forget(3, 40), Cut(29)], 100, steps, 690);
            the_same(model, &[Feed(270), Forget(3, 40), Cut(20)], 100, steps, 500);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_cut_and_forgotten_bits_come_of_the_calls_alone(
        model in 0usize..3,
        calls in prop::collection::vec(call(), 1..9),
        batch in prop_oneof![3usize..9, 30usize..90, 200usize..700],
        steps in 0usize..4,
        shared in 1usize..900,
    ) {
        // As much as the context has room for.
        let mut held = 0;
        let calls: Vec<Call> = calls.into_iter().filter(|call| {
            let after = match *call {
                Call::Feed(count) => held + count,
                Call::Cut(count) => held.saturating_sub(count),
                Call::Forget(from, count) => held - count.min(held.saturating_sub(from)),
            };
            let fits = after + 1 < CONTEXT;
            if fits {
                held = after;
            }
            fits
        }).collect();
        the_same(model, &calls, batch, steps, shared);
    }
}

/// Drafts are fed and taken back, which a sequence without drafts never was.
#[test]
fn drafts_that_were_wrong_leave_no_trace_behind_a_gap() {
    for (model, text) in &*MODELS {
        let answered = |drafts: bool, cut: usize| {
            let mut session: Session = model.session(&options(100)).unwrap();
            session.feed(&text[..400]).unwrap();
            session.forget(3..40);
            if drafts {
                session.speculate(Speculation::lookup().fixed(5)).unwrap();
            }
            let mut sampler = session.sampler(&SamplerOptions::default().temperature(0.0)).unwrap();
            let mut generation = session.generate(&mut sampler, 60).unwrap();
            while generation.next_token().unwrap().is_some() {}
            session.truncate(session.position() - cut);
            session.feed(&text[..1]).unwrap();
            bits(session.logits().unwrap())
        };
        for cut in (1..60).step_by(3) {
            assert!(answered(true, cut) == answered(false, cut), "cut by {cut}");
        }
    }
}
