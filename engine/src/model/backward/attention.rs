use std::ops::Range;

use crate::arena::{Arena, Buf, Matrix, OutOfMemory};
use crate::kernels::attention::Scoring;
use crate::kernels::gradient::{Factors, Probabilities, Terms};
use crate::kernels::{Kernels, rope};
use crate::model::config::Config;
use crate::model::context::ContextOptions;
use crate::model::hidden::Hidden;
use crate::model::network::Network;
use crate::model::ops::{Ops, Shared};

const LANES: usize = 16;

/// Queries whose probabilities are at hand at a time.
const QUERIES: usize = 32;

/// Goes back through attention, whose sequences lie in the batch as a whole: a task is a KV head of a sequence.
pub(super) struct AttentionGradient {
    scratch: Vec<Scratch>,
    /// The rows of the batch's sequences.
    runs: Vec<Range<usize>>,
}

/// A thread's own buffers, rows of positions padded to a multiple of 16, rows of a head's numbers likewise.
struct Scratch {
    /// Keys as `[position][number]` and `[number][position]`, values as `[number][position]`.
    keys: Buf<f32>,
    keys_across: Buf<f32>,
    values_across: Buf<f32>,
    /// Gradients by keys and values: `[position][number]`.
    by_keys: Buf<f32>,
    by_values: Buf<f32>,
    /// Of some queries: their numbers, the gradients by what they give and by themselves.
    queries: Buf<f32>,
    by_outputs: Buf<f32>,
    by_queries: Buf<f32>,
    /// `[query][position]`: probabilities, what they are changed by, gradients by them.
    probabilities: Buf<f32>,
    slopes: Buf<f32>,
    by_probabilities: Buf<f32>,
    /// What turns heads back.
    turns: Buf<f32>,
}

/// What attention had, and the gradients by what it gave.
pub(super) struct Attended<'a> {
    /// Turned by their positions.
    pub(super) queries: &'a Hidden,
    pub(super) keys: &'a Hidden,
    pub(super) values: &'a Hidden,
    pub(super) by_output: &'a Hidden,
}

impl AttentionGradient {
    /// Room for sequences and batches of a context with these options.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(super) fn new(
        arena: &mut Arena,
        network: &Network,
        options: &ContextOptions,
    ) -> Result<Self, OutOfMemory> {
        let positions = options.context.min(options.batch).next_multiple_of(LANES);
        let dims = network.config().head_dim.next_multiple_of(LANES);
        let turns = network.ropes().iter().map(|rope| rope.len()).max().unwrap_or(0);
        let mut scratch = || {
            Ok(Scratch {
                keys: arena.buf(positions * dims)?,
                keys_across: arena.buf(positions * dims)?,
                values_across: arena.buf(positions * dims)?,
                by_keys: arena.buf(positions * dims)?,
                by_values: arena.buf(positions * dims)?,
                queries: arena.buf(QUERIES * dims)?,
                by_outputs: arena.buf(QUERIES * dims)?,
                by_queries: arena.buf(QUERIES * dims)?,
                probabilities: arena.buf(QUERIES * positions)?,
                slopes: arena.buf(QUERIES * positions)?,
                by_probabilities: arena.buf(QUERIES * positions)?,
                turns: arena.buf(turns)?,
            })
        };
        let scratch = (0..options.threads).map(|_| scratch()).collect::<Result<_, _>>()?;
        Ok(Self { scratch, runs: arena.list(options.sequences)? })
    }

    /// The gradients by queries and keys before they were turned, with the RoPE table of this number, and by values.
    pub(super) fn back(
        &mut self,
        ops: &mut Ops,
        config: &Config,
        (scoring, table): (Scoring, Option<usize>),
        attended: &Attended<'_>,
        [by_queries, by_keys, by_values]: [&mut Hidden; 3],
    ) {
        let &Config { heads, kv_heads, head_dim: dim, .. } = config;
        let (tokens, Shared { kernels, team, batch, turns }) = (ops.tokens, ops.shared());
        self.runs.clear();
        self.runs.extend(batch.iter().map(|(rows, _)| rows));
        let runs = &self.runs;
        let group = heads / kv_heads;
        let tiles = (
            (
                by_queries.matrix(tokens).tiles(heads * dim, group * dim, runs),
                by_keys.matrix(tokens).tiles(kv_heads * dim, dim, runs),
            ),
            by_values.matrix(tokens).tiles(kv_heads * dim, dim, runs),
        );
        team.for_each_with(
            &mut self.scratch,
            tiles,
            |scratch, number, ((mut by_queries, mut by_keys), mut by_values)| {
                let (head, rows) = (number / runs.len(), runs[number % runs.len()].clone());
                let of = Head { kernels, scoring, dim, len: rows.len() };
                scratch.take(attended, rows.clone(), head * dim..(head + 1) * dim);
                scratch.by_keys[..of.positions() * of.dims()].fill(0.0);
                scratch.by_values[..of.positions() * of.dims()].fill(0.0);
                for query_head in head * group..(head + 1) * group {
                    let columns = query_head * dim..(query_head + 1) * dim;
                    let in_tile = columns.start - head * group * dim..columns.end - head * group * dim;
                    for first in (0..rows.len()).step_by(QUERIES) {
                        let queries = first..rows.len().min(first + QUERIES);
                        let rows = rows.start + queries.start..rows.start + queries.end;
                        scratch.open(attended, rows, columns.clone());
                        scratch.back(&of, queries.clone());
                        for (row, by) in queries.zip(scratch.by_queries.chunks_exact(of.dims())) {
                            by_queries.row(row)[in_tile.clone()].copy_from_slice(&by[..dim]);
                        }
                    }
                }
                let by =
                    scratch.by_keys.chunks_exact(of.dims()).zip(scratch.by_values.chunks_exact(of.dims()));
                for (row, (by_key, by_value)) in (0..rows.len()).zip(by) {
                    by_keys.row(row).copy_from_slice(&by_key[..dim]);
                    by_values.row(row).copy_from_slice(&by_value[..dim]);
                    if let Some((pairs, numbers)) = table.map(|table| turns.of(table, rows.start + row)) {
                        let back = &mut scratch.turns[..numbers.len()];
                        back.copy_from_slice(numbers);
                        rope::reverse(back);
                        kernels.rotate(pairs, by_keys.row(row), back);
                        let heads = by_queries.row(row).chunks_exact_mut(dim);
                        heads.for_each(|head| kernels.rotate(pairs, head, back));
                    }
                }
            },
        );
    }
}

/// A KV head of a sequence.
struct Head {
    kernels: Kernels,
    scoring: Scoring,
    /// Numbers of the head, and positions of the sequence.
    dim: usize,
    len: usize,
}

impl Head {
    /// Both with their padding.
    fn dims(&self) -> usize {
        self.dim.next_multiple_of(LANES)
    }

    fn positions(&self) -> usize {
        self.len.next_multiple_of(LANES)
    }
}

impl Scratch {
    /// Takes up the keys and values of a sequence's head: these columns of these rows.
    fn take(&mut self, attended: &Attended<'_>, rows: Range<usize>, columns: Range<usize>) {
        let (positions, dims) = (rows.len().next_multiple_of(LANES), columns.len().next_multiple_of(LANES));
        self.keys_across[..columns.len() * positions].fill(0.0);
        self.values_across[..columns.len() * positions].fill(0.0);
        for ((position, row), to) in rows.enumerate().zip(self.keys.chunks_exact_mut(dims)) {
            let (key, value) =
                (&attended.keys.row(row)[columns.clone()], &attended.values.row(row)[columns.clone()]);
            to[..key.len()].copy_from_slice(key);
            to[key.len()..].fill(0.0);
            let across = self
                .keys_across
                .chunks_exact_mut(positions)
                .zip(self.values_across.chunks_exact_mut(positions));
            for ((keys, values), (key, value)) in across.zip(key.iter().zip(value)) {
                keys[position] = *key;
                values[position] = *value;
            }
        }
    }

    /// Takes up some queries and the gradients by what they give: these columns of these rows.
    fn open(&mut self, attended: &Attended<'_>, rows: Range<usize>, columns: Range<usize>) {
        let dims = columns.len().next_multiple_of(LANES);
        for (to, from) in [(&mut self.queries, attended.queries), (&mut self.by_outputs, attended.by_output)]
        {
            for (to, row) in to.chunks_exact_mut(dims).zip(rows.clone()) {
                to[..columns.len()].copy_from_slice(&from.row(row)[columns.clone()]);
                to[columns.len()..].fill(0.0);
            }
        }
    }

    /// The gradients by the queries that were taken up, which are at these positions; those by keys and values are added to.
    fn back(&mut self, of: &Head, queries: Range<usize>) {
        let &Head { kernels, scoring, dim, len } = of;
        let (dims, count) = (of.dims(), queries.len());
        // Positions that these queries look at.
        let from = (queries.start + 1).saturating_sub(scoring.window) / LANES * LANES;
        let to = queries.end.next_multiple_of(LANES);
        let seen = to - from;
        let Self { queries: q, by_outputs, probabilities, slopes, by_probabilities, .. } = self;
        let [probabilities, slopes, by_probabilities] =
            [probabilities, slopes, by_probabilities].map(|x| &mut x[..count * seen]);

        // Queries times keys, and gradients by outputs times values.
        let products = [
            (&*q, &self.keys_across, &mut *probabilities),
            (&*by_outputs, &self.values_across, &mut *by_probabilities),
        ];
        for (rows, across, out) in products {
            out.fill(0.0);
            let terms = Terms { x: &across[from..], stride: of.positions(), count: dim };
            let mut tile = Matrix::new(out, seen).tile(0..seen);
            kernels.accumulate(Factors::Rows { x: rows, stride: dims }, terms, &mut tile);
        }
        let of_each = probabilities.chunks_exact_mut(seen).zip(slopes.chunks_exact_mut(seen));
        for ((position, by), (scores, slopes)) in
            queries.zip(by_probabilities.chunks_exact_mut(seen)).zip(of_each)
        {
            let first = (position + 1).saturating_sub(scoring.window);
            let seen = first - from..position + 1 - from;
            kernels.probabilities(Probabilities { scores: &mut *scores, seen, scoring }, slopes);
            kernels.probabilities_gradient(scores, slopes, by);
        }

        let by_queries = &mut self.by_queries[..count * dims];
        by_queries.fill(0.0);
        let keys = Terms { x: &self.keys[from * dims..], stride: dims, count: len.min(to) - from };
        let mut tile = Matrix::new(by_queries, dims).tile(0..dims);
        kernels.accumulate(Factors::Rows { x: by_probabilities, stride: seen }, keys, &mut tile);
        let of_positions = [
            (&*by_probabilities, &*q, &mut self.by_keys),
            (&*probabilities, &*by_outputs, &mut self.by_values),
        ];
        for (x, rows, out) in of_positions {
            let mut tile = Matrix::new(&mut out[from * dims..to * dims], dims).tile(0..dims);
            let terms = Terms { x: rows, stride: dims, count };
            kernels.accumulate(Factors::Columns { x, stride: seen }, terms, &mut tile);
        }
    }
}
