//! A session that knows which tokens it holds.

use crate::answer::{self, Answer, AnswerArguments};
use anyhow::Result;
use siskin::sampler::Sampler;
use siskin::{Model, Session};
use std::io::Write;

/// A session and its tokens, so that of the next prompt only what differs from them is fed. That changes no bit of
/// the answer.
pub(crate) struct Held {
    session: Session,
    tokens: Vec<u32>,
}

impl Held {
    /// Takes an empty session.
    pub(crate) fn new(session: Session) -> Held {
        Held { session, tokens: Vec::new() }
    }

    /// The session.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// The tokens that it holds.
    #[cfg(test)]
    pub(crate) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Forgets all tokens.
    pub(crate) fn clear(&mut self) {
        self.session.clear();
        self.tokens.clear();
    }

    /// Makes the session hold these tokens, and shows `fed` those that were new. Returns false where `go_on` said no
    /// before all was fed.
    pub(crate) fn hold(
        &mut self,
        tokens: &[u32],
        go_on: impl Fn() -> bool,
        mut fed: impl FnMut(&[u32]),
    ) -> Result<bool> {
        /// Few enough to be interrupted soon, enough to be worked on together.
        const STEP: usize = 64;
        let common = self.tokens.iter().zip(tokens).take_while(|(held, token)| held == token).count();
        // The last token is fed even if it is there: the answer needs the logits after it.
        let common = common.min(tokens.len().saturating_sub(1));
        self.session.truncate(common);
        self.tokens.truncate(common);
        for step in tokens.split_at(common).1.chunks(STEP) {
            if !go_on() {
                return Ok(false);
            }
            self.session.feed(step)?;
            self.tokens.extend(step);
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
        let answer = answer::stream(model, &mut self.session, sampler, arguments, go_on, out)?;
        self.tokens.extend(&answer.tokens);
        self.tokens.truncate(self.session.position());
        Ok(answer)
    }
}
