//! The `bench` command: how fast a model runs here, and how near that is to what the machine can do.

use crate::arguments::numbers::{count, whole};
use crate::arguments::{MemoryLimit, ModelArguments, OutputPath, SessionArguments, outline};
use anyhow::{Context, Result};
use clap::Args;
use siskin::gguf::Gguf;
use siskin::{AdapterOutline, Model};
use siskin_convert::quantize::FileType;
use siskin_convert::random::{self, Shape};
use siskin_judge::bench::{Plan, measure, random_adapter, report};
use siskin_kit::in_file;
use siskin_kit::memory::Flags;
use siskin_kit::{Inputs, Output};
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Measure how fast a model runs here.
///
/// Loading, prefill and decode are timed several times each, after a run that does not count. Prefill and decode start
/// from an empty context, or from one of --depth tokens, with tokens picked by chance and no sampling, as llama-bench does it.
/// Before each decode the memory is read with as many threads: no decode can be faster than its weights are read. Nothing of a model but its
/// sizes decides its speed, so --shape stands for a model with random weights of its true sizes and types.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Measure a model of these sizes, with random weights: smollm2-135m, qwen2.5-0.5b, llama-3.2-1b, tinyllama-1.1b
    /// or llama-3.2-3b
    #[arg(long, value_name = "SHAPE", conflicts_with_all = ["model", "no_mmap"])]
    shape: Option<Shape>,
    /// The type of the random weights, as of `siskin quantize`
    #[arg(
        long = "type",
        value_name = "TYPE",
        default_value = "q4_0",
        requires = "shape",
        conflicts_with = "model"
    )]
    file_type: FileType,
    /// Keep the model with random weights in this file; one that is there is replaced once the new one is complete
    #[arg(long, value_name = "FILE", requires = "shape", conflicts_with = "model")]
    out: Option<OutputPath>,
    /// Tokens of a prefill; 0 for none
    #[arg(short = 'p', long, value_name = "N", default_value_t = 512, value_parser = whole::<usize>)]
    n_prompt: usize,
    /// Tokens of a decode; 0 for none
    #[arg(short, long, value_name = "N", default_value_t = 128, value_parser = whole::<usize>)]
    n_gen: usize,
    /// Tokens that the context holds already where each prefill and decode begins
    #[arg(short, long, value_name = "N", default_value_t = 0, value_parser = whole::<usize>)]
    depth: usize,
    /// Decode with so many sequences at once, too
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count)]
    parallel: usize,
    /// Decode with a LoRA adapter of this rank on all matrices of the layers, too, with random numbers in F32
    #[arg(long, value_name = "RANK", value_parser = count)]
    adapter_rank: Option<usize>,
    /// How often each is timed
    #[arg(short, long, value_name = "N", default_value_t = 5, value_parser = count)]
    runs: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    memory: MemoryLimit,
    #[command(flatten)]
    session: SessionArguments,
}

const EXAMPLES: &str = "\
Examples:
  siskin bench
  siskin bench model.gguf -p 1024 -n 64 --threads 4
  siskin bench model.gguf --depth 4096
  siskin bench --shape llama-3.2-1b --type q4_k_m --json
  siskin bench --shape smollm2-135m --out smollm2-q4_0.gguf";

/// Measures, and prints the figures.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let subject = Subject::new(arguments)?;
    let context = arguments.n_prompt.max(arguments.n_gen).saturating_add(arguments.depth).max(1);
    let plan = Plan::default()
        .prompt(arguments.n_prompt)
        .tokens(arguments.n_gen)
        .depth(arguments.depth)
        .parallel(arguments.parallel)
        .runs(arguments.runs)
        .session(arguments.session.options(Some(context)));
    let adapter = |rank| random_adapter(&subject.file()?, rank, arguments.memory.budget().as_ref());
    let adapter = arguments.adapter_rank.map(adapter).transpose()?;
    let room = subject.check(&plan, adapter.as_ref(), &arguments.memory)?;
    let measured = measure(&plan, room, adapter.as_ref(), || subject.open())?;
    let report = match arguments.json {
        true => format!("{:#}\n", report::json(&plan, &subject.described(), &measured)),
        false => report::text(&plan, &subject.described(), &measured),
    };
    match io::stdout().lock().write_all(report.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("standard output"),
    }
}

/// What is measured.
enum Subject<'a> {
    Model(&'a ModelArguments),
    Shape {
        shape: &'a Shape,
        file_type: FileType,
        path: PathBuf,
        /// A file without a name, which goes away with the process however that ends.
        _unnamed: Option<File>,
    },
}

impl<'a> Subject<'a> {
    fn new(arguments: &'a Arguments) -> Result<Subject<'a>> {
        let Some(shape) = &arguments.shape else { return Ok(Subject::Model(&arguments.model)) };
        let file_type = arguments.file_type;
        let (path, unnamed) = match &arguments.out {
            Some(path) => {
                keep(shape, file_type, path)?;
                (path.to_path_buf(), None)
            }
            None => {
                let file = unnamed(shape, file_type)?;
                (format!("/proc/self/fd/{}", file.as_raw_fd()).into(), Some(file))
            }
        };
        Ok(Subject::Shape { shape, file_type, path, _unnamed: unnamed })
    }

    fn file(&self) -> Result<Gguf> {
        match self {
            Subject::Model(arguments) => arguments.file(),
            Subject::Shape { path, .. } => Ok(Gguf::open(path)?),
        }
    }

    /// Refuses what there is no memory for, before anything is loaded. Returns how many bytes are left beside it; None
    /// where nobody says.
    fn check(&self, plan: &Plan, adapter: Option<&Gguf>, limit: &MemoryLimit) -> Result<Option<u64>> {
        let file = self.file()?;
        let mut outline = outline(&file)?;
        if let Some(adapter) = adapter {
            outline.add_adapter(&AdapterOutline::of(adapter)?)?;
        }
        let sessions = if plan.parallel > 1 { plan.parallel.saturating_add(1) } else { 1 };
        let memory = limit
            .check(&outline, &plan.session, sessions, Flags::Cache)
            .map_err(|error| in_file(&file, error))?;
        Ok(limit.budget().map(|budget| budget.bytes().saturating_sub(memory.peak())))
    }

    fn open(&self) -> Result<Model> {
        let file = self.file()?;
        Model::from_gguf(&file).map_err(|error| in_file(&file, error))
    }

    /// The shape's name and its type.
    fn described(&self) -> Option<(String, &'static str)> {
        match self {
            Subject::Model(_) => None,
            Subject::Shape { shape, file_type, .. } => Some((shape.to_string(), file_type.name())),
        }
    }
}

fn keep(shape: &Shape, file_type: FileType, path: &Path) -> Result<()> {
    // Random weights are read from nowhere.
    let output = Output::create(path, &Inputs::default())?;
    random::write(shape, file_type, output.writer()).with_context(|| output.name().to_owned())?;
    output.commit()
}

fn unnamed(shape: &Shape, file_type: FileType) -> Result<File> {
    let place = || format!("a file in {}", std::env::temp_dir().display());
    let file = tempfile::tempfile().with_context(place)?;
    random::write(shape, file_type, BufWriter::with_capacity(1 << 20, &file)).with_context(place)?;
    Ok(file)
}
