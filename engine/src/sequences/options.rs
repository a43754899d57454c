use std::num::NonZeroUsize;
use std::ops::Range;

use crate::kernels::Isa;
use crate::machine::default_threads;
use crate::model::ContextOptions;
use crate::sequences::SessionError;
use crate::sequences::speculation::MOST as MOST_DRAFTS;
use crate::state::{CacheTypes, PAGE};

/// What a session is made for. The default suits an assistant on the device.
///
/// ```
/// use siskin::{CacheType, SessionOptions};
///
/// let options = SessionOptions::default().context(1024).threads(2).cache(CacheType::Q8_0);
/// assert_eq!(options.context, Some(1024));
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
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
    /// Draft tokens that are worked on at a time, at most: see [`Session::speculate`](crate::Session::speculate). Each takes
    /// the memory of another token's logits. [`Sequences`](crate::Sequences) make none.
    pub drafts: usize,
}

/// What a session does where its context is full and tokens are fed.
///
/// Tokens that are forgotten make room for new ones: those behind them move up, their keys turned back to where they
/// stand then, and keep what they know of them. That takes about as long as some tokens do, and is the same bits on every
/// machine as all else. It is not what a session would come to that had never held the forgotten tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Refuses them: [`SessionError::ContextFull`].
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
    /// Whether a session of so many tokens can do it.
    ///
    /// # Errors
    /// [`SessionError::Option`] where all but one of the context's tokens, or more, are to be kept.
    pub fn check(self, context: usize) -> Result<(), SessionError> {
        let (keep, is_kept) =
            (self.keep(), self == WhenFull::Stop || context.saturating_sub(self.keep()) >= 2);
        let expected = match context {
            _ if is_kept => return Ok(()),
            0 | 1 => {
                return Err(SessionError::Option {
                    option: "context",
                    expected: "at least 2".to_owned(),
                    found: context,
                });
            }
            _ => format!("0 to {}", context - 2),
        };
        Err(SessionError::Option { option: "keep", expected, found: keep })
    }

    pub(super) fn keep(self) -> usize {
        match self {
            WhenFull::Stop => 0,
            WhenFull::Shift { keep } | WhenFull::Window { keep } => keep,
        }
    }

    /// The tokens to forget of a full context.
    pub(super) fn forgotten(self, context: usize) -> Range<usize> {
        let rest = context - self.keep();
        let count = match self {
            WhenFull::Stop => 0,
            WhenFull::Shift { .. } => (rest / 2).max(1),
            WhenFull::Window { .. } => (rest / 8).max(1),
        };
        self.keep()..self.keep() + count
    }
}

/// What [`Sequences`](crate::Sequences) are made for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SequencesOptions {
    /// Sequences that are worked on at a time, at most. 8 unless it is said;
    /// [`Outline::default_sequences`](crate::plan::Outline::default_sequences) says how many are worth their memory.
    pub most: usize,
    /// Sequences that there may be beside them, which are kept for what later ones begin with. None unless it is said. Their
    /// tokens lie in the same pages, and in little memory of their own but for models with windows or convolutions.
    pub idle: usize,
    /// Pages of 256 positions that the cache has for all of them. None: as many as they fill with nothing in common.
    /// Fewer are enough for shorter sequences, and where many begin alike.
    pub pages: Option<usize>,
    /// The rest. `context` is that of each sequence, `batch` the tokens of a step.
    pub session: SessionOptions,
}

impl SessionOptions {
    crate::setters! {
        context: impl Into<Option<usize>>,
        threads: impl Into<Option<usize>>,
        isa: impl Into<Option<Isa>>,
        cache: impl Into<CacheTypes>,
        batch: impl Into<Option<usize>>,
        pin: bool,
        drafts: usize,
    }
}

impl Default for SequencesOptions {
    fn default() -> Self {
        Self { most: 8, idle: 0, pages: None, session: SessionOptions::default() }
    }
}

impl SequencesOptions {
    crate::setters! {
        most: usize,
        idle: usize,
        pages: impl Into<Option<usize>>,
        session: SessionOptions,
    }
}

/// The sequences that a context is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum For {
    /// One alone.
    One,
    /// Up to so many, and others that are idle, in so many pages of the cache; None: in as many as the former can fill.
    Many { sequences: usize, idle: usize, pages: Option<usize> },
}

impl SequencesOptions {
    pub(crate) fn made_for(&self) -> For {
        For::Many { sequences: self.most, idle: self.idle, pages: self.pages }
    }
}

impl SessionOptions {
    /// The tokens that a sequence has room for, of a model whose sequences have up to `longest`: as many as were asked for, and
    /// otherwise 4,096 or `longest`, whichever is less.
    pub fn context_for(&self, longest: usize) -> usize {
        const LONGEST_DEFAULT: usize = 4096;
        self.context.unwrap_or(longest.min(LONGEST_DEFAULT))
    }

    /// These options for a model whose sequences have up to `longest` tokens, each within its bounds.
    ///
    /// # Errors
    /// An option without meaning.
    pub(crate) fn resolve(&self, longest: usize, made_for: For) -> Result<ContextOptions, SessionError> {
        const DEFAULT_BATCH: usize = 256;
        const MOST_THREADS: usize = 1024;
        const MOST_SEQUENCES: usize = 4096;
        let within = |option, value: usize, most: usize| match value {
            1.. if value <= most => Ok(value),
            _ => Err(SessionError::Option { option, expected: format!("1 to {most}"), found: value }),
        };
        let context = within("context", self.context_for(longest), longest)?;
        let threads = self.threads.unwrap_or_else(|| default_threads().min(MOST_THREADS));
        let threads = within("threads", threads, MOST_THREADS)?;
        let batch = within("batch", self.batch.unwrap_or(DEFAULT_BATCH), usize::MAX)?;
        let drafts = self.drafts;
        if drafts > MOST_DRAFTS {
            return Err(SessionError::Option {
                option: "drafts",
                expected: format!("0 to {MOST_DRAFTS}"),
                found: drafts,
            });
        }
        let (sequences, logits, batch, pages) = match made_for {
            For::One => (1, drafts + 1, batch.max(drafts + 1).min(context), None),
            For::Many { sequences, idle, pages } => {
                let at_work = within("sequences", sequences, MOST_SEQUENCES)?;
                let sequences = within("idle", at_work.saturating_add(idle), 2 * MOST_SEQUENCES)?;
                let filled = at_work.saturating_mul(context.div_ceil(PAGE));
                let most = sequences.saturating_mul(context.div_ceil(PAGE));
                // One token of each sequence has room.
                let batch = batch.min(at_work.saturating_mul(context)).max(at_work);
                let pages = within("pages", pages.unwrap_or(filled), most)?;
                // A single one has the cache of a session, whose last page may be shorter.
                let pages = NonZeroUsize::new(pages).filter(|_| sequences > 1 || pages < most);
                (sequences, at_work, batch, pages)
            }
        };
        let isa = self.isa.map_or_else(Isa::choose, Ok)?;
        Ok(ContextOptions { context, threads, batch, cache: self.cache, isa, sequences, logits, pages })
    }
}
