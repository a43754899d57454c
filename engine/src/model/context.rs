use std::num::NonZeroUsize;

use twox_hash::XxHash3_128;

use super::adapter::{Adapter, Attached};
use super::error::AttachError;
use super::network::{Buffers, Network};
use super::ops::{Ops, OpsRoom, adapter_buffers};
use crate::arena::{Arena, OutOfMemory};
use crate::kernels::Isa;
use crate::state::{CacheTypes, PAGE, StateRoom};
use crate::team::Team;

/// What a [`Context`] is made for. All numbers are within their bounds.
#[derive(Clone, Copy)]
pub(crate) struct ContextOptions {
    /// Tokens of a sequence, at most.
    pub(crate) context: usize,
    pub(crate) threads: usize,
    /// Tokens of a forward pass, at most.
    pub(crate) batch: usize,
    pub(crate) cache: CacheTypes,
    pub(crate) isa: Isa,
    pub(crate) sequences: usize,
    /// Tokens of a forward pass that there are logits of.
    pub(crate) logits: usize,
    /// Pages for all sequences; None: as many as one takes.
    pub(crate) pages: Option<NonZeroUsize>,
}

impl ContextOptions {
    /// Pages of all sequences, the last of which may be shorter.
    pub(crate) fn pages(&self) -> usize {
        self.pages.map_or(self.context.div_ceil(PAGE), NonZeroUsize::get)
    }
}

/// All that forward passes through a network take: the steps that layers are written in with their threads and states, and
/// the buffers that go from one to the next.
pub(crate) struct Context {
    pub(crate) ops: Ops,
    pub(crate) buffers: Buffers,
    options: ContextOptions,
    bytes: usize,
    /// Those of them that adapters work with.
    adapter_bytes: usize,
}

/// Where the memory of a [`Context`] comes from.
pub(crate) struct ContextArena {
    /// That of what is kept of sequences.
    pub(crate) cache: Arena,
    /// That of all else: activations, scratch.
    pub(crate) buffers: Arena,
}

impl ContextOptions {
    /// What a context takes of `network` with adapters of up to this rank, which is 0 without any, counted alone.
    pub(crate) fn count(&self, network: &Network, rank: usize) -> ContextArena {
        let mut arena = ContextArena { cache: Arena::counting(), buffers: Arena::counting() };
        // An arena that counts never fails.
        let _ = self.reserve(network, Team::alone(self.threads), &mut arena);
        if rank > 0 {
            let _ = adapter_buffers(&mut arena.buffers, self.batch, rank);
        }
        arena
    }

    fn reserve(
        &self,
        network: &Network,
        team: Team,
        arena: &mut ContextArena,
    ) -> Result<(Ops, Buffers), OutOfMemory> {
        let &Self { context, batch, cache, isa, sequences, logits, .. } = self;
        let pages = self.pages();
        let slots = self.pages.map_or(context, |pages| pages.get().saturating_mul(PAGE));
        let room = StateRoom { sequences, context, batch, pages, slots, cache };
        let states = network.states().reserve(&mut arena.cache, &room)?;
        let (arena, room) = (&mut arena.buffers, OpsRoom { sequences, context, batch });
        let ops = Ops::new(arena, isa.kernels(), team, (states, cache), network, room)?;
        Ok((ops, network.buffers(arena, batch, logits)?))
    }
}

impl Context {
    /// A context whose regions of work are shared by `team`.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn new(network: &Network, options: ContextOptions, team: Team) -> Result<Self, OutOfMemory> {
        let mut arena = ContextArena { cache: Arena::reserving(), buffers: Arena::reserving() };
        let (ops, buffers) = options.reserve(network, team, &mut arena)?;
        let bytes = arena.cache.bytes().saturating_add(arena.buffers.bytes());
        Ok(Self { ops, buffers, options, bytes, adapter_bytes: 0 })
    }

    pub(crate) fn options(&self) -> &ContextOptions {
        &self.options
    }

    /// Bytes that were reserved: states and buffers.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes room for an adapter, one of so many that all segments of a batch have.
    ///
    /// # Errors
    /// One that does not fit the network, a scale without meaning, or [`OutOfMemory`].
    pub(crate) fn take_up(
        &mut self,
        network: &Network,
        adapter: &Adapter,
        scale: f32,
        adapters: usize,
    ) -> Result<(), AttachError> {
        adapter.check(network, scale)?;
        let mut arena = Arena::reserving();
        self.ops.reserve_adapters(&mut arena, self.options.batch, adapter.rank(), adapters)?;
        if arena.bytes() > 0 {
            self.bytes += arena.bytes() - std::mem::replace(&mut self.adapter_bytes, arena.bytes());
        }
        Ok(())
    }

    /// Tells apart what logits of the same tokens depend on: the model, whose fingerprint this is, what changes it, and
    /// RoPE tables of long contexts.
    pub(crate) fn fingerprint(&self, network: &Network, model: u128, adapters: &[Attached]) -> u128 {
        let long = network.ropes().iter().any(|rope| rope.is_long(self.options.context));
        let model = model ^ u128::from(long);
        let mut adapters = adapters.iter().filter(|attached| attached.scale != 0.0).peekable();
        if adapters.peek().is_none() {
            return model;
        }
        let mut hasher = XxHash3_128::new();
        hasher.write(&model.to_le_bytes());
        adapters.for_each(|attached| attached.hash(&mut hasher));
        hasher.finish_128()
    }
}
