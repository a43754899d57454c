//! One model in a process of its own, so that nothing else is in the peak memory that is taken for its.
//!
//! The kernel's other way, to reset the peak through `/proc/self/clear_refs`, would leave in it what the allocator
//! kept of the model before, and of texts and tables.

use super::divergence::Statistics;
use super::metrics::Figures;
use super::perplexity::{Perplexity, Windows, perplexity};
use super::reference::{Key, Reader, Writer};
use super::speed::mebibytes;
use super::weights::{self, TensorError};
use super::{Arguments, answers, speed};
use crate::model::in_file;
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};
use siskin::gguf::Gguf;
use siskin::machine::default_threads;
use siskin::memory::Outline;
use siskin::{Answer, Model, Session, SessionOptions};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

/// What a process is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Job {
    /// Evaluate the model of this number.
    Model { index: usize, logits: Option<Logits> },
    /// Work out the reference's logits.
    Reference { logits: Logits },
}

/// The reference's logits in a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Logits {
    pub(super) path: PathBuf,
    pub(super) key: Key,
}

impl FromStr for Job {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
    }
}

/// What a process found out about its model.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Evaluation {
    /// The name that the file gives.
    pub(super) name: String,
    pub(super) isa: String,
    pub(super) threads: usize,
    /// Tokens that the session has room for, which is in the peak memory.
    pub(super) context: usize,
    pub(super) parameters: u64,
    pub(super) figures: Figures,
    /// Standard errors of some figures.
    pub(super) errors: Figures,
    /// Windows of the text.
    pub(super) windows: Option<usize>,
    pub(super) reference_perplexity: Option<f64>,
    pub(super) weights: Vec<TensorError>,
}

/// Runs this program once more with the same arguments, for one job.
///
/// # Errors
/// What the process says, in its words.
pub(super) fn start(job: &Job, subject: &Path) -> Result<Evaluation> {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    ensure!(!arguments.is_empty(), "the program has no arguments");
    // Behind the command's name, before anything that may end the options.
    arguments.splice(1..1, ["--worker".into(), serde_json::to_string(job)?.into()]);
    let run = Command::new("/proc/self/exe").args(arguments).output().context("cannot start a process")?;
    if !run.status.success() {
        let said = String::from_utf8_lossy(&run.stderr);
        match said.lines().last().and_then(|line| line.strip_prefix("siskin: ")) {
            Some(line) => bail!("{line}"),
            None => bail!("{}: its process ended with {}", subject.display(), run.status),
        }
    }
    serde_json::from_slice(&run.stdout).with_context(|| format!("{}: its process", subject.display()))
}

/// Does the job and prints what it found out.
pub(super) fn run(arguments: &Arguments, job: &Job) -> Result<()> {
    let evaluation = match job {
        Job::Reference { logits } => {
            let path = arguments.against.as_ref().context("no reference")?;
            reference(arguments, path, logits).map_err(|error| named(path, error))?
        }
        Job::Model { index, logits } => {
            let path = arguments.models.get(*index).context("no such model")?;
            let evaluated = Evaluation::new(arguments, path, logits.as_ref());
            evaluated.map_err(|error| named(path, error))?
        }
    };
    serde_json::to_writer(std::io::stdout().lock(), &evaluation)?;
    std::io::stdout().flush().context("standard output")
}

/// An error of a model, with its path before it unless it is there already.
fn named(path: &Path, error: anyhow::Error) -> anyhow::Error {
    let name = path.display().to_string();
    if error.to_string().starts_with(&name) { error } else { error.context(name) }
}

/// Writes the reference's logits.
fn reference(arguments: &Arguments, path: &Path, logits: &Logits) -> Result<Evaluation> {
    check(arguments, path, &arguments.session.options(Some(arguments.window)))?;
    let model = open(path)?.1;
    let windows = windows(arguments, &model)?.context("no text")?;
    let mut writer = Writer::create(&logits.path, &logits.key, &model, &windows)?;
    let mut session = model.session(&text_options(arguments, &windows))?;
    windows.run(&mut session, |_, row| writer.push(row))?;
    writer.finish()?;
    Ok(Evaluation::default())
}

/// Refuses a session that there is no memory for, before the model is loaded.
fn check(arguments: &Arguments, path: &Path, options: &SessionOptions) -> Result<()> {
    let file = Gguf::open(path)?;
    let failed = |error: siskin::Error| in_file(&file, error);
    let outline = Outline::of(&file).map_err(failed)?;
    arguments.memory.check(&outline, options, 1).map_err(failed)?;
    Ok(())
}

fn open(path: &Path) -> Result<(Gguf, Model)> {
    let file = Gguf::open(path)?;
    let model = Model::from_gguf(&file).map_err(|error| in_file(&file, error))?;
    Ok((file, model))
}

fn windows(arguments: &Arguments, model: &Model) -> Result<Option<Windows>> {
    let Some(text) = arguments.read_text()? else { return Ok(None) };
    Windows::new(model, &text, arguments.window, arguments.chunks.unwrap_or(usize::MAX)).map(Some)
}

/// A session as long as one window.
fn text_options(arguments: &Arguments, windows: &Windows) -> SessionOptions {
    arguments.session.options(Some(windows.context()))
}

impl Evaluation {
    /// Evaluates a model.
    fn new(arguments: &Arguments, path: &Path, logits: Option<&Logits>) -> Result<Evaluation> {
        let mut evaluation = Evaluation::default();
        let options = arguments.session.options(arguments.ctx_size);
        check(arguments, path, &options)?;
        if arguments.text.is_some() {
            check(arguments, path, &arguments.session.options(Some(arguments.window)))?;
        }
        let both = || -> Result<(Model, Session)> {
            let model = open(path)?.1;
            let session = model.session(&options)?;
            Ok((model, session))
        };
        let plan = speed::Plan { prompt: arguments.n_prompt, runs: arguments.runs };
        let (model, session) = speed::measure(plan, both, &mut evaluation.figures)?;
        evaluation.name = model.name().to_owned();
        evaluation.isa = session.isa().to_owned();
        evaluation.context = session.context();
        evaluation.threads = options.threads.unwrap_or_else(default_threads);
        if let Some(tasks) = arguments.read_tasks()? {
            let greedy = answers::greedy(&model);
            let mut answer = Answer::new(session)?;
            let scores = answers::scores(&mut answer, &greedy, &arguments.answer, &tasks)?;
            evaluation.figures.extend(scores.metrics());
        }
        if let Some(windows) = windows(arguments, &model)? {
            evaluation.read_text(arguments, &model, &windows, logits)?;
        }
        drop(model);
        evaluation.read_file(arguments, &Gguf::open(path)?)?;
        let numbers = evaluation.figures.iter();
        match numbers.into_iter().find(|(_, value)| !value.is_finite()) {
            Some((name, value)) => Err(anyhow!("its {name} is {value}, expected a finite number")),
            None => Ok(evaluation),
        }
    }

    /// Perplexity, and the divergence from the reference.
    fn read_text(
        &mut self,
        arguments: &Arguments,
        model: &Model,
        windows: &Windows,
        logits: Option<&Logits>,
    ) -> Result<()> {
        let mut session = model.session(&text_options(arguments, windows))?;
        self.windows = Some(windows.count());
        let (value, error) = match logits {
            None => perplexity(&mut session, windows)?,
            Some(Logits { path, key }) => {
                let mut reader = Reader::open(path, key, model, windows)?;
                let (mut perplexity, mut statistics) = (Perplexity::default(), Statistics::default());
                windows.run(&mut session, |scored, row| {
                    perplexity.push(row, scored.token)?;
                    statistics.compare(reader.next()?, row, scored.token);
                    Ok(())
                })?;
                self.diverges(&statistics)?;
                perplexity.value().context("no windows")?
            }
        };
        self.figure("ppl", value);
        self.errors.insert("ppl".to_owned(), error);
        Ok(())
    }

    fn diverges(&mut self, statistics: &Statistics) -> Result<()> {
        let summary = statistics.summary().context("no windows")?;
        self.figure("kl", summary.mean);
        self.errors.insert("kl".to_owned(), summary.mean_error);
        self.figure("kl_median", summary.median);
        self.figure("kl_p99", summary.p99);
        self.figure("kl_max", summary.max);
        self.figure("same_top", summary.same_top);
        self.figure("rms_dp", summary.rms_change);
        self.reference_perplexity = Some(summary.reference_perplexity);
        Ok(())
    }

    /// What the file tells: sizes, and the error of its weights.
    fn read_file(&mut self, arguments: &Arguments, file: &Gguf) -> Result<()> {
        let bytes: u64 = file.tensors().iter().map(|tensor| tensor.bytes).sum();
        self.parameters = file.tensors().iter().map(|tensor| tensor.elements()).sum();
        self.figure("file_mib", mebibytes(file.file_len()));
        self.figure("bpw", 8.0 * bytes as f64 / self.parameters.max(1) as f64);
        if let Some(reference) = &arguments.against {
            self.weights = weights::compare(&Gguf::open(reference)?, file)?;
            let error = weights::relative_error(&self.weights);
            self.figures.extend(error.map(|error| ("weight_error".to_owned(), error)));
        }
        Ok(())
    }

    fn figure(&mut self, name: &str, value: f64) {
        self.figures.insert(name.to_owned(), value);
    }
}
