//! How an adapter is trained: in which order, how fast, and until when.

mod order;
mod schedule;

pub use schedule::Schedule;

use anyhow::{Result, ensure};
use siskin::training::{AdamW, Change, Example, Step, Trainer};

use crate::data::{Parts, Sample};
use crate::file;

/// How an adapter is trained.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// Times that each example is learned from, at most.
    pub epochs: usize,
    /// Examples of a step.
    pub batch: usize,
    /// What learning rates are like over the steps.
    pub schedule: Schedule,
    /// The highest learning rate.
    pub rate: f32,
    /// The share of all steps in which the rate rises to that.
    pub warm_up: f32,
    /// How many times faster B learns than A.
    pub b_ratio: f32,
    /// How much of itself a number loses, times the rate.
    pub decay: f32,
    /// The length that gradients are shortened to.
    pub clip: Option<f32>,
    /// How much of a target's probability all tokens have together.
    pub smoothing: f32,
    /// Epochs without a better loss of what is held out after which training ends.
    pub patience: usize,
    /// What the order of the examples and the first numbers are drawn from.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            epochs: 12,
            batch: 8,
            schedule: Schedule::Cosine,
            rate: 4e-3,
            warm_up: 0.05,
            b_ratio: 1.0,
            decay: 0.0,
            clip: Some(1.0),
            smoothing: 0.0,
            patience: 3,
            seed: 1,
        }
    }
}

/// What came of an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// The mean loss of the tokens that were learned, as they were when their turn came.
    pub training: f64,
    /// The mean loss of those that are held out; None where nothing is.
    pub held_out: Option<f64>,
}

/// What is told of training while it goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A step is taken.
    Step {
        /// Its number, from 1, and how many there are at most.
        step: usize,
        /// All steps.
        of: usize,
        /// The mean loss of its tokens.
        loss: f64,
        /// The length of the gradients.
        gradient: f64,
        /// How many tokens went through the model.
        tokens: usize,
    },
    /// An epoch is over.
    Epoch(Epoch),
}

/// How far training is, and what came of it until now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// The epochs that are over.
    pub epochs: Vec<Epoch>,
    /// The number of the best of them, from 0: that with the least loss of what is held out; the last one where nothing is.
    pub best: usize,
    /// The adapter's file as of that epoch; empty before the first is over.
    pub adapter: Vec<u8>,
    /// Examples of the epoch under way that were learned from.
    pub(crate) learned: usize,
    /// The losses of their tokens.
    pub(crate) loss: Mean,
}

/// An adapter's training, which goes on step by step.
pub struct Run<'a> {
    changes: &'a [Change],
    alpha: f32,
    parts: &'a Parts,
    settings: &'a Settings,
    progress: Progress,
    /// Of the epoch under way.
    order: Vec<usize>,
}

impl<'a> Run<'a> {
    /// Training on one part of the data, which keeps what does best on the other; the changes are the trainer's, `alpha` their scales times
    /// their ranks. It begins, or goes on from where it was, with the trainer's state of that time.
    ///
    /// # Errors
    /// Nothing to learn from, settings without meaning.
    pub fn new(
        (changes, alpha): (&'a [Change], f32),
        parts: &'a Parts,
        settings: &'a Settings,
        progress: Progress,
    ) -> Result<Self> {
        let Settings { epochs, batch, .. } = *settings;
        ensure!(!parts.training.is_empty(), "there is nothing to learn from: expected at least one example");
        ensure!(
            epochs > 0 && batch > 0,
            "expected at least one epoch and one example a step, found {epochs} and {batch}"
        );
        let order = order::shuffled(parts.training.len(), settings.seed, progress.epochs.len());
        Ok(Self { changes, alpha, parts, settings, progress, order })
    }

    /// How far it is.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// How far it was.
    pub fn into_progress(self) -> Progress {
        self.progress
    }

    /// Whether there is nothing more to do: all epochs are over, or the last ones were no better.
    pub fn is_over(&self) -> bool {
        let Progress { epochs, best, learned, .. } = &self.progress;
        let behind = epochs.len().saturating_sub(best + 1);
        *learned == 0 && (epochs.len() >= self.settings.epochs || behind >= self.settings.patience.max(1))
    }

    /// Takes a step, or ends an epoch.
    ///
    /// # Errors
    /// Those of [`Trainer::learn`], a loss that is no number.
    pub fn advance(&mut self, trainer: &mut Trainer) -> Result<Event> {
        let Settings { batch, epochs, .. } = *self.settings;
        let from = self.progress.learned;
        if from == self.order.len() {
            return Ok(Event::Epoch(self.end_epoch(trainer)?));
        }
        let chosen = &self.order[from..(from + batch).min(self.order.len())];
        let steps = self.order.len().div_ceil(batch) * epochs;
        let samples = chosen.iter().map(|&number| &self.parts.training[number]);
        let step = learn(trainer, samples, self.settings, steps)?;
        self.progress.learned += chosen.len();
        self.progress.loss.add(step.loss.sum, step.loss.count);
        let (loss, taken) = (step.loss.mean(), trainer.steps() as usize);
        Ok(Event::Step { step: taken, of: steps, loss, gradient: step.gradient, tokens: step.tokens })
    }

    fn end_epoch(&mut self, trainer: &mut Trainer) -> Result<Epoch> {
        let held_out = held_out_loss(trainer, &self.parts.held_out)?;
        let progress = &mut self.progress;
        let epoch = Epoch { training: progress.loss.mean(), held_out };
        ensure!(
            epoch.training.is_finite() && held_out.is_none_or(f64::is_finite),
            "the loss is no number after epoch {}: expected a lower learning rate than {}",
            progress.epochs.len() + 1,
            self.settings.rate
        );
        let least = progress.epochs.get(progress.best).and_then(|best| best.held_out);
        progress.epochs.push(epoch);
        if least.zip(held_out).is_none_or(|(least, loss)| loss < least) {
            progress.best = progress.epochs.len() - 1;
            progress.adapter = file::bytes(trainer, self.changes, self.alpha)?;
        }
        (progress.learned, progress.loss) = (0, Mean::default());
        self.order = order::shuffled(self.order.len(), self.settings.seed, progress.epochs.len());
        Ok(epoch)
    }
}

/// A sum of losses, and of how many.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Mean {
    pub(crate) sum: f64,
    pub(crate) count: usize,
}

impl Mean {
    fn add(&mut self, sum: f64, count: usize) {
        self.sum += sum;
        self.count += count;
    }

    fn mean(self) -> f64 {
        self.sum / self.count.max(1) as f64
    }
}

/// What came of a step.
struct Learned {
    loss: Mean,
    gradient: f64,
    tokens: usize,
}

/// A step on some samples, of whose tokens each counts alike.
fn learn<'a>(
    trainer: &mut Trainer,
    samples: impl Iterator<Item = &'a Sample> + Clone,
    settings: &Settings,
    steps: usize,
) -> Result<Learned> {
    let targets: usize = samples.clone().map(|sample| sample.example(0.0).learned()).sum();
    let weight = 1.0 / targets.max(1) as f32;
    let examples: Vec<Example<'_>> = samples.map(|sample| sample.example(weight)).collect();
    let mut loss = Mean::default();
    trainer.learn(&examples, settings.smoothing, &mut |_, of_token| loss.add(of_token, 1))?;
    let rate = settings.schedule.rate(trainer.steps() as usize, steps, settings.warm_up) * settings.rate;
    let optimizer = AdamW { decay: settings.decay, rate, ..AdamW::default() };
    let step = Step::new(rate).optimizer(optimizer).b_ratio(settings.b_ratio).clip(settings.clip);
    let tokens = examples.iter().map(|example| example.tokens.len()).sum();
    Ok(Learned { loss, gradient: trainer.step(&step), tokens })
}

/// The mean loss of samples' learned tokens; None where there are none.
fn held_out_loss(trainer: &mut Trainer, samples: &[Sample]) -> Result<Option<f64>> {
    let examples: Vec<_> = samples.iter().map(|sample| sample.example(0.0)).collect();
    let mut loss = Mean::default();
    trainer.losses(&examples, &mut |_, of_token| loss.add(of_token, 1))?;
    Ok((loss.count > 0).then(|| loss.mean()))
}
