use crate::imatrix::Imatrix;
use crate::model::{Model, Tensor};
use anyhow::{Context, Result, bail, ensure};
use siskin::gguf::write::{Builder, WriteError};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// What a model's importance matrix says about the columns of its weight matrices.
#[derive(Debug)]
pub struct Importance {
    /// The file's name, as the user gave it; None for what was measured just now.
    file: Option<String>,
    imatrix: Imatrix,
    columns: Columns,
}

impl Importance {
    /// Reads the file at `path`, which must be about this model.
    ///
    /// # Errors
    /// A file that is none, one that names a matrix which the model has with rows of another length, and one of which most
    /// entries are about matrices that the model lacks.
    pub fn open(path: &Path, model: &Model) -> Result<Importance> {
        let file = path.display().to_string();
        let imatrix = Imatrix::open(path)?;
        let columns = columns(&imatrix, &model.tensors).with_context(|| file.clone())?;
        Ok(Importance { file: Some(file), imatrix, columns })
    }

    /// What was measured with the model that has these tensors.
    ///
    /// # Errors
    /// As for [`Importance::open`].
    pub(crate) fn measured(imatrix: Imatrix, tensors: &[Tensor]) -> Result<Importance> {
        let columns = columns(&imatrix, tensors)?;
        Ok(Importance { file: None, imatrix, columns })
    }

    /// Stands for what is yet to be measured with the text `name`: it says as many bytes about itself.
    pub(crate) fn expected(name: &str) -> Importance {
        let (entries, datasets) = (BTreeMap::new(), vec![name.to_owned()]);
        let imatrix = Imatrix { entries, datasets, chunks: 1, chunk_size: 0 };
        Importance { file: None, imatrix, columns: Columns::default() }
    }

    /// What of it is of no use, a line each.
    pub(crate) fn notes(&self) -> Vec<String> {
        let Columns { strange, idle, .. } = &self.columns;
        let (count, all) = (strange.len(), self.imatrix.entries.len());
        let strange = strange.first().map(|first| {
            format!("{count} of {all} entries of the importance matrix are about tensors that the model lacks, such as {first}")
        });
        let idle = match idle {
            0 => None,
            1 => Some("no token came to a matrix of an expert: its columns all weigh the same".to_owned()),
            _ => {
                Some(format!("no token came to {idle} matrices of experts: their columns all weigh the same"))
            }
        };
        strange.into_iter().chain(idle).collect()
    }

    /// The weights of the columns of the matrix `name`.
    pub(crate) fn of(&self, name: &str) -> Option<&[f32]> {
        self.columns.weights.get(name).map(Vec::as_slice)
    }

    /// Sets the keys that say what a file was quantized with.
    pub(crate) fn describe(&self, builder: &mut Builder) -> Result<(), WriteError> {
        if let Some(file) = &self.file {
            builder.set("quantize.imatrix.file", file.as_str())?;
        }
        if let Some(dataset) = self.imatrix.datasets.first() {
            builder.set("quantize.imatrix.dataset", dataset.as_str())?;
        }
        let entries = u32::try_from(self.columns.weights.len()).unwrap_or(u32::MAX);
        builder.set("quantize.imatrix.entries_count", entries)?;
        if self.imatrix.chunks > 0 {
            builder.set("quantize.imatrix.chunks_count", self.imatrix.chunks)?;
        }
        Ok(())
    }
}

/// What entries come to.
#[derive(Debug, Default)]
struct Columns {
    /// A weight for each column of a matrix, by its name; of experts those of one after the other.
    weights: HashMap<String, Vec<f32>>,
    /// Names of entries about tensors that the model lacks.
    strange: Vec<String>,
    /// Matrices of experts that no token came to.
    idle: usize,
}

fn columns(imatrix: &Imatrix, tensors: &[Tensor]) -> Result<Columns> {
    let known: HashMap<&str, &Tensor> = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let mut columns = Columns::default();
    for (name, entry) in &imatrix.entries {
        let Some(tensor) = known.get(name.as_str()) else {
            columns.strange.push(name.clone());
            continue;
        };
        let (width, found) = (tensor.row_len(), entry.sums.len() as u64);
        let experts = tensor.shape.get(2).copied().unwrap_or(1);
        // One weight for a column of all experts will do, too.
        let of_each = found == width.saturating_mul(experts);
        let counts = [1, experts].contains(&(entry.counts.len() as u64));
        ensure!(
            counts && (of_each || found == width),
            "of another model: {found} columns for {name}, whose rows are {width} long{}",
            if experts > 1 { format!(", of {experts} experts") } else { String::new() }
        );
        let entry = entry.clone().of_experts(usize::try_from(found / width.max(1))?);
        columns.idle += entry.idle();
        columns.weights.insert(name.clone(), entry.importance());
    }
    let (all, matching) = (imatrix.entries.len(), columns.weights.len());
    if let Some(first) = columns.strange.first().filter(|_| 2 * matching < all) {
        bail!(
            "of another model: this one has {matching} of the {all} tensors that it is about, and no {first}"
        );
    }
    Ok(columns)
}
