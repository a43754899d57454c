//! Beginnings of prompts that outlive their answers: pinned for good, or saved and taken up again.

use std::io::{self, Read, Seek, Write};

use super::Scheduler;
use crate::error::Error;
use crate::model::Adapter;
use crate::sequences::{Restored, SequenceId, SessionError, StateError, StateFile};
use crate::state::PAGE;

impl Scheduler {
    /// Reads the beginning of prompts to come, and keeps it for good, in a place of its own. What prompts with these adapters
    /// have in common with it is there from then on.
    ///
    /// # Errors
    /// As for [`Sequences::feed`](crate::Sequences::feed) and [`Sequences::step`](crate::Sequences::step); no place, where as
    /// many are pinned as [`SequencesOptions::idle`](crate::SequencesOptions::idle) says; a cache that would have no room left
    /// for a whole context.
    pub fn pin(&mut self, beginning: &[u32], adapters: &[(Adapter, f32)]) -> Result<(), SessionError> {
        let most = self.sequences.most() - self.places();
        if self.pinned.len() >= most {
            return Err(SessionError::NoPlace { most });
        }
        let pages = |tokens: usize| tokens.div_ceil(PAGE);
        let pinned = self.pinned.iter().filter_map(|&id| self.sequences.position(id).ok());
        let taken: usize = pinned.map(pages).sum::<usize>() + pages(beginning.len());
        let (all, one) = (self.sequences.pages(), pages(self.sequences.context()));
        if taken + one > all {
            return Err(SessionError::CacheFull { wanted: taken + one, free: all });
        }
        let id = self.join(adapters)?;
        let read = self.feed(id, beginning).and_then(|()| {
            while self.sequences.step()? > 0 {}
            Ok(())
        });
        match read {
            Ok(()) => self.pinned.push(id),
            Err(_) => self.sequences.leave(id)?,
        }
        read
    }

    /// The sequences of answers that are over, the one that was of no use for the longest time first, each with the hash of
    /// all that its bits depend on beside its tokens, and its tokens.
    pub fn idle(&self) -> impl Iterator<Item = (SequenceId, u128, &[u32])> {
        self.idle.iter().filter_map(|&id| {
            Some((id, self.sequences.fingerprint_of(id).ok()?, self.sequences.tokens(id).ok()?))
        })
    }

    /// Tokens of a prompt with these adapters that would not have to be worked on, as far as sequences that are there hold
    /// its beginning.
    pub fn held(&self, prompt: &[u32], adapters: &[(Adapter, f32)]) -> usize {
        let there =
            self.idle.iter().chain(&self.pinned).chain(self.at_work.iter().map(|work| &work.sequence));
        there.map(|&id| self.common(id, prompt, adapters)).max().unwrap_or(0)
    }

    /// Writes what a sequence holds: see [`Session::save`](crate::Session::save).
    ///
    /// # Errors
    /// What `out` returns, and a sequence that has left.
    pub fn save(&self, id: SequenceId, out: impl Write) -> io::Result<()> {
        self.sequences.save(id, out)
    }

    /// Takes up the saved state of a sequence with these adapters, as if it had just been answered there. Idle ones leave
    /// for it if need be. It is read twice, a piece at a time: whether it is whole is known before anything is done for it.
    /// Returns how many tokens it has.
    ///
    /// # Errors
    /// As for [`Session::restore`](crate::Session::restore), what cannot be read, and a cache that has no room for it beside
    /// what is at work.
    pub fn take_up(
        &mut self,
        state: &mut (impl Read + Seek),
        adapters: &[(Adapter, f32)],
    ) -> Result<usize, Error> {
        let found = StateFile::check(state)?;
        let id = self.join(adapters)?;
        loop {
            match self.sequences.restore_from(id, &found, state, Restored::State) {
                Ok(_) => break,
                // What no room would be enough for costs no other its place.
                Err(StateError::TooLong { .. })
                    if !self.idle.is_empty() && found.tokens() <= self.sequences.context() =>
                {
                    let oldest = self.idle.remove(0);
                    self.sequences.leave(oldest)?;
                }
                Err(error) => {
                    self.sequences.leave(id)?;
                    return Err(error.into());
                }
            }
        }
        self.idle.push(id);
        Ok(found.tokens())
    }

    /// What sequences with these adapters begin with, as [`SavedHead::fingerprint`](crate::SavedHead) has it.
    pub fn fingerprint(&self, adapters: &[(Adapter, f32)]) -> u128 {
        self.sequences.fingerprint_with(adapters)
    }
}
