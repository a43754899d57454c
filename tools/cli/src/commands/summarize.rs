//! The `summarize` command: texts of any length, through parts that the model's context has room for.

mod attempts;
mod finished;
mod outline;
mod prompt;
mod room;
mod source;
mod split;
mod work;

use crate::arguments::numbers::count;
use crate::arguments::{
    AdapterArguments, AnswerArguments, InputPath, MemoryArguments, ModelFlag, NeighbourArguments, OutputPath,
    SamplingArguments, SessionArguments, TemplateArguments,
};
use crate::long_work::assistant::Assistant;
use crate::long_work::journal::Settings;
use anyhow::{Context, Result};
use clap::Args;
use finished::Finished;
use prompt::Instructions;
use room::Room;
use siskin_documents::support::Kind;
use siskin_kit::hash::Fields;
use siskin_kit::{Inputs, Lines, folders};
use source::Source;
use std::path::PathBuf;
use std::time::Duration;
use work::{Asking, Work};

/// How long an interrupted summary waits for whoever began it.
const ABANDONED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Summarize texts that may be longer than the model's context.
///
/// FILE is Markdown (.md), a PDF file with text in it, a Word document (.docx), HTML, or plain text in UTF-8. A text that
/// is too long is cut into parts: at headings, or else between paragraphs, sentences, lines and words, in this order. Each part is summarized
/// under the headings it stands under, then the summaries are merged, in several rounds if need be. The summary goes to
/// standard output once it is known to be sound: what goes in circles is cut back and asked for again, and where the model
/// has no summary of a part, sentences of the text stand for it, marked [quoted]. Thoughts are no part of
/// any summary.
///
/// Summaries of parts are on the disk before the next is begun, in a journal. The same command goes on where it was
/// interrupted, even by a loss of power, and prints what it would have printed. The journal is in the user's folder for
/// state (~/.local/state/siskin) and goes away with the last word of the summary, or after 30 days in which nobody went
/// on with it; with --journal it stays, and what changes in the texts later costs no more than the parts that changed.
#[derive(Debug, Args)]
#[command(
    after_help = EXAMPLES,
    mut_arg("seed", |seed| seed.help("Seed of the random numbers, the same for each summary [default: 0]")),
    mut_arg("n_predict", |n| n.help("Tokens that a summary has at most [default, and -1: a quarter of the context, up to 512]"))
)]
pub(crate) struct Arguments {
    /// The texts, in order; - is standard input
    #[arg(value_name = "FILE", required_unless_present = "pdf_worker")]
    files: Vec<InputPath>,
    #[command(flatten)]
    model: ModelFlag,
    /// What is asked for each part and for each merging, such as "Fasse zusammen:" [default: a few sentences]
    #[arg(long, value_name = "TEXT")]
    instruction: Option<String>,
    /// Leave out sentences with names that the texts do not have, too, and not with numbers alone
    #[arg(long)]
    strict: bool,
    /// Print the summaries of the parts, and do not merge them
    #[arg(long)]
    parts: bool,
    /// Tokens of a part at most [default: what the context has room for]
    #[arg(long, value_name = "N", value_parser = count)]
    part_size: Option<usize>,
    /// Where finished summaries are kept
    #[arg(long, value_name = "FILE")]
    journal: Option<OutputPath>,
    #[command(flatten)]
    template: TemplateArguments,
    #[command(flatten)]
    answer: AnswerArguments,
    /// Tokens that a part and its summary have at most [default: what the model was made for, up to 4096]
    #[arg(short, long, visible_alias = "context", value_name = "N", value_parser = count)]
    ctx_size: Option<usize>,
    #[command(flatten)]
    adapters: AdapterArguments,
    #[command(flatten)]
    memory: MemoryArguments,
    #[command(flatten)]
    neighbour: NeighbourArguments,
    #[command(flatten)]
    session: SessionArguments,
    #[command(flatten)]
    sampling: SamplingArguments,
    /// Read a PDF file from standard input and print its text
    #[arg(long, hide = true)]
    pdf_worker: bool,
    /// Refuse one of more pages
    #[arg(long, hide = true, value_name = "N", requires = "pdf_worker")]
    pdf_pages: Option<usize>,
    /// Take no more bytes of memory
    #[arg(long, hide = true, value_name = "BYTES", requires = "pdf_worker")]
    pdf_memory: Option<u64>,
}

const EXAMPLES: &str = "\
Examples:
  siskin summarize book.md --model model.gguf
  siskin summarize a.pdf b.pdf --model model.gguf --parts -n 100
  journalctl -b -p err | siskin summarize - --model model.gguf --journal errors.journal";

/// Summarizes the texts.
pub(crate) fn run(arguments: &Arguments, inputs: &Inputs) -> Result<()> {
    if arguments.pdf_worker {
        return Ok(siskin_documents::pdf::work(arguments.pdf_pages, arguments.pdf_memory)?);
    }
    arguments.sampling.check()?;
    let sources = arguments.files.iter().map(|path| Source::open(path)).collect::<Result<Vec<_>>>()?;
    let Arguments { model, adapters, memory, neighbour, session, ctx_size, .. } = arguments;
    let template = &arguments.template;
    let mut assistant =
        Assistant::open(model, adapters, memory, neighbour, template, session.options(*ctx_size))?;
    let instructions = arguments.instructions(assistant.model().name());
    let mut sampling = arguments.sampling.options_for(assistant.model(), &Instructions::sampling());
    sampling.seed.get_or_insert(0);
    let asked = arguments.answer.limits();
    let length = Room::summary(assistant.context(), asked.tokens);
    let limits = asked.tokens(length);
    let mut settings = assistant.settings(&sampling, &limits)?;
    for (name, value) in template.settings(assistant.model()) {
        settings.set(name, value);
    }
    assistant.show_special(template.shows_special());
    settings.set("strict", arguments.strict);
    let journal = arguments.journal(&settings, &instructions, &sources)?;
    let finished = Finished::open(&journal, inputs, settings)?;
    let rendering = template.rendering(assistant.model());
    let kind = match arguments.strict {
        true => Some(Kind::NumbersAndNames),
        false => (!instructions.may_count()).then_some(Kind::Numbers),
    };
    let asking = Asking { sampling, limits, instructions, rendering, kind };
    let work = Work::new(assistant, asking, finished, &sources)?;
    let finished = work.run(&sources, arguments.part_size)?;
    if arguments.journal.is_none() {
        finished.remove()?;
    }
    Ok(())
}

impl Arguments {
    fn instructions(&self, model: &str) -> Instructions {
        let instructions = match &self.instruction {
            Some(text) => Instructions::given(text),
            None => Instructions::of(model),
        };
        if self.parts { instructions.parts_only() } else { instructions }
    }

    /// Where the journal is: work of its own has one of its own.
    fn journal(
        &self,
        settings: &Settings,
        instructions: &Instructions,
        sources: &[Source],
    ) -> Result<PathBuf> {
        if let Some(path) = &self.journal {
            return Ok(path.to_path_buf());
        }
        let fields = instructions.hash(settings.hash(Fields::new()));
        let fields = fields.optional(self.part_size, |fields, size| fields.number(size as u64));
        let hash = sources.iter().fold(fields, |fields, source| fields.text(&source.document.text)).finish();
        let folder = folders::state().context("no place for a journal: name one with --journal")?;
        Lines::remove_abandoned(&folder, "summary-", ABANDONED);
        Ok(folder.join(format!("summary-{hash}.journal")))
    }
}
