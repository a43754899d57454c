use std::io::{self, Read, Seek, Write};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Instant;

use super::decoding::{Decoding, End};
use super::speculation::{Score, Speculation};
use super::step::LogitsOf;
use super::{For, Restored, SequenceId, Sequences, SessionOptions, StateError, StateFile, WhenFull};
use crate::grammar::Constraint;
use crate::model::{Adapter, Model, Observer};
use crate::sampler::{Sampler, SamplerOptions};
use crate::sequences::SessionError;
use crate::tokenizer::Detokenizer;

/// One sequence of tokens: what was fed and answered so far, and all the memory that going on takes.
pub struct Session {
    /// The one member, whose last tokens may be drafts that nobody has accepted.
    sequences: Sequences,
    id: SequenceId,
    /// Tokens that the session holds.
    len: usize,
    /// The number of the last token's logits among those of the last step; None where it has none.
    logits: Option<usize>,
    speculation: Option<Speculation>,
    /// The tokens of the last step, where that was one with drafts: one that the session holds, then the drafts. It holds
    /// those of them that `logits` says.
    drafted: Vec<u32>,
    when_full: WhenFull,
}

impl Model {
    /// A session: a sequence of tokens with all the memory that it will ever use.
    ///
    /// # Errors
    /// An option without meaning, or too little memory.
    pub fn session(&self, options: &SessionOptions) -> Result<Session, SessionError> {
        let mut sequences = Sequences::new(self.clone(), options, For::One)?;
        Ok(Session {
            id: sequences.join()?,
            drafted: Vec::with_capacity(options.drafts + 1),
            sequences,
            len: 0,
            logits: None,
            speculation: None,
            when_full: WhenFull::Stop,
        })
    }
}

impl Session {
    /// Tokens that the session holds.
    pub fn position(&self) -> usize {
        self.len
    }

    /// These tokens, in their order.
    pub fn tokens(&self) -> &[u32] {
        self.sequences.tokens(self.id).map_or(&[], |tokens| &tokens[..self.len])
    }

    /// Tokens that it holds at most.
    pub fn context(&self) -> usize {
        self.sequences.context()
    }

    /// How many of the first tokens know of nothing but each other: all of them, unless some were forgotten, or other
    /// adapters were attached meanwhile. Whatever takes a session's tokens for the whole of what it was fed must not look
    /// further.
    pub fn pristine(&self) -> usize {
        self.sequences.pristine(self.id).map_or(0, |pristine| pristine.min(self.len))
    }

    /// Says what is to be done where the context is full.
    ///
    /// # Errors
    /// [`SessionError::Option`] where all but one of the context's tokens, or more, are to be kept.
    pub fn set_when_full(&mut self, when_full: WhenFull) -> Result<(), SessionError> {
        when_full.check(self.context())?;
        self.when_full = when_full;
        Ok(())
    }

    /// Ends the work with [`SessionError::Cancelled`] whenever the flag is true: also what is under way in another thread, which
    /// ends before it comes to the next layer.
    pub fn cancel_when(&mut self, flag: Arc<AtomicBool>) {
        self.sequences.cancel_when(flag);
        self.control_speculation();
    }

    /// Works with no more threads than this says at the time: see [`Sequences::limit_threads`].
    pub fn limit_threads(&mut self, limit: Arc<AtomicUsize>) {
        self.sequences.limit_threads(limit);
        self.control_speculation();
    }

    /// The model.
    pub fn model(&self) -> &Model {
        self.sequences.model()
    }

    /// Changes what follows by an adapter, times `scale`: see [`Sequences::attach`].
    ///
    /// # Errors
    /// As for [`Sequences::attach`].
    pub fn attach(&mut self, adapter: &Adapter, scale: f32) -> Result<(), SessionError> {
        self.drop_drafts();
        self.sequences.attach(self.id, adapter, scale)
    }

    /// Takes an adapter off again; whether it was there.
    pub fn detach(&mut self, adapter: &Adapter) -> bool {
        self.drop_drafts();
        self.sequences.detach(self.id, adapter).unwrap_or(false)
    }

    /// The adapters and their scales, in their order.
    pub fn adapters(&self) -> impl Iterator<Item = (&Adapter, f32)> {
        self.sequences.adapters(self.id).into_iter().flatten()
    }

    /// Has draft tokens worked on ahead, up to [`SessionOptions::drafts`] at a time. That changes how fast answers come,
    /// and nothing else.
    ///
    /// # Errors
    /// [`SessionError::DraftVocabulary`].
    pub fn speculate(&mut self, mut speculation: Speculation) -> Result<(), SessionError> {
        speculation.check(self.model())?;
        self.speculation = Some(speculation);
        self.control_speculation();
        Ok(())
    }

    /// How many draft tokens were right; None where none are made.
    pub fn score(&self) -> Option<Score> {
        self.speculation.as_ref().map(Speculation::score)
    }

    /// Bytes that the session reserved: KV cache and buffers.
    pub fn bytes(&self) -> usize {
        self.sequences.bytes()
    }

    /// Threads that share the work.
    pub fn threads(&self) -> usize {
        self.sequences.threads()
    }

    /// The instruction set in use, as `SISKIN_ISA` spells it.
    pub fn isa(&self) -> &'static str {
        self.sequences.isa()
    }

    /// Appends tokens and works out the logits after the last of them.
    ///
    /// # Errors
    /// A token outside the vocabulary, or more tokens than the context has room for; the session stays as it was.
    /// [`SessionError::Cancelled`]: it holds the tokens of the batches that were finished before.
    pub fn feed(&mut self, tokens: &[u32]) -> Result<(), SessionError> {
        self.append(tokens, &mut (), LogitsOf::Ends, |_, _, _| Ok(()))
    }

    /// As [`Session::feed`], and tells `fed` after each batch how many of the tokens are fed: for whoever waits.
    pub(crate) fn feed_telling(
        &mut self,
        tokens: &[u32],
        mut fed: impl FnMut(usize),
    ) -> Result<(), SessionError> {
        let mut count = 0;
        self.append(tokens, &mut (), LogitsOf::Ends, |_, _, positions| {
            count += positions.len();
            fed(count);
            Ok(())
        })
    }

    /// Appends tokens and calls `each` with the logits after every one of them, in order.
    ///
    /// # Errors
    /// As for [`Session::feed`], and what `each` returns, which ends the work: the session then holds the tokens of
    /// all batches that were begun.
    pub fn feed_each<E: From<SessionError>>(
        &mut self,
        tokens: &[u32],
        mut each: impl FnMut(&[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut last = None;
        let done = self.append(tokens, &mut (), LogitsOf::None, |sequences, _, positions| {
            for (row, position) in positions.enumerate() {
                sequences.work_out_logits(&[row]);
                each(sequences.logits_row(0, position)?)?;
            }
            last = Some(0);
            Ok(())
        });
        self.logits = last.filter(|_| done.is_ok()).or(self.logits);
        done
    }

    /// Appends tokens and shows `observer` what every weight matrix is multiplied with on the way: for each token a
    /// row, the output matrix's included. No logits are worked out.
    ///
    /// # Errors
    /// As for [`Session::feed`].
    pub fn feed_observed(&mut self, tokens: &[u32], observer: &mut dyn Observer) -> Result<(), SessionError> {
        self.append(tokens, observer, LogitsOf::None, |sequences, observer, _| {
            sequences.observe_output(observer);
            Ok(())
        })
    }

    /// The logits after the last token: one number for each entry of the vocabulary.
    ///
    /// # Errors
    /// [`SessionError::NoPrompt`] where no token was fed since the session was made, cleared or cut; [`SessionError::NotFinite`].
    pub fn logits(&self) -> Result<&[f32], SessionError> {
        let row = self.logits.ok_or(SessionError::NoPrompt)?;
        self.sequences.logits_row(row, self.len.saturating_sub(1))
    }

    /// A sampler for this session's tokens.
    ///
    /// # Errors
    /// An option out of range.
    pub fn sampler(&self, options: &SamplerOptions) -> Result<Sampler, SessionError> {
        self.sequences.sampler(options)
    }

    /// Forgets all tokens.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Forgets all tokens but the first `len`, so that a text whose end changed need not be fed from its beginning.
    /// There are no logits until the next token is fed. A session that holds no more than `len` stays as it is.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len {
            self.keep(len);
            self.logits = None;
        }
    }

    /// Forgets some tokens, and has those behind them move up, as where a context is full: see [`WhenFull`]. Logits stay
    /// unless the last token is forgotten too.
    pub fn forget(&mut self, tokens: Range<usize>) {
        self.drop_drafts();
        if tokens.start < tokens.end && tokens.end >= self.len {
            return self.truncate(tokens.start);
        }
        // Nothing waits, and no page is shared: this cannot fail.
        if self.sequences.forget(self.id, tokens).is_ok() {
            self.len = self.sequences.position(self.id).unwrap_or(0);
        }
    }

    /// Writes what the session holds: its tokens, their keys and values, and the logits, with a checksum. It can be
    /// restored in any session of the same weights whose cache is of the same types, on any machine.
    ///
    /// Make it the file that it is to be only when all is written, so that no half of it is left behind.
    ///
    /// # Errors
    /// What `out` returns.
    pub fn save(&self, out: impl Write) -> io::Result<()> {
        let logits = self.logits.map(|row| self.sequences.raw_logits(row));
        self.sequences.save_first(self.id, self.len, logits, out)
    }

    /// Goes on from a saved state: what the session held is forgotten. Logits are those that a session would have that
    /// was fed the same tokens, to the bit.
    ///
    /// # Errors
    /// Bytes that are no such state, that are damaged, or that are of another model, cache or length; the session stays as
    /// it was.
    pub fn restore(&mut self, state: &[u8]) -> Result<(), StateError> {
        let has_logits = self.sequences.restore(self.id, state)?;
        self.drafted.clear();
        self.len = self.sequences.position(self.id).unwrap_or(0);
        self.logits = has_logits.then_some(0);
        Ok(())
    }

    /// The same from a file, a piece at a time: it is read twice, and in memory only once. A file that changes meanwhile
    /// leaves the session with nothing.
    ///
    /// # Errors
    /// As for [`Session::restore`], and what cannot be read.
    pub fn restore_from(&mut self, state: &mut (impl Read + Seek)) -> Result<(), StateError> {
        let found = StateFile::check(state)?;
        let restored = self.sequences.restore_from(self.id, &found, state, Restored::WithLogits);
        let held = self.sequences.position(self.id).unwrap_or(0);
        if restored.is_ok() || held == 0 {
            self.drafted.clear();
            self.len = held;
            self.logits = (restored == Ok(true)).then_some(0);
        }
        restored.map(drop)
    }

    /// Generates at most `limit` tokens from where the session stands, until the model ends its turn. The sampler's
    /// penalties look back at what the session holds.
    ///
    /// # Errors
    /// As for [`Session::logits`].
    pub fn generate<'s>(
        &'s mut self,
        sampler: &'s mut Sampler,
        limit: usize,
    ) -> Result<Generation<'s>, SessionError> {
        self.logits()?;
        sampler.begin(self.tokens());
        let detokenizer = Detokenizer::continuing(self.model().tokenizer());
        Ok(Generation { session: self, sampler, detokenizer, decoding: Decoding::new(limit) })
    }

    /// Appends tokens, and calls `after` behind each step with the positions of its tokens, the rows of the batch.
    fn append<E: From<SessionError>>(
        &mut self,
        tokens: &[u32],
        observer: &mut dyn Observer,
        logits: LogitsOf,
        mut after: impl FnMut(&mut Sequences, &mut dyn Observer, Range<usize>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.drop_drafts();
        self.check_fed(self.len, tokens)?;
        let mut rest = tokens;
        while !rest.is_empty() {
            // Room is made only where there is none at all, so that it does not matter how a text was cut.
            self.make_room();
            self.catch_up()?;
            let (piece, others) = rest.split_at(rest.len().min(self.context() - self.len));
            rest = others;
            let logits = if rest.is_empty() { logits } else { LogitsOf::None };
            self.sequences.feed(self.id, piece)?;
            let end = self.len + piece.len();
            while self.len < end {
                let done = self.sequences.advance(observer, logits).map_err(E::from).and_then(|count| {
                    let positions = self.len..self.len + count;
                    self.len = positions.end;
                    self.logits = (logits == LogitsOf::Ends && self.len == end).then_some(0);
                    after(&mut self.sequences, observer, positions)
                });
                if let Err(error) = done {
                    self.keep(self.len);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Whether all of these tokens can be fed to an empty session.
    pub(crate) fn check_prompt(&self, tokens: &[u32]) -> Result<(), SessionError> {
        self.check_fed(0, tokens)
    }

    /// Whether these tokens can be fed behind `used` ones.
    fn check_fed(&self, used: usize, tokens: &[u32]) -> Result<(), SessionError> {
        match self.when_full {
            WhenFull::Stop => self.sequences.check(used, tokens),
            WhenFull::Shift { .. } | WhenFull::Window { .. } => self.sequences.check_tokens(tokens),
        }
    }

    /// Keeps the first `len` tokens alone, those that wait and drafts not among them.
    fn keep(&mut self, len: usize) {
        self.drafted.clear();
        // The only member is there.
        let _ = self.sequences.cut(self.id, self.len.max(len), len);
        self.len = len;
    }

    /// Takes back the drafts that nobody has accepted.
    fn drop_drafts(&mut self) {
        self.keep(self.len);
    }

    fn control_speculation(&mut self) {
        let (cancel, limit) = self.sequences.control();
        if let Some(speculation) = &mut self.speculation {
            speculation.obey(cancel, limit);
        }
    }

    /// Forgets what is to be forgotten of a full context.
    fn make_room(&mut self) {
        if self.len == self.context() {
            self.forget(self.when_full.forgotten(self.context()));
        }
    }

    /// Works again on those tokens whose successors look back at what is gone, as after a long cut.
    fn catch_up(&mut self) -> Result<(), SessionError> {
        self.sequences.work_again(self.id)?;
        while self.sequences.waiting(self.id)? > 0 {
            if let Err(cancelled) = self.sequences.advance(&mut (), LogitsOf::None) {
                self.truncate(self.len - self.sequences.waiting(self.id)?);
                return Err(cancelled);
            }
        }
        Ok(())
    }

    /// Tokens that can be fed at once: as many as a batch has, as the context has room for.
    pub(super) fn room(&self) -> usize {
        (self.context() - self.len).min(self.sequences.context.options().batch)
    }

    /// Appends tokens of an answer, as [`Session::feed`] does, with drafts of those behind a single one where they pay. Several
    /// fit a batch, so that either all or none are fed.
    pub(super) fn go_on(
        &mut self,
        tokens: &[u32],
        constraint: Option<&mut Constraint>,
    ) -> Result<(), SessionError> {
        let Some(mut speculation) = self.speculation.take() else { return self.feed(tokens) };
        let done = self.go_on_with(tokens, &mut speculation, constraint);
        self.speculation = Some(speculation);
        done
    }

    fn go_on_with(
        &mut self,
        mut tokens: &[u32],
        speculation: &mut Speculation,
        constraint: Option<&mut Constraint>,
    ) -> Result<(), SessionError> {
        while let Some((&token, rest)) = tokens.split_first()
            && let Some(row) = self.logits
            && let Some(&draft) = self.drafted.get(row + 1)
        {
            let (drafts, right) = (self.drafted.len() - 1, row + usize::from(draft == token));
            if draft != token || right == drafts {
                speculation.learn(drafts, right);
            }
            if draft != token {
                break;
            }
            // It was worked on already.
            self.len += 1;
            self.logits = Some(right);
            tokens = rest;
        }
        let token = match *tokens {
            [] => return Ok(()),
            [token] => token,
            _ => return self.feed(tokens),
        };
        let start = Instant::now();
        self.drop_drafts();
        self.check_fed(self.len, &[token])?;
        self.make_room();
        self.catch_up()?;
        let most = (self.context() - self.len).min(self.sequences.most_logits());
        self.sequences.feed(self.id, &[token])?;
        self.drafted.push(token);
        speculation.draft(self.sequences.tokens(self.id)?, most - 1, &mut self.drafted);
        if let Some(constraint) = constraint {
            // What the grammar does not allow is never picked.
            let allowed = constraint.allowed(self.drafted.get(1..).unwrap_or_default());
            self.drafted.truncate(1 + allowed);
        }
        let done = self.sequences.feed(self.id, &self.drafted[1..]).and_then(|()| {
            let count = self.sequences.advance(&mut (), LogitsOf::All)?;
            debug_assert_eq!(count, self.drafted.len());
            Ok(())
        });
        if let Err(cancelled) = done {
            self.drop_drafts();
            return Err(cancelled);
        }
        self.len += 1;
        self.logits = Some(0);
        speculation.took(self.drafted.len() - 1, start.elapsed().as_secs_f64());
        Ok(())
    }
}

/// An answer in the making: tokens or text, piece by piece. [`Answer`](crate::Answer) is one that owns its session.
pub struct Generation<'s> {
    session: &'s mut Session,
    sampler: &'s mut Sampler,
    detokenizer: Detokenizer,
    decoding: Decoding,
}

impl Generation<'_> {
    /// The next token; None when the answer is over (see [`Generation::end`]). The session holds a token from the
    /// next call on.
    ///
    /// # Errors
    /// [`SessionError::ContextFull`]: the answer is cut off where the context ends; [`SessionError::NotFinite`].
    pub fn next_token(&mut self) -> Result<Option<u32>, SessionError> {
        self.decoding.next_token(self.session, self.sampler)
    }

    /// The next piece of text: what the next token completes, which may be nothing as long as a character is
    /// unfinished. None when the answer is over.
    ///
    /// # Errors
    /// As for [`Generation::next_token`].
    pub fn next_text(&mut self) -> Result<Option<&str>, SessionError> {
        let ended = self.end().is_some();
        match self.next_token()? {
            Some(token) => Ok(Some(self.detokenizer.push(self.session.model().tokenizer(), token))),
            None if ended => Ok(None),
            None => Ok(Some(self.detokenizer.finish()).filter(|rest| !rest.is_empty())),
        }
    }

    /// Why the answer is over; None as long as it is not.
    pub fn end(&self) -> Option<End> {
        self.decoding.end()
    }
}
