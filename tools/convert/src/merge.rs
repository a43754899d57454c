//! Adapters worked into a model's weights.

use crate::imatrix::Text;
use crate::model::{Change, Changed, Model, Source};
use crate::quantize::{FileType, rewrite};
use anyhow::{Context, Result, bail};
use rayon::ThreadPool;
use siskin::gguf::Gguf;
use siskin::plan::Outline;
use siskin::{Adapter, AdapterOutline, SessionOptions};
use siskin_kit::divergence::{Statistics, Summary};
use siskin_kit::perplexity::Windows;
use siskin_kit::{Output, in_file};
use siskin_quant::TensorType;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Tokens of a window of the text that predictions are compared on.
const WINDOW: usize = 256;

/// A model, and adapters of it with what their changes are multiplied by.
pub struct Merge {
    model: Model,
    file: Arc<Gguf>,
    adapters: Vec<(Gguf, f32)>,
    /// The type of each tensor before.
    types: Vec<TensorType>,
}

impl Merge {
    /// Opens the model at `path`; its adapters are those that `adapters` opens for its file.
    ///
    /// # Errors
    /// A folder instead of a GGUF file, an adapter of another model, and all that is wrong with a file.
    pub fn open(path: &Path, adapters: impl FnOnce(&Gguf) -> Result<Vec<(Gguf, f32)>>) -> Result<Merge> {
        let mut model = Model::open(path)?;
        let Some(file) = model.mapped.clone() else {
            bail!("{}: expected a GGUF file, found a folder", path.display());
        };
        let adapters = adapters(&file)?;
        let mut outline = Outline::of(&file).map_err(|error| in_file(&file, error))?;
        for (adapter, _) in &adapters {
            outline.add_adapter(&AdapterOutline::of(adapter)?)?;
        }
        let types = model.tensors.iter().map(|tensor| tensor.ty).collect();
        let mut changes = changes(&adapters)?;
        for (index, tensor) in model.tensors.iter_mut().enumerate() {
            if let Some(changes) = changes.remove(&tensor.name) {
                tensor.source = Source::Changed(Changed::new(&file, index, changes));
                tensor.ty = TensorType::F32;
            }
        }
        Ok(Merge { model, file, adapters, types })
    }

    /// How many tensors change, and how many there are.
    pub fn changed(&self) -> (usize, usize) {
        let tensors = &self.model.tensors;
        let count = tensors.iter().filter(|tensor| matches!(tensor.source, Source::Changed(_))).count();
        (count, tensors.len())
    }

    /// Writes the merged file, in `file_type` or else each matrix in the type that it had. Returns what the user may not
    /// expect, see [`crate::quantize::Plan::notes`].
    ///
    /// # Errors
    /// Weights that are no numbers, and what the file returns.
    pub fn write(
        &self,
        file_type: Option<FileType>,
        output: Output,
        pool: &ThreadPool,
    ) -> Result<Vec<String>> {
        rewrite(&self.model, file_type, &self.types, output, pool)
    }

    /// How far the predictions of the `merged` file and of the model alone are from those of the model with its adapters,
    /// on `windows` windows of a text, in sessions that work as `session` says.
    ///
    /// # Errors
    /// A text that is too short, and what the sessions return.
    pub fn compare(
        &self,
        merged: &Gguf,
        text: &Text,
        windows: usize,
        session: &SessionOptions,
    ) -> Result<(Summary, Summary)> {
        let open = |file: &Gguf| siskin::Model::from_gguf(file).map_err(|error| in_file(file, error));
        let (base, merged) = (open(&self.file)?, open(merged)?);
        let window = WINDOW.min(base.context_length());
        let all = Windows::new(&base, &text.text, window, usize::MAX).with_context(|| text.name.clone())?;
        let windows = all.spread(windows);
        let options = session.clone().context(window);
        let mut session = base.session(&options)?;
        for (file, scale) in &self.adapters {
            session.attach(&Adapter::from_gguf(file, &base)?, *scale)?;
        }
        let mut reference = Vec::new();
        windows.run(&mut session, |_, logits| {
            reference.extend_from_slice(logits);
            Ok(())
        })?;
        drop(session);
        let from_reference = |model: &siskin::Model| -> Result<Summary> {
            let (mut statistics, mut rows) =
                (Statistics::default(), reference.chunks_exact(base.vocabulary()));
            windows.run(&mut model.session(&options)?, |scored, logits| {
                if let Some(row) = rows.next() {
                    statistics.compare(row, logits, scored.token);
                }
                Ok(())
            })?;
            statistics.summary().context("the text has no position to compare")
        };
        Ok((from_reference(&merged)?, from_reference(&base)?))
    }
}

/// What is added to each matrix.
fn changes(adapters: &[(Gguf, f32)]) -> Result<BTreeMap<String, Vec<Change>>> {
    let mut changes: BTreeMap<String, Vec<Change>> = BTreeMap::new();
    // One of no effect leaves the weights as they are, to the bit.
    for (file, scale) in adapters.iter().filter(|(_, scale)| *scale != 0.0) {
        for change in AdapterOutline::of(file)?.changes() {
            let [a, b] = change.numbers(file)?;
            let change_of = Change { scale: scale * change.scale, rank: change.rank, a, b };
            changes.entry(change.matrix.clone()).or_default().push(change_of);
        }
    }
    Ok(changes)
}
