//! The `pack` command: matrices go into panels, as the kernels read them, so that the file is used where it is mapped.

use crate::arguments::{InputPath, OutputPath, names};
use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use siskin::gguf::write::{Builder, Writer};
use siskin::gguf::{ALIGNMENT_KEY, Gguf, Layout, PACKED_VERSION, PACKED_VERSION_KEY, SPLIT_KEYS, TensorInfo};
use siskin::packed::{PANEL_ROWS, Packer, unpack};
use siskin_kit::{Inputs, Output, tell};
use std::io::Write;

/// Bytes read at a time; twice as many are held in memory.
const SLAB: usize = 8 << 20;

/// Pack a GGUF file, so that it is run from where it is mapped.
///
/// An ordinary file's weights are rearranged in memory each time it is loaded. A packed file holds them as the kernels
/// of every CPU read them: it is ready at once, its memory is shared by all that run it and can be had back by the
/// system. Answers are the same bits. Other programs refuse it; --unpack makes an ordinary file of it again.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A GGUF file, or the name of a model
    #[arg(value_parser = names::model())]
    input: InputPath,
    /// The file to write; one that is there is replaced once the new one is complete
    output: OutputPath,
    /// Make an ordinary GGUF file of a packed one
    #[arg(long)]
    unpack: bool,
}

/// Writes the file and prints a line about it.
pub(crate) fn run(arguments: &Arguments, inputs: &Inputs) -> Result<()> {
    let Arguments { input, output, unpack } = arguments;
    let file = Gguf::open(input)?;
    match (file.is_packed(), unpack) {
        (true, false) => bail!("{}: the file is packed already", file.name()),
        (false, true) => bail!("{}: expected a packed file, found an ordinary one", file.name()),
        _ => {}
    }
    let steps: Vec<Step> = file.tensors().iter().map(|tensor| Step::of(tensor, *unpack)).collect();
    let matrices = steps.iter().filter(|step| !matches!(step, Step::Copy)).count();
    ensure!(matrices > 0, "{}: found no matrix that can be packed", file.name());

    let output = Output::create(output, inputs)?;
    let builder = declare(&file, &steps, *unpack).with_context(|| file.name().to_owned())?;
    let writer = builder.start(output.writer()).with_context(|| output.name().to_owned())?;
    write(&file, steps, writer).with_context(|| output.name().to_owned())?;
    file.check_unchanged()?;
    let name = output.name().to_owned();
    output.commit()?;

    let tensors = file.tensors().len();
    match unpack {
        false => tell(format_args!(
            "{name}: packed {matrices} of {tensors} tensors, layout version {PACKED_VERSION}"
        )),
        true => tell(format_args!("{name}: unpacked {matrices} of {tensors} tensors")),
    }
}

/// What is done with a tensor.
enum Step {
    Copy,
    Pack(Packer),
    Unpack,
}

impl Step {
    fn of(tensor: &TensorInfo, unpack: bool) -> Step {
        match tensor.layout {
            Layout::Panels => Step::Unpack,
            Layout::Rows if unpack => Step::Copy,
            Layout::Rows => Packer::new(tensor.ty, &tensor.shape).map_or(Step::Copy, Step::Pack),
        }
    }
}

/// The new file's metadata, which is the old one's, and its tensors.
fn declare(file: &Gguf, steps: &[Step], unpack: bool) -> Result<Builder> {
    let dropped = |key: &str| {
        key.starts_with(SPLIT_KEYS) || unpack && [PACKED_VERSION_KEY, ALIGNMENT_KEY].contains(&key)
    };
    let mut builder = Builder::new();
    for (key, value) in file.metadata().filter(|(key, _)| !dropped(key)) {
        builder.copy(key, value)?;
    }
    for (tensor, step) in file.tensors().iter().zip(steps) {
        match step {
            Step::Pack(_) => builder.panels(&tensor.name, &tensor.shape, tensor.ty)?,
            Step::Copy | Step::Unpack => builder.tensor(&tensor.name, &tensor.shape, tensor.ty)?,
        };
    }
    Ok(builder)
}

fn write<W: Write>(file: &Gguf, steps: Vec<Step>, mut writer: Writer<W>) -> Result<()> {
    for (tensor, step) in file.tensors().iter().zip(steps) {
        match step {
            Step::Copy => writer.append(file.data(tensor))?,
            Step::Pack(mut packer) => {
                for rows in file.data(tensor).chunks(SLAB) {
                    writer.append(packer.push(rows))?;
                }
            }
            Step::Unpack => unpack_tensor(file, tensor, &mut writer)?,
        }
        file.release(tensor);
    }
    writer.finish()?;
    Ok(())
}

fn unpack_tensor<W: Write>(file: &Gguf, tensor: &TensorInfo, writer: &mut Writer<W>) -> Result<()> {
    let not_packed = || anyhow!("tensor {}: type {} is never packed in this shape", tensor.name, tensor.ty);
    let packable = Packer::new(tensor.ty, &tensor.shape).is_some();
    let row_bytes = tensor.ty.row_bytes(tensor.row_len()).filter(|_| packable).ok_or_else(not_packed)?;
    let row_bytes = usize::try_from(row_bytes)?;
    let panel_bytes = PANEL_ROWS * row_bytes;
    let slab = (SLAB / panel_bytes).max(1) * panel_bytes;
    let mut left = usize::try_from(tensor.rows())? * row_bytes;
    let mut rows = Vec::new();
    for panels in file.panels(tensor).chunks(slab) {
        rows.resize(left.min(panels.len()), 0);
        ensure!(unpack(tensor.ty, tensor.row_len(), panels, &mut rows), not_packed());
        writer.append(&rows)?;
        left -= rows.len();
    }
    Ok(())
}
