//! Settings with which a model answers best, or runs fastest.

mod report;
mod search;
mod space;

pub use report::{json, text};
pub use search::Method;

use crate::bench::{Series, decode, prefill, tokens};
use crate::eval::{Task, scores};
use anyhow::{Context, Result, ensure};
use search::Search;
use siskin::gguf::Gguf;
use siskin::machine::default_threads;
use siskin::plan::Outline;
use siskin::sampler::SamplerOptions;
use siskin::{Answer, AnswerLimits, Model, SessionOptions};
use siskin_kit::in_file;
use siskin_kit::memory::{self, Flags};
use space::Dimension;

/// What a search makes high.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Part of the answers that are exactly the wanted ones
    Exact,
    /// Part of them that are equal as JSON values
    Json,
    /// F1 of ROUGE-L
    Rouge,
    /// Part of the answers' names and numbers that the prompts have
    Support,
    /// Tokens per second, one after the other
    DecodeTps,
    /// Tokens of a prompt per second
    PrefillTps,
}

impl Goal {
    /// The metric's name.
    pub fn name(self) -> &'static str {
        match self {
            Goal::Exact => "exact",
            Goal::Json => "json",
            Goal::Rouge => "rouge",
            Goal::Support => "support",
            Goal::DecodeTps => "decode_tps",
            Goal::PrefillTps => "prefill_tps",
        }
    }

    /// Whether it is measured without tasks.
    pub fn is_speed(self) -> bool {
        matches!(self, Goal::DecodeTps | Goal::PrefillTps)
    }

    /// What usually matters.
    fn default_space(self) -> String {
        match self {
            Goal::Exact | Goal::Json | Goal::Rouge | Goal::Support => {
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

/// What is tuned, and to which end.
#[derive(Debug)]
pub struct Space {
    goal: Goal,
    dimensions: Vec<Dimension>,
}

impl Space {
    /// Reads a space such as `temperature=0..1.5,top_k=1|20|40`; None stands for what usually matters.
    ///
    /// # Errors
    /// What is wrong with the text, and names that make no difference to the goal.
    pub fn new(goal: Goal, text: Option<&str>) -> Result<Space, String> {
        let text = text.map_or_else(|| goal.default_space(), str::to_owned);
        let refused = |problem: String| format!("the space {text}: {problem}");
        let dimensions = space::parse(&text).map_err(refused)?;
        if let Some(idle) = dimensions.iter().find(|dimension| dimension.knob.is_sampler() == goal.is_speed())
        {
            return Err(refused(format!("{} makes no difference to {}", idle.knob.name, goal.name())));
        }
        Ok(Space { goal, dimensions })
    }

    /// The flags of `siskin run` for a point.
    pub fn flags(&self, point: &[f64]) -> String {
        let pairs = self.dimensions.iter().zip(point);
        let flags: Vec<_> =
            pairs.map(|(dimension, value)| format!("{} {value}", dimension.knob.flag)).collect();
        flags.join(" ")
    }
}

/// How it is searched.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// How settings are chosen. By [`Method::Bayes`] unless it is said.
    pub method: Method,
    /// Settings that are tried, besides the model's own. 30 unless it is said.
    pub trials: usize,
    /// Seed of the search and of the sampler.
    pub seed: u64,
    /// How sessions work, where the space says nothing about it.
    pub session: SessionOptions,
    /// When an answer to a task ends.
    pub limits: AnswerLimits,
    /// Bytes that the whole program may take; None for what the machine has left.
    pub memory: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            method: Method::Bayes,
            trials: 30,
            seed: 0,
            session: SessionOptions::default(),
            limits: AnswerLimits::default(),
            memory: None,
        }
    }
}

impl Settings {
    siskin::setters! {
        method: Method,
        trials: usize,
        seed: u64,
        session: SessionOptions,
        limits: AnswerLimits,
        memory: impl Into<Option<u64>>,
    }
}

/// A point that was tried.
#[derive(Clone, Debug)]
pub struct Trial {
    /// In the order in which they were tried; 0 for the model's own settings.
    pub number: usize,
    /// A value for each name of the space; None for the model's own settings.
    pub point: Option<Vec<f64>>,
    /// How good it was.
    pub score: f64,
}

/// Searches the space with the model in `file`, and returns what was tried, the best first. `tried` is shown each trial but the first.
///
/// # Errors
/// A grid of more points than trials, too little memory, and what running the model returns.
pub fn tune(
    settings: &Settings,
    space: &Space,
    file: &Gguf,
    tasks: &[Task],
    mut tried: impl FnMut(&Trial),
) -> Result<Vec<Trial>> {
    let mut search = Search::new(settings.method, &space.dimensions, settings.trials, settings.seed)?;
    let outline = Outline::of(file).map_err(|error| in_file(file, error))?;
    memory::check(settings.memory, &outline, &settings.session, 1, Flags::Context)
        .map_err(|error| in_file(file, error))?;
    let model = Model::from_gguf(file).map_err(|error| in_file(file, error))?;
    let subject = Subject { settings, space, outline, model, tasks };
    let mut trials = vec![Trial { number: 0, point: None, score: subject.score(None)? }];
    for number in 1..=settings.trials {
        let Some(point) = search.next()? else { break };
        // What was tried before gives what it gave before, or nearly, where it is a speed.
        let known = trials.iter().find(|trial| trial.point.as_ref() == Some(&point)).map(|trial| trial.score);
        let score = known.map_or_else(|| subject.score(Some(&point)), Ok)?;
        search.learn(score)?;
        let trial = Trial { number, point: Some(point), score };
        tried(&trial);
        trials.push(trial);
    }
    // Among equals the first stays first: the model's own settings, if they are as good.
    trials.sort_by(|a, b| b.score.total_cmp(&a.score));
    trials.dedup_by(|a, b| a.point == b.point);
    Ok(trials)
}

/// What is tuned.
struct Subject<'a> {
    settings: &'a Settings,
    space: &'a Space,
    /// Tells whether there is memory for a session.
    outline: Outline,
    model: Model,
    tasks: &'a [Task],
}

impl Subject<'_> {
    /// How good the model is at a point of the space, or with its own settings.
    fn score(&self, point: Option<&[f64]>) -> Result<f64> {
        let settings = self.settings;
        let mut sampling = SamplerOptions::default().overlay(self.model.sampling());
        sampling.seed = Some(settings.seed);
        let mut session = settings.session.clone();
        for (dimension, &value) in self.space.dimensions.iter().zip(point.unwrap_or_default()) {
            dimension.knob.turn(&mut sampling, &mut session, value);
        }
        memory::check(settings.memory, &self.outline, &session, 1, Flags::Context)?;
        let score = match self.space.goal {
            Goal::DecodeTps | Goal::PrefillTps => self.speed(&session),
            Goal::Exact | Goal::Json | Goal::Rouge | Goal::Support => self.quality(&session, &sampling),
        };
        score.with_context(|| point.map_or_else(String::new, |point| self.space.flags(point)))
    }

    fn quality(&self, session: &SessionOptions, sampling: &SamplerOptions) -> Result<f64> {
        let mut answer = Answer::new(self.model.session(session)?)?;
        let scores = scores(&mut answer, sampling, &self.settings.limits, self.tasks)?;
        let goal = self.space.goal.name();
        let found = scores.metrics().find(|(name, _)| name == goal);
        Ok(found.with_context(|| format!("no task wants an answer that {goal} is measured of"))?.1)
    }

    /// The median of some runs, in tokens per second.
    fn speed(&self, session: &SessionOptions) -> Result<f64> {
        const RUNS: usize = 3;
        const PROMPT: usize = 512;
        const ANSWER: usize = 64;
        let mut session = self.model.session(session)?;
        let (work, length): (fn(&mut _, &[u32]) -> _, _) = match self.space.goal {
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
