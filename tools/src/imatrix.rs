//! The `imatrix` command, and the importance matrices that it writes and `quantize` reads.

mod collector;
mod file;
mod legacy;

use crate::adapter::AdapterArguments;
use crate::memory::MemoryLimit;
use crate::model::ModelArguments;
use crate::output::Output;
use crate::progress;
use crate::session::SessionArguments;
use anyhow::{Context, Result, ensure};
use clap::Args;
use collector::Collector;
use siskin::{Model, SessionOptions};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A text that models are measured with.
pub(crate) struct Text {
    /// What a file says of it.
    pub(crate) name: String,
    /// All of it.
    pub(crate) text: Cow<'static, str>,
}

impl Text {
    /// The text in the file at `path`; where none is named the bundled one, of which `tools/calibration/README.md`
    /// says what it is.
    pub(crate) fn open(path: Option<&Path>) -> Result<Text> {
        let Some(path) = path else {
            let text = include_str!("../calibration/text.txt").into();
            return Ok(Text { name: "siskin-calibration".into(), text });
        };
        let name = path.display().to_string();
        let text = fs::read_to_string(path).with_context(|| name.clone())?.into();
        Ok(Text { name, text })
    }
}

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
    text: Option<PathBuf>,
    /// The file to write; one that is there is replaced once the new one is complete
    #[arg(short, long = "output", value_name = "FILE")]
    output: PathBuf,
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
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let text = Text::open(arguments.text.as_deref())?;
    let options = arguments.session.options(Some(arguments.ctx_size as usize));
    let (model, _) =
        arguments.model.open_limited(&arguments.memory, &options, &AdapterArguments::default())?;
    let inputs: Vec<_> = arguments.model.path().into_iter().chain(&arguments.text).cloned().collect();
    let output = Output::create(&arguments.output, &inputs)?;
    let imatrix = Imatrix::measure(&model, &text, arguments.ctx_size, arguments.chunks, &options)?;
    let (written, matrices) = (output.name().to_owned(), imatrix.entries.len());
    let (chunks, size) = (imatrix.chunks, imatrix.chunk_size);
    imatrix.write(output)?;
    println!("{written}: {matrices} matrices, {chunks} chunks of {size} tokens");
    Ok(())
}

impl Imatrix {
    /// Runs the model through a text, in chunks of `size` tokens and `most` of them at most, in a session with `options`
    /// that has room for one.
    ///
    /// # Errors
    /// A chunk that the model's context has no room for, a text that is shorter than one, or a model that computes
    /// nonsense.
    pub(crate) fn measure(
        model: &Model,
        text: &Text,
        size: u32,
        most: Option<u32>,
        options: &SessionOptions,
    ) -> Result<Imatrix> {
        const STYLE: &str = "{bar:32} {pos} of {len} chunks {per_sec:>12} {eta:>4}";
        let most = most.map_or(usize::MAX, |most| most as usize);
        let chunks = chunks(model, &text.text, size as usize, most).with_context(|| text.name.clone())?;
        let mut session = model.session(options)?;
        let mut collector = Collector::default();
        let progress = progress::bar(chunks.len() as u64, STYLE);
        for chunk in &chunks {
            session.clear();
            session.feed_observed(chunk, &mut collector)?;
            progress.inc(1);
        }
        progress.finish_and_clear();
        let chunks = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
        let datasets = vec![text.name.clone()];
        Ok(Imatrix { entries: collector.finish()?, datasets, chunks, chunk_size: size })
    }
}

/// The text's tokens in pieces of a context each, all of which begin as a text does.
fn chunks(model: &Model, text: &str, size: usize, most: usize) -> Result<Vec<Vec<u32>>> {
    let longest = model.context_length();
    ensure!(size <= longest, "chunks of {size} tokens: the model's context has room for {longest}");
    let tokens = model.text_tokens(text);
    let mut chunks: Vec<_> = tokens.chunks_exact(size).take(most).map(<[u32]>::to_vec).collect();
    ensure!(!chunks.is_empty(), "the text is {} tokens long, expected {size} or more", tokens.len());
    let tokenizer = model.tokenizer();
    if let Some(bos) = tokenizer.bos().filter(|_| tokenizer.add_bos()) {
        chunks.iter_mut().filter_map(|chunk| chunk.first_mut()).for_each(|first| *first = bos);
    }
    Ok(chunks)
}

/// An importance matrix: how large the activations are that the columns of each weight matrix meet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Imatrix {
    /// By the matrix's name.
    pub(crate) entries: BTreeMap<String, Entry>,
    /// Names of the texts that were read.
    pub(crate) datasets: Vec<String>,
    /// Number of chunks that the texts were read in; 0 if unknown.
    pub(crate) chunks: u32,
    /// Tokens of a chunk; 0 if unknown.
    pub(crate) chunk_size: u32,
}

/// What is known of one matrix.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// For each column the sum of the squares of the activations.
    pub(crate) sums: Vec<f32>,
    /// Number of squares in each sum.
    pub(crate) count: f32,
}

impl Entry {
    /// A weight for each column: the mean square, or 1 where nothing was measured.
    pub(crate) fn importance(&self) -> Vec<f32> {
        match self.count {
            0.0 => vec![1.0; self.sums.len()],
            count => self.sums.iter().map(|sum| sum / count).collect(),
        }
    }
}
