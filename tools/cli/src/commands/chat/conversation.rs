use crate::arguments::AnswerArguments;
use crate::terminal::{Reply, answer, note};
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use siskin::sampler::SamplerOptions;
use siskin::template::{Message, Rendering};
use siskin::{Answer, Ending, Session, WhenFull};
use siskin_kit::{Inputs, Output};
use std::fs;
use std::io::Write;
use std::path::Path;

/// What was said so far, and who answers: a session that holds most of it.
pub(super) struct Conversation {
    answer: Answer,
    options: SamplerOptions,
    messages: Vec<Message>,
    /// The system message, which a new conversation begins with too.
    opening: usize,
    /// Tokens that are left when the oldest messages were forgotten; None where they never are.
    room: Option<usize>,
    /// Messages were forgotten for the last answer.
    forgot: bool,
    /// Tokens of the conversation that was answered last.
    asked: usize,
    /// What the chat template is told.
    rendering: Rendering,
    hide_thoughts: bool,
    /// What the program reads.
    inputs: Inputs,
}

impl Conversation {
    /// A conversation in an empty session. Where `when_full` is to forget tokens of a full context, whole messages go
    /// before the next is answered.
    pub(super) fn new(
        mut session: Session,
        options: SamplerOptions,
        system: Option<&str>,
        when_full: WhenFull,
        inputs: Inputs,
    ) -> Result<Conversation> {
        session.set_when_full(when_full)?;
        let room = match when_full {
            WhenFull::Stop => None,
            WhenFull::Shift { .. } => Some(session.context() / 2),
            WhenFull::Window { .. } => Some(session.context() / 8 * 7),
        };
        let sampler = session.sampler(&options)?;
        let messages: Vec<Message> = system.iter().map(|&text| Message::new("system", text)).collect();
        let opening = messages.len();
        let answer = Answer::with_sampler(session, sampler);
        let (forgot, asked, rendering, hide_thoughts) = (false, 0, Rendering::default(), false);
        Ok(Conversation {
            answer,
            options,
            messages,
            opening,
            room,
            forgot,
            asked,
            rendering,
            hide_thoughts,
            inputs,
        })
    }

    /// Has control tokens stand in answers by their own text.
    pub(super) fn show_special(&mut self, special: bool) {
        self.answer.show_special(special);
    }

    /// Tells the chat template this from now on, and whether thoughts are left out of what is written.
    pub(super) fn render_with(&mut self, rendering: Rendering, hide_thoughts: bool) {
        self.rendering = rendering;
        self.hide_thoughts = hide_thoughts;
    }

    /// Whether thoughts are left out of what is written.
    pub(super) fn hides_thoughts(&self) -> bool {
        self.hide_thoughts
    }

    /// Tokens that the conversation has at most.
    pub(super) fn context(&self) -> usize {
        self.answer.session().context()
    }

    /// Tokens of the conversation that was answered last, with its last message.
    pub(super) fn asked(&self) -> usize {
        self.asked
    }

    /// Sends a message and writes the answer to `out`, until it ends or is cancelled.
    ///
    /// A message that got no answer is forgotten: the conversation is as it was before. Thoughts are kept beside what was
    /// said, where the chat template looks for them: what becomes of them later is its matter.
    pub(super) fn say(
        &mut self,
        text: &str,
        arguments: &AnswerArguments,
        out: &mut impl Write,
    ) -> Result<Reply> {
        self.messages.push(Message::new("user", text));
        let answer = self.answer(arguments, out);
        match &answer {
            Ok(answer) if answer.ending.is_complete() || !answer.tokens.is_empty() => {
                let said = Message::new("assistant", answer.said.as_str());
                self.messages.push(match answer.thoughts.trim() {
                    "" => said,
                    thoughts => said.with("reasoning_content", thoughts),
                });
            }
            _ => drop(self.messages.pop()),
        }
        answer
    }

    fn answer(&mut self, arguments: &AnswerArguments, out: &mut impl Write) -> Result<Reply> {
        let tokens = self.tokens()?;
        self.asked = tokens.len();
        if self.room.is_none() && tokens.len() >= self.context() {
            return Ok(Reply::none(Ending::ContextFull));
        }
        self.answer.set_limits(arguments.limits());
        self.answer.ask_tokens(&tokens)?;
        answer::stream(&mut self.answer, out, self.hide_thoughts)
    }

    /// The conversation in tokens, without the oldest messages where they have no room and may be forgotten.
    fn tokens(&mut self) -> Result<Vec<u32>> {
        let mut tokens = self.answer.model().chat_tokens_with(&self.messages, &self.rendering)?;
        self.forgot = false;
        if let Some(room) = self.room
            && tokens.len() >= self.context()
        {
            while tokens.len() > room && self.messages.len() > self.opening + 1 {
                // A message and its answer.
                let end = (self.opening + 2).min(self.messages.len() - 1);
                self.messages.drain(self.opening..end);
                self.forgot = true;
                tokens = self.answer.model().chat_tokens_with(&self.messages, &self.rendering)?;
            }
        }
        Ok(tokens)
    }

    /// Whether something of the conversation was forgotten for the last answer, or in the middle of it.
    pub(super) fn forgot(&self) -> bool {
        let session = self.answer.session();
        self.forgot || session.pristine() < session.position()
    }

    /// Says on standard error with which seed the conversation can be had again, where chance has a say in it.
    pub(super) fn tell_seed(&self) {
        if !self.options.is_greedy() {
            note(format_args!("seed: {}", self.answer.seed()));
        }
    }

    /// Begins anew: all but the system message is forgotten.
    pub(super) fn reset(&mut self) -> Result<()> {
        self.messages.truncate(self.opening);
        // A new sampler, not a reset one: without a seed, the next conversation is to be another.
        self.answer.set_sampler(self.answer.session().sampler(&self.options)?);
        self.answer.session_mut().clear();
        Ok(())
    }

    /// Writes the messages to a JSON file: an array of objects with `role` and `content`.
    ///
    /// # Errors
    /// A file that is there already, unless it is to be replaced; what the file system says.
    pub(super) fn save(&self, path: &Path, replace: bool) -> Result<()> {
        let (name, is_there) = (path.display(), fs::metadata(path).is_ok_and(|found| found.is_file()));
        ensure!(replace || !is_there, "{name} is there already: /save! {name} replaces it");
        #[derive(Serialize)]
        struct Saved<'m> {
            role: &'m str,
            content: &'m str,
        }
        let saved = self.messages.iter().map(|Message { role, content, .. }| Saved { role, content });
        let json = serde_json::to_string_pretty(&saved.collect::<Vec<_>>())?;
        let output = Output::create(path, &self.inputs)?;
        writeln!(output.writer(), "{json}").with_context(|| output.name().to_owned())?;
        output.commit()
    }
}

#[cfg(test)]
#[cfg(feature = "demo")]
mod tests {
    use super::*;
    use crate::arguments::model::demo;
    use clap::Parser;
    use siskin::{Model, SessionOptions};
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

    fn conversation(context: usize) -> Conversation {
        conversation_of(context, WhenFull::Stop)
    }

    fn conversation_of(context: usize, when_full: WhenFull) -> Conversation {
        let model = Model::from_gguf(&demo().unwrap()).unwrap();
        let options = SessionOptions::default().context(context).threads(2);
        let session = model.session(&options).unwrap();
        let options = SamplerOptions::default().temperature(0.0);
        Conversation::new(session, options, None, when_full, Inputs::default()).unwrap()
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
        assert_eq!(conversation.messages.len(), 4);
        assert_eq!(conversation.messages[1], Message::new("assistant", "Hello! How can I help?"));
    }

    #[test]
    fn a_changed_past_is_fed_anew_from_where_it_changed() {
        let mut conversation = conversation(512);
        say(&mut conversation, "hello");
        say(&mut conversation, "who are you?");
        conversation.messages.truncate(2);
        conversation.messages[1].content = "Hello! Who is there?".to_owned();
        say(&mut conversation, "turn off the attic light");
        assert_holds_what_it_says(&mut conversation);
    }

    #[test]
    fn a_message_without_room_is_forgotten_and_a_new_conversation_works() {
        let mut conversation = conversation(40);
        let hello = say(&mut conversation, "hello").text;
        let answer = say(&mut conversation, &"very ".repeat(40));
        assert_eq!((answer.ending, answer.tokens.len()), (Ending::ContextFull, 0));
        assert_eq!(conversation.messages.len(), 2);
        conversation.reset().unwrap();
        assert_eq!(conversation.messages.len(), 0);
        assert_eq!(say(&mut conversation, "hello").text, hello);
    }

    #[test]
    fn an_answer_ends_where_the_context_does() {
        let mut conversation = conversation(20);
        let answer = say(&mut conversation, "turn off the attic light now");
        assert_eq!(answer.ending, Ending::ContextFull);
        assert_eq!(conversation.answer.session().position(), 20);
        assert_eq!(conversation.messages[1].content, answer.text);
        assert!(answer.text.starts_with("{\"intent\""), "{}", answer.text);
    }

    #[test]
    fn a_conversation_without_end_forgets_its_oldest_messages() {
        let hello = "Hello! How can I help?";
        for when_full in [WhenFull::Shift { keep: 4 }, WhenFull::Window { keep: 4 }] {
            let mut conversation = conversation_of(64, when_full);
            let mut forgot = 0;
            for _ in 0..12 {
                let answer = say(&mut conversation, "hello");
                assert_eq!((answer.text.as_str(), answer.ending), (hello, Ending::Complete));
                if conversation.forgot() {
                    forgot += 1;
                    conversation
                        .messages
                        .iter()
                        .step_by(2)
                        .for_each(|message| assert_eq!(message.role, "user"));
                }
                assert!(conversation.messages.len() < 12);
            }
            assert!(forgot > 1);
            assert_holds_what_it_says(&mut conversation);
        }
    }

    #[test]
    fn an_interrupted_answer_stays_as_far_as_it_came() {
        let mut conversation = conversation(512);
        let flag = Arc::new(AtomicBool::new(false));
        conversation.answer.cancel_when(Arc::clone(&flag));
        let answer = conversation.say("who are you?", &flags(&[]), &mut Third(0, &flag)).unwrap();
        assert_eq!((answer.ending, answer.tokens.len()), (Ending::Cancelled, 3));
        flag.store(false, Ordering::Relaxed);
        assert_eq!(conversation.messages[1].content, answer.text);
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
        assert_eq!((answer.ending, conversation.messages.len()), (Ending::Cancelled, 0));
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
}
