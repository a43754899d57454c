use super::setup::Opened;
use super::talk::{Exchange, Talk, said};
use crate::arguments::AnswerArguments;
use crate::arguments::context::Policy;
use crate::terminal::{Interrupt, Reply, answer, note, read_prompt};
use anyhow::Result;
use siskin::sampler::{Chance, SamplerOptions};
use siskin::template::{Message, Rendering};
use siskin::{Answer, Ending, Model};
use std::io::Write;

/// What was said so far, and who answers: a session that holds most of it.
pub(super) struct Conversation {
    answer: Answer,
    sampling: SamplerOptions,
    /// What the chat template is told.
    rendering: Rendering,
    hide_thoughts: bool,
    policy: Policy,
    talk: Talk,
    /// Messages were forgotten for the last answer.
    forgot: bool,
    /// That something is forgotten was said.
    told: bool,
    /// Tokens of the conversation that was answered last.
    asked: usize,
}

impl Conversation {
    /// Goes on with what was said, in a session that holds nothing. Where `policy` is to forget tokens of a full context,
    /// whole messages go before the next is answered.
    pub(super) fn new(opened: Opened, talk: Talk, policy: Policy) -> Conversation {
        let Opened { answer, sampling, rendering, hide_thoughts } = opened;
        let (forgot, told, asked) = (false, false, 0);
        Conversation { answer, sampling, rendering, hide_thoughts, policy, talk, forgot, told, asked }
    }

    /// What was said, without the model and its memory.
    pub(super) fn into_talk(mut self) -> Talk {
        self.talk.leave_session();
        self.talk
    }

    /// Ends answers when the interrupt is raised.
    pub(super) fn cancel_when(&mut self, interrupt: &Interrupt) {
        self.answer.cancel_when(interrupt.flag());
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

    /// The model that answers.
    pub(super) fn model(&self) -> &Model {
        self.answer.model()
    }

    /// Tokens that the conversation has at most.
    pub(super) fn context(&self) -> usize {
        self.answer.session().context()
    }

    /// Tokens of the conversation that was answered last, with its last message.
    pub(super) fn asked(&self) -> usize {
        self.asked
    }

    /// What was said.
    pub(super) fn talk(&self) -> &Talk {
        &self.talk
    }

    /// What becomes of it where the context is full.
    pub(super) fn policy(&self) -> Policy {
        self.policy
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
        let before = self.talk.forgotten;
        let chance = self.answer.sampler_mut().chance();
        let message = self.talk.messages.len();
        self.talk.messages.push(Message::new("user", text));
        let reply = self.answer(arguments, out)?;
        if reply.ending.is_complete() || !reply.tokens.is_empty() {
            self.talk.messages.push(said(&reply.said, &reply.thoughts));
            let held = Some(self.answer.reused());
            self.talk.exchanges.push(Exchange { message, forgotten: before, held, chance: Some(chance) });
            self.talk.unanswered = None;
        } else {
            self.talk.messages.pop();
            self.talk.forgotten = before;
            self.answer.sampler_mut().set_chance(&chance);
            self.talk.unanswered = Some(text.to_owned());
        }
        Ok(reply)
    }

    fn answer(&mut self, arguments: &AnswerArguments, out: &mut impl Write) -> Result<Reply> {
        let (tokens, context) = (self.tokens()?, self.context());
        self.asked = tokens.len();
        let cuts_messages = self.policy.room(context).is_some() && !self.policy.is_default;
        if tokens.len() >= context && !cuts_messages {
            self.forgot = false;
            return Ok(Reply::none(Ending::ContextFull));
        }
        let when_full = self.policy.when_full(context, self.opening(&tokens)?);
        self.answer.session_mut().set_when_full(when_full)?;
        let mut limits = arguments.limits();
        if self.bounds_answers(arguments) {
            limits.tokens = Some(context);
        }
        self.answer.set_limits(limits);
        self.answer.ask_tokens(&tokens)?;
        read_prompt(&mut self.answer)?;
        answer::stream(&mut self.answer, out, self.hide_thoughts)
    }

    /// Whether an answer ends after as many tokens as the context has: a model may find no end by itself, and a context that
    /// is full gives it none.
    pub(super) fn bounds_answers(&self, arguments: &AnswerArguments) -> bool {
        self.policy.is_default && !arguments.say_how_long()
    }

    /// The conversation in tokens, without the oldest messages where they have no room and may be forgotten.
    fn tokens(&mut self) -> Result<Vec<u32>> {
        let mut tokens = self.rendered(&self.talk)?;
        self.forgot = false;
        if let Some(room) = self.policy.room(self.context())
            && tokens.len() >= self.context()
        {
            while tokens.len() > room && self.talk.forget_oldest() {
                self.forgot = true;
                tokens = self.rendered(&self.talk)?;
            }
        }
        Ok(tokens)
    }

    fn rendered(&self, talk: &Talk) -> Result<Vec<u32>> {
        Ok(self.model().chat_tokens_with(&talk.seen(), &self.rendering)?)
    }

    /// How many of the tokens stand for what the model is told before the conversation.
    fn opening(&self, tokens: &[u32]) -> Result<usize> {
        if self.talk.system.is_none() {
            return Ok(0);
        }
        let messages: Vec<Message> = self.talk.opening().chain([Message::new("user", "")]).collect();
        let opening = self.model().chat_tokens_with(&messages, &self.rendering)?;
        Ok(opening.iter().zip(tokens).take_while(|(opening, token)| opening == token).count())
    }

    /// Whether something of the conversation was forgotten for the last answer, or in the middle of it, and nobody was told
    /// yet.
    pub(super) fn tells_that_it_forgot(&mut self) -> bool {
        let session = self.answer.session();
        let news = !self.told && (self.forgot || session.pristine() < session.position());
        self.told |= news;
        news
    }

    /// Where the random numbers stand.
    pub(super) fn chance(&mut self) -> Chance {
        self.answer.sampler_mut().chance()
    }

    /// Has them go on from there.
    pub(super) fn set_chance(&mut self, chance: &Chance) {
        self.answer.sampler_mut().set_chance(chance);
    }

    /// Says on standard error with which seed the conversation can be had again, where chance has a say in it.
    pub(super) fn tell_seed(&self) {
        if !self.sampling.is_greedy() {
            note(format_args!("seed: {}", self.answer.seed()));
        }
    }

    /// Whether the same is always answered to the same.
    pub(super) fn is_greedy(&self) -> bool {
        self.sampling.is_greedy()
    }

    /// Takes the last message and its answer back: all is as if they had never been. Whether there were any.
    pub(super) fn undo(&mut self) -> bool {
        let Some(exchange) = self.talk.exchanges.pop() else { return false };
        self.talk.messages.truncate(exchange.message);
        self.talk.forgotten = exchange.forgotten;
        self.talk.unanswered = None;
        if let Some(chance) = &exchange.chance {
            self.answer.sampler_mut().set_chance(chance);
        }
        if let Some(held) = exchange.held {
            let session = self.answer.session_mut();
            session.truncate(held.min(session.pristine()));
        }
        true
    }

    /// Answers the last message again, with another seed if it has an answer already, which stays if this is none. None
    /// where there is no message.
    ///
    /// # Errors
    /// As for [`Conversation::say`].
    pub(super) fn retry(
        &mut self,
        arguments: &AnswerArguments,
        out: &mut impl Write,
    ) -> Result<Option<Reply>> {
        if let Some(text) = self.talk.unanswered.take() {
            return self.say(&text, arguments, out).map(Some);
        }
        let Some(exchange) = self.talk.exchanges.last().cloned() else { return Ok(None) };
        let taken = self.talk.messages.get(exchange.message..).unwrap_or_default().to_vec();
        let (now, seed) = (self.answer.sampler_mut().chance(), self.answer.seed().wrapping_add(1));
        let forgotten = self.talk.forgotten;
        self.undo();
        self.answer.sampler_mut().reseed(seed);
        self.tell_seed();
        let text = taken.first().map_or("", |message| message.content.as_str());
        let reply = self.say(text, arguments, out)?;
        if self.talk.unanswered.take().is_some() {
            self.talk.messages.extend(taken);
            self.talk.exchanges.push(exchange);
            self.talk.forgotten = forgotten;
            self.answer.sampler_mut().set_chance(&now);
        } else if let Some(last) = self.talk.exchanges.last_mut() {
            // Who takes the answer back goes on as before the first of them.
            last.chance = exchange.chance;
        }
        Ok(Some(reply))
    }

    /// Has the model be told this before the conversation, from its next message on.
    pub(super) fn set_system(&mut self, text: &str) {
        self.talk.system = Some(text.to_owned());
    }

    /// Begins anew: all but the system message is forgotten.
    pub(super) fn reset(&mut self) -> Result<()> {
        self.begin(Talk::new(self.talk.system.as_deref()))
    }

    /// Goes on with another conversation.
    ///
    /// # Errors
    /// One that the chat template refuses; this one stays then.
    pub(super) fn load(&mut self, talk: Talk) -> Result<()> {
        let mut messages = talk.seen();
        messages.push(Message::new("user", ""));
        self.model().chat_tokens_with(&messages, &self.rendering)?;
        self.begin(talk)
    }

    fn begin(&mut self, talk: Talk) -> Result<()> {
        // A new sampler, not a reset one: without a seed, the next conversation is to be another.
        self.answer.set_sampler(self.answer.session().sampler(&self.sampling)?);
        self.answer.session_mut().clear();
        (self.talk, self.told) = (talk, false);
        Ok(())
    }
}

#[cfg(test)]
#[cfg(feature = "demo")]
mod tests;
