use std::ops::Range;

use crate::arena::{Arena, Buf, OutOfMemory};
use crate::kernels::Kernels;
use crate::kernels::gradient::AdamW;
use crate::model::network::Network;
use crate::model::{Adapter, Linear, LinearId};

/// Multiples that rows of numbers are padded to: the lanes of the machine.
const LANES: usize = 16;

/// A matrix that is to be changed, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) linear: LinearId,
    pub(crate) rank: usize,
    /// What alpha and the rank come to.
    pub(crate) scale: f32,
}

/// The numbers of an adapter that is trained, with their gradients: for each matrix A, `[rank][number of the row]`, then B across,
/// `[rank][row]`, each padded with zeros to a multiple of 16.
pub(crate) struct Lora {
    /// By [`LinearId::number`] of the matrix.
    pairs: Vec<Option<Pair>>,
    numbers: Buf<f32>,
    gradients: Buf<f32>,
    /// The optimizer's: means of the gradients, and of their squares.
    means: Buf<f32>,
    squares: Buf<f32>,
    /// Steps that were taken.
    steps: u32,
    /// The same numbers as forward passes read them.
    adapter: Adapter,
    /// The first layer with a matrix that is changed; behind the last one where there is none.
    first_layer: usize,
}

/// Where the numbers of a matrix's change are.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) linear: LinearId,
    pub(crate) rank: usize,
    pub(crate) scale: f32,
    /// Numbers of a row of the matrix.
    pub(crate) row_len: usize,
    pub(crate) rows: usize,
    a: Range<usize>,
    b: Range<usize>,
}

impl Pair {
    /// Numbers from one row of A to the next.
    pub(crate) fn a_stride(&self) -> usize {
        self.row_len.next_multiple_of(LANES)
    }

    /// Numbers from one column of B to the next.
    pub(crate) fn b_stride(&self) -> usize {
        self.rows.next_multiple_of(LANES)
    }

    /// Numbers like those of A and B as they are here become those of their rows, one after the other.
    pub(crate) fn to_rows(&self, a: &[f32], b: &[f32]) -> [Vec<f32>; 2] {
        let rows = a.chunks_exact(self.a_stride()).flat_map(|row| &row[..self.row_len]);
        let columns = |row| b.chunks_exact(self.b_stride()).map(move |column| column[row]);
        [rows.copied().collect(), (0..self.rows).flat_map(columns).collect()]
    }

    /// Sets numbers as they are here to those of the rows of A and B.
    pub(crate) fn set_rows(&self, (a, b): (&[f32], &[f32]), (to_a, to_b): (&mut [f32], &mut [f32])) {
        for (to, row) in to_a.chunks_exact_mut(self.a_stride()).zip(a.chunks_exact(self.row_len)) {
            to[..row.len()].copy_from_slice(row);
        }
        for (column, to) in to_b.chunks_exact_mut(self.b_stride()).enumerate() {
            let numbers = b.iter().skip(column).step_by(self.rank);
            to.iter_mut().zip(numbers).for_each(|(to, number)| *to = *number);
        }
    }
}

impl Lora {
    /// Changes of these matrices, all numbers 0.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn new(arena: &mut Arena, network: &Network, targets: &[Target]) -> Result<Self, OutOfMemory> {
        let mut pairs: Vec<Option<Pair>> = Vec::new();
        let mut end = 0;
        for Linear { id, weight, .. } in network.linears() {
            let Some(&Target { rank, scale, .. }) = targets.iter().find(|target| target.linear == *id) else {
                continue;
            };
            let (row_len, rows) = (weight.k(), weight.rows());
            let a = end..end + rank * row_len.next_multiple_of(LANES);
            let b = a.end..a.end + rank * rows.next_multiple_of(LANES);
            end = b.end;
            pairs.resize(id.number() + 1, None);
            pairs[id.number()] = Some(Pair { linear: *id, rank, scale, row_len, rows, a, b });
        }
        let of = |linear: &LinearId| pairs.get(linear.number()).is_some_and(Option::is_some);
        let changed = network.layers().position(|(layer, _)| layer.linears().any(|linear| of(&linear)));
        let first_layer = changed.unwrap_or(network.layers().len());
        let adapter = Adapter::of_zeros(arena, "the adapter in training", changes(&pairs, network))?;
        let mut numbers = || arena.buf(end);
        let (numbers, gradients, means, squares) = (numbers()?, numbers()?, numbers()?, numbers()?);
        Ok(Self { pairs, numbers, gradients, means, squares, steps: 0, adapter, first_layer })
    }

    /// The adapter as forward passes read it.
    pub(crate) fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// Where the change of a matrix is.
    pub(crate) fn pair(&self, linear: LinearId) -> Option<&Pair> {
        self.pairs.get(linear.number())?.as_ref()
    }

    /// A of a pair.
    pub(crate) fn a(&self, pair: &Pair) -> &[f32] {
        &self.numbers[pair.a.clone()]
    }

    /// B of a pair.
    pub(crate) fn b(&self, pair: &Pair) -> &[f32] {
        &self.numbers[pair.b.clone()]
    }

    pub(crate) fn numbers_mut(&mut self, linear: LinearId) -> Option<(&Pair, &mut [f32], &mut [f32])> {
        let pair = self.pairs.get(linear.number())?.as_ref()?;
        let (a, b) = self.numbers[pair.a.start..pair.b.end].split_at_mut(pair.a.len());
        Some((pair, a, b))
    }

    /// The gradients of A and B of a pair.
    pub(crate) fn gradients_mut(&mut self, linear: LinearId) -> Option<(&mut [f32], &mut [f32])> {
        let pair = self.pairs.get(linear.number())?.as_ref()?;
        Some(self.gradients[pair.a.start..pair.b.end].split_at_mut(pair.a.len()))
    }

    pub(super) fn first_layer(&self) -> usize {
        self.first_layer
    }

    /// The length of all gradients together, as one vector.
    pub(crate) fn gradient_norm(&self) -> f64 {
        self.gradients.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
    }

    /// A step by the gradients times `scale`, which are 0 afterwards. Nobody else may have the adapter meanwhile.
    pub(crate) fn step(&mut self, kernels: Kernels, (options, b_ratio): (&AdamW, f32), scale: f32) {
        self.steps += 1;
        let of_a = AdamW { step: self.steps, ..*options };
        let of_b = AdamW { rate: of_a.rate * b_ratio, ..of_a };
        let Self { pairs, numbers, gradients, means, squares, .. } = self;
        for pair in pairs.iter().flatten() {
            for (options, part) in [(&of_a, pair.a.clone()), (&of_b, pair.b.clone())] {
                let (numbers, gradients) = (&mut numbers[part.clone()], &gradients[part.clone()]);
                kernels.adamw(
                    options,
                    scale,
                    numbers,
                    gradients,
                    &mut means[part.clone()],
                    &mut squares[part],
                );
            }
        }
        gradients.fill(0.0);
        self.renew();
    }

    /// Draws A's numbers with `unit`, which has one between −1 and 1 for each counter, and makes B's 0.
    pub(crate) fn begin(&mut self, seed: u64, unit: impl Fn(u64, u64) -> f32) {
        self.steps = 0;
        for buffer in [&mut self.numbers, &mut self.gradients, &mut self.means, &mut self.squares] {
            buffer.fill(0.0);
        }
        let mut counter = 0;
        for pair in self.pairs.iter().flatten() {
            let most = 1.0 / (pair.row_len as f32).sqrt();
            for row in self.numbers[pair.a.clone()].chunks_exact_mut(pair.a_stride()) {
                for number in &mut row[..pair.row_len] {
                    *number = most * unit(seed, counter);
                    counter += 1;
                }
            }
        }
        self.renew();
    }

    pub(crate) fn steps(&self) -> u32 {
        self.steps
    }

    pub(crate) fn set_steps(&mut self, steps: u32) {
        self.steps = steps;
    }

    /// All that steps go on from: the numbers, and what the optimizer keeps of their gradients.
    pub(crate) fn state(&self) -> [&[f32]; 3] {
        [&self.numbers, &self.means, &self.squares]
    }

    pub(crate) fn state_mut(&mut self) -> [&mut [f32]; 3] {
        [&mut self.numbers, &mut self.means, &mut self.squares]
    }

    /// What is changed.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = &Pair> {
        self.pairs.iter().flatten()
    }

    pub(crate) fn forget_gradients(&mut self) {
        self.gradients.fill(0.0);
    }

    /// The adapter as it is now.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn copy(&self, network: &Network, name: &str) -> Result<Adapter, OutOfMemory> {
        let changes = changes(&self.pairs, network);
        let mut adapter = Adapter::of_zeros(&mut Arena::reserving(), name, changes)?;
        put(&self.pairs, &self.numbers, &mut adapter);
        Ok(adapter)
    }

    /// Has the adapter have the numbers.
    pub(crate) fn renew(&mut self) {
        put(&self.pairs, &self.numbers, &mut self.adapter);
    }
}

/// The matrices that are changed, each with its rank and what A's and B's product is multiplied by.
fn changes<'a>(
    pairs: &'a [Option<Pair>],
    network: &'a Network,
) -> impl Iterator<Item = (&'a Linear, usize, f32)> {
    network.linears().filter_map(|linear| {
        let pair = pairs.get(linear.id.number())?.as_ref()?;
        Some((linear, pair.rank, pair.scale))
    })
}

/// Puts numbers into an adapter that changes the same matrices.
fn put(pairs: &[Option<Pair>], numbers: &[f32], adapter: &mut Adapter) {
    for pair in pairs.iter().flatten() {
        let (a, b) = (&numbers[pair.a.clone()], &numbers[pair.b.clone()]);
        adapter.set_numbers(pair.linear, (a, pair.a_stride()), (b, pair.b_stride()));
    }
}
