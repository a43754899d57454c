mod pages;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use crate::adapter::{Adapter, Attached};
use crate::error::Error;
use crate::model::Model;
use crate::pass::{For, Pass};
use crate::runs::{PAGE, Run};
use crate::sampler::{Sampler, SamplerOptions};
use crate::session::SessionOptions;
use pages::Pages;

/// What [`Sequences`] are made for.
#[derive(Clone, Debug)]
pub struct SequencesOptions {
    /// Sequences that there are at a time, at most.
    pub most: usize,
    /// Pages of 256 positions that the cache has for all of them. None: as many as they fill with nothing in common.
    /// Fewer are enough for shorter sequences, and where many begin alike.
    pub pages: Option<usize>,
    /// The rest. `context` is that of each sequence, `batch` the tokens of a step.
    pub session: SessionOptions,
}

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
/// # use siskin::{Model, SequencesOptions, SessionOptions};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = Model::open("model.gguf")?;
/// let options = SequencesOptions { most: 8, pages: None, session: SessionOptions::default() };
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
    pass: Pass,
    pages: Pages,
    members: Vec<Member>,
    /// Places of the members that have tokens to be worked on, in the order in which they were fed.
    queue: Vec<usize>,
    /// Tokens of a step, and which of them logits are worked out after.
    tokens: Vec<u32>,
    ends: Vec<usize>,
    /// The members of the step, each with how many of its tokens were in the cache before.
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
    /// How many of them are in the cache.
    worked: usize,
    /// Where they are, or will be.
    pages: Vec<u32>,
    /// Whose beginning this sequence shares, and how many tokens of it, until they are in the cache.
    donor: Option<(SequenceId, usize)>,
    /// The number of this sequence's logits among those of the last step.
    logits: Option<usize>,
}

impl Sequences {
    pub(crate) fn new(model: Model, options: &SequencesOptions) -> Result<Self, Error> {
        let made_for = For::Many { sequences: options.most, pages: options.pages };
        let pass = Pass::new(model, &options.session, made_for)?;
        let member = || Member {
            id: None,
            adapters: Vec::new(),
            tokens: Vec::with_capacity(pass.context),
            worked: 0,
            pages: Vec::with_capacity(pass.context.div_ceil(PAGE)),
            donor: None,
            logits: None,
        };
        Ok(Self {
            pages: Pages::new(pass.pages),
            members: (0..options.most).map(|_| member()).collect(),
            queue: Vec::with_capacity(options.most),
            tokens: Vec::with_capacity(pass.batch),
            ends: Vec::with_capacity(options.most),
            before: Vec::with_capacity(options.most),
            generation: 0,
            pass,
        })
    }

    /// Tokens that each sequence holds at most.
    pub fn context(&self) -> usize {
        self.pass.context
    }

    /// Bytes that were reserved for all of them: KV cache and buffers.
    pub fn bytes(&self) -> usize {
        self.pass.bytes()
    }

    /// Pages of the cache that no sequence uses.
    pub fn free_pages(&self) -> usize {
        self.pages.free()
    }

    /// A sampler for a sequence's tokens.
    ///
    /// # Errors
    /// An option out of range.
    pub fn sampler(&self, options: &SamplerOptions) -> Result<Sampler, Error> {
        self.pass.sampler(options)
    }

    /// A new sequence, which holds no tokens.
    ///
    /// # Errors
    /// [`Error::NoPlace`] where there are as many as there may be.
    pub fn join(&mut self) -> Result<SequenceId, Error> {
        self.join_with(&[])
    }

    /// A new sequence that these adapters change, each times its scale, as [`Session::attach`](crate::Session::attach) does.
    /// Others have their own; a beginning is shared by those that have the same.
    ///
    /// # Errors
    /// As for [`Sequences::join`], and those of [`Session::attach`](crate::Session::attach).
    pub fn join_with(&mut self, adapters: &[(&Adapter, f32)]) -> Result<SequenceId, Error> {
        let most = self.members.len();
        let free = self.members.iter().position(|member| member.id.is_none());
        let place = free.ok_or(Error::NoPlace { most })?;
        let all = self.members.iter().map(|member| member.adapters.len()).sum::<usize>() + adapters.len();
        for (adapter, scale) in adapters {
            self.pass.take_up(adapter, *scale, all)?;
        }
        self.generation += 1;
        let id = SequenceId { place, generation: self.generation };
        let member = &mut self.members[place];
        member.id = Some(id);
        let attached = |&(adapter, scale): &(&Adapter, f32)| Attached { adapter: adapter.clone(), scale };
        member.adapters.extend(adapters.iter().map(attached));
        Ok(id)
    }

    /// Ends a sequence: its place and what it alone kept in the cache are free again.
    ///
    /// # Errors
    /// [`Error::NoSequence`] where it has left before.
    pub fn leave(&mut self, id: SequenceId) -> Result<(), Error> {
        self.truncate(id, 0)?;
        let member = &mut self.members[id.place];
        member.id = None;
        member.adapters.clear();
        Ok(())
    }

    /// Tokens that a sequence was fed, also those that wait to be worked on.
    ///
    /// # Errors
    /// [`Error::NoSequence`].
    pub fn position(&self, id: SequenceId) -> Result<usize, Error> {
        Ok(self.members[self.place(id)?].tokens.len())
    }

    /// Appends tokens to a sequence, to be worked on in steps to come.
    ///
    /// A sequence that held none takes over what another one, fed before, begins with as well: whole pages of 256
    /// positions are shared, the rest of the common beginning is copied, and nothing of it is worked out again.
    ///
    /// # Errors
    /// [`Error::NoSequence`], a token outside the vocabulary, more tokens than the context has room for, or than the
    /// cache has free pages for; the sequence stays as it was.
    pub fn feed(&mut self, id: SequenceId, tokens: &[u32]) -> Result<(), Error> {
        let place = self.place(id)?;
        let held = self.members[place].tokens.len();
        self.pass.check(held, tokens)?;
        if tokens.is_empty() {
            return Ok(());
        }
        let donor = if held == 0 { self.most_alike(place, tokens) } else { None };
        let shared = donor.map_or(0, |(_, common)| common / PAGE);
        // A page that others use as well must not be written to behind what is common.
        let kept = self.members[place].pages.last().filter(|_| !held.is_multiple_of(PAGE));
        let kept = kept.copied().filter(|&page| self.pages.is_shared(page));
        let pages = (held + tokens.len()).div_ceil(PAGE) - self.members[place].pages.len() - shared;
        let (wanted, free) = (pages + usize::from(kept.is_some()), self.pages.free());
        if wanted > free {
            return Err(Error::CacheFull { wanted, free });
        }
        if let Some((donor, _)) = donor {
            for page in 0..shared {
                let page = self.pages.share(self.members[donor.place].pages[page]);
                self.members[place].pages.push(page);
            }
        }
        let fresh = kept.and_then(|_| self.pages.take());
        if let (Some(kept), Some(fresh)) = (kept, fresh) {
            self.pass.copy_page(kept, fresh);
            self.pages.release(kept);
            self.members[place].pages.pop();
            self.members[place].pages.push(fresh);
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

    /// Forgets all tokens of a sequence but the first `len`. There are no logits until more are fed. A sequence that
    /// holds no more than `len` stays as it is.
    ///
    /// # Errors
    /// [`Error::NoSequence`].
    pub fn truncate(&mut self, id: SequenceId, len: usize) -> Result<(), Error> {
        let place = self.place(id)?;
        if len >= self.members[place].tokens.len() {
            return Ok(());
        }
        self.hand_over(id, len);
        self.pass.truncate(place, len);
        let member = &mut self.members[place];
        member.tokens.truncate(len);
        member.worked = member.worked.min(len);
        member.donor = None;
        member.logits = None;
        for page in member.pages.drain(len.div_ceil(PAGE)..) {
            self.pages.release(page);
        }
        if member.waiting() == 0 {
            self.queue.retain(|&other| other != place);
        }
        Ok(())
    }

    /// Works on tokens that wait: those of sequences with a single one first, then the others' in the order in which they
    /// were fed, up to a batch. Returns how many there were; 0 where none wait.
    ///
    /// # Errors
    /// [`Error::Cancelled`]: there are no logits, and the same tokens wait.
    pub fn step(&mut self) -> Result<usize, Error> {
        self.take_over();
        self.pass.begin();
        self.tokens.clear();
        self.ends.clear();
        self.before.clear();
        for member in &mut self.members {
            member.logits = None;
        }
        for single in [true, false] {
            for &place in &self.queue {
                let member = &mut self.members[place];
                member.worked = self.pass.resume(place, member.worked, usize::MAX);
                let room = self.pass.batch - self.tokens.len();
                let count = member.waiting().min(room);
                if (member.waiting() == 1) != single || member.donor.is_some() || count == 0 {
                    continue;
                }
                let (start, end) = (member.worked, member.worked + count);
                self.pass.push(Run {
                    sequence: place,
                    start,
                    tokens: count,
                    pages: &member.pages,
                    adapters: &member.adapters,
                });
                self.tokens.extend_from_slice(&member.tokens[start..end]);
                self.before.push((place, start));
                member.worked = end;
                if member.waiting() == 0 {
                    member.logits = Some(self.ends.len());
                    self.ends.push(self.tokens.len() - 1);
                }
            }
        }
        if !self.tokens.is_empty()
            && let Err(cancelled) = self.pass.forward(&self.tokens, &mut ())
        {
            for &(place, worked) in &self.before {
                let member = &mut self.members[place];
                (member.worked, member.logits) = (worked, None);
            }
            return Err(cancelled);
        }
        if !self.ends.is_empty() {
            self.pass.work_out_logits(&self.ends);
        }
        let members = &self.members;
        self.queue.retain(|&place| members[place].waiting() > 0);
        Ok(self.tokens.len())
    }

    /// Ends the work with [`Error::Cancelled`] whenever the flag is true: also what is under way in another thread, which
    /// ends before it comes to the next layer.
    pub fn cancel_when(&mut self, flag: Arc<AtomicBool>) {
        self.pass.cancel_when(flag);
    }

    /// The logits after the last token of a sequence: one number for each entry of the vocabulary. They are there from the
    /// step that worked on that token until the next one.
    ///
    /// # Errors
    /// [`Error::NoSequence`], or [`Error::NoPrompt`] where the last step did not come to the end of the sequence.
    pub fn logits(&self, id: SequenceId) -> Result<&[f32], Error> {
        let member = &self.members[self.place(id)?];
        member.logits.map(|number| self.pass.logits(number)).ok_or(Error::NoPrompt)
    }

    /// Works with no more threads than this says at the time: see [`Session::limit_threads`](crate::Session::limit_threads).
    pub fn limit_threads(&mut self, limit: Arc<AtomicUsize>) {
        self.pass.limit_threads(limit);
    }

    fn place(&self, id: SequenceId) -> Result<usize, Error> {
        let member = self.members.get(id.place).filter(|member| member.id == Some(id));
        member.map(|_| id.place).ok_or(Error::NoSequence)
    }

    /// The sequence with the adapters of the one at `place` that begins with most of these tokens, the one fed first of
    /// several, and how many. The last token is not among them: its logits are asked for.
    fn most_alike(&self, place: usize, tokens: &[u32]) -> Option<(SequenceId, usize)> {
        let adapters = &self.members[place].adapters;
        let common = |member: &Member| {
            let both = member.tokens.iter().zip(&tokens[..tokens.len() - 1]);
            both.take_while(|(a, b)| a == b).count()
        };
        let others = self.members.iter().filter(|member| member.adapters == *adapters);
        let alike = others.filter_map(|member| Some((member.id?, common(member))));
        let first = alike.filter(|&(_, common)| common > 0);
        first.max_by_key(|&(id, common)| (common, u64::MAX - id.generation))
    }

    /// Lets those sequences begin whose common beginning with another one is in the cache now.
    fn take_over(&mut self) {
        for at in 0..self.queue.len() {
            let place = self.queue[at];
            if let Some((donor, common)) = self.members[place].donor
                && self.members[donor.place].worked >= common
            {
                self.take(place, donor, common);
            }
        }
    }

    /// Takes over `common` tokens: whole pages are shared already, the last one's beginning is copied.
    fn take(&mut self, place: usize, donor: SequenceId, common: usize) {
        if !common.is_multiple_of(PAGE) {
            let page = common / PAGE;
            self.pass.copy_page(self.members[donor.place].pages[page], self.members[place].pages[page]);
        }
        let member = &mut self.members[place];
        (member.worked, member.donor) = (common, None);
    }

    /// Gives the sequences that wait for this one what it has worked out, before it forgets all but `len` tokens.
    fn hand_over(&mut self, id: SequenceId, len: usize) {
        for place in 0..self.members.len() {
            if let Some((donor, common)) = self.members[place].donor
                && donor == id
                && common > len
            {
                self.take(place, id, common.min(self.members[id.place].worked));
            }
        }
    }
}

impl Member {
    /// Tokens that are not in the cache yet.
    fn waiting(&self) -> usize {
        self.tokens.len() - self.worked
    }
}
