use crate::arena::{Arena, OutOfMemory};
use crate::cache::{Cache, CacheTypes};
use crate::error::Error;
use crate::kernels::Isa;
use crate::machine::default_threads;
use crate::model::{Buffers, Llama, Model, State, StateOptions};
use crate::observer::Observer;
use crate::sampler::{Breakers, Sampler, SamplerOptions};
use crate::team::Team;
use crate::tokenizer::{Detokenizer, Special};

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
    model: Model,
    state: State,
    buffers: Buffers,
    context: usize,
    batch: usize,
    bytes: usize,
    position: usize,
    /// The buffers hold the logits after the last token.
    has_logits: bool,
}

/// Session options, each within its bounds.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) context: usize,
    pub(crate) threads: usize,
    pub(crate) batch: usize,
    pub(crate) cache: CacheTypes,
    pub(crate) isa: Isa,
}

/// Where a session's memory comes from.
pub(crate) struct SessionArena {
    /// The KV cache's.
    pub(crate) cache: Arena,
    /// That of all else: activations, scratch.
    pub(crate) buffers: Arena,
}

impl SessionArena {
    fn bytes(&self) -> usize {
        self.cache.bytes().saturating_add(self.buffers.bytes())
    }
}

impl Settings {
    /// The settings of a session of a model for sequences of up to `longest` tokens.
    ///
    /// # Errors
    /// An option without meaning.
    pub(crate) fn new(options: &SessionOptions, longest: usize) -> Result<Self, Error> {
        const LONGEST_DEFAULT: usize = 4096;
        const DEFAULT_BATCH: usize = 256;
        const MOST_THREADS: usize = 1024;
        let within = |option, value: usize, most: usize| match value {
            1.. if value <= most => Ok(value),
            _ => Err(Error::Option { option, expected: format!("1 to {most}"), found: value }),
        };
        let context = within("context", options.context.unwrap_or(longest.min(LONGEST_DEFAULT)), longest)?;
        let threads = options.threads.unwrap_or_else(|| default_threads().min(MOST_THREADS));
        let threads = within("threads", threads, MOST_THREADS)?;
        let batch = within("batch", options.batch.unwrap_or(DEFAULT_BATCH), usize::MAX)?.min(context);
        Ok(Self {
            context,
            threads,
            batch,
            cache: options.cache,
            isa: options.isa.map_or_else(Isa::choose, Ok)?,
        })
    }

    /// What a session takes of `family`, counted alone.
    pub(crate) fn count(&self, family: &Llama) -> SessionArena {
        let mut arena = SessionArena { cache: Arena::counting(), buffers: Arena::counting() };
        // An arena that counts never fails.
        let _ = self.reserve(family, Team::alone(self.threads), &mut arena);
        arena
    }

    fn reserve(
        &self,
        family: &Llama,
        team: Team,
        arena: &mut SessionArena,
    ) -> Result<(State, Buffers), OutOfMemory> {
        let &Self { context, batch, cache, isa, .. } = self;
        let config = family.config();
        let cache =
            Cache::new(&mut arena.cache, cache, config.layers, config.kv_heads, config.head_dim, context)?;
        let options = StateOptions { context, batch, scratch: family.scratch(batch) };
        let arena = &mut arena.buffers;
        let state = State::new(arena, isa.kernels(), team, cache, config, options)?;
        Ok((state, family.buffers(arena, batch)?))
    }
}

impl Session {
    pub(crate) fn new(model: Model, options: &SessionOptions) -> Result<Self, Error> {
        let settings = Settings::new(options, model.context_length())?;
        let Settings { context, threads, batch, .. } = settings;
        let team = Team::new(threads).map_err(|source| Error::Threads { threads, source })?;
        let mut arena = SessionArena { cache: Arena::reserving(), buffers: Arena::reserving() };
        let (state, buffers) = settings.reserve(model.family(), team, &mut arena)?;
        let bytes = arena.bytes();
        Ok(Self { model, state, buffers, context, batch, bytes, position: 0, has_logits: false })
    }

    /// Tokens that the session holds.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Tokens that it holds at most.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Bytes that the session reserved: KV cache and buffers.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The instruction set in use, as `SISKIN_ISA` spells it.
    pub fn isa(&self) -> &'static str {
        self.state.isa()
    }

    /// Appends tokens and works out the logits after the last of them.
    ///
    /// # Errors
    /// A token outside the vocabulary, or more tokens than the context has room for; the session stays as it was.
    pub fn feed(&mut self, tokens: &[u32]) -> Result<(), Error> {
        self.check(tokens)?;
        for batch in tokens.chunks(self.batch) {
            self.forward(batch, &mut ());
        }
        if let Some(last) = tokens.chunks(self.batch).last() {
            self.model.family().logits(&mut self.state, &mut self.buffers, last.len() - 1);
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
        self.check(tokens)?;
        for batch in tokens.chunks(self.batch) {
            self.forward(batch, &mut ());
            for token in 0..batch.len() {
                each(self.model.family().logits(&mut self.state, &mut self.buffers, token))?;
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
        self.check(tokens)?;
        for batch in tokens.chunks(self.batch) {
            self.forward(batch, observer);
            self.model.family().observe_output(&mut self.state, &mut self.buffers, observer);
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
            true => Ok(self.buffers.last_logits(self.model.vocabulary())),
        }
    }

    /// A sampler for this session's tokens.
    ///
    /// # Errors
    /// An option out of range.
    pub fn sampler(&self, options: &SamplerOptions) -> Result<Sampler, Error> {
        let tokenizer = self.model.tokenizer();
        let encode = |text: &[u8]| {
            let mut tokens = Vec::new();
            tokenizer.encode(text, Special::Text, &mut tokens);
            tokens
        };
        let spelled = |id| match tokenizer.piece(id) {
            [] => tokenizer.text(id),
            piece => piece,
        };
        let breakers = Breakers::new(options, tokenizer.len(), spelled, encode);
        Ok(Sampler::new(options, self.model.vocabulary(), self.context, &breakers)?)
    }

    /// Forgets all tokens.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Forgets all tokens but the first `len`, so that a text whose end changed need not be fed from its beginning.
    /// There are no logits until the next token is fed. A session that holds no more than `len` stays as it is.
    pub fn truncate(&mut self, len: usize) {
        if len < self.position {
            self.position = len;
            self.has_logits = false;
        }
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
        let detokenizer = Detokenizer::continuing(self.model.tokenizer());
        Ok(Generation { session: self, sampler, detokenizer, left: limit, unfed: None, end: None })
    }

    fn forward(&mut self, batch: &[u32], observer: &mut dyn Observer) {
        self.model.family().forward(&mut self.state, &mut self.buffers, self.position, batch, observer);
        self.position += batch.len();
        self.has_logits = false;
    }

    fn check(&self, tokens: &[u32]) -> Result<(), Error> {
        let vocabulary = self.model.vocabulary();
        if let Some(&token) = tokens.iter().find(|&&token| token as usize >= vocabulary) {
            return Err(Error::Token { token, vocabulary });
        }
        if tokens.len() > self.context - self.position {
            let (context, used, wanted) = (self.context, self.position, tokens.len());
            return Err(Error::ContextFull { context, used, wanted });
        }
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
            self.session.feed(&[token])?;
            self.unfed = None;
        }
        if self.left == 0 {
            self.end = Some(End::Limit);
            return Ok(None);
        }
        let token = self.sampler.sample(self.session.logits()?);
        if self.session.model.tokenizer().is_end(token) {
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
            Some(token) => Ok(Some(self.detokenizer.push(self.session.model.tokenizer(), token))),
            None if ended => Ok(None),
            None => Ok(Some(self.detokenizer.finish()).filter(|rest| !rest.is_empty())),
        }
    }

    /// Why the answer is over; None as long as it is not.
    pub fn end(&self) -> Option<End> {
        self.end
    }
}
