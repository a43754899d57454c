//! Answers that keep to a grammar: what they are, and that they are the same however they are worked out.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::parts::Parts;
use proptest::prelude::*;
use serde_json::{Value, json};
use siskin::grammar::{Grammar, GrammarError, GrammarSource};
use siskin::sampler::{Mirostat, SamplerOptions};
use siskin::template::Message;
use siskin::{
    Answer, AnswerEvent, AnswerLimits, AnswerRequest, Channel, Ending, Error, Model, Scheduler,
    SequencesOptions, SessionOptions, Speculation, WhenFull,
};

fn demo_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/demo/siskin-demo.gguf")
}

static DEMO: LazyLock<Model> = LazyLock::new(|| Model::open(demo_path()).unwrap());

/// The demo's vocabulary and shape with weights that know nothing.
static RANDOM: LazyLock<Model> = LazyLock::new(|| {
    let mut parts = Parts::read(&demo_path());
    let mut state = 1u64;
    let mut number = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    for tensor in parts.tensors.iter_mut().filter(|tensor| tensor.shape.len() > 1) {
        let values: Vec<f32> = (0..tensor.shape.iter().product::<u64>()).map(|_| number() * 0.2).collect();
        siskin_quant::encode(tensor.ty, &values, &mut tensor.data).unwrap();
    }
    Model::from_gguf(&parts.gguf()).unwrap()
});

fn schema(model: &Model, schema: &Value) -> Result<Grammar, GrammarError> {
    model.grammar(&GrammarSource::JsonSchema(schema.to_string())).map(Grammar::without_thoughts)
}

fn request(model: &Model, prompt: &str, sampling: SamplerOptions, grammar: Grammar) -> AnswerRequest {
    AnswerRequest::new(model.chat_tokens(&[Message::new("user", prompt)]).unwrap())
        .sampling(sampling)
        .limits(AnswerLimits::default().tokens(300))
        .grammar(grammar)
}

/// An answer as it came: its text without thoughts, its tokens, why it ended.
type Told = (String, Vec<u32>, Option<Ending>);

/// What an answer of its own says, in batches of so many tokens, with drafts or without.
fn alone(model: &Model, request: &AnswerRequest, batch: usize, drafts: usize) -> Told {
    let options = SessionOptions::default().context(512).threads(2).batch(batch).drafts(drafts);
    let mut session = model.session(&options).unwrap();
    if drafts > 0 {
        session.speculate(Speculation::lookup().fixed(drafts)).unwrap();
    }
    let sampler = session.sampler(&request.sampling).unwrap();
    let mut answer = Answer::with_sampler(session, sampler);
    answer.set_limits(request.limits.clone());
    answer.set_grammar(request.grammar.clone());
    answer.ask_tokens(&request.prompt).unwrap();
    let mut text = String::new();
    while let Some(piece) = answer.next_piece().unwrap() {
        if piece.channel == Channel::Text {
            text.push_str(piece.text);
        }
    }
    (text, answer.tokens().to_vec(), answer.ending())
}

/// What a scheduler answers, in the order of the requests.
fn together(model: &Model, requests: &[AnswerRequest], most: usize, pages: Option<usize>) -> Vec<Told> {
    let session = SessionOptions::default().context(512).threads(1).batch(64);
    let options = SequencesOptions::default().most(most).pages(pages).session(session);
    let mut scheduler = Scheduler::new(model.sequences(&options).unwrap());
    let ids: Vec<_> = requests.iter().map(|request| scheduler.ask(request.clone()).unwrap()).collect();
    let asks = requests[0].logprobs.is_some();
    let mut told = vec![Told::default(); ids.len()];
    let mut work = |scheduler: &mut Scheduler| {
        scheduler.step(|id, event| {
            let told = &mut told[ids.iter().position(|other| *other == id).unwrap()];
            match event {
                AnswerEvent::Piece(piece) if piece.channel == Channel::Text => told.0.push_str(piece.text),
                AnswerEvent::Piece(_) | AnswerEvent::Read { .. } | AnswerEvent::Embedded { .. } => {}
                // Each that is asked for has its own, forced or not.
                AnswerEvent::Token { token, logprobs } => {
                    assert_eq!(logprobs.is_some(), asks);
                    told.1.push(token);
                }
                AnswerEvent::Over { ending, tokens, error, .. } => {
                    assert!(error.is_none(), "{error:?}");
                    assert_eq!(told.1, tokens);
                    told.2 = Some(ending);
                }
            }
        })
    };
    while work(&mut scheduler).unwrap() > 0 {}
    told
}

/// Whether a value is what a schema of the kinds that [`schemas`] makes asks for.
fn validates(schema: &Value, value: &Value) -> bool {
    if let Some(options) = schema["anyOf"].as_array() {
        return options.iter().any(|option| validates(option, value));
    }
    if let Some(options) = schema["enum"].as_array() {
        return options.contains(value);
    }
    let bound = |name: &str| schema[name].as_f64();
    let within = |found: usize, least: &str, most: &str| {
        bound(least).is_none_or(|least| found as f64 >= least)
            && bound(most).is_none_or(|most| found as f64 <= most)
    };
    match (schema["type"].as_str().unwrap(), value) {
        ("null", Value::Null) | ("boolean", Value::Bool(_)) => true,
        ("integer", Value::Number(number)) => number.as_i64().is_some_and(|number| {
            bound("minimum").is_none_or(|least| number as f64 >= least)
                && bound("maximum").is_none_or(|most| number as f64 <= most)
        }),
        ("string", Value::String(text)) => within(text.chars().count(), "minLength", "maxLength"),
        ("array", Value::Array(items)) => {
            within(items.len(), "minItems", "maxItems")
                && items.iter().all(|item| validates(&schema["items"], item))
        }
        ("object", Value::Object(fields)) => {
            let required = schema["required"].as_array().unwrap();
            required.iter().all(|name| fields.contains_key(name.as_str().unwrap()))
                && fields.iter().all(|(name, field)| {
                    schema["properties"].get(name).is_some_and(|schema| validates(schema, field))
                })
        }
        _ => false,
    }
}

fn schemas() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "null"})),
        Just(json!({"type": "boolean"})),
        (-300i64..300, 0i64..500).prop_map(|(least, more)| {
            json!({"type": "integer", "minimum": least, "maximum": least + more})
        }),
        (0usize..4, 0usize..5).prop_map(|(least, more)| {
            json!({"type": "string", "minLength": least, "maxLength": least + more})
        }),
        prop::collection::btree_set("[a-zé\"\\\\ 😀]{0,5}", 1..4).prop_map(|words| json!({"enum": words})),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let names = prop::collection::btree_map("[a-d\"é]{1,2}", (inner.clone(), any::<bool>()), 0..4);
        prop_oneof![
            (inner.clone(), 0usize..2, 0usize..3).prop_map(|(items, least, more)| {
                json!({"type": "array", "items": items, "minItems": least, "maxItems": least + more})
            }),
            prop::collection::vec(inner, 1..3).prop_map(|options| json!({"anyOf": options})),
            names.prop_map(|fields| {
                let required: Vec<&String> =
                    fields.iter().filter(|(_, (_, required))| *required).map(|(name, _)| name).collect();
                let properties: Value =
                    fields.iter().map(|(name, (schema, _))| (name.clone(), schema.clone())).collect();
                json!({"type": "object", "properties": properties, "required": required,
                    "additionalProperties": false})
            }),
        ]
    })
}

fn sampling(kind: usize, seed: u64) -> SamplerOptions {
    let options = SamplerOptions::default().seed(seed);
    match kind {
        0 => options.temperature(0.0),
        1 => options.temperature(1.5).top_k(0).top_p(1.0).min_p(0.0).repeat_penalty(1.3),
        2 => options.mirostat(Mirostat::V2),
        _ => options.temperature(0.9).xtc_probability(0.5).dry_multiplier(0.8).logit_bias(vec![(300, 2.0)]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    /// Any answer is what its schema asks for, and is the same alone, with others, with drafts, with forced tokens fed one
    /// by one (a batch of one token) and together.
    #[test]
    fn answers_validate_and_are_the_same_however_they_are_worked_out(
        asked in prop::collection::vec((schemas(), 0usize..4, 0u64..9), 1..4),
        random in any::<bool>(),
        pages in 4usize..9,
    ) {
        let model = if random { &*RANDOM } else { &*DEMO };
        let requests: Vec<_> = asked
            .iter()
            .map(|(asked, kind, seed)| {
                let grammar = schema(model, asked).unwrap();
                request(model, "tell me about a fox", sampling(*kind, *seed), grammar)
            })
            .collect();
        let expected: Vec<_> = requests.iter().map(|request| alone(model, request, 64, 0)).collect();
        for ((text, _, ending), (asked, ..)) in expected.iter().zip(&asked) {
            prop_assert_eq!(*ending, Some(Ending::Complete), "{} {}", asked, text);
            let value: Value = serde_json::from_str(text).unwrap();
            prop_assert!(validates(asked, &value), "{} {}", asked, text);
        }
        for (request, expected) in requests.iter().zip(&expected) {
            prop_assert_eq!(&alone(model, request, 1, 0), expected);
            prop_assert_eq!(&alone(model, request, 64, 4), expected);
        }
        prop_assert_eq!(&together(model, &requests, 2, None), &expected);
        prop_assert_eq!(&together(model, &requests, 3, Some(pages.min(6))), &expected);
        let probable: Vec<_> = requests.iter().map(|request| request.clone().logprobs(1)).collect();
        prop_assert_eq!(&together(model, &probable, 3, None), &expected);
    }
}

/// A schema whose answers are almost all forced.
fn forcing() -> Value {
    json!({"type": "object", "properties": {
        "a rather long name of a property": {"enum": ["the first of two rather long values", "the second"]},
        "another rather long name": {"const": ["all", "of", "this", "is", "known"]}},
        "required": ["a rather long name of a property", "another rather long name"],
        "additionalProperties": false})
}

#[test]
fn forced_tokens_take_no_random_number_and_no_pass_of_their_own() {
    let model = &*DEMO;
    let grammar = schema(model, &forcing()).unwrap();
    let request = request(model, "hello", sampling(1, 3), grammar);
    let (text, _, ending) = alone(model, &request, 64, 0);
    assert_eq!(ending, Some(Ending::Complete));
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["another rather long name"], json!(["all", "of", "this", "is", "known"]));
    // Once it is certain which of two sentences it is, there is nothing to work out.
    let either =
        GrammarSource::Regex("The capital of Norway is Oslo\\.|Of Norway I know nothing\\.".to_owned());
    let grammar = model.grammar(&either).unwrap().without_thoughts();
    let request = self::request(model, "hello", sampling(1, 3), grammar);
    let options =
        SequencesOptions::default().most(1).session(SessionOptions::default().context(512).threads(1));
    let mut scheduler = Scheduler::new(model.sequences(&options).unwrap());
    scheduler.ask(request).unwrap();
    let (mut steps, mut tokens) = (1, 0);
    let mut count = |_, event: AnswerEvent<'_>| {
        if let AnswerEvent::Over { tokens: all, .. } = event {
            tokens = all.len();
        }
    };
    while scheduler.step(&mut count).unwrap() > 0 {
        steps += 1;
    }
    assert!(tokens > 6 && steps <= 3, "{steps} steps for {tokens} tokens");
}

#[test]
fn whatever_cuts_an_answer_is_its_ending() {
    let model = &*DEMO;
    let grammar = schema(model, &forcing()).unwrap();
    let whole = request(model, "hello", sampling(0, 0), grammar);
    let (text, tokens, _) = alone(model, &whole, 64, 0);
    // In the middle of forced tokens, too, and at the very end.
    for limit in 1..=tokens.len() {
        let cut = whole.clone().limits(AnswerLimits::default().tokens(limit));
        let expected = if limit < tokens.len() { Ending::Limit } else { Ending::Complete };
        let told = alone(model, &cut, 64, 0);
        assert_eq!((&told.1, told.2), (&tokens[..limit].to_vec(), Some(expected)), "{limit}");
        assert!(text.starts_with(&told.0));
        assert_eq!(alone(model, &cut, 64, 4), told);
        assert_eq!(together(model, &[cut], 1, None), [told]);
    }
    let stopped = whole.clone().limits(AnswerLimits::default().stop(vec!["er lo".to_owned()]));
    let told = alone(model, &stopped, 64, 0);
    assert_eq!((told.0.as_str(), told.2), (text.split("er lo").next().unwrap(), Some(Ending::Complete)));
    assert_eq!(together(model, &[stopped], 1, None), [told]);
    // A context that has no room for all that is forced, with and without forgetting.
    let context = whole.prompt.len() + tokens.len() / 2;
    let ends_in = |batch: usize, when_full: WhenFull| {
        let options = SessionOptions::default().context(context).threads(1).batch(batch);
        let mut session = model.session(&options).unwrap();
        session.set_when_full(when_full).unwrap();
        let sampler = session.sampler(&whole.sampling).unwrap();
        let mut answer = Answer::with_sampler(session, sampler);
        answer.set_grammar(whole.grammar.clone());
        answer.ask_tokens(&whole.prompt).unwrap();
        while answer.next_piece().unwrap().is_some() {}
        (answer.tokens().to_vec(), answer.ending().unwrap())
    };
    let (full, ending) = ends_in(64, WhenFull::Stop);
    assert_eq!((&full[..], ending), (&tokens[..context - whole.prompt.len() + 1], Ending::ContextFull));
    assert_eq!(ends_in(1, WhenFull::Stop), (full.clone(), ending));
    let options =
        SequencesOptions::default().most(1).session(SessionOptions::default().context(context).threads(1));
    let mut scheduler = Scheduler::new(model.sequences(&options).unwrap());
    scheduler.ask(whole.clone()).unwrap();
    let mut over = None;
    while scheduler
        .step(|_, event| {
            if let AnswerEvent::Over { ending, tokens, .. } = event {
                over = Some((tokens.to_vec(), ending));
            }
        })
        .unwrap()
        > 0
    {}
    assert_eq!(over, Some((full, ending)));
    let shifted = ends_in(64, WhenFull::Shift { keep: 4 });
    assert_eq!(shifted.1, Ending::Complete);
    assert_eq!(ends_in(1, WhenFull::Shift { keep: 4 }), shifted);
}

#[test]
fn a_grammar_may_begin_and_end_in_the_middle_of_an_answer() {
    let model = &*DEMO;
    let regex = |text: &str| model.grammar(&GrammarSource::Regex(text.to_owned())).unwrap();
    let session = model.session(&SessionOptions::default().context(256).threads(1)).unwrap();
    let sampler = session.sampler(&sampling(0, 0)).unwrap();
    let mut answer = Answer::with_sampler(session, sampler);
    let free = |answer: &mut Answer| {
        answer.set_grammar(None);
        answer.ask(&[Message::new("user", "tell me a story about a fox")]).unwrap();
        let mut text = String::new();
        while let Some(piece) = answer.next_piece().unwrap() {
            text.push_str(piece.text);
        }
        text
    };
    let whole = free(&mut answer);
    assert!(whole.len() > 40);
    answer.ask(&[Message::new("user", "tell me a story about a fox")]).unwrap();
    let mut text = String::new();
    while text.len() < 20 {
        text.push_str(answer.next_piece().unwrap().unwrap().text);
    }
    assert!(whole.starts_with(&text));
    answer.set_grammar(Some(regex("<call>(lamp|heater) (on|off)</call>")));
    let begun = text.len();
    while let Some(piece) = answer.next_piece().unwrap() {
        text.push_str(piece.text);
    }
    assert_eq!(answer.ending(), Some(Ending::Complete));
    let call = &text[begun..];
    assert!(call.starts_with("<call>") && call.ends_with("</call>") && call.len() < 30, "{text}");
    assert_eq!(free(&mut answer), whole);

    // The same in a scheduler, and given up before it is over.
    let options =
        SequencesOptions::default().most(2).session(SessionOptions::default().context(256).threads(1));
    let mut scheduler = Scheduler::new(model.sequences(&options).unwrap());
    let prompt = answer.prompt().to_vec();
    let id = scheduler.ask(AnswerRequest::new(prompt).sampling(sampling(0, 0))).unwrap();
    let mut told = String::new();
    let mut stage = 0;
    loop {
        let left = scheduler.step(|_, event| {
            if let AnswerEvent::Piece(piece) = event {
                told.push_str(piece.text);
            }
        });
        if left.unwrap() == 0 {
            break;
        }
        if stage == 0 && told.len() >= 20 {
            assert!(scheduler.set_grammar(id, Some(regex("<call>.{100}"))));
            stage = 1;
        }
        if stage == 1 && told.contains("<call>") {
            assert!(scheduler.set_grammar(id, None));
            stage = 2;
        }
    }
    assert_eq!(told[..begun], text[..begun]);
    assert!(told[begun..].starts_with("<call>") && stage == 2, "{told}");
    assert!(!scheduler.set_grammar(id, None), "it is over");
}

#[test]
fn thoughts_come_before_the_grammar_and_are_free() {
    let model = &*DEMO;
    let grammar = model.grammar(&GrammarSource::Regex("(yes|no)".to_owned())).unwrap();
    let told = |prompt: &str, sampling: SamplerOptions, grammar: &Grammar| {
        let session = model.session(&SessionOptions::default().context(256).threads(1)).unwrap();
        let sampler = session.sampler(&sampling).unwrap();
        let mut answer = Answer::with_sampler(session, sampler);
        answer.set_limits(AnswerLimits::default().tokens(60));
        answer.set_grammar(Some(grammar.clone()));
        let tokens = model.text_tokens_with(prompt, siskin::tokenizer::Special::Parse);
        answer.ask_tokens(&tokens).unwrap();
        let (mut text, mut thoughts) = (String::new(), String::new());
        while let Some(piece) = answer.next_piece().unwrap() {
            match piece.channel {
                Channel::Text => text.push_str(piece.text),
                Channel::Thoughts => thoughts.push_str(piece.text),
                Channel::Mark => {}
            }
        }
        (text, thoughts, answer.ending().unwrap())
    };
    let is_answer = |text: &str| text == "yes" || text == "no";
    // The prompt opens thoughts: what is said in them is free, and the end of a turn is no way out of them.
    let tokenizer = model.tokenizer();
    let ends: Vec<(u32, f32)> = tokenizer.ends().iter().map(|&end| (end, 50.0)).collect();
    let eager = sampling(0, 0).logit_bias(ends);
    let (text, thoughts, ending) = told("Shall I? <think>", eager, &grammar);
    assert!(text.is_empty() && !thoughts.is_empty() && ending == Ending::Limit, "{text:?} {thoughts:?}");
    // It closes them where the text says so, whatever tokens that is made of.
    let mut close = Vec::new();
    tokenizer.encode(b"</think>", siskin::tokenizer::Special::Parse, &mut close);
    if let [close] = close[..] {
        let (text, _, ending) =
            told("Shall I? <think>", sampling(0, 0).logit_bias(vec![(close, 99.0)]), &grammar);
        assert!(is_answer(&text) && ending == Ending::Complete, "{text:?}");
    }
    for closed in ["Shall I?", "Shall I? <think>\n\n</think>\n\n"] {
        let (text, thoughts, ending) = told(closed, sampling(0, 0), &grammar.clone().without_thoughts());
        assert!(is_answer(&text) && thoughts.is_empty() && ending == Ending::Complete, "{text:?}");
    }
    let (text, ..) = told("Shall I? <think>\n\n</think>\n\n", sampling(1, 1), &grammar);
    assert!(is_answer(&text), "{text:?}");
}

#[test]
fn a_grammar_that_leaves_no_way_on_ends_its_answer_alone() {
    let model = &*DEMO;
    let refused = model.grammar(&GrammarSource::JsonSchema("{\"not\": {}}".to_owned())).unwrap_err();
    assert!(matches!(refused, GrammarError::Refused { .. }));
    assert!(matches!(Error::from(refused), Error::Grammar(_)));
    // Grammars of one model share its vocabulary, also where that has other templates.
    let template =
        siskin::template::ChatTemplate::from_gguf(&siskin::gguf::Gguf::open(&demo_path()).unwrap()).unwrap();
    let other = model.with_chat_template(template);
    let grammar = other.grammar(&GrammarSource::JsonObject).unwrap();
    let request = request(model, "hello", sampling(1, 5), grammar.clone().without_thoughts());
    let expected = alone(model, &request, 64, 0);
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let request = request.clone();
            std::thread::spawn(move || alone(&DEMO, &request, 64, 0))
        })
        .collect();
    threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), expected));
}
