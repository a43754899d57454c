//! Lines that are answered several at a time, and written in their order.

use super::Prompt;
use super::answers::{Answers, Record};
use super::request::Id;
use crate::terminal::{Interrupt, Reply};
use anyhow::{Context, Error, Result};
use siskin::{AnswerEvent, AnswerId, AnswerRequest, Ending, Scheduler, SessionError};
use std::collections::VecDeque;

/// Lines that may be begun at once for each that is answered at once: so much may be done again where the program is
/// killed while an early line takes long.
const AHEAD: usize = 4;

/// The lines that were begun and are not written yet.
pub(super) struct Queue {
    scheduler: Scheduler,
    lines: VecDeque<Begun>,
    hide_thoughts: bool,
    /// Tokens of thoughts that were hidden.
    hidden_tokens: usize,
}

/// A line that was begun.
struct Begun {
    answer: AnswerId,
    /// What messages call it.
    place: String,
    id: Id,
    prompt_tokens: usize,
    /// As far as it came.
    reply: Reply,
    is_over: bool,
    error: Option<SessionError>,
}

impl Queue {
    /// No lines yet. Thoughts are no part of their answers where they are hidden.
    pub(super) fn new(scheduler: Scheduler, hide_thoughts: bool) -> Queue {
        Queue { scheduler, lines: VecDeque::new(), hide_thoughts, hidden_tokens: 0 }
    }

    /// Tokens of thoughts that were hidden so far.
    pub(super) fn hidden_tokens(&self) -> usize {
        self.hidden_tokens
    }

    /// What works on the lines.
    pub(super) fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// Ends what it is at when the program is interrupted.
    pub(super) fn cancel_when(&mut self, interrupt: &Interrupt) {
        self.scheduler.cancel_when(interrupt.flag());
    }

    /// Takes up a line.
    pub(super) fn push(&mut self, place: String, prompt: Prompt) -> Result<()> {
        let Prompt { id, tokens, sampling, limits, adapters, special, grammar, .. } = prompt;
        let prompt_tokens = tokens.len();
        let request = AnswerRequest::new(tokens).sampling(sampling).limits(limits);
        let request = request.adapters(adapters).special(special).grammar(grammar);
        let answer = self.scheduler.ask(request).with_context(|| place.clone())?;
        let reply = Reply::none(Ending::Failed);
        self.lines.push_back(Begun { answer, place, id, prompt_tokens, reply, is_over: false, error: None });
        Ok(())
    }

    /// Whether there are as many lines as can be used: one that waits for the next place.
    pub(super) fn is_full(&self) -> bool {
        let most = self.scheduler.places();
        self.scheduler.unfinished() > most || self.lines.len() >= AHEAD.saturating_mul(most)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Works on the lines, and writes those that are finished and have no unfinished one before them. Returns how many
    /// these were; None where the work was interrupted.
    ///
    /// # Errors
    /// A line that cannot be answered: those before it are written.
    pub(super) fn work(&mut self, answers: &mut Answers) -> Result<Option<usize>> {
        let (lines, hide_thoughts) = (&mut self.lines, self.hide_thoughts);
        let step = self.scheduler.step(|answer, event| {
            let Ok(at) = lines.binary_search_by_key(&answer, |line| line.answer) else { return };
            match event {
                AnswerEvent::Read { .. } | AnswerEvent::Token { .. } | AnswerEvent::Embedded { .. } => {}
                AnswerEvent::Piece(piece) => {
                    lines[at].reply.push(piece, hide_thoughts);
                }
                AnswerEvent::Over { ending, tokens, thought_tokens, error, .. } => {
                    let Begun { reply, is_over, error: failure, .. } = &mut lines[at];
                    (reply.ending, reply.tokens, reply.thought_tokens) =
                        (ending, tokens.to_vec(), thought_tokens);
                    (*is_over, *failure) = (true, error);
                }
            }
        });
        match step {
            Err(SessionError::Cancelled) => return Ok(None),
            done => done?,
        };
        let mut written = 0;
        while let Some(line) = self.lines.pop_front_if(|line| line.is_over) {
            let Begun { place, id, prompt_tokens, reply, error, .. } = line;
            if let Some(error) = error {
                return Err(Error::from(error).context(place));
            }
            let hidden = if self.hide_thoughts { reply.thought_tokens } else { 0 };
            self.hidden_tokens += hidden;
            answers.push(&Record::new(&id, prompt_tokens, &reply, hidden))?;
            written += 1;
        }
        Ok(Some(written))
    }
}
