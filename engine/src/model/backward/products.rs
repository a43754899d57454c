use std::ops::Range;

use super::lora::{Lora, Pair};
use crate::arena::{Arena, Buf, Chunks, Matrix, OutOfMemory};
use crate::kernels::gradient::{Factors, TILE, Terms, across};
use crate::kernels::{Output, Product};
use crate::model::hidden::Hidden;
use crate::model::ops::Ops;
use crate::model::weights::LinearRows;
use crate::panel::ROWS;

/// Columns of a matrix that a task goes through, and rows of it that are decoded at a time.
const STRIP: usize = 64;
const CHUNK: usize = 64;

/// Goes back through products with weights.
pub(super) struct Products {
    /// Each thread's own: a chunk of a strip, decoded.
    decoded: Vec<Buf<f32>>,
    /// The gradients by some rows' products of all tokens, as [`across`] puts them.
    across: Buf<f32>,
    /// What A makes of the inputs, and the gradients by that: `[tile of tokens][rank][token of the tile]`.
    low: Hidden,
    by_low: Buf<f32>,
}

impl Products {
    /// Room for batches of so many tokens, for adapters of up to this rank, and for so many gradients of a token's at a time.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(super) fn new(
        arena: &mut Arena,
        threads: usize,
        (batch, rank, width): (usize, usize, usize),
    ) -> Result<Self, OutOfMemory> {
        let (tiled, rank) = (batch.next_multiple_of(TILE), rank.next_multiple_of(ROWS));
        Ok(Self {
            decoded: (0..threads).map(|_| arena.buf(CHUNK * STRIP)).collect::<Result<_, _>>()?,
            across: arena.buf(tiled.saturating_mul(width.next_multiple_of(CHUNK)))?,
            low: Hidden::new(arena, batch, rank, false)?,
            by_low: arena.buf(tiled.saturating_mul(rank))?,
        })
    }

    /// From the gradients `dy` by the products of `x` with some matrices to that by `x`, which replaces what `dx` holds; those by the
    /// matrices' changes are added to `lora`'s. Without `dx` these are all.
    pub(super) fn back<const N: usize>(
        &mut self,
        ops: &mut Ops,
        mut lora: Option<&mut Lora>,
        x: &Hidden,
        weights: [LinearRows<'_>; N],
        dy: [&Hidden; N],
        mut dx: Option<&mut Hidden>,
    ) {
        let tiled = ops.tokens.next_multiple_of(TILE);
        let most = ((self.across.len() / tiled.max(1)) / CHUNK * CHUNK).max(CHUNK);
        let mut output = Output::Replace;
        // Those that are parts of one matrix have one change.
        let parts = weights.each_ref().map(|rows| rows.linear.id);
        let mut first = 0;
        for parts in parts.chunk_by(|a, b| a == b) {
            let range = first..first + parts.len();
            first = range.end;
            let (weights, dy) = (&weights[range.clone()], &dy[range]);
            let mut change =
                lora.as_deref_mut().and_then(|lora| Some((lora.pair(*parts.first()?).cloned()?, lora)));
            if change.is_none() && dx.is_none() {
                continue;
            }
            self.by_low.fill(0.0);
            for (LinearRows { linear, rows }, dy) in weights.iter().zip(dy) {
                for from in (0..rows.len()).step_by(most) {
                    let some = from..(from + most).min(rows.len());
                    self.put_across(ops, dy, some.clone());
                    let some = rows.start + some.start..rows.start + some.end;
                    if let Some((pair, lora)) = &change {
                        self.back_to_low(ops, lora, pair, some.clone());
                    }
                    if let Some(dx) = dx.as_deref_mut() {
                        self.back_to_input(ops, &LinearRows { linear, rows: some }, dx, output);
                        output = Output::Add;
                    }
                }
            }
            if let Some((pair, lora)) = &mut change {
                self.by_low.iter_mut().for_each(|by| *by *= pair.scale);
                self.change(ops, lora, pair, x, weights.iter().map(|part| part.rows.clone()).zip(dy));
                if let Some(dx) = dx.as_deref_mut() {
                    self.back_through_a(ops, lora, pair, dx);
                }
            }
        }
    }

    /// Puts these columns of the gradients across.
    fn put_across(&mut self, ops: &mut Ops, dy: &Hidden, columns: Range<usize>) {
        let (tokens, stride) = (ops.tokens, TILE * columns.len());
        let tiles = Chunks::new(&mut self.across[..tokens.div_ceil(TILE) * stride], stride);
        ops.team().for_each(tiles, |tile, to| {
            let rows = &dy.x[TILE * tile * dy.stride..tokens.min(TILE * (tile + 1)) * dy.stride];
            across(rows, dy.stride, columns.clone(), to);
        });
    }

    /// Adds to the gradients by the input, or begins them with, those by products with some rows, which are across.
    fn back_to_input(&mut self, ops: &mut Ops, of: &LinearRows<'_>, dx: &mut Hidden, output: Output) {
        let LinearRows { linear, rows } = of;
        let (kernels, tokens, weight) = (ops.kernels(), ops.tokens, &linear.weight);
        let (across, stride) = (&self.across, TILE * rows.len());
        let tiles = dx.matrix(tokens).columns(weight.k().next_multiple_of(ROWS), STRIP);
        ops.team().for_each_with(&mut self.decoded, tiles, |decoded, _, mut tile| {
            let columns = tile.columns();
            if output == Output::Replace {
                (0..tokens).for_each(|token| tile.row(token).fill(0.0));
            }
            for from in (0..rows.len()).step_by(CHUNK) {
                let count = CHUNK.min(rows.len() - from);
                let (first, padded) = (rows.start + from, count.next_multiple_of(ROWS));
                let decoded = &mut decoded[..padded * columns.len()];
                let panels = weight.panels(first, first + padded);
                kernels.decode(weight.ty(), panels, weight.k(), columns.clone(), decoded);
                let factors = Factors::Tiles { x: &across[TILE * from..], stride };
                kernels.accumulate(factors, Terms { x: decoded, stride: columns.len(), count }, &mut tile);
            }
        });
    }

    /// Adds to the gradients by what A makes of the input those by products with some rows, which are across.
    fn back_to_low(&mut self, ops: &mut Ops, lora: &Lora, pair: &Pair, rows: Range<usize>) {
        let (kernels, across, rank, count) = (ops.kernels(), &self.across, pair.rank, rows.len());
        let b = &lora.b(pair)[rows.start..];
        let tiles = Chunks::new(&mut self.by_low[..ops.tokens.div_ceil(TILE) * TILE * rank], TILE * rank);
        ops.team().for_each(tiles, |tile, by_low| {
            let factors = Factors::Rows { x: b, stride: pair.b_stride() };
            let terms = Terms { x: &across[tile * TILE * count..], stride: TILE, count };
            kernels.accumulate(factors, terms, &mut Matrix::new(by_low, TILE).tile(0..TILE));
        });
    }

    /// Adds the gradients by a matrix's change, from those by its products with `x`, part by part, and by what A makes of that.
    fn change<'a, 'b: 'a>(
        &mut self,
        ops: &mut Ops,
        lora: &mut Lora,
        pair: &Pair,
        x: &Hidden,
        parts: impl Iterator<Item = (Range<usize>, &'a &'b Hidden)>,
    ) {
        let Some(panels) = lora.adapter().pair(pair.linear).map(|pair| &pair.a) else { return };
        let (kernels, tokens, low, by_low) = (ops.kernels(), ops.tokens, &mut self.low, &self.by_low);
        let (stride, width) = (low.stride, panels.padded_rows());
        let runs = Chunks::new(&mut low.x[..tokens * stride], TILE * stride);
        ops.team().for_each(runs, |run, low| {
            let first = TILE * run;
            let x = x.floats(first..first + low.len() / stride);
            let product =
                Product { panels: panels.panels(0, width), k: panels.k(), x, output: Output::Replace };
            kernels.matmul(panels.ty(), &product, &mut [], &mut Matrix::new(low, stride).tile(0..width));
            low.iter_mut().for_each(|x| *x *= pair.scale);
        });
        let Some((by_a, by_b)) = lora.gradients_mut(pair.linear) else { return };
        for (rows, dy) in parts {
            let columns = rows.start..rows.end.next_multiple_of(ROWS);
            let by_b = Matrix::new(&mut *by_b, pair.b_stride()).columns_of(columns.clone(), STRIP);
            ops.team().for_each(by_b, |_, mut tile| {
                let factors = Factors::Columns { x: &low.x, stride: low.stride };
                let from = tile.columns().start - columns.start;
                let terms = Terms { x: &dy.x[from..], stride: dy.stride, count: tokens };
                kernels.accumulate(factors, terms, &mut tile);
            });
        }
        let by_a = Matrix::new(by_a, pair.a_stride()).columns(pair.a_stride(), STRIP);
        ops.team().for_each(by_a, |_, mut tile| {
            let mut first = 0;
            let from = tile.columns().start;
            for by_low in by_low.chunks(TILE * pair.rank) {
                let count = TILE.min(tokens - first);
                let factors = Factors::Rows { x: by_low, stride: TILE };
                let terms = Terms { x: &x.x[first * x.stride + from..], stride: x.stride, count };
                kernels.accumulate(factors, terms, &mut tile);
                first += count;
                if first == tokens {
                    break;
                }
            }
        });
    }

    /// Adds to the gradients by the input those by what A makes of it.
    fn back_through_a(&mut self, ops: &mut Ops, lora: &Lora, pair: &Pair, dx: &mut Hidden) {
        let (kernels, tokens, by_low) = (ops.kernels(), ops.tokens, &self.by_low);
        let tiles = dx.matrix(tokens).columns(pair.a_stride(), STRIP);
        ops.team().for_each(tiles, |_, mut tile| {
            let factors = Factors::Tiles { x: by_low, stride: TILE * pair.rank };
            let a = &lora.a(pair)[tile.columns().start..];
            kernels.accumulate(factors, Terms { x: a, stride: pair.a_stride(), count: pair.rank }, &mut tile);
        });
    }
}
