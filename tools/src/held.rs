//! A session that goes from one prompt to the next.

use crate::answer::{self, Answer, AnswerArguments};
use anyhow::Result;
use siskin::sampler::Sampler;
use siskin::{Error, Model, Session};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A session of which only what differs from the next prompt is fed. That changes no bit of the answer.
pub(crate) struct Held(Session);

impl Held {
    /// Takes a session.
    pub(crate) fn new(session: Session) -> Held {
        Held(session)
    }

    /// The session.
    pub(crate) fn session(&self) -> &Session {
        &self.0
    }

    /// Ends what the session is at when the flag is true.
    pub(crate) fn cancel_when(&mut self, flag: Arc<AtomicBool>) {
        self.0.cancel_when(flag);
    }

    /// Forgets all tokens.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Makes the session hold these tokens, and shows `fed` those that were new. Returns false where `go_on` said no, or
    /// the session was cancelled, before all was fed.
    pub(crate) fn hold(
        &mut self,
        tokens: &[u32],
        go_on: impl Fn() -> bool,
        mut fed: impl FnMut(&[u32]),
    ) -> Result<bool> {
        /// Few enough to be interrupted soon, enough to be worked on together.
        const STEP: usize = 64;
        let held = self.0.tokens().iter().take(self.0.pristine());
        let common = held.zip(tokens).take_while(|(held, token)| held == token).count();
        // The last token is fed even if it is there: the answer needs the logits after it.
        let common = common.min(tokens.len().saturating_sub(1));
        self.0.truncate(common);
        for step in tokens.split_at(common).1.chunks(STEP) {
            if !go_on() {
                return Ok(false);
            }
            match self.0.feed(step) {
                Err(Error::Cancelled) => return Ok(false),
                done => done?,
            }
            fed(step);
        }
        Ok(true)
    }

    /// Generates an answer to what it holds, as [`answer::stream`] does.
    pub(crate) fn stream(
        &mut self,
        model: &Model,
        sampler: &mut Sampler,
        arguments: &AnswerArguments,
        go_on: impl Fn() -> bool,
        out: &mut impl Write,
    ) -> Result<Answer> {
        answer::stream(model, &mut self.0, sampler, arguments, go_on, out)
    }
}
