use siskin_quant::TensorType;

use crate::panel::{self, ROWS};

/// The key of a packed file that says in which version of the layout its panels are.
pub const PACKED_VERSION_KEY: &str = "siskin.packed.version";
/// The version of the panel layout that is written and run: the order in which formats' blocks are interleaved.
pub const PACKED_VERSION: u32 = panel::LAYOUT_VERSION;
/// The alignment of panels in a packed file, at least: a cache line.
pub const PANEL_ALIGNMENT: u32 = panel::ALIGNMENT as u32;

/// Added to the number of a tensor's type where its data are panels. ggml numbers its types from 0, and every reader
/// that knows a type by its number refuses one as large as this.
const PACKED: u32 = 0x5350_0000;

/// How a tensor's data lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One row after the other, as in every GGUF file.
    Rows,
    /// In panels of 16 interleaved rows, the last one of a matrix filled up with rows of zero bytes.
    Panels,
}

impl Layout {
    /// The type and layout that a file numbers `id`.
    pub(super) fn of_id(id: u32) -> Option<(TensorType, Layout)> {
        match id & 0xffff_0000 {
            0 => Some((TensorType::from_id(id)?, Layout::Rows)),
            PACKED => Some((TensorType::from_id(id - PACKED)?, Layout::Panels)),
            _ => None,
        }
    }

    /// The number of `ty` in this layout.
    pub(super) const fn id(self, ty: TensorType) -> u32 {
        match self {
            Layout::Rows => ty.id(),
            Layout::Panels => PACKED + ty.id(),
        }
    }

    /// How many rows a matrix of `rows` takes the room of; `None` beyond 64 bits.
    pub(super) fn padded(self, rows: u64) -> Option<u64> {
        match self {
            Layout::Rows => Some(rows),
            Layout::Panels => rows.checked_next_multiple_of(ROWS as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_back_to_type_and_layout() {
        for &ty in TensorType::ALL {
            for layout in [Layout::Rows, Layout::Panels] {
                assert_eq!(Layout::of_id(layout.id(ty)), Some((ty, layout)));
            }
        }
        for id in [4, 43, 0xffff, 0x1_0000, PACKED + 4, PACKED + 0xffff, PACKED + 0x1_0000, u32::MAX] {
            assert_eq!(Layout::of_id(id), None, "{id:#x}");
        }
    }
}
