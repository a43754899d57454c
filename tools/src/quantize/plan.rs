use super::file_type::FileType;
use super::importance::Importance;
use super::mix::{Choice, is_quantized};
use super::rows;
use crate::convert::{Model, Tensor};
use crate::output::Output;
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::ThreadPool;
use siskin::gguf::write::Builder;
use siskin::packed::Packer;
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

/// A file that is decided on: every key, every tensor, every byte's place.
pub(super) struct Plan<'a> {
    model: &'a Model,
    choices: &'a [Choice],
    file_type: FileType,
    importance: Option<&'a Importance>,
    /// Whether matrices go into panels.
    pack: bool,
    builder: Builder,
    /// Bytes of the file.
    len: u64,
}

impl<'a> Plan<'a> {
    /// The file with `model`'s tensors in the types of `choices`, one for each.
    pub(super) fn new(
        model: &'a Model,
        choices: &'a [Choice],
        file_type: FileType,
        importance: Option<&'a Importance>,
        pack: bool,
    ) -> Result<Plan<'a>> {
        let mut builder = model.builder.clone();
        builder.set("general.quantization_version", 2u32)?;
        builder.set("general.file_type", file_type.id())?;
        if let Some(importance) = importance {
            importance.describe(&mut builder)?;
        }
        for (tensor, choice) in model.tensors.iter().zip(choices) {
            match packer(pack, tensor, *choice) {
                Some(_) => builder.panels(&tensor.name, &tensor.shape, choice.ty)?,
                None => builder.tensor(&tensor.name, &tensor.shape, choice.ty)?,
            };
        }
        let len = builder.file_len()?;
        Ok(Plan { model, choices, file_type, importance, pack, builder, len })
    }

    fn tensors(&self) -> impl Iterator<Item = (&'a Tensor, Choice)> {
        self.model.tensors.iter().zip(self.choices.iter().copied())
    }

    /// Writes the file, tensor by tensor, and puts it in its place.
    pub(super) fn write(&self, output: Output, pool: &ThreadPool) -> Result<()> {
        let context = || output.name().to_owned();
        let mut writer = self.builder.clone().start(output.writer()).with_context(context)?;
        let progress = progress(self.model.tensors.iter().map(Tensor::bytes).sum());
        for (tensor, choice) in self.tensors() {
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
        let mut file = writer.finish().with_context(context)?;
        file.flush().with_context(context)?;
        drop(file);
        if let Some(mapped) = &self.model.mapped {
            mapped.check_unchanged()?;
        }
        output.commit()?;
        progress.finish_and_clear();
        Ok(())
    }

    /// Prints each tensor with its type before and after, and the summary.
    pub(super) fn print(&self) -> Result<()> {
        let width = self.tensors().map(|(tensor, _)| tensor.name.len()).max().unwrap_or(0);
        let mut out = BufWriter::new(io::stdout().lock());
        for (tensor, choice) in self.tensors() {
            let (name, shape) = (&tensor.name, format!("{:?}", tensor.shape));
            let (from, to) = (tensor.ty.name(), choice.ty.name());
            let bytes = bytes_of(tensor, choice);
            writeln!(out, "{name:width$}  {shape:>15}  {from:>6} -> {to:<6}  {bytes:>12} bytes")?;
        }
        writeln!(out, "{} ({} bytes)", self.summary(), self.len)?;
        Ok(out.flush()?)
    }

    /// What the file is, in a line.
    pub(super) fn summary(&self) -> String {
        let before: u64 = self.model.tensors.iter().map(Tensor::bytes).sum();
        let elements: u64 = self.model.tensors.iter().map(Tensor::elements).sum();
        let after: u64 = self.tensors().map(|(tensor, choice)| bytes_of(tensor, choice)).sum();
        let bits = 8.0 * after as f64 / elements.max(1) as f64;
        let fallbacks = match self.choices.iter().filter(|choice| choice.instead_of.is_some()).count() {
            0 => String::new(),
            1 => ", 1 tensor of another type".into(),
            count => format!(", {count} tensors of another type"),
        };
        format!(
            "{}, {} tensors, {} -> {} ({bits:.2} bits per weight{fallbacks}), file {}",
            self.file_type,
            self.choices.len(),
            mib(before),
            mib(after),
            mib(self.len)
        )
    }

    /// Says on standard error what the user may not expect.
    pub(super) fn report_notes(&self) {
        self.report_fallbacks();
        let again = |(tensor, choice): (&Tensor, Choice)| tensor.ty.block_len() > 1 && choice.ty != tensor.ty;
        if self.tensors().any(again) {
            eprintln!(
                "note: the input is quantized already; quantizing from the original weights loses less"
            );
        }
        match self.importance {
            Some(importance) => self.report_unweighted(importance),
            None if self.file_type == FileType::Q2_K_S => {
                eprintln!("note: Q2_K_S loses much without an importance matrix: see --imatrix");
            }
            None => {}
        }
    }

    /// One line for all matrices of the same kind.
    fn report_fallbacks(&self) {
        let mut kinds: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        for (tensor, choice) in self.tensors() {
            if let Some(wanted) = choice.instead_of {
                let kind = (wanted.name(), wanted.block_len(), choice.ty.name(), tensor.row_len());
                kinds.entry(kind).or_default().push(&tensor.name);
            }
        }
        for ((wanted, block, ty, row), names) in kinds {
            eprintln!(
                "note: {} {ty} instead of {wanted}: rows of {row} are no multiple of {block}",
                subject(&names)
            );
        }
    }

    fn report_unweighted(&self, importance: &Importance) {
        let lacking = |(tensor, choice): &(&Tensor, Choice)| {
            is_quantized(tensor) && choice.ty.block_len() > 1 && importance.of(&tensor.name).is_none()
        };
        let names: Vec<_> = self.tensors().filter(lacking).map(|(tensor, _)| tensor.name.as_str()).collect();
        if !names.is_empty() {
            eprintln!(
                "note: {} quantized unweighted: the importance matrix has nothing about it",
                subject(&names)
            );
        }
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

/// What puts the tensor's rows into panels, where they are to be and can be.
fn packer(pack: bool, tensor: &Tensor, choice: Choice) -> Option<Packer> {
    if pack { Packer::new(choice.ty, &tensor.shape) } else { None }
}

fn bytes_of(tensor: &Tensor, choice: Choice) -> u64 {
    choice.ty.row_bytes(tensor.elements()).unwrap_or(0)
}

/// A bar on standard error, which draws nothing where that is no terminal.
fn progress(bytes: u64) -> ProgressBar {
    const STYLE: &str = "{bar:32} {percent:>3}% {bytes_per_sec:>12} {eta:>4} {wide_msg}";
    let bar = ProgressBar::new(bytes);
    match ProgressStyle::with_template(STYLE) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20))
}
