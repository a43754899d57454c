use std::ops::Range;

use super::observer::Rows;
use crate::arena::{Arena, Buf, Chunks, Matrix, OutOfMemory};
use crate::kernels::quantize::{BLOCK, TILE};
use crate::kernels::{Activations, Q8Block};

/// Hidden states of up to a batch of tokens, and the same quantized where weights ask for it.
pub(crate) struct Hidden {
    pub(super) x: Buf<f32>,
    q: Buf<Q8Block>,
    /// Numbers from one token to the next, a multiple of 32; those beyond the row's own stay zero.
    pub(super) stride: usize,
    quantized: bool,
}

impl Hidden {
    pub(crate) fn new(
        arena: &mut Arena,
        batch: usize,
        width: usize,
        quantized: bool,
    ) -> Result<Self, OutOfMemory> {
        let stride = width.next_multiple_of(BLOCK);
        let blocks = if quantized { batch * stride / BLOCK } else { 0 };
        Ok(Self { x: arena.buf(batch * stride)?, q: arena.buf(blocks)?, stride, quantized })
    }

    pub(crate) fn row(&self, token: usize) -> &[f32] {
        &self.x[token * self.stride..(token + 1) * self.stride]
    }

    pub(crate) fn row_mut(&mut self, token: usize) -> &mut [f32] {
        &mut self.x[token * self.stride..(token + 1) * self.stride]
    }

    /// The first `width` numbers of each token's row.
    pub(super) fn rows(&self, tokens: usize, width: usize) -> Rows<'_> {
        Rows::new(&self.x[..tokens * self.stride], self.stride, width)
    }

    pub(super) fn activations(&self, tokens: usize) -> Activations<'_> {
        let q = if self.quantized { &self.q[..tokens * self.stride / BLOCK] } else { &[] };
        Activations { x: &self.x[..tokens * self.stride], stride: self.stride, q, tokens }
    }

    /// Some rows as floats alone.
    pub(super) fn floats(&self, rows: Range<usize>) -> Activations<'_> {
        let x = &self.x[rows.start * self.stride..rows.end * self.stride];
        Activations { x, stride: self.stride, q: &[], tokens: rows.len() }
    }

    /// Some rows.
    pub(super) fn rows_mut(&mut self, rows: Range<usize>) -> Matrix<'_> {
        Matrix::new(&mut self.x[rows.start * self.stride..rows.end * self.stride], self.stride)
    }

    pub(super) fn matrix(&mut self, tokens: usize) -> Matrix<'_> {
        Matrix::new(&mut self.x[..tokens * self.stride], self.stride)
    }

    /// Runs of [`TILE`] tokens, each with its place in the quantized activations.
    pub(super) fn tiles(&mut self, tokens: usize) -> (Chunks<'_, f32>, Chunks<'_, Q8Block>) {
        let stride = self.stride;
        // A split of pairs has as many parts as its shorter member: without quantized activations, empty runs of
        // the same number stand in for them.
        let q = if self.quantized { &mut self.q[..tokens * stride / BLOCK] } else { &mut self.q[..] };
        let chunk = TILE * stride / BLOCK;
        (
            Chunks::new(&mut self.x[..tokens * stride], TILE * stride),
            Chunks::covering(q, chunk, tokens.div_ceil(TILE)),
        )
    }
}
