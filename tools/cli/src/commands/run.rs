//! The `run` command: one prompt, one answer.

mod prompt_cache;

use crate::arguments::context::larger;
use crate::arguments::{
    AdapterArguments, AnswerArguments, ContextArguments, InputPath, MemoryArguments, ModelArguments,
    NeighbourArguments, OutputPath, SamplingArguments, SessionArguments, SpeculationArguments,
    TemplateArguments, speculation,
};
use crate::terminal::{Interrupt, answer, note, read_prompt};
use anyhow::{Context, Result, ensure};
use clap::Args;
use siskin::template::Message;
use siskin::{Answer, Ending, Model};
use siskin_kit::{Inputs, read_all, read_text, text};
use std::fmt;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// Answer one prompt.
///
/// The answer alone goes to standard output, as it comes. The prompt becomes a user's message in the model's chat
/// template; --raw continues it as it is. It is read from standard input where neither -p nor -f gives it. One newline
/// at the end of a file or of standard input is left out.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// The prompt
    #[arg(short, long, value_name = "TEXT", conflicts_with = "file")]
    prompt: Option<String>,
    /// A file that holds the prompt
    #[arg(short, long, value_name = "FILE")]
    file: Option<InputPath>,
    /// What the model is told before the prompt
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    system: Option<String>,
    /// Continue the text as it is, without the chat template
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    adapters: AdapterArguments,
    #[command(flatten)]
    template: TemplateArguments,
    #[command(flatten)]
    answer: AnswerArguments,
    #[command(flatten)]
    context: ContextArguments,
    /// Keep what the prompt comes to in this file, from which a later run whose prompt begins alike goes on: a long
    /// system prompt is worked out once
    #[arg(long, value_name = "FILE")]
    prompt_cache: Option<OutputPath>,
    #[command(flatten)]
    memory: MemoryArguments,
    #[command(flatten)]
    speculation: SpeculationArguments,
    #[command(flatten)]
    neighbour: NeighbourArguments,
    #[command(flatten)]
    session: SessionArguments,
    /// Say nothing about speed and the seed
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    sampling: SamplingArguments,
}

const EXAMPLES: &str = "\
Examples:
  siskin run -p \"please turn on the kitchen light\" --temp 0
  siskin run model.gguf -f question.txt -n 200 --system \"Answer in one sentence.\"
  journalctl -n 8 | siskin run model.gguf --quiet > summary.txt
  siskin run model.gguf -f question.txt --system \"$(cat rules.txt)\" --prompt-cache rules.state
  siskin run model.gguf --raw -p \"Once upon a time\" -n 50 --seed 7 --temp 1";

/// Answers the prompt.
pub(crate) fn run(arguments: &Arguments, inputs: &Inputs) -> Result<()> {
    arguments.sampling.check()?;
    let when_full = arguments.context.when_full()?;
    let prompt = arguments.prompt()?;
    // First of all, as threads that are there already would not be nice.
    let options = arguments.neighbour.begin(arguments.session.options(arguments.context.ctx_size))?;
    let interrupt = Interrupt::on_termination()?;
    let options = arguments.speculation.options(options);
    let draft = arguments.speculation.draft(&arguments.model)?;
    let (model, options, adapters) =
        arguments.model.open_within(&arguments.memory, options, &arguments.adapters, draft.as_ref())?;
    let model = arguments.template.apply(model, arguments.raw)?;
    let speculation = arguments.speculation.load(draft, &options)?;
    let tokens = arguments.tokens(&model, prompt)?;
    let mut session = model.session(&options)?;
    arguments.context.check(tokens.len(), session.context(), &model)?;
    session.set_when_full(when_full)?;
    adapters.attach(&mut session)?;
    arguments.speculation.attach(&mut session, speculation)?;
    arguments.neighbour.watch(session.threads(), |limit| session.limit_threads(limit))?;
    session.cancel_when(interrupt.flag());
    let sampling = arguments.sampling.options(&model);
    let sampler = session.sampler(&sampling)?;
    let mut answer = Answer::with_sampler(session, sampler);
    answer.set_limits(arguments.answer.limits());
    answer.show_special(arguments.template.shows_special());

    let start = Instant::now();
    match &arguments.prompt_cache {
        Some(path) => prompt_cache::read_prompt(&mut answer, &tokens, path, inputs)?,
        None => {
            answer.ask_tokens(&tokens)?;
            read_prompt(&mut answer).context("the prompt")?;
        }
    }
    ensure!(answer.ending().is_none(), "interrupted before the answer began");
    let restored = answer.reused();
    let prompt_speed = Speed { tokens: tokens.len() - restored, time: start.elapsed() };

    let start = Instant::now();
    let mut out = io::stdout().lock();
    let hide_thoughts = arguments.template.hides_thoughts();
    let reply = answer::stream(&mut answer, &mut out, hide_thoughts)?;
    answer::end_line(&mut out)?;
    let answer_speed = Speed { tokens: reply.tokens.len(), time: start.elapsed() };

    if hide_thoughts {
        answer::tell_hidden(reply.thought_tokens);
    }
    let session = answer.session();
    if reply.ending == Ending::ContextFull {
        let context = session.context();
        note(format_args!(
            "the context of {context} tokens is full: the answer ends here; {}, --when-full shift goes on",
            larger(context, session.model())
        ));
    }
    if session.pristine() < session.position() {
        note(format_args!("the context of {} tokens was full: the oldest were forgotten", session.context()));
    }
    if !arguments.quiet {
        if restored > 0 {
            note(format_args!("prompt: {restored} tokens restored"));
        }
        note(format_args!("prompt: {prompt_speed}\nanswer: {answer_speed}"));
        speculation::tell(session);
        if !sampling.is_greedy() {
            note(format_args!("seed: {}", answer.seed()));
        }
    }
    ensure!(reply.ending != Ending::Cancelled, "interrupted: the answer is not complete");
    Ok(())
}

impl Arguments {
    /// The prompt, from where it is to come from.
    fn prompt(&self) -> Result<String> {
        match (&self.prompt, &self.file) {
            (Some(text), _) => Ok(siskin_kit::plain(text)),
            (None, Some(path)) => Ok(without_newline(read_text(path)?)),
            (None, None) => {
                if io::stdin().is_terminal() {
                    note(format_args!("Write the prompt, and Ctrl-D on a line of its own behind it."));
                }
                let read = read_all(io::stdin().lock()).map_err(Into::into).and_then(text);
                read.map(without_newline).context("standard input")
            }
        }
    }

    fn tokens(&self, model: &Model, prompt: String) -> Result<Vec<u32>> {
        if self.raw {
            return Ok(model.text_tokens_with(&prompt, self.template.special()));
        }
        ensure!(!prompt.is_empty(), "the prompt is empty");
        let system = self.system.iter().map(|text| Message::new("system", siskin_kit::plain(text)));
        let messages: Vec<Message> = system.chain([Message::new("user", prompt)]).collect();
        if self.system.is_some() {
            TemplateArguments::tell_system(model);
        }
        Ok(model.chat_tokens_with(&messages, &self.template.rendering(model))?)
    }
}

/// Text without the newline that editors and `echo` put at its end.
fn without_newline(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
    }
    text
}

/// How long some tokens took.
struct Speed {
    tokens: usize,
    time: Duration,
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Speed { tokens, time } = self;
        let seconds = time.as_secs_f64();
        write!(f, "{tokens} tokens in {seconds:.2} s, {:.1} tokens/s", *tokens as f64 / seconds.max(1e-9))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_newline_at_the_end_is_no_part_of_a_prompt() {
        for (text, expected) in [("a\n", "a"), ("a\n\n", "a\n"), ("a", "a"), ("", ""), ("\n", "")] {
            assert_eq!(without_newline(text.into()), expected);
        }
    }

    #[test]
    fn speeds_are_tokens_by_seconds() {
        let speed = |tokens, millis| Speed { tokens, time: Duration::from_millis(millis) }.to_string();
        assert_eq!(speed(30, 1500), "30 tokens in 1.50 s, 20.0 tokens/s");
        assert_eq!(speed(0, 0), "0 tokens in 0.00 s, 0.0 tokens/s");
    }
}
