use super::open_file;
use crate::log::note;
use crate::options::{ModelSource, Pinned, ServeOptions};
use crate::worker::{Figures, Prefixes, Worker};
use anyhow::{Context, Result};
use siskin::plan::{Outline, Plan};
use siskin::template::{Message, Rendering};
use siskin::{Model, Scheduler, SequencesOptions};
use siskin_kit::{in_file, memory};
use std::sync::Arc;

/// A model in memory, and the thread that answers with it.
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) model: Model,
    pub(crate) worker: Worker,
    /// What it was said to take.
    pub(crate) plan: Plan,
    /// Tokens that a sequence holds at most.
    pub(crate) context: usize,
    /// The types of keys and values.
    pub(crate) cache: [&'static str; 2],
}

impl Loaded {
    /// Loads a model, if there is memory for it. Its worker's figures go on from what they are.
    ///
    /// # Errors
    /// Too little memory, a [`PlanError`](siskin::plan::PlanError), and all that is wrong with the file.
    pub(crate) fn open(
        name: &str,
        source: &ModelSource,
        options: &ServeOptions,
        figures: &Arc<Figures>,
    ) -> Result<Self> {
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
        let cache = [plan.cache_types.keys.name(), plan.cache_types.values.name()];
        let mut scheduler = Scheduler::new(sequences);
        scheduler.limit_slowdown(options.slowdown);
        for pinned in &options.pinned {
            let beginning = beginning(&model, pinned).with_context(|| pinned.name.clone())?;
            scheduler.pin(&beginning, &[]).with_context(|| pinned.name.clone())?;
        }
        let said = |line: String| note(&line);
        let prefixes = options.prefixes.as_ref();
        let mut prefixes = prefixes.and_then(|prefixes| Prefixes::open(prefixes, &scheduler, &said));
        if let Some(prefixes) = &mut prefixes {
            prefixes.warm(&mut scheduler);
        }
        let worker = Worker::start(scheduler, prefixes, options.queue, Arc::clone(figures));
        let worker = worker.context("the model's thread")?;
        Ok(Self { name: name.to_owned(), model, worker, plan, context, cache })
    }
}

impl Loaded {
    /// Says what it takes.
    pub(crate) fn tell(&self) {
        let (places, context) = (self.worker.places(), self.context);
        note(&format!("{}: {}, {places} at once, {context} tokens each", self.name, self.plan));
    }
}

/// The tokens that all prompts with these messages begin with, whatever follows them.
fn beginning(model: &Model, pinned: &Pinned) -> Result<Vec<u32>> {
    let tokens = |next: &str| {
        let next = Message::new("user", next);
        let messages: Vec<Message> = pinned.messages.iter().cloned().chain([next]).collect();
        model.chat_tokens_with(&messages, &Rendering::default().tools(pinned.tools.clone()))
    };
    let (one, other) = (tokens("a")?, tokens("?")?);
    let common = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
    Ok(one[..common].to_vec())
}
