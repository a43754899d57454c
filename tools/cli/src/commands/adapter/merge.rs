use crate::arguments::adapter::Named;
use crate::arguments::numbers::{threads, whole};
use crate::arguments::{AdapterArguments, InputPath, names};
use crate::commands::quantize::{pool, say};
use anyhow::{Result, bail};
use clap::Args;
use siskin::SessionOptions;
use siskin::gguf::Gguf;
use siskin_convert::imatrix::Text;
use siskin_convert::merge::Merge;
use siskin_convert::quantize::FileType;
use siskin_kit::divergence::Summary;
use siskin_kit::{Inputs, Output, tell};
use std::path::PathBuf;

/// Work adapters into a model's weights
///
/// The matrices are decoded, changed, and quantized again. How far the predictions of the new file are from those of the
/// old one with the adapters attached is measured on a text, and printed.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The model, a GGUF file or a name
    #[arg(value_parser = names::model())]
    model: InputPath,
    /// The adapters, GGUF files or folders of PEFT, times SCALE [default: 1]; then the GGUF file to write
    #[arg(required = true, num_args = 2.., value_names = ["ADAPTER[=SCALE]", "OUTPUT"])]
    files: Vec<PathBuf>,
    /// The type of the new file, as for `siskin quantize` [default: each matrix has the type that it had]
    #[arg(long = "type", value_name = "TYPE")]
    file_type: Option<FileType>,
    /// The text to compare predictions on, in UTF-8 [default: a mixture of prose, dialogue and code]
    #[arg(long, value_name = "FILE")]
    text: Option<InputPath>,
    /// Windows of that text, of 256 tokens; with 0 nothing is compared, nor is what goes to a pipe
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = whole::<usize>)]
    windows: usize,
    /// Threads to work with, 0 for all that the process may use [default: 0]
    #[arg(short, long, value_name = "N", value_parser = threads)]
    threads: Option<usize>,
}

/// Writes the merged file, and prints what it is and how good.
pub(super) fn run(arguments: &Arguments, inputs: &Inputs) -> Result<()> {
    let Some((path, adapters)) = arguments.files.split_last() else { bail!("expected adapters") };
    let named = adapters.iter().map(|path| Named::of(path)).collect::<Result<Vec<_>>>()?;
    // Of these paths only the place tells which is written.
    let inputs = inputs.clone().and(named.iter().map(|named| &*named.path));
    let text = Text::open(arguments.text.as_deref())?;
    let flag = AdapterArguments { adapters: named };
    let merge = Merge::open(&arguments.model, |file| Ok(flag.files(file)?.0))?;
    let output = Output::create(path, &inputs)?;
    let (name, stays) = (output.name().to_owned(), output.stays());
    let pool = pool(arguments.threads)?;
    say(&merge.write(arguments.file_type, output, &pool)?);
    let (changed, all) = merge.changed();
    tell(format_args!("{name}: {changed} of {all} tensors changed"))?;
    if arguments.windows > 0 && !stays {
        tell(format_args!("{name}: not compared, as it cannot be read again"))?;
    } else if arguments.windows > 0 {
        let session = SessionOptions::default().threads(arguments.threads);
        let (merged, base) = merge.compare(&Gguf::open(path)?, &text, arguments.windows, &session)?;
        tell(format_args!("on {}, against the model with the adapters attached:", text.name))?;
        print("the merged file", &merged)?;
        print("the model without them", &base)?;
    }
    Ok(())
}

fn print(what: &str, summary: &Summary) -> Result<()> {
    let Summary { mean, mean_error, same_top, .. } = summary;
    let same_top = 100.0 * same_top;
    tell(format_args!(
        "  {what:22}  KL divergence {mean:.5} ± {mean_error:.5}, same likeliest token {same_top:.1} %"
    ))
}
