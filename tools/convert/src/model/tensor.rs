use super::changed::Changed;
use anyhow::{Context, Result};
use siskin::gguf::Gguf;
use siskin_quant::TensorType;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// A tensor to be written, with the means to read its rows.
#[derive(Debug)]
pub(crate) struct Tensor {
    /// Name in the GGUF file.
    pub(crate) name: String,
    /// Sizes as GGUF orders them: the row length is first.
    pub(crate) shape: Vec<u64>,
    /// Type of the elements as they are read.
    pub(crate) ty: TensorType,
    /// Where they are read.
    pub(crate) source: Source,
    /// Order of the rows in the source.
    pub(crate) order: RowOrder,
}

/// Where a tensor's bytes come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// Parts of files, all of the same length, one after the other.
    File(Vec<FileBytes>),
    /// The tensor of this index in a GGUF file.
    Gguf(Arc<Gguf>, usize),
    /// The same with something added.
    Changed(Changed),
    /// Made by the conversion.
    Memory(Vec<u8>),
}

/// How the rows of the written tensor follow from the rows of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowOrder {
    /// Unchanged.
    Same,
    /// Rotary embeddings pair row `i` of a head with row `i + head_dim / 2` in a Hugging Face checkpoint and with its
    /// neighbour in a GGUF file of the llama family: of each head, rows 0, d/2, 1, d/2 + 1, ... of the source.
    Interleave {
        /// Rows of one head, d; even.
        head_dim: u64,
    },
    /// Of every `of` rows of the source, `rows` from row `first` on.
    Part {
        /// The first row that is taken.
        first: u64,
        /// How many are taken.
        rows: u64,
        /// The rows of which these are a part; not 0.
        of: u64,
    },
}

impl RowOrder {
    /// The source's row that becomes row `row`.
    fn source_row(self, row: u64) -> u64 {
        match self {
            RowOrder::Same => row,
            RowOrder::Interleave { head_dim } => {
                let (head, i) = (row / head_dim, row % head_dim);
                head * head_dim + (i % 2) * (head_dim / 2) + i / 2
            }
            RowOrder::Part { first, rows, of } => (row / rows) * of + first + row % rows,
        }
    }
}

impl Tensor {
    /// Elements of a row. A bias whose elements are reordered counts as a column, a row for each element.
    pub(crate) fn row_len(&self) -> u64 {
        match self.order {
            RowOrder::Interleave { .. } if self.shape.len() == 1 => 1,
            _ => self.shape.first().copied().unwrap_or(1),
        }
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> u64 {
        self.elements().checked_div(self.row_len()).unwrap_or(0)
    }

    /// Number of elements. Sizes were checked against the file's when it was opened, so the product fits.
    pub(crate) fn elements(&self) -> u64 {
        self.shape.iter().product()
    }

    /// Bytes of the source.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.source {
            Source::File(_) => self.ty.row_bytes(self.elements()).unwrap_or(0),
            Source::Gguf(gguf, index) => gguf.tensors().get(*index).map_or(0, |tensor| tensor.bytes),
            Source::Changed(_) => self.elements() * size_of::<f32>() as u64,
            Source::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// Whole rows from row `first` on, as they lie in the source: where that is memory already, or else read to `buffer`.
    pub(crate) fn read<'a>(
        &'a self,
        first: u64,
        rows: usize,
        row_bytes: usize,
        buffer: &'a mut Vec<u8>,
    ) -> Result<&'a [u8]> {
        if self.order == RowOrder::Same {
            return self.source.read(first * row_bytes as u64, rows * row_bytes, buffer);
        }
        let mut ordered = Vec::with_capacity(rows * row_bytes);
        for row in (first..).take(rows) {
            let offset = self.order.source_row(row) * row_bytes as u64;
            ordered.extend_from_slice(self.source.read(offset, row_bytes, buffer)?);
        }
        *buffer = ordered;
        Ok(buffer)
    }

    /// Tells the source that this tensor will not be read again.
    pub(crate) fn release(&self) {
        if let Source::Gguf(gguf, index) = &self.source
            && let Some(tensor) = gguf.tensors().get(*index)
        {
            gguf.release(tensor);
        }
    }
}

impl Source {
    fn read<'a>(&'a self, offset: u64, len: usize, buffer: &'a mut Vec<u8>) -> Result<&'a [u8]> {
        match self {
            Source::File(parts) => {
                buffer.resize(len, 0);
                read_parts(parts, offset, buffer)?;
                Ok(buffer)
            }
            Source::Gguf(gguf, index) => {
                let tensor = gguf.tensors().get(*index).context("no such tensor")?;
                part(gguf.data(tensor), offset, len)
            }
            Source::Changed(changed) => {
                changed.read(offset, len, buffer)?;
                part(buffer, 0, len)
            }
            Source::Memory(bytes) => part(bytes, offset, len),
        }
    }
}

/// Fills `dst` from byte `offset` on of what `parts` are together.
fn read_parts(parts: &[FileBytes], offset: u64, mut dst: &mut [u8]) -> Result<()> {
    let each = parts.first().map_or(0, |part| part.len);
    let (mut index, mut within) = match (offset.checked_div(each), offset.checked_rem(each)) {
        (Some(index), Some(within)) => (usize::try_from(index)?, within),
        _ => (0, 0),
    };
    while !dst.is_empty() {
        let part = parts.get(index).context("rows past the end of the tensor")?;
        let len = usize::try_from(part.len.saturating_sub(within))?.min(dst.len());
        let (now, later) = dst.split_at_mut(len);
        part.read(within, now)?;
        (dst, index, within) = (later, index + 1, 0);
    }
    Ok(())
}

fn part(src: &[u8], offset: u64, len: usize) -> Result<&[u8]> {
    let part = usize::try_from(offset).ok().and_then(|from| src.get(from..)?.get(..len));
    part.context("rows past the end of the tensor")
}

/// A range of bytes of an open file.
#[derive(Clone, Debug)]
pub(crate) struct FileBytes {
    file: Arc<File>,
    path: Arc<Path>,
    offset: u64,
    /// Length in bytes.
    len: u64,
}

impl FileBytes {
    /// `len` bytes of `file`, which is at `path`, from `offset` on.
    pub(crate) fn new(file: &Arc<File>, path: &Arc<Path>, offset: u64, len: u64) -> FileBytes {
        FileBytes { file: Arc::clone(file), path: Arc::clone(path), offset, len }
    }

    fn read(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        let at = self.offset + offset;
        let read = self.file.read_exact_at(dst, at);
        read.with_context(|| format!("{}: {} bytes at byte {at}", self.path.display(), dst.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_a_head_are_interleaved() {
        let order = RowOrder::Interleave { head_dim: 6 };
        let rows: Vec<u64> = (0..12).map(|row| order.source_row(row)).collect();
        assert_eq!(rows, [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]);
    }

    #[test]
    fn a_part_of_every_few_rows_is_taken() {
        let order = RowOrder::Part { first: 2, rows: 2, of: 4 };
        let rows: Vec<u64> = (0..6).map(|row| order.source_row(row)).collect();
        assert_eq!(rows, [2, 3, 6, 7, 10, 11]);
    }

    #[test]
    fn parts_of_files_are_read_as_one() {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &[9, 0, 1, 2, 9, 3, 4, 5]).unwrap();
        let (file, path) = (Arc::new(file), Arc::from(Path::new("x")));
        let source = Source::File([1, 5].map(|at| FileBytes::new(&file, &path, at, 3)).into());
        let mut buffer = Vec::new();
        assert_eq!(source.read(1, 4, &mut buffer).unwrap(), [1, 2, 3, 4]);
        assert_eq!(source.read(3, 3, &mut buffer).unwrap(), [3, 4, 5]);
        assert!(source.read(3, 4, &mut buffer).is_err());
    }

    #[test]
    fn a_bias_is_reordered_element_by_element() {
        let tensor = Tensor {
            name: "blk.0.attn_q.bias".into(),
            shape: vec![4],
            ty: TensorType::F16,
            source: Source::Memory(vec![0, 1, 2, 3, 4, 5, 6, 7]),
            order: RowOrder::Interleave { head_dim: 4 },
        };
        assert_eq!((tensor.row_len(), tensor.rows()), (1, 4));
        let mut buffer = Vec::new();
        assert_eq!(tensor.read(1, 3, 2, &mut buffer).unwrap(), [4, 5, 2, 3, 6, 7]);
        assert!(tensor.read(4, 3, 2, &mut buffer).is_err());
    }
}
