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
            rate: 2e-3,
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

/// What came of training.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The adapter's file, of the epoch after which the held out loss was least; of the last one where nothing is held out.
    pub adapter: Vec<u8>,
    /// The number of that epoch, from 0.
    pub best: usize,
    /// All epochs.
    pub epochs: Vec<Epoch>,
}

/// What is told while it goes on.
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

/// Trains the trainer's adapter, from the numbers that it has, on one part of the data, and keeps what does best on the other. The
/// changes are those of the trainer, `alpha` their scales times their ranks.
///
/// # Errors
/// Nothing to learn from, settings without meaning, those of [`Trainer::learn`], a loss that is no number.
pub fn train(
    trainer: &mut Trainer,
    (changes, alpha): (&[Change], f32),
    parts: &Parts,
    settings: &Settings,
    tell: &mut dyn FnMut(&Event),
) -> Result<Outcome> {
    let Settings { epochs, batch, .. } = *settings;
    ensure!(!parts.training.is_empty(), "there is nothing to learn from: expected at least one example");
    ensure!(
        epochs > 0 && batch > 0,
        "expected at least one epoch and one example a step, found {epochs} and {batch}"
    );
    let steps = parts.training.len().div_ceil(batch) * epochs;
    let mut outcome = Outcome { adapter: Vec::new(), best: 0, epochs: Vec::new() };
    let mut least = f64::INFINITY;
    for epoch in 0..epochs {
        let order = order::shuffled(parts.training.len(), settings.seed, epoch);
        let mut training = Mean::default();
        for chosen in order.chunks(batch) {
            let samples = chosen.iter().map(|&number| &parts.training[number]);
            let step = learn(trainer, samples, settings, steps)?;
            training.add(step.loss.sum, step.loss.count);
            tell(&Event::Step {
                step: trainer.steps() as usize,
                of: steps,
                loss: step.loss.mean(),
                gradient: step.gradient,
                tokens: step.tokens,
            });
        }
        let held_out = held_out_loss(trainer, &parts.held_out)?;
        let found = Epoch { training: training.mean(), held_out };
        ensure!(
            found.training.is_finite() && held_out.is_none_or(f64::is_finite),
            "the loss is no number after epoch {}: expected a lower learning rate than {}",
            epoch + 1,
            settings.rate
        );
        outcome.epochs.push(found);
        tell(&Event::Epoch(found));
        if held_out.is_none_or(|loss| loss < least) {
            least = held_out.unwrap_or(least);
            outcome.best = epoch;
            outcome.adapter = file::bytes(trainer, changes, alpha)?;
        } else if epoch - outcome.best >= settings.patience.max(1) {
            break;
        }
    }
    Ok(outcome)
}

/// A sum of losses, and of how many.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    count: usize,
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
