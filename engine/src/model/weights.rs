use std::collections::HashSet;
use std::sync::Arc;

use twox_hash::XxHash3_128;

use crate::arena::{Arena, Buf};
use crate::error::Error;
use crate::gguf::{Gguf, Layout, TensorInfo};
use crate::kernels::Kernels;
use crate::panel::Panels;

/// A weight matrix and the vector that is added to its product. Cloning shares both.
#[derive(Clone)]
pub(crate) struct Linear {
    /// The matrix's name in the file.
    pub(crate) name: String,
    pub(crate) weight: Panels,
    /// As long as the padded rows.
    pub(crate) bias: Option<Arc<Buf<f32>>>,
}

impl Linear {
    /// Hashes its name and its numbers.
    pub(crate) fn hash(&self, hasher: &mut XxHash3_128) {
        let Self { name, weight, bias } = self;
        hasher.write(name.as_bytes());
        hasher.write(&weight.ty().id().to_le_bytes());
        hasher.write(weight.panels(0, weight.padded_rows()));
        bias.iter().for_each(|bias| hash_floats(bias, hasher));
    }

    pub(crate) fn bytes(&self) -> usize {
        self.weight.bytes() + self.bias.as_ref().map_or(0, |bias| size_of_val(&***bias))
    }
}

/// Takes a model's tensors out of its file, and remembers which.
pub(crate) struct Loader<'a> {
    file: &'a Gguf,
    architecture: &'a str,
    arena: Arena,
    taken: HashSet<String>,
}

impl<'a> Loader<'a> {
    /// A loader that puts the weights into buffers of `arena`. With one that only counts it checks all that the file
    /// says of its tensors, and looks at no weight.
    pub(crate) fn new(file: &'a Gguf, architecture: &'a str, arena: Arena) -> Self {
        Self { file, architecture, arena, taken: HashSet::new() }
    }

    /// The matrix `name` of `rows` rows of `k` weights.
    pub(crate) fn matrix(&mut self, name: &str, rows: usize, k: usize) -> Result<Panels, Error> {
        let tensor = self.take(name).ok_or_else(|| self.missing(name))?;
        self.check_shape(tensor, &[k as u64, rows as u64])?;
        if !Kernels::supports(tensor.ty) {
            let (file, tensor, ty) = (self.file.name().to_owned(), tensor.name.clone(), tensor.ty);
            return Err(Error::Type { file, tensor, ty });
        }
        let (file, arena) = (self.file, &mut self.arena);
        if tensor.layout == Layout::Panels {
            if !arena.counts_only() {
                file.prefetch(tensor);
            }
            return Ok(Panels::packed(arena, tensor.ty, rows, k, file.panels(tensor))?);
        }
        // The packed copy is the one that counts: the file's pages go as soon as they are read.
        let done = |part| file.release_part(tensor, part);
        Ok(Panels::pack_into(arena, tensor.ty, rows, k, file.data(tensor), done)?)
    }

    /// The matrix `name.weight`, and `name.bias` where there is one.
    pub(crate) fn linear(&mut self, name: &str, rows: usize, k: usize) -> Result<Linear, Error> {
        let bias = self.optional_vector(&format!("{name}.bias"), rows)?;
        let name = format!("{name}.weight");
        Ok(Linear { weight: self.matrix(&name, rows, k)?, name, bias })
    }

    /// The vector `name` of `n` numbers, padded with zeros to a multiple of 32.
    pub(crate) fn vector(&mut self, name: &str, n: usize) -> Result<Arc<Buf<f32>>, Error> {
        self.optional_vector(name, n)?.ok_or_else(|| self.missing(name))
    }

    /// The vector `name`, or None where the file has no such tensor.
    pub(crate) fn optional_vector(&mut self, name: &str, n: usize) -> Result<Option<Arc<Buf<f32>>>, Error> {
        let Some(tensor) = self.take(name) else { return Ok(None) };
        self.check_shape(tensor, &[n as u64])?;
        if tensor.layout == Layout::Panels {
            let (file, tensor) = (self.file.name().to_owned(), tensor.name.clone());
            return Err(Error::PackedVector { file, tensor });
        }
        let mut vector = self.arena.buf(n.next_multiple_of(32))?;
        if let Some(numbers) = vector.get_mut(..n) {
            siskin_quant::decode(tensor.ty, self.file.data(tensor), numbers).map_err(|_| Error::Type {
                file: self.file.name().to_owned(),
                tensor: tensor.name.clone(),
                ty: tensor.ty,
            })?;
        }
        Ok(Some(Arc::new(vector)))
    }

    /// Whether the file has a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.file.tensor(name).is_some()
    }

    /// Refuses a file with tensors that nobody took; the bytes of the buffers for those that were.
    pub(crate) fn finish(self) -> Result<usize, Error> {
        /// Tables of old files that follow from the hyperparameters; llama.cpp skips them too.
        const DERIVED: [&str; 2] = ["rope.freqs", "attn_rot_embd"];
        let unused = |t: &&TensorInfo| {
            !self.taken.contains(&t.name) && !DERIVED.iter().any(|derived| t.name.contains(derived))
        };
        match self.file.tensors().iter().find(unused) {
            None => Ok(self.arena.bytes()),
            Some(tensor) => Err(Error::UnexpectedTensor {
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

    fn missing(&self, name: &str) -> Error {
        Error::MissingTensor { file: self.file.name().to_owned(), tensor: name.to_owned() }
    }

    fn check_shape(&self, tensor: &TensorInfo, expected: &[u64]) -> Result<(), Error> {
        // Writers may leave out trailing dimensions of 1, or write them.
        let trimmed = |shape: &[u64]| {
            let len = shape.iter().rposition(|&d| d != 1).map_or(0, |last| last + 1);
            shape[..len].to_vec()
        };
        if trimmed(&tensor.shape) == trimmed(expected) {
            return Ok(());
        }
        Err(Error::Shape {
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
