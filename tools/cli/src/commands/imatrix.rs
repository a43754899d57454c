//! The `imatrix` command: an importance matrix, which `quantize` reads.

use crate::arguments::{
    AdapterArguments, InputPath, MemoryLimit, ModelArguments, OutputPath, SessionArguments,
};
use anyhow::Result;
use clap::Args;
use siskin_convert::imatrix::{Imatrix, Text};
use siskin_kit::memory::Flags;
use siskin_kit::{Inputs, Output, tell};

/// Measure which columns of a model's matrices matter most, for `siskin quantize --imatrix`.
///
/// The model reads a text, and of all that each weight matrix is multiplied with the squares are summed up, column by
/// column. The best model to do it with is the one that will be quantized, in F16 or F32. llama.cpp reads what this
/// writes, and the other way round.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  siskin imatrix smol-f16.gguf -o smol.imatrix.gguf
  siskin imatrix smol-f16.gguf manuals.txt -o smol.imatrix.gguf --chunks 100
  siskin quantize smol-f16.gguf smol.gguf --type q3_k_m --imatrix smol.imatrix.gguf")]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// A text like those the model is made for, in UTF-8 [default: a mixture of prose, dialogue and code]
    text: Option<InputPath>,
    /// The file to write; one that is there is replaced once the new one is complete
    #[arg(short, long = "output", value_name = "FILE")]
    output: OutputPath,
    /// Tokens that are read in one go; what is left at the end of the text does not count
    #[arg(short, long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    ctx_size: u32,
    /// Stop after so many of these
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    chunks: Option<u32>,
    #[command(flatten)]
    memory: MemoryLimit,
    #[command(flatten)]
    session: SessionArguments,
}

/// Reads the text with the model, writes the file, and prints a line about it.
pub(crate) fn run(arguments: &Arguments, inputs: &Inputs) -> Result<()> {
    let text = Text::open(arguments.text.as_deref())?;
    let options = arguments.session.options(Some(arguments.ctx_size as usize));
    let (model, _) = arguments.model.open_limited(
        &arguments.memory,
        &options,
        &AdapterArguments::default(),
        Flags::Context,
    )?;
    let output = Output::create(&arguments.output, inputs)?;
    let imatrix = Imatrix::measure(&model, &text, arguments.ctx_size, arguments.chunks, &options)?;
    let (written, matrices) = (output.name().to_owned(), imatrix.entries.len());
    let (chunks, size) = (imatrix.chunks, imatrix.chunk_size);
    imatrix.write(output)?;
    tell(format_args!("{written}: {matrices} matrices, {chunks} chunks of {size} tokens"))?;
    Ok(())
}
