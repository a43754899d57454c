//! The `tune` command: settings that make a model answer better, or faster.

use crate::arguments::numbers::{count, whole};
use crate::arguments::{AnswerArguments, InputPath, MemoryLimit, ModelArguments, SessionArguments, outline};
use crate::terminal::note;
use anyhow::{Context, Result};
use clap::error::ErrorKind;
use clap::{Args, ValueEnum};
use siskin_judge::eval::{self, Task};
use siskin_judge::tune::{self, Settings, Space, Trial, tune};
use std::io::{self, IsTerminal, Write};

/// Search the settings with which a model answers best, or runs fastest.
///
/// The model's own settings are tried first; what is not in the space stays as they have it. The winner is only as
/// good as the tasks: keep some others to check it with `siskin eval`. The same seed gives the same trials, and the
/// same scores unless they are speeds.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Tasks, on each line {"prompt": ..., "answer": ..., "task": kind}
    #[arg(long, value_name = "FILE.jsonl")]
    tasks: Option<InputPath>,
    /// What is to be high
    #[arg(long, value_name = "METRIC", default_value = "exact")]
    metric: Goal,
    /// How settings are searched
    #[arg(long, value_name = "METHOD", default_value = "bayes")]
    search: Method,
    /// Settings that are tried, besides the model's own
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = trials)]
    trials: usize,
    /// Seed of the search and of the sampler
    #[arg(long, value_name = "SEED", default_value_t = 0, value_parser = whole::<u64>)]
    seed: u64,
    /// What is tuned, NAME=LOW..HIGH or NAME=A|B|C, with commas between: temperature, top_k, top_p, min_p, typical,
    /// top_nsigma, repeat_penalty, repeat_last_n, presence_penalty, frequency_penalty, dry_multiplier; for a speed
    /// threads and batch_size [default: what usually matters]
    #[arg(long, value_name = "SPACE")]
    space: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Tokens that a session has room for [default: what the model was made for, up to 4096]
    #[arg(short, long, visible_alias = "context", value_name = "N", value_parser = count)]
    ctx_size: Option<usize>,
    #[command(flatten)]
    answer: AnswerArguments,
    #[command(flatten)]
    memory: MemoryLimit,
    #[command(flatten)]
    session: SessionArguments,
}

const EXAMPLES: &str = "\
Examples:
  siskin tune model.gguf --tasks commands.jsonl
  siskin tune model.gguf --tasks stories.jsonl --metric rouge --space temperature=0..1,min_p=0|0.05|0.1 --trials 50
  siskin tune model.gguf --metric prefill_tps --search grid --space 'threads=1..4,batch_size=64|256'";

/// [`tune::Goal`] as a flag has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Goal {
    /// Part of the answers that are exactly the wanted ones
    Exact,
    /// Part of them that are equal as JSON values
    Json,
    /// F1 of ROUGE-L
    Rouge,
    /// Part of the answers' names and numbers that the prompts have
    Support,
    /// Tokens per second, one after the other
    #[value(name = "decode_tps")]
    DecodeTps,
    /// Tokens of a prompt per second
    #[value(name = "prefill_tps")]
    PrefillTps,
}

impl From<Goal> for tune::Goal {
    fn from(goal: Goal) -> Self {
        match goal {
            Goal::Exact => tune::Goal::Exact,
            Goal::Json => tune::Goal::Json,
            Goal::Rouge => tune::Goal::Rouge,
            Goal::Support => tune::Goal::Support,
            Goal::DecodeTps => tune::Goal::DecodeTps,
            Goal::PrefillTps => tune::Goal::PrefillTps,
        }
    }
}

/// [`tune::Method`] as a flag has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    /// All combinations of evenly spaced values, as many as the trials allow
    Grid,
    /// By chance
    Random,
    /// Where a tree-structured Parzen estimator (TPE) expects the best, after some by chance
    Bayes,
}

impl From<Method> for tune::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Grid => tune::Method::Grid,
            Method::Random => tune::Method::Random,
            Method::Bayes => tune::Method::Bayes,
        }
    }
}

/// Searches, and prints the settings by rank.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let goal = arguments.metric.into();
    let space = Space::new(goal, arguments.space.as_deref())
        .map_err(|problem| clap::Error::raw(ErrorKind::ValueValidation, format!("{problem}\n")))?;
    let tasks = arguments.tasks(goal)?;
    let settings = Settings::default()
        .method(arguments.search.into())
        .trials(arguments.trials)
        .seed(arguments.seed)
        .session(arguments.session.options(arguments.ctx_size))
        .limits(arguments.answer.limits())
        .memory(arguments.memory.bytes());
    let tried = |trial: &Trial| {
        if let (true, Some(point)) = (io::stderr().is_terminal(), &trial.point) {
            let Trial { number, score, .. } = trial;
            note(format_args!("{number} of {}: {score:.4} with {}", arguments.trials, space.flags(point)));
        }
    };
    let file = arguments.model.file()?;
    outline(&file)?;
    let trials = tune(&settings, &space, &file, &tasks, tried)?;
    let text = match arguments.json {
        true => format!("{:#}\n", tune::json(&space, arguments.seed, &trials)),
        false => tune::text(&space, &trials),
    };
    io::stdout().lock().write_all(text.as_bytes()).context("standard output")
}

/// Reads a number of trials. More than so many would take a year, and a grid of them no end.
fn trials(text: &str) -> Result<usize, &'static str> {
    count(text).ok().filter(|&number| number <= 10_000).ok_or("expected a number from 1 to 10000")
}

impl Arguments {
    fn tasks(&self, goal: tune::Goal) -> Result<Vec<Task>> {
        match &self.tasks {
            Some(path) => eval::read_tasks(path),
            None if goal.is_speed() => Ok(Vec::new()),
            None => {
                let problem = format!("{} is measured with --tasks only\n", goal.name());
                Err(clap::Error::raw(ErrorKind::MissingRequiredArgument, problem).into())
            }
        }
    }
}
