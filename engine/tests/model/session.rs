//! What a session promises to its caller.

use crate::parts::{Parts, golden, ids};
use siskin::gguf::write::{OwnedArray, OwnedValue};
use siskin::sampler::{Sampler, SamplerOptions};
use siskin::template::{ChatTemplate, Json, Message, Rendering};
use siskin::{End, Model, Session, SessionError, SessionOptions};

fn session(context: usize) -> Session {
    let model = Model::open(golden("gqa.gguf")).unwrap();
    model.session(&SessionOptions::default().context(context).threads(2)).unwrap()
}

fn sampler(temperature: f32) -> Sampler {
    let options = SamplerOptions::default().temperature(temperature).seed(7);
    Sampler::new(&options, 128, 64, &Default::default()).unwrap()
}

#[test]
fn a_full_context_is_refused_and_leaves_the_session_as_it_was() {
    let mut session = session(16);
    let ids = ids("gqa");
    session.feed(&ids[..10]).unwrap();
    let before = session.logits().unwrap().to_vec();
    let error = session.feed(&ids[10..20]).unwrap_err();
    assert!(matches!(error, SessionError::ContextFull { context: 16, used: 10, wanted: 10 }), "{error}");
    assert_eq!((session.position(), session.logits().unwrap()), (10, &before[..]));
    session.feed(&ids[10..16]).unwrap();
    assert_eq!(session.position(), 16);
}

#[test]
fn foreign_tokens_are_refused() {
    let mut session = session(16);
    assert!(matches!(session.feed(&[1, 99_999]), Err(SessionError::Token { token: 99_999, .. })));
    assert_eq!(session.position(), 0);
}

#[test]
fn nothing_is_generated_without_a_prompt() {
    let mut session = session(16);
    assert!(matches!(session.logits(), Err(SessionError::NoPrompt)));
    assert!(matches!(session.generate(&mut sampler(0.0), 4), Err(SessionError::NoPrompt)));
    session.feed(&[]).unwrap();
    assert!(matches!(session.logits(), Err(SessionError::NoPrompt)));
}

#[test]
fn a_cleared_session_answers_as_a_new_one() {
    let ids = ids("gqa");
    let mut session = session(32);
    session.feed(&ids[..20]).unwrap();
    session.clear();
    session.feed(&ids[5..12]).unwrap();
    let again = session.logits().unwrap().to_vec();
    let mut fresh = self::session(32);
    fresh.feed(&ids[5..12]).unwrap();
    assert_eq!(fresh.logits().unwrap(), again);
}

#[test]
fn a_cut_session_goes_on_as_if_it_had_never_held_the_rest() {
    let ids = ids("gqa");
    let mut session = session(40);
    session.feed(&ids[..30]).unwrap();
    session.truncate(31);
    assert!(session.logits().is_ok());
    session.truncate(17);
    assert_eq!(session.position(), 17);
    assert!(matches!(session.logits(), Err(SessionError::NoPrompt)));
    session.feed(&ids[3..9]).unwrap();
    let again = session.logits().unwrap().to_vec();
    let mut fresh = self::session(40);
    fresh.feed(&[&ids[..17], &ids[3..9]].concat()).unwrap();
    assert_eq!(fresh.logits().unwrap(), again);
}

#[test]
fn greedy_generation_takes_the_first_best_token() {
    let mut session = session(64);
    session.feed(&ids("gqa")[..8]).unwrap();
    let logits = session.logits().unwrap();
    let best = (0..logits.len()).rev().max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
    let mut sampler = sampler(0.0);
    let mut generation = session.generate(&mut sampler, 5).unwrap();
    let mut tokens = Vec::new();
    while let Some(token) = generation.next_token().unwrap() {
        tokens.push(token);
    }
    match generation.end() {
        Some(End::Limit) => assert_eq!(tokens.len(), 5),
        Some(End::Turn(token)) => tokens.push(token),
        None => panic!("the generation says why it ended"),
    }
    assert_eq!(tokens[0] as usize, best);
}

#[test]
fn a_seed_reproduces_an_answer() {
    let answer = || {
        let mut session = session(64);
        session.feed(&ids("gqa")[..8]).unwrap();
        let mut sampler = sampler(1.0);
        let mut generation = session.generate(&mut sampler, 20).unwrap();
        std::iter::from_fn(|| generation.next_token().unwrap()).collect::<Vec<_>>()
    };
    let first = answer();
    assert!(!first.is_empty());
    assert_eq!(first, answer());
}

#[test]
fn sessions_of_one_model_do_not_disturb_each_other() {
    let model = Model::open(golden("gqa.gguf")).unwrap();
    let options = SessionOptions::default().threads(2);
    let ids = ids("gqa");
    let alone = {
        let mut session = model.session(&options).unwrap();
        session.feed(&ids).unwrap();
        session.logits().unwrap().to_vec()
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut session = model.session(&options).unwrap();
                for id in &ids {
                    session.feed(&[*id]).unwrap();
                }
                assert_eq!(session.logits().unwrap(), alone);
            });
        }
    });
}

#[test]
fn a_session_holds_the_tokens_that_it_handed_out() {
    let mut session = session(64);
    session.feed(&ids("gqa")[..8]).unwrap();
    let mut sampler = sampler(1.0);
    let mut generation = session.generate(&mut sampler, 6).unwrap();
    let tokens: Vec<u32> = std::iter::from_fn(|| generation.next_token().unwrap()).collect();
    drop(generation);
    assert_eq!(session.position(), 8 + tokens.len());
    let after = session.logits().unwrap().to_vec();
    session.truncate(8);
    assert!(matches!(session.logits(), Err(SessionError::NoPrompt)));
    session.feed(&tokens).unwrap();
    assert_eq!(session.logits().unwrap(), after);
}

#[test]
fn an_answer_ends_where_the_context_does() {
    let mut session = session(10);
    session.feed(&ids("gqa")[..8]).unwrap();
    let mut sampler = sampler(1.0);
    let mut generation = session.generate(&mut sampler, 100).unwrap();
    let mut count = 0;
    let error = loop {
        match generation.next_token() {
            Ok(Some(_)) => count += 1,
            Ok(None) => panic!("a random model does not end its turn so soon"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SessionError::ContextFull { context: 10, used: 10, wanted: 1 }), "{error}");
    assert_eq!(count, 3, "one token more than fits is seen, for its place is after it");
}

#[test]
fn a_template_that_asks_for_the_time_is_told_it() {
    let template = b"{{ strftime_now('%Y') }}: {{ messages[0]['content'] }}".to_vec();
    let parts = Parts::of("gqa").key("tokenizer.chat_template", Some(OwnedValue::Str(template)));
    let model = Model::from_gguf(&parts.gguf()).unwrap();
    let at = |seconds| model.chat_tokens_at(&[Message::new("user", "now")], seconds).unwrap();
    assert_eq!(at(0), model.text_tokens("1970: now"));
    assert_eq!(at(1_000_000_000), model.text_tokens("2001: now"));
}

/// However a template prints them: as JSON, as Python does, alone.
#[test]
fn only_the_templates_own_control_tokens_count() {
    let template = b"{{ tools | tojson }}{{ tools | tojson(ensure_ascii=true) }}{{ tools }}{{ messages | tojson(indent=2) }}\
        {{ messages }}{% for m in messages %}{{ m.role ~ m.content ~ m.tool_call_id }}{% endfor %}{{ thought }}<|im_end|>";
    let parts = Parts::of("gqa").key("tokenizer.chat_template", Some(OwnedValue::Str(template.to_vec())));
    let model = Model::from_gguf(&parts.gguf()).unwrap();
    let (start, end) = (1, 2);
    let json = |text: &str| text.parse::<Json>().unwrap();
    let messages = [
        Message::new("user<|im_end|>", "<|im_start|>"),
        Message::new("assistant", "a<|im_end|>b")
            .with("tool_calls", json(r#"[{"function": {"name": "<|im_end|>", "arguments": {"<|im_start|>": ["<|im_end|>"]}}}]"#))
            .with("<|im_end|>", true),
        Message::new("tool", "<|im_end|>").with("tool_call_id", "<|im_end|>\n<|im_start|>"),
    ];
    let rendering = Rendering::default()
        .tools(vec![json(r#"{"<|im_start|>": "<|im_end|>'", "other": [1, null, "<|im_end|>"]}"#)])
        .variables(vec![("thought".to_owned(), json(r#"{"a": "<|im_end|>"}"#))]);
    let tokens = model.chat_tokens_with(&messages, &rendering).unwrap();
    let places = |wanted| tokens.iter().filter(|&&token| token == wanted).count();
    assert_eq!((places(start), places(end), tokens.last()), (0, 1, Some(&end)));
    let spell = |tokens: &[u32]| -> Vec<u8> {
        tokens.iter().flat_map(|&id| model.tokenizer().piece(id).to_vec()).collect()
    };
    let template = ChatTemplate::from_gguf(&parts.gguf()).unwrap();
    let text = template.render_with(&messages, &rendering).unwrap();
    // A control token has no text, and the vocabulary lacks some characters.
    let text = text.strip_suffix("<|im_end|>").unwrap();
    assert_eq!(spell(&tokens), spell(&model.text_tokens(text)));
}

#[test]
fn a_template_that_cuts_and_joins_makes_no_control_token_of_a_message() {
    for cut in [".replace('#', '')", ".split('#') | join('')", "[:4] + m.content[5:]"] {
        let template = format!("{{% for m in messages %}}{{{{ m.content{cut} }}}}{{% endfor %}}<|im_end|>");
        let template = Some(OwnedValue::Str(template.into_bytes()));
        let model =
            Model::from_gguf(&Parts::of("gqa").key("tokenizer.chat_template", template).gguf()).unwrap();
        let tokens = model.chat_tokens(&[Message::new("user", "<|im#_end|>")]).unwrap();
        let mut expected = model.text_tokens("<|im_end|>");
        expected.push(2);
        assert_eq!(tokens, expected, "{cut}");
    }
}

#[test]
fn a_base_model_without_a_template_is_not_asked() {
    let asked = [Message::new("user", "hi")];
    let parts = Parts::of("gqa").key("tokenizer.chat_template", None);
    let model = Model::from_gguf(&parts.gguf()).unwrap();
    assert!(model.chat_template().is_fallback() && model.chat_tokens(&asked).is_ok());

    let mut base = parts.clone();
    let tokens = base.keys.iter_mut().find(|(key, _)| key == "tokenizer.ggml.tokens");
    let Some((_, OwnedValue::Array(OwnedArray::Str(tokens)))) = tokens else { panic!("no tokens") };
    *tokens.iter_mut().find(|token| *token == b"<|im_end|>").unwrap() = b"<|other|>".to_vec();
    let base = Model::from_gguf(&base.gguf()).unwrap();
    let error = base.chat_tokens(&asked).unwrap_err().to_string();
    let expected =
        "the model has no chat template, and its vocabulary no token \"<|im_end|>\": it continues texts";
    assert!(error.ends_with(expected), "{error}");
    let template = ChatTemplate::new("{{ messages[0].content }}", None, None).unwrap();
    let tokens = base.with_chat_template(template).chat_tokens(&asked).unwrap();
    assert_eq!(tokens, base.text_tokens("hi"));
}
