//! The `adapter` command: LoRA adapters become GGUF files, and parts of models.

mod inspect;
mod merge;

use crate::arguments::{InputPath, ModelFlag, OutputPath};
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use siskin::AdapterOutline;
use siskin::gguf::Gguf;
use siskin::plan::Outline;
use siskin_convert::peft;
use siskin_kit::{Inputs, Output, tell};
use std::io::Write;

/// Convert, look into and merge LoRA adapters.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  siskin adapter convert my-lora/ my-lora.gguf --model smol.gguf
  siskin adapter inspect my-lora.gguf
  siskin adapter merge smol.gguf my-lora.gguf=0.8 merged.gguf --type q4_k_m
  siskin run smol.gguf --adapter my-lora.gguf -p \"Hello\"")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Convert(Convert),
    Inspect(inspect::Arguments),
    Merge(merge::Arguments),
}

/// Make a GGUF file of a folder of PEFT, as llama.cpp reads it too
#[derive(Debug, Args)]
struct Convert {
    /// The folder, with adapter_config.json and adapter_model.safetensors
    input: InputPath,
    /// The GGUF file to write; one that is there is replaced once the new one is complete
    output: OutputPath,
    #[command(flatten)]
    model: ModelFlag,
}

/// Runs one of the commands.
pub(crate) fn run(arguments: &Arguments, inputs: &Inputs) -> Result<()> {
    match &arguments.command {
        Command::Convert(arguments) => convert(arguments, inputs),
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::Merge(arguments) => merge::run(arguments, inputs),
    }
}

fn convert(arguments: &Convert, inputs: &Inputs) -> Result<()> {
    let Convert { input, output, model } = arguments;
    let file = model.file()?;
    let bytes = peft::convert(input, &file)?;
    // What does not fit the model is not written.
    let outline = AdapterOutline::of(&Gguf::from_bytes(&input.display().to_string(), bytes.clone())?)?;
    Outline::of(&file)?.add_adapter(&outline)?;
    let output = Output::create(output, inputs)?;
    let name = output.name().to_owned();
    output.file().write_all(&bytes).with_context(|| name.clone())?;
    output.commit()?;
    tell(format_args!("{name}: {}", inspect::summary(&outline)))?;
    Ok(())
}
