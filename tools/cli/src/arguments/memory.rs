//! The flags that say how much memory a model may take.

use super::size::Size;
use crate::terminal::note;
use anyhow::Result;
#[cfg(feature = "long-work")]
use anyhow::anyhow;
use clap::Args;
#[cfg(feature = "long-work")]
use siskin::SequencesOptions;
use siskin::plan::{Budget, Outline, Plan, PlanError};
use siskin::{CacheTypes, SessionOptions};
use siskin_kit::memory::{self as kit, Flags};

/// How much memory there is.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct MemoryLimit {
    /// Memory that the whole program may take: 200m, 1.5g and 1.5GiB are powers of 1024, 200MB of 1000, a number alone is
    /// bytes [default: what the machine and the control group have left, less a reserve]
    #[arg(long, value_name = "SIZE")]
    memory: Option<Size>,
}

impl MemoryLimit {
    /// What the program may take; None where nobody says.
    pub(crate) fn budget(&self) -> Option<Budget> {
        kit::budget(self.bytes())
    }

    /// The bytes of the flag.
    pub(crate) fn bytes(&self) -> Option<u64> {
        self.memory.map(|Size(bytes)| bytes)
    }

    /// The plan of `sessions` sessions of the model, of a command with these flags. A context longer than the model's
    /// counts as that: who asks for it is told elsewhere.
    ///
    /// # Errors
    /// Too little memory, with what helps; an option without meaning.
    #[cfg(any(feature = "convert", feature = "inspect"))]
    pub(crate) fn check(
        &self,
        outline: &Outline,
        options: &SessionOptions,
        sessions: usize,
        flags: Flags,
    ) -> Result<Plan> {
        kit::check(self.bytes(), outline, options, sessions, flags)
    }
}

/// How much memory there is, and what to do where that is too little.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct MemoryArguments {
    #[command(flatten)]
    limit: MemoryLimit,
    /// Where that is too little, shorten the context, and keep the cache in q8_0 if that does not suffice
    #[arg(long)]
    fit: bool,
}

impl MemoryArguments {
    /// As [`MemoryLimit::budget`].
    pub(crate) fn budget(&self) -> Option<Budget> {
        self.limit.budget()
    }

    /// The options that `sessions` sessions of the model can have, and their plan. Where they are not those that were
    /// asked for, a line on standard error says so.
    ///
    /// # Errors
    /// Too little memory, with what helps; an option without meaning.
    pub(crate) fn options(
        &self,
        outline: &Outline,
        options: SessionOptions,
        sessions: usize,
    ) -> Result<(SessionOptions, Plan)> {
        let chosen = self.choose(outline, options.clone(), sessions);
        chosen.map_err(|error| kit::with_remedies(error, outline, &options, sessions, Flags::Fit))
    }

    fn choose(
        &self,
        outline: &Outline,
        options: SessionOptions,
        sessions: usize,
    ) -> Result<(SessionOptions, Plan), PlanError> {
        let wanted = outline.plan(&options, sessions)?;
        let Some(budget) = self.budget() else { return Ok((options, wanted)) };
        if !self.fit {
            return outline.within(&options, sessions, &budget).map(|plan| (options, plan));
        }
        let (options, plan) = outline.fit(&options, sessions, &budget)?;
        if let Some(changes) = changes(&wanted, &plan) {
            note(format_args!("to fit into {budget}: {changes}"));
        }
        Ok((options, plan))
    }
}

#[cfg(feature = "long-work")]
impl MemoryArguments {
    /// The options of sequences that are worked on together, and their plan: as many as `parallel` says, or as are worth
    /// their memory ([`Outline::default_sequences`]).
    ///
    /// # Errors
    /// As for [`MemoryArguments::options`].
    pub(crate) fn sequences(
        &self,
        outline: &Outline,
        options: SessionOptions,
        parallel: Option<usize>,
    ) -> Result<(SequencesOptions, Plan)> {
        let (session, _) = self.options(outline, options, 1)?;
        let budget = self.budget();
        let chosen = match parallel {
            None => outline.default_sequences(&session, budget.as_ref()),
            Some(most) => {
                let wanted = SequencesOptions::default().session(session).most(most);
                match budget {
                    Some(budget) => outline.fit_sequences(&wanted, most, &budget),
                    None => outline.plan_sequences(&wanted).map(|plan| (wanted, plan)),
                }
            }
        };
        chosen.map_err(|error| match error {
            PlanError::Memory { .. } => {
                anyhow!("{error}; a lower --parallel, a shorter context (-c) or --cache-type q8_0 takes less")
            }
            other => other.into(),
        })
    }
}

/// What is not as it was wanted.
fn changes(wanted: &Plan, plan: &Plan) -> Option<String> {
    let (context, cache) = (plan.context, plan.cache_types);
    let context = (context != wanted.context)
        .then(|| format!("a context of {context} tokens instead of {}", wanted.context));
    let cache = (cache != wanted.cache_types)
        .then(|| format!("a cache in {} instead of {}", types(cache), types(wanted.cache_types)));
    let changes: Vec<String> = context.into_iter().chain(cache).collect();
    (!changes.is_empty()).then(|| changes.join(", "))
}

/// Such as `f16`, or `q8_0 and f16` where keys and values differ.
pub(crate) fn types(types: CacheTypes) -> String {
    let CacheTypes { keys, values } = types;
    match keys == values {
        true => keys.name().to_owned(),
        false => format!("{} and {}", keys.name(), values.name()),
    }
}
