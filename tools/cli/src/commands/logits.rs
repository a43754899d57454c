//! The `logits` command: a model's raw output, for comparisons.

mod npy;

use crate::arguments::{AdapterArguments, MemoryLimit, ModelArguments, OutputPath, SessionArguments};
use anyhow::{Context, Result, ensure};
use clap::Args;
use siskin_kit::memory::Flags;
use siskin_kit::{Inputs, Output};
use std::io::Write;

/// Write the logits after every token of a sequence to a NumPy file.
///
/// It holds float32, one row per token. They are the same to the last bit with any number of threads and any batch size.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  siskin logits model.gguf --tokens 1,15043,3186 --out logits.npy")]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// The tokens' numbers, as `siskin tokenize --ids` prints them
    #[arg(long, value_name = "IDS", value_delimiter = ',', required = true)]
    tokens: Vec<u32>,
    /// The file to write; one that is there is replaced once the new one is complete
    #[arg(long, value_name = "FILE")]
    out: OutputPath,
    #[command(flatten)]
    adapters: AdapterArguments,
    #[command(flatten)]
    memory: MemoryLimit,
    #[command(flatten)]
    session: SessionArguments,
}

/// Writes the file.
pub(crate) fn run(arguments: &Arguments, inputs: &Inputs) -> Result<()> {
    let tokens = &arguments.tokens;
    let options = arguments.session.options(Some(tokens.len()));
    let (model, adapters) =
        arguments.model.open_limited(&arguments.memory, &options, &arguments.adapters, Flags::Cache)?;
    let longest = model.context_length();
    ensure!(tokens.len() <= longest, "{} tokens: the model's context has room for {longest}", tokens.len());
    let mut session = model.session(&options)?;
    adapters.attach(&mut session)?;
    let output = Output::create(&arguments.out, inputs)?;
    let mut writer = output.writer();
    npy::write_header(&mut writer, tokens.len(), model.vocabulary())
        .with_context(|| output.name().to_owned())?;
    session.feed_each(tokens, |row| {
        npy::write_row(&mut writer, row).with_context(|| output.name().to_owned())
    })?;
    writer.flush().with_context(|| output.name().to_owned())?;
    drop(writer);
    output.commit()
}
