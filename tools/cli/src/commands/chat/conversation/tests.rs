use super::*;
use crate::arguments::context::WhenFull;
use crate::arguments::model::demo;
use clap::Parser;
use siskin::SessionOptions;
use siskin_kit::Inputs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Raises a flag at the third piece that is written.
struct Third<'a>(usize, &'a AtomicBool);

impl Write for Third<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += 1;
        self.1.store(self.0 == 3, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, Parser)]
struct Flags {
    #[command(flatten)]
    answer: AnswerArguments,
}

fn flags(flags: &[&str]) -> AnswerArguments {
    Flags::parse_from([&["siskin"], flags].concat()).answer
}

/// What nobody asks for: the conversation goes on.
fn by_default() -> Policy {
    Policy::of(WhenFull::Shift, true)
}

fn conversation(context: usize) -> Conversation {
    conversation_of(context, Policy::of(WhenFull::Stop, false))
}

fn conversation_of(context: usize, policy: Policy) -> Conversation {
    conversation_with(context, policy, SamplerOptions::default().temperature(0.0), None)
}

fn conversation_with(
    context: usize,
    policy: Policy,
    sampling: SamplerOptions,
    system: Option<&str>,
) -> Conversation {
    let model = Model::from_gguf(&demo().unwrap()).unwrap();
    let options = SessionOptions::default().context(context).threads(2);
    let session = model.session(&options).unwrap();
    let sampler = session.sampler(&sampling).unwrap();
    let answer = Answer::with_sampler(session, sampler);
    let opened = Opened { answer, sampling, rendering: Rendering::default(), hide_thoughts: false };
    Conversation::new(opened, Talk::new(system), policy)
}

fn say(conversation: &mut Conversation, text: &str) -> Reply {
    conversation.say(text, &flags(&[]), &mut Vec::new()).unwrap()
}

/// The session's logits are those of one that was fed all of its tokens at once.
fn assert_holds_what_it_says(conversation: &mut Conversation) {
    let logits = conversation.answer.session().logits().unwrap().to_vec();
    let mut fresh = conversation.answer.model().session(&SessionOptions::default()).unwrap();
    fresh.feed(conversation.answer.session().tokens()).unwrap();
    assert_eq!(fresh.logits().unwrap(), logits);
}

#[test]
fn every_turn_feeds_only_what_is_new() {
    let mut conversation = conversation(512);
    say(&mut conversation, "hello");
    assert_holds_what_it_says(&mut conversation);
    let before = conversation.answer.session().tokens().to_vec();
    say(&mut conversation, "who are you?");
    assert!(conversation.answer.session().tokens().starts_with(&before));
    assert_holds_what_it_says(&mut conversation);
    assert_eq!(conversation.talk.messages.len(), 4);
    assert_eq!(conversation.talk.messages[1], Message::new("assistant", "Hello! How can I help?"));
}

#[test]
fn a_changed_past_is_fed_anew_from_where_it_changed() {
    let mut conversation = conversation(512);
    say(&mut conversation, "hello");
    say(&mut conversation, "who are you?");
    conversation.talk.messages.truncate(2);
    conversation.talk.messages[1].content = "Hello! Who is there?".to_owned();
    say(&mut conversation, "turn off the attic light");
    assert_holds_what_it_says(&mut conversation);
}

#[test]
fn a_message_without_room_is_forgotten_and_a_new_conversation_works() {
    let mut conversation = conversation(40);
    let hello = say(&mut conversation, "hello").text;
    let answer = say(&mut conversation, &"very ".repeat(40));
    assert_eq!((answer.ending, answer.tokens.len()), (Ending::ContextFull, 0));
    assert_eq!(conversation.talk.messages.len(), 2);
    conversation.reset().unwrap();
    assert_eq!(conversation.talk.messages.len(), 0);
    assert_eq!(say(&mut conversation, "hello").text, hello);
}

#[test]
fn an_answer_ends_where_the_context_does() {
    let mut conversation = conversation(20);
    let answer = say(&mut conversation, "turn off the attic light now");
    assert_eq!(answer.ending, Ending::ContextFull);
    assert_eq!(conversation.answer.session().position(), 20);
    assert_eq!(conversation.talk.messages[1].content, answer.text);
    assert!(answer.text.starts_with("{\"intent\""), "{}", answer.text);
}

#[test]
fn a_conversation_without_end_forgets_its_oldest_messages() {
    let hello = "Hello! How can I help?";
    for policy in [by_default(), Policy::of(WhenFull::Shift, false), Policy::of(WhenFull::Window, false)] {
        let mut conversation = conversation_of(64, policy);
        let (mut forgot, mut told) = (0, 0);
        for _ in 0..12 {
            let answer = say(&mut conversation, "hello");
            assert_eq!((answer.text.as_str(), answer.ending), (hello, Ending::Complete));
            forgot += usize::from(conversation.forgot);
            told += usize::from(conversation.tells_that_it_forgot());
            let seen = conversation.talk.seen();
            assert!(seen.iter().step_by(2).all(|message| message.role == "user") && seen.len() < 12);
        }
        assert!(forgot > 1 && told == 1);
        assert_eq!(conversation.talk.messages.len(), 24);
        assert_holds_what_it_says(&mut conversation);
    }
}

/// An answer after a shift is what a conversation of the kept messages alone would give, with the system message in both.
#[test]
fn an_answer_after_a_shift_is_that_of_the_kept_messages() {
    let sampling = || SamplerOptions::default().temperature(0.0);
    let mut long = conversation_with(96, by_default(), sampling(), Some("be kind"));
    let said = ["hello", "who are you?", "turn off the attic light", "hello", "thank you", "who am I?"];
    let mut shifted = 0;
    for text in said.iter().cycle().take(18) {
        let answer = say(&mut long, text);
        if !long.forgot {
            continue;
        }
        shifted += 1;
        let mut short = conversation_with(96, Policy::of(WhenFull::Stop, false), sampling(), Some("be kind"));
        short.talk.messages = long.talk.messages[long.talk.forgotten..long.talk.messages.len() - 2].to_vec();
        assert_eq!(say(&mut short, text).tokens, answer.tokens);
        let bits = |conversation: &Conversation| -> Vec<u32> {
            conversation.answer.session().logits().unwrap().iter().map(|x| x.to_bits()).collect()
        };
        assert_eq!(bits(&short), bits(&long));
        assert_eq!(short.answer.session().tokens(), long.answer.session().tokens());
    }
    assert!(shifted > 1);
}

#[test]
fn a_system_message_outlives_a_shift_in_the_middle_of_an_answer() {
    let sampling = SamplerOptions::default().temperature(0.0).logit_bias(vec![(2, f32::NEG_INFINITY)]);
    let mut conversation = conversation_with(64, by_default(), sampling, Some("you answer briefly"));
    let tokens = conversation.model().chat_tokens(&conversation.talk.seen()).unwrap();
    // Without an end of its own an answer has as many tokens as the context.
    let answer = say(&mut conversation, "hello");
    assert_eq!((answer.ending, answer.tokens.len()), (Ending::Limit, 64));
    let session = conversation.answer.session();
    assert!(session.pristine() < session.position() && conversation.tells_that_it_forgot());
    let kept = conversation.answer.session().tokens().iter().zip(&tokens).take_while(|(a, b)| a == b);
    assert!(kept.count() > 8);
    let longer = conversation.say("hello", &flags(&["-n", "100"]), &mut Vec::new()).unwrap();
    assert_eq!((longer.ending, longer.tokens.len()), (Ending::Limit, 100));
}

#[test]
fn a_message_that_is_too_long_alone_is_refused_unless_it_is_to_be_cut() {
    let text = "very ".repeat(60);
    let mut conversation = conversation_of(64, by_default());
    say(&mut conversation, "hello");
    let refused = say(&mut conversation, &text);
    assert_eq!((refused.ending, refused.tokens.len()), (Ending::ContextFull, 0));
    assert!(conversation.asked() > 64 && !conversation.tells_that_it_forgot());
    assert_eq!((conversation.talk.messages.len(), conversation.talk.forgotten), (2, 0));
    let mut cut = conversation_of(64, Policy::of(WhenFull::Shift, false));
    assert!(!say(&mut cut, &text).tokens.is_empty() && cut.tells_that_it_forgot());
}

/// With a seed, what follows depends on all that was drawn before: nothing of what is taken back may be left.
#[test]
fn what_is_taken_back_has_never_been() {
    for context in [512, 96] {
        let sampling = || SamplerOptions::default().seed(7).temperature(1.5);
        let begun = || conversation_with(context, by_default(), sampling(), None);
        let (mut straight, mut winding) = (begun(), begun());
        assert!(!winding.undo());
        for text in ["tell me a story", "hello", "tell me a story about a wolf", "who are you?", "hello"] {
            for other in ["tell me more", "and then?"] {
                say(&mut winding, other);
            }
            winding.retry(&flags(&[]), &mut Vec::new()).unwrap().unwrap();
            assert!(winding.undo() && winding.undo());
            assert_eq!(winding.answer.session().pristine(), winding.answer.session().position());
            let answers = [&mut straight, &mut winding].map(|conversation| {
                let answer = say(conversation, text);
                (answer.tokens, conversation.answer.session().logits().unwrap().to_vec())
            });
            assert!(answers[0] == answers[1], "{text}");
        }
        assert_eq!(straight.talk.messages, winding.talk.messages);
    }
}

#[test]
fn another_try_has_another_seed_and_the_same_past() {
    let sampling = |seed| SamplerOptions::default().seed(seed).temperature(1.5);
    let mut conversation = conversation_with(512, by_default(), sampling(7), None);
    let first = say(&mut conversation, "tell me a story").text;
    let mut again = || conversation.retry(&flags(&[]), &mut Vec::new()).unwrap().unwrap().text;
    let (second, third) = (again(), again());
    assert!(first != second && second != third);
    assert_eq!((conversation.answer.seed(), conversation.talk.messages.len()), (9, 2));
    assert_eq!(conversation.talk.messages[1].content, third);
    let mut other = conversation_with(512, by_default(), sampling(9), None);
    assert_eq!(say(&mut other, "tell me a story").text, third);
    // Taken back, it is as before the first try.
    assert!(conversation.undo() && conversation.answer.seed() == 7);
    assert_eq!(say(&mut conversation, "tell me a story").text, first);
}

#[test]
fn another_try_that_comes_to_nothing_leaves_the_answer_there() {
    let mut conversation = conversation(512);
    assert!(conversation.retry(&flags(&[]), &mut Vec::new()).unwrap().is_none());
    let flag = Arc::new(AtomicBool::new(false));
    conversation.answer.cancel_when(Arc::clone(&flag));
    say(&mut conversation, "hello");
    flag.store(true, Ordering::Relaxed);
    let answer = conversation.retry(&flags(&[]), &mut Vec::new()).unwrap().unwrap();
    assert_eq!((answer.ending, answer.tokens.len()), (Ending::Cancelled, 0));
    assert_eq!(conversation.talk.messages[1].content, "Hello! How can I help?");
    // A message that was broken off before its answer is what is tried again.
    say(&mut conversation, "who are you?");
    flag.store(false, Ordering::Relaxed);
    conversation.retry(&flags(&[]), &mut Vec::new()).unwrap().unwrap();
    assert_eq!(conversation.talk.messages[2].content, "who are you?");
    assert_holds_what_it_says(&mut conversation);
    assert!(conversation.undo() && conversation.undo() && !conversation.undo());
}

#[test]
fn another_system_message_counts_from_the_next_message_on() {
    let mut conversation = conversation(512);
    say(&mut conversation, "hello");
    conversation.set_system("be brief");
    say(&mut conversation, "who are you?");
    assert_holds_what_it_says(&mut conversation);
    let seen = conversation.talk.seen();
    assert_eq!((seen[0].role.as_str(), seen.len()), ("system", 5));
    let whole = conversation.model().chat_tokens(&seen[..4]).unwrap();
    assert!(conversation.answer.session().tokens().starts_with(&whole));
}

#[test]
fn a_saved_conversation_goes_on_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("talk.json");
    let mut first = conversation_of(96, by_default());
    for text in ["hello", "who are you?", "hello", "turn off the attic light", "hello"] {
        say(&mut first, text);
    }
    first.talk.save(&path, false, &Inputs::default()).unwrap();
    let mut second = conversation_of(512, by_default());
    say(&mut second, "what is to be replaced");
    second.load(Talk::load(&path).unwrap()).unwrap();
    // What the model had forgotten is there, too.
    assert!(first.talk.forgotten > 0 && second.talk.messages.len() == 10);
    say(&mut second, "who are you?");
    assert_holds_what_it_says(&mut second);
    assert!(second.undo() && second.undo() && second.talk.messages.len() == 8);
}

#[test]
fn what_is_no_conversation_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("talk.json");
    for (text, problem) in [
        ("hello", "expected a conversation that /save wrote, or a model: expected value"),
        ("[{\"role\": \"user\"}]", "missing field `content`"),
        ("[{\"role\": \"user\", \"content\": 1}]", "invalid type: integer `1`, expected a string"),
        ("[{\"role\": \"user\", \"content\": \"a\", \"name\": \"b\"}]", "unknown field `name`"),
        ("[{\"role\": \"tool\", \"content\": \"a\"}]", "message 1: the role is \"tool\", expected"),
        ("[{\"role\": \"assistant\", \"content\": \"a\"}]", "message 1: the role is \"assistant\", expected"),
        (
            "[{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"system\", \"content\": \"b\"}]",
            "message 2: the role is \"system\"",
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = Talk::load(&path).err().unwrap();
        let said = siskin_kit::one_line(&error);
        assert!(said.contains(problem) && !said.contains('\n'), "{said}");
    }
    assert!(siskin_kit::one_line(&Talk::load(folder.path()).err().unwrap()).contains("regular file"));
    std::fs::write(&path, "[{\"role\": \"user\", \"content\": \"hello\"}]").unwrap();
    let mut conversation = conversation(512);
    conversation.load(Talk::load(&path).unwrap()).unwrap();
    let answer = conversation.retry(&flags(&[]), &mut Vec::new()).unwrap().unwrap();
    assert_eq!(answer.text, "Hello! How can I help?");
}

#[test]
fn an_interrupted_answer_stays_as_far_as_it_came() {
    let mut conversation = conversation(512);
    let flag = Arc::new(AtomicBool::new(false));
    conversation.answer.cancel_when(Arc::clone(&flag));
    let answer = conversation.say("who are you?", &flags(&[]), &mut Third(0, &flag)).unwrap();
    assert_eq!((answer.ending, answer.tokens.len()), (Ending::Cancelled, 3));
    flag.store(false, Ordering::Relaxed);
    assert_eq!(conversation.talk.messages[1].content, answer.text);
    assert_holds_what_it_says(&mut conversation);
    say(&mut conversation, "hello");
    assert_holds_what_it_says(&mut conversation);
}

#[test]
fn a_message_interrupted_before_its_answer_is_forgotten() {
    let mut conversation = conversation(512);
    let flag = Arc::new(AtomicBool::new(true));
    conversation.answer.cancel_when(Arc::clone(&flag));
    let answer = say(&mut conversation, "hello");
    assert_eq!((answer.ending, conversation.talk.messages.len()), (Ending::Cancelled, 0));
    flag.store(false, Ordering::Relaxed);
    assert_eq!(say(&mut conversation, "hello").text, "Hello! How can I help?");
}

#[test]
fn a_stop_string_is_no_part_of_the_conversation() {
    let mut conversation = conversation(512);
    let stop = flags(&["--stop", "How"]);
    let mut out = Vec::new();
    let answer = conversation.say("hello", &stop, &mut out).unwrap();
    assert_eq!(
        (answer.ending, answer.text.as_str(), out.as_slice()),
        (Ending::Complete, "Hello! ", &b"Hello! "[..])
    );
    say(&mut conversation, "who are you?");
    assert_holds_what_it_says(&mut conversation);
}
