use super::file_type::FileType;
use super::importance::Importance;
use super::mix::{Choice, is_quantized};
use super::{rows, split};
use crate::model::{Model, Tensor};
use anyhow::{Context, Result};
use rayon::ThreadPool;
use serde_json::{Value, json};
use siskin::gguf::write::Builder;
use siskin::packed::{PANEL_ROWS, Packer};
use siskin_kit::{Output, commit_shards, progress};
use siskin_quant::TensorType;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;

/// How a file's types were chosen, and what it says that it is.
#[derive(Clone, Copy, Debug)]
pub enum Recipe {
    /// By the rules of a mix.
    Mix(FileType),
    /// One by one; the file type is that of the type that most weights have.
    Fitted(FileType),
}

impl Recipe {
    /// The recipe of `choices` that no rules made, one for each tensor of `model`.
    pub fn fitted(model: &Model, choices: &[Choice]) -> Recipe {
        let weights_of = |ty: TensorType| -> u64 {
            let tensors = model.tensors.iter().zip(choices).filter(|(_, choice)| choice.ty == ty);
            tensors.map(|(tensor, _)| tensor.elements()).sum()
        };
        let known = TensorType::ALL.iter().filter_map(|&ty| Some((FileType::mostly(ty)?, weights_of(ty))));
        Recipe::Fitted(known.max_by_key(|&(_, weights)| weights).map_or(FileType::F32, |(mostly, _)| mostly))
    }

    const fn file_type(self) -> FileType {
        match self {
            Recipe::Mix(file_type) | Recipe::Fitted(file_type) => file_type,
        }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Recipe::Mix(file_type) => write!(f, "{file_type}"),
            Recipe::Fitted(file_type) => write!(f, "fitted, mostly {}", file_type.base()),
        }
    }
}

/// A file that is decided on: every key, every tensor, every byte's place.
pub struct Plan<'a> {
    model: &'a Model,
    choices: &'a [Choice],
    recipe: Recipe,
    importance: Option<&'a Importance>,
    /// Whether matrices go into panels.
    pack: bool,
    /// The model's keys.
    keys: Builder,
    /// The files: one, but for a model that is split. The first has the model's keys.
    files: Vec<FilePlan>,
}

/// A file, and how many of the model's tensors follow in it.
pub(super) struct FilePlan {
    pub(super) builder: Builder,
    pub(super) tensors: usize,
    /// Bytes of the file.
    pub(super) len: u64,
}

impl<'a> Plan<'a> {
    /// The file with `model`'s tensors in the types of `choices`, one for each.
    pub fn new(
        model: &'a Model,
        choices: &'a [Choice],
        recipe: Recipe,
        importance: Option<&'a Importance>,
        pack: bool,
    ) -> Result<Plan<'a>> {
        let mut builder = model.builder.clone();
        builder.set("general.quantization_version", 2u32)?;
        builder.set("general.file_type", recipe.file_type().id())?;
        if let Some(importance) = importance {
            importance.describe(&mut builder)?;
        }
        let keys = builder.clone();
        for (tensor, choice) in model.tensors.iter().zip(choices) {
            declare(&mut builder, tensor, *choice, pack)?;
        }
        let (tensors, len) = (model.tensors.len(), builder.file_len()?);
        let files = vec![FilePlan { builder, tensors, len }];
        Ok(Plan { model, choices, recipe, importance, pack, keys, files })
    }

    /// The same in files of at most `most` bytes each.
    ///
    /// # Errors
    /// Keys, or a tensor, that take more, and more files than [`MAX_SHARDS`](siskin::gguf::MAX_SHARDS).
    pub fn split(mut self, most: u64) -> Result<Plan<'a>> {
        self.files = split::files(&self.keys, self.tensors(), self.pack, most)?;
        Ok(self)
    }

    /// How many files there will be.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    fn tensors(&self) -> impl Iterator<Item = (&'a Tensor, Choice)> {
        self.model.tensors.iter().zip(self.choices.iter().copied())
    }

    /// Bytes of the file, or of all files.
    pub fn file_len(&self) -> u64 {
        self.files.iter().map(|file| file.len).sum()
    }

    /// Bytes of all tensors, as they are in a file that is not packed.
    pub fn tensor_bytes(&self) -> u64 {
        self.tensors().map(|(tensor, choice)| bytes_of(tensor, choice.ty)).sum()
    }

    /// What the data of each tensor are padded to, in bytes.
    pub(crate) fn alignment(&self) -> u64 {
        self.files.first().map_or(1, |file| file.builder.alignment().into())
    }

    /// Writes the file, or all files in their order, and puts them in their places.
    pub fn write(&self, outputs: Vec<Output>, pool: &ThreadPool) -> Result<()> {
        self.stream(outputs.iter().map(|output| (output.writer(), output.name())), pool)?;
        commit_shards(outputs)
    }

    /// Writes each file, tensor by tensor, to its one of `sinks`, which has the name that errors call it.
    pub(crate) fn stream<'n, W: Write>(
        &self,
        sinks: impl IntoIterator<Item = (W, &'n str)>,
        pool: &ThreadPool,
    ) -> Result<()> {
        const STYLE: &str = "{bar:32} {percent:>3}% {bytes_per_sec:>12} {eta:>4} {wide_msg}";
        let progress = progress::bar(self.model.tensors.iter().map(Tensor::bytes).sum(), STYLE);
        let mut tensors = self.tensors();
        for (file, (sink, name)) in self.files.iter().zip(sinks) {
            let context = || name.to_owned();
            let mut writer = file.builder.clone().start(sink).with_context(context)?;
            for (tensor, choice) in tensors.by_ref().take(file.tensors) {
                progress.set_message(tensor.name.clone());
                let importance = self.importance.and_then(|importance| importance.of(&tensor.name));
                let mut packer = packer(self.pack, tensor, choice);
                rows::convert(tensor, choice.ty, importance, pool, |bytes, read| {
                    progress.inc(read);
                    let bytes = packer.as_mut().map_or(bytes, |packer| packer.push(bytes));
                    writer.append(bytes).with_context(context)
                })?;
                tensor.release();
            }
            writer.finish().with_context(context)?.flush().with_context(context)?;
        }
        if let Some(mapped) = &self.model.mapped {
            mapped.check_unchanged()?;
        }
        progress.finish_and_clear();
        Ok(())
    }

    /// Writes a line about each tensor with its type before and after, and the summary.
    pub fn print(&self, out: &mut impl Write) -> Result<()> {
        let width = self.tensors().map(|(tensor, _)| tensor.name.len()).max().unwrap_or(0);
        for (tensor, choice) in self.tensors() {
            let (name, shape) = (&tensor.name, format!("{:?}", tensor.shape));
            let (from, to) = (tensor.ty.name(), choice.ty.name());
            let bytes = bytes_of(tensor, choice.ty);
            writeln!(out, "{name:width$}  {shape:>15}  {from:>6} -> {to:<6}  {bytes:>12} bytes")?;
        }
        writeln!(out, "{} ({} bytes)", self.summary(), self.file_len())?;
        Ok(())
    }

    /// What the file is, in a line.
    pub fn summary(&self) -> String {
        let before: u64 = self.model.tensors.iter().map(Tensor::bytes).sum();
        let elements: u64 = self.model.tensors.iter().map(Tensor::elements).sum();
        let after = self.tensor_bytes();
        let bits = 8.0 * after as f64 / elements.max(1) as f64;
        let fallbacks = match self.choices.iter().filter(|choice| choice.instead_of.is_some()).count() {
            0 => String::new(),
            1 => ", 1 tensor of another type".into(),
            count => format!(", {count} tensors of another type"),
        };
        let files = match self.files.len() {
            1 => "file".to_owned(),
            count => format!("{count} files of together"),
        };
        format!(
            "{}, {} tensors, {} -> {} ({bits:.2} bits per weight{fallbacks}), {files} {}",
            self.recipe,
            self.choices.len(),
            mib(before),
            mib(after),
            mib(self.file_len())
        )
    }

    /// What the file is and of each tensor what becomes of it, as `siskin quantize --json` prints it.
    pub fn json(&self) -> Value {
        let tensor = |(tensor, choice): (&Tensor, Choice)| {
            json!({
                "name": tensor.name,
                "shape": tensor.shape,
                "from": tensor.ty.name(),
                "to": choice.ty.name(),
                "instead_of": choice.instead_of.map(TensorType::name),
                "bytes": bytes_of(tensor, choice.ty),
            })
        };
        let elements: u64 = self.model.tensors.iter().map(Tensor::elements).sum();
        let bytes = self.tensor_bytes();
        json!({
            "recipe": self.recipe.to_string(),
            "files": self.files.len(),
            "file_bytes": self.file_len(),
            "tensor_bytes": bytes,
            "tensor_bytes_before": self.model.tensors.iter().map(Tensor::bytes).sum::<u64>(),
            "bits_per_weight": 8.0 * bytes as f64 / elements.max(1) as f64,
            "packed": self.pack,
            "tensors": self.tensors().map(tensor).collect::<Vec<_>>(),
            "notes": self.notes(),
        })
    }

    /// What the user may not expect, a line each.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.fallbacks();
        let again = |(tensor, choice): (&Tensor, Choice)| tensor.ty.block_len() > 1 && choice.ty != tensor.ty;
        if self.tensors().any(again) {
            notes.push(
                "the input is quantized already; quantizing from the original weights loses less".into(),
            );
        }
        match self.importance {
            Some(importance) => {
                notes.extend(importance.notes());
                notes.extend(self.unweighted(importance));
            }
            None if matches!(self.recipe, Recipe::Mix(FileType::Q2_K_S)) => {
                notes.push("Q2_K_S loses much without an importance matrix: see --imatrix".into());
            }
            None => {}
        }
        notes
    }

    /// One line for all matrices of the same kind.
    fn fallbacks(&self) -> Vec<String> {
        let mut kinds: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        for (tensor, choice) in self.tensors() {
            if let Some(wanted) = choice.instead_of {
                let kind = (wanted.name(), wanted.block_len(), choice.ty.name(), tensor.row_len());
                kinds.entry(kind).or_default().push(&tensor.name);
            }
        }
        let line = |((wanted, block, ty, row), names): ((&str, usize, &str, u64), Vec<&str>)| {
            format!("{} {ty} instead of {wanted}: rows of {row} are no multiple of {block}", subject(&names))
        };
        kinds.into_iter().map(line).collect()
    }

    fn unweighted(&self, importance: &Importance) -> Option<String> {
        let lacking = |(tensor, choice): &(&Tensor, Choice)| {
            is_quantized(tensor) && choice.ty.block_len() > 1 && importance.of(&tensor.name).is_none()
        };
        let names: Vec<_> = self.tensors().filter(lacking).map(|(tensor, _)| tensor.name.as_str()).collect();
        let subject = (!names.is_empty()).then(|| subject(&names))?;
        Some(format!("{subject} quantized unweighted: the importance matrix has nothing about it"))
    }
}

/// The beginning of a sentence about some tensors: `a.weight and 3 more are`.
fn subject(names: &[&str]) -> String {
    match names {
        [] => "nothing is".into(),
        [name] => format!("{name} is"),
        [first, rest @ ..] => format!("{first} and {} more are", rest.len()),
    }
}

/// Declares the next tensor of a file.
pub(super) fn declare(builder: &mut Builder, tensor: &Tensor, choice: Choice, pack: bool) -> Result<()> {
    match packer(pack, tensor, choice) {
        Some(_) => builder.panels(&tensor.name, &tensor.shape, choice.ty)?,
        None => builder.tensor(&tensor.name, &tensor.shape, choice.ty)?,
    };
    Ok(())
}

/// What puts the tensor's rows into panels, where they are to be and can be.
fn packer(pack: bool, tensor: &Tensor, choice: Choice) -> Option<Packer> {
    if pack { Packer::new(choice.ty, &tensor.shape) } else { None }
}

/// Bytes of a tensor in a type, in rows.
pub(crate) fn bytes_of(tensor: &Tensor, ty: TensorType) -> u64 {
    ty.row_bytes(tensor.elements()).unwrap_or(0)
}

/// Bytes of a tensor in a type, as they are in a file, which may be packed.
pub(crate) fn stored_bytes(tensor: &Tensor, ty: TensorType, pack: bool) -> u64 {
    let bytes = bytes_of(tensor, ty);
    match packer(pack, tensor, Choice::exactly(ty)) {
        Some(_) => {
            let row_bytes = bytes.checked_div(tensor.rows()).unwrap_or(0);
            row_bytes * tensor.rows().next_multiple_of(PANEL_ROWS as u64)
        }
        None => bytes,
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20))
}
