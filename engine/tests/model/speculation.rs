//! Answers drafted ahead: the same as without.

use std::collections::HashMap;

use crate::parts::{Parts, golden, ids};
use siskin::gguf::write::{OwnedArray, OwnedValue};
use siskin::sampler::SamplerOptions;
use siskin::{CacheType, Model, Score, Session, SessionError, SessionOptions, Speculation, WhenFull};
use siskin_quant::TensorType;

fn model() -> Model {
    Model::open(golden("gqa.gguf")).unwrap()
}

/// A smaller relative: what it guesses is sometimes accepted.
fn relative() -> Model {
    Model::from_gguf(&Parts::of("gqa").quantized(TensorType::Q4_0).gguf()).unwrap()
}

fn options(drafts: usize) -> SessionOptions {
    SessionOptions::default().context(80).threads(2).drafts(drafts)
}

/// A text that repeats itself, as what is looked up does.
fn text() -> Vec<u32> {
    let ids = ids("gqa");
    [&ids[..12], &ids[3..10], &ids[..9]].concat()
}

fn bits(session: &Session) -> Vec<u32> {
    session.logits().unwrap().iter().map(|x| x.to_bits()).collect()
}

/// Tokens, and the logits that each was picked from, through as many generations as there are limits.
fn answers(session: &mut Session, sampling: &SamplerOptions, limits: &[usize]) -> Vec<(u32, Vec<u32>)> {
    let mut sampler = session.sampler(sampling).unwrap();
    session.feed(&text()).unwrap();
    let mut answers = Vec::new();
    for &limit in limits {
        for _ in 0..limit {
            // A generation for each token: the session is as good as a plain one between any two.
            let before = bits(session);
            let mut generation = session.generate(&mut sampler, 2).unwrap();
            let Some(token) = generation.next_token().unwrap() else { return answers };
            answers.push((token, before));
            drop(generation);
            session.feed(&[token]).unwrap();
        }
        let mut generation = session.generate(&mut sampler, limit).unwrap();
        while let Some(token) = generation.next_token().unwrap() {
            answers.push((token, Vec::new()));
        }
        answers.push((0, bits(session)));
    }
    answers
}

/// What guesses, with a name.
type Source = (&'static str, fn() -> Speculation);

fn sources() -> [Source; 3] {
    [
        ("lookup", Speculation::lookup),
        ("itself", || Speculation::of(model().session(&options(0)).unwrap())),
        ("a relative", || Speculation::of(relative().session(&options(0)).unwrap())),
    ]
}

#[test]
fn guesses_change_no_token_and_no_bit() {
    let model = model();
    let mut sums: HashMap<_, Score> = HashMap::new();
    for (temperature, repeat_penalty) in [(0.0, 1.0), (0.7, 1.0), (1.0, 1.3)] {
        // Answers do not end by themselves.
        let logit_bias = model.tokenizer().ends().iter().map(|&end| (end, f32::NEG_INFINITY)).collect();
        let sampling = SamplerOptions::default()
            .temperature(temperature)
            .repeat_penalty(repeat_penalty)
            .seed(5)
            .logit_bias(logit_bias);
        for when_full in [WhenFull::Stop, WhenFull::Window { keep: 4 }] {
            let limits: &[usize] = if when_full == WhenFull::Stop { &[7, 12] } else { &[7, 90, 30] };
            for cache in [CacheType::F16, CacheType::Q8_0] {
                let session = |drafts| {
                    let mut session = model.session(&options(drafts).cache(cache)).unwrap();
                    session.set_when_full(when_full).unwrap();
                    session
                };
                let mut plain = session(0);
                let expected = answers(&mut plain, &sampling, limits);
                assert_eq!(expected.len(), limits.iter().map(|limit| 2 * limit + 1).sum::<usize>());
                for (name, speculation) in sources() {
                    for fixed in [None, Some(1), Some(4), Some(9)] {
                        let mut session = session(6);
                        let speculation = speculation();
                        let speculation = match fixed {
                            Some(guesses) => speculation.fixed(guesses),
                            None => speculation,
                        };
                        session.speculate(speculation).unwrap();
                        let found = answers(&mut session, &sampling, limits);
                        assert!(found == expected, "{name} {fixed:?} {temperature} {when_full:?} {cache:?}");
                        assert_eq!(session.tokens(), plain.tokens());
                        let score = session.score().unwrap();
                        let sum = sums.entry(name).or_default();
                        (sum.drafted, sum.accepted) =
                            (sum.drafted + score.drafted, sum.accepted + score.accepted);
                    }
                }
            }
        }
    }
    // Right ones and wrong ones were among them.
    assert!(
        sums.len() == 3 && sums.values().all(|sum| sum.accepted > 20 && sum.accepted + 20 < sum.drafted),
        "{sums:?}"
    );
}

fn score(speculation: Speculation) -> Score {
    let mut session = model().session(&options(4)).unwrap();
    session.speculate(speculation.fixed(4)).unwrap();
    session.feed(&text()).unwrap();
    let greedy = SamplerOptions::default().temperature(0.0);
    let mut sampler = session.sampler(&greedy).unwrap();
    let mut generation = session.generate(&mut sampler, 41).unwrap();
    while generation.next_token().unwrap().is_some() {}
    session.score().unwrap()
}

#[test]
fn a_model_guesses_its_own_answer_and_a_relative_part_of_it() {
    let Score { drafted, accepted, .. } = score(Speculation::of(model().session(&options(0)).unwrap()));
    assert!(drafted >= 12 && accepted == drafted, "{accepted} of {drafted}");
    let Score { drafted, accepted, .. } = score(Speculation::of(relative().session(&options(0)).unwrap()));
    assert!(accepted > 0 && accepted < drafted, "{accepted} of {drafted}");
}

#[test]
fn models_of_other_tokens_are_refused() {
    let mut session = model().session(&options(4)).unwrap();
    let mut parts = Parts::of("gqa");
    let tokens = parts.keys.iter_mut().find(|(key, _)| key == "tokenizer.ggml.tokens");
    match tokens {
        Some((_, OwnedValue::Array(OwnedArray::Str(tokens)))) => tokens.swap(100, 101),
        _ => panic!("the model has tokens"),
    }
    let other = Model::from_gguf(&parts.gguf()).unwrap();
    let error = session.speculate(Speculation::of(other.session(&options(0)).unwrap())).unwrap_err();
    assert!(matches!(error, SessionError::DraftVocabulary { token: 100 }), "{error}");
    let error = model().session(&options(32)).err().unwrap();
    assert_eq!(error.to_string(), "session option drafts: expected 0 to 31, found 32");
}

/// Vocabularies are padded to different lengths: rows that stand for no token are never drafts.
#[test]
fn a_draft_model_with_more_rows_than_tokens_drafts_none_of_them() {
    let mut parts = Parts::of("gqa");
    for tensor in &mut parts.tensors {
        if ["token_embd.weight", "output.weight"].contains(&tensor.name.as_str()) {
            // 64 rows more, and in the output such as always have the highest logit.
            let row = tensor.data.len() / tensor.shape[1] as usize;
            tensor.shape[1] += 64;
            let rows = tensor.data[..row].repeat(64);
            let loud = |bytes: &[u8; 4]| (f32::from_le_bytes(*bytes) * 1e4).to_le_bytes();
            match tensor.name.as_str() {
                "output.weight" => tensor.data.extend(rows.as_chunks().0.iter().flat_map(loud)),
                _ => tensor.data.extend(rows),
            }
        }
    }
    let padded = Model::from_gguf(&parts.gguf()).unwrap();
    let model = model();
    assert_eq!(padded.vocabulary(), model.vocabulary() + 64);
    let greedy = SamplerOptions::default().temperature(0.0);
    let answer = |draft: Option<&Model>| {
        let mut session = model.session(&options(4)).unwrap();
        if let Some(draft) = draft {
            let draft = draft.session(&options(0)).unwrap();
            session.speculate(Speculation::of(draft).fixed(4)).unwrap();
        }
        session.feed(&text()).unwrap();
        let mut sampler = session.sampler(&greedy).unwrap();
        let mut generation = session.generate(&mut sampler, 41).unwrap();
        while generation.next_token().unwrap().is_some() {}
        session.tokens().to_vec()
    };
    assert_eq!(answer(Some(&padded)), answer(None));
    // And the other way round: the larger vocabulary is the model's.
    let mut session = padded.session(&options(4)).unwrap();
    session.speculate(Speculation::of(model.session(&options(0)).unwrap()).fixed(4)).unwrap();
    session.feed(&text()).unwrap();
    let mut sampler = session.sampler(&greedy).unwrap();
    let mut generation = session.generate(&mut sampler, 20).unwrap();
    while generation.next_token().unwrap().is_some() {}
}
