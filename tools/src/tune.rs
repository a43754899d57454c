//! The `tune` command: settings that make a model answer better, or faster.

mod search;
mod space;

use crate::answer::{AnswerArguments, note};
use crate::bench::measure::{Series, decode, prefill, tokens};
use crate::eval::{answers, tasks};
use crate::memory::MemoryLimit;
use crate::model::{ModelArguments, in_file};
use crate::session::{SessionArguments, count};
use anyhow::{Context, Result, ensure};
use clap::error::ErrorKind;
use clap::{Args, ValueEnum};
use search::{Method, Search};
use serde_json::{Map, Value, json};
use siskin::machine::default_threads;
use siskin::memory::Outline;
use siskin::sampler::SamplerOptions;
use siskin::{Answer, Model, SessionOptions};
use space::Dimension;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use tasks::Task;

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
    tasks: Option<PathBuf>,
    /// What is to be high
    #[arg(long, value_name = "METRIC", default_value = "exact")]
    metric: Goal,
    /// How settings are searched
    #[arg(long, value_name = "METHOD", default_value = "bayes")]
    search: Method,
    /// Settings that are tried, besides the model's own
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = count)]
    trials: usize,
    /// Seed of the search and of the sampler
    #[arg(long, value_name = "SEED", default_value_t = 0)]
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

/// What a search makes high.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Goal {
    /// Part of the answers that are exactly the wanted ones
    Exact,
    /// Part of them that are equal as JSON values
    Json,
    /// F1 of ROUGE-L
    Rouge,
    /// Tokens per second, one after the other
    #[value(name = "decode_tps")]
    DecodeTps,
    /// Tokens of a prompt per second
    #[value(name = "prefill_tps")]
    PrefillTps,
}

impl Goal {
    fn name(self) -> &'static str {
        match self {
            Goal::Exact => "exact",
            Goal::Json => "json",
            Goal::Rouge => "rouge",
            Goal::DecodeTps => "decode_tps",
            Goal::PrefillTps => "prefill_tps",
        }
    }

    fn is_speed(self) -> bool {
        matches!(self, Goal::DecodeTps | Goal::PrefillTps)
    }

    fn default_space(self) -> String {
        match self {
            Goal::Exact | Goal::Json | Goal::Rouge => {
                "temperature=0..1.2,top_k=1..100,top_p=0.5..1,min_p=0..0.2,repeat_penalty=1..1.3".to_owned()
            }
            Goal::DecodeTps => threads(),
            Goal::PrefillTps => format!("{},batch_size=32|64|128|256|512", threads()),
        }
    }
}

/// One thread up to all that the machine is good for.
fn threads() -> String {
    let counts: Vec<_> = (1..=default_threads()).map(|count| count.to_string()).collect();
    format!("threads={}", counts.join("|"))
}

/// Searches, and prints the settings by rank.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let space = arguments.space()?;
    let tasks = arguments.tasks()?;
    let mut search = Search::new(arguments.search, &space, arguments.trials, arguments.seed)?;
    let subject = Subject::open(arguments, &space, tasks)?;
    let mut trials = vec![Trial { number: 0, point: None, score: subject.score(None)? }];
    for number in 1..=arguments.trials {
        let Some(point) = search.next()? else { break };
        // What was tried before gives what it gave before, or nearly, where it is a speed.
        let known = trials.iter().find(|trial| trial.point.as_ref() == Some(&point)).map(|trial| trial.score);
        let score = known.map_or_else(|| subject.score(Some(&point)), Ok)?;
        search.learn(score)?;
        if io::stderr().is_terminal() {
            note(format_args!("{number} of {}: {score:.4} with {}", arguments.trials, flags(&space, &point)));
        }
        trials.push(Trial { number, point: Some(point), score });
    }
    // Among equals the first stays first: the model's own settings, if they are as good.
    trials.sort_by(|a, b| b.score.total_cmp(&a.score));
    trials.dedup_by(|a, b| a.point == b.point);
    let text = match arguments.json {
        true => format!("{:#}\n", report_json(arguments, &space, &trials)),
        false => report_text(arguments, &space, &trials),
    };
    io::stdout().lock().write_all(text.as_bytes()).context("standard output")
}

impl Arguments {
    fn space(&self) -> Result<Vec<Dimension>> {
        let text = self.space.clone().unwrap_or_else(|| self.metric.default_space());
        let refused = |problem: String| {
            clap::Error::raw(ErrorKind::ValueValidation, format!("the space {text}: {problem}\n"))
        };
        let space = space::parse(&text).map_err(refused)?;
        let goal = self.metric;
        if let Some(idle) = space.iter().find(|dimension| dimension.knob.is_sampler() == goal.is_speed()) {
            return Err(refused(format!("{} makes no difference to {}", idle.knob.name, goal.name())).into());
        }
        Ok(space)
    }

    fn tasks(&self) -> Result<Vec<Task>> {
        match &self.tasks {
            Some(path) => tasks::read(path),
            None if self.metric.is_speed() => Ok(Vec::new()),
            None => {
                let problem = format!("{} is measured with --tasks only\n", self.metric.name());
                Err(clap::Error::raw(ErrorKind::MissingRequiredArgument, problem).into())
            }
        }
    }
}

/// What is tuned.
struct Subject<'a> {
    arguments: &'a Arguments,
    space: &'a [Dimension],
    /// Tells whether there is memory for a session.
    outline: Outline,
    model: Model,
    tasks: Vec<Task>,
}

impl<'a> Subject<'a> {
    fn open(arguments: &'a Arguments, space: &'a [Dimension], tasks: Vec<Task>) -> Result<Subject<'a>> {
        let file = arguments.model.file()?;
        let failed = |error: siskin::Error| in_file(&file, error);
        let outline = Outline::of(&file).map_err(failed)?;
        let options = arguments.session.options(arguments.ctx_size);
        arguments.memory.check(&outline, &options, 1).map_err(failed)?;
        let model = Model::from_gguf(&file).map_err(failed)?;
        Ok(Subject { arguments, space, outline, model, tasks })
    }

    /// How good the model is at a point of the space, or with its own settings.
    fn score(&self, point: Option<&[f64]>) -> Result<f64> {
        let arguments = self.arguments;
        let mut sampling = SamplerOptions::default().overlay(self.model.sampling());
        sampling.seed = Some(arguments.seed);
        let mut session = arguments.session.options(arguments.ctx_size);
        for (dimension, &value) in self.space.iter().zip(point.unwrap_or_default()) {
            dimension.knob.turn(&mut sampling, &mut session, value);
        }
        arguments.memory.check(&self.outline, &session, 1)?;
        let score = match arguments.metric {
            Goal::DecodeTps | Goal::PrefillTps => self.speed(&session),
            Goal::Exact | Goal::Json | Goal::Rouge => self.quality(&session, &sampling),
        };
        score.with_context(|| point.map_or_else(String::new, |point| flags(self.space, point)))
    }

    fn quality(&self, session: &SessionOptions, sampling: &SamplerOptions) -> Result<f64> {
        let mut answer = Answer::new(self.model.session(session)?)?;
        let scores = answers::scores(&mut answer, sampling, &self.arguments.answer, &self.tasks)?;
        let goal = self.arguments.metric.name();
        let found = scores.metrics().find(|(name, _)| name == goal);
        Ok(found.with_context(|| format!("no task wants an answer that {goal} is measured of"))?.1)
    }

    /// The median of some runs, in tokens per second.
    fn speed(&self, session: &SessionOptions) -> Result<f64> {
        const RUNS: usize = 3;
        const PROMPT: usize = 512;
        const ANSWER: usize = 64;
        let mut session = self.model.session(session)?;
        let (work, length): (fn(&mut _, &[u32]) -> _, _) = match self.arguments.metric {
            Goal::PrefillTps => (prefill, PROMPT),
            _ => (decode, ANSWER),
        };
        let tokens = tokens(length.min(session.context()), self.model.vocabulary());
        work(&mut session, &tokens)?;
        let speeds: Vec<Option<f64>> =
            (0..RUNS).map(|_| work(&mut session, &tokens)).collect::<Result<_>>()?;
        let series = Series::new(speeds.into_iter().flatten().collect());
        let median = series.context("no speed was measured")?.median;
        ensure!(median.is_finite(), "no speed was measured");
        Ok(median)
    }
}

/// A point that was tried; None for the model's own settings.
#[derive(Debug)]
struct Trial {
    number: usize,
    point: Option<Vec<f64>>,
    score: f64,
}

/// The flags of `siskin run` for a point.
fn flags(space: &[Dimension], point: &[f64]) -> String {
    let flags: Vec<_> = space
        .iter()
        .zip(point)
        .map(|(dimension, value)| format!("{} {value}", dimension.knob.flag))
        .collect();
    flags.join(" ")
}

fn settings(space: &[Dimension], trial: &Trial) -> String {
    trial.point.as_ref().map_or_else(|| "(the model's own)".to_owned(), |point| flags(space, point))
}

fn report_text(arguments: &Arguments, space: &[Dimension], trials: &[Trial]) -> String {
    const SHOWN: usize = 10;
    let mut text = format!("rank  trial  {:>12}  settings\n", arguments.metric.name());
    for (rank, trial) in (1..).zip(trials.iter().take(SHOWN)) {
        let _ =
            writeln!(text, "{rank:4}  {:5}  {:12.4}  {}", trial.number, trial.score, settings(space, trial));
    }
    let own = trials.iter().find(|trial| trial.point.is_none()).map_or(f64::NAN, |trial| trial.score);
    let _ = match trials.first() {
        Some(Trial { point: Some(point), score, .. }) => {
            writeln!(text, "\nbest, {score:.4} against {own:.4}:\n{}", flags(space, point))
        }
        _ => writeln!(text, "\nnothing was better than the model's own settings: no flags are needed"),
    };
    text
}

fn report_json(arguments: &Arguments, space: &[Dimension], trials: &[Trial]) -> Value {
    let values = |point: &Vec<f64>| -> Map<String, Value> {
        space.iter().zip(point).map(|(d, &value)| (d.knob.name.to_owned(), json!(value))).collect()
    };
    let trial = |trial: &Trial| {
        json!({
            "trial": trial.number,
            "score": trial.score,
            "settings": trial.point.as_ref().map(values),
        })
    };
    let best = trials.first().and_then(|trial| trial.point.as_ref());
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "metric": arguments.metric.name(),
        "seed": arguments.seed,
        "flags": best.map_or_else(String::new, |point| flags(space, point)),
        "trials": trials.iter().map(trial).collect::<Vec<_>>(),
    })
}
