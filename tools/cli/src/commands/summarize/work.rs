use super::Source;
use super::attempts::{Choice, Summary, attempts};
use super::finished::Finished;
use super::outline::Outline;
use super::prompt::Instructions;
use super::room::Room;
use super::split::{pack, split};
use crate::long_work::assistant::Assistant;
use crate::terminal::{Interrupt, answer, note};
use anyhow::{Context, Result, bail, ensure};
use indicatif::ProgressBar;
use siskin::sampler::SamplerOptions;
use siskin::template::{Message, Rendering};
use siskin::tokenizer::Special;
use siskin::{AnswerLimits, Ending};
use siskin_documents::Document;
use siskin_documents::support::{self, Kind, Support};
use siskin_kit::{progress, tell};
use std::fmt;
use std::io::{self, IsTerminal};

/// What a model is asked, and how.
pub(super) struct Asking {
    pub(super) sampling: SamplerOptions,
    pub(super) limits: AnswerLimits,
    pub(super) instructions: Instructions,
    /// What the chat template is told.
    pub(super) rendering: Rendering,
    /// What of it the texts must have, if anything.
    pub(super) kind: Option<Kind>,
}

/// What summarizes texts: first each of their parts, then the summaries.
pub(super) struct Work {
    assistant: Assistant,
    asking: Asking,
    finished: Finished,
    room: Room,
    /// The texts' title.
    title: Option<String>,
    /// What the texts name.
    names: support::Source,
    tally: Tally,
    progress: ProgressBar,
}

/// How many summaries were made, and of what kind.
#[derive(Debug, Default)]
struct Tally {
    summaries: usize,
    /// Whose first attempt could not be used.
    asked_again: usize,
    quoted: usize,
    /// Quoted because the model has no words for the text's language.
    foreign: usize,
    /// Tokens of thoughts, which are no part of summaries.
    thought_tokens: usize,
    /// What was printed names.
    named: Support,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { summaries, asked_again, quoted, foreign, .. } = self;
        let mut clauses = Vec::new();
        if *asked_again > 0 {
            clauses.push(format!(
                "{asked_again} of {summaries} summaries could not be used and were asked for again"
            ));
        }
        if *quoted > 0 {
            clauses.push(format!(
                "{quoted} of {summaries} summaries are sentences of the text, marked [quoted]"
            ));
        }
        if *foreign > 0 {
            clauses.push(format!(
                "{foreign} of these as the model's vocabulary hardly has words of their language"
            ));
        }
        f.write_str(&clauses.join("; "))
    }
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
        mut asking: Asking,
        finished: Finished,
        sources: &[Source],
    ) -> Result<Work> {
        let title = match sources {
            [source] => source.document.title.clone(),
            _ => None,
        };
        asking.rendering = asking.rendering.seconds(finished.started());
        let Asking { instructions, rendering, limits, .. } = &asking;
        let tokens = |messages: &[Message]| -> Result<usize> {
            Ok(assistant.model().chat_tokens_with(messages, rendering)?.len())
        };
        let merge = tokens(&instructions.merge(title.as_deref(), &[]))?;
        let prompt = tokens(&instructions.part("", ""))?.max(merge);
        let summary = Room::summary(assistant.context(), limits.tokens);
        let room = Room::new(assistant.context(), prompt, summary, instructions.merges())?;
        assistant.cancel_when(&Interrupt::on_termination()?);
        let names = support::Source::of(sources.iter().flat_map(Source::texts));
        let (tally, progress) = (Tally::default(), ProgressBar::hidden());
        Ok(Work { assistant, asking, finished, room, title, names, tally, progress })
    }

    /// Prints the summary of texts, whose parts have at most `part_size` tokens.
    pub(super) fn run(mut self, sources: &[Source], part_size: Option<usize>) -> Result<Finished> {
        let part_size = part_size.or(self.asking.instructions.part_size()).unwrap_or(usize::MAX);
        let mut parts = Vec::new();
        for source in sources {
            let title = if sources.len() > 1 { Some(source.name.as_str()) } else { None };
            let found = self.parts(&source.document, title, part_size);
            parts.append(&mut found.with_context(|| source.name.clone())?);
        }
        if !self.asking.instructions.merges() {
            self.print_each(&parts)?;
        } else if let [part] = parts.as_slice() {
            let summary =
                self.summary(&self.asking.instructions.part(&part.headings, part.text), part.text)?;
            self.print(&summary)?;
        } else {
            self.begin(parts.len());
            let mut summaries = Vec::new();
            for part in &parts {
                summaries.push(
                    self.summary(&self.asking.instructions.part(&part.headings, part.text), part.text)?,
                );
            }
            self.print_merged(summaries)?;
        }
        answer::tell_hidden(self.tally.thought_tokens);
        if self.tally.asked_again + self.tally.quoted > 0 {
            note(format_args!("{}", self.tally));
        }
        if !self.tally.named.is_whole() {
            let Support { unsupported_numbers, unsupported_names, .. } = &self.tally.named;
            let missing = [unsupported_numbers.as_slice(), unsupported_names].concat().join(", ");
            note(format_args!("the summary names what the text does not: {missing}"));
        }
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
                all_fit &= self.fits(&self.asking.instructions.part(&part.headings, part.text))?;
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
                tell(format_args!(""))?;
            }
            let summary =
                self.summary(&self.asking.instructions.part(&part.headings, part.text), part.text)?;
            self.print(&summary)?;
        }
        self.progress.finish_and_clear();
        Ok(())
    }

    /// Merges summaries until one is left, and prints that.
    fn print_merged(&mut self, mut summaries: Vec<Summary>) -> Result<()> {
        loop {
            summaries.retain(|summary| !summary.text.is_empty());
            ensure!(!summaries.is_empty(), "the model had nothing to say about any part");
            if let [summary] = summaries.as_slice() {
                self.progress.finish_and_clear();
                return self.print(summary);
            }
            let texts: Vec<String> = summaries.iter().map(|summary| summary.text.clone()).collect();
            let groups = match self.fits(&self.merging(&texts))? {
                true => vec![texts.as_slice()],
                false => self.groups(&texts)?,
            };
            self.progress.inc_length(groups.len() as u64);
            let mut from = summaries.iter();
            let mut merged = Vec::new();
            for group in groups {
                let alone = from.by_ref().take(group.len()).next();
                merged.push(match (group, alone) {
                    ([_], Some(summary)) => summary.clone(),
                    _ => self.summary(&self.merging(group), &group.join("\n\n"))?,
                });
            }
            summaries = merged;
        }
    }

    /// Asks to merge summaries.
    fn merging(&self, summaries: &[String]) -> [Message; 1] {
        self.asking.instructions.merge(self.title.as_deref(), summaries)
    }

    /// Neighbours that are merged together, fewer groups than summaries.
    fn groups<'s>(&self, summaries: &'s [String]) -> Result<Vec<&'s [String]>> {
        let sizes: Vec<usize> =
            summaries.iter().map(|summary| self.measure(&format!("\n\n{summary}"))).collect();
        let groups = pack(&sizes, self.room.text());
        let groups: Vec<&[String]> = groups.into_iter().filter_map(|group| summaries.get(group)).collect();
        for group in &groups {
            ensure!(
                self.fits(&self.merging(group))?,
                "summaries of {} tokens do not fit in the context: give a smaller --n-predict",
                sizes.iter().max().unwrap_or(&0)
            );
        }
        ensure!(groups.len() < summaries.len(), "summaries do not get shorter: give a smaller --n-predict");
        Ok(groups)
    }

    /// Prints a summary.
    fn print(&mut self, summary: &Summary) -> Result<()> {
        self.tally.named.add(self.names.supports(&summary.text));
        tell(format_args!("{}", summary.marked()))
    }

    /// The answer to a prompt about `text`: one that is finished already, or a new one.
    fn summary(&mut self, messages: &[Message], text: &str) -> Result<Summary> {
        let prompt = self.prompt(messages)?;
        let foreign = is_foreign(self.measure(text), text);
        let summary = match self.finished.find(&prompt) {
            Some(summary) => summary.clone(),
            None => {
                let summary = if foreign { Summary::quoting(text) } else { self.new_summary(&prompt, text)? };
                self.finished.add(&prompt, &summary)?;
                summary
            }
        };
        self.tally.summaries += 1;
        self.tally.foreign += usize::from(foreign && summary.quoted);
        self.tally.quoted += usize::from(summary.quoted);
        self.progress.inc(1);
        Ok(summary)
    }

    fn new_summary(&mut self, prompt: &[u32], text: &str) -> Result<Summary> {
        let Self { assistant, asking, names, tally, .. } = self;
        let mut choice = Choice::new(names, asking.kind);
        for (attempt, sampling) in attempts(&asking.sampling).iter().enumerate() {
            tally.asked_again += usize::from(attempt == 1);
            let written = assistant.answer(prompt, sampling, &asking.limits)?;
            tally.thought_tokens += written.thought_tokens;
            if written.ending == Some(Ending::Cancelled) {
                self.progress.finish_and_clear();
                let finished = self.finished.count();
                bail!("interrupted: {finished} summaries are finished, the same command goes on");
            }
            let broken_off = matches!(written.ending, Some(Ending::Limit | Ending::ContextFull));
            if let Some(text) = choice.consider(&written.text, broken_off, written.ending.is_none()) {
                return Ok(Summary { text, quoted: false });
            }
        }
        Ok(choice.otherwise(text))
    }

    /// Shows a bar of so many summaries.
    fn begin(&mut self, summaries: usize) {
        const STYLE: &str = "{bar:32} {pos} of {len} summaries {rate:>12} {eta:>4}";
        self.progress = progress::bar(summaries as u64, STYLE);
    }

    fn prompt(&self, messages: &[Message]) -> Result<Vec<u32>> {
        Ok(self.assistant.model().chat_tokens_with(messages, &self.asking.rendering)?)
    }

    fn fits(&self, messages: &[Message]) -> Result<bool> {
        let prompt = self.prompt(messages)?;
        Ok(self.room.fits(prompt.len()))
    }

    /// Tokens of a text by itself. A long one is measured piece by piece, which may count a few more at the seams: tokens
    /// take many times the memory of their text.
    fn measure(&self, text: &str) -> usize {
        const PIECE: usize = 64 << 10;
        let tokenizer = self.assistant.model().tokenizer();
        let (mut rest, mut count, mut tokens) = (text, 0, Vec::new());
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.floor_char_boundary(PIECE));
            tokens.clear();
            tokenizer.encode(piece.as_bytes(), Special::Text, &mut tokens);
            count += tokens.len();
            rest = behind;
        }
        count
    }
}

/// Whether a text of so many tokens is in a language of which the model's vocabulary hardly has a word, so that most of its
/// characters are spelled in bytes. A model that was trained on a language has fewer tokens than characters of it.
fn is_foreign(tokens: usize, text: &str) -> bool {
    4 * tokens > 5 * text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_foreign_whose_characters_are_spelled_in_bytes() {
        let (english, japanese) =
            ("The town's library is fifty years old.", "町の図書館は五十周年を迎えます。");
        // As many as SmolLM2 has of them, which was trained on English, then Gemma 3.
        assert!(!is_foreign(9, english) && is_foreign(29, japanese));
        assert!(!is_foreign(10, english) && !is_foreign(8, japanese));
        assert!(!is_foreign(0, ""));
    }

    #[test]
    fn what_came_about_is_told() {
        let told = |tally: Tally| tally.to_string();
        let asked = Tally { summaries: 7, asked_again: 2, ..Tally::default() };
        assert_eq!(told(asked), "2 of 7 summaries could not be used and were asked for again");
        let foreign = Tally { summaries: 7, quoted: 3, foreign: 2, ..Tally::default() };
        assert_eq!(
            told(foreign),
            "3 of 7 summaries are sentences of the text, marked [quoted]; 2 of these as the model's vocabulary hardly has \
             words of their language"
        );
    }
}
