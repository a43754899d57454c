//! Softmax(queries · keys) · values, in spans of positions that are worked out alone and merged in their order.

mod cache_type;
mod element;
mod scores;
mod softmax;
mod weigh;

pub use cache_type::CacheType;
use element::Element;
pub use element::WIDTH;
pub use softmax::begin;

use super::Line;
use crate::lanes::Lanes;
use crate::q8::Q8Block;

/// Positions whose softmax is worked out on its own: a fixed grid from the start of the context, so that the result
/// does not depend on how the prompt was cut, or on who works on which span.
pub const SPAN: usize = 256;
/// Positions that are looked at in one call, four panels.
pub const BLOCK: usize = 64;
/// Numbers before the sums of a part.
pub const HEADER: usize = 16;

/// Queries that look at one KV head: `group` heads of each of some consecutive tokens.
#[derive(Clone, Copy)]
pub struct Queries<'a> {
    /// `[token][head of the group][dims]`
    pub rows: &'a [f32],
    /// The same quantized, in tiles as products want them; for keys in Q8_0 alone.
    pub q: &'a [Q8Block],
    /// The head's numbers rounded up to [`WIDTH`]; those beyond are zero.
    pub dims: usize,
    /// Heads that share the KV head.
    pub group: usize,
    /// Positions that the first token looks at: its own and all before it.
    pub seen: usize,
    /// How keys are scored.
    pub scoring: Scoring,
}

/// How a query scores keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scoring {
    /// What the dot product of query and key is multiplied by.
    pub scale: f32,
    /// Scores s become tanh(s / cap) · cap (Gemma 2: arXiv 2408.00118).
    pub cap: Option<f32>,
    /// Positions that a token sees at most: its own and those next before it (Beltagy et al. 2020, arXiv 2004.05150).
    /// At least 1; `usize::MAX` for all.
    pub window: usize,
}

impl Queries<'_> {
    /// How many queries there are.
    #[allow(clippy::len_without_is_empty)] // There is always one.
    pub fn len(&self) -> usize {
        self.rows.len() / self.dims
    }

    /// How many of `most` positions from `start` on a query looks at.
    #[inline(always)]
    pub fn seen(&self, query: usize, start: usize, most: usize) -> usize {
        (self.seen + query / self.group).saturating_sub(start).min(most)
    }

    /// How many of those at the front are behind the query's window.
    #[inline(always)]
    pub fn hidden(&self, query: usize, start: usize, most: usize) -> usize {
        let first = (self.seen + query / self.group).saturating_sub(self.scoring.window);
        first.saturating_sub(start).min(most)
    }

    /// The first position that the first token looks at.
    pub fn first(&self) -> usize {
        self.seen.saturating_sub(self.scoring.window)
    }

    /// How many positions the last token looks at, those behind its window among them.
    pub fn most(&self) -> usize {
        self.seen + (self.len() - 1) / self.group
    }

    /// Numbers of a part: the maximum of the scores, the sum of the weights, what is left of [`HEADER`], and the
    /// weighted sums of values.
    pub fn part(&self) -> usize {
        HEADER + self.dims
    }
}

/// Keys or values of one KV head.
#[derive(Clone, Copy)]
pub struct Block<'a> {
    /// An even number of panels of 16 positions, up to [`BLOCK`] positions: `[panel][block of an Element]`.
    pub bytes: &'a [u8],
    /// The first one's position, a multiple of [`BLOCK`].
    pub start: usize,
    /// What is read next, to be on its way meanwhile.
    pub next: &'a [u8],
}

impl<'a> Block<'a> {
    /// The lines of [`Block::next`], a share for each block of an Element.
    #[inline(always)]
    fn next<E: Element>(&self) -> Next<'a> {
        let lines = self.next.as_chunks().0;
        Next(lines.chunks(lines.len().div_ceil(E::blocks(self.bytes).len().max(1)).max(1)))
    }
}

/// Lines to ask for, in shares.
struct Next<'a>(std::slice::Chunks<'a, Line>);

impl Next<'_> {
    /// Asks for as many shares.
    #[inline(always)]
    fn prefetch<L: Lanes>(&mut self, l: L, shares: usize) {
        self.0.by_ref().take(shares).flatten().for_each(|line| l.prefetch(line));
    }
}

/// As many queries at a time as the registers hold accumulators for beside a vector that they share, and how many
/// vectors at a time: `$run` is called with the first query, their number and the vectors.
macro_rules! tiles {
    ($lanes:ident, $queries:expr, $first:ident => $run:ident::<_, $element:ty>($($argument:expr),*)) => {{
        let mut $first = 0;
        while $first < $queries {
            $first += match $queries - $first {
                1.. if !$lanes::UNROLL => { $run::<_, $element, 1, 2>($($argument),*); 1 }
                8.. if $lanes::EIGHT => { $run::<_, $element, 8, 2>($($argument),*); 8 }
                4.. => { $run::<_, $element, 4, 1>($($argument),*); 4 }
                2.. => { $run::<_, $element, 2, 2>($($argument),*); 2 }
                _ => { $run::<_, $element, 1, 2>($($argument),*); 1 }
            };
        }
    }};
}

/// Whether so many queries are more than one tile.
fn several<L: Lanes>(queries: usize) -> bool {
    queries > if L::EIGHT { 8 } else { 4 }
}
use tiles;
