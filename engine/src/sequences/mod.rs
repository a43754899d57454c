//! The life of sequences: how they begin, are worked on together, are cut, saved and end. A [`Session`] is one of them.

mod decoding;
mod error;
mod options;
mod pages;
mod saved_state;
mod session;
mod sharing;
mod speculation;
mod step;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use crate::machine::Machine;
use crate::model::{Adapter, Attached, Context, Model};
use crate::sampler::{Breakers, Sampler, SamplerOptions};
use crate::state::{CacheTypes, Cut, PAGE, Segment};
use crate::team::Team;
use crate::tokenizer::Special;
pub(crate) use decoding::Decoding;
pub use decoding::End;
pub use error::SessionError;
pub(crate) use options::For;
pub use options::{SequencesOptions, SessionOptions, WhenFull};
use pages::Pages;
pub(crate) use saved_state::{Restored, StateFile};
pub use saved_state::{STATE_MAGIC, SavedHead, StateError};
pub use session::{Generation, Session};
pub use speculation::{Score, Speculation};
use step::LogitsOf;

/// Names one of [`Sequences`]. One that has left has none of its successors' names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequenceId {
    place: usize,
    generation: u64,
}

/// Several sequences of one model that are worked on together: each step takes tokens of all of them through the weights
/// at once, whoever joined or left meanwhile (continuous batching: Yu et al. 2022, Orca; pages of a cache: Kwon et al.
/// 2023, arXiv 2309.06180).
///
/// Weights are read once a step instead of once a sequence, so that eight answers take little longer than one. The logits
/// of a sequence are those of a [`Session`](crate::Session) that was fed the same, to the bit.
///
/// What sequences begin with in common is worked out once, and kept once: see [`Sequences::feed`].
///
/// ```no_run
/// # use siskin::{Model, SequencesOptions};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = Model::open("model.gguf")?;
/// let options = SequencesOptions::default().most(8);
/// let mut sequences = model.sequences(&options)?;
/// let first = sequences.join()?;
/// let second = sequences.join()?;
/// sequences.feed(first, &model.text_tokens("A siskin is"))?;
/// sequences.feed(second, &model.text_tokens("A finch is"))?;
/// while sequences.step()? > 0 {
///     for id in [first, second] {
///         if let Ok(logits) = sequences.logits(id) {
///             // Pick a token, and feed it for the next step.
/// #           let _ = logits;
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Sequences {
    model: Model,
    context: Context,
    pages: Pages,
    members: Vec<Member>,
    /// Places of the members that have tokens to be worked on, in the order in which they were fed.
    queue: Vec<usize>,
    /// Tokens of a step, and which of them logits are worked out after.
    tokens: Vec<u32>,
    rows: Vec<usize>,
    /// Which of these logits are not all numbers.
    not_finite: Vec<usize>,
    /// Tokens of a step beside those of sequences with a single one, at most.
    most_of_prompts: usize,
    /// Whether the step is one of those that are observed.
    observing: bool,
    /// The members of the step, each with how many of its tokens were worked on before.
    before: Vec<(usize, usize)>,
    generation: u64,
}

/// A place for a sequence.
struct Member {
    /// None of a place that is free.
    id: Option<SequenceId>,
    adapters: Vec<Attached>,
    /// All that was fed.
    tokens: Vec<u32>,
    /// How many of them the layers are through with.
    worked: usize,
    /// Tokens that went through the layers since the sequence joined, some of them several times.
    worked_on: usize,
    /// Where they are, or will be.
    pages: Vec<u32>,
    /// Whose beginning this sequence shares, and how many tokens of it, until these are worked on.
    donor: Option<(SequenceId, usize)>,
    /// The number of this sequence's logits among those of the last step.
    logits: Option<usize>,
    /// Whether its tokens are worked on by [`Sequences::step_observed`] alone.
    observed: bool,
    /// The first token that knows of forgotten ones; None where all that was fed is still there.
    first_after_gap: Option<usize>,
}

impl Model {
    /// Room for several sequences that are worked on together, with all the memory that they will ever use.
    ///
    /// # Errors
    /// As for [`Model::session`].
    pub fn sequences(&self, options: &SequencesOptions) -> Result<Sequences, SessionError> {
        Sequences::new(self.clone(), &options.session, options.made_for())
    }
}

impl Sequences {
    fn new(model: Model, options: &SessionOptions, made_for: For) -> Result<Self, SessionError> {
        let pin = options.pin;
        let options = options.resolve(model.context_length(), made_for)?;
        let threads = options.threads;
        let places = if pin { Machine::read().places() } else { Vec::new() };
        let team = match places.as_slice() {
            [] => Team::new(threads),
            places => Team::pinned(threads, places),
        };
        let team = team.map_err(|source| SessionError::Threads { threads, source })?;
        let context = Context::new(model.network(), options, team)?;
        let member = || Member {
            id: None,
            adapters: Vec::new(),
            tokens: Vec::with_capacity(options.context),
            worked: 0,
            worked_on: 0,
            pages: Vec::with_capacity(options.context.div_ceil(PAGE)),
            donor: None,
            logits: None,
            observed: false,
            first_after_gap: None,
        };
        Ok(Self {
            model,
            context,
            pages: Pages::new(options.pages()),
            members: (0..options.sequences).map(|_| member()).collect(),
            queue: Vec::with_capacity(options.sequences),
            tokens: Vec::with_capacity(options.batch),
            rows: Vec::with_capacity(options.logits),
            not_finite: Vec::with_capacity(options.logits),
            most_of_prompts: usize::MAX,
            observing: false,
            before: Vec::with_capacity(options.sequences),
            generation: 0,
        })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Tokens that each sequence holds at most.
    pub fn context(&self) -> usize {
        self.context.options().context
    }

    /// How many there may be at a time, idle ones included.
    pub fn most(&self) -> usize {
        self.members.len()
    }

    /// How many of them may be worked on at a time: those that wait for their logits beyond these come later.
    pub fn at_once(&self) -> usize {
        self.context.options().logits
    }

    /// Bytes that were reserved for all of them: KV cache and buffers.
    pub fn bytes(&self) -> usize {
        self.context.bytes()
    }

    /// Threads that share the work.
    pub fn threads(&self) -> usize {
        self.context.ops.threads()
    }

    /// The instruction set in use, as `SISKIN_ISA` spells it.
    pub fn isa(&self) -> &'static str {
        self.context.ops.isa()
    }

    /// What keys and values are kept in.
    pub fn cache_types(&self) -> CacheTypes {
        self.context.options().cache
    }

    /// Pages of the cache, each of 256 positions.
    pub fn pages(&self) -> usize {
        self.context.options().pages()
    }

    /// Pages of the cache that no sequence uses.
    pub fn free_pages(&self) -> usize {
        self.pages.free()
    }

    /// A sampler for a sequence's tokens.
    ///
    /// # Errors
    /// An option out of range.
    pub fn sampler(&self, options: &SamplerOptions) -> Result<Sampler, SessionError> {
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
        Ok(Sampler::new(options, self.model.vocabulary(), self.context(), &breakers)?)
    }

    /// A new sequence, which holds no tokens.
    ///
    /// # Errors
    /// [`SessionError::NoPlace`] where there are as many as there may be.
    pub fn join(&mut self) -> Result<SequenceId, SessionError> {
        self.join_with(&[])
    }

    /// A new sequence that these adapters change, each times its scale, as [`Sequences::attach`] does. Others have their
    /// own; a beginning is shared by those that have the same.
    ///
    /// # Errors
    /// As for [`Sequences::join`], and those of [`Sequences::attach`].
    pub fn join_with(&mut self, adapters: &[(&Adapter, f32)]) -> Result<SequenceId, SessionError> {
        let most = self.members.len();
        let free = self.members.iter().position(|member| member.id.is_none());
        let place = free.ok_or(SessionError::NoPlace { most })?;
        let all = self.attached() + adapters.len();
        for (adapter, scale) in adapters {
            self.context.take_up(self.model.network(), adapter, *scale, all)?;
        }
        self.generation += 1;
        let id = SequenceId { place, generation: self.generation };
        let member = &mut self.members[place];
        member.id = Some(id);
        member.worked_on = 0;
        member.observed = false;
        let attached = |&(adapter, scale): &(&Adapter, f32)| Attached { adapter: adapter.clone(), scale };
        member.adapters.extend(adapters.iter().map(attached));
        Ok(id)
    }

    /// Ends a sequence: its place and what it alone kept in the cache are free again.
    ///
    /// # Errors
    /// [`SessionError::NoSequence`] where it has left before.
    pub fn leave(&mut self, id: SequenceId) -> Result<(), SessionError> {
        self.truncate(id, 0)?;
        let member = &mut self.members[id.place];
        member.id = None;
        member.adapters.clear();
        Ok(())
    }

    /// Changes what follows in a sequence by an adapter, times `scale`, from the next token on; or changes the scale of one
    /// that is there. Several are added up in the order in which they came. What the sequence holds stays as it was worked
    /// out.
    ///
    /// Room for its work is made now, so that none is needed later.
    ///
    /// # Errors
    /// [`SessionError::NoSequence`], an adapter of a model of another shape, a scale that is not finite, or too little memory.
    pub fn attach(&mut self, id: SequenceId, adapter: &Adapter, scale: f32) -> Result<(), SessionError> {
        let place = self.place(id)?;
        let at = self.members[place].adapters.iter().position(|attached| attached.adapter.is(adapter));
        let all = self.attached() + usize::from(at.is_none());
        self.context.take_up(self.model.network(), adapter, scale, all)?;
        let member = &mut self.members[place];
        match at.and_then(|at| member.adapters.get_mut(at)) {
            Some(attached) if attached.scale == scale => return Ok(()),
            Some(attached) => attached.scale = scale,
            None => member.adapters.push(Attached { adapter: adapter.clone(), scale }),
        }
        self.adapters_changed(place);
        Ok(())
    }

    /// Takes an adapter off a sequence again; whether it was there.
    ///
    /// # Errors
    /// [`SessionError::NoSequence`].
    pub fn detach(&mut self, id: SequenceId, adapter: &Adapter) -> Result<bool, SessionError> {
        let place = self.place(id)?;
        let member = &mut self.members[place];
        let count = member.adapters.len();
        member.adapters.retain(|attached| !attached.adapter.is(adapter));
        let was_there = member.adapters.len() < count;
        if was_there {
            self.adapters_changed(place);
        }
        Ok(was_there)
    }

    /// The adapters of a sequence and their scales, in their order.
    ///
    /// # Errors
    /// [`SessionError::NoSequence`].
    pub fn adapters(&self, id: SequenceId) -> Result<impl Iterator<Item = (&Adapter, f32)>, SessionError> {
        let adapters = &self.members[self.place(id)?].adapters;
        Ok(adapters.iter().map(|Attached { adapter, scale }| (adapter, *scale)))
    }

    /// Tokens that a sequence was fed, also those that wait to be worked on.
    ///
    /// # Errors
    /// [`SessionError::NoSequence`].
    pub fn position(&self, id: SequenceId) -> Result<usize, SessionError> {
        Ok(self.tokens(id)?.len())
    }

    /// These tokens, in their order.
    ///
    /// # Errors
    /// [`SessionError::NoSequence`].
    pub fn tokens(&self, id: SequenceId) -> Result<&[u32], SessionError> {
        Ok(&self.members[self.place(id)?].tokens)
    }

    /// How many of a sequence's first tokens know of nothing but each other: all of them, unless some were forgotten, or
    /// other adapters were attached meanwhile.
    ///
    /// # Errors
    /// [`SessionError::NoSequence`].
    pub fn pristine(&self, id: SequenceId) -> Result<usize, SessionError> {
        Ok(self.members[self.place(id)?].pristine())
    }

    /// Tokens of a sequence that steps worked on so far, those that were worked on again counted again. What it took over
    /// from another one is not among them.
    ///
    /// # Errors
    /// [`SessionError::NoSequence`].
    pub fn worked_on(&self, id: SequenceId) -> Result<usize, SessionError> {
        Ok(self.members[self.place(id)?].worked_on)
    }

    /// Appends tokens to a sequence, to be worked on in steps to come.
    ///
    /// A sequence that held none takes over what another one, fed before, begins with as well: whole pages of 256
    /// positions are shared, the rest of the common beginning is copied, and nothing of it is worked out again where all
    /// layers still have what they look back at.
    ///
    /// # Errors
    /// [`SessionError::NoSequence`], a token outside the vocabulary, more tokens than the context has room for, or than the
    /// cache has free pages for; the sequence stays as it was.
    pub fn feed(&mut self, id: SequenceId, tokens: &[u32]) -> Result<(), SessionError> {
        let place = self.place(id)?;
        let held = self.members[place].tokens.len();
        self.check(held, tokens)?;
        if tokens.is_empty() {
            return Ok(());
        }
        let shares = held == 0 && !self.members[place].observed;
        let donor = if shares { self.most_alike(place, tokens) } else { None };
        let shared = donor.map_or(0, |(_, common)| common / PAGE);
        // A page that others use as well must not be written to behind what is common.
        let kept = self.members[place].pages.last().filter(|_| !held.is_multiple_of(PAGE));
        let kept = kept.copied().filter(|&page| self.pages.is_shared(page));
        let pages = (held + tokens.len()).div_ceil(PAGE) - self.members[place].pages.len() - shared;
        self.check_free(pages + usize::from(kept.is_some()))?;
        if let Some((donor, _)) = donor {
            for page in 0..shared {
                let page = self.pages.share(self.members[donor.place].pages[page]);
                self.members[place].pages.push(page);
            }
        }
        if kept.is_some() {
            self.own_page(place, held / PAGE);
        }
        let member = &mut self.members[place];
        member.pages.extend((0..pages).map_while(|_| self.pages.take()));
        member.tokens.extend_from_slice(tokens);
        member.logits = None;
        if held == 0 {
            member.donor = donor;
        }
        if !self.queue.contains(&place) {
            self.queue.push(place);
        }
        Ok(())
    }

    /// Appends tokens to a new sequence that [`Sequences::step_observed`] works on, and no other step. It takes over nothing
    /// from others, so that all of it is seen.
    ///
    /// # Errors
    /// As for [`Sequences::feed`].
    pub(crate) fn feed_observed(&mut self, id: SequenceId, tokens: &[u32]) -> Result<(), SessionError> {
        let place = self.place(id)?;
        self.members[place].observed = true;
        self.feed(id, tokens)
    }

    /// Forgets all tokens of a sequence but the first `len`. There are no logits until more are fed. A sequence that
    /// holds no more than `len` stays as it is.
    ///
    /// # Errors
    /// [`SessionError::NoSequence`].
    pub fn truncate(&mut self, id: SequenceId, len: usize) -> Result<(), SessionError> {
        self.cut(id, usize::MAX, len)
    }

    /// The same of a sequence that was fed so many tokens, and then some that nobody may notice, as drafts.
    pub(crate) fn cut(&mut self, id: SequenceId, fed: usize, len: usize) -> Result<(), SessionError> {
        let place = self.place(id)?;
        let member = &self.members[place];
        if len >= member.tokens.len() {
            return Ok(());
        }
        let cut = Cut { fed: fed.min(member.tokens.len()), pristine: member.pristine(), len };
        self.hand_over(id, len);
        self.context.ops.states.iter_mut().for_each(|state| state.truncate(place, &cut));
        let member = &mut self.members[place];
        member.tokens.truncate(len);
        member.worked = member.worked.min(len);
        member.donor = None;
        member.logits = None;
        member.first_after_gap = member.first_after_gap.filter(|&first| first < len);
        self.pages.release_last(&mut member.pages, len.div_ceil(PAGE));
        if member.waiting() == 0 {
            self.queue.retain(|&other| other != place);
        }
        Ok(())
    }

    /// Forgets the tokens of a sequence that wait to be worked on. Returns how many it holds then.
    ///
    /// # Errors
    /// [`SessionError::NoSequence`].
    pub fn drop_waiting(&mut self, id: SequenceId) -> Result<usize, SessionError> {
        let worked = self.members[self.place(id)?].worked;
        self.cut(id, worked, worked)?;
        Ok(worked)
    }

    /// Forgets some tokens of a sequence, and has those behind them move up, their keys turned to where they stand then:
    /// see [`WhenFull`]. Tokens that wait are worked on first.
    ///
    /// # Errors
    /// [`SessionError::NoSequence`]; [`SessionError::CacheFull`] where pages that others use too cannot be copied; those of
    /// [`Sequences::step`].
    pub fn forget(&mut self, id: SequenceId, tokens: Range<usize>) -> Result<(), SessionError> {
        let place = self.place(id)?;
        let len = self.members[place].tokens.len();
        if tokens.start >= tokens.end.min(len) {
            return Ok(());
        }
        if tokens.end >= len {
            return self.truncate(id, tokens.start);
        }
        // What a long cut left nothing of is there again before any of it moves.
        self.work_again(id)?;
        self.catch_up(place)?;
        let pristine = self.members[place].pristine();
        self.go_back(place, self.context.ops.states.resume_to_forget(place, len, pristine));
        self.catch_up(place)?;
        self.hand_over(id, tokens.start);
        let first = tokens.start / PAGE;
        let shared = |page: &&u32| self.pages.is_shared(**page);
        self.check_free(self.members[place].pages[first..].iter().filter(shared).count())?;
        (first..self.members[place].pages.len()).for_each(|page| self.own_page(place, page));
        let member = &mut self.members[place];
        let segment = Segment { sequence: place, start: len, tokens: 0, pages: &member.pages };
        self.context.ops.forget(&segment, tokens.clone(), member.pristine());
        member.first_after_gap = Some(member.pristine().min(tokens.start));
        member.tokens.drain(tokens);
        member.worked = member.tokens.len();
        self.pages.release_last(&mut member.pages, member.tokens.len().div_ceil(PAGE));
        Ok(())
    }

    /// Ends the work with [`SessionError::Cancelled`] whenever the flag is true: also what is under way in another thread, which
    /// ends before it comes to the next layer.
    pub fn cancel_when(&mut self, flag: Arc<AtomicBool>) {
        self.context.ops.cancel_when(flag);
    }

    /// Works with no more threads than this says at the time, for what has an eye on the machine's temperature: it may
    /// change at any moment, and changes no bit of the results. While it is 0 the work rests.
    pub fn limit_threads(&mut self, limit: Arc<AtomicUsize>) {
        self.context.ops.limit_threads(limit);
    }

    /// What a sequence holds was not worked out with the adapters of now.
    fn adapters_changed(&mut self, place: usize) {
        let member = &mut self.members[place];
        let len = member.tokens.len();
        member.first_after_gap = (len > 0).then_some(0);
        self.context.ops.states.iter_mut().for_each(|state| state.part(place, len));
    }

    /// Works until no token of a member waits.
    fn catch_up(&mut self, place: usize) -> Result<(), SessionError> {
        while self.members[place].waiting() > 0 {
            self.advance(&mut (), LogitsOf::Ends)?;
        }
        Ok(())
    }

    /// Tokens of a sequence that wait to be worked on.
    fn waiting(&self, id: SequenceId) -> Result<usize, SessionError> {
        Ok(self.members[self.place(id)?].waiting())
    }

    /// The flag that ends the work, and the limit of threads.
    fn control(&self) -> (Arc<AtomicBool>, Arc<AtomicUsize>) {
        self.context.ops.control()
    }

    /// Adapters of all members.
    fn attached(&self) -> usize {
        self.members.iter().map(|member| member.adapters.len()).sum()
    }

    fn place(&self, id: SequenceId) -> Result<usize, SessionError> {
        let member = self.members.get(id.place).filter(|member| member.id == Some(id));
        member.map(|_| id.place).ok_or(SessionError::NoSequence)
    }

    /// Whether a sequence that holds `used` tokens can be fed these.
    pub(crate) fn check(&self, used: usize, tokens: &[u32]) -> Result<(), SessionError> {
        self.check_tokens(tokens)?;
        let context = self.context();
        match tokens.len() > context - used {
            true => Err(SessionError::ContextFull { context, used, wanted: tokens.len() }),
            false => Ok(()),
        }
    }

    /// Whether the model has all of these tokens.
    fn check_tokens(&self, tokens: &[u32]) -> Result<(), SessionError> {
        let vocabulary = self.model.vocabulary();
        match tokens.iter().find(|&&token| token as usize >= vocabulary) {
            Some(&token) => Err(SessionError::Token { token, vocabulary }),
            None => Ok(()),
        }
    }

    fn check_free(&self, wanted: usize) -> Result<(), SessionError> {
        let free = self.pages.free();
        if wanted > free { Err(SessionError::CacheFull { wanted, free }) } else { Ok(()) }
    }
}

impl Member {
    /// Tokens that the layers are not through with yet.
    fn waiting(&self) -> usize {
        self.tokens.len() - self.worked
    }

    /// As [`Sequences::pristine`].
    fn pristine(&self) -> usize {
        self.first_after_gap.unwrap_or(self.tokens.len())
    }
}
