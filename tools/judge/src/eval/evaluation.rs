//! What is found out about one model.

use super::metrics::Figures;
use super::reference::{Key, Logits, Reader, Writer};
use super::speed::mebibytes;
use super::weights::{self, TensorError};
use super::{Settings, answers, speed, tasks};
use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};
use siskin::gguf::Gguf;
use siskin::machine::default_threads;
use siskin::plan::Outline;
use siskin::{Answer, Model, Session, SessionOptions};
use siskin_kit::Inputs;
use siskin_kit::divergence::Statistics;
use siskin_kit::in_file;
use siskin_kit::memory::{self, Flags};
use siskin_kit::perplexity::{Perplexity, Windows, perplexity};
use std::fs;
use std::path::Path;

/// What was found out about a model.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evaluation {
    /// The name that the file gives.
    pub name: String,
    /// Instruction set of the kernels.
    pub isa: String,
    /// Threads of a session.
    pub threads: usize,
    /// Tokens that the session has room for, which is in the peak memory.
    pub context: usize,
    /// Number of weights.
    pub parameters: u64,
    /// What was measured.
    pub figures: Figures,
    /// Standard errors of some figures.
    pub errors: Figures,
    /// Windows of the text.
    pub windows: Option<usize>,
    /// The reference's perplexity of the text.
    pub reference_perplexity: Option<f64>,
    /// The error of each matrix.
    pub(super) weights: Vec<TensorError>,
}

impl Settings {
    /// The text, if there is one.
    ///
    /// # Errors
    /// A text that is no file, no UTF-8, or empty.
    pub fn read_text(&self) -> Result<Option<String>> {
        let Some(path) = &self.text else { return Ok(None) };
        let name = || path.display().to_string();
        // Every model's process reads it anew, so it cannot come through a pipe.
        ensure!(fs::metadata(path).with_context(name)?.is_file(), "{}: expected a file", path.display());
        let text = siskin_kit::read_text(path)?;
        ensure!(!text.trim().is_empty(), "{}: the text is empty", path.display());
        Ok(Some(text))
    }

    /// The key of the reference's logits on the text; None without a reference or a text.
    ///
    /// # Errors
    /// As for [`Settings::read_text`], and a reference that cannot be read.
    pub fn key(&self) -> Result<Option<Key>> {
        let (Some(reference), Some(text)) = (&self.against, self.read_text()?) else { return Ok(None) };
        let chunks = self.chunks.unwrap_or(usize::MAX);
        Key::new(reference, &text, self.window, chunks, &self.session).map(Some)
    }

    /// Works out the reference's logits on the text, and writes them into a file, which is none of `inputs`.
    ///
    /// # Errors
    /// Too little memory, and all that is wrong with the reference or the text.
    pub fn write_reference(&self, logits: &Logits, inputs: &Inputs) -> Result<()> {
        let path = self.against.as_ref().context("no reference")?;
        self.check(path, &self.of_context(Some(self.window)))?;
        let model = open(path)?;
        let windows = self.windows(&model)?.context("no text")?;
        let mut writer = Writer::create(logits, &model, &windows, inputs)?;
        let mut session = model.session(&self.of_context(Some(windows.context())))?;
        windows.run(&mut session, |_, row| writer.push(row))?;
        writer.finish()
    }

    /// The options of sessions with another context.
    fn of_context(&self, context: Option<usize>) -> SessionOptions {
        self.session.clone().context(context)
    }

    /// Refuses a session that there is no memory for, before the model is loaded.
    fn check(&self, path: &Path, options: &SessionOptions) -> Result<()> {
        let file = Gguf::open(path)?;
        let outline = Outline::of(&file).map_err(|error| in_file(&file, error))?;
        memory::check(self.memory, &outline, options, 1, Flags::Context)
            .map_err(|error| in_file(&file, error))?;
        Ok(())
    }

    fn windows(&self, model: &Model) -> Result<Option<Windows>> {
        let Some(text) = self.read_text()? else { return Ok(None) };
        Windows::new(model, &text, self.window, self.chunks.unwrap_or(usize::MAX)).map(Some)
    }
}

fn open(path: &Path) -> Result<Model> {
    let file = Gguf::open(path)?;
    Model::from_gguf(&file).map_err(|error| in_file(&file, error))
}

impl Evaluation {
    /// Evaluates the model in the file at `path`, with the reference's logits if there are some. The
    /// process should be new: its peak memory is taken for the model's.
    ///
    /// # Errors
    /// Too little memory, figures that are no numbers, and all that is wrong with the file, the text or the tasks.
    pub fn new(settings: &Settings, path: &Path, logits: Option<&Logits>) -> Result<Evaluation> {
        let mut evaluation = Evaluation::default();
        let options = &settings.session;
        settings.check(path, options)?;
        if settings.text.is_some() {
            settings.check(path, &settings.of_context(Some(settings.window)))?;
        }
        let both = || -> Result<(Model, Session)> {
            let model = open(path)?;
            let session = model.session(options)?;
            Ok((model, session))
        };
        let plan = speed::Plan { prompt: settings.prompt, runs: settings.runs };
        let (model, session) = speed::measure(plan, both, &mut evaluation.figures)?;
        evaluation.name = model.name().to_owned();
        evaluation.isa = session.isa().to_owned();
        evaluation.context = session.context();
        evaluation.threads = options.threads.unwrap_or_else(default_threads);
        if let Some(tasks) = settings.tasks.as_deref().map(tasks::read).transpose()? {
            let greedy = answers::greedy(&model);
            let mut answer = Answer::new(session)?;
            let scores = answers::scores(&mut answer, &greedy, &settings.limits, &tasks)?;
            evaluation.figures.extend(scores.metrics());
        }
        if let Some(windows) = settings.windows(&model)? {
            evaluation.read_text(settings, &model, &windows, logits)?;
        }
        drop(model);
        evaluation.read_file(settings, &Gguf::open(path)?)?;
        let numbers = evaluation.figures.iter();
        match numbers.into_iter().find(|(_, value)| !value.is_finite()) {
            Some((name, value)) => Err(anyhow!("its {name} is {value}, expected a finite number")),
            None => Ok(evaluation),
        }
    }

    /// Perplexity, and the divergence from the reference.
    fn read_text(
        &mut self,
        settings: &Settings,
        model: &Model,
        windows: &Windows,
        logits: Option<&Logits>,
    ) -> Result<()> {
        let mut session = model.session(&settings.of_context(Some(windows.context())))?;
        self.windows = Some(windows.count());
        let (value, error) = match logits {
            None => perplexity(&mut session, windows)?,
            Some(Logits { path, key, kept: _ }) => {
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
    fn read_file(&mut self, settings: &Settings, file: &Gguf) -> Result<()> {
        let bytes: u64 = file.tensors().iter().map(|tensor| tensor.bytes).sum();
        self.parameters = file.tensors().iter().map(|tensor| tensor.elements()).sum();
        self.figure("file_mib", mebibytes(file.file_len()));
        self.figure("bpw", 8.0 * bytes as f64 / self.parameters.max(1) as f64);
        if let Some(reference) = &settings.against {
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
