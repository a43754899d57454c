//! Answers to tasks, as `siskin run` gives them.

use super::tasks::{Score, Scores, Task};
use crate::answer::{self, AnswerArguments};
use anyhow::{Context, Result};
use siskin::sampler::SamplerOptions;
use siskin::template::Message;
use siskin::{Answer, Model};
use std::io;

/// The sampler's settings that the model's file recommends, but for the temperature: always the likeliest token.
pub(crate) fn greedy(model: &Model) -> SamplerOptions {
    let options = SamplerOptions::default().overlay(model.sampling());
    SamplerOptions { temperature: 0.0, dynatemp_range: 0.0, ..options }
}

/// The model's answer to a prompt in its chat template.
///
/// # Errors
/// A template that fails, a prompt that the session has no room for, sampler options without meaning.
pub(crate) fn answer(
    answer: &mut Answer,
    sampling: &SamplerOptions,
    arguments: &AnswerArguments,
    prompt: &str,
) -> Result<String> {
    answer.set_sampler(answer.session().sampler(sampling)?);
    answer.set_limits(arguments.limits());
    answer.ask(&[Message::new("user", prompt)])?;
    answer.read_prompt().context("the prompt")?;
    Ok(answer::stream(answer, &mut io::sink())?.text)
}

/// Answers all tasks and compares what comes with what was wanted.
///
/// # Errors
/// As for [`answer`].
pub(crate) fn scores(
    answer: &mut Answer,
    sampling: &SamplerOptions,
    arguments: &AnswerArguments,
    tasks: &[Task],
) -> Result<Scores> {
    let mut scores = Scores::default();
    for (number, task) in (1..).zip(tasks) {
        let found = self::answer(answer, sampling, arguments, &task.prompt)
            .with_context(|| format!("task {number}"))?;
        scores.push(&task.task, Score::new(&task.answer, &found));
    }
    Ok(scores)
}
