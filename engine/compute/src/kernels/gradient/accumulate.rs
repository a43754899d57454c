use crate::arena::Tile;
use crate::kernels::Kernels;
use crate::lanes::{Lanes, Op, Tier, unroll};

/// Rows of the output whose factors stand together in [`Factors::Tiles`].
pub const TILE: usize = 16;

/// The factors that terms are multiplied with: one for each row of the output and each term.
#[derive(Clone, Copy)]
pub enum Factors<'a> {
    /// A row of factors for each row of the output, every `stride` numbers.
    Rows {
        /// The first row begins here.
        x: &'a [f32],
        /// Numbers from one row to the next.
        stride: usize,
    },
    /// A column of factors for each row of the output: a row of them, every `stride` numbers, for each term.
    Columns {
        /// The first column begins here.
        x: &'a [f32],
        /// Numbers from one term to the next.
        stride: usize,
    },
    /// Of each [`TILE`] rows of the output, one after the other, the columns: as [`across`] puts them.
    Tiles {
        /// `[tile][term][row of the tile]`
        x: &'a [f32],
        /// Numbers from one tile to the next.
        stride: usize,
    },
}

/// Puts `columns` of some rows, every `stride` numbers, one after the other: each number's of all rows together, those of a tile of
/// [`TILE`] rows; what is missing of them stays as it is in `to`.
pub fn across(rows: &[f32], stride: usize, columns: std::ops::Range<usize>, to: &mut [f32]) {
    let (tiles, _) = to.as_chunks_mut::<TILE>();
    // So many of a row that they stay near, with those of all other rows.
    const TOGETHER: usize = 16;
    for (start, to) in (columns.start..columns.end).step_by(TOGETHER).zip(tiles.chunks_mut(TOGETHER)) {
        for (row, numbers) in rows.chunks(stride).enumerate().take(TILE) {
            for (to, number) in to.iter_mut().zip(&numbers[start..columns.end]) {
                to[row] = *number;
            }
        }
    }
}

/// Rows that are added up: one for each term.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// The first row begins here. Each is as long as a row of the output.
    pub x: &'a [f32],
    /// Numbers from one row to the next.
    pub stride: usize,
    /// How many there are.
    pub count: usize,
}

impl Kernels {
    /// `out[m] += Σ factors[m][i] · terms[i]`, one after the other, for each row m of `out`, whose columns are a multiple of 16.
    ///
    /// # Panics
    /// Where there are fewer factors or terms than that.
    pub fn accumulate(self, factors: Factors<'_>, terms: Terms<'_>, out: &mut Tile<'_>) {
        let (rows, columns, count) = (out.rows().len(), out.columns().len(), terms.count);
        if rows == 0 || columns == 0 || count == 0 {
            return;
        }
        let (there, wanted) = match factors {
            Factors::Rows { x, stride } => (x.len(), (rows - 1) * stride + count),
            Factors::Columns { x, stride } => (x.len(), (count - 1) * stride + rows),
            Factors::Tiles { x, stride } => {
                (x.len(), (rows - 1) / TILE * stride + (count - 1) * TILE + rows % TILE)
            }
        };
        assert!(there >= wanted, "{there} factors, expected {wanted}");
        let wanted = (count - 1) * terms.stride + columns;
        assert!(terms.x.len() >= wanted, "{} numbers of terms, expected {wanted}", terms.x.len());
        self.run(Accumulate { factors, terms, out });
    }
}

impl Kernels {
    /// The sum of the products of two vectors, whose length is a multiple of 16.
    pub fn dot(self, x: &[f32], y: &[f32]) -> f32 {
        self.run(Dot { x, y })
    }
}

struct Dot<'a> {
    x: &'a [f32],
    y: &'a [f32],
}

impl Op for Dot<'_> {
    type Out = f32;

    #[inline(always)]
    fn run<L: Tier>(self, l: L) -> f32 {
        let mut sum = l.splat(0.0);
        for (x, y) in self.x.as_chunks().0.iter().zip(self.y.as_chunks().0) {
            sum = l.fma(l.load(x), l.load(y), sum);
        }
        l.fold_add(sum)
    }
}

struct Accumulate<'a, 'p> {
    factors: Factors<'a>,
    terms: Terms<'a>,
    out: &'a mut Tile<'p>,
}

impl Op for Accumulate<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Tier>(self, l: L) {
        let Self { factors, terms, out } = self;
        let vectors = out.columns().len() / 16;
        let mut first = 0;
        while first < vectors {
            let two = L::EIGHT && vectors - first >= 2;
            match factors {
                Factors::Rows { x, stride } => {
                    strips(l, ByRows { x, stride, count: terms.count }, terms, (first, two), out);
                }
                Factors::Columns { x, stride } => {
                    strips(l, ByColumns { x, stride }, terms, (first, two), out)
                }
                Factors::Tiles { x, stride } => strips(l, ByTiles { x, stride }, terms, (first, two), out),
            }
            first += if two { 2 } else { 1 };
        }
    }
}

/// Where the factors of some rows of the output are.
trait Source: Copy {
    /// The factors of `T` rows from the `row`-th on, term after term.
    fn of<const T: usize>(self, row: usize) -> impl Iterator<Item = [f32; T]>;
}

#[derive(Clone, Copy)]
struct ByRows<'a> {
    x: &'a [f32],
    stride: usize,
    count: usize,
}

impl Source for ByRows<'_> {
    #[inline(always)]
    fn of<const T: usize>(self, row: usize) -> impl Iterator<Item = [f32; T]> {
        let mut rows: [&[f32]; T] = [&[]; T];
        unroll!(t < T => { rows[t] = &self.x[(row + t) * self.stride..][..self.count]; });
        (0..self.count).map(
            #[inline(always)]
            move |term| {
                let mut factors = [0.0; T];
                unroll!(t < T => { factors[t] = rows[t][term]; });
                factors
            },
        )
    }
}

#[derive(Clone, Copy)]
struct ByColumns<'a> {
    x: &'a [f32],
    stride: usize,
}

impl Source for ByColumns<'_> {
    #[inline(always)]
    fn of<const T: usize>(self, row: usize) -> impl Iterator<Item = [f32; T]> {
        self.x[row..].chunks(self.stride).map_while(
            #[inline(always)]
            |numbers| numbers.first_chunk().copied(),
        )
    }
}

#[derive(Clone, Copy)]
struct ByTiles<'a> {
    x: &'a [f32],
    stride: usize,
}

impl Source for ByTiles<'_> {
    #[inline(always)]
    fn of<const T: usize>(self, row: usize) -> impl Iterator<Item = [f32; T]> {
        let columns = ByColumns { x: &self.x[row / TILE * self.stride..], stride: TILE };
        columns.of(row % TILE)
    }
}

/// A strip of one or two vectors of all rows of the output.
#[inline(always)]
fn strips<L: Lanes, S: Source>(
    l: L,
    factors: S,
    terms: Terms<'_>,
    (first, two): (usize, bool),
    out: &mut Tile<'_>,
) {
    if two {
        strip::<L, S, 2>(l, factors, terms, first, out);
    } else {
        strip::<L, S, 1>(l, factors, terms, first, out);
    }
}

/// `V` vectors of all rows of the output, from the `first` on.
#[inline(always)]
fn strip<L: Lanes, S: Source, const V: usize>(
    l: L,
    factors: S,
    terms: Terms<'_>,
    first: usize,
    out: &mut Tile<'_>,
) {
    let rows = out.rows().len();
    let mut row = 0;
    while row < rows {
        let left = rows - row;
        row += if L::EIGHT && left >= 8 {
            tile::<L, S, 8, V>(l, factors, terms, (row, first), out)
        } else if L::FOUR && left >= 4 {
            tile::<L, S, 4, V>(l, factors, terms, (row, first), out)
        } else if L::TWO && left >= 2 {
            tile::<L, S, 2, V>(l, factors, terms, (row, first), out)
        } else {
            tile::<L, S, 1, V>(l, factors, terms, (row, first), out)
        };
    }
}

/// `T` rows of `V` vectors; how many rows that is.
#[inline(always)]
fn tile<L: Lanes, S: Source, const T: usize, const V: usize>(
    l: L,
    factors: S,
    terms: Terms<'_>,
    (row, first): (usize, usize),
    out: &mut Tile<'_>,
) -> usize {
    let mut acc = [[l.splat(0.0); V]; T];
    unroll!(t < T => { unroll!(v < 2 => { if v < V { acc[t][v] = l.load(out.lanes(row + t, first + v)); } }); });
    let rows = terms.x[16 * first..].chunks(terms.stride).take(terms.count);
    for (x, factors) in rows.zip(factors.of::<T>(row)) {
        let Some((x, _)) = x.as_chunks::<16>().0.split_first_chunk::<V>() else { break };
        let mut vectors = [l.splat(0.0); V];
        unroll!(v < 2 => { if v < V { vectors[v] = l.load(&x[v]); } });
        unroll!(t < T => {
            let factor = l.splat(factors[t]);
            unroll!(v < 2 => { if v < V { acc[t][v] = l.fma(vectors[v], factor, acc[t][v]); } });
        });
    }
    unroll!(t < T => { unroll!(v < 2 => { if v < V { l.store(acc[t][v], out.lanes(row + t, first + v)); } }); });
    T
}
