//! A model in memory: how it is opened within what there is, and what it can be asked.

use super::compiled::Compiled;
use super::promised::{Promised, Share};
use super::{Texts, open_file};
use crate::http::Room;
use crate::options::{LogFormat, ModelSource, Pinned, ServeOptions};
use crate::refusal::{Reason, Refusal};
use crate::worker::{Figures, Prefixes, Worker};
use anyhow::{Context, Result, bail};
use serde_json::json;
use siskin::gguf::Gguf;
use siskin::grammar::{Grammar, GrammarError, GrammarSource};
use siskin::plan::{Outline, Plan};
use siskin::template::{Message, Rendering};
use siskin::tool_calls::ToolSyntax;
use siskin::{Adapter, AdapterOutline, Model, Scheduler, SequencesOptions};
use siskin_kit::{in_file, memory};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// Positions of a page of the cache.
const PAGE: usize = 256;

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
    /// The threads that work on it, at most.
    pub(crate) threads: usize,
    /// The instruction set of its kernels.
    pub(crate) isa: &'static str,
    /// The adapters that it can have, by name.
    pub(crate) adapters: Vec<(String, Adapter)>,
    /// How it calls tools; None where its template tells of none.
    pub(crate) syntax: Option<ToolSyntax>,
    /// Whether answers may keep to grammars.
    grammars: bool,
    compiled: Compiled,
    /// Room for texts on their way to tokens.
    pub(crate) texts: Texts,
    /// What it may take of the memory. Behind all that does.
    share: Share,
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
        promised: &Arc<Promised>,
        figures: &Arc<Figures>,
    ) -> Result<Self> {
        let file = open_file(name, source)?;
        let mut outline = Outline::of(&file).map_err(|error| in_file(&file, error))?;
        let beside = promised.beside(&mut outline, Room::bytes(options.body) as u64);
        let adapters = adapter_files(&mut outline, options)?;
        if options.grammars {
            outline.add_grammars();
            outline.add_program(Compiled::bytes() as u64);
        }
        let mut session = options.session.clone();
        session.context = session.context.map(|context| context.min(outline.context_length()));
        outline.add_program(Texts::bytes(session.context_for(outline.context_length())) as u64);
        let wanted = SequencesOptions::default().most(options.parallel).idle(options.idle).session(session);
        let budget = memory::budget(options.memory);
        let (mut wanted, mut plan) = match &budget {
            Some(budget) => outline.fit_sequences(&wanted, 1, budget)?,
            None => {
                let plan = outline.plan_sequences(&wanted)?;
                (wanted, plan)
            }
        };
        let model = Model::from_gguf(&file).map_err(|error| in_file(&file, error))?;
        let pinned =
            options.pinned.iter().map(|pinned| beginning(&model, pinned)).collect::<Result<Vec<_>>>()?;
        if !pinned.is_empty() {
            // They lie beside what answers can fill.
            let pages: usize = pinned.iter().map(|tokens| tokens.len().div_ceil(PAGE)).sum();
            wanted.pages = Some(plan.pages + pages);
            wanted.idle = wanted.idle.max(pinned.len());
            plan = outline.plan_sequences(&wanted)?;
            if let Some(budget) = budget.filter(|budget| plan.peak() > budget.bytes()) {
                bail!("the pinned prompts need {pages} pages more: {plan} of {budget}");
            }
        }
        drop(outline);
        let share = promised.take(plan.peak().saturating_sub(beside));
        let load = |(name, file): (String, Gguf)| Ok((name, Adapter::from_gguf(&file, &model)?));
        let adapters = adapters.into_iter().map(load).collect::<Result<_>>()?;
        let sequences = model.sequences(&wanted)?;
        let (context, threads, isa) = (sequences.context(), sequences.threads(), sequences.isa());
        let cache = [plan.cache_types.keys.name(), plan.cache_types.values.name()];
        let mut scheduler = Scheduler::new(sequences);
        scheduler.limit_slowdown(options.slowdown);
        for (beginning, Pinned { name, .. }) in pinned.iter().zip(&options.pinned) {
            scheduler.pin(beginning, &[]).with_context(|| name.clone())?;
        }
        let said = |line: String| options.log.warn("prefixes-unavailable", line, json!({"model": name}));
        let prefixes = options.prefixes.as_ref();
        let mut prefixes = prefixes.and_then(|prefixes| Prefixes::open(prefixes, &scheduler, &said));
        if let Some(prefixes) = &mut prefixes {
            prefixes.warm(&mut scheduler);
        }
        let worker = Worker::start(name, scheduler, prefixes, options, Arc::clone(figures));
        let worker = worker.context("the model's thread")?;
        let grammars = options.grammars;
        let syntax = ToolSyntax::of(model.chat_template(), model.tokenizer());
        let name = name.to_owned();
        let (compiled, texts) = (Compiled::new(options.parallel), Texts::new(context));
        Ok(Self {
            name,
            model,
            worker,
            plan,
            context,
            cache,
            threads,
            isa,
            adapters,
            syntax,
            grammars,
            compiled,
            texts,
            share,
        })
    }
}

impl Loaded {
    /// Adapters by their names, and what their changes are multiplied by.
    ///
    /// # Errors
    /// A name that no adapter of the model has, one that is there twice, and a scale that is no number.
    pub(crate) fn named_adapters(&self, names: &[(String, f32)]) -> Result<Vec<(Adapter, f32)>, Refusal> {
        let mut found = Vec::new();
        for (index, (name, scale)) in names.iter().enumerate() {
            let Some((_, adapter)) = self.adapters.iter().find(|(other, _)| other == name) else {
                let known: Vec<&str> = self.adapters.iter().map(|(name, _)| name.as_str()).collect();
                let known = if known.is_empty() { "it has none".to_owned() } else { known.join(", ") };
                let said = format!("model {} has no adapter {name:?}: {known}", self.name);
                return Err(Refusal::new(Reason::NotFound, said));
            };
            if names.iter().skip(index + 1).any(|(other, _)| other == name) {
                return Err(Refusal::invalid(format_args!("the adapter {name:?} is there twice")));
            }
            if !scale.is_finite() {
                return Err(Refusal::invalid(format_args!("the adapter {name:?}: expected a finite scale")));
            }
            // One without effect is as none.
            if *scale != 0.0 {
                found.push((adapter.clone(), *scale));
            }
        }
        Ok(found)
    }

    /// Room for `count` answers that keep to the grammar of this source, which they have until they are over. Whoever finds
    /// too little waits.
    ///
    /// # Errors
    /// No room for a minute.
    pub(crate) async fn grammar_room(
        &self,
        source: &GrammarSource,
        count: usize,
    ) -> Result<OwnedSemaphorePermit, Refusal> {
        self.compiled.room(source, count).await
    }

    /// A turn to compile a grammar: one does at a time.
    ///
    /// # Errors
    /// No turn for a minute.
    pub(crate) async fn grammar_turn(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        self.compiled.turn().await
    }

    /// A grammar, compiled unless it was not long ago.
    ///
    /// # Errors
    /// What is wrong with its source, and a server that has none.
    pub(crate) fn grammar(&self, source: &GrammarSource) -> Result<Grammar, Refusal> {
        if !self.grammars {
            return Err(Refusal::new(Reason::Unsupported, "the server was started without grammars"));
        }
        self.compiled.get(source, |source| self.model.grammar(source)).map_err(|error| match error {
            GrammarError::NotBuilt | GrammarError::Vocabulary { .. } => {
                Refusal::new(Reason::Unsupported, error)
            }
            error => Refusal::invalid(error),
        })
    }

    /// Bytes that the program takes with this model alone, at most.
    pub(crate) fn bytes(&self) -> u64 {
        self.share.alone()
    }

    /// Says what it takes.
    pub(crate) fn tell(&self, log: LogFormat) {
        let (name, places, context) = (&self.name, self.worker.places(), self.context);
        let said = format!("{name}: {}, {places} at once, {context} tokens each", self.plan);
        let bytes = self.bytes();
        log.info(
            "model-loaded",
            said,
            json!({"model": name, "bytes": bytes, "places": places, "context": context}),
        );
    }
}

/// Refuses adapters that are for none of the models that were named. Those of a folder may come later.
pub(super) fn check_adapters(options: &ServeOptions) -> Result<()> {
    if options.adapters.is_empty() || options.models.is_empty() || options.folder.is_some() {
        return Ok(());
    }
    for (_, path) in &options.adapters {
        let adapter = AdapterOutline::of(&Gguf::open(path)?)?;
        let mut why = None;
        for (name, source) in &options.models {
            let file = open_file(name, source)?;
            let mut outline = Outline::of(&file).map_err(|error| in_file(&file, error))?;
            match outline.add_adapter(&adapter) {
                Ok(()) => {
                    why = None;
                    break;
                }
                Err(error) => why = why.or_else(|| Some(format!("model {name}: {error}"))),
            }
        }
        if let Some(why) = why {
            bail!("{}: the adapter is for none of the models: {why}", path.display());
        }
    }
    Ok(())
}

/// The files of the adapters that are for a model of this shape, which are counted among what it takes.
fn adapter_files(outline: &mut Outline, options: &ServeOptions) -> Result<Vec<(String, Gguf)>> {
    let mut files = Vec::new();
    for (name, path) in &options.adapters {
        let file = Gguf::open(path)?;
        if outline.add_adapter(&AdapterOutline::of(&file)?).is_ok() {
            files.push((name.clone(), file));
        }
    }
    Ok(files)
}

/// The tokens that all prompts with these messages begin with, whatever follows them.
fn beginning(model: &Model, pinned: &Pinned) -> Result<Vec<u32>> {
    let tokens = |next: &str| {
        let next = Message::new("user", next);
        let messages: Vec<Message> = pinned.messages.iter().cloned().chain([next]).collect();
        let tokens = model.chat_tokens_with(&messages, &Rendering::default().tools(pinned.tools.clone()));
        tokens.with_context(|| pinned.name.clone())
    };
    let (one, other) = (tokens("a")?, tokens("?")?);
    let common = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
    Ok(one[..common].to_vec())
}
