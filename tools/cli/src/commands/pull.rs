//! The `pull` command: fetching a model by its name.

use super::list::json;
use crate::terminal::note;
use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::DecimalBytes;
use siskin_hub::{Name, Options, Pulled, Settings, Store, pull};
use siskin_kit::tell;

/// Fetch a model from the Hugging Face hub, or from an address, and keep it under its name.
///
/// hf.co/ORG/REPO:QUANT is a file of a repository, QUANT its quantization or its name; without QUANT it is Q4_K_M, Q4_0,
/// Q8_0 or the only one. Every command takes the name in place of a path from then on. What was interrupted is gone on
/// with, and a model has its name only once all of it is here and its SHA-256 is the one that the hub says.
///
/// HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE and proxies are read from the environment, as the hub's own tools do. Models lie
/// in $XDG_DATA_HOME/siskin/models.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  siskin pull hf.co/bartowski/SmolLM2-135M-Instruct-GGUF:Q4_K_M
  siskin pull https://example.com/models/smol.gguf
  siskin chat hf.co/bartowski/SmolLM2-135M-Instruct-GGUF")]
pub(crate) struct Arguments {
    /// hf.co/ORG/REPO, hf.co/ORG/REPO:QUANT, hf.co/ORG/REPO:FILE.gguf, or an address that begins with http:// or https://
    #[arg(value_name = "NAME|URL")]
    name: String,
    /// The SHA-256 that the file of an address has
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// Print one JSON object about the model
    #[arg(long)]
    json: bool,
}

/// Fetches the model and prints a line about it.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let Some(name) = Name::parse(&arguments.name).with_context(|| arguments.name.clone())? else {
        bail!("{}: expected hf.co/ORG/REPO:QUANT or an address", arguments.name);
    };
    let options = Options { sha256: arguments.sha256.clone(), ..Options::default() };
    let said = |text: &str| note(format_args!("{text}"));
    let pulled = pull(&Store::of_user()?, &name, &Settings::from_environment()?, &options, &said)?;
    let Pulled { model, was_here } = &pulled;
    if arguments.json {
        return tell(format_args!("{:#}", json(model)));
    }
    let (what, size) = (if *was_here { "was here already" } else { "is here" }, DecimalBytes(model.bytes()));
    match model.files.as_slice() {
        [file] => tell(format_args!("{} {what}: {size}, SHA-256 {}", model.name, file.sha256)),
        files => tell(format_args!("{} {what}: {size} in {} files", model.name, files.len())),
    }
}
