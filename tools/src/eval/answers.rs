//! Answers to tasks, as `siskin run` gives them.

use super::tasks::{Score, Scores, Task};
use crate::answer::{self, AnswerArguments};
use anyhow::{Context, Result};
use siskin::sampler::SamplerOptions;
use siskin::template::Message;
use siskin::{Model, Session};
use std::io;

/// The sampler's settings that the model's file recommends, but for the temperature: always the likeliest token.
pub(crate) fn greedy(model: &Model) -> SamplerOptions {
    let options = SamplerOptions::default().overlay(model.sampling());
    SamplerOptions { temperature: 0.0, dynatemp_range: 0.0, ..options }
}

/// The model's answer to a prompt in its chat template, from an empty session.
///
/// # Errors
/// A template that fails, a prompt that the session has no room for, sampler options without meaning.
pub(crate) fn answer(
    model: &Model,
    session: &mut Session,
    sampling: &SamplerOptions,
    arguments: &AnswerArguments,
    prompt: &str,
) -> Result<String> {
    let tokens = model.chat_tokens(&[Message::new("user", prompt)])?;
    let mut sampler = session.sampler(sampling)?;
    session.clear();
    session.feed(&tokens).context("the prompt")?;
    // Penalties look back at the prompt too.
    tokens.iter().for_each(|&token| sampler.accept(token));
    Ok(answer::stream(model, session, &mut sampler, arguments, || true, &mut io::sink())?.text)
}

/// Answers all tasks and compares what comes with what was wanted.
///
/// # Errors
/// As for [`answer`].
pub(crate) fn scores(
    model: &Model,
    session: &mut Session,
    sampling: &SamplerOptions,
    arguments: &AnswerArguments,
    tasks: &[Task],
) -> Result<Scores> {
    let mut scores = Scores::default();
    for (number, task) in (1..).zip(tasks) {
        let found = answer(model, session, sampling, arguments, &task.prompt)
            .with_context(|| format!("task {number}"))?;
        scores.push(&task.task, Score::new(&task.answer, &found));
    }
    Ok(scores)
}
