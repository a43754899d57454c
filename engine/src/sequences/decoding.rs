//! Picking the tokens of an answer, one after the other.

use super::{Session, SessionError};
use crate::grammar::Constraint;
use crate::sampler::Sampler;
use crate::tokenizer::Tokenizer;

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The model ended its turn with this token, which the session does not hold.
    Turn(u32),
    /// As many tokens as were asked for.
    Limit,
}

/// Where the picking of tokens stands.
pub(crate) struct Decoding {
    left: usize,
    /// The token handed out last, which waits to be fed: so it is seen before the next one is worked out.
    unfed: Option<u32>,
    end: Option<End>,
    constraint: Option<Box<Constraint>>,
    /// With a grammar, the token picked last and those that it forces behind that, of which so many were handed out. They
    /// wait to be fed together.
    run: Vec<u32>,
    told: usize,
}

impl Decoding {
    /// Picks at most `limit` tokens.
    pub(crate) fn new(limit: usize) -> Self {
        Self { left: limit, unfed: None, end: None, constraint: None, run: Vec::new(), told: 0 }
    }

    /// Has the tokens behind those that were handed out keep to a grammar, or to none.
    pub(crate) fn constrain(&mut self, constraint: Option<Constraint>) {
        self.run.truncate(self.told);
        self.constraint = constraint.map(Box::new);
    }

    /// Thoughts are over: the grammar begins.
    pub(crate) fn wake(&mut self) {
        if let Some(constraint) = &mut self.constraint {
            constraint.wake();
        }
    }

    /// The next token: see [`Generation::next_token`](super::Generation::next_token).
    pub(crate) fn next_token(
        &mut self,
        session: &mut Session,
        sampler: &mut Sampler,
    ) -> Result<Option<u32>, SessionError> {
        if self.end.is_some() {
            return Ok(None);
        }
        if let Some(forced) = self.next_forced(sampler) {
            return Ok(Some(forced));
        }
        if !self.unfed().is_empty() && !self.is_over() {
            session.go_on(unfed(&self.unfed, &self.run, self.told), self.constraint.as_deref_mut())?;
            self.fed();
        }
        let room = session.room();
        self.pick(sampler, session.model().tokenizer(), session.logits(), room)
    }

    /// Picks a token by the logits after the last one, whoever fed it, where there is `room` for so many tokens.
    pub(crate) fn pick(
        &mut self,
        sampler: &mut Sampler,
        tokenizer: &Tokenizer,
        logits: Result<&[f32], SessionError>,
        room: usize,
    ) -> Result<Option<u32>, SessionError> {
        if self.is_over() {
            return Ok(None);
        }
        if self.left == 0 {
            self.end = Some(End::Limit);
            return Ok(None);
        }
        let token = match &mut self.constraint {
            None => sampler.sample(logits?),
            Some(constraint) => constraint.pick(sampler, logits?)?,
        };
        if tokenizer.is_end(token) {
            self.end = Some(End::Turn(token));
            return Ok(None);
        }
        self.fed();
        if let Some(constraint) = &mut self.constraint {
            constraint.accept(token, room.saturating_sub(1), &mut self.run)?;
            self.told = 1;
        }
        sampler.accept(token);
        self.unfed = Some(token);
        self.left -= 1;
        Ok(Some(token))
    }

    /// The next of the tokens that the grammar forces behind the one picked last, which no logits are asked for.
    pub(crate) fn next_forced(&mut self, sampler: &mut Sampler) -> Option<u32> {
        let token = *self.run.get(self.told).filter(|_| self.left > 0)?;
        self.told += 1;
        self.left -= 1;
        sampler.accept(token);
        Some(token)
    }

    /// The tokens that were handed out and wait to be fed.
    pub(crate) fn unfed(&self) -> &[u32] {
        unfed(&self.unfed, &self.run, self.told)
    }

    fn fed(&mut self) {
        self.unfed = None;
        self.run.clear();
        self.told = 0;
    }

    /// Whether the grammar allows nothing behind what was handed out.
    fn is_over(&self) -> bool {
        self.told == self.run.len() && self.constraint.as_ref().is_some_and(|constraint| constraint.is_over())
    }

    /// Whether there are as many tokens as were asked for.
    pub(crate) fn is_full(&self) -> bool {
        self.left == 0
    }

    /// Whether no token comes any more: there are as many as were asked for, or the grammar allows none.
    pub(crate) fn is_done(&self) -> bool {
        self.is_full() || self.is_over()
    }

    /// Why there are no more; None as long as there are.
    pub(crate) fn end(&self) -> Option<End> {
        self.end
    }
}

fn unfed<'t>(single: &'t Option<u32>, run: &'t [u32], told: usize) -> &'t [u32] {
    if run.is_empty() { single.as_slice() } else { run.get(..told).unwrap_or(run) }
}
