use crate::imatrix::Imatrix;
use crate::model::{Model, Tensor};
use anyhow::{Context, Result, ensure};
use siskin::gguf::write::{Builder, WriteError};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// What a model's importance matrix says about the columns of its weight matrices.
#[derive(Debug)]
pub struct Importance {
    /// The file's name, as the user gave it; None for what was measured just now.
    file: Option<String>,
    imatrix: Imatrix,
    /// A weight for each column of a matrix, by its name.
    columns: HashMap<String, Vec<f32>>,
}

impl Importance {
    /// Reads the file at `path`, which must be about this model.
    ///
    /// # Errors
    /// A file that is none, or one that names a matrix the model lacks or has with rows of another length.
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
        Importance { file: None, imatrix, columns: HashMap::new() }
    }

    /// The weights of the columns of the matrix `name`.
    pub(crate) fn of(&self, name: &str) -> Option<&[f32]> {
        self.columns.get(name).map(Vec::as_slice)
    }

    /// Sets the keys that say what a file was quantized with.
    pub(crate) fn describe(&self, builder: &mut Builder) -> Result<(), WriteError> {
        if let Some(file) = &self.file {
            builder.set("quantize.imatrix.file", file.as_str())?;
        }
        if let Some(dataset) = self.imatrix.datasets.first() {
            builder.set("quantize.imatrix.dataset", dataset.as_str())?;
        }
        let entries = u32::try_from(self.columns.len()).unwrap_or(u32::MAX);
        builder.set("quantize.imatrix.entries_count", entries)?;
        if self.imatrix.chunks > 0 {
            builder.set("quantize.imatrix.chunks_count", self.imatrix.chunks)?;
        }
        Ok(())
    }
}

fn columns(imatrix: &Imatrix, tensors: &[Tensor]) -> Result<HashMap<String, Vec<f32>>> {
    let widths: HashMap<&str, u64> =
        tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.row_len())).collect();
    let mut columns = HashMap::new();
    for (name, entry) in &imatrix.entries {
        let width = widths.get(name.as_str()).copied();
        let width = width.with_context(|| format!("of another model: this one has no tensor {name}"))?;
        let found = entry.sums.len();
        ensure!(
            found as u64 == width,
            "of another model: {found} columns for {name}, whose rows are {width} long"
        );
        columns.insert(name.clone(), entry.importance());
    }
    Ok(columns)
}
