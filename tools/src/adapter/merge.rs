use super::flag::{AdapterArguments, AdapterFiles, Named};
use crate::convert::{Change, Changed, Model, Source};
use crate::eval::divergence::{Statistics, Summary};
use crate::eval::perplexity::Windows;
use crate::imatrix::Text;
use crate::model::in_file;
use crate::output::Output;
use crate::quantize::{self, FileType};
use anyhow::{Context, Result, bail};
use clap::Args;
use rayon::ThreadPoolBuilder;
use siskin::gguf::Gguf;
use siskin::memory::Outline;
use siskin::{AdapterOutline, SessionOptions};
use siskin_quant::TensorType;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Tokens of a window of the text that predictions are compared on.
const WINDOW: usize = 256;

/// Work adapters into a model's weights
///
/// The matrices are decoded, changed, and quantized again. How far the predictions of the new file are from those of the
/// old one with the adapters attached is measured on a text, and printed.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The model, a GGUF file
    model: PathBuf,
    /// The adapters, GGUF files or folders of PEFT, times SCALE [default: 1]; then the GGUF file to write
    #[arg(required = true, num_args = 2.., value_names = ["ADAPTER[=SCALE]", "OUTPUT"])]
    files: Vec<PathBuf>,
    /// The type of the new file, as for `siskin quantize` [default: each matrix has the type that it had]
    #[arg(long = "type", value_name = "TYPE")]
    file_type: Option<FileType>,
    /// The text to compare predictions on, in UTF-8 [default: a mixture of prose, dialogue and code]
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Windows of that text, of 256 tokens; with 0 nothing is compared
    #[arg(long, value_name = "N", default_value_t = 4)]
    windows: usize,
    /// Threads to use, 0 for as many as there are cores
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

/// Writes the merged file, and prints what it is and how good.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let Some((output, adapters)) = arguments.files.split_last() else { bail!("expected adapters") };
    let named = adapters.iter().map(|path| Named::of(path)).collect::<Result<Vec<_>>>()?;
    let mut model = Model::open(&arguments.model)?;
    let Some(file) = model.mapped.clone() else {
        bail!("{}: expected a GGUF file, found a folder", arguments.model.display());
    };
    let paths = named.iter().map(|named| &named.path);
    let inputs: Vec<_> = model.inputs.iter().chain(paths).chain(&arguments.text).cloned().collect();
    let text = Text::open(arguments.text.as_deref())?;
    let files = AdapterArguments { adapters: named }.files(&file)?;
    files.count(&mut Outline::of(&file).map_err(|error| in_file(&file, error))?)?;

    let types: Vec<TensorType> = model.tensors.iter().map(|tensor| tensor.ty).collect();
    let mut changes = changes(&files)?;
    for (index, tensor) in model.tensors.iter_mut().enumerate() {
        if let Some(changes) = changes.remove(&tensor.name) {
            tensor.source = Source::Changed(Changed::new(&file, index, changes));
            tensor.ty = TensorType::F32;
        }
    }
    let path = output;
    let output = Output::create(path, &inputs)?;
    let name = output.name().to_owned();
    let pool = ThreadPoolBuilder::new().num_threads(arguments.threads).build().context("threads")?;
    quantize::rewrite(&model, arguments.file_type, &types, output, &pool)?;
    let count = model.tensors.iter().filter(|tensor| matches!(tensor.source, Source::Changed(_))).count();
    println!("{name}: {count} of {} tensors changed", model.tensors.len());
    if arguments.windows > 0 {
        let (merged, base) = compare(arguments, &file, &files, &Gguf::open(path)?, &text)?;
        println!("on {}, against the model with the adapters attached:", text.name);
        print("the merged file", &merged);
        print("the model without them", &base);
    }
    Ok(())
}

fn print(what: &str, summary: &Summary) {
    let Summary { mean, mean_error, same_top, .. } = summary;
    let same_top = 100.0 * same_top;
    println!("  {what:22}  KL divergence {mean:.5} ± {mean_error:.5}, same likeliest token {same_top:.1} %");
}

/// What is added to each matrix.
fn changes(files: &AdapterFiles) -> Result<BTreeMap<String, Vec<Change>>> {
    let mut changes: BTreeMap<String, Vec<Change>> = BTreeMap::new();
    // One of no effect leaves the weights as they are, to the bit.
    for (file, scale) in files.0.iter().filter(|(_, scale)| *scale != 0.0) {
        for change in AdapterOutline::of(file)?.changes() {
            let [a, b] = change.numbers(file)?;
            let change_of = Change { scale: scale * change.scale, rank: change.rank, a, b };
            changes.entry(change.matrix.clone()).or_default().push(change_of);
        }
    }
    Ok(changes)
}

/// How far the predictions of the merged file and of the model alone are from those of the model with its adapters.
fn compare(
    arguments: &Arguments,
    file: &Gguf,
    files: &AdapterFiles,
    merged: &Gguf,
    text: &Text,
) -> Result<(Summary, Summary)> {
    let base = siskin::Model::from_gguf(file).map_err(|error| in_file(file, error))?;
    let merged = siskin::Model::from_gguf(merged).map_err(|error| in_file(merged, error))?;
    let window = WINDOW.min(base.context_length());
    let windows = Windows::new(&base, &text.text, window, usize::MAX).with_context(|| text.name.clone())?;
    let windows = windows.spread(arguments.windows);
    let threads = Some(arguments.threads).filter(|&threads| threads > 0);
    let options = SessionOptions { context: Some(window), threads, ..SessionOptions::default() };
    let mut session = base.session(&options)?;
    files.load(&base)?.attach(&mut session)?;
    let mut reference = Vec::new();
    windows.run(&mut session, |_, logits| {
        reference.extend_from_slice(logits);
        Ok(())
    })?;
    drop(session);
    let from_reference = |model: &siskin::Model| -> Result<Summary> {
        let (mut statistics, mut rows) = (Statistics::default(), reference.chunks_exact(base.vocabulary()));
        windows.run(&mut model.session(&options)?, |scored, logits| {
            if let Some(row) = rows.next() {
                statistics.compare(row, logits, scored.token);
            }
            Ok(())
        })?;
        statistics.summary().context("the text has no position to compare")
    };
    Ok((from_reference(&merged)?, from_reference(&base)?))
}
