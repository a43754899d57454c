//! Attention's work, divided among threads: that of several tokens by KV heads and tokens, that of one token by KV
//! heads and spans of positions.

use std::ops::Range;

use super::batch::Batch;
use crate::arena::{Arena, Buf, Chunks, Matrix, OutOfMemory};
use crate::kernels::attention::{self, BLOCK, Block, HEADER, Queries, SPAN, Scoring, WIDTH};
use crate::kernels::quantize::TILE;
use crate::kernels::{Kernels, Line, Q8Block};
use crate::state::{CacheType, CacheTypes, KvStore, Placement, Segment, Slots};
use crate::team::Team;

/// Queries of a task: so many that widening keys and values hardly counts, so few that their scores stay near.
const TOGETHER: usize = 32;

/// The heads of a layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    /// A multiple of `kv_heads`.
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
}

impl Heads {
    /// Query heads that share a KV head.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// A head's numbers as the kernels want them.
    fn dims(&self) -> usize {
        self.head_dim.next_multiple_of(WIDTH)
    }

    /// Numbers of a query's part, as [`Queries::part`].
    fn part(&self) -> usize {
        HEADER + self.dims()
    }
}

/// Tokens that look at a layer's cache, which holds their own keys and values.
#[derive(Clone, Copy)]
pub(crate) struct Layer<'a> {
    pub(crate) store: &'a KvStore,
    pub(crate) placement: &'a dyn Placement,
    /// The layer's number in the store.
    pub(crate) index: usize,
    pub(crate) batch: &'a Batch,
    /// The tokens' queries: for each a row of `stride` numbers, which begins with those of all heads.
    pub(crate) queries: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) scoring: Scoring,
}

/// What attention is to have room for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Tokens of a batch.
    pub(crate) batch: usize,
    /// Segments of a batch.
    pub(crate) segments: usize,
    /// Positions of a sequence.
    pub(crate) context: usize,
}

/// Causal self-attention: each token's heads look at its own position and those before it in its sequence, as far as the
/// layer's window.
pub(crate) struct Attention {
    kernels: Kernels,
    heads: Heads,
    /// Tokens of a task, at most.
    tokens: usize,
    /// The rows of the tasks' tokens, and the number of the segment that they are of.
    tiles: Vec<Range<usize>>,
    tile_segments: Vec<usize>,
    scratch: Vec<Scratch>,
    /// What the spans come to for one token: `[KV head][span][head of the group]`.
    parts: Buf<f32>,
}

impl Attention {
    pub(crate) fn new(
        arena: &mut Arena,
        kernels: Kernels,
        threads: usize,
        heads: Heads,
        types: CacheTypes,
        room: Room,
    ) -> Result<Self, OutOfMemory> {
        let tokens = (TOGETHER / heads.group()).clamp(1, room.batch.max(1));
        let tiles = room.batch.div_ceil(tokens) + room.segments;
        let scratch =
            (0..threads).map(|_| Scratch::new(arena, heads, types, tokens)).collect::<Result<_, _>>()?;
        let parts = arena.buf(heads.heads * room.context.div_ceil(SPAN) * heads.part())?;
        let (tiles, tile_segments) = (arena.list(tiles)?, arena.list(tiles)?);
        Ok(Self { kernels, heads, tokens, tiles, tile_segments, scratch, parts })
    }

    /// `out = softmax(queries · keys) · values`, scaled and capped as [`Scoring`] says; `out` has rows as the queries have.
    pub(crate) fn attend(&mut self, team: &mut Team, layer: &Layer<'_>, out: &mut [f32]) {
        match layer.batch.tokens() {
            1 => self.one(team, layer, out),
            _ => self.several(team, layer, out),
        }
    }

    fn several(&mut self, team: &mut Team, layer: &Layer<'_>, out: &mut [f32]) {
        let (kernels, heads) = (self.kernels, self.heads);
        self.tiles.clear();
        self.tile_segments.clear();
        for (number, (rows, _)) in layer.batch.iter().enumerate() {
            for first in rows.clone().step_by(self.tokens) {
                self.tiles.push(first..(first + self.tokens).min(rows.end));
                self.tile_segments.push(number);
            }
        }
        let group = heads.group() * heads.head_dim;
        let out = Matrix::new(&mut out[..layer.batch.tokens() * layer.stride], layer.stride);
        let tiles = out.tiles(heads.heads * heads.head_dim, group, &self.tiles);
        let tile_segments = &self.tile_segments;
        team.for_each_with(&mut self.scratch, tiles, |scratch, i, mut tile| {
            let (head, tokens) = (tile.columns().start / group, tile.rows());
            let (rows, segment) = layer.batch.get(tile_segments[i % tile_segments.len()]);
            let start = segment.start + (tokens.start - rows.start);
            let work = scratch.open(kernels, heads, layer, head, tokens.clone(), start);
            let (queries, view) = (&work.queries, View::of(kernels, layer, &segment, head));
            work.sums.chunks_exact_mut(heads.part()).for_each(attention::begin);
            for span in (queries.first() / SPAN * SPAN..start + tokens.len()).step_by(SPAN) {
                view.span(queries, span, work.wide, work.scores, work.parts);
                let parts = work.parts.chunks_exact(heads.part());
                let sums = work.sums.chunks_exact_mut(heads.part());
                for (query, (sums, part)) in sums.zip(parts).enumerate() {
                    if queries.seen(query, span, SPAN) > queries.hidden(query, span, SPAN) {
                        kernels.merge(sums, part);
                    }
                }
            }
            let mut sums = work.sums.chunks_exact(heads.part());
            for token in 0..tokens.len() {
                for (out, sums) in tile.row(token).chunks_exact_mut(heads.head_dim).zip(&mut sums) {
                    kernels.finish(sums, out);
                }
            }
        });
    }

    fn one(&mut self, team: &mut Team, layer: &Layer<'_>, out: &mut [f32]) {
        let (kernels, heads) = (self.kernels, self.heads);
        let (rows, segment) = layer.batch.get(0);
        let first = (segment.start + 1).saturating_sub(layer.scoring.window) / SPAN;
        let spans = (segment.start + 1).div_ceil(SPAN) - first;
        let task = heads.group() * heads.part();
        let parts = &mut self.parts[..heads.kv_heads * spans * task];
        team.for_each_with(&mut self.scratch, Chunks::new(parts, task), |scratch, i, parts| {
            let (head, span) = (i / spans, i % spans);
            let work = scratch.open(kernels, heads, layer, head, rows.clone(), segment.start);
            let view = View::of(kernels, layer, &segment, head);
            view.span(&work.queries, (first + span) * SPAN, work.wide, work.scores, parts);
        });
        let Some(sums) = self.scratch.first_mut().map(|scratch| &mut scratch.floats[..heads.part()]) else {
            return;
        };
        let parts = self.parts.chunks_exact(task * spans);
        let out = out.chunks_exact_mut(heads.group() * heads.head_dim);
        for (out, spans) in out.zip(parts).take(heads.kv_heads) {
            for (head, out) in out.chunks_exact_mut(heads.head_dim).enumerate() {
                attention::begin(sums);
                for part in spans.chunks_exact(heads.part()).skip(head).step_by(heads.group()) {
                    kernels.merge(sums, part);
                }
                kernels.finish(sums, out);
            }
        }
    }
}

/// A KV head of a layer, as a segment's tokens see it.
struct View<'a> {
    kernels: Kernels,
    layer: &'a Layer<'a>,
    slots: Slots<'a>,
    head: usize,
}

impl<'a> View<'a> {
    fn of(kernels: Kernels, layer: &'a Layer<'a>, segment: &Segment<'a>, head: usize) -> Self {
        Self { kernels, layer, slots: layer.placement.slots(segment), head }
    }

    /// Works out the queries' parts of the span that begins at position `start`.
    fn span(
        &self,
        queries: &Queries<'_>,
        start: usize,
        wide: &mut [[Line; 32]],
        scores: &mut [[f32; SPAN]],
        parts: &mut [f32],
    ) {
        let &Self { kernels, layer: &Layer { store, index, .. }, slots: positions, head } = self;
        let end = (start + SPAN).min(queries.most());
        // A block lies in one page, and so do its slots.
        let slots = |from: usize, end: usize| {
            let slot = positions.of(from);
            slot..slot + (end.min(from + BLOCK) - from)
        };
        let keys = |from: usize| store.keys(index, head, slots(from, end));
        let values = |from: usize| store.values(index, head, slots(from, end));
        let first = start.max(queries.first() / BLOCK * BLOCK);
        for from in (first..end).step_by(BLOCK) {
            let next = if from + BLOCK < end { keys(from + BLOCK) } else { values(first) };
            let keys = Block { bytes: keys(from), start: from, next };
            kernels.scores(store.types().keys, queries, &keys, wide, scores);
        }
        kernels.softmax(queries, start, scores, parts);
        for from in (first..end).step_by(BLOCK) {
            let next = if from + BLOCK < end {
                values(from + BLOCK)
            } else if end < queries.most() {
                store.keys(index, head, slots(end, queries.most()))
            } else {
                &[]
            };
            let values = Block { bytes: values(from), start: from, next };
            kernels.weigh(store.types().values, queries, &values, wide, scores, parts);
        }
    }
}

/// A thread's own buffers.
struct Scratch {
    wide: Buf<Line>,
    /// Queries, their scores in a span, their parts of the span and of all spans before it.
    floats: Buf<f32>,
    /// The queries quantized, where keys ask for it.
    q: Buf<Q8Block>,
}

/// [`Scratch`] with the queries of a task.
struct Work<'a> {
    queries: Queries<'a>,
    wide: &'a mut [[Line; 32]],
    scores: &'a mut [[f32; SPAN]],
    parts: &'a mut [f32],
    sums: &'a mut [f32],
}

impl Scratch {
    fn new(arena: &mut Arena, heads: Heads, types: CacheTypes, tokens: usize) -> Result<Self, OutOfMemory> {
        let queries = heads.group() * tokens;
        let quantized = if types.keys == CacheType::Q8_0 { queries } else { 0 };
        Ok(Self {
            q: arena.buf(quantized * heads.dims() / WIDTH)?,
            wide: arena.buf(BLOCK * heads.dims() / 16)?,
            floats: arena.buf(queries * (heads.dims() + SPAN + 2 * heads.part()))?,
        })
    }

    /// Takes up the queries of some rows that look at KV head `head`; the first row's position is `start`.
    fn open(
        &mut self,
        kernels: Kernels,
        heads: Heads,
        layer: &Layer<'_>,
        head: usize,
        tokens: Range<usize>,
        start: usize,
    ) -> Work<'_> {
        let queries = heads.group() * tokens.len();
        let (rows, floats) = self.floats.split_at_mut(queries * heads.dims());
        let (scores, floats) = floats.split_at_mut(queries * SPAN);
        let (parts, floats) = floats.split_at_mut(queries * heads.part());
        let width = heads.group() * heads.head_dim;
        let from = layer.queries.chunks_exact(layer.stride).skip(tokens.start);
        let from =
            from.flat_map(|token| token[head * width..(head + 1) * width].chunks_exact(heads.head_dim));
        for (row, query) in rows.chunks_exact_mut(heads.dims()).zip(from) {
            let (numbers, padding) = row.split_at_mut(heads.head_dim);
            numbers.copy_from_slice(query);
            padding.fill(0.0);
        }
        let dims = heads.dims();
        let quantized = self.q.len().min(rows.len() / WIDTH);
        let q = &mut self.q[..quantized];
        for (rows, q) in rows.chunks(TILE * dims).zip(q.chunks_mut(TILE * dims / WIDTH)) {
            kernels.quantize(rows, dims, dims, q);
        }
        Work {
            queries: Queries {
                rows,
                q,
                dims: heads.dims(),
                group: heads.group(),
                seen: start + 1,
                scoring: layer.scoring,
            },
            wide: self.wide.as_chunks_mut().0,
            scores: scores.as_chunks_mut().0,
            parts,
            sums: &mut floats[..queries * heads.part()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Isa;
    use crate::state::AttentionSpec;
    use crate::state::kv_cache::InPages;
    use siskin_compute::test_data::Random;

    const TYPES: [CacheType; 3] = [CacheType::F32, CacheType::F16, CacheType::Q8_0];

    /// Where the sequence's pages are in the cache.
    const PAGES: [u32; 3] = [1, 0, 2];

    /// A sequence of one layer: for each position a row of queries, of keys and of values.
    struct Sequence {
        heads: Heads,
        scoring: Scoring,
        types: CacheTypes,
        queries: Vec<f32>,
        keys: Vec<f32>,
        values: Vec<f32>,
        store: KvStore,
    }

    impl Sequence {
        fn new(heads: Heads, types: CacheTypes, positions: usize) -> Self {
            let scoring =
                Scoring { scale: 1.0 / (heads.head_dim as f32).sqrt(), cap: None, window: usize::MAX };
            Self::scored(heads, scoring, types, positions)
        }

        fn scored(heads: Heads, scoring: Scoring, types: CacheTypes, positions: usize) -> Self {
            let mut random = Random(21);
            let kv = heads.kv_heads * heads.head_dim;
            let mut sequence = Self {
                heads,
                scoring,
                types,
                queries: random.vector(positions * heads.heads * heads.head_dim, 3.0),
                keys: random.vector(positions * kv, 2.0),
                values: random.vector(positions * kv, 2.0),
                store: KvStore::new(
                    &mut Arena::reserving(),
                    &AttentionSpec {
                        kv_heads: heads.kv_heads,
                        head_dim: heads.head_dim,
                        window: usize::MAX,
                        rope: None,
                    },
                    types,
                    1,
                    3 * SPAN,
                )
                .unwrap(),
            };
            sequence.fill();
            sequence
        }

        fn fill(&mut self) {
            let Self { heads: Heads { kv_heads, head_dim, .. }, types, keys, values, store, .. } = self;
            Team::new(1).unwrap().for_each(store.layer(0), |head, mut cache| {
                let row = |x: &[f32], i: usize| x[(i * *kv_heads + head) * *head_dim..][..*head_dim].to_vec();
                for position in 0..keys.len() / (*kv_heads * *head_dim) {
                    let (key, value) = (row(keys, position), row(values, position));
                    let slot = Slots::Pages(&PAGES).of(position);
                    types.store_at(slot, &key, &value, &mut cache);
                }
            });
        }

        fn positions(&self) -> usize {
            self.queries.len() / self.stride()
        }

        fn stride(&self) -> usize {
            self.heads.heads * self.heads.head_dim
        }

        /// Bits of what `tokens` tokens from position `start` on see, all NaN made one.
        fn attend(&self, isa: Isa, threads: usize, start: usize, tokens: usize) -> Vec<u32> {
            let mut team = Team::new(threads).unwrap();
            let room = Room { batch: tokens, segments: 1, context: self.positions() };
            let arena = &mut Arena::reserving();
            let mut attention =
                Attention::new(arena, isa.kernels(), threads, self.heads, self.types, room).unwrap();
            let stride = self.stride();
            let queries = &self.queries[start * stride..(start + tokens) * stride];
            let mut batch = Batch::new(arena, 1, PAGES.len()).unwrap();
            batch.push(Segment { sequence: 0, start, tokens, pages: &PAGES }, &[]);
            let (store, placement) = (&self.store, &InPages as &dyn Placement);
            let layer =
                Layer { store, placement, index: 0, batch: &batch, queries, stride, scoring: self.scoring };
            let mut out = vec![0.0; tokens * stride];
            attention.attend(&mut team, &layer, &mut out);
            out.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
        }

        /// The definition in double precision: what one head at one position sees.
        fn exact(&self, position: usize, head: usize) -> Vec<f64> {
            let Heads { kv_heads, head_dim, .. } = self.heads;
            let kv_head = head / self.heads.group();
            let row = |x: &'_ [f32], i: usize| -> Vec<f64> {
                x[i * head_dim..(i + 1) * head_dim].iter().map(|&x| f64::from(x)).collect()
            };
            let query = row(&self.queries, position * self.heads.heads + head);
            let dot = |key: Vec<f64>| query.iter().zip(key).map(|(q, k)| q * k).sum::<f64>();
            let Scoring { scale, cap, window } = self.scoring;
            let first = (position + 1).saturating_sub(window);
            let weight = |i| {
                let score = dot(row(&self.keys, i * kv_heads + kv_head)) * f64::from(scale);
                cap.map_or(score, |cap| (score / f64::from(cap)).tanh() * f64::from(cap)).exp()
            };
            let weights: Vec<f64> = (first..=position).map(weight).collect();
            let total: f64 = weights.iter().sum();
            let mut out = vec![0.0; head_dim];
            for (i, weight) in (first..).zip(&weights) {
                for (out, value) in out.iter_mut().zip(row(&self.values, i * kv_heads + kv_head)) {
                    *out += weight / total * value;
                }
            }
            out
        }
    }

    fn scalar() -> Isa {
        "scalar".parse().unwrap()
    }

    /// Each type of keys and each of values, and some of both together.
    fn all_types() -> impl Iterator<Item = CacheTypes> {
        let equal = TYPES.into_iter().map(CacheTypes::from);
        equal.chain([CacheTypes { keys: CacheType::Q8_0, values: CacheType::F16 }])
    }

    /// Every tier, batch and team gives the scalar tier's bits of single tokens.
    fn check_bits(sequence: &Sequence) {
        let Sequence { heads, scoring, types, .. } = sequence;
        for start in [0, 50, SPAN - 5, 2 * SPAN - 1] {
            let single = |i| sequence.attend(scalar(), 1, start + i, 1);
            let expected: Vec<u32> = (0..13).flat_map(single).collect();
            for isa in Isa::available() {
                for (tokens, threads) in [(1, 2), (3, 1), (13, 2)] {
                    let found = sequence.attend(isa, threads, start, tokens);
                    assert!(
                        found == expected[..found.len()],
                        "{isa} {types:?} {heads:?} {scoring:?}: {tokens} tokens from {start}, {threads} threads"
                    );
                }
            }
        }
    }

    #[test]
    fn every_tier_batch_and_team_gives_the_scalar_tier_s_bits_of_single_tokens() {
        for types in all_types() {
            for (kv_heads, group, head_dim) in [(1, 1, 64), (2, 4, 64), (1, 7, 24), (1, 11, 80)] {
                let heads = Heads { heads: kv_heads * group, kv_heads, head_dim };
                check_bits(&Sequence::new(heads, types, 2 * SPAN + 70));
            }
        }
    }

    #[test]
    fn windows_and_caps_give_the_same_bits_everywhere() {
        let heads = Heads { heads: 8, kv_heads: 2, head_dim: 64 };
        for types in all_types() {
            for window in [1, 5, 64, 100, SPAN, SPAN + 30] {
                let scoring = Scoring { scale: 0.3, cap: Some(4.0), window };
                check_bits(&Sequence::scored(heads, scoring, types, 2 * SPAN + 70));
            }
        }
    }

    #[test]
    fn windows_hide_what_is_behind_them_and_caps_bound_scores() {
        for (cap, window) in [(None, 1), (None, 40), (Some(2.0), usize::MAX), (Some(2.0), SPAN + 3)] {
            let heads = Heads { heads: 4, kv_heads: 2, head_dim: 64 };
            let scoring = Scoring { scale: 0.2, cap, window };
            let sequence = Sequence::scored(heads, scoring, CacheType::F32.into(), 2 * SPAN + 70);
            for position in [0, 1, 39, 40, 63, 64, SPAN - 1, SPAN, SPAN + 2, SPAN + 3, 2 * SPAN + 69] {
                let out = sequence.attend(scalar(), 1, position, 1);
                for (head, out) in out.chunks(64).enumerate() {
                    for (out, exact) in out.iter().zip(sequence.exact(position, head)) {
                        let error = (f64::from(f32::from_bits(*out)) - exact).abs();
                        assert!(error < 1e-5, "{scoring:?} {position}: {error:e}");
                    }
                }
            }
        }
    }

    #[test]
    fn attention_is_softmax_of_scores_times_values() {
        // Errors of the cache's numbers, of −2 to 2, in the values and, through the scores, in the weights.
        for (ty, tolerance) in [(CacheType::F32, 1e-5), (CacheType::F16, 3e-3), (CacheType::Q8_0, 4e-2)] {
            for head_dim in [64, 24, 80, 512] {
                let heads = Heads { heads: 4, kv_heads: 2, head_dim };
                let sequence = Sequence::new(heads, ty.into(), 2 * SPAN + 70);
                for position in [0, 1, 15, 16, 62, 63, 64, SPAN - 1, SPAN, 2 * SPAN + 69] {
                    let out = sequence.attend(scalar(), 1, position, 1);
                    for (head, out) in out.chunks(head_dim).enumerate() {
                        for (out, exact) in out.iter().zip(sequence.exact(position, head)) {
                            let error = (f64::from(f32::from_bits(*out)) - exact).abs();
                            assert!(error < tolerance, "{ty:?} {head_dim} {position}: {error:e}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_lies_beyond_a_token_does_not_reach_it() {
        let heads = Heads { heads: 4, kv_heads: 1, head_dim: 64 };
        for types in all_types() {
            let mut sequence = Sequence::new(heads, types, SPAN + 64);
            for position in [3, 60, SPAN - 1, SPAN, SPAN + 40] {
                let before: Vec<_> =
                    Isa::available().map(|isa| sequence.attend(isa, 1, position - 3, 4)).collect();
                let (keys, values) = (sequence.keys.clone(), sequence.values.clone());
                sequence.keys[(position + 1) * 64..].fill(f32::NAN);
                sequence.values[(position + 1) * 64..].fill(f32::INFINITY);
                sequence.fill();
                for (isa, before) in Isa::available().zip(before) {
                    let tokens = 7.min(sequence.positions() - position + 3);
                    let after = sequence.attend(isa, 1, position - 3, tokens);
                    assert!(after[..before.len()] == before, "{isa} {types:?} {position}");
                    let beyond = &after[before.len()..];
                    assert!(beyond.iter().all(|&bits| f32::from_bits(bits).is_nan()), "{isa} {types:?}");
                }
                (sequence.keys, sequence.values) = (keys, values);
                sequence.fill();
            }
        }
    }
}
