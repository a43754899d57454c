use super::context::Context;
use super::hidden::Hidden;
use super::network::{Buffers, Network};
use super::observer::{Observer, Step};
use super::weights::{LinearId, RowsId, VectorId};
use crate::arena::{Arena, OutOfMemory};
use crate::fingerprint::fingerprint;
use crate::kernels::Output;
use crate::state::{ConvSpec, StateId};

/// A causal convolution of each channel by itself, over a few tokens, between two gates (Hasani et al. 2025, arXiv
/// 2511.23404): with u = before · x ⊙ input · x it is output · (after · x ⊙ Σⱼ kernelⱼ ⊙ u of j tokens before the last).
#[derive(Clone, Debug)]
pub(crate) struct ShortConv {
    pub(crate) input: RowsId,
    /// The gate of what goes into the convolution.
    pub(crate) before: RowsId,
    /// The gate of what comes out of it.
    pub(crate) after: RowsId,
    /// `[tap][channel]`, the last tap for the token itself; each tap padded to a multiple of 32.
    pub(crate) kernel: VectorId,
    pub(crate) taps: usize,
    pub(crate) output: LinearId,
}

fingerprint!(ShortConv { input, before, after, kernel, taps, output });

/// Buffers for a batch of tokens.
pub(crate) struct ConvBuffers {
    pub(super) input: Hidden,
    pub(super) before: Hidden,
    pub(super) after: Hidden,
}

impl ConvBuffers {
    /// Buffers for batches of up to `batch` tokens.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn new(arena: &mut Arena, batch: usize, width: usize) -> Result<Self, OutOfMemory> {
        let mut hidden = || Hidden::new(arena, batch, width, false);
        Ok(Self { input: hidden()?, before: hidden()?, after: hidden()? })
    }
}

impl ShortConv {
    /// What it looks back at.
    pub(crate) fn state(&self, width: usize) -> ConvSpec {
        ConvSpec { width, lookback: self.taps - 1 }
    }

    /// From `normed` to `attended`.
    pub(crate) fn forward(
        &self,
        id: StateId,
        network: &Network,
        context: &mut Context,
        observer: &mut dyn Observer,
    ) {
        let (weights, Context { ops, buffers, .. }) = (network.weights(), context);
        let Buffers { stream, conv, attended, .. } = buffers;
        let Some(ConvBuffers { input, before, after }) = conv else { return };
        let projections = [&self.input, &self.before, &self.after].map(|rows| weights.rows(rows));
        let outputs = [&mut *input, &mut *before, &mut *after];
        ops.multiply(&stream.normed, projections, outputs, Output::Replace, observer);
        observer.step(Step::ConvInput, input.rows(ops.tokens, network.config().width));
        ops.multiply_elements(input, before);
        ops.convolve(id, (&weights[self.kernel], self.taps), input, after, attended);
    }
}
