mod error;
mod outline;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use twox_hash::XxHash3_128;

pub use error::AdapterError;
pub use outline::{AdapterChange, AdapterOutline};

#[cfg(feature = "training")]
use crate::arena::{Arena, OutOfMemory};
use crate::gguf::{Gguf, TensorInfo};
#[cfg(feature = "training")]
use crate::model::Linear;
use crate::model::{AttachError, LoadError};
use crate::model::{LinearId, Model, Network};
use crate::panel::Panels;

/// Low-rank changes of a model's matrices: LoRA (Hu et al. 2021, arXiv 2106.09685), in the GGUF files that llama.cpp reads.
///
/// The product of a matrix W with x becomes `W·x + scale · alpha / rank · B·(A·x)`. W stays as it is: a session without the
/// adapter, or with a scale of 0, has the bits that it would have had without ever having seen it. Cloning shares the
/// numbers.
#[derive(Clone)]
pub struct Adapter(Arc<Inner>);

struct Inner {
    name: String,
    /// By [`LinearId::number`] of the matrix.
    pairs: Vec<Option<Pair>>,
    hash: u128,
}

/// What is added to the products with one matrix.
pub(crate) struct Pair {
    /// The matrix's name.
    matrix: String,
    /// `rank` rows, each as long as the matrix's.
    pub(crate) a: Panels,
    /// As many rows as the matrix has, each of `rank` numbers.
    pub(crate) b: Panels,
    /// What alpha and the rank come to.
    pub(crate) scale: f32,
}

/// An adapter in use.
#[derive(Clone, Debug)]
pub(crate) struct Attached {
    pub(crate) adapter: Adapter,
    pub(crate) scale: f32,
}

impl Adapter {
    /// Opens an adapter's file.
    ///
    /// # Errors
    /// As for [`Adapter::from_gguf`], or a file that is not sound GGUF.
    pub fn open(path: impl AsRef<Path>, model: &Model) -> Result<Self, LoadError> {
        Self::from_gguf(&Gguf::open(path.as_ref())?, model)
    }

    /// The adapter in an open file, for `model` and others of the same shape.
    ///
    /// # Errors
    /// [`LoadError::Adapter`] for a file that is no adapter, or one of another model; too little memory.
    pub fn from_gguf(file: &Gguf, model: &Model) -> Result<Self, LoadError> {
        let outline = AdapterOutline::of(file)?;
        outline.check(model.network())?;
        let linears = model.network().layer_linears();
        let ids: HashMap<&str, LinearId> = linears.map(|linear| (&*linear.name, linear.id)).collect();
        let mut pairs: Vec<Option<Pair>> = Vec::new();
        let mut hasher = XxHash3_128::new();
        for change in outline.changes() {
            let Some(id) = ids.get(&*change.matrix) else { continue };
            let pair = Pair::load(file, change)?;
            pair.hash(&mut hasher);
            if pairs.len() <= id.number() {
                pairs.resize_with(id.number() + 1, || None);
            }
            pairs[id.number()] = Some(pair);
        }
        file.check_unchanged()?;
        Ok(Self(Arc::new(Inner { name: file.name().to_owned(), pairs, hash: hasher.finish_128() })))
    }

    /// The file's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// How many matrices it changes.
    pub fn matrices(&self) -> usize {
        self.pairs().count()
    }

    /// The largest rank of a change.
    pub fn rank(&self) -> usize {
        self.pairs().map(|pair| pair.a.rows()).max().unwrap_or(0)
    }

    /// A hash of all that the changes depend on.
    pub fn hash(&self) -> u128 {
        self.0.hash
    }

    /// Bytes that its numbers take.
    pub fn bytes(&self) -> usize {
        self.pairs().map(|pair| pair.a.bytes() + pair.b.bytes()).sum()
    }

    /// What it adds to the products with this matrix.
    pub(crate) fn pair(&self, linear: LinearId) -> Option<&Pair> {
        self.0.pairs.get(linear.number())?.as_ref()
    }

    /// Whether it may change this network, times `scale`.
    ///
    /// # Errors
    /// One that does not fit the network, a scale without meaning.
    pub(crate) fn check(&self, network: &Network, scale: f32) -> Result<(), AttachError> {
        let adapter = || self.name().to_owned();
        match (scale.is_finite(), self.fits(network)) {
            (false, _) => Err(AttachError::Scale { adapter: adapter(), scale }),
            (_, false) => Err(AttachError::Mismatch { adapter: adapter() }),
            _ => Ok(()),
        }
    }

    /// Whether its changes are changes of this network's matrices.
    fn fits(&self, network: &Network) -> bool {
        let fitting = network.layer_linears().filter(|linear| {
            self.pair(linear.id).is_some_and(|Pair { matrix, a, b, .. }| {
                let found = (&linear.name, linear.weight.k(), linear.weight.rows());
                found == (matrix, a.k(), b.rows())
            })
        });
        fitting.count() == self.matrices()
    }

    /// An adapter whose numbers are all 0, to be set: for each matrix its rank and what A's and B's product is multiplied by.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    #[cfg(feature = "training")]
    pub(crate) fn of_zeros<'a>(
        arena: &mut Arena,
        name: &str,
        changes: impl Iterator<Item = (&'a Linear, usize, f32)>,
    ) -> Result<Self, OutOfMemory> {
        let mut pairs: Vec<Option<Pair>> = Vec::new();
        for (linear, rank, scale) in changes {
            let mut zeros = |rows, k| Panels::zeros(arena, rows, k);
            let (a, b) = (zeros(rank, linear.weight.k())?, zeros(linear.weight.rows(), rank)?);
            pairs.resize_with(pairs.len().max(linear.id.number() + 1), || None);
            pairs[linear.id.number()] = Some(Pair { matrix: linear.name.clone(), a, b, scale });
        }
        Ok(Self(Arc::new(Inner { name: name.to_owned(), pairs, hash: 0 })))
    }

    /// Sets the numbers of what is added to the products with a matrix: rows of A and columns of B, each so many numbers from the next.
    /// Nothing is set where somebody else has the adapter too.
    #[cfg(feature = "training")]
    pub(crate) fn set_numbers(&mut self, linear: LinearId, a: (&[f32], usize), b: (&[f32], usize)) {
        let Some(inner) = Arc::get_mut(&mut self.0) else { return };
        if let Some(Some(pair)) = inner.pairs.get_mut(linear.number()) {
            pair.a.set_rows(a.0, a.1);
            pair.b.set_columns(b.0, b.1);
        }
    }

    pub(crate) fn is(&self, other: &Adapter) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn pairs(&self) -> impl Iterator<Item = &Pair> {
        self.0.pairs.iter().flatten()
    }
}

impl fmt::Debug for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adapter")
            .field("name", &self.name())
            .field("rank", &self.rank())
            .finish_non_exhaustive()
    }
}

impl PartialEq for Attached {
    fn eq(&self, other: &Self) -> bool {
        self.adapter.is(&other.adapter) && self.scale == other.scale
    }
}

impl Attached {
    /// Hashes the changes and their scale.
    pub(crate) fn hash(&self, hasher: &mut XxHash3_128) {
        hasher.write(&self.adapter.0.hash.to_le_bytes());
        hasher.write(&self.scale.to_le_bytes());
    }
}

impl Pair {
    fn load(file: &Gguf, change: &AdapterChange) -> Result<Self, LoadError> {
        let AdapterChange { matrix, rank, rows, row_len, scale, .. } = change.clone();
        let [a, b] = change.halves(file)?;
        Ok(Self { matrix, a: panels(file, a, rank, row_len)?, b: panels(file, b, rows, rank)?, scale })
    }

    fn hash(&self, hasher: &mut XxHash3_128) {
        hasher.write(self.matrix.as_bytes());
        hasher.write(&self.scale.to_le_bytes());
        for half in [&self.a, &self.b] {
            hasher.write(&half.ty().id().to_le_bytes());
            hasher.write(half.panels(0, half.padded_rows()));
        }
    }
}

/// The numbers of a tensor: as they are where they are floats, else decoded.
fn panels(file: &Gguf, tensor: &TensorInfo, rows: usize, k: usize) -> Result<Panels, LoadError> {
    let kept = outline::kept_in(tensor.ty);
    if kept == tensor.ty {
        outline::check_numbers(file, tensor)?;
        return Ok(Panels::pack(kept, rows, k, file.data(tensor))?);
    }
    let numbers = outline::numbers(file, tensor)?;
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    Ok(Panels::pack(kept, rows, k, &bytes)?)
}
