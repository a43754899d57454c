use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Instant;

use crate::adapter::{Adapter, Attached};
use crate::cache::CacheTypes;
use crate::error::Error;
use crate::kernels::Isa;
use crate::model::Model;
use crate::observer::Observer;
use crate::pass::{For, Pass};
use crate::runs::Run;
use crate::sampler::{Sampler, SamplerOptions};
use crate::saved::{self, Saved, StateError, Tokens};
use crate::speculation::{Score, Speculation};
use crate::tokenizer::Detokenizer;

/// What a session is made for. The default suits an assistant on the device.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// Tokens that the session holds at most. None: the model's own context length, but at most 4,096.
    pub context: Option<usize>,
    /// Threads that share the work; no more are started than there are CPUs that the process may use. None: as many
    /// as the machine has for it, see [`default_threads`](crate::machine::default_threads).
    pub threads: Option<usize>,
    /// Instruction set of the kernels. None: what `SISKIN_ISA` names, else the best that the CPU has.
    pub isa: Option<Isa>,
    /// What keys and values are kept in.
    pub cache: CacheTypes,
    /// Tokens of a prompt that are worked on together. None: 256.
    pub batch: Option<usize>,
    /// Whether each thread that is started stays on a CPU of its own, in the order of
    /// [`Machine::places`](crate::machine::Machine::places), whose first is left to the calling thread: see
    /// [`pin`](crate::machine::pin).
    pub pin: bool,
    /// Guesses at the tokens to come that are worked on at a time, at most: see [`Session::speculate`]. Each takes the
    /// memory of another token's logits. [`Sequences`](crate::Sequences) make none.
    pub drafts: usize,
}

/// What a session does where its context is full and tokens are fed.
///
/// Tokens that are forgotten make room for new ones: those behind them move up, their keys turned back to where they
/// stand then, and keep what they know of them. That takes about as long as some tokens do, and is the same bits on every
/// machine as all else. It is not what a session would come to that had never held the forgotten tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Refuses them: [`Error::ContextFull`].
    #[default]
    Stop,
    /// Forgets the older half of what is behind the first `keep` tokens, so that it happens seldom.
    Shift {
        /// Tokens that are never forgotten, such as a system prompt's.
        keep: usize,
    },
    /// Forgets the oldest eighth of what is behind the first `keep` tokens, so that the model always sees most of what
    /// it can see. Some four kept tokens, to which attention goes that is of no use elsewhere (attention sinks), are
    /// enough for texts without end to stay fluent (Xiao et al. 2023, arXiv 2309.17453).
    Window {
        /// Tokens that are never forgotten.
        keep: usize,
    },
}

impl WhenFull {
    fn keep(self) -> usize {
        match self {
            WhenFull::Stop => 0,
            WhenFull::Shift { keep } | WhenFull::Window { keep } => keep,
        }
    }

    /// The tokens to forget of a full context.
    fn forgotten(self, context: usize) -> Range<usize> {
        let rest = context - self.keep();
        let count = match self {
            WhenFull::Stop => 0,
            WhenFull::Shift { .. } => (rest / 2).max(1),
            WhenFull::Window { .. } => (rest / 8).max(1),
        };
        self.keep()..self.keep() + count
    }
}

/// One sequence of tokens: what was fed and answered so far, and all the memory that going on takes.
pub struct Session {
    pass: Pass,
    /// All pages of the cache, in their order.
    pages: Vec<u32>,
    adapters: Vec<Attached>,
    /// What the session holds.
    tokens: Vec<u32>,
    /// The number of the last token's logits among those of the last pass; None where it has none.
    logits: Option<usize>,
    speculation: Option<Speculation>,
    /// The tokens of the last pass, where it was one with guesses: one that the session holds, then the guesses. The
    /// session holds those of them that `logits` says, and the cache all of them.
    ahead: Vec<u32>,
    /// The numbers of those tokens.
    rows: Vec<usize>,
    when_full: WhenFull,
    /// The first token that knows of forgotten ones; None where all that was fed is still there.
    first_after_gap: Option<usize>,
}

impl Session {
    pub(crate) fn new(model: Model, options: &SessionOptions) -> Result<Self, Error> {
        let pass = Pass::new(model, options, For::One)?;
        let pages = (0..pass.pages as u32).collect();
        let tokens = Vec::with_capacity(pass.context);
        let (ahead, rows) = (Vec::with_capacity(pass.rows), (0..pass.rows).collect());
        Ok(Self {
            pass,
            pages,
            adapters: Vec::new(),
            tokens,
            logits: None,
            speculation: None,
            ahead,
            rows,
            when_full: WhenFull::Stop,
            first_after_gap: None,
        })
    }

    /// Tokens that the session holds.
    pub fn position(&self) -> usize {
        self.tokens.len()
    }

    /// These tokens, in their order.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Tokens that it holds at most.
    pub fn context(&self) -> usize {
        self.pass.context
    }

    /// How many of the first tokens know of nothing but each other: all of them, unless some were forgotten, or other
    /// adapters were attached meanwhile. Whatever takes a session's tokens for the whole of what it was fed must not look
    /// further.
    pub fn pristine(&self) -> usize {
        self.first_after_gap.unwrap_or(self.tokens.len())
    }

    /// Says what is to be done where the context is full.
    ///
    /// # Errors
    /// [`Error::Option`] where all but one of the context's tokens, or more, are to be kept.
    pub fn set_when_full(&mut self, when_full: WhenFull) -> Result<(), Error> {
        let (keep, context) = (when_full.keep(), self.pass.context);
        if when_full != WhenFull::Stop && context.saturating_sub(keep) < 2 {
            let expected = match context {
                0 | 1 => "a longer context".to_owned(),
                _ => format!("0 to {}", context - 2),
            };
            return Err(Error::Option { option: "keep", expected, found: keep });
        }
        self.when_full = when_full;
        Ok(())
    }

    /// Ends the work with [`Error::Cancelled`] whenever the flag is true: also what is under way in another thread, which
    /// ends before it comes to the next layer.
    pub fn cancel_when(&mut self, flag: Arc<AtomicBool>) {
        self.pass.cancel_when(flag);
        self.control_speculation();
    }

    /// Works with no more threads than this says at the time, for what has an eye on the machine's temperature: it may
    /// change at any moment, and changes no bit of the results. While it is 0 the work rests.
    pub fn limit_threads(&mut self, limit: Arc<AtomicUsize>) {
        self.pass.limit_threads(limit);
        self.control_speculation();
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.pass.model
    }

    /// Changes what follows by an adapter, times `scale`, from the next token on; or changes the scale of one that is there.
    /// Several are added up in the order in which they came. What the session holds stays as it was worked out.
    ///
    /// Room for its work is made now, so that none is needed later.
    ///
    /// # Errors
    /// An adapter of a model of another shape, a scale that is not finite, or too little memory.
    pub fn attach(&mut self, adapter: &Adapter, scale: f32) -> Result<(), Error> {
        let at = self.adapters.iter().position(|attached| attached.adapter.is(adapter));
        self.pass.take_up(adapter, scale, self.adapters.len() + usize::from(at.is_none()))?;
        match at.and_then(|at| self.adapters.get_mut(at)) {
            Some(attached) if attached.scale == scale => return Ok(()),
            Some(attached) => attached.scale = scale,
            None => self.adapters.push(Attached { adapter: adapter.clone(), scale }),
        }
        self.adapters_changed();
        Ok(())
    }

    /// Takes an adapter off again; whether it was there.
    pub fn detach(&mut self, adapter: &Adapter) -> bool {
        let count = self.adapters.len();
        self.adapters.retain(|attached| !attached.adapter.is(adapter));
        let was_there = self.adapters.len() < count;
        if was_there {
            self.adapters_changed();
        }
        was_there
    }

    /// The adapters and their scales, in their order.
    pub fn adapters(&self) -> impl Iterator<Item = (&Adapter, f32)> {
        self.adapters.iter().map(|Attached { adapter, scale }| (adapter, *scale))
    }

    /// Has answers guessed ahead, up to [`SessionOptions::drafts`] tokens at a time. That changes how fast they come, and
    /// nothing else.
    ///
    /// # Errors
    /// [`Error::DraftVocabulary`].
    pub fn speculate(&mut self, speculation: Speculation) -> Result<(), Error> {
        speculation.check(&self.pass.model)?;
        self.speculation = Some(speculation);
        self.control_speculation();
        Ok(())
    }

    /// How many guesses were right; None where none are made.
    pub fn score(&self) -> Option<Score> {
        self.speculation.as_ref().map(Speculation::score)
    }

    /// Bytes that the session reserved: KV cache and buffers.
    pub fn bytes(&self) -> usize {
        self.pass.bytes()
    }

    /// Threads that share the work.
    pub fn threads(&self) -> usize {
        self.pass.threads()
    }

    /// The instruction set in use, as `SISKIN_ISA` spells it.
    pub fn isa(&self) -> &'static str {
        self.pass.isa()
    }

    /// Appends tokens and works out the logits after the last of them.
    ///
    /// # Errors
    /// A token outside the vocabulary, or more tokens than the context has room for; the session stays as it was.
    /// [`Error::Cancelled`]: it holds the tokens of the batches that were finished before.
    pub fn feed(&mut self, tokens: &[u32]) -> Result<(), Error> {
        let (mut rest, mut last) = (self.checked(tokens)?, None);
        while let Some(batch) = self.next_batch(&mut rest) {
            self.forward(batch, &mut ())?;
            last = Some(batch.len() - 1);
        }
        if let Some(last) = last {
            self.pass.work_out_logits(&[last]);
            self.logits = Some(0);
        }
        Ok(())
    }

    /// Appends tokens and calls `each` with the logits after every one of them, in order.
    ///
    /// # Errors
    /// As for [`Session::feed`], and what `each` returns, which ends the work: the session then holds the tokens of
    /// all batches that were begun.
    pub fn feed_each<E: From<Error>>(
        &mut self,
        tokens: &[u32],
        mut each: impl FnMut(&[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = self.checked(tokens)?;
        while let Some(batch) = self.next_batch(&mut rest) {
            self.forward(batch, &mut ())?;
            for token in 0..batch.len() {
                self.pass.work_out_logits(&[token]);
                each(self.pass.logits(0))?;
            }
            self.logits = Some(0);
        }
        Ok(())
    }

    /// Appends tokens and shows `observer` what every weight matrix is multiplied with on the way: for each token a
    /// row, the output matrix's included. No logits are worked out.
    ///
    /// # Errors
    /// As for [`Session::feed`].
    pub fn feed_observed(&mut self, tokens: &[u32], observer: &mut dyn Observer) -> Result<(), Error> {
        let mut rest = self.checked(tokens)?;
        while let Some(batch) = self.next_batch(&mut rest) {
            self.forward(batch, observer)?;
            self.pass.observe_output(observer);
        }
        Ok(())
    }

    /// The logits after the last token: one number for each entry of the vocabulary.
    ///
    /// # Errors
    /// [`Error::NoPrompt`] where no token was fed since the session was made, cleared or cut.
    pub fn logits(&self) -> Result<&[f32], Error> {
        self.logits.map(|row| self.pass.logits(row)).ok_or(Error::NoPrompt)
    }

    /// A sampler for this session's tokens.
    ///
    /// # Errors
    /// An option out of range.
    pub fn sampler(&self, options: &SamplerOptions) -> Result<Sampler, Error> {
        self.pass.sampler(options)
    }

    /// Forgets all tokens.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Forgets all tokens but the first `len`, so that a text whose end changed need not be fed from its beginning.
    /// There are no logits until the next token is fed. A session that holds no more than `len` stays as it is.
    pub fn truncate(&mut self, len: usize) {
        if len < self.tokens.len() {
            self.ahead.clear();
            self.tokens.truncate(len);
            self.logits = None;
            self.first_after_gap = self.first_after_gap.filter(|&first| first < len);
        }
    }

    /// Forgets some tokens, and has those behind them move up, as where a context is full: see [`WhenFull`]. Logits stay
    /// unless the last token is forgotten too.
    pub fn forget(&mut self, tokens: Range<usize>) {
        let len = self.tokens.len();
        if tokens.start >= tokens.end.min(len) {
            return;
        }
        if tokens.end >= len {
            return self.truncate(tokens.start);
        }
        self.ahead.clear();
        self.pass.forget(
            Run { sequence: 0, start: len, tokens: 0, pages: &self.pages, adapters: &self.adapters },
            tokens.clone(),
        );
        let first = self.first_after_gap.map_or(tokens.start, |first| first.min(tokens.start));
        self.first_after_gap = Some(first);
        self.tokens.drain(tokens);
    }

    /// Writes what the session holds: its tokens, their keys and values, and the logits, with a checksum. It can be
    /// restored in any session of the same weights whose cache is of the same types, on any machine.
    ///
    /// Make it the file that it is to be only when all is written, so that no half of it is left behind.
    ///
    /// # Errors
    /// What `out` returns.
    pub fn save(&self, out: impl Write) -> io::Result<()> {
        let logits = self.logits.map(|row| self.pass.logits(row));
        let held = Tokens { all: &self.tokens, pristine: self.pristine() };
        saved::save(out, self.pass.shape(&self.adapters), held, logits, self.pass.past())
    }

    /// Goes on from a saved state: what the session held is forgotten. Logits are those that a session would have that
    /// was fed the same tokens, to the bit.
    ///
    /// # Errors
    /// Bytes that are no such state, that are damaged, or that are of another model, cache or length; the session stays as
    /// it was.
    pub fn restore(&mut self, state: &[u8]) -> Result<(), StateError> {
        let state =
            Saved::check(state, self.pass.shape(&self.adapters), self.pass.past(), self.pass.context)?;
        state.fill(self.pass.past_mut());
        self.ahead.clear();
        self.tokens.clear();
        self.tokens.extend(state.tokens());
        self.first_after_gap = Some(state.pristine()).filter(|&first| first < self.tokens.len());
        self.logits = state.logits().map(|_| 0);
        for (logit, saved) in self.pass.logits_mut(0).iter_mut().zip(state.logits().into_iter().flatten()) {
            *logit = saved;
        }
        Ok(())
    }

    /// Generates at most `limit` tokens from where the session stands, until the model ends its turn.
    ///
    /// # Errors
    /// As for [`Session::logits`].
    pub fn generate<'s>(
        &'s mut self,
        sampler: &'s mut Sampler,
        limit: usize,
    ) -> Result<Generation<'s>, Error> {
        self.logits()?;
        let detokenizer = Detokenizer::continuing(self.pass.model.tokenizer());
        Ok(Generation { session: self, sampler, detokenizer, left: limit, unfed: None, end: None })
    }

    /// The same tokens, if they can be fed.
    fn checked<'t>(&self, tokens: &'t [u32]) -> Result<&'t [u32], Error> {
        match self.when_full {
            WhenFull::Stop => self.pass.check(self.tokens.len(), tokens)?,
            _ => self.pass.check_tokens(tokens)?,
        }
        Ok(tokens)
    }

    /// Takes the tokens that can be worked on together from `rest`. Room for them is made only where there is none at
    /// all, so that it does not matter how a text was cut.
    fn next_batch<'t>(&mut self, rest: &mut &'t [u32]) -> Option<&'t [u32]> {
        if !rest.is_empty() {
            self.make_room();
        }
        let room = self.pass.context - self.tokens.len();
        let (batch, others) = rest.split_at(rest.len().min(self.pass.batch).min(room));
        *rest = others;
        (!batch.is_empty()).then_some(batch)
    }

    /// What the session holds was not worked out with the adapters of now.
    fn adapters_changed(&mut self) {
        self.ahead.clear();
        self.first_after_gap = (!self.tokens.is_empty()).then_some(0);
    }

    fn control_speculation(&mut self) {
        let (cancel, limit) = self.pass.control();
        if let Some(speculation) = &mut self.speculation {
            speculation.obey(cancel, limit);
        }
    }

    /// Forgets what is to be forgotten of a full context.
    fn make_room(&mut self) {
        if self.tokens.len() == self.pass.context {
            self.forget(self.when_full.forgotten(self.pass.context));
        }
    }

    /// Works again on the last tokens where what convolutions look back at is gone, as after a long cut.
    fn catch_up(&mut self) -> Result<(), Error> {
        let len = self.tokens.len();
        let mut start = self.pass.resume(0, len, self.pristine());
        while start < len {
            let end = len.min(start + self.pass.batch);
            self.pass.begin();
            let (pages, adapters) = (&self.pages, &self.adapters);
            self.pass.push(Run { sequence: 0, start, tokens: end - start, pages, adapters });
            self.pass.forward(&self.tokens[start..end], &mut ())?;
            start = end;
        }
        Ok(())
    }

    fn forward(&mut self, batch: &[u32], observer: &mut dyn Observer) -> Result<(), Error> {
        self.ahead.clear();
        self.catch_up()?;
        self.pass.begin();
        self.pass.push(Run {
            sequence: 0,
            start: self.tokens.len(),
            tokens: batch.len(),
            pages: &self.pages,
            adapters: &self.adapters,
        });
        self.pass.forward(batch, observer)?;
        self.tokens.extend_from_slice(batch);
        self.logits = None;
        Ok(())
    }

    /// Appends a token of an answer, as [`Session::feed`] does, with guesses at those behind it where they pay.
    fn go_on(&mut self, token: u32) -> Result<(), Error> {
        let Some(mut speculation) = self.speculation.take() else { return self.feed(&[token]) };
        let done = self.go_on_with(token, &mut speculation);
        self.speculation = Some(speculation);
        done
    }

    fn go_on_with(&mut self, token: u32, speculation: &mut Speculation) -> Result<(), Error> {
        if let Some(row) = self.logits
            && let Some(&guess) = self.ahead.get(row + 1)
        {
            let (guesses, right) = (self.ahead.len() - 1, row + usize::from(guess == token));
            if guess != token || right == guesses {
                speculation.learn(guesses, right);
            }
            if guess == token {
                // It was worked on already.
                self.tokens.push(token);
                self.logits = Some(right);
                return Ok(());
            }
        }
        let start = Instant::now();
        self.checked(&[token])?;
        self.make_room();
        self.catch_up()?;
        let position = self.tokens.len();
        let most = (self.pass.context - position).min(self.pass.rows).min(self.pass.batch);
        self.tokens.push(token);
        self.ahead.clear();
        self.ahead.push(token);
        speculation.guess(&self.tokens, most - 1, &mut self.ahead);
        self.pass.begin();
        self.pass.push(Run {
            sequence: 0,
            start: position,
            tokens: self.ahead.len(),
            pages: &self.pages,
            adapters: &self.adapters,
        });
        if let Err(cancelled) = self.pass.forward(&self.ahead, &mut ()) {
            self.tokens.truncate(position);
            self.ahead.clear();
            return Err(cancelled);
        }
        self.pass.work_out_logits(&self.rows[..self.ahead.len()]);
        self.logits = Some(0);
        speculation.took(self.ahead.len() - 1, start.elapsed().as_secs_f64());
        Ok(())
    }
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The model ended its turn with this token, which the session does not hold.
    Turn(u32),
    /// As many tokens as were asked for.
    Limit,
}

/// An answer in the making: tokens or text, piece by piece.
pub struct Generation<'s> {
    session: &'s mut Session,
    sampler: &'s mut Sampler,
    detokenizer: Detokenizer,
    left: usize,
    /// The token handed out last, which waits to be fed: so it is seen before the next one is worked out.
    unfed: Option<u32>,
    end: Option<End>,
}

impl Generation<'_> {
    /// The next token; None when the answer is over (see [`Generation::end`]). The session holds a token from the
    /// next call on.
    ///
    /// # Errors
    /// [`Error::ContextFull`]: the answer is cut off where the context ends.
    pub fn next_token(&mut self) -> Result<Option<u32>, Error> {
        if self.end.is_some() {
            return Ok(None);
        }
        if let Some(token) = self.unfed {
            self.session.go_on(token)?;
            self.unfed = None;
        }
        if self.left == 0 {
            self.end = Some(End::Limit);
            return Ok(None);
        }
        let token = self.sampler.sample(self.session.logits()?);
        if self.session.pass.model.tokenizer().is_end(token) {
            self.end = Some(End::Turn(token));
            return Ok(None);
        }
        self.sampler.accept(token);
        self.unfed = Some(token);
        self.left -= 1;
        Ok(Some(token))
    }

    /// The next piece of text: what the next token completes, which may be nothing as long as a character is
    /// unfinished. None when the answer is over.
    ///
    /// # Errors
    /// As for [`Generation::next_token`].
    pub fn next_text(&mut self) -> Result<Option<&str>, Error> {
        let ended = self.end.is_some();
        match self.next_token()? {
            Some(token) => Ok(Some(self.detokenizer.push(self.session.pass.model.tokenizer(), token))),
            None if ended => Ok(None),
            None => Ok(Some(self.detokenizer.finish()).filter(|rest| !rest.is_empty())),
        }
    }

    /// Why the answer is over; None as long as it is not.
    pub fn end(&self) -> Option<End> {
        self.end
    }
}
