//! The `inspect` command: what a GGUF file holds, and whether a second reader sees the same.

mod json;
#[cfg(feature = "second-reader")]
mod second_reader;
mod text;

use crate::arguments::{InputPath, names};
use anyhow::Result;
use clap::Args;
use siskin::gguf::{Gguf, Layout, TensorInfo};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// Show what a GGUF file holds
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A GGUF file, or the name of a model
    #[arg(value_parser = names::model())]
    file: InputPath,
    /// Print one JSON object, with every value in full
    #[arg(long)]
    json: bool,
    /// Say whether gguf-rs, a reader by other authors, reads the same
    #[arg(long, hide = cfg!(not(feature = "second-reader")))]
    second_reader: bool,
}

/// Prints the metadata, the tensors and the totals of the file, as text or as one JSON object.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { file: path, json, second_reader } = arguments;
    let file = Gguf::open(path)?;
    let second = second_reader.then(|| second(path, &file)).transpose()?;
    let second = second.as_deref();
    let report = match json {
        true => format!("{:#}\n", json::report(&file, second)),
        false => text::report(&file, second),
    };
    match io::stdout().lock().write_all(report.as_bytes()) {
        // `siskin inspect FILE | head` is no failure.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// What gguf-rs says about the file.
#[cfg(feature = "second-reader")]
fn second(path: &Path, file: &Gguf) -> Result<String> {
    Ok(second_reader::compare(path, file).to_string())
}

#[cfg(not(feature = "second-reader"))]
fn second(_: &Path, _: &Gguf) -> Result<String> {
    anyhow::bail!("--second-reader needs a build with the feature second-reader")
}

/// What the tensors come to.
#[derive(Debug, Default)]
struct Totals {
    elements: u64,
    bytes: u64,
    /// Number of tensors and bytes of each type.
    types: BTreeMap<String, (u64, u64)>,
}

/// A tensor's type, and whether it is packed.
fn type_name(tensor: &TensorInfo) -> String {
    match tensor.layout {
        Layout::Rows => tensor.ty.name().to_owned(),
        Layout::Panels => format!("{} packed", tensor.ty),
    }
}

impl Totals {
    fn of(tensors: &[TensorInfo]) -> Totals {
        let mut totals = Totals::default();
        for tensor in tensors {
            totals.elements = totals.elements.saturating_add(tensor.elements());
            totals.bytes = totals.bytes.saturating_add(tensor.bytes);
            let (count, bytes) = totals.types.entry(type_name(tensor)).or_default();
            *count += 1;
            *bytes = bytes.saturating_add(tensor.bytes);
        }
        totals
    }

    /// Bits per weight; 0 of no weights.
    fn bits(&self) -> f64 {
        8.0 * self.bytes as f64 / self.elements.max(1) as f64
    }
}
