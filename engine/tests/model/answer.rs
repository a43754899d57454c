//! Answers that own their session: the same words as by hand, whatever the session held before.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use siskin::sampler::SamplerOptions;
use siskin::template::Message;
use siskin::{Answer, AnswerLimits, Ending, Model, SessionOptions, Speculation};

fn demo() -> Model {
    Model::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/demo/siskin-demo.gguf")).unwrap()
}

fn options() -> SessionOptions {
    SessionOptions::default().context(256).threads(2).drafts(4)
}

fn user(text: &str) -> [Message; 1] {
    [Message::new("user", text)]
}

fn answer(model: &Model, sampling: &SamplerOptions) -> Answer {
    let session = model.session(&options()).unwrap();
    let sampler = session.sampler(sampling).unwrap();
    Answer::with_sampler(session, sampler)
}

fn text(answer: &mut Answer) -> String {
    let mut text = String::new();
    while let Some(piece) = answer.next_piece().unwrap() {
        assert!(!piece.text.is_empty());
        text.push_str(piece.text);
    }
    text
}

fn say(answer: &mut Answer, prompt: &str) -> String {
    answer.ask(&user(prompt)).unwrap();
    text(answer)
}

const PROMPTS: [&str; 4] = [
    "please turn on the kitchen light",
    "please turn on the attic light",
    "tell me a story about a fox",
    "please turn on the attic light",
];

/// Penalties that look back at the prompt.
fn sampling() -> SamplerOptions {
    SamplerOptions::default().seed(7).repeat_penalty(1.4).temperature(0.9)
}

#[test]
fn an_answer_does_not_depend_on_those_before_it() {
    let model = demo();
    let mut kept = answer(&model, &sampling());
    for prompt in PROMPTS {
        kept.set_sampler(kept.session().sampler(&sampling()).unwrap());
        kept.set_limits(AnswerLimits::default().tokens(40));
        let mut fresh = answer(&model, &sampling());
        fresh.set_limits(AnswerLimits::default().tokens(40));
        assert_eq!(say(&mut kept, prompt), say(&mut fresh, prompt), "{prompt}");
        assert_eq!(kept.tokens(), fresh.tokens());
        assert_eq!(kept.ending(), fresh.ending());
    }
    // What prompts begin with is not fed again.
    assert!((1..kept.prompt().len()).contains(&kept.reused()), "{}", kept.reused());
}

#[test]
fn a_generation_s_penalties_look_back_at_the_prompt_as_an_answer_s_do() {
    let model = demo();
    let greedy = SamplerOptions::default().temperature(0.0).repeat_penalty(1.6);
    for prompt in PROMPTS {
        let mut answer = answer(&model, &greedy);
        answer.set_limits(AnswerLimits::default().tokens(30));
        let expected = say(&mut answer, prompt);
        let mut session = model.session(&options()).unwrap();
        let mut sampler = session.sampler(&greedy).unwrap();
        let tokens = model.chat_tokens(&user(prompt)).unwrap();
        session.feed(&tokens).unwrap();
        let mut generation = session.generate(&mut sampler, 30).unwrap();
        let mut found = String::new();
        while let Some(piece) = generation.next_text().unwrap() {
            found.push_str(piece);
        }
        assert_eq!(found, expected);
        // By hand, as a program does that knows nothing of either.
        let mut by_hand = model.session(&options()).unwrap();
        let mut sampler = by_hand.sampler(&greedy).unwrap();
        by_hand.feed(&tokens).unwrap();
        tokens.iter().for_each(|&token| sampler.accept(token));
        for &token in answer.tokens() {
            assert_eq!(sampler.sample(by_hand.logits().unwrap()), token);
            sampler.accept(token);
            by_hand.feed(&[token]).unwrap();
        }
    }
}

#[test]
fn drafts_and_the_same_prompt_again_change_nothing() {
    let model = demo();
    let mut plain = answer(&model, &SamplerOptions::default().temperature(0.0));
    let expected = PROMPTS.map(|prompt| say(&mut plain, prompt));
    let mut drafting = answer(&model, &SamplerOptions::default().temperature(0.0));
    drafting.session_mut().speculate(Speculation::lookup().fixed(4)).unwrap();
    for (prompt, expected) in PROMPTS.iter().zip(&expected) {
        for _ in 0..2 {
            assert_eq!(say(&mut drafting, prompt), *expected);
        }
    }
    // A prompt that the session holds to its last token needs no work.
    let tokens = model.chat_tokens(&user(PROMPTS[0])).unwrap();
    let mut read = answer(&model, &SamplerOptions::default().temperature(0.0));
    read.ask_tokens(&tokens).unwrap();
    read.read_prompt().unwrap();
    read.ask_tokens(&tokens).unwrap();
    assert_eq!((read.reused(), text(&mut read)), (tokens.len(), expected[0].clone()));
}

#[test]
fn whoever_waits_for_a_prompt_is_told_how_far_it_is() {
    let model = demo();
    let greedy = SamplerOptions::default().temperature(0.0);
    let mut quiet = answer(&model, &greedy);
    let expected = say(&mut quiet, PROMPTS[0]);
    let mut told = Answer::with_sampler(
        model.session(&options().batch(5)).unwrap(),
        quiet.session().sampler(&greedy).unwrap(),
    );
    told.ask(&user(PROMPTS[0])).unwrap();
    let mut fed = Vec::new();
    told.read_prompt_telling(|count| fed.push(count)).unwrap();
    let count = told.prompt().len();
    let mut batches: Vec<usize> = (5..count).step_by(5).collect();
    batches.push(count);
    assert_eq!(fed, batches);
    assert_eq!(text(&mut told), expected);
    // Only what is new is fed.
    told.ask(&user(PROMPTS[0])).unwrap();
    fed.clear();
    told.read_prompt_telling(|count| fed.push(count)).unwrap();
    assert_eq!(fed.last().copied().unwrap_or(0), told.prompt().len() - told.reused());
}

#[test]
fn answers_end_for_a_reason() {
    let model = demo();
    let greedy = SamplerOptions::default().temperature(0.0);
    let mut answer = answer(&model, &greedy);
    let whole = say(&mut answer, PROMPTS[0]);
    assert_eq!(answer.ending(), Some(Ending::Complete));
    assert!(answer.next_piece().unwrap().is_none());
    answer.set_limits(AnswerLimits::default().tokens(5));
    assert!(whole.starts_with(&say(&mut answer, PROMPTS[0])));
    assert_eq!((answer.ending(), answer.tokens().len()), (Some(Ending::Limit), 5));
    // Over a token's end, and not at a piece's.
    let (before, stop) = (&whole[..9], &whole[9..21]);
    answer.set_limits(AnswerLimits::default().stop(vec![stop.to_owned(), String::new()]));
    assert_eq!(say(&mut answer, PROMPTS[0]), before);
    assert_eq!(answer.ending(), Some(Ending::Complete));
    answer.set_limits(AnswerLimits::default());
    assert_eq!(say(&mut answer, PROMPTS[0]), whole);

    let small = model.session(&options().context(20)).unwrap();
    let mut small = Answer::new(small).unwrap();
    small.ask(&user("turn off the attic light now")).unwrap();
    text(&mut small);
    assert_eq!((small.ending(), small.session().position()), (Some(Ending::ContextFull), 20));
    // What cannot be asked leaves all as it was.
    let error = small.ask(&user(&"very ".repeat(40))).unwrap_err().to_string();
    assert!(error.contains("the context of 20 tokens is full"), "{error}");
    assert!(small.ask_tokens(&[]).is_err() && small.ask_tokens(&[u32::MAX]).is_err());
    assert!(small.next_piece().unwrap().is_none());
    assert_eq!((small.ending(), small.session().position()), (Some(Ending::ContextFull), 20));
}

#[test]
fn a_session_may_be_cut_or_restored_between_a_prompt_and_its_answer() {
    let model = demo();
    let mut answer = answer(&model, &SamplerOptions::default().temperature(0.0));
    let whole = say(&mut answer, PROMPTS[0]);
    answer.ask(&user(PROMPTS[0])).unwrap();
    assert!(answer.reused() > 0);
    answer.session_mut().truncate(0);
    assert_eq!(text(&mut answer), whole);
    assert_eq!(answer.reused(), 0);
    let mut state = Vec::new();
    say(&mut answer, PROMPTS[1]);
    answer.session().save(&mut state).unwrap();
    say(&mut answer, PROMPTS[0]);
    answer.ask(&user(PROMPTS[0])).unwrap();
    answer.session_mut().restore(&state).unwrap();
    assert_eq!(text(&mut answer), whole);
}

#[test]
fn answers_are_sent_to_other_threads_and_cancelled_from_there() {
    let model = demo();
    let mut answer = answer(&model, &SamplerOptions::default().temperature(0.0));
    let whole = say(&mut answer, PROMPTS[0]);
    let flag = Arc::new(AtomicBool::new(false));
    answer.cancel_when(Arc::clone(&flag));
    answer.ask(&user(PROMPTS[0])).unwrap();
    let cancel = Arc::clone(&flag);
    let (mut answer, begun) = thread::spawn(move || {
        let mut begun = String::new();
        for _ in 0..3 {
            begun.push_str(answer.next_piece().unwrap().unwrap().text);
        }
        cancel.store(true, Ordering::Relaxed);
        begun.push_str(&text(&mut answer));
        (answer, begun)
    })
    .join()
    .unwrap();
    assert_eq!(answer.ending(), Some(Ending::Cancelled));
    assert!(whole.starts_with(&begun) && begun.len() < whole.len());
    answer.ask(&user(PROMPTS[2])).unwrap();
    assert!(answer.next_piece().unwrap().is_none());
    assert_eq!(answer.ending(), Some(Ending::Cancelled));
    flag.store(false, Ordering::Relaxed);
    assert_eq!(say(&mut answer, PROMPTS[0]), whole);
}
