//! Steps: which tokens are worked on together, and the logits that come of them.

use super::{SequenceId, Sequences, SessionError};
use crate::model::Observer;
use crate::state::Segment;

/// Which tokens of a step logits are worked out after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogitsOf {
    /// None.
    None,
    /// The last ones of their sequences.
    Ends,
    /// All, which may be no more than [`SessionOptions::drafts`](super::SessionOptions::drafts) and one.
    All,
}

impl Sequences {
    /// Works on tokens that wait: those of sequences with a single one first, then the others' in the order in which they
    /// were fed, up to a batch. Returns how many there were; 0 where none wait.
    ///
    /// # Errors
    /// [`SessionError::Cancelled`]: there are no logits, and the same tokens wait.
    pub fn step(&mut self) -> Result<usize, SessionError> {
        self.advance(&mut (), LogitsOf::Ends)
    }

    /// Works on up to `most` tokens of sequences that [`Sequences::feed_observed`] was used for, and shows `observer` what the output matrix would be multiplied with
    /// after each of them. Returns how many there were.
    ///
    /// # Errors
    /// As for [`Sequences::step`].
    pub(crate) fn step_observed(
        &mut self,
        most: usize,
        observer: &mut dyn Observer,
    ) -> Result<usize, SessionError> {
        self.limit_prompts(most);
        self.observing = true;
        let done = self.advance(&mut (), LogitsOf::None);
        self.observing = false;
        if done.as_ref().is_ok_and(|&tokens| tokens > 0) {
            self.observe_output(observer);
        }
        done
    }

    /// Works on no more than so many tokens in a step, at least 1, beside those of sequences with a single one: so these need
    /// not wait until a long prompt is read.
    pub fn limit_prompts(&mut self, tokens: usize) {
        self.most_of_prompts = tokens.max(1);
    }

    /// The logits after the last token of a sequence: one number for each entry of the vocabulary. They are there from the
    /// step that worked on that token until the next one.
    ///
    /// # Errors
    /// [`SessionError::NoSequence`]; [`SessionError::NoPrompt`] where the last step did not come to the end of the sequence;
    /// [`SessionError::NotFinite`].
    pub fn logits(&self, id: SequenceId) -> Result<&[f32], SessionError> {
        let member = &self.members[self.place(id)?];
        let row = member.logits.ok_or(SessionError::NoPrompt)?;
        self.logits_row(row, member.tokens.len().saturating_sub(1))
    }

    /// The logits of this number among those of the last step, which are those after the token at `position`.
    pub(super) fn logits_row(&self, row: usize, position: usize) -> Result<&[f32], SessionError> {
        match self.not_finite.contains(&row) {
            true => Err(SessionError::NotFinite { position }),
            false => Ok(self.raw_logits(row)),
        }
    }

    /// The same, be they numbers or not.
    pub(super) fn raw_logits(&self, row: usize) -> &[f32] {
        self.context.buffers.logits(row, self.model.vocabulary())
    }

    /// Works out the logits after some tokens of the batch.
    pub(super) fn work_out_logits(&mut self, rows: &[usize]) {
        self.model.network().logits(&mut self.context, rows);
        self.not_finite.clear();
        for row in 0..rows.len() {
            if !finite(self.raw_logits(row)) {
                self.not_finite.push(row);
            }
        }
    }

    /// [`Sequences::step`], shown to `observer`.
    pub(super) fn advance(
        &mut self,
        observer: &mut dyn Observer,
        logits: LogitsOf,
    ) -> Result<usize, SessionError> {
        self.take_over();
        for at in 0..self.queue.len() {
            if self.members[self.queue[at]].donor.is_none() {
                self.resume(self.queue[at]);
            }
        }
        self.compose(logits);
        if self.tokens.is_empty() {
            return Ok(0);
        }
        if let Err(cancelled) = self.model.network().forward(&mut self.context, &self.tokens, observer) {
            for &(place, worked) in &self.before {
                let member = &mut self.members[place];
                (member.worked, member.logits) = (worked, None);
            }
            return Err(cancelled.into());
        }
        if !self.rows.is_empty() {
            let rows = std::mem::take(&mut self.rows);
            self.work_out_logits(&rows);
            self.rows = rows;
        }
        let members = &self.members;
        self.queue.retain(|&place| members[place].waiting() > 0);
        Ok(self.tokens.len())
    }

    /// Has those tokens of a member wait again whose successors look back at what is gone, as after a long cut.
    fn resume(&mut self, place: usize) {
        let member = &self.members[place];
        self.go_back(place, self.context.ops.states.resume(place, member.worked, member.pristine()));
    }

    /// Has the tokens of a member from `start` on wait again.
    pub(super) fn go_back(&mut self, place: usize, start: usize) {
        let member = &mut self.members[place];
        if start < member.worked {
            // What is worked on again follows from all that is before it.
            (member.worked, member.first_after_gap) = (start, None);
            if !self.queue.contains(&place) {
                self.queue.push(place);
            }
        }
    }

    /// As [`resume`](Self::resume), of a sequence that may have no others that wait.
    pub(super) fn work_again(&mut self, id: SequenceId) -> Result<(), SessionError> {
        self.resume(self.place(id)?);
        Ok(())
    }

    /// Tokens of a step that there may be logits of.
    pub(super) fn most_logits(&self) -> usize {
        let options = self.context.options();
        options.logits.min(options.batch)
    }

    /// Shows `observer` what the output matrix is multiplied with after each token of the step.
    pub(super) fn observe_output(&mut self, observer: &mut dyn Observer) {
        self.model.network().observe_output(&mut self.context, observer);
    }

    /// Chooses the tokens of a step.
    pub(super) fn compose(&mut self, logits: LogitsOf) {
        let Self { context, members, queue, tokens, rows, before, .. } = self;
        let (most_of_prompts, observing) = (self.most_of_prompts, self.observing);
        let (most, most_logits) = (context.options().batch, context.options().logits);
        let batch = &mut context.ops.batch;
        batch.clear();
        tokens.clear();
        rows.clear();
        before.clear();
        members.iter_mut().for_each(|member| member.logits = None);
        for single in [true, false] {
            let most = if single { most } else { most.min(tokens.len().saturating_add(most_of_prompts)) };
            for &place in &*queue {
                let member = &mut members[place];
                let mut count = member.waiting().min(most - tokens.len());
                if logits == LogitsOf::Ends && count == member.waiting() && rows.len() == most_logits {
                    // There is no room for its logits.
                    count = count.saturating_sub(1);
                }
                let is_meant = (member.waiting() == 1) == single && member.observed == observing;
                if !is_meant || member.donor.is_some() || count == 0 {
                    continue;
                }
                let (start, end) = (member.worked, member.worked + count);
                let segment = Segment { sequence: place, start, tokens: count, pages: &member.pages };
                batch.push(segment, &member.adapters);
                tokens.extend_from_slice(&member.tokens[start..end]);
                before.push((place, start));
                member.worked = end;
                member.worked_on += count;
                match logits {
                    LogitsOf::None => {}
                    LogitsOf::All => rows.extend(tokens.len() - count..tokens.len()),
                    LogitsOf::Ends if member.waiting() == 0 => {
                        member.logits = Some(rows.len());
                        rows.push(tokens.len() - 1);
                    }
                    LogitsOf::Ends => {}
                }
            }
        }
    }
}

/// Whether all of these are numbers, looked at without a branch for each.
pub(super) fn finite(logits: &[f32]) -> bool {
    let largest = logits.iter().fold(0, |largest: u32, logit| largest.max(logit.to_bits() & 0x7fff_ffff));
    f32::from_bits(largest).is_finite()
}
