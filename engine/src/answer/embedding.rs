//! What a text comes to as a whole, worked out beside answers.

use super::scheduler::{AnswerEvent, AnswerId, Scheduler};
use crate::error::Error;
use crate::model::{Adapter, Observer, Rows};
use crate::sequences::{SequenceId, SessionError};

/// A text whose embedding is asked for.
pub(super) struct Embedding {
    pub(super) id: AnswerId,
    tokens: Vec<u32>,
    adapters: Vec<(Adapter, f32)>,
    /// Its sequence, once it has a place.
    sequence: Option<SequenceId>,
    seen: Seen,
}

/// What was seen of a text's tokens: the activations that the output matrix would be multiplied with.
#[derive(Default)]
struct Seen {
    sum: Vec<f64>,
    last: Vec<f32>,
    tokens: usize,
}

impl Observer for Seen {
    fn product(&mut self, _: &str, activations: Rows<'_>) {
        for row in activations {
            self.sum.resize(row.len(), 0.0);
            // In the order of the tokens, so the sums are the same however they come.
            self.sum.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
            self.last.clear();
            self.last.extend_from_slice(row);
            self.tokens += 1;
        }
    }
}

impl Scheduler {
    /// Asks what a text comes to as a whole: [`AnswerEvent::Embedded`]. It is worked out beside answers, in slices as prompts
    /// are, and is the same bits whatever else is at work.
    ///
    /// # Errors
    /// As for [`Scheduler::ask`].
    pub fn embed(&mut self, tokens: Vec<u32>, adapters: Vec<(Adapter, f32)>) -> Result<AnswerId, Error> {
        if tokens.is_empty() {
            return Err(SessionError::NoPrompt.into());
        }
        self.sequences.check(0, &tokens)?;
        let id = self.next_id();
        self.embeddings.push_back(Embedding { id, tokens, adapters, sequence: None, seen: Seen::default() });
        Ok(id)
    }

    /// Works on a slice of the text that was asked for first.
    pub(super) fn work_on_embedding(
        &mut self,
        slice: usize,
        each: &mut impl FnMut(AnswerId, AnswerEvent<'_>),
    ) -> Result<(), SessionError> {
        let Some(mut embedding) = self.embeddings.pop_front() else { return Ok(()) };
        match self.work_on(&mut embedding, slice) {
            Ok(true) => {
                let Embedding { id, seen, .. } = embedding;
                let mean: Vec<f32> = seen.sum.iter().map(|sum| (sum / seen.tokens as f64) as f32).collect();
                match mean.iter().all(|x| x.is_finite()) {
                    true => each(id, AnswerEvent::Embedded { mean: &mean, last: &seen.last }),
                    false => fail(id, SessionError::NotFinite { position: seen.tokens - 1 }, each),
                }
            }
            Ok(false) => self.embeddings.push_front(embedding),
            Err(SessionError::Cancelled) => {
                self.embeddings.push_front(embedding);
                return Err(SessionError::Cancelled);
            }
            // Who is at work makes room.
            Err(SessionError::CacheFull { .. } | SessionError::NoPlace { .. }) if self.at_work() > 0 => {
                self.embeddings.push_front(embedding);
            }
            Err(error) => fail(embedding.id, error, each),
        }
        Ok(())
    }

    /// The same; whether it is all worked out.
    fn work_on(&mut self, embedding: &mut Embedding, slice: usize) -> Result<bool, SessionError> {
        let sequence = match embedding.sequence {
            Some(sequence) => sequence,
            None => {
                let sequence = self.join(&embedding.adapters)?;
                if let Err(error) =
                    self.make_room(|sequences| sequences.feed_observed(sequence, &embedding.tokens))
                {
                    self.sequences.leave(sequence)?;
                    return Err(error);
                }
                embedding.sequence = Some(sequence);
                sequence
            }
        };
        self.sequences.step_observed(slice, &mut embedding.seen)?;
        let is_over = embedding.seen.tokens >= embedding.tokens.len();
        if is_over {
            self.sequences.leave(sequence)?;
        }
        Ok(is_over)
    }

    /// Whether a text has pages of the cache.
    pub(super) fn is_embedding(&self) -> bool {
        self.embeddings.front().is_some_and(|embedding| embedding.sequence.is_some())
    }

    /// Has the text that is worked on begin anew later, so that its pages are free. Whether there was one.
    pub(super) fn put_back_embedding(&mut self) -> bool {
        let Some(embedding) = self.embeddings.front_mut() else { return false };
        let Some(sequence) = embedding.sequence.take() else { return false };
        embedding.seen = Seen::default();
        // It is there, so this cannot fail.
        let _ = self.sequences.leave(sequence);
        true
    }

    /// Drops a text; whether it was there.
    pub(super) fn drop_embedding(&mut self, id: AnswerId) -> bool {
        let Some(at) = self.embeddings.iter().position(|embedding| embedding.id == id) else { return false };
        if let Some(sequence) = self.embeddings.remove(at).and_then(|embedding| embedding.sequence) {
            // It is there, so this cannot fail.
            let _ = self.sequences.leave(sequence);
        }
        true
    }
}

fn fail(id: AnswerId, error: SessionError, each: &mut impl FnMut(AnswerId, AnswerEvent<'_>)) {
    let (ending, error) = (super::Ending::Failed, Some(error));
    each(id, AnswerEvent::Over { ending, tokens: &[], thought_tokens: 0, stop: None, error });
}
