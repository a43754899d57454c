use super::layer::Work;
use super::state::Hidden;
use super::weights::{LinearId, RowsId, VectorId};
use crate::arena::{Arena, OutOfMemory};
use crate::kernels::Output;

/// A causal convolution of each channel by itself, over a few tokens, between two gates (Hasani et al. 2025, arXiv
/// 2511.23404): with u = before · x ⊙ input · x it is output · (after · x ⊙ Σⱼ kernelⱼ ⊙ u of j tokens before the last).
#[derive(Clone, Debug)]
pub(crate) struct ShortConvolution {
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

/// Buffers for a batch of tokens.
pub(crate) struct Convolving {
    input: Hidden,
    before: Hidden,
    after: Hidden,
}

impl Convolving {
    /// Buffers for batches of up to `batch` tokens.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn new(arena: &mut Arena, batch: usize, width: usize) -> Result<Self, OutOfMemory> {
        let mut hidden = || Hidden::new(arena, batch, width, false);
        Ok(Self { input: hidden()?, before: hidden()?, after: hidden()? })
    }
}

impl ShortConvolution {
    /// From `normed` to `out`. `place` is the layer's number among those with a convolution.
    pub(crate) fn forward(
        &self,
        place: usize,
        work: &mut Work<'_>,
        normed: &Hidden,
        Convolving { input, before, after }: &mut Convolving,
        out: &mut Hidden,
    ) {
        let Work { weights, state, observer, .. } = work;
        let projections = [&self.input, &self.before, &self.after].map(|rows| weights.rows(rows));
        let outputs = [&mut *input, &mut *before, &mut *after];
        state.multiply(normed, projections, outputs, Output::Replace, *observer);
        state.multiply_elements(input, before);
        state.convolve(place, (&weights[self.kernel], self.taps), input, after, out);
    }
}
