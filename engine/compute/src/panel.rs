//! Weight matrices in panels of interleaved rows.

use std::array;
use std::ops::{Deref, Range};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use siskin_quant::TensorType;

use crate::arena::{Arena, Buf, OutOfMemory};
use crate::formats::{Piece, piece, pieces_of};
use crate::lanes::LANES;

/// Rows of a panel: the lanes of the machine.
pub const ROWS: usize = LANES;
/// The version of the panels' layout: the order in which formats' blocks are interleaved.
pub const LAYOUT_VERSION: u32 = 1;
/// What panels that are used where they are begin at a multiple of: a cache line.
pub const ALIGNMENT: usize = 64;

/// A weight matrix in panels of 16 rows.
///
/// A panel holds, block after block along the row, the blocks of its 16 rows interleaved: every piece of the format's
/// block is cut into units of 1, 2 or 4 bytes, and the 16 rows' first units stand together, then their second ones.
/// So a panel is as large as the rows, four consecutive quantized bytes of a row stay adjacent, and the 16 scales of
/// a block are one vector. The last panel is filled up with rows of zero bytes. Cloning shares them.
#[derive(Clone)]
pub struct Panels {
    ty: TensorType,
    rows: usize,
    k: usize,
    bytes: Bytes,
}

/// Bytes and what keeps them where they are, as a mapped file does.
pub type Shared = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Where panels are.
#[derive(Clone)]
enum Bytes {
    /// In memory of their own.
    Packed(Arc<Buf<u8>>),
    /// In the file that they came in, which may be mapped.
    File(Shared),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Packed(bytes) => bytes,
            Bytes::File(bytes) => (**bytes).as_ref(),
        }
    }
}

impl Panels {
    /// Packs `rows` rows of `k` weights from a tensor's bytes as GGUF has them.
    ///
    /// `bytes` is as long as the format says, and `k` a multiple of its block; the type has kernels.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn pack(ty: TensorType, rows: usize, k: usize, bytes: &[u8]) -> Result<Self, OutOfMemory> {
        Self::pack_into(&mut Arena::reserving(), ty, rows, k, bytes, |_| ())
    }

    /// The same, into a buffer of `arena`. `done` is told, from any thread, which of the bytes are packed and not
    /// looked at again, run after run.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn pack_into(
        arena: &mut Arena,
        ty: TensorType,
        rows: usize,
        k: usize,
        bytes: &[u8],
        done: impl Fn(Range<usize>) + Sync,
    ) -> Result<Self, OutOfMemory> {
        let row_bytes = k / ty.block_len() * ty.block_bytes();
        let mut packed = arena.buf(rows.div_ceil(ROWS).saturating_mul(row_bytes.saturating_mul(ROWS)))?;
        pack_all(ty, row_bytes, bytes, &mut packed, done);
        Ok(Self { ty, rows, k, bytes: Bytes::Packed(Arc::new(packed)) })
    }

    /// Panels of F32 weights that are all 0, in a buffer of `arena`.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    #[cfg(feature = "training")]
    pub fn zeros(arena: &mut Arena, rows: usize, k: usize) -> Result<Self, OutOfMemory> {
        let bytes =
            arena.buf(rows.next_multiple_of(ROWS).saturating_mul(k).saturating_mul(size_of::<f32>()))?;
        Ok(Self { ty: TensorType::F32, rows, k, bytes: Bytes::Packed(Arc::new(bytes)) })
    }

    /// Sets F32 weights, which nobody shares, to those of `rows`, every `stride` numbers a row. Others stay as they are.
    #[cfg(feature = "training")]
    pub fn set_rows(&mut self, rows: &[f32], stride: usize) {
        let stride = stride.max(1);
        for (panel, rows) in self.floats_mut().zip(rows.chunks(ROWS * stride)) {
            for (row, numbers) in rows.chunks_exact(stride).enumerate() {
                let units = panel.iter_mut().skip(row).step_by(ROWS);
                units.zip(numbers).for_each(|(unit, number)| *unit = number.to_le_bytes());
            }
        }
    }

    /// The same with columns of weights, whose `stride` is at least as many as the rows with their padding.
    #[cfg(feature = "training")]
    pub fn set_columns(&mut self, columns: &[f32], stride: usize) {
        for (number, panel) in self.floats_mut().enumerate() {
            for (column, numbers) in panel.chunks_exact_mut(ROWS).zip(columns.chunks_exact(stride.max(1))) {
                let numbers = numbers.iter().skip(ROWS * number);
                column.iter_mut().zip(numbers).for_each(|(unit, number)| *unit = number.to_le_bytes());
            }
        }
    }

    /// The panels of F32 weights that nobody shares.
    #[cfg(feature = "training")]
    fn floats_mut(&mut self) -> impl Iterator<Item = &mut [[u8; 4]]> {
        let (k, is_float) = (self.k, self.ty == TensorType::F32);
        let bytes = match &mut self.bytes {
            Bytes::Packed(bytes) if is_float => Arc::get_mut(bytes).map(|bytes| &mut **bytes),
            _ => None,
        };
        let floats = bytes.map(|bytes| bytes.as_chunks_mut().0).unwrap_or_default();
        floats.chunks_exact_mut((ROWS * k).max(1))
    }

    /// The panels of `rows` rows of `k` weights, used where they are if they are aligned for that, copied otherwise.
    ///
    /// `panels` are as many as those rows fill, and the type has kernels.
    ///
    /// # Errors
    /// [`OutOfMemory`] for the copy.
    pub fn packed(
        arena: &mut Arena,
        ty: TensorType,
        rows: usize,
        k: usize,
        panels: Shared,
    ) -> Result<Self, OutOfMemory> {
        let there = (*panels).as_ref();
        let bytes = if there.as_ptr().addr().is_multiple_of(ALIGNMENT) {
            Bytes::File(panels)
        } else {
            let mut copy = arena.buf(there.len())?;
            let room = copy.len();
            copy.copy_from_slice(&there[..room]);
            Bytes::Packed(Arc::new(copy))
        };
        Ok(Self { ty, rows, k, bytes })
    }

    /// The format of the weights.
    #[inline]
    pub fn ty(&self) -> TensorType {
        self.ty
    }

    /// Weights of a row.
    #[inline]
    pub fn k(&self) -> usize {
        self.k
    }

    /// Rows, those of padding not among them.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Rows with the padding of the last panel.
    #[inline]
    pub fn padded_rows(&self) -> usize {
        self.rows.next_multiple_of(ROWS)
    }

    /// The panels that hold the rows from `from` up to `to`, both multiples of 16.
    #[inline]
    pub fn panels(&self, from: usize, to: usize) -> &[u8] {
        let row_bytes = self.row_bytes();
        &self.bytes[from * row_bytes..to * row_bytes]
    }

    /// Weights, those of padding not among them.
    pub fn weights(&self) -> u64 {
        self.rows as u64 * self.k as u64
    }

    /// Bytes that the weights take.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Those of them that are used where the file is.
    pub fn bytes_in_file(&self) -> usize {
        match &self.bytes {
            Bytes::Packed(_) => 0,
            Bytes::File(bytes) => (**bytes).as_ref().len(),
        }
    }

    /// Decodes one row, padding included, into the first `k` numbers of `out`.
    pub fn decode_row(&self, row: usize, out: &mut [f32]) {
        // At least one block of any format; many of the small ones at once.
        const BUFFER: usize = 512;
        let mut bytes = [0; BUFFER];
        let size = self.ty.block_bytes();
        let at_once = BUFFER / size;
        let pieces = pieces_of(self.ty).unwrap_or(&[]);
        let panel_bytes = self.row_bytes() * ROWS;
        let panel = &self.bytes[row / ROWS * panel_bytes..][..panel_bytes];
        let runs = panel.chunks(ROWS * size * at_once);
        for (blocks, out) in runs.zip(out[..self.k].chunks_mut(self.ty.block_len() * at_once)) {
            let blocks = blocks.chunks_exact(ROWS * size);
            let count = blocks.len();
            for (block, to) in blocks.zip(bytes.chunks_exact_mut(size)) {
                let mut from = 0;
                for &Piece { at, bytes, unit } in pieces {
                    for at in (at..at + bytes).step_by(unit) {
                        let unit_at = from + row % ROWS * unit;
                        to[at..at + unit].copy_from_slice(&block[unit_at..unit_at + unit]);
                        from += ROWS * unit;
                    }
                }
            }
            // Cannot fail: the type has a decoder, and both lengths are those of `count` blocks.
            let _ = siskin_quant::decode(self.ty, &bytes[..count * size], out);
        }
    }

    fn row_bytes(&self) -> usize {
        self.k / self.ty.block_len() * self.ty.block_bytes()
    }
}

/// Bytes that a thread packs at a time, or a panel if that has more.
const RUN: usize = 1 << 20;

/// About as many bytes as all threads together are at work on.
pub fn bytes_in_work() -> usize {
    threads().saturating_mul(RUN)
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Packs all panels, on as many threads as a large matrix is worth, and tells `done` which of the rows' bytes it is
/// through with. There may be no room for any panel: then nothing is done.
pub(crate) fn pack_all(
    ty: TensorType,
    row_bytes: usize,
    rows: &[u8],
    packed: &mut [u8],
    done: impl Fn(Range<usize>) + Sync,
) {
    if packed.is_empty() {
        return;
    }
    let panel_bytes = row_bytes * ROWS;
    let run = (RUN / panel_bytes).max(1) * panel_bytes;
    let threads = threads().min(packed.len().div_ceil(run));
    let runs = Mutex::new(packed.chunks_mut(run).zip(rows.chunks(run)).enumerate());
    let work = || {
        loop {
            let next = runs.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((index, (panels, rows))) = next else { break };
            pack_panels(ty, row_bytes, rows, panels);
            done(index * run..index * run + rows.len());
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // One that the system does not grant is not needed: the others do its work.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
}

/// Packs rows, of which the last panel may have fewer than 16.
fn pack_panels(ty: TensorType, row_bytes: usize, rows: &[u8], panels: &mut [u8]) {
    let panel_bytes = row_bytes * ROWS;
    for (panel, rows) in panels.chunks_exact_mut(panel_bytes).zip(rows.chunks(panel_bytes)) {
        if rows.len() == panel_bytes {
            pack_panel(ty, row_bytes, rows, panel);
        } else {
            let mut padded = vec![0; panel_bytes];
            padded[..rows.len()].copy_from_slice(rows);
            pack_panel(ty, row_bytes, &padded, panel);
        }
    }
}

/// Interleaves 16 rows.
fn pack_panel(ty: TensorType, row_bytes: usize, rows: &[u8], panel: &mut [u8]) {
    let rows: [&[u8]; ROWS] = array::from_fn(|row| &rows[row * row_bytes..][..row_bytes]);
    let whole;
    let (size, pieces) = match pieces_of(ty).unwrap_or(&[]) {
        // Blocks of a single piece are as good as one long block.
        &[Piece { unit, .. }] => {
            whole = [piece(0, row_bytes, unit)];
            (row_bytes, &whole[..])
        }
        pieces => (ty.block_bytes(), pieces),
    };
    for (block, mut to) in panel.chunks_exact_mut(ROWS * size).enumerate() {
        for &Piece { at, bytes, unit } in pieces {
            let at = block * size + at;
            let (units, rest) = to.split_at_mut(ROWS * bytes);
            match unit {
                4 => interleave::<4>(&rows, at, units),
                2 => interleave::<2>(&rows, at, units),
                _ => interleave::<1>(&rows, at, units),
            }
            to = rest;
        }
    }
}

/// Puts a panel's rows back one after the other; rows beyond those that `rows` has room for are left out.
pub(crate) fn unpack_panel(ty: TensorType, row_bytes: usize, panel: &[u8], rows: &mut [u8]) {
    let size = ty.block_bytes();
    let pieces = pieces_of(ty).unwrap_or(&[]);
    for (block, mut from) in panel.chunks_exact(ROWS * size).enumerate() {
        for piece in pieces {
            let at = block * size + piece.at;
            let (units, rest) = from.split_at(ROWS * piece.bytes);
            let rows = rows.chunks_exact_mut(row_bytes).map(|row| &mut row[at..at + piece.bytes]);
            for (row, to) in rows.enumerate() {
                let places = units.chunks_exact(piece.unit).skip(row).step_by(ROWS);
                to.chunks_exact_mut(piece.unit)
                    .zip(places)
                    .for_each(|(unit, place)| unit.copy_from_slice(place));
            }
            from = rest;
        }
    }
}

/// Puts units of `U` bytes of 16 rows beside each other, from byte `at` of each row on: all first ones, then all second
/// ones, until `to` is full.
#[inline(always)]
fn interleave<const U: usize>(rows: &[&[u8]; ROWS], at: usize, to: &mut [u8]) {
    /// Four units of four rows make a square, which the compiler transposes in vector registers.
    const FOUR: usize = 4;
    let (fours, rest) = to.as_chunks_mut::<U>().0.as_chunks_mut::<{ FOUR * ROWS }>();
    let rest_at = at + fours.len() * FOUR * U;
    for (index, to) in fours.iter_mut().enumerate() {
        let at = at + index * FOUR * U;
        for (quad, rows) in rows.as_chunks::<FOUR>().0.iter().enumerate() {
            let square = rows.map(|row| row[at..at + FOUR * U].as_chunks::<U>().0);
            for unit in 0..FOUR {
                for row in 0..FOUR {
                    to[unit * ROWS + quad * FOUR + row] = square[row][unit];
                }
            }
        }
    }
    for (index, to) in rest.as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
        let at = rest_at + index * U;
        for (to, row) in to.iter_mut().zip(rows) {
            to.copy_from_slice(&row[at..at + U]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::{kernel_types, random_blocks};

    /// A number for the order of each format's pieces (FNV-1a), by the layout version of packed files.
    const ORDERS: [(TensorType, u32); 26] = [
        (TensorType::F32, 0xb6a7_145f),
        (TensorType::F16, 0xfcab_ffbf),
        (TensorType::Q4_0, 0x302a_b3a3),
        (TensorType::Q4_1, 0x2762_9ebd),
        (TensorType::Q5_0, 0xfd50_2307),
        (TensorType::Q5_1, 0x5352_5d97),
        (TensorType::Q8_0, 0x9052_5a33),
        (TensorType::Q2_K, 0x4785_5d4a),
        (TensorType::Q3_K, 0xcf73_eed2),
        (TensorType::Q4_K, 0x9553_39aa),
        (TensorType::Q5_K, 0xd14b_524a),
        (TensorType::Q6_K, 0x6890_ffe2),
        (TensorType::IQ2_XXS, 0x50a1_a753),
        (TensorType::IQ2_XS, 0xa086_dd26),
        (TensorType::IQ3_XXS, 0x4458_057f),
        (TensorType::IQ1_S, 0x66f6_c271),
        (TensorType::IQ4_NL, 0x302a_b3a3),
        (TensorType::IQ3_S, 0xba2e_eac1),
        (TensorType::IQ2_S, 0xeecf_d005),
        (TensorType::IQ4_XS, 0xd0dd_746a),
        (TensorType::IQ1_M, 0x6aff_1fe3),
        (TensorType::BF16, 0xfcab_ffbf),
        (TensorType::TQ1_0, 0xa4c8_a2a9),
        (TensorType::TQ2_0, 0xb7b3_db29),
        (TensorType::MXFP4, 0xae3d_787c),
        (TensorType::Q1_0, 0x302a_b3a3),
    ];

    /// Where this fails, packed files of the present version would be misread: [`LAYOUT_VERSION`] has to be raised. A new
    /// format only needs its line.
    #[test]
    fn the_order_of_pieces_is_that_of_the_layout_version() {
        assert_eq!(LAYOUT_VERSION, 1);
        let order = |pieces: &[Piece]| {
            let fields = pieces.iter().flat_map(|piece| [piece.at, piece.bytes, piece.unit]);
            fields.fold(0x811c_9dc5_u32, |hash, field| (hash ^ field as u32).wrapping_mul(0x0100_0193))
        };
        let found: Vec<_> =
            TensorType::ALL.iter().filter_map(|&ty| Some((ty, order(pieces_of(ty)?)))).collect();
        assert_eq!(found, ORDERS, "{found:#x?}");
    }

    /// Bytes somewhere in memory.
    struct At {
        memory: Vec<u8>,
        at: usize,
        len: usize,
    }

    impl AsRef<[u8]> for At {
        fn as_ref(&self) -> &[u8] {
            &self.memory[self.at..self.at + self.len]
        }
    }

    /// Panels that begin so many bytes behind a multiple of [`ALIGNMENT`], and where they are.
    fn panels_at(offset: usize, panels: &[u8]) -> (Panels, *const u8) {
        let mut memory = vec![0; panels.len() + 2 * ALIGNMENT];
        let at = memory.as_ptr().align_offset(ALIGNMENT) + offset;
        memory[at..at + panels.len()].copy_from_slice(panels);
        let place = memory[at..].as_ptr();
        let shared = Arc::new(At { memory, at, len: panels.len() });
        (Panels::packed(&mut Arena::reserving(), TensorType::Q8_0, 21, 64, shared).unwrap(), place)
    }

    #[test]
    fn packed_panels_are_used_where_they_are_if_they_are_aligned() {
        let rows = random_blocks(TensorType::Q8_0, 21 * 2, 9);
        let expected = Panels::pack(TensorType::Q8_0, 21, 64, &rows).unwrap();
        for offset in [0, 32, 1] {
            let (panels, place) = panels_at(offset, &expected.bytes);
            assert_eq!(panels.bytes.as_ptr() == place, offset == 0);
            assert!(panels.bytes.as_ptr().addr().is_multiple_of(ALIGNMENT));
            assert_eq!(panels.bytes_in_file(), if offset == 0 { panels.bytes() } else { 0 });
            assert_eq!(panels.panels(0, 32), &*expected.bytes);
        }
    }

    #[test]
    fn a_decoded_row_equals_the_tensor_s_row() {
        // An interpreter takes a minute for some formats.
        for ty in kernel_types().step_by(if cfg!(miri) { 8 } else { 1 }) {
            for rows in if cfg!(miri) { &[1, 21][..] } else { &[1, 16, 21, 48] }.iter().copied() {
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
