use std::ops::Range;

use siskin_quant::TensorType;

use crate::formats::{Float, Quantized, Scales, with_format};
use crate::kernels::Kernels;
use crate::lanes::{Op, Range as Values, Tier, unroll};
use crate::panel::ROWS;

impl Kernels {
    /// Decodes some columns of panels, of rows of `k` weights of type `ty`, which [`Kernels::supports`]: each row's into a row of
    /// `columns.len()` numbers of `out`. The columns begin and end with a multiple of 32, or of 16 where weights are floats; what is
    /// beyond `k` is 0.
    pub fn decode(self, ty: TensorType, panels: &[u8], k: usize, columns: Range<usize>, out: &mut [f32]) {
        with_format!(ty,
            W => self.run(Floats::<W> { panels: W::lanes(panels), k, columns, out }),
            Q => self.run(Blocks::<Q> { blocks: Q::blocks(panels), k, columns, out }),
            _ => (),
        );
    }
}

struct Floats<'a, W: Float> {
    panels: &'a [W::Lanes16],
    k: usize,
    columns: Range<usize>,
    out: &'a mut [f32],
}

impl<W: Float> Op for Floats<'_, W> {
    type Out = ();

    #[inline(always)]
    fn run<L: Tier>(self, l: L) {
        let Self { panels, k, columns, out } = self;
        let width = columns.len().max(1);
        for (panel, out) in panels.chunks_exact(k.max(1)).zip(out.chunks_exact_mut(ROWS * width)) {
            out.fill(0.0);
            let mut square = [0.0; ROWS];
            for (column, weights) in panel.iter().take(columns.end).skip(columns.start).enumerate() {
                l.store(W::load(l, weights), &mut square);
                for (row, weight) in out.chunks_exact_mut(width).zip(square) {
                    row[column] = weight;
                }
            }
        }
    }
}

struct Blocks<'a, Q: Quantized> {
    blocks: &'a [Q::Block],
    k: usize,
    columns: Range<usize>,
    out: &'a mut [f32],
}

impl<Q: Quantized> Op for Blocks<'_, Q> {
    type Out = ();

    #[inline(always)]
    fn run<L: Tier>(self, l: L) {
        let Self { blocks, k, columns, out } = self;
        let width = columns.len().max(1);
        if columns.end > k {
            out.fill(0.0);
        }
        let offset = l.splat(f32::from(Q::OFFSET));
        let mut bytes = [[0; 64]; 8];
        let (mut scales, mut mins) = ([[0.0; ROWS]; 2], [[0.0; ROWS]; 2]);
        for (panel, out) in blocks.chunks_exact((k / Q::LEN).max(1)).zip(out.chunks_exact_mut(ROWS * width)) {
            for (run, column) in (columns.start..columns.end.min(k)).step_by(32).enumerate() {
                let (block, sub) = (&panel[column / Q::LEN], column % Q::LEN / 32);
                let of_block = Q::scales(l, block);
                let weights = Q::weights(l, block, sub);
                unroll!(g < 8 => { l.store_bytes(weights[g], &mut bytes[g]); });
                for grain in 0..Q::GRAINS {
                    l.store(of_block.scale(l, Q::GRAINS * sub + grain), &mut scales[grain]);
                    if Q::MINS {
                        l.store(of_block.min(l, Q::GRAINS * sub + grain), &mut mins[grain]);
                    }
                }
                for (row, out) in out.chunks_exact_mut(width).enumerate() {
                    let halves = out[32 * run..][..32].as_chunks_mut::<16>().0;
                    for (half, out) in halves.iter_mut().enumerate() {
                        let mut of_row = [0; 16];
                        for (four, group) in of_row.as_chunks_mut::<4>().0.iter_mut().zip(&bytes[4 * half..])
                        {
                            *four = group.as_chunks().0[row];
                        }
                        let q = match Q::RANGE {
                            Values::S8 => l.load_i8(&of_row),
                            _ => l.load_u8(&of_row),
                        };
                        let grain = half * (Q::GRAINS - 1);
                        let (scale, min) = (l.splat(scales[grain][row]), l.splat(mins[grain][row]));
                        l.store(l.fma(l.sub(q, offset), scale, min), out);
                    }
                }
            }
        }
    }
}
