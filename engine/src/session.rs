use std::io::{self, Write};

use crate::cache::CacheTypes;
use crate::error::Error;
use crate::kernels::Isa;
use crate::model::Model;
use crate::observer::Observer;
use crate::pass::{For, Pass};
use crate::runs::Run;
use crate::sampler::{Sampler, SamplerOptions};
use crate::saved::{self, Saved, StateError};
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
}

/// One sequence of tokens: what was fed and answered so far, and all the memory that going on takes.
pub struct Session {
    pass: Pass,
    /// All pages of the cache, in their order.
    pages: Vec<u32>,
    /// What the session holds.
    tokens: Vec<u32>,
    /// There are logits of the last token.
    has_logits: bool,
}

impl Session {
    pub(crate) fn new(model: Model, options: &SessionOptions) -> Result<Self, Error> {
        let pass = Pass::new(model, options, For::One)?;
        let pages = (0..pass.pages as u32).collect();
        let tokens = Vec::with_capacity(pass.context);
        Ok(Self { pass, pages, tokens, has_logits: false })
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

    /// Bytes that the session reserved: KV cache and buffers.
    pub fn bytes(&self) -> usize {
        self.pass.bytes()
    }

    /// The instruction set in use, as `SISKIN_ISA` spells it.
    pub fn isa(&self) -> &'static str {
        self.pass.isa()
    }

    /// Appends tokens and works out the logits after the last of them.
    ///
    /// # Errors
    /// A token outside the vocabulary, or more tokens than the context has room for; the session stays as it was.
    pub fn feed(&mut self, tokens: &[u32]) -> Result<(), Error> {
        self.pass.check(self.tokens.len(), tokens)?;
        for batch in tokens.chunks(self.pass.batch) {
            self.forward(batch, &mut ());
        }
        if let Some(last) = tokens.chunks(self.pass.batch).last() {
            self.pass.work_out_logits(&[last.len() - 1]);
            self.has_logits = true;
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
        self.pass.check(self.tokens.len(), tokens)?;
        for batch in tokens.chunks(self.pass.batch) {
            self.forward(batch, &mut ());
            for token in 0..batch.len() {
                self.pass.work_out_logits(&[token]);
                each(self.pass.logits(0))?;
            }
            self.has_logits = true;
        }
        Ok(())
    }

    /// Appends tokens and shows `observer` what every weight matrix is multiplied with on the way: for each token a
    /// row, the output matrix's included. No logits are worked out.
    ///
    /// # Errors
    /// As for [`Session::feed`].
    pub fn feed_observed(&mut self, tokens: &[u32], observer: &mut dyn Observer) -> Result<(), Error> {
        self.pass.check(self.tokens.len(), tokens)?;
        for batch in tokens.chunks(self.pass.batch) {
            self.forward(batch, observer);
            self.pass.observe_output(observer);
        }
        Ok(())
    }

    /// The logits after the last token: one number for each entry of the vocabulary.
    ///
    /// # Errors
    /// [`Error::NoPrompt`] where no token was fed since the session was made, cleared or cut.
    pub fn logits(&self) -> Result<&[f32], Error> {
        match self.has_logits {
            false => Err(Error::NoPrompt),
            true => Ok(self.pass.logits(0)),
        }
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
            self.tokens.truncate(len);
            self.has_logits = false;
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
        let logits = self.has_logits.then(|| self.pass.logits(0));
        saved::save(out, self.pass.shape(), &self.tokens, logits, self.pass.cache())
    }

    /// Goes on from a saved state: what the session held is forgotten. Logits are those that a session would have that
    /// was fed the same tokens, to the bit.
    ///
    /// # Errors
    /// Bytes that are no such state, that are damaged, or that are of another model, cache or length; the session stays as
    /// it was.
    pub fn restore(&mut self, state: &[u8]) -> Result<(), StateError> {
        let state = Saved::check(state, self.pass.shape(), self.pass.cache(), self.pass.context)?;
        state.fill(self.pass.cache_mut());
        self.tokens.clear();
        self.tokens.extend(state.tokens());
        self.has_logits = state.logits().is_some();
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

    fn forward(&mut self, batch: &[u32], observer: &mut dyn Observer) {
        self.pass.begin();
        self.pass.push(Run { start: self.tokens.len(), tokens: batch.len(), pages: &self.pages });
        self.pass.forward(batch, observer);
        self.tokens.extend_from_slice(batch);
        self.has_logits = false;
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
            self.session.feed(&[token])?;
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
