//! Packed files: matrices in panels, as the kernels read them, so that a mapped file is used where it is.
//!
//! [`Packer`] makes panels of rows, [`unpack`] makes rows of them again.

use siskin_quant::TensorType;

use crate::formats::pieces_of;
use crate::panel::{self, ROWS};

/// Rows of a panel.
pub const PANEL_ROWS: usize = ROWS;

/// Turns the rows of a matrix, given as a stream of bytes, into its panels.
#[derive(Debug)]
pub struct Packer {
    ty: TensorType,
    row_bytes: usize,
    /// Bytes of the matrix that are still to come.
    left: u64,
    /// Rows that do not fill a panel yet.
    held: Vec<u8>,
    panels: Vec<u8>,
}

impl Packer {
    /// For a tensor of this type and shape (in GGUF's order), if it is a matrix of a type that has panels. Other
    /// tensors are not packed.
    pub fn new(ty: TensorType, shape: &[u64]) -> Option<Packer> {
        let (&row_len, rest) = shape.split_first()?;
        let (&rows, beyond) = rest.split_first()?;
        if rows < 2 || row_len == 0 || beyond.iter().any(|&size| size != 1) || pieces_of(ty).is_none() {
            return None;
        }
        let row_bytes = ty.row_bytes(row_len)?;
        let left = row_bytes.checked_mul(rows)?;
        let row_bytes = usize::try_from(row_bytes).ok()?;
        row_bytes.checked_mul(ROWS)?;
        Some(Packer { ty, row_bytes, left, held: Vec::new(), panels: Vec::new() })
    }

    /// Takes the next bytes of the rows and gives the panels that they complete; the last ones, with their padding,
    /// come with the last byte. What goes beyond the matrix is ignored.
    ///
    /// Memory for twice the bytes given is used.
    pub fn push(&mut self, rows: &[u8]) -> &[u8] {
        let wanted = usize::try_from(self.left).map_or(rows.len(), |left| left.min(rows.len()));
        let rows = rows.get(..wanted).unwrap_or_default();
        self.left -= rows.len() as u64;
        self.held.extend_from_slice(rows);
        let panel_bytes = self.row_bytes * ROWS;
        let whole = match self.left {
            0 => self.held.len(),
            _ => self.held.len() - self.held.len() % panel_bytes,
        };
        self.panels.clear();
        self.panels.resize(whole.next_multiple_of(panel_bytes), 0);
        panel::pack_all(self.ty, self.row_bytes, &self.held[..whole], &mut self.panels, |_| ());
        self.held.drain(..whole);
        &self.panels
    }
}

/// Puts the rows of whole panels of a matrix with rows of `row_len` weights back in the order of GGUF, into `rows`,
/// which may lack those that only fill up the last panel.
///
/// Returns whether that was possible: the type has panels, and both lengths are those of whole panels and rows.
#[must_use]
pub fn unpack(ty: TensorType, row_len: u64, panels: &[u8], rows: &mut [u8]) -> bool {
    let row_bytes = ty.row_bytes(row_len).and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0);
    let panel_bytes = row_bytes.saturating_mul(ROWS);
    if pieces_of(ty).is_none()
        || row_bytes == 0
        || !rows.len().is_multiple_of(row_bytes)
        || rows.len().checked_next_multiple_of(panel_bytes) != Some(panels.len())
    {
        return false;
    }
    for (panel, rows) in panels.chunks_exact(panel_bytes).zip(rows.chunks_mut(panel_bytes)) {
        panel::unpack_panel(ty, row_bytes, panel, rows);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panel::Panels;
    use crate::test_data::{kernel_types, random_blocks};

    #[test]
    fn a_stream_in_any_pieces_makes_the_panels_and_they_make_the_rows_again() {
        for ty in kernel_types() {
            for rows in [2, 16, 21, 48] {
                let k = 2 * ty.block_len();
                let bytes = random_blocks(ty, rows * 2, 7);
                let expected = Panels::pack(ty, rows, k, &bytes).unwrap();
                for piece in [1, 7, 1000, bytes.len()] {
                    let mut packer = Packer::new(ty, &[k as u64, rows as u64]).unwrap();
                    let packed: Vec<u8> = bytes.chunks(piece).flat_map(|p| packer.push(p).to_vec()).collect();
                    assert_eq!(packed, expected.panels(0, expected.padded_rows()), "{ty} {rows} rows");
                    assert!(packer.push(&bytes).is_empty());
                }
                let mut unpacked = vec![0; bytes.len()];
                assert!(unpack(ty, k as u64, expected.panels(0, expected.padded_rows()), &mut unpacked));
                assert!(unpacked == bytes, "{ty} {rows} rows");
            }
        }
    }

    #[test]
    fn only_matrices_of_types_with_panels_are_packed() {
        assert!(Packer::new(TensorType::Q4_0, &[32, 3]).is_some());
        assert!(Packer::new(TensorType::Q4_0, &[32, 3, 1, 1]).is_some());
        for (ty, shape) in [
            (TensorType::Q4_0, &[32, 3, 2][..]),
            (TensorType::Q4_0, &[33, 3]),
            (TensorType::Q4_0, &[0, 3]),
            (TensorType::Q4_0, &[1 << 62, 1 << 62]),
            (TensorType::F32, &[32]),
            (TensorType::F32, &[32, 1]),
            (TensorType::F32, &[]),
            (TensorType::F64, &[32, 3]),
        ] {
            assert!(Packer::new(ty, shape).is_none(), "{ty} {shape:?}");
        }
    }

    #[test]
    fn lengths_that_are_no_panels_are_not_unpacked() {
        let (mut rows, panels) = ([0; 21 * 18], [0; 32 * 18]);
        assert!(unpack(TensorType::Q4_0, 32, &panels, &mut rows));
        assert!(!unpack(TensorType::Q4_0, 32, &panels[1..], &mut rows));
        assert!(!unpack(TensorType::Q4_0, 32, &panels, &mut rows[1..]));
        assert!(!unpack(TensorType::Q4_0, 0, &panels, &mut rows));
        assert!(!unpack(TensorType::Q8_1, 32, &panels, &mut rows));
    }
}
