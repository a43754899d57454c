mod channel;
mod embedding;
mod logprobs;
mod prefixes;
mod rhythm;
mod scheduler;
mod stop;
mod thoughts;
mod writing;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::error::Error;
use crate::grammar::Grammar;
use crate::model::Model;
use crate::sequences::{Session, SessionError};
use crate::text::sampler::{Sampler, SamplerOptions};
use crate::text::template::{Message, Rendering};
pub use channel::{Channel, Piece};
pub use logprobs::Logprobs;
pub use scheduler::{AnswerEvent, AnswerId, AnswerRequest, Scheduler};
use writing::Writing;

/// When an answer ends that the model does not end itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnswerLimits {
    /// Tokens of an answer, at most. None: as many as the context has room for.
    pub tokens: Option<usize>,
    /// Texts before which an answer ends.
    pub stop: Vec<String>,
}

impl AnswerLimits {
    crate::setters! {
        tokens: impl Into<Option<usize>>,
        stop: Vec<String>,
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The model ended its turn, or a stop string came.
    Complete,
    /// There were as many tokens as were asked for.
    Limit,
    /// The context has no room for another token.
    ContextFull,
    /// The flag of [`Answer::cancel_when`] was raised.
    Cancelled,
    /// An error was returned.
    Failed,
}

impl Ending {
    /// Whether the answer is all that was asked for.
    pub fn is_complete(self) -> bool {
        matches!(self, Ending::Complete | Ending::Limit)
    }
}

/// Answers prompts, one after the other: a conversation or a text in, pieces of text out.
///
/// It owns its session and its sampler, so it can be kept, sent to another thread and asked again. Of a prompt only what
/// the session does not hold already is fed; the sampler is shown all of it. Neither changes a bit of an answer, nor do
/// draft tokens where the session has [`Speculation`](crate::Speculation).
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use siskin::template::Message;
/// use siskin::{Answer, Model, SessionOptions};
///
/// let model = Model::open("model.gguf")?;
/// let mut answer = Answer::new(model.session(&SessionOptions::default())?)?;
/// answer.ask(&[Message::new("user", "Who are you?")])?;
/// while let Some(piece) = answer.next_piece()? {
///     print!("{piece}");
/// }
/// # Ok(())
/// # }
/// ```
pub struct Answer {
    session: Session,
    sampler: Sampler,
    limits: AnswerLimits,
    grammar: Option<Grammar>,
    /// The tokens of the prompt, and how many of them the session held when it came.
    prompt: Vec<u32>,
    reused: usize,
    /// Whether the session holds all of the prompt, and the sampler knows it.
    read: bool,
    writing: Writing,
}

impl Answer {
    /// Answers of this session, sampled as the model's file recommends.
    ///
    /// # Errors
    /// As for [`Session::sampler`].
    pub fn new(session: Session) -> Result<Self, Error> {
        let options = SamplerOptions::default().overlay(session.model().sampling());
        let sampler = session.sampler(&options)?;
        Ok(Self::with_sampler(session, sampler))
    }

    /// Answers of this session, whose tokens this sampler picks.
    pub fn with_sampler(session: Session, sampler: Sampler) -> Self {
        let writing = Writing::over(session.model().tokenizer(), session.context());
        Self {
            sampler,
            limits: AnswerLimits::default(),
            grammar: None,
            prompt: Vec::with_capacity(session.context()),
            reused: 0,
            read: false,
            writing,
            session,
        }
    }

    /// The sampler, to be seeded anew between answers, or to go on from where it stood before one.
    pub fn sampler_mut(&mut self) -> &mut Sampler {
        &mut self.sampler
    }

    /// Has another sampler pick the tokens from now on.
    pub fn set_sampler(&mut self, sampler: Sampler) {
        self.sampler = sampler;
    }

    /// Ends answers earlier from the next prompt on.
    pub fn set_limits(&mut self, limits: AnswerLimits) {
        self.limits = limits;
    }

    /// Has answers keep to a grammar, or to none: the one that is written, from its next token on, and those that come. So a
    /// grammar may begin in the middle of an answer; it then begins with that token, unless that is within thoughts, behind
    /// which it begins. What the grammar before had forced and was not told yet is dropped.
    pub fn set_grammar(&mut self, grammar: Option<Grammar>) {
        self.writing.set_grammar(self.session.model().tokenizer(), &self.prompt, grammar.as_ref());
        self.grammar = grammar;
    }

    /// Has control tokens stand in answers by their own text, from the next token on: for whoever looks for the calls of
    /// tools. Without, they give no text. A token that ends an answer is no part of it.
    pub fn show_special(&mut self, special: bool) {
        self.writing.show_special(special);
    }

    /// Ends the work when the flag is true, in the prompt or the answer, before the next layer: see
    /// [`Session::cancel_when`].
    pub fn cancel_when(&mut self, flag: Arc<AtomicBool>) {
        self.session.cancel_when(flag);
    }

    /// Asks for the answer to a conversation, in the model's chat template. What is left of the answer before is dropped.
    ///
    /// # Errors
    /// A template that fails, and those of [`Answer::ask_tokens`].
    pub fn ask(&mut self, messages: &[Message]) -> Result<(), Error> {
        self.ask_with(messages, &Rendering::default())
    }

    /// As [`Answer::ask`], with tools and variables for the template.
    ///
    /// # Errors
    /// As for [`Answer::ask`].
    pub fn ask_with(&mut self, messages: &[Message], rendering: &Rendering) -> Result<(), Error> {
        let prompt = self.model().chat_tokens_with(messages, rendering)?;
        self.ask_tokens(&prompt)
    }

    /// Asks for what a text goes on with.
    ///
    /// # Errors
    /// As for [`Answer::ask_tokens`].
    pub fn ask_text(&mut self, text: &str) -> Result<(), Error> {
        let prompt = self.model().text_tokens(text);
        self.ask_tokens(&prompt)
    }

    /// Asks for what these tokens go on with. They are fed by the first [`Answer::next_piece`].
    ///
    /// # Errors
    /// [`SessionError::NoPrompt`] where there are none, a prompt that the context has no room for, and a token outside the
    /// vocabulary. The session, and the answer before, are as they were.
    pub fn ask_tokens(&mut self, prompt: &[u32]) -> Result<(), Error> {
        if prompt.is_empty() {
            return Err(SessionError::NoPrompt.into());
        }
        self.session.check_prompt(prompt)?;
        self.prompt.clear();
        self.prompt.extend_from_slice(prompt);
        self.read = false;
        let tokenizer = self.session.model().tokenizer();
        self.writing.begin(tokenizer, prompt, &self.limits);
        self.writing.set_grammar(tokenizer, prompt, self.grammar.as_ref());
        self.reused = self.held_of_prompt();
        Ok(())
    }

    /// How many of the prompt's first tokens the session holds.
    fn held_of_prompt(&self) -> usize {
        let held = self.session.tokens().iter().take(self.session.pristine());
        held.zip(&self.prompt).take_while(|(held, token)| held == token).count()
    }

    /// Feeds what the session lacks of the prompt, as the first [`Answer::next_piece`] does; nothing where it was fed.
    /// Where the work is cancelled the answer has ended.
    ///
    /// # Errors
    /// As for [`Session::feed`]. The answer is over then.
    pub fn read_prompt(&mut self) -> Result<(), Error> {
        self.read_prompt_telling(|_| ())
    }

    /// As [`Answer::read_prompt`], and tells `fed` after each batch how many of the tokens behind [`Answer::reused`] are
    /// fed: for whoever waits for a long prompt.
    ///
    /// # Errors
    /// As for [`Answer::read_prompt`].
    pub fn read_prompt_telling(&mut self, mut fed: impl FnMut(usize)) -> Result<(), Error> {
        if self.writing.ending().is_some() || self.read {
            return Ok(());
        }
        // The session may have been cut, restored or adapted since it was asked.
        self.reused = self.held_of_prompt();
        let whole = self.reused == self.prompt.len() && self.session.position() == self.reused;
        if !whole || self.session.logits().is_err() {
            // The last token is fed even if it is there: the answer needs the logits after it.
            self.reused = self.reused.min(self.prompt.len() - 1);
            self.session.truncate(self.reused);
            match self.session.feed_telling(&self.prompt[self.reused..], &mut fed) {
                Err(SessionError::Cancelled) => {
                    self.writing.end(Ending::Cancelled);
                    return Ok(());
                }
                Err(error) => {
                    self.writing.end(Ending::Failed);
                    return Err(error.into());
                }
                Ok(()) => (),
            }
        }
        self.sampler.begin(&self.prompt);
        self.read = true;
        Ok(())
    }

    /// The next piece of the answer's text, as soon as a token gives some that no stop string and no mark may begin with, and
    /// whether it is a thought; None when the answer is over, for a reason that [`Answer::ending`] gives.
    ///
    /// # Errors
    /// As for [`Session::feed`] and [`Session::logits`]. The answer is over then.
    pub fn next_piece(&mut self) -> Result<Option<Piece<'_>>, Error> {
        let done = self.read_prompt().and_then(|()| {
            while self.writing.ending().is_none() && !self.writing.has_piece() {
                self.advance()?;
            }
            Ok(())
        });
        if let Err(error) = done {
            self.writing.end(Ending::Failed);
            return Err(error);
        }
        Ok(self.writing.next_piece())
    }

    /// Takes up one token more.
    fn advance(&mut self) -> Result<(), Error> {
        let Self { session, sampler, writing, .. } = self;
        let next = writing.decoding().next_token(session, sampler);
        Ok(writing.take_up(session.model().tokenizer(), next)?)
    }

    /// Why the answer is over; None as long as it is not, and where none was asked for.
    pub fn ending(&self) -> Option<Ending> {
        self.writing.ending().filter(|_| !self.prompt.is_empty())
    }

    /// The answer's tokens so far. Of an answer that was broken off the session does not hold the last.
    pub fn tokens(&self) -> &[u32] {
        self.writing.tokens()
    }

    /// How many of the answer's tokens are thoughts, with the marks around them.
    pub fn thought_tokens(&self) -> usize {
        self.writing.thought()
    }

    /// The prompt's tokens.
    pub fn prompt(&self) -> &[u32] {
        &self.prompt
    }

    /// How many of the prompt's tokens the session held already.
    pub fn reused(&self) -> usize {
        self.reused
    }

    /// The seed of the sampler's random numbers, drawn or given.
    pub fn seed(&self) -> u64 {
        self.sampler.seed()
    }

    /// The model.
    pub fn model(&self) -> &Model {
        self.session.model()
    }

    /// The session: what it holds, and how fast it drafts.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The session, to be saved, restored, cut or adapted between answers.
    pub fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    /// The session, without the answer.
    pub fn into_session(self) -> Session {
        self.session
    }
}
