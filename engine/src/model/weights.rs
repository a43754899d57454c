use std::collections::HashSet;
use std::ops::{ControlFlow, Index, Range};
use std::sync::Arc;

use twox_hash::XxHash3_128;

use super::left_out::{first_ahead, is_left_out};
use crate::arena::{Arena, Buf};
use crate::fingerprint::{Fingerprint, fingerprint};
use crate::gguf::{Gguf, Layout, TensorInfo};
use crate::kernels::Kernels;
use crate::model::LoadError;
use crate::packed::unpack;
use crate::panel::{Panels, ROWS};

/// A weight matrix and the vector that is added to its product. Cloning shares both.
#[derive(Clone)]
pub(crate) struct Linear {
    pub(crate) id: LinearId,
    /// The matrix's name in the file.
    pub(crate) name: String,
    pub(crate) weight: Panels,
    /// As long as the padded rows.
    pub(crate) bias: Option<Arc<Buf<f32>>>,
    /// How many of how many parts a token is multiplied with.
    pub(crate) used: (usize, usize),
}

impl Linear {
    /// Hashes its name and its numbers.
    pub(crate) fn hash(&self, hasher: &mut XxHash3_128) {
        let Self { name, weight, bias, id: _, used: _ } = self;
        hasher.write(name.as_bytes());
        hasher.write(&weight.ty().id().to_le_bytes());
        hasher.write(weight.panels(0, weight.padded_rows()));
        bias.iter().for_each(|bias| hash_floats(bias, hasher));
    }

    /// Whether these are matrices of several experts, one below the other.
    pub(crate) fn is_experts(&self) -> bool {
        self.used.1 > 1
    }

    pub(crate) fn bytes(&self) -> usize {
        self.weight.bytes() + self.bias.as_ref().map_or(0, |bias| size_of_val(&***bias))
    }

    /// Bytes that one token's product reads.
    pub(crate) fn bytes_per_token(&self) -> usize {
        let (used, of) = self.used;
        self.bytes() / of * used
    }

    /// Multiply-adds of one token's product.
    pub(crate) fn multiply_adds(&self) -> u64 {
        let (used, of) = self.used;
        self.weight.weights() / of as u64 * used as u64
    }
}

/// All matrices and vectors of a model, which its layers name by number. Cloning shares their numbers.
#[derive(Clone, Default)]
pub(crate) struct Weights {
    pub(crate) linears: Vec<Linear>,
    pub(crate) vectors: Vec<Arc<Buf<f32>>>,
}

/// A matrix of [`Weights`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinearId(usize);

/// A vector of [`Weights`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VectorId(usize);

/// Some rows of a matrix of [`Weights`]: all of most, a part of one that is several in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowsId {
    linear: LinearId,
    rows: Range<usize>,
}

/// Some rows of a matrix, from a multiple of 16 on.
#[derive(Clone)]
pub(crate) struct LinearRows<'a> {
    pub(crate) linear: &'a Linear,
    pub(crate) rows: Range<usize>,
}

impl Fingerprint for LinearId {
    fn hash(&self, hasher: &mut XxHash3_128) {
        self.0.hash(hasher);
    }
}

impl Fingerprint for VectorId {
    fn hash(&self, hasher: &mut XxHash3_128) {
        self.0.hash(hasher);
    }
}

fingerprint!(RowsId { linear, rows });

impl RowsId {
    /// The matrix that they are of.
    #[cfg(feature = "training")]
    pub(crate) fn linear(&self) -> LinearId {
        self.linear
    }
}

impl LinearId {
    /// Its number among all matrices of the model.
    pub(crate) fn number(self) -> usize {
        self.0
    }
}

impl Index<LinearId> for Weights {
    type Output = Linear;

    fn index(&self, id: LinearId) -> &Linear {
        &self.linears[id.0]
    }
}

impl Index<VectorId> for Weights {
    type Output = [f32];

    fn index(&self, id: VectorId) -> &[f32] {
        &self.vectors[id.0]
    }
}

impl Weights {
    /// The rows of this number.
    pub(crate) fn rows(&self, id: &RowsId) -> LinearRows<'_> {
        LinearRows { linear: &self[id.linear], rows: id.rows.clone() }
    }

    /// All matrices but these.
    pub(crate) fn linears_but<const N: usize>(&self, but: [LinearId; N]) -> impl Iterator<Item = &Linear> {
        let linears = self.linears.iter().enumerate();
        linears.filter(move |&(id, _)| !but.contains(&LinearId(id))).map(|(_, linear)| linear)
    }

    /// Hashes their names and numbers.
    pub(crate) fn hash(&self, hasher: &mut XxHash3_128) {
        self.vectors.iter().for_each(|vector| hash_floats(vector, hasher));
        self.linears.iter().for_each(|linear| linear.hash(hasher));
    }

    /// All rows of a matrix.
    pub(crate) fn all(&self, id: LinearId) -> LinearRows<'_> {
        let linear = &self[id];
        LinearRows { linear, rows: 0..linear.weight.rows() }
    }
}

impl LinearRows<'_> {
    /// Rows with the padding of the last panel.
    pub(crate) fn padded(&self) -> usize {
        self.rows.len().next_multiple_of(ROWS)
    }
}

/// Takes a model's tensors out of its file, and remembers which.
pub(crate) struct Loader<'a> {
    file: &'a Gguf,
    architecture: &'a str,
    arena: Arena,
    taken: HashSet<String>,
    weights: Weights,
    watch: Watch<'a>,
    /// Of the tensors that are loaded, and of all.
    loaded: u64,
    all: u64,
}

/// Who is told how many bytes of a file's tensors are loaded, and of how many, and may have that end.
pub(crate) type Watch<'a> = &'a mut dyn FnMut(u64, u64) -> ControlFlow<()>;

impl<'a> Loader<'a> {
    /// A loader that puts the weights into buffers of `arena`. With one that only counts it checks all that the file
    /// says of its tensors, and looks at no weight.
    pub(crate) fn new(file: &'a Gguf, architecture: &'a str, arena: Arena, watch: Watch<'a>) -> Self {
        let all = file.tensors().iter().map(|tensor| tensor.bytes).sum();
        let (taken, weights) = (HashSet::new(), Weights::default());
        Self { file, architecture, arena, taken, weights, watch, loaded: 0, all }
    }

    /// Tells that `loaded` bytes are loaded.
    fn tell(&mut self, loaded: u64) -> Result<(), LoadError> {
        self.loaded = loaded;
        match (self.watch)(loaded, self.all) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(LoadError::Cancelled { file: self.file.name().to_owned() }),
        }
    }

    /// The matrix `name` of `rows` rows of `k` weights.
    fn matrix(&mut self, name: &str, shape: &[u64], rows: usize, k: usize) -> Result<Panels, LoadError> {
        let tensor = self.take(name).ok_or_else(|| self.missing(name))?;
        self.check_shape(tensor, shape)?;
        if !Kernels::supports(tensor.ty) {
            let (file, tensor, ty) = (self.file.name().to_owned(), tensor.name.clone(), tensor.ty);
            return Err(LoadError::Type { file, tensor, ty });
        }
        let (file, arena) = (self.file, &mut self.arena);
        if tensor.layout == Layout::Panels {
            if !arena.counts_only() {
                file.prefetch(tensor);
            }
            let panels = Panels::packed(arena, tensor.ty, rows, k, Arc::new(file.panels(tensor)))?;
            self.tell(self.loaded + tensor.bytes)?;
            return Ok(panels);
        }
        // The packed copy is the one that counts: the file's pages go as soon as they are read.
        let done = |part| file.release_part(tensor, part);
        let panels = Panels::pack_into(arena, tensor.ty, rows, k, file.data(tensor), done)?;
        self.tell(self.loaded + tensor.bytes)?;
        Ok(panels)
    }

    /// The matrix `name.weight`, and `name.bias` where there is one.
    pub(crate) fn linear(&mut self, name: &str, rows: usize, k: usize) -> Result<LinearId, LoadError> {
        let bias = self.numbers(&format!("{name}.bias"), rows)?;
        let name = format!("{name}.weight");
        let weight = self.matrix(&name, &[k as u64, rows as u64], rows, k)?;
        Ok(self.push(name, weight, bias.map(Arc::new), (1, 1)))
    }

    fn push(
        &mut self,
        name: String,
        weight: Panels,
        bias: Option<Arc<Buf<f32>>>,
        used: (usize, usize),
    ) -> LinearId {
        let id = LinearId(self.weights.linears.len());
        self.weights.linears.push(Linear { id, name, weight, bias, used });
        id
    }

    /// The matrices `name.weight` of so many experts, of `rows` rows each, of which a token is multiplied with a few.
    ///
    /// # Errors
    /// As for [`Loader::stacked`].
    pub(crate) fn experts(
        &mut self,
        name: &str,
        (used, experts): (usize, usize),
        rows: usize,
        k: usize,
    ) -> Result<Vec<RowsId>, LoadError> {
        let name = format!("{name}.weight");
        if !rows.is_multiple_of(ROWS) {
            return Err(LoadError::Stacked { file: self.file.name().to_owned(), tensor: name, row: rows });
        }
        let shape = [k as u64, rows as u64, experts as u64];
        let weight = self.matrix(&name, &shape, rows.saturating_mul(experts), k)?;
        let linear = self.push(name, weight, None, (used, experts));
        Ok((0..experts).map(|i| RowsId { linear, rows: i * rows..(i + 1) * rows }).collect())
    }

    /// All rows of the matrix that [`Loader::linear`] loads.
    pub(crate) fn rows(&mut self, name: &str, rows: usize, k: usize) -> Result<RowsId, LoadError> {
        Ok(RowsId { linear: self.linear(name, rows, k)?, rows: 0..rows })
    }

    /// A matrix that is several, one below the other, of so many rows each.
    ///
    /// # Errors
    /// As for [`Loader::linear`], and where one does not begin with a panel.
    pub(crate) fn stacked<const N: usize>(
        &mut self,
        name: &str,
        rows: [usize; N],
        k: usize,
    ) -> Result<[RowsId; N], LoadError> {
        let all = rows.iter().sum();
        let linear = self.linear(name, all, k)?;
        let mut from = 0;
        let parts = rows.map(|rows| {
            from += rows;
            RowsId { linear, rows: from - rows..from }
        });
        match parts.iter().find(|part| !part.rows.start.is_multiple_of(ROWS)) {
            None => Ok(parts),
            Some(part) => Err(LoadError::Stacked {
                file: self.file.name().to_owned(),
                tensor: format!("{name}.weight"),
                row: part.rows.start,
            }),
        }
    }

    /// The vector `name` of `n` numbers, padded with zeros to a multiple of 32.
    pub(crate) fn vector(&mut self, name: &str, n: usize) -> Result<VectorId, LoadError> {
        self.optional_vector(name, n)?.ok_or_else(|| self.missing(name))
    }

    /// The vector `name`, or None where the file has no such tensor.
    pub(crate) fn optional_vector(&mut self, name: &str, n: usize) -> Result<Option<VectorId>, LoadError> {
        let Some(vector) = self.numbers(name, n)? else { return Ok(None) };
        self.weights.vectors.push(Arc::new(vector));
        Ok(Some(VectorId(self.weights.vectors.len() - 1)))
    }

    /// The kernels `name` of a convolution, of so many taps for each channel: see
    /// [`ShortConv::kernel`](super::conv::ShortConv::kernel).
    pub(crate) fn taps(&mut self, name: &str, channels: usize, taps: usize) -> Result<VectorId, LoadError> {
        let tensor = self.take(name).ok_or_else(|| self.missing(name))?;
        self.check_shape(tensor, &[taps as u64, channels as u64])?;
        let stride = channels.next_multiple_of(32);
        let mut kernel = self.arena.buf(taps.saturating_mul(stride))?;
        if !self.arena.counts_only() {
            let mut numbers = vec![0.0; channels * taps];
            self.decode(tensor, &mut numbers)?;
            for (channel, numbers) in numbers.chunks_exact(taps).enumerate() {
                let taps = kernel.chunks_exact_mut(stride).zip(numbers);
                taps.for_each(|(tap, &number)| tap[channel] = number);
            }
        }
        self.weights.vectors.push(Arc::new(kernel));
        Ok(VectorId(self.weights.vectors.len() - 1))
    }

    /// The numbers of the vector `name`, padded likewise; None where the file has no such tensor. Where weights are only
    /// counted, there are none.
    pub(crate) fn numbers(&mut self, name: &str, n: usize) -> Result<Option<Buf<f32>>, LoadError> {
        let Some(tensor) = self.take(name) else { return Ok(None) };
        self.check_shape(tensor, &[n as u64])?;
        if tensor.layout == Layout::Panels {
            return Err(self.packed_vector(tensor));
        }
        let mut vector = self.arena.buf(n.next_multiple_of(32))?;
        if let Some(numbers) = vector.get_mut(..n) {
            self.decode(tensor, numbers)?;
        }
        Ok(Some(vector))
    }

    /// All numbers of a tensor, also of one that was packed as if it were a matrix.
    fn decode(&self, tensor: &TensorInfo, numbers: &mut [f32]) -> Result<(), LoadError> {
        let (file, name, ty) = (self.file.name().to_owned(), tensor.name.clone(), tensor.ty);
        let mut rows = Vec::new();
        let bytes = match tensor.layout {
            Layout::Rows => self.file.data(tensor),
            Layout::Panels => {
                rows.resize(numbers.len() / ty.block_len() * ty.block_bytes(), 0);
                if !unpack(ty, tensor.row_len(), &self.file.panels(tensor), &mut rows) {
                    return Err(self.packed_vector(tensor));
                }
                &rows
            }
        };
        siskin_quant::decode(ty, bytes, numbers).map_err(|_| LoadError::Type { file, tensor: name, ty })?;
        // Vectors are small and stand among matrices that may be packed already.
        self.file.release_around(tensor);
        Ok(())
    }

    /// Whether the file has a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.file.tensor(name).is_some()
    }

    /// Refuses a file with tensors that nobody took and that are of no part that is left out; those that were, with the bytes of their buffers.
    pub(crate) fn finish(mut self) -> Result<(Weights, usize), LoadError> {
        /// Tables of old files that follow from the hyperparameters; llama.cpp skips them too.
        const DERIVED: [&str; 2] = ["rope.freqs", "attn_rot_embd"];
        let ahead = first_ahead(self.file);
        let unused = |t: &&TensorInfo| {
            let derived = DERIVED.iter().any(|derived| t.name.contains(derived));
            !self.taken.contains(&t.name) && !derived && !is_left_out(t, ahead)
        };
        match self.file.tensors().iter().find(unused) {
            None => {
                self.tell(self.all)?;
                Ok((self.weights, self.arena.bytes()))
            }
            Some(tensor) => Err(LoadError::UnexpectedTensor {
                file: self.file.name().to_owned(),
                tensor: tensor.name.clone(),
                architecture: self.architecture.to_owned(),
            }),
        }
    }

    fn take(&mut self, name: &str) -> Option<&'a TensorInfo> {
        let tensor = self.file.tensor(name);
        if tensor.is_some() {
            self.taken.insert(name.to_owned());
        }
        tensor
    }

    fn packed_vector(&self, tensor: &TensorInfo) -> LoadError {
        LoadError::PackedVector { file: self.file.name().to_owned(), tensor: tensor.name.clone() }
    }

    fn missing(&self, name: &str) -> LoadError {
        LoadError::MissingTensor { file: self.file.name().to_owned(), tensor: name.to_owned() }
    }

    fn check_shape(&self, tensor: &TensorInfo, expected: &[u64]) -> Result<(), LoadError> {
        // Writers may leave out trailing dimensions of 1, or write them.
        let trimmed = |shape: &[u64]| {
            let len = shape.iter().rposition(|&d| d != 1).map_or(0, |last| last + 1);
            shape[..len].to_vec()
        };
        if trimmed(&tensor.shape) == trimmed(expected) {
            return Ok(());
        }
        Err(LoadError::Shape {
            file: self.file.name().to_owned(),
            tensor: tensor.name.clone(),
            expected: expected.to_vec(),
            found: tensor.shape.clone(),
        })
    }
}

/// Hashes the bits of some numbers.
pub(crate) fn hash_floats(numbers: &[f32], hasher: &mut XxHash3_128) {
    numbers.iter().for_each(|number| hasher.write(&number.to_le_bytes()));
}
