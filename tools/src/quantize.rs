//! The `quantize` command: a Hugging Face folder or a GGUF file becomes a GGUF file of the wanted type.

mod mix;
mod rows;

pub(crate) use mix::{FileType, choose};

use crate::convert::{Model, Tensor};
use crate::output::Output;
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use mix::Choice;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::io::Write;
use std::path::Path;

/// Converts or quantizes `input` into the file `output`, on `threads` threads (0: as many as there are cores), and
/// prints a line about the result.
pub(crate) fn run(input: &Path, output: &Path, file_type: FileType, threads: usize) -> Result<()> {
    let model = Model::open(input)?;
    let choices = mix::choose(&model.tensors, model.shape, file_type);
    let output = Output::create(output, &model.inputs)?;
    let pool = ThreadPoolBuilder::new().num_threads(threads).build().context("threads")?;
    let summary = write(&model, &choices, file_type, output, &pool)?;
    report_choices(&model.tensors, &choices);
    println!("{summary}");
    Ok(())
}

/// Notes about choices that the user did not make.
fn report_choices(tensors: &[Tensor], choices: &[Choice]) {
    for (tensor, choice) in tensors.iter().zip(choices) {
        if let Some(wanted) = choice.instead_of {
            let (row, block) = (tensor.row_len(), wanted.block_len());
            let (name, ty) = (&tensor.name, choice.ty);
            eprintln!(
                "note: {name} is {ty} instead of {wanted}: its rows of {row} are no multiple of {block}"
            );
        }
    }
    let again = |(tensor, choice): (&Tensor, &Choice)| tensor.ty.block_len() > 1 && choice.ty != tensor.ty;
    if tensors.iter().zip(choices).any(again) {
        eprintln!("note: the input is quantized already; quantizing from the original weights loses less");
    }
}

/// Writes the file and puts it in its place.
fn write(
    model: &Model,
    choices: &[Choice],
    file_type: FileType,
    output: Output,
    pool: &ThreadPool,
) -> Result<String> {
    let mut builder = model.builder.clone();
    builder.set("general.quantization_version", 2u32)?;
    builder.set("general.file_type", file_type.id())?;
    for (tensor, choice) in model.tensors.iter().zip(choices) {
        builder.tensor(&tensor.name, &tensor.shape, choice.ty)?;
    }
    let size = builder.file_len()?;
    let mut writer = builder.start(output.writer()).with_context(|| output.name().to_string())?;
    let progress = progress(model.tensors.iter().map(Tensor::bytes).sum());
    for (tensor, choice) in model.tensors.iter().zip(choices) {
        progress.set_message(tensor.name.clone());
        rows::convert(tensor, choice.ty, pool, |bytes, read| {
            progress.inc(read);
            writer.append(bytes).with_context(|| output.name().to_string())
        })?;
        tensor.release();
    }
    let mut file = writer.finish().with_context(|| output.name().to_string())?;
    file.flush().with_context(|| output.name().to_string())?;
    drop(file);
    if let Some(mapped) = &model.mapped {
        mapped.check_unchanged()?;
    }
    let name = output.name().to_string();
    output.commit()?;
    progress.finish_and_clear();
    Ok(format!("{name}: {}", summary(model, choices, file_type, size)))
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

fn summary(model: &Model, choices: &[Choice], file_type: FileType, size: u64) -> String {
    let before: u64 = model.tensors.iter().map(Tensor::bytes).sum();
    let elements: u64 = model.tensors.iter().map(Tensor::elements).sum();
    let after: u64 = model
        .tensors
        .iter()
        .zip(choices)
        .map(|(tensor, choice)| choice.ty.row_bytes(tensor.elements()).unwrap_or(0))
        .sum();
    let bits = 8.0 * after as f64 / elements.max(1) as f64;
    let fallbacks = match choices.iter().filter(|choice| choice.instead_of.is_some()).count() {
        0 => String::new(),
        1 => ", 1 tensor of another type".into(),
        count => format!(", {count} tensors of another type"),
    };
    format!(
        "{}, {} tensors, {} -> {} ({bits:.2} bits per weight{fallbacks}), file {}",
        file_type.name(),
        model.tensors.len(),
        mib(before),
        mib(after),
        mib(size)
    )
}

fn mib(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20))
}
