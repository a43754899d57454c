use super::Source;
use super::finished::Finished;
use super::outline::Outline;
use super::prompt::Instructions;
use super::room::Room;
use super::split::{pack, split};
use crate::long_work::assistant::Assistant;
use crate::terminal::{Interrupt, answer};
use anyhow::{Context, Result, bail, ensure};
use indicatif::ProgressBar;
use siskin::sampler::SamplerOptions;
use siskin::template::{Message, Rendering};
use siskin::tokenizer::Special;
use siskin::{AnswerLimits, Ending};
use siskin_documents::Document;
use siskin_kit::progress;
use std::io::{self, IsTerminal, Write};

/// What summarizes texts: first each of their parts, then the summaries.
pub(super) struct Work {
    assistant: Assistant,
    sampling: SamplerOptions,
    limits: AnswerLimits,
    instructions: Instructions,
    /// What the chat template is told.
    rendering: Rendering,
    finished: Finished,
    room: Room,
    progress: ProgressBar,
    /// Tokens of thoughts, which are no part of summaries.
    thought_tokens: usize,
}

/// A part of a text.
struct Part<'d> {
    /// The headings that it stands under.
    headings: String,
    text: &'d str,
}

impl Work {
    /// Divides the context.
    ///
    /// # Errors
    /// A context with too little room.
    pub(super) fn new(
        mut assistant: Assistant,
        sampling: SamplerOptions,
        limits: AnswerLimits,
        instructions: Instructions,
        rendering: Rendering,
        finished: Finished,
    ) -> Result<Work> {
        let rendering = rendering.seconds(finished.started());
        let tokens = |messages: &[Message]| -> Result<usize> {
            Ok(assistant.model().chat_tokens_with(messages, &rendering)?.len())
        };
        let prompt = tokens(&instructions.part("", ""))?.max(tokens(&instructions.merge(&[]))?);
        let summary = Room::summary(assistant.context(), limits.tokens);
        let room = Room::new(assistant.context(), prompt, summary, instructions.merges())?;
        let progress = ProgressBar::hidden();
        assistant.cancel_when(&Interrupt::on_termination()?);
        let thought_tokens = 0;
        Ok(Work {
            assistant,
            sampling,
            limits,
            instructions,
            rendering,
            finished,
            room,
            progress,
            thought_tokens,
        })
    }

    /// Prints the summary of texts, whose parts have at most `part_size` tokens.
    pub(super) fn run(mut self, sources: &[Source], part_size: Option<usize>) -> Result<Finished> {
        let part_size = part_size.or(self.instructions.part_size()).unwrap_or(usize::MAX);
        let mut parts = Vec::new();
        for source in sources {
            let title = if sources.len() > 1 { Some(source.name.as_str()) } else { None };
            let found = self.parts(&source.document, title, part_size);
            parts.append(&mut found.with_context(|| source.name.clone())?);
        }
        if !self.instructions.merges() {
            self.print_each(&parts)?;
        } else if let [part] = parts.as_slice() {
            self.print(&self.instructions.part(&part.headings, part.text))?;
        } else {
            self.begin(parts.len());
            let mut summaries = Vec::new();
            for part in &parts {
                summaries.push(self.summary(&self.instructions.part(&part.headings, part.text))?);
            }
            self.print_merged(summaries)?;
        }
        answer::tell_hidden(self.thought_tokens);
        Ok(self.finished)
    }

    /// Cuts a text into parts. With a `title` they stand under it.
    fn parts<'d>(&self, document: &'d Document, title: Option<&str>, size: usize) -> Result<Vec<Part<'d>>> {
        /// The part of the room that is for headings.
        const HEADINGS: usize = 8;
        let outline = Outline::new(document);
        let measure = |text: &str| self.measure(text);
        let mut room = self.room.text().min(size);
        loop {
            let for_headings = if title.is_some() || outline.has_headings() { room / HEADINGS } else { 0 };
            let mut parts = Vec::new();
            for range in split(document, &measure, room - for_headings) {
                let above = title.into_iter().chain(outline.headings_above(range.start)).collect();
                let text = document.text.get(range).unwrap_or_default();
                parts.push(Part { headings: self.headings(above, for_headings), text });
            }
            let mut all_fit = true;
            for part in &parts {
                all_fit &= self.fits(&self.instructions.part(&part.headings, part.text))?;
            }
            if all_fit {
                return Ok(parts);
            }
            // The model has more tokens for texts together than for each.
            room -= room.div_ceil(HEADINGS);
            ensure!(room > 0, "its parts do not fit in the context");
        }
    }

    /// Headings as a line of at most `room` tokens; the highest are left out first.
    fn headings(&self, mut above: Vec<&str>, room: usize) -> String {
        loop {
            let line = above.join(" > ");
            if self.measure(&line) <= room {
                return line;
            }
            above.remove(0);
        }
    }

    /// Prints the summary of each part, with blank lines between them.
    fn print_each(&mut self, parts: &[Part<'_>]) -> Result<()> {
        // Where both are the terminal, a bar would be in the middle of the text.
        if !io::stdout().is_terminal() {
            self.begin(parts.len());
        }
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                answer::end_line(&mut io::stdout())?;
            }
            self.print(&self.instructions.part(&part.headings, part.text))?;
        }
        self.progress.finish_and_clear();
        Ok(())
    }

    /// Merges summaries until one is left, and prints that.
    fn print_merged(&mut self, mut summaries: Vec<String>) -> Result<()> {
        loop {
            summaries.retain(|summary| !summary.is_empty());
            ensure!(!summaries.is_empty(), "the model had nothing to say about any part");
            if summaries.len() == 1 || self.fits(&self.instructions.merge(&summaries))? {
                self.progress.finish_and_clear();
                return match summaries.as_slice() {
                    [summary] => writeln!(io::stdout(), "{summary}").context("standard output"),
                    summaries => self.print(&self.instructions.merge(summaries)),
                };
            }
            let groups = self.groups(&summaries)?;
            self.progress.inc_length(groups.len() as u64);
            let mut merged = Vec::new();
            for group in groups {
                merged.push(match group {
                    [summary] => summary.clone(),
                    group => self.summary(&self.instructions.merge(group))?,
                });
            }
            summaries = merged;
        }
    }

    /// Neighbours that are merged together, fewer groups than summaries.
    fn groups<'s>(&self, summaries: &'s [String]) -> Result<Vec<&'s [String]>> {
        let sizes: Vec<usize> =
            summaries.iter().map(|summary| self.measure(&format!("\n\n{summary}"))).collect();
        let groups = pack(&sizes, self.room.text());
        let groups: Vec<&[String]> = groups.into_iter().filter_map(|group| summaries.get(group)).collect();
        for group in &groups {
            ensure!(
                self.fits(&self.instructions.merge(group))?,
                "summaries of {} tokens do not fit in the context: give a smaller --n-predict",
                sizes.iter().max().unwrap_or(&0)
            );
        }
        ensure!(groups.len() < summaries.len(), "summaries do not get shorter: give a smaller --n-predict");
        Ok(groups)
    }

    /// The answer to a prompt, without white space around it.
    fn summary(&mut self, messages: &[Message]) -> Result<String> {
        let summary = self.answer(messages, &mut io::sink())?;
        Ok(summary.trim().to_owned())
    }

    /// Prints the answer to a prompt.
    fn print(&mut self, messages: &[Message]) -> Result<()> {
        let mut out = io::stdout().lock();
        self.answer(messages, &mut out)?;
        answer::end_line(&mut out)
    }

    /// The answer to a prompt, written to `out` as it comes: one that is finished already, or a new one.
    fn answer(&mut self, messages: &[Message], out: &mut impl Write) -> Result<String> {
        let prompt = self.prompt(messages)?;
        if let Some(summary) = self.finished.find(&prompt) {
            out.write_all(summary.as_bytes()).context("standard output")?;
            let summary = summary.to_owned();
            self.progress.inc(1);
            return Ok(summary);
        }
        let answer = self.assistant.answer(&prompt, &self.sampling, &self.limits, out)?;
        if answer.ending == Ending::Cancelled {
            self.progress.finish_and_clear();
            bail!("interrupted: {} summaries are finished, the same command goes on", self.finished.count());
        }
        self.thought_tokens += answer.thought_tokens;
        self.finished.add(&prompt, &answer.said)?;
        self.progress.inc(1);
        Ok(answer.said)
    }

    /// Shows a bar of so many summaries.
    fn begin(&mut self, summaries: usize) {
        const STYLE: &str = "{bar:32} {pos} of {len} summaries {rate:>12} {eta:>4}";
        self.progress = progress::bar(summaries as u64, STYLE);
    }

    fn prompt(&self, messages: &[Message]) -> Result<Vec<u32>> {
        Ok(self.assistant.model().chat_tokens_with(messages, &self.rendering)?)
    }

    fn fits(&self, messages: &[Message]) -> Result<bool> {
        let prompt = self.prompt(messages)?;
        Ok(self.room.fits(prompt.len()))
    }

    /// Tokens of a text by itself.
    fn measure(&self, text: &str) -> usize {
        let mut tokens = Vec::new();
        self.assistant.model().tokenizer().encode(text.as_bytes(), Special::Text, &mut tokens);
        tokens.len()
    }
}
