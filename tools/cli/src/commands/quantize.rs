//! The `quantize` command: a Hugging Face folder or a GGUF file becomes a GGUF file of the wanted type.

#[cfg(feature = "boards")]
mod board;

use crate::arguments::numbers::{count, threads};
use crate::arguments::size::Size;
use crate::arguments::{InputPath, OutputPath, names};
use crate::terminal::note;
use anyhow::{Context, Result};
use clap::Args;
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde_json::Value;
use siskin::SessionOptions;
use siskin::gguf::ShardName;
use siskin_convert::Model;
use siskin_convert::fit::{BitsPerWeight, Budget, Fit};
use siskin_convert::imatrix::Text;
use siskin_convert::quantize::{FileType, Importance, Keep, Plan, Recipe};
use siskin_kit::{Inputs, Output, report, tell};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

/// Convert a Hugging Face folder, or quantize a GGUF file, into a GGUF file
///
/// A type is a mix, as llama.cpp's of that name: most matrices get its bits, those that suffer most get more, and
/// vectors stay as they are. --fit and --bpw choose a type for each matrix instead, those with which the model's
/// predictions change least: the model is run for that, and a file fitted to a mix's size is better than the mix. An
/// importance matrix, made by `siskin imatrix`, tells which columns of each matrix matter most, and makes all types below
/// 8 bits more accurate; --fit and --bpw measure one where none is given.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  siskin quantize SmolLM2-135M-Instruct/ smol.gguf --type q4_k_m
  siskin quantize smol-f16.gguf smol.gguf --type q3_k_m --imatrix smol.imatrix.gguf
  siskin quantize smol-f16.gguf smol.gguf --type q4_0 --keep '*.attn_v.weight=Q8_0' --dry-run
  siskin quantize smol-f16.gguf smol.gguf --fit 90MB --text manuals.txt
  siskin quantize smol-f16.gguf smol.gguf --board raspberry-pi-4 --rate 8")]
pub(crate) struct Arguments {
    /// A Hugging Face folder, a GGUF file or the name of a model
    #[arg(value_parser = names::model())]
    input: InputPath,
    /// The GGUF file to write; one that is there is replaced once the new one is complete
    #[arg(required_unless_present = "dry_run")]
    output: Option<OutputPath>,
    /// F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q2_K_S, Q3_K_S, Q3_K_M, Q3_K_L, Q4_K_S, Q4_K_M, Q5_K_S,
    /// Q5_K_M, Q6_K, IQ4_NL or IQ4_XS, in any case
    #[arg(long = "type", value_name = "TYPE", required_unless_present_any = WHAT_ELSE, conflicts_with_all = WHAT_ELSE)]
    file_type: Option<FileType>,
    #[command(flatten)]
    fit: FitArguments,
    #[cfg(feature = "boards")]
    #[command(flatten)]
    board: board::BoardArguments,
    /// An importance matrix of this model: a file that `siskin imatrix` or llama.cpp's wrote
    #[arg(long, value_name = "FILE")]
    imatrix: Option<InputPath>,
    /// Another type for some matrices: TENSOR is the whole name of one, in which * stands for any characters; may be
    /// given several times, and of those that name the same matrix the last counts
    #[arg(long, value_name = "TENSOR=TYPE")]
    keep: Vec<Keep>,
    /// Write a packed file, as `siskin pack` makes one: it is run from where it is mapped
    #[arg(long)]
    pack: bool,
    /// Write several files of at most SIZE bytes, such as 4GB, as llama.cpp's gguf-split does: OUTPUT-00001-of-00003.gguf
    /// and so on, of which any opens the model
    #[arg(long, value_name = "SIZE", conflicts_with = "fit")]
    split: Option<Size>,
    /// Print what would be written, tensor by tensor, and write nothing
    #[arg(long, visible_alias = "plan")]
    dry_run: bool,
    /// Print one JSON object about the file, with every tensor
    #[arg(long)]
    json: bool,
    /// Threads to work with, 0 for all that the process may use [default: 0]
    #[arg(short, long, value_name = "N", value_parser = threads)]
    threads: Option<usize>,
}

/// What says which types matrices get, besides --type.
#[cfg(feature = "boards")]
const WHAT_ELSE: [&str; 2] = ["budget", "board"];
#[cfg(not(feature = "boards"))]
const WHAT_ELSE: [&str; 1] = ["budget"];

/// What a file is fitted to, and how.
#[derive(Debug, Args)]
struct FitArguments {
    /// The size of the file that may not be exceeded: 200m, 1.5g and 1.5GiB are powers of 1024, 200MB of 1000, a number
    /// alone is bytes. Each matrix gets the type that serves the whole model best, as measured with a text
    #[arg(long, value_name = "SIZE", group = "budget")]
    fit: Option<Size>,
    /// The same for the bits per weight of all tensors, such as 4.3
    #[arg(long, value_name = "BITS", group = "budget")]
    bpw: Option<BitsPerWeight>,
    /// The text for --fit and --bpw, like those the model is made for, in UTF-8 [default: a mixture of prose, dialogue
    /// and code]
    #[arg(long, value_name = "FILE", requires = "budget", conflicts_with = "file_type")]
    text: Option<InputPath>,
    /// Windows of that text, of 256 tokens, that the model reads once for each of its matrices
    #[arg(long, value_name = "N", requires = "budget", conflicts_with = "file_type", default_value_t = 4, value_parser = count)]
    windows: usize,
}

impl FitArguments {
    fn fit(&self, pack: bool, threads: Option<usize>) -> Result<Fit> {
        let bits = self.bpw.map(|BitsPerWeight(bits)| Budget::BitsPerWeight(bits));
        let budget =
            self.fit.map(|Size(bytes)| Budget::File(bytes)).or(bits).context("expected --fit or --bpw")?;
        let session = SessionOptions::default().threads(threads);
        let text = Text::open(self.text.as_deref())?;
        Ok(Fit::new(budget, text).windows(self.windows).pack(pack).session(session))
    }
}

/// Converts or quantizes the input, and prints a line about the result.
pub(crate) fn run(arguments: &Arguments, inputs: &Inputs) -> Result<()> {
    let model = Model::open(&arguments.input)?;
    let kept = model.kept(&arguments.keep)?;
    let importance = arguments.imatrix.as_deref().map(|path| Importance::open(path, &model)).transpose()?;
    let inputs = inputs.clone().and(model.inputs());
    let target = Target::of(arguments, &inputs)?;
    let pool = pool(arguments.threads)?;
    #[cfg(feature = "boards")]
    let chosen = arguments.board.choose(&model, &kept, importance.is_some())?.or(arguments.file_type);
    #[cfg(not(feature = "boards"))]
    let chosen = arguments.file_type;
    match chosen {
        Some(file_type) => {
            let choices = model.choose(file_type, &kept, importance.is_some());
            let recipe = Recipe::Mix(file_type);
            let plan = Plan::new(&model, &choices, recipe, importance.as_ref(), arguments.pack)?;
            let plan = arguments.divide(plan)?;
            if arguments.json {
                return finish_json(&plan, target, &pool, None);
            }
            finish(&plan, target, &pool, |out| plan.print(out))
        }
        None => {
            let fit = arguments.fit.fit(arguments.pack, arguments.threads)?;
            let fitted = fit.run(&model, &kept, importance, &pool)?;
            let recipe = Recipe::fitted(&model, &fitted.choices);
            let plan = Plan::new(&model, &fitted.choices, recipe, Some(&fitted.importance), arguments.pack)?;
            let plan = arguments.divide(plan)?;
            if arguments.json {
                return finish_json(&plan, target, &pool, Some(fitted.json(&plan)));
            }
            let mut text = Vec::new();
            fitted.print(&plan, &mut text)?;
            report(&text)?;
            finish(&plan, target, &pool, |out| Ok(writeln!(out, "{}", plan.summary())?))
        }
    }
}

impl Arguments {
    /// The same in several files, if that is wanted.
    fn divide<'a>(&self, plan: Plan<'a>) -> Result<Plan<'a>> {
        match self.split {
            Some(Size(most)) => plan.split(most),
            None => Ok(plan),
        }
    }
}

/// Where the model will be.
enum Target<'a> {
    /// Nowhere: it is only told what it would be.
    Nowhere,
    File(Output),
    /// In as many files as it takes, called by this name's end.
    Files {
        stem: String,
        inputs: &'a Inputs,
    },
}

impl<'a> Target<'a> {
    /// Fails early where the file, or the first of several, cannot be written.
    fn of(arguments: &Arguments, inputs: &'a Inputs) -> Result<Target<'a>> {
        let Some(path) = arguments.output.as_deref().filter(|_| !arguments.dry_run) else {
            return Ok(Target::Nowhere);
        };
        if arguments.split.is_none() {
            return Ok(Target::File(Output::create(path, inputs)?));
        }
        let name = path.to_str().filter(|name| *name != "-" && !path.is_dir());
        let name = name.with_context(|| format!("{}: --split needs the name of a file", path.display()))?;
        let stem =
            ShardName::parse(name).map_or(name.strip_suffix(".gguf").unwrap_or(name), |name| name.stem);
        Output::check(&shard(stem, 1, 1), inputs)?;
        Ok(Target::Files { stem: stem.to_owned(), inputs })
    }

    /// So many files, and what the model is called; None if it is not to be written.
    fn outputs(self, count: usize) -> Result<Option<(String, Vec<Output>)>> {
        let outputs = match self {
            Target::Nowhere => return Ok(None),
            Target::File(output) => vec![output],
            Target::Files { stem, inputs } => {
                let count = u32::try_from(count)?;
                let output = |number| Output::create(&shard(&stem, number, count), inputs);
                (1..=count).map(output).collect::<Result<_>>()?
            }
        };
        let name = outputs.first().map_or_else(String::new, |output| output.name().to_owned());
        Ok(Some((name, outputs)))
    }
}

fn shard(stem: &str, number: u32, count: u32) -> PathBuf {
    ShardName { stem, number, count }.other(number).into()
}

/// Writes the file, if it is to be written, and prints what it is; prints `otherwise` if it is not.
fn finish(
    plan: &Plan<'_>,
    target: Target<'_>,
    pool: &ThreadPool,
    otherwise: impl FnOnce(&mut BufWriter<io::StdoutLock<'_>>) -> Result<()>,
) -> Result<()> {
    let Some((name, outputs)) = target.outputs(plan.files())? else {
        say(&plan.notes());
        let mut out = BufWriter::new(io::stdout().lock());
        otherwise(&mut out)?;
        return Ok(out.flush()?);
    };
    plan.write(outputs, pool)?;
    say(&plan.notes());
    tell(format_args!("{name}: {}", plan.summary()))?;
    Ok(())
}

/// Writes the file, if it is to be written, and prints what it is as one JSON object; `fit` is why its types were chosen.
fn finish_json(plan: &Plan<'_>, target: Target<'_>, pool: &ThreadPool, fit: Option<Value>) -> Result<()> {
    let mut report = plan.json();
    report["fit"] = fit.unwrap_or_default();
    report["output"] = Value::Null;
    if let Some((name, outputs)) = target.outputs(plan.files())? {
        plan.write(outputs, pool)?;
        report["output"] = name.into();
    }
    tell(format_args!("{report:#}"))
}

/// So many threads; None: as many as the process may use.
pub(crate) fn pool(threads: Option<usize>) -> Result<ThreadPool> {
    ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0)).build().context("threads")
}

/// Says on standard error what the user may not expect.
pub(crate) fn say(notes: &[String]) {
    notes.iter().for_each(|line| note(format_args!("note: {line}")));
}
