//! The `eval` command: how good, how fast and how large several models are, side by side.

mod worker;

use crate::arguments::numbers::count;
use crate::arguments::{
    AnswerArguments, InputPath, MemoryLimit, OutputPath, SessionArguments, names, outline,
};
use crate::terminal::note;
use anyhow::{Context, Result, bail};
use clap::Args;
use clap::error::ErrorKind;
use siskin::gguf::Gguf;
use siskin_judge::eval::{self, InUse, Kept, Logits, MOST_KEPT, Removed, State};
use siskin_judge::eval::{Metric, Report, Requirement, Row, Settings, Task};
use siskin_kit::{Inputs, Output, tell};
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use worker::Job;

/// Compare models: quality, speed, memory and energy.
///
/// Each model runs in a process of its own, one after the other, and its figures become a column. Load time, time to
/// first token, prefill, decode and peak memory are always measured, energy where Linux tells of it (RAPL or hwmon).
/// --text adds perplexity by llama.cpp's method, --against the divergence from a reference model as llama.cpp's
/// --kl-divergence has it, and the error of the weights; --tasks how many answers are right.
#[derive(Debug, Args)]
#[command(after_long_help = HELP, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The models, GGUF files
    #[arg(value_name = "MODEL", required_unless_present = "clear_cache", value_parser = names::model())]
    models: Vec<InputPath>,
    /// A text whose perplexity is measured
    #[arg(long, value_name = "FILE")]
    text: Option<InputPath>,
    /// Tokens of a window of the text; the second half of each is scored
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = count, requires = "text")]
    window: usize,
    /// Windows of the text that are taken at most [default: all]
    #[arg(long, value_name = "N", value_parser = count, requires = "text")]
    chunks: Option<usize>,
    /// The reference model, usually in F16, that all models are compared with
    #[arg(long, value_name = "REF", value_parser = names::model())]
    against: Option<InputPath>,
    /// Where the reference's logits are kept, in half precision [default: a file in the user's cache folder, which
    /// holds up to 4 GiB]
    #[arg(long, value_name = "FILE", requires = "against", requires = "text")]
    logits_cache: Option<OutputPath>,
    /// Remove the logits that are kept in the user's cache folder, and do nothing else
    #[arg(long, exclusive = true)]
    clear_cache: bool,
    /// Tasks, on each line {"prompt": ..., "answer": ..., "task": kind}, answered greedily in the chat template
    #[arg(long, value_name = "FILE.jsonl")]
    tasks: Option<InputPath>,
    /// A bound that all models have to keep, METRIC<=NUMBER or METRIC>=NUMBER; may be given several times
    #[arg(long, value_name = "BOUND")]
    require: Vec<Requirement>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Write a page with plots; one that is there is replaced
    #[arg(long, value_name = "FILE")]
    html: Option<OutputPath>,
    /// Tokens of the prefill that is timed
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = count)]
    n_prompt: usize,
    /// How often speeds are measured; the median counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = count)]
    runs: usize,
    /// Tokens that a session has room for [default: what the model was made for, up to 4096]
    #[arg(short, long, visible_alias = "context", value_name = "N", value_parser = count)]
    ctx_size: Option<usize>,
    #[command(flatten)]
    answer: AnswerArguments,
    #[command(flatten)]
    memory: MemoryLimit,
    #[command(flatten)]
    session: SessionArguments,
    /// One job of an evaluation, for the processes that this command starts
    #[arg(long, hide = true)]
    worker: Option<Job>,
}

const EXAMPLES: &str = "\
Examples:
  siskin eval q4_0.gguf q4_k_m.gguf q8_0.gguf --text book.txt --against f16.gguf
  siskin eval *.gguf --tasks commands.jsonl --html report.html
  siskin eval model.gguf --tasks commands.jsonl --require exact>=0.95 --require peak_mib<=300";

const HELP: &str = "\
Metrics, by the names that --require and --json give them:
  always          ttft_ms: from a prompt of 64 tokens to the first of the answer; prefill_tps, decode_tps: tokens per
                  second; load_ms; peak_mib: resident memory of loading and running; file_mib; bpw: bits per weight;
                  joules_per_token: of the whole CPU or board while decoding, where it is measured
  --text          ppl
  --against       weight_error: root mean square relative to the reference's weights, from 0; and on the --text
                  kl, kl_median, kl_p99, kl_max: KL divergence in nats; same_top: from 0 to 1; rms_dp: root mean square
                  of the change in probability of the text's own token, from 0 to 1
  --tasks         exact: the same text, white space around it aside; json: equal as JSON values, among the tasks whose
                  wanted answer is JSON; rouge: F1 of ROUGE-L; support: among tasks with \"metric\": \"support\", the share
                  of the answers' names and numbers that the prompts have; all from 0 to 1, and for each kind of
                  task with its name behind a point, such as exact.kitchen

Examples:
  siskin eval q4_0.gguf q4_k_m.gguf q8_0.gguf --text book.txt --against f16.gguf
  siskin eval *.gguf --tasks commands.jsonl --html report.html
  siskin eval model.gguf --tasks commands.jsonl --require 'exact>=0.95' --require 'peak_mib<=300'

Exit codes: 0 all bounds are kept, 1 one is not, or a failure, 2 wrong usage, also a bound for what was not measured.";

/// Evaluates the models, and prints what came out.
pub(crate) fn run(arguments: &Arguments, inputs: &Inputs) -> Result<()> {
    if let Some(job) = &arguments.worker {
        return worker::run(arguments, job, inputs);
    }
    if arguments.clear_cache {
        return clear_cache();
    }
    let tasks = arguments.read_tasks()?;
    arguments.check_requirements(tasks.as_deref())?;
    let place = arguments.logits_place()?;
    let page_inputs = inputs.clone().and(place.iter().map(|logits| &logits.path));
    arguments.html.as_deref().map(|path| Output::check(path, &page_inputs)).transpose()?;
    let in_use = place.as_ref().map(|logits| arguments.reference_logits(logits)).transpose()?.flatten();
    let mut report = Report {
        text: arguments.text.as_deref().map(Into::into),
        window: arguments.window,
        reference: arguments.against.as_deref().map(Into::into),
        tasks: arguments.tasks.as_deref().map(Into::into).zip(tasks.map(|tasks| tasks.len())),
        requirements: arguments.require.clone(),
        rows: Vec::new(),
    };
    for (index, path) in arguments.models.iter().enumerate() {
        progress(format_args!("{} ({} of {})", path.display(), index + 1, arguments.models.len()));
        // Its process says nothing but what it found.
        outline(&Gguf::open(path)?)?;
        let evaluation = worker::start(&Job::Model { index, logits: place.clone() }, path)?;
        report.rows.push(Row { path: path.to_path_buf(), evaluation });
    }
    let text = match arguments.json {
        true => format!("{:#}\n", report.json()),
        false => report.table(),
    };
    drop(in_use);
    if let Some(path) = &arguments.html {
        write_page(path, &page_inputs, &eval::page(&report))?;
    }
    siskin_kit::report(text.as_bytes())?;
    verdict(arguments, &report.rows)
}

/// Says what is being done, to somebody who waits.
fn progress(what: std::fmt::Arguments<'_>) {
    if io::stderr().is_terminal() {
        note(what);
    }
}

fn write_page(path: &Path, inputs: &Inputs, page: &str) -> Result<()> {
    let output = Output::create(path, inputs)?;
    output.file().write_all(page.as_bytes()).with_context(|| output.name().to_owned())?;
    output.commit()
}

/// Removes the logits that are kept, and says how many.
fn clear_cache() -> Result<()> {
    let kept = Kept::open()?;
    let Removed { files, bytes } = kept.clear()?;
    tell(format_args!("{}: removed {files} files of {}", kept.folder().display(), size(bytes)))
}

/// Says where logits were put that nobody has asked for, and how to be rid of them.
fn tell_kept(folder: &Path, bytes: u64) {
    let (folder, size, most) = (folder.display(), size(bytes), size(MOST_KEPT));
    match bytes > MOST_KEPT {
        true => note(format_args!(
            "the reference's logits take {size} in {folder} until this is done, where up to {most} are kept: \
             --logits-cache FILE keeps them"
        )),
        false => note(format_args!(
            "the reference's logits are kept for later in {folder} ({size}; up to {most} in all; siskin eval \
             --clear-cache removes them)"
        )),
    }
}

/// Such as `134 MiB`.
fn size(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", bytes.div_ceil(1 << 10)),
        mebibytes @ 1..10240 if mebibytes % 1024 > 0 => format!("{mebibytes} MiB"),
        mebibytes => format!("{} GiB", mebibytes >> 10),
    }
}

/// Fails with a line for each bound that a model does not keep.
fn verdict(arguments: &Arguments, rows: &[Row]) -> Result<()> {
    let mut failures = Vec::new();
    for (requirement, row) in arguments.require.iter().flat_map(|r| rows.iter().map(move |row| (r, row))) {
        let (path, metric) = (row.path.display(), &requirement.metric);
        match row.evaluation.figures.get(metric) {
            None => return Err(usage(format!("{requirement}: {path}: {metric} was not measured"))),
            Some(&value) if !requirement.holds(value) => {
                failures.push(format!("{path}: {metric} is {}, required {requirement}", rounded(value)));
            }
            Some(_) => {}
        }
    }
    match failures.split_last() {
        None => Ok(()),
        Some((last, others)) => {
            others.iter().for_each(|line| note(format_args!("siskin: {line}")));
            bail!("{last}")
        }
    }
}

/// A number with six digits behind the point at most.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn usage(problem: String) -> anyhow::Error {
    clap::Error::raw(ErrorKind::ValueValidation, format!("{problem}\n")).into()
}

impl Arguments {
    fn settings(&self) -> Settings {
        Settings::default()
            .text(self.text.as_deref().map(Into::into))
            .window(self.window)
            .chunks(self.chunks)
            .against(self.against.as_deref().map(Into::into))
            .tasks(self.tasks.as_deref().map(Into::into))
            .limits(self.answer.limits())
            .prompt(self.n_prompt)
            .runs(self.runs)
            .session(self.session.options(self.ctx_size))
            .memory(self.memory.bytes())
    }

    /// The tasks, if there are any.
    fn read_tasks(&self) -> Result<Option<Vec<Task>>> {
        self.tasks.as_deref().map(eval::read_tasks).transpose()
    }

    /// Refuses bounds for what will not be measured, before anything is.
    fn check_requirements(&self, tasks: Option<&[Task]>) -> Result<()> {
        for requirement in &self.require {
            let name = &requirement.metric;
            let needs = Metric::find(name).map_or("", |metric| metric.needs);
            let missing = match needs {
                "--text" if self.text.is_none() => Some("--text"),
                "--tasks" if self.tasks.is_none() => Some("--tasks"),
                "--against" if self.against.is_none() => Some("--against"),
                "--against" if self.text.is_none() && name != "weight_error" => Some("--text"),
                _ => None,
            };
            if let Some(flag) = missing {
                return Err(usage(format!("{requirement}: {name} is measured with {flag} only")));
            }
            if let Some((_, kind)) = name.split_once('.')
                && !tasks.unwrap_or_default().iter().any(|task| task.task == kind)
            {
                return Err(usage(format!("{requirement}: there are no tasks of the kind {kind}")));
            }
        }
        Ok(())
    }

    /// Where the reference's logits on the text are, or will be.
    fn logits_place(&self) -> Result<Option<Logits>> {
        let Some(key) = self.settings().key()? else { return Ok(None) };
        let path = match &self.logits_cache {
            Some(path) => path.to_path_buf(),
            None => {
                let kept =
                    Kept::open().context("name a file for the reference's logits with --logits-cache")?;
                kept.folder().join(key.file_name())
            }
        };
        Ok(Some(Logits { path, kept: self.logits_cache.is_none(), key }))
    }

    /// Has the reference's logits worked out unless the file holds them. Those that are kept stay for as long as what is
    /// returned does.
    fn reference_logits(&self, logits: &Logits) -> Result<Option<InUse>> {
        let Logits { path, key, kept } = logits;
        let reference = self.against.as_ref().context("no reference")?;
        let state = eval::state(path, key)?;
        if state != State::Ready {
            let why =
                if state == State::Stale { ", as its logits in the file are of something else" } else { "" };
            progress(format_args!("{} (reference{why})", reference.display()));
            worker::start(&Job::Reference { logits: logits.clone() }, reference)?;
        }
        if !kept {
            return Ok(None);
        }
        let folder = Kept::open()?;
        let in_use = folder.use_file(path)?;
        if state != State::Ready {
            tell_kept(folder.folder(), fs::metadata(path).with_context(|| path.display().to_string())?.len());
        }
        Ok(Some(in_use))
    }
}
