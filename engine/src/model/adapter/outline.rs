use std::collections::{BTreeSet, HashMap};

use siskin_quant::TensorType;

use super::AdapterError;
use crate::gguf::{Gguf, Layout, TensorInfo};
use crate::model::LoadError;
use crate::model::{Linear, Network};
use crate::panel::ROWS;

const HALVES: [&str; 2] = [".lora_a", ".lora_b"];
/// What the model's file has, too.
const OF_THE_MODEL: [&str; 3] =
    ["rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"];

/// What the header of an adapter's file says, checked as far as that is possible without the model and without a look at
/// the numbers.
#[derive(Clone, Debug)]
pub struct AdapterOutline {
    name: String,
    architecture: String,
    alpha: f32,
    changes: Vec<AdapterChange>,
    left_out: Vec<String>,
}

/// The change of one matrix: `scale` · B · A is added to it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AdapterChange {
    /// The matrix's name in the model's file.
    pub matrix: String,
    /// Rows of A, and numbers in a row of B.
    pub rank: usize,
    /// Rows of the matrix and of B.
    pub rows: usize,
    /// Numbers in a row of the matrix and of A.
    pub row_len: usize,
    /// alpha / rank.
    pub scale: f32,
    /// What the file has A and B in.
    pub types: [TensorType; 2],
}

impl AdapterOutline {
    /// Looks at the file's metadata and at the names, shapes and types of its tensors.
    ///
    /// # Errors
    /// [`LoadError::Adapter`] for a file that is no adapter.
    pub fn of(file: &Gguf) -> Result<Self, LoadError> {
        let failed = |problem| LoadError::Adapter { file: file.name().to_owned(), problem };
        for (key, expected) in [("general.type", "adapter"), ("adapter.type", "lora")] {
            let found = file.require_str(key)?;
            if found != expected {
                let (expected, found) = (expected.to_owned(), found.to_owned());
                return Err(failed(AdapterError::Kind { key, expected, found }));
            }
        }
        let architecture = file.require_str("general.architecture")?.to_owned();
        let alpha = file.require_f32("adapter.lora.alpha")?;
        if !alpha.is_finite() {
            return Err(failed(AdapterError::Alpha(alpha)));
        }
        let mut seen = BTreeSet::new();
        let (mut changes, mut left_out) = (Vec::new(), Vec::new());
        for tensor in file.tensors() {
            if OF_THE_MODEL.contains(&tensor.name.as_str()) {
                left_out.push(tensor.name.clone());
                continue;
            }
            let Some(matrix) = HALVES.iter().find_map(|half| tensor.name.strip_suffix(half)) else {
                return Err(failed(AdapterError::NoMatrix { tensor: tensor.name.clone() }));
            };
            if seen.insert(matrix) {
                changes.push(AdapterChange::of(file, matrix, alpha).map_err(failed)?);
            }
        }
        if changes.is_empty() {
            return Err(failed(AdapterError::Empty));
        }
        Ok(Self { name: file.name().to_owned(), architecture, alpha, changes, left_out })
    }

    /// The file's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The family of the models it is made for.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// The alpha of the file; 0 where the scales do without.
    pub fn alpha(&self) -> f32 {
        self.alpha
    }

    /// The changes, in the order of the file.
    pub fn changes(&self) -> &[AdapterChange] {
        &self.changes
    }

    /// Tensors of the file that are the model's own, and are not looked at: factors of rotations, which llama.cpp's
    /// converter writes into adapters of models that have them.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// The largest rank of a change.
    pub fn rank(&self) -> usize {
        self.changes.iter().map(|change| change.rank).max().unwrap_or(0)
    }

    /// Bytes of memory that the numbers will take, as [`Adapter::bytes`](super::Adapter::bytes) says then.
    pub fn bytes(&self) -> u64 {
        self.changes.iter().map(AdapterChange::bytes).fold(0, u64::saturating_add)
    }

    /// Whether its changes are changes of matrices that this network has in its layers.
    pub(crate) fn check(&self, network: &Network) -> Result<(), LoadError> {
        let failed = |problem| LoadError::Adapter { file: self.name.clone(), problem };
        if self.architecture != network.architecture() {
            let (expected, found) = (network.architecture().to_owned(), self.architecture.clone());
            return Err(failed(AdapterError::Kind { key: "general.architecture", expected, found }));
        }
        let linears = network.layer_linears();
        let linears: HashMap<&str, &Linear> = linears.map(|linear| (&*linear.name, linear)).collect();
        for AdapterChange { matrix, rank, rows, row_len, .. } in &self.changes {
            let [a, b] = HALVES.map(|half| format!("{matrix}{half}"));
            let Some(linear) = linears.get(&**matrix) else {
                return Err(failed(AdapterError::NoMatrix { tensor: a }));
            };
            if linear.is_experts() {
                return Err(failed(AdapterError::Experts { tensor: a }));
            }
            let (expected_rows, expected_len) = (linear.weight.rows(), linear.weight.k());
            let shape = |tensor, expected: String, found: [usize; 2]| {
                failed(AdapterError::Shape { tensor, expected, found: found.map(|n| n as u64).to_vec() })
            };
            if *row_len != expected_len {
                return Err(shape(a, format!("[{expected_len}, {rank}]"), [*row_len, *rank]));
            }
            if *rows != expected_rows {
                return Err(shape(b, format!("[{rank}, {expected_rows}]"), [*rank, *rows]));
            }
        }
        Ok(())
    }
}

impl AdapterChange {
    fn of(file: &Gguf, matrix: &str, alpha: f32) -> Result<Self, AdapterError> {
        let [a, b] = HALVES.map(|half| {
            let name = format!("{matrix}{half}");
            file.tensor(&name).ok_or(AdapterError::Half(name))
        });
        let (a, b) = (a?, b?);
        let wrong = |tensor: &TensorInfo, expected: String| AdapterError::Shape {
            tensor: tensor.name.clone(),
            expected,
            found: tensor.shape.clone(),
        };
        // Writers may leave out trailing dimensions of 1.
        let shape = |tensor: &TensorInfo| match *tensor.shape {
            [k] => Some((usize::try_from(k).ok()?, 1)),
            [k, rows] => Some((usize::try_from(k).ok()?, usize::try_from(rows).ok()?)),
            _ => None,
        };
        let (row_len, rank) = shape(a)
            .filter(|&(k, rank)| k > 0 && rank > 0)
            .ok_or_else(|| wrong(a, "[the matrix's row length, a rank of at least 1]".to_owned()))?;
        let (_, rows) = shape(b)
            .filter(|&(k, rows)| k == rank && rows > 0)
            .ok_or_else(|| wrong(b, format!("[{rank}, the matrix's rows]")))?;
        for tensor in [a, b] {
            if tensor.layout == Layout::Panels || !tensor.ty.can_decode() {
                return Err(AdapterError::Type { tensor: tensor.name.clone(), ty: tensor.ty });
            }
        }
        // As llama.cpp takes it: without alpha the scale is all.
        let scale = if alpha == 0.0 { 1.0 } else { alpha / rank as f32 };
        Ok(Self { matrix: matrix.to_owned(), rank, rows, row_len, scale, types: [a.ty, b.ty] })
    }

    /// The numbers of A, `rank` rows of `row_len`, and of B, `rows` rows of `rank`.
    ///
    /// # Errors
    /// A number that is not finite, or another file than the change is of.
    pub fn numbers(&self, file: &Gguf) -> Result<[Vec<f32>; 2], LoadError> {
        let [a, b] = self.halves(file)?;
        Ok([numbers(file, a)?, numbers(file, b)?])
    }

    /// The tensors of A and B in their file.
    pub(super) fn halves<'a>(&self, file: &'a Gguf) -> Result<[&'a TensorInfo; 2], LoadError> {
        let [a, b] = HALVES.map(|half| {
            let name = format!("{}{half}", self.matrix);
            let problem =
                |name| LoadError::Adapter { file: file.name().to_owned(), problem: AdapterError::Half(name) };
            file.tensor(&name).ok_or_else(|| problem(name))
        });
        Ok([a?, b?])
    }

    /// Bytes of both halves in panels.
    fn bytes(&self) -> u64 {
        let [a, b] = self.types.map(|ty| kept_in(ty).block_bytes());
        let half = |rows: usize, k: usize, bytes: usize| {
            (rows.next_multiple_of(ROWS) as u64).saturating_mul(k as u64).saturating_mul(bytes as u64)
        };
        half(self.rank, self.row_len, a).saturating_add(half(self.rows, self.rank, b))
    }
}

/// The type that numbers of this type are kept in: floats as they are, all others decoded.
pub(super) fn kept_in(ty: TensorType) -> TensorType {
    match ty {
        TensorType::F16 | TensorType::BF16 => ty,
        _ => TensorType::F32,
    }
}

/// The numbers of a tensor, decoded.
///
/// # Errors
/// As for [`check_numbers`].
pub(super) fn numbers(file: &Gguf, tensor: &TensorInfo) -> Result<Vec<f32>, LoadError> {
    let mut all = Vec::new();
    for_numbers(file, tensor, |numbers| all.extend_from_slice(numbers))?;
    Ok(all)
}

/// Refuses a type that cannot be decoded, and numbers that are not finite.
pub(super) fn check_numbers(file: &Gguf, tensor: &TensorInfo) -> Result<(), LoadError> {
    for_numbers(file, tensor, |_| ())
}

/// Shows a tensor's numbers, some at a time.
fn for_numbers(file: &Gguf, tensor: &TensorInfo, mut show: impl FnMut(&[f32])) -> Result<(), LoadError> {
    /// A multiple of the numbers in a block of any type.
    const AT_ONCE: usize = 4096;
    let TensorInfo { name, ty, .. } = tensor;
    let failed = |problem| LoadError::Adapter { file: file.name().to_owned(), problem };
    let mut decoded = [0.0; AT_ONCE];
    for bytes in file.data(tensor).chunks(AT_ONCE / ty.block_len() * ty.block_bytes()) {
        let numbers = &mut decoded[..bytes.len() / ty.block_bytes() * ty.block_len()];
        siskin_quant::decode(*ty, bytes, numbers)
            .map_err(|_| failed(AdapterError::Type { tensor: name.clone(), ty: *ty }))?;
        if !numbers.iter().all(|number| number.is_finite()) {
            return Err(failed(AdapterError::NotFinite { tensor: name.clone() }));
        }
        show(numbers);
    }
    Ok(())
}
