use super::Backward;
use super::layer::each_row;
use super::lora::Lora;
use crate::arena::{Arena, OutOfMemory};
use crate::model::context::Context;
use crate::model::conv::{ConvBuffers, ShortConv};
use crate::model::hidden::Hidden;
use crate::model::network::{Buffers, Network};
use crate::model::observer::Step;
use crate::model::ops::{Ops, Shared};

/// Buffers for a batch of tokens.
pub(super) struct ConvGradient {
    /// What the convolution gave, and the gradients by it.
    sums: Hidden,
    by_sums: Hidden,
}

impl ConvGradient {
    /// # Errors
    /// [`OutOfMemory`].
    pub(super) fn new(arena: &mut Arena, batch: usize, width: usize) -> Result<Self, OutOfMemory> {
        let mut hidden = || Hidden::new(arena, batch, width, false);
        Ok(Self { sums: hidden()?, by_sums: hidden()? })
    }
}

impl ShortConv {
    /// From `branch` to `normed`. With y = after ⊙ c, c = Σⱼ kernelⱼ ⊙ u of j tokens before, u = before ⊙ input.
    pub(super) fn backward(
        &self,
        network: &Network,
        context: &mut Context,
        back: &mut Backward,
        lora: &mut Lora,
        goes_on: bool,
    ) {
        let weights = network.weights();
        let Context { ops, buffers, .. } = context;
        let Buffers { stream, conv: Some(ConvBuffers { input, before, after }), attended, .. } = buffers
        else {
            return;
        };
        let Backward { tape, products, conv: Some(ConvGradient { sums, by_sums }), by, .. } = back else {
            return;
        };
        let output = [weights.all(self.output)];
        products.back(ops, Some(lora), attended, output, [&by.branch], Some(&mut by.attended));
        let by_output = &by.attended;
        self.convolve(ops, &weights[self.kernel], input, sums, Direction::Back);
        each_row(ops, by_sums, |row, by| {
            by.iter_mut()
                .zip(by_output.row(row))
                .zip(after.row(row))
                .for_each(|((by, dy), after)| *by = dy * after);
        });
        each_row(ops, after, |row, after| {
            after
                .iter_mut()
                .zip(by_output.row(row))
                .zip(sums.row(row))
                .for_each(|((by, dy), sum)| *by = dy * sum);
        });
        // From here on `sums` are the gradients by u.
        self.convolve(ops, &weights[self.kernel], by_sums, sums, Direction::Ahead);
        let given = tape.at(Step::ConvInput);
        each_row(ops, input, |row, by| {
            by.iter_mut()
                .zip(sums.row(row))
                .zip(before.row(row))
                .for_each(|((by, du), before)| *by = du * before);
        });
        each_row(ops, before, |row, by| {
            by.iter_mut()
                .zip(sums.row(row))
                .zip(given.row(row))
                .for_each(|((by, du), input)| *by = du * input);
        });
        let projections = [&self.input, &self.before, &self.after].map(|rows| weights.rows(rows));
        let by_input = goes_on.then_some(&mut by.normed);
        products.back(ops, Some(lora), &stream.normed, projections, [&*input, &*before, &*after], by_input);
    }

    /// `out` of a token is the sum of what the kernel's taps make of the tokens before it in its sequence, or of those behind it.
    fn convolve(&self, ops: &mut Ops, kernel: &[f32], x: &Hidden, out: &mut Hidden, direction: Direction) {
        let (taps, tokens, stride) = (self.taps, ops.tokens, out.stride);
        let Shared { team, batch, .. } = ops.shared();
        let rows = crate::arena::Chunks::new(&mut out.x[..tokens * stride], stride);
        team.for_each(rows, |row, out| {
            out.fill(0.0);
            let (rows, _) = batch.of(row);
            for (tap, distance) in kernel.chunks_exact(kernel.len() / taps).zip((0..taps).rev()) {
                let other = match direction {
                    Direction::Back => row.checked_sub(distance).filter(|other| rows.contains(other)),
                    Direction::Ahead => Some(row + distance).filter(|other| rows.contains(other)),
                };
                let Some(other) = other else { continue };
                for ((out, tap), x) in out.iter_mut().zip(tap).zip(x.row(other)) {
                    *out += tap * x;
                }
            }
        });
    }
}

/// Where the tokens are that a convolution looks at.
#[derive(Clone, Copy)]
enum Direction {
    Back,
    Ahead,
}
