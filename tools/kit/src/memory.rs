//! What the program may take, whether sessions fit into it, and what helps where they do not.

use anyhow::{Error, Result, anyhow};
use siskin::plan::{Budget, Outline, Plan, PlanError};
use siskin::{CacheType, CacheTypes, SessionOptions};

/// What the whole program may take: `limit` bytes, or what the machine and the control group have left; None where
/// nobody says.
pub fn budget(limit: Option<u64>) -> Option<Budget> {
    limit.map_or_else(Budget::here, |bytes| Some(Budget::of(bytes)))
}

/// The plan of `sessions` sessions of the model within the [`budget`]. A context longer than the model's counts as that:
/// who asks for it is told elsewhere.
///
/// # Errors
/// Too little memory, with what helps; an option without meaning.
pub fn check(
    limit: Option<u64>,
    outline: &Outline,
    options: &SessionOptions,
    sessions: usize,
    flags: Flags,
) -> Result<Plan> {
    let context = options.context.map(|context| context.min(outline.context_length()));
    let options = options.clone().context(context);
    let plan = match budget(limit) {
        Some(budget) => outline.within(&options, sessions, &budget),
        None => outline.plan(&options, sessions),
    };
    plan.map_err(|error| with_remedies(error, outline, &options, sessions, flags))
}

/// The flags with which a command takes less memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flags {
    /// `--fit`, `-c` and `--cache-type`.
    Fit,
    /// `-c` and `--cache-type`.
    Context,
    /// `--cache-type` alone: what the command is to do decides the context.
    Cache,
}

/// The error, and where it is lack of memory the flags that help: tried, not guessed.
pub fn with_remedies(
    error: PlanError,
    outline: &Outline,
    options: &SessionOptions,
    sessions: usize,
    flags: Flags,
) -> Error {
    let PlanError::Memory { budget, plan: refused, .. } = &error else { return error.into() };
    let fitted = match flags {
        Flags::Fit | Flags::Context => outline.fit(options, sessions, budget).map(|(_, plan)| plan),
        Flags::Cache => {
            let narrow = options.clone().cache(CacheTypes::from(CacheType::Q8_0));
            outline.within(&narrow, sessions, budget)
        }
    };
    let wanted = outline.plan(options, sessions).map_or(**refused, |plan| plan);
    let remedy = match fitted {
        Ok(plan) => {
            let by_itself = if flags == Flags::Fit { ", as --fit finds by itself" } else { "" };
            format!("{} would fit{by_itself}", difference(&wanted, &plan))
        }
        Err(PlanError::Memory { plan, .. }) => {
            let smaller = "a smaller model helps, or the same in fewer bits, as siskin quantize makes it";
            match (difference(&wanted, &plan), plan.peak() as f64 / f64::from(1 << 20)) {
                (flags, least) if plan != *refused && !flags.is_empty() => {
                    format!("{flags} would need {least:.1} MiB: {smaller}")
                }
                _ => smaller.to_owned(),
            }
        }
        Err(other) => return other.into(),
    };
    anyhow!("{error}; {remedy}")
}

/// The flags that make `wanted` what `plan` is.
fn difference(wanted: &Plan, plan: &Plan) -> String {
    let context = (wanted.context != plan.context).then(|| format!("-c {}", plan.context));
    let cache = (wanted.cache_types != plan.cache_types).then(|| "--cache-type q8_0".to_owned());
    let flags: Vec<String> = context.into_iter().chain(cache).collect();
    flags.join(" ")
}
