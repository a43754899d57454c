//! Many answers at once: who is worked on, who waits, and whose place is free.
//!
//! An answer is *waiting*, then *at work*, then over. One at work has a sequence. When it is over its sequence stays
//! *idle*, so that a later prompt finds there what both begin with, until its place or its pages are needed: in the place of
//! one that could be at work, or in those that [`SequencesOptions::idle`](crate::SequencesOptions::idle) adds.
//!
//! Where the cache has no page left, idle sequences leave first, the one that ended first before others. If none are
//! left the youngest answer at work gives its pages back and waits again, with all that it has said; its tokens are fed
//! once more when there is room, and since a sequence's bits do not depend on how it came about, it goes on as if
//! nothing had happened. The oldest is never put back, so something is always finished.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Instant;

use super::embedding::Embedding;
use super::rhythm::Rhythm;
use super::writing::Writing;
use super::{AnswerLimits, Ending, Logprobs, Piece};
use crate::error::Error;
use crate::grammar::Grammar;
use crate::model::{Adapter, Model};
use crate::sequences::{SequenceId, Sequences, SessionError};
use crate::text::sampler::{Sampler, SamplerOptions};

/// A prompt, and how it is to be answered.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct AnswerRequest {
    /// The tokens that the answer goes on from.
    pub prompt: Vec<u32>,
    /// How tokens are picked. Without a seed one is drawn.
    pub sampling: SamplerOptions,
    /// When the answer ends.
    pub limits: AnswerLimits,
    /// What changes the model, and times what.
    pub adapters: Vec<(Adapter, f32)>,
    /// Whether control tokens stand in the answer by their own text: see
    /// [`Answer::show_special`](crate::Answer::show_special).
    pub special: bool,
    /// How many of the most probable tokens are told with each token, whose own probability is told as well. None: none is.
    pub logprobs: Option<usize>,
    /// What the answer keeps to: see [`Answer::set_grammar`](crate::Answer::set_grammar).
    pub grammar: Option<Grammar>,
}

impl AnswerRequest {
    /// A request for an answer to these tokens, sampled as llama.cpp would by default.
    pub fn new(prompt: Vec<u32>) -> Self {
        Self { prompt, ..Self::default() }
    }

    crate::setters! {
        sampling: SamplerOptions,
        limits: AnswerLimits,
        adapters: Vec<(Adapter, f32)>,
        special: bool,
        logprobs: impl Into<Option<usize>>,
        grammar: impl Into<Option<Grammar>>,
    }
}

/// Names an answer of a [`Scheduler`]. Those asked for later are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnswerId(u64);

/// What [`Scheduler::step`] tells of an answer.
#[derive(Debug)]
pub enum AnswerEvent<'a> {
    /// The prompt is read, and the answer begins.
    Read {
        /// How many of the prompt's tokens were there already, from prompts before.
        reused: usize,
    },
    /// Its next token, which may give text later.
    Token {
        /// The token.
        token: u32,
        /// How probable it was, of an answer that asked for it.
        logprobs: Option<&'a Logprobs>,
    },
    /// More of its text.
    Piece(Piece<'a>),
    /// What a text comes to as a whole ([`Scheduler::embed`]), of which there is no more: the activations behind the last norm,
    /// as many as the model is wide, which the logits would be made of.
    Embedded {
        /// Their mean over all tokens.
        mean: &'a [f32],
        /// Those of the last token.
        last: &'a [f32],
    },
    /// There is no more.
    Over {
        /// Why.
        ending: Ending,
        /// All of the answer's tokens.
        tokens: &'a [u32],
        /// How many of them are thoughts, with the marks around them.
        thought_tokens: usize,
        /// The stop string before which it ended.
        stop: Option<&'a str>,
        /// What went wrong, where [`Ending::Failed`] is why.
        error: Option<SessionError>,
    },
}

/// Answers many prompts at once, as many as [`Sequences`] work on at a time: an answer that is over makes room for the next.
///
/// An answer has the bits of an [`Answer`](crate::Answer) that was asked alone, whatever else is at work. What prompts
/// begin with in common is worked out once.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use siskin::{AnswerEvent, AnswerRequest, Model, Scheduler, SequencesOptions};
///
/// let model = Model::open("model.gguf")?;
/// let mut scheduler = Scheduler::new(model.sequences(&SequencesOptions::default().most(8))?);
/// for text in ["A siskin is", "A finch is"] {
///     scheduler.ask(AnswerRequest::new(model.text_tokens(text)))?;
/// }
/// while scheduler.step(|id, event| println!("{id:?}: {event:?}"))? > 0 {}
/// # Ok(())
/// # }
/// ```
pub struct Scheduler {
    pub(super) sequences: Sequences,
    /// In the order in which they were asked for.
    waiting: VecDeque<Task>,
    /// In the same order.
    pub(super) at_work: Vec<Working>,
    /// Texts whose embeddings were asked for; the first of them may be worked on.
    pub(super) embeddings: VecDeque<Embedding>,
    /// Sequences of answers that are over, the one that was of no use for the longest time first.
    pub(super) idle: Vec<SequenceId>,
    /// Sequences that are kept for good.
    pub(super) pinned: Vec<SequenceId>,
    /// Answers at work, and sequences in all, at most.
    places: usize,
    most: usize,
    asked: u64,
    /// What a sequence is to be fed.
    text: Vec<u32>,
    logprobs: Logprobs,
    rhythm: Rhythm,
}

/// An answer that is not over.
struct Task {
    id: AnswerId,
    request: AnswerRequest,
    /// None of an answer that was not begun yet.
    begun: Option<Begun>,
}

/// What there is of an answer that was begun.
struct Begun {
    sampler: Sampler,
    writing: Writing,
    /// Whether it was told that the prompt is read.
    read: bool,
}

/// An answer at work.
pub(super) struct Working {
    id: AnswerId,
    request: AnswerRequest,
    begun: Begun,
    pub(super) sequence: SequenceId,
    /// Tokens that the sequence had worked on before it was given the prompt.
    worked_before: usize,
}

impl Scheduler {
    /// Answers by these sequences, of which there are none yet.
    pub fn new(sequences: Sequences) -> Self {
        let (places, most) = (sequences.at_once(), sequences.most());
        Self {
            waiting: VecDeque::new(),
            embeddings: VecDeque::new(),
            at_work: Vec::with_capacity(places),
            idle: Vec::with_capacity(most),
            pinned: Vec::new(),
            text: Vec::with_capacity(sequences.context() + 1),
            places,
            most,
            asked: 0,
            logprobs: Logprobs::default(),
            rhythm: Rhythm::new(places, f32::INFINITY),
            sequences,
        }
    }

    /// Asks for an answer, which begins when there is a place for it.
    ///
    /// # Errors
    /// [`SessionError::NoPrompt`], a prompt that the context has no room for, a token outside the vocabulary, an adapter of a model
    /// of another shape, or a sampler option out of range.
    pub fn ask(&mut self, request: AnswerRequest) -> Result<AnswerId, Error> {
        if request.prompt.is_empty() {
            return Err(SessionError::NoPrompt.into());
        }
        self.sequences.check(0, &request.prompt)?;
        let network = self.sequences.model().network();
        let mut adapters = request.adapters.iter();
        adapters
            .try_for_each(|(adapter, scale)| adapter.check(network, *scale))
            .map_err(SessionError::from)?;
        request.sampling.validate().map_err(SessionError::from)?;
        let id = self.next_id();
        self.waiting.push_back(Task { id, request, begun: None });
        Ok(id)
    }

    pub(super) fn next_id(&mut self) -> AnswerId {
        self.asked += 1;
        AnswerId(self.asked)
    }

    /// Begins answers where there are places, works on a batch of tokens, and takes up what comes of it. Returns how many
    /// answers are not over; `each` is told what is new of them.
    ///
    /// # Errors
    /// [`SessionError::Cancelled`]: all goes on with the next step. What is wrong with a single answer ends it alone, and
    /// is told to `each`.
    pub fn step(&mut self, mut each: impl FnMut(AnswerId, AnswerEvent<'_>)) -> Result<usize, SessionError> {
        self.begin(&mut each);
        let going_on = self.at_work.iter().filter(|working| working.begun.read).count();
        let slice = self.rhythm.slice(going_on);
        self.sequences.limit_prompts(slice);
        let begun = Instant::now();
        let tokens = self.sequences.step()?;
        self.rhythm.took(going_on, tokens.saturating_sub(going_on), begun.elapsed().as_secs_f64());
        let mut at = 0;
        while at < self.at_work.len() {
            // One that is over or waits again is no longer there.
            at += usize::from(self.advance(at, &mut each));
        }
        self.work_on_embedding(slice, &mut each)?;
        Ok(self.unfinished())
    }

    /// Lets a step take up to so many times as long for the sake of prompts as it takes without: how much later the next tokens
    /// of answers come while a long prompt is read. Unless it is said, prompts are read as fast as they can be.
    pub fn limit_slowdown(&mut self, times: f32) {
        self.rhythm = Rhythm::new(self.places, times);
    }

    /// Answers that are not over.
    pub fn unfinished(&self) -> usize {
        self.waiting.len() + self.at_work.len() + self.embeddings.len()
    }

    /// Answers that may be worked on at once.
    pub fn places(&self) -> usize {
        self.places
    }

    /// Answers that are worked on.
    pub fn at_work(&self) -> usize {
        self.at_work.len()
    }

    /// Drops an answer, of which nothing more is told; whether it was not over.
    pub fn drop_answer(&mut self, id: AnswerId) -> bool {
        let before = self.unfinished();
        self.waiting.retain(|task| task.id != id);
        self.drop_embedding(id);
        if let Some(at) = self.at_work.iter().position(|working| working.id == id) {
            let sequence = self.at_work.remove(at).sequence;
            // What was read stays. It is there, so this cannot fail.
            match self.sequences.drop_waiting(sequence) {
                Ok(1..) => self.idle.push(sequence),
                _ => drop(self.sequences.leave(sequence)),
            }
        }
        self.unfinished() < before
    }

    /// Has an answer keep to a grammar from its next token on, or to none: see
    /// [`Answer::set_grammar`](crate::Answer::set_grammar). Whether it is not over.
    pub fn set_grammar(&mut self, id: AnswerId, grammar: Option<Grammar>) -> bool {
        let tokenizer = self.sequences.model().tokenizer();
        let waiting = self.waiting.iter_mut().find(|task| task.id == id);
        let (request, writing) = if let Some(Task { request, begun, .. }) = waiting {
            (request, begun.as_mut().map(|begun| &mut begun.writing))
        } else if let Some(working) = self.at_work.iter_mut().find(|working| working.id == id) {
            (&mut working.request, Some(&mut working.begun.writing))
        } else {
            return false;
        };
        if let Some(writing) = writing {
            writing.set_grammar(tokenizer, &request.prompt, grammar.as_ref());
        }
        request.grammar = grammar;
        true
    }

    /// Ends the work whenever the flag is true: see [`Sequences::cancel_when`].
    pub fn cancel_when(&mut self, flag: Arc<AtomicBool>) {
        self.sequences.cancel_when(flag);
    }

    /// Works with no more threads than this says at the time: see [`Sequences::limit_threads`].
    pub fn limit_threads(&mut self, limit: Arc<AtomicUsize>) {
        self.sequences.limit_threads(limit);
    }

    /// The model.
    pub fn model(&self) -> &Model {
        self.sequences.model()
    }

    /// The sequences that answers are worked out in.
    pub fn sequences(&self) -> &Sequences {
        &self.sequences
    }

    /// Begins answers in the order in which they were asked for, as long as there is room.
    fn begin(&mut self, each: &mut impl FnMut(AnswerId, AnswerEvent<'_>)) {
        while self.at_work.len() < self.places
            && let Some(mut task) = self.waiting.pop_front()
        {
            let started = self.start(&mut task);
            let Task { id, request, begun } = task;
            match (started, begun) {
                (Ok((sequence, worked_before)), Some(begun)) => {
                    let at = self.at_work.partition_point(|other| other.id < id);
                    self.at_work.insert(at, Working { id, request, begun, sequence, worked_before });
                }
                (Err(SessionError::CacheFull { .. } | SessionError::NoPlace { .. }), begun)
                    if !self.at_work.is_empty() || self.is_embedding() =>
                {
                    self.waiting.push_front(Task { id, request, begun });
                    return;
                }
                (started, begun) => {
                    let written =
                        begun.as_ref().map(|Begun { writing, .. }| (writing.tokens(), writing.thought()));
                    let (tokens, thought_tokens) = written.unwrap_or_default();
                    let (ending, stop, error) = (Ending::Failed, None, started.err());
                    each(id, AnswerEvent::Over { ending, tokens, thought_tokens, stop, error });
                }
            }
        }
    }

    /// Has a sequence hold what there is of an answer. Returns how many tokens it had worked on before, too.
    fn start(&mut self, task: &mut Task) -> Result<(SequenceId, usize), SessionError> {
        let request = &task.request;
        if task.begun.is_none() {
            let mut sampler = self.sequences.sampler(&request.sampling)?;
            sampler.begin(&request.prompt);
            let (tokenizer, context) = (self.sequences.model().tokenizer(), self.sequences.context());
            let most = request.limits.tokens.unwrap_or(context).min(context);
            let mut writing = Writing::over(tokenizer, most + 1);
            writing.begin(tokenizer, &request.prompt, &request.limits);
            writing.show_special(request.special);
            writing.set_grammar(tokenizer, &request.prompt, request.grammar.as_ref());
            task.begun = Some(Begun { sampler, writing, read: false });
        }
        self.text.clear();
        self.text.extend_from_slice(&request.prompt);
        self.text.extend(task.begun.iter().flat_map(|begun| begun.writing.tokens()));
        let (sequence, held) = self.sequence(&request.adapters)?;
        let worked_before = self.sequences.worked_on(sequence)?;
        let text = std::mem::take(&mut self.text);
        let fed = self.feed(sequence, &text[held..]);
        self.text = text;
        if fed.is_err() {
            self.sequences.leave(sequence)?;
        }
        fed.map(|()| (sequence, worked_before))
    }

    /// A sequence with these adapters for the text, and how many tokens of it that holds. An idle one that the text goes on
    /// with; else a new one, which takes over what any other begins with as well, in a free place or in that of the idle
    /// one that was of no use for the longest time.
    fn sequence(&mut self, adapters: &[(Adapter, f32)]) -> Result<(SequenceId, usize), SessionError> {
        let best =
            self.idle.iter().enumerate().map(|(at, &id)| (self.common(id, &self.text, adapters), at)).max();
        if let Some((held, at)) = best.filter(|&(held, _)| held > 0) {
            let id = self.idle.remove(at);
            let lost = self.sequences.position(id)? - held;
            let others = self.pinned.iter().chain(self.at_work.iter().map(|working| &working.sequence));
            let is_best = others.into_iter().all(|&other| held >= self.common(other, &self.text, adapters));
            let is_only = self.idle.is_empty() && self.is_full(1) && is_best;
            if lost <= held / 4 || is_only {
                self.sequences.truncate(id, held)?;
                return Ok((id, held));
            }
            // It was of use again.
            self.idle.push(id);
        }
        Ok((self.join(adapters)?, 0))
    }

    /// A new sequence, in a free place or in that of the idle one that was of no use for the longest time.
    pub(super) fn join(&mut self, adapters: &[(Adapter, f32)]) -> Result<SequenceId, SessionError> {
        if self.is_full(0) && !self.idle.is_empty() {
            let id = self.idle.remove(0);
            self.sequences.leave(id)?;
        }
        let adapters: Vec<(&Adapter, f32)> =
            adapters.iter().map(|(adapter, scale)| (adapter, *scale)).collect();
        self.sequences.join_with(&adapters)
    }

    /// Whether there is no place for another sequence, where so many are there that are in no list.
    fn is_full(&self, more: usize) -> bool {
        let embedding = usize::from(self.is_embedding());
        self.at_work.len() + self.idle.len() + self.pinned.len() + embedding + more >= self.most
    }

    /// How many tokens a sequence has in common with the text, whose last is not among them: its logits are asked for.
    pub(super) fn common(&self, id: SequenceId, text: &[u32], adapters: &[(Adapter, f32)]) -> usize {
        let (Ok(tokens), Ok(pristine), Ok(attached)) =
            (self.sequences.tokens(id), self.sequences.pristine(id), self.sequences.adapters(id))
        else {
            return 0;
        };
        let mut attached = attached;
        let mut is_next = |(adapter, scale): &(Adapter, f32)| {
            attached.next().is_some_and(|(other, by)| other.is(adapter) && by == *scale)
        };
        if !adapters.iter().all(&mut is_next) || attached.next().is_some() {
            return 0;
        }
        let text = text.iter().take(text.len().saturating_sub(1));
        tokens.iter().take(pristine).zip(text).take_while(|(a, b)| a == b).count()
    }

    /// Feeds a sequence, for which idle ones leave if need be.
    pub(super) fn feed(&mut self, sequence: SequenceId, tokens: &[u32]) -> Result<(), SessionError> {
        self.make_room(|sequences| sequences.feed(sequence, tokens))
    }

    /// Has idle sequences leave until there is room in the cache for what is to be done, or none is left.
    pub(super) fn make_room(
        &mut self,
        mut feed: impl FnMut(&mut Sequences) -> Result<(), SessionError>,
    ) -> Result<(), SessionError> {
        loop {
            match feed(&mut self.sequences) {
                Err(SessionError::CacheFull { .. }) if !self.idle.is_empty() => {
                    let id = self.idle.remove(0);
                    self.sequences.leave(id)?;
                }
                done => return done,
            }
        }
    }

    /// Takes up the logits of the answer at this place, if there are any. Returns whether it is still there.
    fn advance(&mut self, at: usize, each: &mut impl FnMut(AnswerId, AnswerEvent<'_>)) -> bool {
        let Self { sequences, at_work, logprobs, .. } = self;
        let Working { id, request, begun, sequence, worked_before } = &mut at_work[at];
        let Begun { sampler, writing, read } = begun;
        let tokenizer = sequences.model().tokenizer();
        let logits = match sequences.logits(*sequence) {
            Err(SessionError::NoPrompt) => return true,
            logits => logits,
        };
        if !std::mem::replace(read, true) {
            let worked = sequences.worked_on(*sequence).map_or(0, |worked| worked - *worked_before);
            each(*id, AnswerEvent::Read { reused: request.prompt.len().saturating_sub(worked) });
        }
        let all = logits.as_ref().map_or(&[][..], |logits| logits);
        // Who asks how probable tokens are has the logits worked out before each, also where only one can follow.
        let room = match request.logprobs {
            Some(_) => 0,
            None => sequences.context() - sequences.position(*sequence).unwrap_or(0),
        };
        let picked = writing.decoding().pick(sampler, tokenizer, logits, room);
        if let Ok(Some(token)) = &picked {
            let logprobs = request.logprobs.map(|most| {
                logprobs.take_up(all, *token, most);
                &*logprobs
            });
            each(*id, AnswerEvent::Token { token: *token, logprobs });
        }
        let mut done = writing.take_up(tokenizer, picked);
        while done.is_ok()
            && writing.ending().is_none()
            && let Some(forced) = writing.decoding().next_forced(sampler)
        {
            each(*id, AnswerEvent::Token { token: forced, logprobs: None });
            done = writing.take_up(tokenizer, Ok(Some(forced)));
        }
        if done.is_ok() && writing.ending().is_none() && writing.decoding().is_done() {
            // Ends here, so that no token is worked on in vain.
            let none = writing.decoding().pick(sampler, tokenizer, Err(SessionError::NoPrompt), 0);
            done = writing.take_up(tokenizer, none);
        }
        self.tell(at, done, each) && self.go_on(at, each)
    }

    /// Tells what is new of the answer at this place. Returns whether it goes on.
    fn tell(
        &mut self,
        at: usize,
        done: Result<(), SessionError>,
        each: &mut impl FnMut(AnswerId, AnswerEvent<'_>),
    ) -> bool {
        let Working { id, begun: Begun { writing, .. }, sequence, .. } = &mut self.at_work[at];
        while let Some(piece) = writing.next_piece() {
            each(*id, AnswerEvent::Piece(piece));
        }
        let (ending, error) = match done {
            Ok(()) => (writing.ending(), None),
            Err(error) => (Some(Ending::Failed), Some(error)),
        };
        let Some(ending) = ending else { return true };
        match ending {
            // What is in the cache is of no use to others. It is there, so this cannot fail.
            Ending::Failed => drop(self.sequences.leave(*sequence)),
            _ => self.idle.push(*sequence),
        }
        let (tokens, thought_tokens, stop) = (writing.tokens(), writing.thought(), writing.stop());
        each(*id, AnswerEvent::Over { ending, tokens, thought_tokens, stop, error });
        self.at_work.remove(at);
        false
    }

    /// Feeds the newest tokens of the answer at this place, for which the youngest answers wait again if need be. Returns
    /// whether it is still there.
    fn go_on(&mut self, at: usize, each: &mut impl FnMut(AnswerId, AnswerEvent<'_>)) -> bool {
        loop {
            let Working { begun: Begun { writing, .. }, sequence, .. } = &mut self.at_work[at];
            let sequence = *sequence;
            self.text.clear();
            self.text.extend_from_slice(writing.decoding().unfed());
            let text = std::mem::take(&mut self.text);
            let fed = self.feed(sequence, &text);
            self.text = text;
            match fed {
                Ok(()) => return true,
                Err(SessionError::CacheFull { .. }) if self.put_back_embedding() => {}
                Err(SessionError::CacheFull { .. }) if self.at_work.len() > 1 => {
                    self.put_back_youngest();
                    if at == self.at_work.len() {
                        return false;
                    }
                }
                Err(error) => {
                    let writing = &mut self.at_work[at].begun.writing;
                    let done = writing.take_up(self.sequences.model().tokenizer(), Err(error));
                    return self.tell(at, done, each);
                }
            }
        }
    }

    /// Has the youngest answer at work wait again.
    fn put_back_youngest(&mut self) {
        if let Some(Working { id, request, begun, sequence, .. }) = self.at_work.pop() {
            // It is there, so this cannot fail.
            let _ = self.sequences.leave(sequence);
            self.waiting.push_front(Task { id, request, begun: Some(begun) });
        }
    }
}
