use super::open_file;
use crate::options::{ModelSource, ServeOptions};
use crate::worker::Worker;
use anyhow::{Context, Result};
use siskin::plan::{Outline, Plan};
use siskin::{Model, Scheduler, SequencesOptions};
use siskin_kit::{in_file, memory};

/// A model in memory, and the thread that answers with it.
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) model: Model,
    pub(crate) worker: Worker,
    /// What it was said to take.
    pub(crate) plan: Plan,
    /// Tokens that a sequence holds at most.
    pub(crate) context: usize,
}

impl Loaded {
    /// Loads a model, if there is memory for it.
    ///
    /// # Errors
    /// Too little memory, a [`PlanError`](siskin::plan::PlanError), and all that is wrong with the file.
    pub(crate) fn open(name: &str, source: &ModelSource, options: &ServeOptions) -> Result<Self> {
        let file = open_file(name, source)?;
        let outline = Outline::of(&file).map_err(|error| in_file(&file, error))?;
        let mut session = options.session.clone();
        session.context = session.context.map(|context| context.min(outline.context_length()));
        let wanted = SequencesOptions::default().most(options.parallel).idle(options.idle).session(session);
        let (wanted, plan) = match memory::budget(options.memory) {
            Some(budget) => outline.fit_sequences(&wanted, 1, &budget)?,
            None => {
                let plan = outline.plan_sequences(&wanted)?;
                (wanted, plan)
            }
        };
        drop(outline);
        let model = Model::from_gguf(&file).map_err(|error| in_file(&file, error))?;
        let sequences = model.sequences(&wanted)?;
        let context = sequences.context();
        let worker = Worker::start(Scheduler::new(sequences), options.queue).context("the model's thread")?;
        Ok(Self { name: name.to_owned(), model, worker, plan, context })
    }
}
