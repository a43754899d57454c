//! Answers to tasks, as `siskin run` gives them.

use super::tasks::{Scores, Task};
use anyhow::{Context, Result};
use siskin::sampler::SamplerOptions;
use siskin::template::Message;
use siskin::{Answer, AnswerLimits, Channel, Model};

/// The sampler's settings that the model's file recommends, but for the temperature: always the likeliest token.
pub(super) fn greedy(model: &Model) -> SamplerOptions {
    let options = SamplerOptions::default().overlay(model.sampling());
    options.temperature(0.0).dynatemp_range(0.0)
}

/// The model's answer to a prompt in its chat template, without its thoughts.
///
/// # Errors
/// A template that fails, a prompt that the session has no room for, sampler options without meaning.
fn answer_to(
    answer: &mut Answer,
    sampling: &SamplerOptions,
    limits: &AnswerLimits,
    prompt: &str,
) -> Result<String> {
    answer.set_sampler(answer.session().sampler(sampling)?);
    answer.set_limits(limits.clone());
    answer.ask(&[Message::new("user", prompt)])?;
    answer.read_prompt().context("the prompt")?;
    let mut text = String::new();
    while let Some(piece) = answer.next_piece()? {
        if piece.channel == Channel::Text {
            text.push_str(piece.text);
        }
    }
    Ok(text)
}

/// Answers all tasks and compares what comes with what was wanted.
///
/// # Errors
/// A template that fails, a prompt that the session has no room for, sampler options without meaning.
pub fn scores(
    answer: &mut Answer,
    sampling: &SamplerOptions,
    limits: &AnswerLimits,
    tasks: &[Task],
) -> Result<Scores> {
    let mut scores = Scores::default();
    for (number, task) in (1..).zip(tasks) {
        let found =
            answer_to(answer, sampling, limits, &task.prompt).with_context(|| format!("task {number}"))?;
        scores.push(&task.task, task.score(&found));
    }
    Ok(scores)
}
