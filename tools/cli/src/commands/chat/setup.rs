//! Opening the models that a conversation is had with.

use super::Arguments;
use crate::arguments::names;
use crate::arguments::template::Think;
use crate::arguments::{InputPath, MemoryArguments, ModelArguments, TemplateArguments};
use crate::terminal::note;
use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity};
use siskin::plan::Outline;
use siskin::sampler::SamplerOptions;
use siskin::template::Rendering;
use siskin::{Answer, Model, SessionOptions};
use siskin_kit::in_file;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// What all models of a conversation are opened with.
pub(super) struct Setup<'a> {
    arguments: &'a Arguments,
    template: TemplateArguments,
    /// Where the model is that answers now, None for the one that the command line names, and the options of its session.
    model: Option<ModelArguments>,
    options: SessionOptions,
    /// How many threads may work at a time, where somebody watches over that.
    limit: Option<Arc<AtomicUsize>>,
    /// The CPUs that the program may use.
    cpus: CpuSet,
}

/// A model that answers.
pub(super) struct Opened {
    pub(super) answer: Answer,
    pub(super) sampling: SamplerOptions,
    /// What the chat template is told.
    pub(super) rendering: Rendering,
    /// Whether thoughts are left out of what is written.
    pub(super) hide_thoughts: bool,
}

impl<'a> Setup<'a> {
    /// Opens the model that the command line names.
    pub(super) fn begin(arguments: &'a Arguments) -> Result<(Setup<'a>, Opened)> {
        let options = arguments.neighbour.begin(SessionOptions::default())?;
        let cpus = sched_getaffinity(None).context("the CPUs that may be used")?;
        let template = arguments.template.clone();
        let mut setup = Setup { arguments, template, model: None, options, limit: None, cpus };
        let (mut opened, options) = setup.open(&arguments.model, setup.wanted(), &arguments.memory)?;
        setup.options = options;
        let session = opened.answer.session_mut();
        arguments.neighbour.watch(session.threads(), |limit| {
            session.limit_threads(Arc::clone(&limit));
            setup.limit = Some(limit);
        })?;
        Ok((setup, opened))
    }

    /// The options of a session that the command line asks for.
    fn wanted(&self) -> SessionOptions {
        let Arguments { session, context, speculation, .. } = self.arguments;
        speculation.options(session.options(context.ctx_size)).pin(self.options.pin)
    }

    /// Opens a model, and returns the options of its session, too.
    fn open(
        &self,
        flag: &ModelArguments,
        options: SessionOptions,
        memory: &MemoryArguments,
    ) -> Result<(Opened, SessionOptions)> {
        let Arguments { adapters, speculation, sampling, context, grammar, .. } = self.arguments;
        let draft = speculation.draft(flag)?;
        let (model, options, adapters) =
            flag.open_within(memory, options, adapters, draft.as_ref(), grammar)?;
        let model = self.template.apply(model, false)?;
        let grammar = grammar.compile(&model, self.template.thinks())?;
        let rendering = self.template.rendering(&model);
        let speculation_with = speculation.load(draft, &options)?;
        let mut session = model.session(&options)?;
        session.set_when_full(context.policy().when_full(session.context(), 0))?;
        adapters.attach(&mut session)?;
        speculation.attach(&mut session, speculation_with)?;
        let sampling = sampling.options(&model);
        let sampler = session.sampler(&sampling)?;
        let mut answer = Answer::with_sampler(session, sampler);
        answer.show_special(self.template.shows_special());
        answer.set_grammar(grammar);
        let hide_thoughts = self.template.hides_thoughts();
        Ok((Opened { answer, sampling, rendering, hide_thoughts }, options))
    }

    /// The path of the model that a path or a name means.
    ///
    /// # Errors
    /// What is no model that can be run: that is known before the one that answers now makes room for it.
    pub(super) fn find(&self, name: &str) -> Result<InputPath> {
        let path = names::find(name)?;
        let file = self.arguments.model.of(path.clone()).file()?;
        Outline::of(&file).map_err(|error| in_file(&file, error))?;
        Ok(path)
    }

    /// Opens the model at `path` in place of the one that answered, whose memory is free already. If that cannot be done,
    /// it is said, and the former one is opened again; whether it was done.
    ///
    /// # Errors
    /// The former model cannot be opened either.
    pub(super) fn open_other(&mut self, path: InputPath) -> Result<(Opened, bool)> {
        let arguments = self.arguments;
        let other = arguments.model.of(path);
        let opened = arguments.neighbour.unpinned(&self.cpus, || {
            let error = match self.open(&other, self.wanted(), &arguments.memory) {
                Ok(opened) => return Ok((opened, true)),
                Err(error) => error,
            };
            note(format_args!("siskin: {}", crate::one_line(&error)));
            let former = self.model.as_ref().unwrap_or(&arguments.model);
            // It had room, whatever of it the program has not given back.
            Ok((self.open(former, self.options.clone(), &MemoryArguments::default())?, false))
        });
        let ((mut opened, options), done) = opened?;
        self.options = options;
        if let Some(limit) = &self.limit {
            opened.answer.session_mut().limit_threads(Arc::clone(limit));
        }
        if done {
            self.model = Some(other);
        }
        Ok((opened, done))
    }

    /// Has thoughts handled in another way from now on, and returns what the chat template is told then.
    pub(super) fn set_think(&mut self, think: Think, model: &Model) -> (Rendering, bool) {
        self.template.set_think(think, model);
        (self.template.rendering(model), self.template.hides_thoughts())
    }
}
