//! The `quantize` command: a Hugging Face folder or a GGUF file becomes a GGUF file of the wanted type.

mod file_type;
mod fit;
mod importance;
mod keep;
mod mix;
mod plan;
mod rows;

pub(crate) use file_type::FileType;
pub(crate) use mix::choose;

use crate::convert::Model;
use crate::output::Output;
use anyhow::{Context, Result};
use clap::Args;
use fit::FitArguments;
use importance::Importance;
use keep::Keep;
use mix::Choice;
use plan::{Plan, Recipe};
use rayon::{ThreadPool, ThreadPoolBuilder};
use siskin::SessionOptions;
use siskin_quant::TensorType;
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
  siskin quantize smol-f16.gguf smol.gguf --fit 90MB --text manuals.txt")]
pub(crate) struct Arguments {
    /// A Hugging Face folder or a GGUF file
    input: PathBuf,
    /// The GGUF file to write; one that is there is replaced once the new one is complete
    #[arg(required_unless_present = "dry_run")]
    output: Option<PathBuf>,
    /// F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q2_K_S, Q3_K_S, Q3_K_M, Q3_K_L, Q4_K_S, Q4_K_M, Q5_K_S,
    /// Q5_K_M, Q6_K, IQ4_NL or IQ4_XS, in any case
    #[arg(long = "type", value_name = "TYPE", required_unless_present = "budget", conflicts_with = "budget")]
    file_type: Option<FileType>,
    #[command(flatten)]
    fit: FitArguments,
    /// An importance matrix of this model: a file that `siskin imatrix` or llama.cpp's wrote
    #[arg(long, value_name = "FILE")]
    imatrix: Option<PathBuf>,
    /// Another type for some matrices: TENSOR is the whole name of one, in which * stands for any characters; may be
    /// given several times, and of those that name the same matrix the last counts
    #[arg(long, value_name = "TENSOR=TYPE")]
    keep: Vec<Keep>,
    /// Write a packed file, as `siskin pack` makes one: it is run from where it is mapped
    #[arg(long)]
    pack: bool,
    /// Print what would be written, tensor by tensor, and write nothing
    #[arg(long, visible_alias = "plan")]
    dry_run: bool,
    /// Threads to use, 0 for as many as there are cores
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

/// Converts or quantizes the input, and prints a line about the result.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let model = Model::open(&arguments.input)?;
    let kept = keep::kept(&arguments.keep, &model.tensors)?;
    let importance =
        arguments.imatrix.as_deref().map(|path| Importance::open(path, &model.tensors)).transpose()?;
    let others = arguments.imatrix.iter().chain(arguments.fit.text());
    let inputs: Vec<_> = model.inputs.iter().chain(others).cloned().collect();
    let path = arguments.output.as_ref().filter(|_| !arguments.dry_run);
    let output = path.map(|path| Output::create(path, &inputs)).transpose()?;
    let pool = ThreadPoolBuilder::new().num_threads(arguments.threads).build().context("threads")?;
    match arguments.file_type {
        Some(file_type) => {
            let mut choices = choose(&model.tensors, model.shape, file_type, importance.is_some());
            for (choice, kept) in choices.iter_mut().zip(kept) {
                *choice = kept.map_or(*choice, Choice::exactly);
            }
            let recipe = Recipe::Mix(file_type);
            let plan = Plan::new(&model, &choices, recipe, importance.as_ref(), arguments.pack)?;
            finish(&plan, output, &pool, || plan.print())
        }
        None => {
            let threads = Some(arguments.threads).filter(|&threads| threads > 0);
            let session = SessionOptions { threads, ..SessionOptions::default() };
            let fitted = arguments.fit.run(&model, &kept, importance, arguments.pack, &session, &pool)?;
            let recipe = Recipe::fitted(&model, &fitted.choices);
            let plan = Plan::new(&model, &fitted.choices, recipe, Some(&fitted.importance), arguments.pack)?;
            fitted.print(&plan)?;
            finish(&plan, output, &pool, || {
                println!("{}", plan.summary());
                Ok(())
            })
        }
    }
}

/// Writes `model`, whose weights may be others than its file's, as a file of the type, or with each tensor in its type of
/// `types`.
pub(crate) fn rewrite(
    model: &Model,
    file_type: Option<FileType>,
    types: &[TensorType],
    output: Output,
    pool: &ThreadPool,
) -> Result<()> {
    let choices: Vec<Choice> = match file_type {
        Some(file_type) => choose(&model.tensors, model.shape, file_type, false),
        None => types.iter().map(|&ty| Choice::exactly(ty)).collect(),
    };
    let id = model.mapped.as_ref().and_then(|file| file.u32("general.file_type").ok()?);
    let known = file_type.or_else(|| FileType::ALL.into_iter().find(|known| Some(known.id()) == id));
    let recipe = known.map_or_else(|| Recipe::fitted(model, &choices), Recipe::Mix);
    let plan = Plan::new(model, &choices, recipe, None, false)?;
    plan.write(output, pool)?;
    plan.report_notes();
    Ok(())
}

/// Writes the file, if it is to be written, and prints what it is; prints `otherwise` if it is not.
fn finish(
    plan: &Plan<'_>,
    output: Option<Output>,
    pool: &ThreadPool,
    otherwise: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let Some(output) = output else {
        plan.report_notes();
        return otherwise();
    };
    let name = output.name().to_owned();
    plan.write(output, pool)?;
    plan.report_notes();
    println!("{name}: {}", plan.summary());
    Ok(())
}
