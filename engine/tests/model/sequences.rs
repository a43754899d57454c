//! Several sequences at once: the bits of each are those of a session of its own.

use std::thread;

use crate::parts::Parts;
use proptest::prelude::*;
use siskin::gguf::write::OwnedValue;
use siskin::{
    CacheType, CacheTypes, Isa, Model, SequenceId, Sequences, SequencesOptions, SessionError, SessionOptions,
};
use siskin_quant::TensorType;

/// A tiny model with room for several pages of 256 positions.
fn model() -> Model {
    let parts = Parts::of("gqa").key("llama.context_length", Some(OwnedValue::from(1024u32)));
    Model::from_gguf(&parts.quantized(TensorType::Q8_0).gguf()).unwrap()
}

fn options(most: usize) -> SequencesOptions {
    let session = SessionOptions::default().context(700).threads(2).batch(96);
    SequencesOptions::default().most(most).session(session)
}

/// Tokens that differ by `seed`.
fn text(seed: u32, len: usize) -> Vec<u32> {
    (0..len as u32).map(|i| (i * i + 7 * i + seed * (i + 3)) % 120 + 1).collect()
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|x| x.to_bits()).collect()
}

/// The logits after `tokens` of a session that holds nothing else.
fn alone(model: &Model, options: &SessionOptions, tokens: &[u32]) -> Vec<u32> {
    let mut session = model.session(options).unwrap();
    session.feed(tokens).unwrap();
    bits(session.logits().unwrap())
}

/// Works until nothing waits, and returns how many tokens that took and the logits of each sequence that came to its end.
fn work(sequences: &mut Sequences, ids: &[SequenceId]) -> (usize, Vec<Option<Vec<u32>>>) {
    let (mut all, mut logits) = (0, vec![None; ids.len()]);
    loop {
        match sequences.step().unwrap() {
            0 => return (all, logits),
            tokens => all += tokens,
        }
        for (id, logits) in ids.iter().zip(&mut logits) {
            if let Ok(found) = sequences.logits(*id) {
                *logits = Some(bits(found));
            }
        }
    }
}

#[test]
fn each_sequence_has_the_logits_of_a_session() {
    let model = model();
    let mixed = CacheTypes { keys: CacheType::Q8_0, values: CacheType::F16 };
    for (isa, threads, cache) in [
        (Isa::choose().unwrap(), 2, CacheType::F16.into()),
        (Isa::choose().unwrap(), 3, mixed),
        ("scalar".parse().unwrap(), 1, CacheType::F32.into()),
    ] {
        let mut options = options(5);
        options.session = options.session.isa(isa).threads(threads).cache(cache);
        let mut sequences = model.sequences(&options).unwrap();
        let mut texts: Vec<_> = [300, 1, 40, 270, 7].iter().zip(1..).map(|(&len, i)| text(i, len)).collect();
        let ids: Vec<_> = texts.iter().map(|_| sequences.join().unwrap()).collect();
        for round in 0..3 {
            for (id, text) in ids.iter().zip(&mut texts) {
                let new = if round == 0 { text.clone() } else { vec![text.len() as u32 % 120; round] };
                sequences.feed(*id, &new).unwrap();
                text.extend(new.iter().filter(|_| round > 0));
            }
            let (_, logits) = work(&mut sequences, &ids);
            for (text, logits) in texts.iter().zip(logits) {
                let expected = alone(&model, &options.session, text);
                assert!(logits.unwrap() == expected, "{isa} {cache:?}: {} tokens", text.len());
            }
        }
    }
}

#[test]
fn a_common_beginning_is_worked_out_and_kept_once() {
    let model = model();
    let options = options(4);
    let mut sequences = model.sequences(&options).unwrap();
    let free = sequences.free_pages();
    let beginning = text(1, 600);
    let texts: Vec<Vec<u32>> =
        (0..4).map(|i| [&beginning[..], &text(i + 2, 5 + i as usize)].concat()).collect();
    let ids: Vec<_> = texts.iter().map(|_| sequences.join().unwrap()).collect();
    // All are fed before the first one is worked out.
    for (id, text) in ids.iter().zip(&texts) {
        sequences.feed(*id, text).unwrap();
    }
    // Two whole pages are common, the rest of the beginning is in a page of each.
    assert_eq!(free - sequences.free_pages(), 2 + 4);
    let (worked, logits) = work(&mut sequences, &ids);
    assert_eq!(worked, 600 + 5 + 6 + 7 + 8);
    for (text, logits) in texts.iter().zip(logits) {
        assert!(logits.unwrap() == alone(&model, &options.session, text));
    }
    // A late one has the whole of another one but its last token.
    sequences.leave(ids[0]).unwrap();
    let late = sequences.join().unwrap();
    sequences.feed(late, &texts[2]).unwrap();
    let (worked, logits) = work(&mut sequences, &[late]);
    assert_eq!(worked, 1);
    assert!(logits[0] == Some(alone(&model, &options.session, &texts[2])));
    for id in [ids[1], ids[2], ids[3], late] {
        sequences.leave(id).unwrap();
    }
    assert_eq!(sequences.free_pages(), free);
}

#[test]
fn sequences_that_share_a_page_write_to_their_own() {
    let model = model();
    let options = options(2);
    let mut sequences = model.sequences(&options).unwrap();
    let [first, second] = [sequences.join().unwrap(), sequences.join().unwrap()];
    let common = text(1, 512);
    let longer = [&common[..], &[5]].concat();
    sequences.feed(first, &common).unwrap();
    sequences.feed(second, &longer).unwrap();
    work(&mut sequences, &[]);
    // The first one turns back into a page that both use, and goes on otherwise.
    sequences.truncate(first, 400).unwrap();
    sequences.feed(first, &text(9, 100)).unwrap();
    sequences.feed(second, &[6]).unwrap();
    let (_, logits) = work(&mut sequences, &[first, second]);
    let texts = [[&common[..400], &text(9, 100)].concat(), [&longer[..], &[6]].concat()];
    for (text, logits) in texts.iter().zip(logits) {
        assert!(logits.unwrap() == alone(&model, &options.session, text));
    }
}

#[test]
fn whoever_waits_for_one_that_leaves_goes_on_alone() {
    let model = model();
    let options = options(3);
    for steps in 0..5 {
        let mut sequences = model.sequences(&options).unwrap();
        let texts: Vec<_> = (0..3).map(|i| [&text(1, 350)[..], &[i]].concat()).collect();
        let ids: Vec<_> = texts.iter().map(|_| sequences.join().unwrap()).collect();
        for (id, text) in ids.iter().zip(&texts) {
            sequences.feed(*id, text).unwrap();
        }
        for _ in 0..steps {
            sequences.step().unwrap();
        }
        sequences.leave(ids[0]).unwrap();
        let (_, logits) = work(&mut sequences, &ids[1..]);
        for (text, logits) in texts[1..].iter().zip(logits) {
            // Those that came to their end before have no logits any more.
            if let Some(logits) = logits {
                assert!(logits == alone(&model, &options.session, text), "after {steps} steps");
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let model = model();
    let mut sequences = model.sequences(&options(2).pages(3)).unwrap();
    let [first, second] = [sequences.join().unwrap(), sequences.join().unwrap()];
    assert!(matches!(sequences.join(), Err(SessionError::NoPlace { most: 2 })));
    sequences.feed(first, &text(1, 300)).unwrap();
    let error = sequences.feed(second, &text(2, 257)).unwrap_err();
    assert_eq!(error.to_string(), "the cache is full: expected 2 free pages of 256 positions, found 1");
    assert!(matches!(sequences.feed(second, &text(2, 701)), Err(SessionError::ContextFull { .. })));
    assert!(matches!(sequences.feed(second, &[99_999]), Err(SessionError::Token { .. })));
    assert_eq!(sequences.position(second).unwrap(), 0);
    // What begins as the first one does has room.
    sequences.feed(second, &text(1, 257)).unwrap();
    assert!(matches!(sequences.logits(first), Err(SessionError::NoPrompt)));
    let (_, logits) = work(&mut sequences, &[first, second]);
    assert!(logits[1] == Some(alone(&model, &options(2).session, &text(1, 257))));
    sequences.leave(first).unwrap();
    let third = sequences.join().unwrap();
    for error in [
        sequences.feed(first, &[1]).unwrap_err(),
        sequences.leave(first).unwrap_err(),
        sequences.truncate(first, 0).unwrap_err(),
        sequences.logits(first).map(|_| ()).unwrap_err(),
    ] {
        assert!(matches!(error, SessionError::NoSequence), "{error}");
    }
    sequences.feed(third, &text(3, 20)).unwrap();
    assert_eq!(sequences.step().unwrap(), 20);
    for (most, pages) in [(0, None), (5000, None), (2, Some(0)), (2, Some(7))] {
        let error = model.sequences(&options(most).pages(pages)).err().unwrap();
        assert!(matches!(error, SessionError::Option { .. }), "{error}");
    }
}

#[test]
fn sessions_of_one_model_run_in_threads_of_their_own() {
    let model = model();
    let session = options(1).session;
    let expected: Vec<_> = (0..4).map(|i| alone(&model, &session, &text(i, 90))).collect();
    let found: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|i| {
                scope.spawn({
                    let (model, session) = (&model, &session);
                    move || alone(model, session, &text(i, 90))
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(found == expected);
}

/// What may happen to a sequence between two steps.
#[derive(Clone, Debug)]
enum Event {
    /// Joins, and is fed so many tokens, of which the first are those of the text of this number.
    Join {
        text: u32,
        common: usize,
        own: usize,
    },
    Feed {
        which: usize,
        tokens: usize,
    },
    Truncate {
        which: usize,
        part: f64,
    },
    Leave {
        which: usize,
    },
    Step,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0u32..2, prop_oneof![0usize..40, 250usize..530], 1usize..60)
            .prop_map(|(text, common, own)| Event::Join { text, common, own }),
        3 => (0usize..4, 1usize..30).prop_map(|(which, tokens)| Event::Feed { which, tokens }),
        1 => (0usize..4, 0.0f64..1.0).prop_map(|(which, part)| Event::Truncate { which, part }),
        1 => (0usize..4).prop_map(|which| Event::Leave { which }),
        4 => Just(Event::Step),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_coming_and_going_leaves_the_bits_of_a_session(events in prop::collection::vec(event(), 5..40)) {
        let model = model();
        let options = options(4);
        let mut sequences = model.sequences(&options).unwrap();
        let mut live: Vec<(SequenceId, Vec<u32>)> = Vec::new();
        // At the end all are worked out.
        let (mut seed, steps) = (100, std::iter::repeat_n(Event::Step, 40));
        for event in events.into_iter().chain(steps) {
            seed += 1;
            match event {
                Event::Join { text: number, common, own } => {
                    let Ok(id) = sequences.join() else { continue };
                    let tokens = [&text(number, common)[..], &text(seed, own)].concat();
                    sequences.feed(id, &tokens).unwrap();
                    live.push((id, tokens));
                }
                Event::Feed { which, tokens } => {
                    let Some((id, held)) = live.get_mut(which) else { continue };
                    let tokens = text(seed, tokens);
                    if sequences.feed(*id, &tokens).is_ok() {
                        held.extend(tokens);
                    }
                }
                Event::Truncate { which, part } => {
                    let Some((id, held)) = live.get_mut(which) else { continue };
                    let len = (held.len() as f64 * part) as usize;
                    sequences.truncate(*id, len).unwrap();
                    held.truncate(len);
                }
                Event::Leave { which } => {
                    if which < live.len() {
                        sequences.leave(live.remove(which).0).unwrap();
                    }
                }
                Event::Step => {
                    sequences.step().unwrap();
                    for (id, tokens) in &live {
                        prop_assert_eq!(sequences.position(*id).unwrap(), tokens.len());
                        if let Ok(logits) = sequences.logits(*id) {
                            prop_assert!(bits(logits) == alone(&model, &options.session, tokens));
                        }
                    }
                }
            }
        }
        prop_assert_eq!(sequences.step().unwrap(), 0);
        for (id, _) in live {
            sequences.leave(id).unwrap();
        }
        prop_assert_eq!(sequences.free_pages(), 12);
    }
}
