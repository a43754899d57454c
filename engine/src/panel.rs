use siskin_quant::TensorType;

use crate::arena::{Buf, OutOfMemory};

/// Rows of a panel: the lanes of the machine.
pub(crate) const ROWS: usize = 16;

/// A weight matrix in panels of 16 rows.
///
/// A panel holds, block after block along the row, the blocks of its 16 rows interleaved: every field of the format's
/// block is cut into units of 1, 2 or 4 bytes, and the 16 rows' first units stand together, then their second ones.
/// So a panel is as large as the rows, four consecutive quantized bytes of a row stay adjacent, and the 16 scales of
/// a block are one vector. The last panel is filled up with rows of zero bytes.
pub(crate) struct Panels {
    ty: TensorType,
    rows: usize,
    k: usize,
    bytes: Buf<u8>,
}

/// The fields of a format's block: bytes of the field, bytes of its unit. None for formats without kernels.
pub(crate) const fn fields(ty: TensorType) -> Option<&'static [(usize, usize)]> {
    use TensorType::*;
    Some(match ty {
        F32 => &[(4, 4)],
        F16 | BF16 => &[(2, 2)],
        Q4_0 | IQ4_NL => &[(2, 2), (16, 4)],
        Q4_1 => &[(2, 2), (2, 2), (16, 4)],
        Q5_0 => &[(2, 2), (4, 4), (16, 4)],
        Q5_1 => &[(2, 2), (2, 2), (4, 4), (16, 4)],
        Q8_0 => &[(2, 2), (32, 4)],
        Q2_K => &[(16, 1), (64, 4), (2, 2), (2, 2)],
        Q3_K => &[(32, 4), (64, 4), (12, 1), (2, 2)],
        Q4_K => &[(2, 2), (2, 2), (12, 1), (128, 4)],
        Q5_K => &[(2, 2), (2, 2), (12, 1), (32, 4), (128, 4)],
        Q6_K => &[(128, 4), (64, 4), (16, 1), (2, 2)],
        IQ4_XS => &[(2, 2), (2, 2), (4, 1), (128, 4)],
        _ => return None,
    })
}

/// Where each unit of a row's block stands: calls `f(offset in the block, offset in the panel block, length)`.
fn for_each_unit(fields: &[(usize, usize)], row: usize, mut f: impl FnMut(usize, usize, usize)) {
    let mut start = 0;
    for &(bytes, unit) in fields {
        for at in (0..bytes).step_by(unit) {
            f(start + at, ROWS * (start + at) + row * unit, unit);
        }
        start += bytes;
    }
}

impl Panels {
    /// Packs `rows` rows of `k` weights from a tensor's bytes as GGUF has them.
    ///
    /// `bytes` is as long as the format says, and `k` a multiple of its block; the type has kernels (see [`fields`]).
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn pack(ty: TensorType, rows: usize, k: usize, bytes: &[u8]) -> Result<Self, OutOfMemory> {
        let block = ty.block_bytes();
        let row_bytes = k / ty.block_len() * block;
        let panel_bytes = row_bytes * ROWS;
        let mut packed = Buf::zeroed(rows.div_ceil(ROWS) * panel_bytes)?;
        if panel_bytes > 0 {
            pack_all(ty, row_bytes, bytes, &mut packed);
        }
        Ok(Self { ty, rows, k, bytes: packed })
    }

    pub(crate) fn ty(&self) -> TensorType {
        self.ty
    }

    /// Weights of a row.
    pub(crate) fn k(&self) -> usize {
        self.k
    }

    /// Rows with the padding of the last panel.
    pub(crate) fn padded_rows(&self) -> usize {
        self.rows.next_multiple_of(ROWS)
    }

    /// The panels that hold the rows from `from` up to `to`, both multiples of 16.
    pub(crate) fn panels(&self, from: usize, to: usize) -> &[u8] {
        let row_bytes = self.row_bytes();
        &self.bytes[from * row_bytes..to * row_bytes]
    }

    /// Bytes that the weights take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Decodes one row, padding included, into the first `k` numbers of `out`.
    pub(crate) fn decode_row(&self, row: usize, out: &mut [f32]) {
        // At least one block of any format; many of the small ones at once.
        const BUFFER: usize = 512;
        let mut bytes = [0; BUFFER];
        let size = self.ty.block_bytes();
        let at_once = BUFFER / size;
        let fields = fields(self.ty).unwrap_or(&[]);
        let panel_bytes = self.row_bytes() * ROWS;
        let panel = &self.bytes[row / ROWS * panel_bytes..][..panel_bytes];
        let runs = panel.chunks(ROWS * size * at_once);
        for (blocks, out) in runs.zip(out[..self.k].chunks_mut(self.ty.block_len() * at_once)) {
            let blocks = blocks.chunks_exact(ROWS * size);
            let count = blocks.len();
            for (block, to) in blocks.zip(bytes.chunks_exact_mut(size)) {
                for_each_unit(fields, row % ROWS, |at, from, unit| {
                    to[at..at + unit].copy_from_slice(&block[from..from + unit]);
                });
            }
            // Cannot fail: the type has a decoder, and both lengths are those of `count` blocks.
            let _ = siskin_quant::decode(self.ty, &bytes[..count * size], out);
        }
    }

    fn row_bytes(&self) -> usize {
        self.k / self.ty.block_len() * self.ty.block_bytes()
    }
}

/// Packs all panels, on as many threads as a large matrix is worth.
fn pack_all(ty: TensorType, row_bytes: usize, rows: &[u8], packed: &mut [u8]) {
    const WORTH_A_THREAD: usize = 1 << 20;
    let panel_bytes = row_bytes * ROWS;
    let pack = |panels: &mut [u8], rows: &[u8]| {
        for (panel, rows) in panels.chunks_exact_mut(panel_bytes).zip(rows.chunks(panel_bytes)) {
            for (row, bytes) in rows.chunks_exact(row_bytes).enumerate() {
                interleave(ty, row, bytes, panel);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.min(packed.len() / WORTH_A_THREAD).max(1);
    let share = packed.len().div_ceil(threads).next_multiple_of(panel_bytes);
    std::thread::scope(|scope| {
        let mut shares = packed.chunks_mut(share).zip(rows.chunks(share));
        let own = shares.next();
        for (panels, rows) in shares {
            scope.spawn(move || pack(panels, rows));
        }
        if let Some((panels, rows)) = own {
            pack(panels, rows);
        }
    });
}

/// Puts one row's blocks into their places in a panel.
fn interleave(ty: TensorType, row: usize, bytes: &[u8], panel: &mut [u8]) {
    let size = ty.block_bytes();
    let fields = fields(ty).unwrap_or(&[]);
    for (block, to) in bytes.chunks_exact(size).zip(panel.chunks_exact_mut(ROWS * size)) {
        for_each_unit(fields, row, |from, at, unit| {
            to[at..at + unit].copy_from_slice(&block[from..from + unit]);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::{KERNEL_TYPES, random_blocks};

    #[test]
    fn fields_cover_every_block() {
        for ty in KERNEL_TYPES {
            let sum: usize = fields(ty).unwrap().iter().map(|(bytes, _)| bytes).sum();
            assert_eq!(sum, ty.block_bytes(), "{}", ty.name());
        }
    }

    #[test]
    fn a_decoded_row_equals_the_tensor_s_row() {
        for ty in KERNEL_TYPES {
            for rows in [1, 16, 21, 48] {
                let k = 2 * ty.block_len();
                let bytes = random_blocks(ty, rows * 2, 7);
                let panels = Panels::pack(ty, rows, k, &bytes).unwrap();
                let (mut expected, mut row) = (vec![0.0; rows * k], vec![0.0; k]);
                siskin_quant::decode(ty, &bytes, &mut expected).unwrap();
                for (i, expected) in expected.chunks(k).enumerate() {
                    panels.decode_row(i, &mut row);
                    assert_eq!(row, expected, "{} row {i} of {rows}", ty.name());
                }
            }
        }
    }
}
