use anyhow::{Context, Result};
use siskin::gguf::Gguf;
use siskin_quant::decode;
use std::sync::Arc;

/// The change of a matrix by an adapter: `scale` · B · A is added to it.
#[derive(Debug)]
pub(crate) struct Change {
    /// What the product is multiplied by, nothing else is.
    pub(crate) scale: f32,
    /// Rows of A.
    pub(crate) rank: usize,
    /// `rank` rows, each as long as the matrix's.
    pub(crate) a: Vec<f32>,
    /// As many rows as the matrix has, each of `rank` numbers.
    pub(crate) b: Vec<f32>,
}

/// A matrix of a GGUF file with changes added, read as F32.
#[derive(Debug)]
pub(crate) struct Changed {
    file: Arc<Gguf>,
    index: usize,
    changes: Vec<Change>,
}

impl Changed {
    /// The tensor of this index, and what is added to it. The changes are of its shape.
    pub(crate) fn new(file: &Arc<Gguf>, index: usize, changes: Vec<Change>) -> Changed {
        Changed { file: Arc::clone(file), index, changes }
    }

    /// Puts the bytes of the F32 rows that are `len` bytes from `offset` on, all of them whole, into `buffer`.
    pub(super) fn read(&self, offset: u64, len: usize, buffer: &mut Vec<u8>) -> Result<()> {
        let tensor = self.file.tensors().get(self.index).context("no such tensor")?;
        let row_len = usize::try_from(tensor.row_len())?;
        let row_bytes = usize::try_from(tensor.ty.row_bytes(tensor.row_len()).context("no whole blocks")?)?;
        let first = usize::try_from(offset)? / (size_of::<f32>() * row_len);
        let rows = self.file.data(tensor).chunks_exact(row_bytes).skip(first);
        let (mut decoded, mut row) = (vec![0.0; row_len], vec![0.0; row_len]);
        buffer.clear();
        for (number, bytes) in rows.enumerate().take(len / (size_of::<f32>() * row_len)) {
            decode(tensor.ty, bytes, &mut decoded)?;
            row.iter_mut().zip(&decoded).for_each(|(sum, &weight)| *sum = f64::from(weight));
            self.changes.iter().for_each(|change| change.add(first + number, &mut row));
            buffer.extend(row.iter().flat_map(|&sum| (sum as f32).to_le_bytes()));
        }
        Ok(())
    }
}

impl Change {
    /// Adds what changes in a row of the matrix.
    fn add(&self, number: usize, row: &mut [f64]) {
        let b = self.b.chunks_exact(self.rank).nth(number).unwrap_or_default();
        for (&b, a) in b.iter().zip(self.a.chunks_exact(row.len())) {
            let factor = f64::from(self.scale) * f64::from(b);
            row.iter_mut().zip(a).for_each(|(sum, &a)| *sum += factor * f64::from(a));
        }
    }
}
