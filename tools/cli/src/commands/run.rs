//! The `run` command: one prompt, one answer.

mod prompt_cache;

use crate::arguments::context::larger;
use crate::arguments::{
    AdapterArguments, AnswerArguments, ContextArguments, GrammarArguments, InputPath, MemoryArguments,
    ModelArguments, NeighbourArguments, OutputPath, SamplingArguments, SessionArguments,
    SpeculationArguments, TemplateArguments, speculation,
};
use crate::terminal::{Interrupt, Reply, answer, note, read_prompt};
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};
use siskin::machine::Memory;
use siskin::template::Message;
use siskin::{Answer, Ending, Model};
use siskin_kit::{Inputs, read_all, read_text, tell, text};
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
    grammar: GrammarArguments,
    #[command(flatten)]
    context: ContextArguments,
    /// Keep what the prompt comes to in this file, from which a later run whose prompt begins alike goes on: a long
    /// system prompt is worked out once
    #[arg(long, value_name = "FILE")]
    prompt_cache: Option<OutputPath>,
    /// Go on from what that file has, and leave it as it is: on a read-only file system, or to spare flash
    #[arg(long, requires = "prompt_cache")]
    prompt_cache_ro: bool,
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
    /// Print one JSON object with the answer and its figures, once it is complete
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sampling: SamplingArguments,
}

const EXAMPLES: &str = "\
Examples:
  siskin run -p \"please turn on the kitchen light\" --temp 0
  siskin run model.gguf -f question.txt -n 200 --system \"Answer in one sentence.\"
  journalctl -n 8 | siskin run model.gguf --quiet > summary.txt
  siskin run model.gguf -f question.txt --system \"$(cat rules.txt)\" --prompt-cache rules.state
  siskin run model.gguf -p \"Where is Oslo?\" --regex \"(Norway|Sweden)\"
  siskin run model.gguf -f note.txt --json-schema schema.json
  siskin run model.gguf --raw -p \"Once upon a time\" -n 50 --seed 7 --temp 1";

/// Answers the prompt.
pub(crate) fn run(arguments: &Arguments, inputs: &Inputs) -> Result<()> {
    arguments.sampling.check()?;
    let (mut answer, tokens) = arguments.open()?;
    let start = Instant::now();
    match &arguments.prompt_cache {
        Some(path) if arguments.prompt_cache_ro => prompt_cache::go_on(&mut answer, &tokens, path)?,
        Some(path) => prompt_cache::keep(&mut answer, &tokens, path, inputs)?,
        None => {
            answer.ask_tokens(&tokens)?;
            read_prompt(&mut answer).context("the prompt")?;
        }
    }
    ensure!(answer.ending().is_none(), "interrupted before the answer began");
    let prompt = Speed { tokens: tokens.len() - answer.reused(), time: start.elapsed() };

    let start = Instant::now();
    let hide_thoughts = arguments.template.hides_thoughts();
    let reply = match arguments.json {
        true => answer::stream(&mut answer, &mut io::sink(), hide_thoughts)?,
        false => {
            let mut out = io::stdout().lock();
            let reply = answer::stream(&mut answer, &mut out, hide_thoughts)?;
            answer::end_line(&mut out)?;
            reply
        }
    };
    let speeds = [prompt, Speed { tokens: reply.tokens.len(), time: start.elapsed() }];

    let seed = arguments.draws(answer.model()).then(|| answer.seed());
    let is_complete = reply.ending != Ending::Cancelled;
    match arguments.json {
        true if is_complete => tell(format_args!("{:#}", json(&answer, &reply, &speeds, seed)))?,
        true => {}
        false => arguments.tell(&answer, &reply, &speeds, seed),
    }
    ensure!(is_complete, "interrupted: the answer is not complete");
    Ok(())
}

impl Arguments {
    /// Opens the model, and returns what answers and the prompt's tokens.
    fn open(&self) -> Result<(Answer, Vec<u32>)> {
        let when_full = self.context.when_full()?;
        let prompt = self.prompt()?;
        // First of all, as threads that are there already would not be nice.
        let options = self.neighbour.begin(self.session.options(self.context.ctx_size))?;
        let interrupt = Interrupt::on_termination()?;
        let options = self.speculation.options(options);
        let draft = self.speculation.draft(&self.model)?;
        let (model, options, adapters) =
            self.model.open_within(&self.memory, options, &self.adapters, draft.as_ref(), &self.grammar)?;
        let model = self.template.apply(model, self.raw)?;
        let grammar = self.grammar.compile(&model, !self.raw && self.template.thinks())?;
        let speculation = self.speculation.load(draft, &options)?;
        let tokens = self.tokens(&model, prompt)?;
        let mut session = model.session(&options)?;
        self.context.check(tokens.len(), session.context(), &model)?;
        session.set_when_full(when_full)?;
        adapters.attach(&mut session)?;
        self.speculation.attach(&mut session, speculation)?;
        self.neighbour.watch(session.threads(), |limit| session.limit_threads(limit))?;
        session.cancel_when(interrupt.flag());
        let sampler = session.sampler(&self.sampling.options(&model))?;
        let mut answer = Answer::with_sampler(session, sampler);
        answer.set_limits(self.answer.limits());
        answer.set_grammar(grammar);
        answer.show_special(self.template.shows_special());
        Ok((answer, tokens))
    }

    /// Whether chance has a say in the answers of the model.
    fn draws(&self, model: &Model) -> bool {
        !self.sampling.options(model).is_greedy()
    }

    /// Says on standard error what is to be known of the answer besides; `speeds` are the prompt's and the answer's.
    fn tell(&self, answer: &Answer, reply: &Reply, speeds: &[Speed; 2], seed: Option<u64>) {
        let (session, restored) = (answer.session(), answer.reused());
        let context = session.context();
        if self.template.hides_thoughts() {
            answer::tell_hidden(reply.thought_tokens);
        }
        if reply.ending == Ending::ContextFull {
            note(format_args!(
                "the context of {context} tokens is full: the answer ends here; {}, --when-full shift goes on",
                larger(context, session.model())
            ));
        }
        if matches!(reply.ending, Ending::Limit | Ending::ContextFull) && self.grammar.is_given() {
            note(format_args!("the answer is cut: it is not all that was asked for"));
        }
        if session.pristine() < session.position() {
            note(format_args!("the context of {context} tokens was full: the oldest were forgotten"));
        }
        if self.quiet {
            return;
        }
        let [prompt, answer] = speeds;
        if restored > 0 {
            note(format_args!("prompt: {restored} tokens restored"));
        }
        note(format_args!("prompt: {prompt}\nanswer: {answer}"));
        speculation::tell(session);
        if let Some(seed) = seed {
            note(format_args!("seed: {seed}"));
        }
    }

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

/// The answer and what is told of it otherwise; `speeds` are the prompt's and the answer's.
fn json(answer: &Answer, reply: &Reply, speeds: &[Speed; 2], seed: Option<u64>) -> Value {
    let ending = match reply.ending {
        Ending::Complete => "stop",
        Ending::Limit => "length",
        Ending::ContextFull => "context",
        Ending::Cancelled | Ending::Failed => "failed",
    };
    let [prompt_seconds, answer_seconds] = speeds.each_ref().map(|speed| speed.time.as_secs_f64());
    let session = answer.session();
    json!({
        "model": answer.model().name(),
        "content": reply.said,
        "reasoning_content": Some(reply.thoughts.as_str()).filter(|thoughts| !thoughts.is_empty()),
        "finish_reason": ending,
        "prompt_tokens": answer.prompt().len(),
        "restored_tokens": answer.reused(),
        "completion_tokens": reply.tokens.len(),
        "thought_tokens": reply.thought_tokens,
        "forgot": session.pristine() < session.position(),
        "prompt_seconds": prompt_seconds,
        "answer_seconds": answer_seconds,
        "peak_rss_bytes": Memory::here().peak,
        "seed": seed,
    })
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
