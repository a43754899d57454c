//! Many answers at once: each is the one that an [`Answer`] gives that was asked alone.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use crate::adapters::adapter;
use crate::parts::{Parts, family};
use proptest::prelude::*;
use siskin::gguf::write::OwnedValue;
use siskin::sampler::SamplerOptions;
use siskin::template::Message;
use siskin::{
    Adapter, Answer, AnswerEvent, AnswerId, AnswerLimits, AnswerRequest, Ending, Error, Model, Observer,
    Rows, SavedHead, Scheduler, SequencesOptions, SessionError, SessionOptions, StateError,
};
use siskin_quant::TensorType;

fn demo() -> Model {
    Model::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/demo/siskin-demo.gguf")).unwrap()
}

fn session() -> SessionOptions {
    SessionOptions::default().context(512).threads(1).batch(48)
}

fn scheduler(model: &Model, most: usize, pages: Option<usize>) -> Scheduler {
    Scheduler::new(
        model.sequences(&SequencesOptions::default().most(most).pages(pages).session(session())).unwrap(),
    )
}

/// An answer as it came: its text, its tokens, and why it ended.
#[derive(Clone, Debug, Default, PartialEq)]
struct Told {
    text: String,
    tokens: Vec<u32>,
    ending: Option<Ending>,
    error: Option<String>,
    /// Tokens that were told one by one, as long as it is not over; None before the prompt is read.
    said: Option<Vec<u32>>,
}

type Answers = BTreeMap<AnswerId, Told>;

/// Takes one step, and returns how many answers are not over.
fn step(scheduler: &mut Scheduler, told: &mut Answers) -> Result<usize, SessionError> {
    scheduler.step(|id, event| {
        let told = told.entry(id).or_default();
        assert_eq!(told.ending, None, "nothing comes behind the end");
        match event {
            AnswerEvent::Read { .. } => assert_eq!(told.said.replace(Vec::new()), None, "it is told once"),
            AnswerEvent::Token { token, logprobs } => {
                assert_eq!(logprobs, None);
                told.said.as_mut().unwrap().push(token);
            }
            AnswerEvent::Embedded { .. } => panic!("no text is embedded"),
            AnswerEvent::Piece(piece) => {
                assert!(!piece.text.is_empty());
                told.text.push_str(piece.text);
            }
            AnswerEvent::Over { ending, tokens, error, .. } => {
                assert_eq!(told.said.take().unwrap_or_default(), tokens);
                told.ending = Some(ending);
                told.tokens = tokens.to_vec();
                told.error = error.map(|error| error.to_string());
            }
        }
    })
}

/// What a scheduler answers, in the order of the requests.
fn answers(scheduler: &mut Scheduler, requests: &[AnswerRequest]) -> Vec<Told> {
    let ids: Vec<_> = requests.iter().map(|request| scheduler.ask(request.clone()).unwrap()).collect();
    let mut told = Answers::new();
    while step(scheduler, &mut told).unwrap() > 0 {}
    assert_eq!((scheduler.unfinished(), told.len()), (0, ids.len()));
    ids.iter().map(|id| told.remove(id).unwrap()).collect()
}

/// What an answer of its own says.
fn alone(model: &Model, request: &AnswerRequest) -> Told {
    alone_in(model, request, 512)
}

/// The same in another context.
fn alone_in(model: &Model, request: &AnswerRequest, context: usize) -> Told {
    let options = session().context(context);
    let mut session = model.session(&options).unwrap();
    request.adapters.iter().for_each(|(adapter, scale)| session.attach(adapter, *scale).unwrap());
    let sampler = session.sampler(&request.sampling).unwrap();
    let mut answer = Answer::with_sampler(session, sampler);
    answer.set_limits(request.limits.clone());
    answer.ask_tokens(&request.prompt).unwrap();
    let mut told = Told::default();
    loop {
        match answer.next_piece() {
            Ok(Some(piece)) => told.text.push_str(piece.text),
            Ok(None) => break,
            Err(error) => {
                told.error = Some(error.to_string());
                break;
            }
        }
    }
    Told { tokens: answer.tokens().to_vec(), ending: answer.ending(), ..told }
}

/// Prompts with and without a common beginning, of all kinds of options.
fn requests(model: &Model) -> Vec<AnswerRequest> {
    let long = "You are the assistant of a house. ".repeat(28);
    let prompts = [
        "please turn on the kitchen light",
        "tell me a story about a fox",
        "hello",
        "please turn on the attic light",
        "tell me a story about a wolf",
        "who are you",
        "please turn on the kitchen light",
        "tell me a story about a bear and a crow",
        "is it warm",
        "hello",
        "please turn off the hall light",
    ];
    let request = |(i, prompt): (usize, &str)| {
        let mut messages = vec![Message::new("user", prompt)];
        if i % 3 == 1 {
            messages.insert(0, Message::new("system", &long));
        }
        let sampling = SamplerOptions::default()
            .seed(i as u64 / 2)
            .temperature([0.0, 1.0, 0.8][i % 3])
            .repeat_penalty([1.0, 1.3][i % 2])
            .frequency_penalty(if i == 4 { 0.5 } else { 0.0 })
            .dry_multiplier(if i == 7 { 0.8 } else { 0.0 });
        let stop = if i % 4 == 3 { vec![" ".to_owned(), "\"dev".to_owned()] } else { Vec::new() };
        let tokens = [Some(60), Some(1), None, Some(17)][i % 4].or((i == 2).then_some(90));
        AnswerRequest::new(model.chat_tokens(&messages).unwrap())
            .sampling(sampling)
            .limits(AnswerLimits::default().tokens(tokens).stop(stop))
    };
    prompts.into_iter().enumerate().map(request).collect()
}

#[test]
fn each_answer_is_the_one_that_was_asked_alone() {
    let model = demo();
    let requests = requests(&model);
    let expected: Vec<_> = requests.iter().map(|request| alone(&model, request)).collect();
    for most in [1, 2, 3, 8] {
        let mut scheduler = scheduler(&model, most, None);
        assert_eq!(answers(&mut scheduler, &requests), expected, "{most} at once");
        // Idle sequences hold what was said before.
        assert_eq!(answers(&mut scheduler, &requests), expected, "{most} at once, again");
    }
}

#[test]
fn a_cache_that_is_too_small_for_all_changes_nothing() {
    let model = demo();
    let longest = SamplerOptions::default().seed(3).temperature(1.5);
    let request = |i: u32| {
        AnswerRequest::new((0..230 + 5 * i).map(|at| (at * at + 7 * i) % 120 + 200).collect())
            .sampling(longest.clone())
    };
    let requests: Vec<_> = (0..6).map(request).collect();
    let expected: Vec<_> = requests.iter().map(|request| alone(&model, request)).collect();
    assert!(expected.iter().any(|told| told.tokens.len() > 40), "some come to a second page");
    for (most, pages) in [(4, 4), (3, 2), (6, 3)] {
        let mut scheduler = scheduler(&model, most, Some(pages));
        assert_eq!(answers(&mut scheduler, &requests), expected, "{most} in {pages} pages");
    }
    // One page is not enough for a single one: that fails, and those that have room do not.
    let short = request(0).limits(AnswerLimits::default().tokens(3));
    let long = AnswerRequest::new(vec![300; 300]);
    let mut scheduler = scheduler(&model, 2, Some(1));
    let told = answers(&mut scheduler, &[short.clone(), long, short.clone()]);
    assert_eq!((&told[0], &told[2]), (&alone(&model, &short), &alone(&model, &short)));
    assert_eq!(told[1].ending, Some(Ending::Failed));
    assert!(told[1].error.as_ref().unwrap().starts_with("the cache is full"), "{:?}", told[1]);
}

#[test]
fn one_that_fails_does_not_disturb_others() {
    let loud = 40;
    let parts = Parts::of("gqa").tensor("token_embd.weight", |tensor| {
        let row = tensor.data.len() / tensor.shape[1] as usize;
        tensor.data[loud * row..loud * row + 4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    });
    let model = Model::from_gguf(&parts.gguf()).unwrap();
    let ends = (0..model.vocabulary() as u32).filter(|&token| model.tokenizer().is_end(token));
    let never = ends.chain([loud as u32]).map(|token| (token, -1e9)).collect();
    let greedy = SamplerOptions::default().temperature(0.0).logit_bias(never);
    let request = |prompt: &[u32]| {
        AnswerRequest::new(prompt.to_vec()).sampling(greedy.clone()).limits(AnswerLimits::default().tokens(9))
    };
    let requests =
        [&[1, 2, 3][..], &[1, 2, loud as u32], &[1, 2, 4], &[1, 2, loud as u32, 5], &[9]].map(request);
    let options =
        SequencesOptions::default().most(2).session(SessionOptions::default().context(64).threads(1));
    let told = answers(&mut Scheduler::new(model.sequences(&options).unwrap()), &requests);
    let failed: Vec<_> = told.iter().map(|told| told.error.as_deref()).collect();
    let error = "the logits after the token at position 2 are not finite";
    let later = "the logits after the token at position 3 are not finite";
    assert_eq!(failed, [None, Some(error), None, Some(later), None]);
    assert!(told.iter().all(|told| (told.ending == Some(Ending::Failed)) == told.error.is_some()));
    let mut one = Scheduler::new(model.sequences(&options.most(1)).unwrap());
    for at in [0, 2, 4] {
        assert_eq!(answers(&mut one, &requests[at..=at]), told[at..=at]);
        assert_eq!(told[at].tokens.len(), 9);
    }
}

#[test]
fn what_cannot_be_answered_is_refused() {
    let model = demo();
    let mut scheduler = scheduler(&model, 2, None);
    let limits = AnswerLimits::default().tokens(5);
    let hello = AnswerRequest::new(model.text_tokens("hello")).limits(limits);
    let refused = [
        AnswerRequest::default(),
        AnswerRequest::new(vec![1; 513]),
        AnswerRequest::new(vec![u32::MAX]),
        hello.clone().sampling(SamplerOptions::default().top_p(7.0)),
    ];
    for request in refused {
        assert!(matches!(scheduler.ask(request).unwrap_err(), Error::Session(_)));
    }
    assert_eq!(scheduler.unfinished(), 0);
    // Known where it is begun.
    let biased = SamplerOptions::default().logit_bias(vec![(u32::MAX, 1.0)]);
    let told = answers(&mut scheduler, &[hello.clone().sampling(biased), hello]);
    assert!(told[0].error.as_ref().unwrap().contains("logit_bias"), "{:?}", told[0]);
    assert!(told[1].ending.unwrap().is_complete());
}

#[test]
fn common_beginnings_are_kept_once_also_of_answers_that_are_over() {
    let model = demo();
    let mut scheduler = scheduler(&model, 3, None);
    let all = scheduler.sequences().free_pages();
    let beginning: Vec<u32> = (0..300).map(|at| at % 150 + 200).collect();
    let request = |last: u32, tokens: usize| {
        AnswerRequest::new([&beginning[..], &[last]].concat())
            .sampling(SamplerOptions::default().temperature(0.0))
            .limits(AnswerLimits::default().tokens(tokens))
    };
    let requests: Vec<_> = (0..3).map(|i| request(210 + i, 2)).collect();
    answers(&mut scheduler, &requests);
    assert_eq!(all - scheduler.sequences().free_pages(), 1 + 3, "a whole page is shared");
    // The next one takes the place of one that is over, and is through with its prompt after one step.
    let id = scheduler.ask(request(240, 1)).unwrap();
    let mut told = Answers::new();
    assert_eq!(step(&mut scheduler, &mut told).unwrap(), 0);
    assert_eq!(told[&id], alone(&model, &request(240, 1)));
}

#[test]
fn sequences_beside_those_at_work_keep_what_was_read() {
    let model = demo();
    let options = SequencesOptions::default().most(1).idle(3).pages(8).session(session());
    let mut scheduler = Scheduler::new(model.sequences(&options).unwrap());
    let request = |first: u32, tokens| {
        let prompt: Vec<u32> = (0..300).map(|at| if at == 0 { first } else { at % 150 + 200 }).collect();
        AnswerRequest::new(prompt).limits(AnswerLimits::default().tokens(tokens))
    };
    let mut reused = |request: AnswerRequest| {
        scheduler.ask(request).unwrap();
        let mut told = None;
        let mut each = |_, event: AnswerEvent<'_>| {
            if let AnswerEvent::Read { reused } = event {
                told = Some(reused);
            }
        };
        while scheduler.step(&mut each).unwrap() > 0 {}
        told.unwrap()
    };
    // Prompts with nothing in common, each of which is asked again: all but its last token is there. Another one has the one
    // leave that was of no use for the longest time.
    let firsts = [300, 301, 302, 303];
    assert_eq!(firsts.map(|first| reused(request(first, 2))), [0; 4]);
    assert_eq!(firsts.map(|first| reused(request(first, 2))), [299; 4]);
    assert_eq!([304, 301, 302, 303, 300].map(|first| reused(request(first, 2))), [0, 299, 299, 299, 0]);
}

/// Sees what the output matrix is multiplied with.
#[derive(Default)]
struct Outputs(Vec<Vec<f32>>);

impl Observer for Outputs {
    fn product(&mut self, tensor: &str, activations: Rows<'_>) {
        if tensor == "output.weight" || tensor == "token_embd.weight" {
            self.0.extend(activations.map(<[f32]>::to_vec));
        }
    }
}

#[test]
fn an_embedding_is_the_same_beside_whatever_else_is_at_work() {
    for (model, adapters) in KINDS.iter() {
        let vocabulary = model.vocabulary() as u32;
        let text =
            |seed: u32, length: u32| (0..length).map(|at| (at * at + seed * at) % vocabulary).collect();
        let texts: Vec<Vec<u32>> = vec![text(1, 1), text(2, 300), text(3, 70), text(2, 290)];
        let adapters: Vec<_> = adapters.iter().take(1).map(|adapter| (adapter.clone(), 0.5)).collect();
        let expected = texts.iter().map(|text: &Vec<u32>| {
            let mut session = model.session(&session()).unwrap();
            adapters.iter().for_each(|(adapter, scale)| session.attach(adapter, *scale).unwrap());
            let mut seen = Outputs::default();
            session.feed_observed(text, &mut seen).unwrap();
            let mean =
                |at: usize| seen.0.iter().map(|row| f64::from(row[at])).sum::<f64>() / text.len() as f64;
            let mean: Vec<f32> = (0..seen.0[0].len()).map(|at| mean(at) as f32).collect();
            (mean, seen.0.last().unwrap().clone())
        });
        let expected: Vec<_> = expected.collect();
        for (most, idle, pages, answers) in [(1, 0, 2, 0), (1, 0, 2, 2), (2, 1, 4, 5), (3, 0, 6, 5)] {
            let options = SequencesOptions::default().most(most).idle(idle).pages(pages).session(session());
            let mut scheduler = Scheduler::new(model.sequences(&options).unwrap());
            scheduler.limit_slowdown(1.5);
            let mut asked = Vec::new();
            for at in 0..answers.max(texts.len()) {
                if at < answers {
                    let limits = AnswerLimits::default().tokens(40);
                    let request = AnswerRequest::new(text(at as u32, 60 + 50 * at as u32)).limits(limits);
                    let request = request.sampling(SamplerOptions::default().seed(at as u64));
                    asked.push((scheduler.ask(request.clone()).unwrap(), request));
                }
                if let Some(text) = texts.get(at) {
                    scheduler.embed(text.clone(), adapters.clone()).unwrap();
                }
            }
            let dropped = scheduler.embed(texts[1].clone(), Vec::new()).unwrap();
            assert!(scheduler.drop_answer(dropped));
            let (mut embedded, mut told) = (Vec::new(), Answers::new());
            while scheduler.unfinished() > 0 {
                let each = |id: AnswerId, event: AnswerEvent<'_>| match event {
                    AnswerEvent::Embedded { mean, last } => embedded.push((mean.to_vec(), last.to_vec())),
                    AnswerEvent::Piece(piece) => told.entry(id).or_default().text.push_str(piece.text),
                    AnswerEvent::Over { error, .. } => assert!(error.is_none(), "{error:?}"),
                    AnswerEvent::Read { .. } | AnswerEvent::Token { .. } => {}
                };
                scheduler.step(each).unwrap();
            }
            assert_eq!(embedded, expected, "{}: {most} in {pages} pages", model.name());
            for (id, request) in asked {
                let said = told.remove(&id).unwrap_or_default().text;
                assert_eq!(said, alone(model, &request).text);
            }
        }
    }
}

#[test]
fn probabilities_are_those_of_the_logits() {
    let model = demo();
    let prompt = model.text_tokens("please turn on the");
    let mut scheduler = scheduler(&model, 2, None);
    let limits = AnswerLimits::default().tokens(4);
    let request =
        AnswerRequest::new(prompt.clone()).sampling(SamplerOptions::default().seed(1)).limits(limits);
    scheduler.ask(request.clone()).unwrap();
    let with = scheduler.ask(request.logprobs(3)).unwrap();
    let mut told = Vec::new();
    let mut each = |id, event: AnswerEvent<'_>| {
        if let AnswerEvent::Token { token, logprobs } = event {
            assert_eq!(logprobs.is_some(), id == with);
            told.extend(logprobs.map(|logprobs| (token, logprobs.clone())));
        }
    };
    while scheduler.step(&mut each).unwrap() > 0 {}
    let mut session = model.session(&session()).unwrap();
    session.feed(&prompt).unwrap();
    assert_eq!(told.len(), 4);
    for (token, logprobs) in told {
        let logits = session.logits().unwrap();
        let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
        let of = |token: u32| f64::from(logits[token as usize]) - sum.ln();
        assert!((f64::from(logprobs.picked) - of(token)).abs() < 1e-4);
        assert_eq!(logprobs.top.len(), 3);
        assert!(logprobs.top.iter().all(|&(token, p)| (f64::from(p) - of(token)).abs() < 1e-4));
        let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
        assert_eq!(logprobs.top[0].0 as usize, best);
        session.feed(&[token]).unwrap();
    }
}

#[test]
fn what_was_cancelled_goes_on_and_what_was_dropped_does_not() {
    let model = demo();
    let requests = requests(&model);
    let expected: Vec<_> = requests.iter().map(|request| alone(&model, request)).collect();
    let mut scheduler = scheduler(&model, 2, None);
    let flag = Arc::new(AtomicBool::new(false));
    scheduler.cancel_when(Arc::clone(&flag));
    let ids: Vec<_> = requests.iter().map(|request| scheduler.ask(request.clone()).unwrap()).collect();
    let mut told = Answers::new();
    assert_eq!(scheduler.at_work(), 0);
    for round in 0.. {
        if round == 5 {
            assert!(scheduler.drop_answer(ids[0]) && scheduler.drop_answer(ids[10]));
            assert!(!scheduler.drop_answer(ids[10]) && scheduler.at_work() <= 1);
        }
        flag.store(true, Ordering::Relaxed);
        assert!(matches!(step(&mut scheduler, &mut told), Err(SessionError::Cancelled)));
        flag.store(false, Ordering::Relaxed);
        if step(&mut scheduler, &mut told).unwrap() == 0 {
            break;
        }
    }
    for (at, (id, expected)) in ids.iter().zip(&expected).enumerate() {
        match at {
            0 => assert_eq!(told[id].ending, None),
            10 => assert!(!told.contains_key(id)),
            _ => assert_eq!(told[id], *expected),
        }
    }
}

/// Models with each kind of state, in contexts of several pages, and the adapters that a request may have.
static KINDS: LazyLock<Vec<(Model, Vec<Adapter>)>> = LazyLock::new(|| {
    let long = |parts: Parts| {
        let key = parts.keys.iter().find(|(key, _)| key.ends_with(".context_length")).unwrap().0.clone();
        Model::from_gguf(&parts.key(&key, Some(OwnedValue::U32(2048))).gguf()).unwrap()
    };
    let whole = long(Parts::of("gqa"));
    let adapters = [3, 4].map(|seed| adapter(&whole, seed, TensorType::F32)).to_vec();
    let others = ["gemma3", "lfm2", "qwen3-moe"]
        .map(|name| (long(Parts::read(&family(&format!("{name}.gguf")))), Vec::new()));
    [(whole, adapters)].into_iter().chain(others).collect()
});

/// Keeps something of what was read for what comes: pins a third of a prompt, saves an idle sequence, or takes one up that
/// was saved, be it for the adapters of this request or not.
fn keep(scheduler: &mut Scheduler, how: usize, request: &AnswerRequest, saved: &mut Option<(u128, Vec<u8>)>) {
    match how {
        0 if scheduler.at_work() == 0 => {
            let third = &request.prompt[..request.prompt.len().div_ceil(3)];
            match scheduler.pin(third, &request.adapters) {
                Ok(()) | Err(SessionError::NoPlace { .. } | SessionError::CacheFull { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        1 | 2 => {
            if let Some((id, fingerprint, tokens)) = scheduler.idle().last() {
                let mut state = Vec::new();
                scheduler.save(id, &mut state).unwrap();
                let head = SavedHead::read(&mut &state[..], tokens.len()).unwrap();
                assert_eq!((head.fingerprint, head.tokens.as_slice()), (fingerprint, tokens));
                *saved = Some((fingerprint, state));
            }
        }
        3 | 4 => {
            if let Some((fingerprint, state)) = saved {
                let is_theirs = scheduler.fingerprint(&request.adapters) == *fingerprint;
                match scheduler.take_up(&mut Cursor::new(&state), &request.adapters) {
                    Ok(tokens) => assert!(is_theirs && tokens > 0),
                    Err(Error::State(StateError::OtherModel)) => assert!(!is_theirs),
                    Err(
                        Error::State(StateError::TooLong { .. })
                        | Error::Session(SessionError::NoPlace { .. }),
                    ) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
        5 => {
            // One that changes after it was found to be whole is as if it was not there.
            if let Some((_, state)) = saved {
                let mut file = Changing { state: Cursor::new(state.clone()), rewound: 0 };
                let refused = scheduler.take_up(&mut file, &request.adapters).unwrap_err();
                assert!(matches!(
                    refused,
                    Error::State(StateError::OtherModel | StateError::TooLong { .. } | StateError::Damaged)
                        | Error::Session(SessionError::NoPlace { .. })
                ));
            }
        }
        _ => {}
    }
}

/// A file with another byte when it is read again.
struct Changing {
    state: Cursor<Vec<u8>>,
    rewound: usize,
}

impl Read for Changing {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.state.read(bytes)
    }
}

impl Seek for Changing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if to == SeekFrom::Start(0) {
            self.rewound += 1;
            if self.rewound == 2 {
                let place = self.state.get_ref().len() - 20;
                self.state.get_mut()[place] ^= 0xff;
            }
        }
        self.state.seek(to)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever a model keeps of what it has read, and whatever changes it, also where answers to one prompt differ in
    /// that alone, and whatever is pinned, saved, or taken up again. Prompts are read in slices as long as the machine's speed has them. Cut somewhere, put back and shared are sequences as they come to be.
    #[test]
    fn kinds_of_state_and_adapters_make_no_difference(
        kind in 0usize..4,
        most in 1usize..5,
        idle in 0usize..4,
        pages in 3usize..9,
        slowdown in prop::sample::select(vec![1.0, 2.0, f32::INFINITY]),
        asked in prop::collection::vec(
            (0usize..3, 1usize..600, 1usize..12, 0usize..3, 0usize..9, 0usize..7), 2..8
        ),
    ) {
        let (model, adapters) = &KINDS[kind];
        let session = session().context(640);
        let options = SequencesOptions::default().most(most).idle(idle).pages(pages.min(3 * most)).session(session);
        let mut scheduler = Scheduler::new(model.sequences(&options).unwrap());
        scheduler.limit_slowdown(slowdown);
        let mut told = Answers::new();
        let mut requests = Vec::new();
        let mut saved: Option<(u128, Vec<u8>)> = None;
        for (i, &(text, length, tokens, attached, steps, kept)) in asked.iter().enumerate() {
            let vocabulary = model.vocabulary() as u32;
            let prompt = (0..length as u32).map(|at| (at * at + 7 * text as u32 * (at / 90)) % vocabulary);
            // None, the first, or both.
            let attached = adapters.iter().take(attached).map(|adapter| (adapter.clone(), 0.5));
            let request = AnswerRequest::new(prompt.collect())
                .sampling(SamplerOptions::default().seed(i as u64))
                .limits(AnswerLimits::default().tokens(tokens))
                .adapters(attached.collect());
            keep(&mut scheduler, kept, &request, &mut saved);
            requests.push((scheduler.ask(request.clone()).unwrap(), request));
            for _ in 0..steps {
                step(&mut scheduler, &mut told).unwrap();
            }
        }
        while step(&mut scheduler, &mut told).unwrap() > 0 {}
        for (id, request) in requests {
            prop_assert_eq!(&told[&id], &alone_in(model, &request, 640));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whenever prompts come, and however long they and their answers are.
    #[test]
    fn lengths_and_arrivals_make_no_difference(
        most in 1usize..6,
        pages in 2usize..7,
        asked in prop::collection::vec((1usize..330, 1usize..40, 0usize..12, any::<bool>()), 1..9),
    ) {
        let model = demo();
        let pages = pages.min(2 * most);
        let mut scheduler = scheduler(&model, most, Some(pages));
        let mut told = Answers::new();
        let mut requests = Vec::new();
        for (i, &(length, tokens, steps, alike)) in asked.iter().enumerate() {
            let seed = if alike { 0 } else { i as u32 };
            let prompt = (0..length as u32).map(|at| (at * at + 3 * seed * at) % 300 + 100);
            let request = AnswerRequest::new(prompt.collect())
                .sampling(SamplerOptions::default().seed(i as u64).repeat_penalty(1.2))
                .limits(AnswerLimits::default().tokens(tokens).stop(vec!["e".to_owned()]));
            requests.push((scheduler.ask(request.clone()).unwrap(), request));
            for _ in 0..steps {
                step(&mut scheduler, &mut told).unwrap();
            }
        }
        while step(&mut scheduler, &mut told).unwrap() > 0 {}
        for (id, request) in requests {
            prop_assert_eq!(&told[&id], &alone(&model, &request));
        }
    }
}
