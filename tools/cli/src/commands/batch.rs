//! The `batch` command: many prompts from a file, their answers into another.

mod answers;
mod input;
mod queue;
mod request;

use crate::arguments::context::no_room;
use crate::arguments::numbers::count;
use crate::arguments::{
    AdapterArguments, AnswerArguments, GrammarArguments, InputPath, MemoryArguments, ModelFlag,
    NeighbourArguments, OutputPath, SamplingArguments, SessionArguments, TemplateArguments,
};
use crate::long_work::assistant::Basis;
use crate::terminal::{Interrupt, answer};
use answers::Answers;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use input::{Input, Line};
use queue::Queue;
use request::{Id, Request};
use siskin::grammar::{Grammar, GrammarSource};
use siskin::sampler::SamplerOptions;
use siskin::template::Message;
use siskin::{Adapter, AnswerLimits, Model, Scheduler};
use siskin_kit::{Inputs, progress, tell};
use std::cell::RefCell;
use std::collections::HashMap;

/// Answer many prompts, line by line, and go on after an interruption.
///
/// Each line of IN is a JSON object. "prompt" is what the user says, in the model's chat template; or "messages" is a
/// whole conversation of objects with "role" and "content". Besides, a line may have "id", "system", "max_tokens",
/// "stop", "seed", "temperature", "top_k", "top_p", "min_p", "repeat_penalty", "presence_penalty" and
/// "frequency_penalty", and "chat_template_kwargs", an object of what the chat template is told, which count before the flags. Lines of OpenAI's batches are read too: "custom_id" is the id,
/// "body" holds the rest. Of OpenAI's other names those are read that change no answer, such as "model" and "user", or
/// "n" where it is 1; all else is refused, before anything is answered.
///
/// OUT gets a line for each, in the same order: {"id": ..., "content": ..., "finish_reason": "stop" or "length",
/// "usage": {"prompt_tokens": ..., "completion_tokens": ...}}. The id is the line's number where it has none; no two
/// lines have the same.
///
/// Several lines are answered at once, which changes no answer. A line is on the disk as soon as it and all before it are
/// finished. The same command goes on where it was interrupted, even by a loss of power, and with another --parallel, and
/// the file is in the end the same, byte by byte. Lines added to IN later are answered when it is run
/// again. OUT.journal, beside OUT, tells which lines, model and settings it was made from: others are refused.
#[derive(Debug, Args)]
#[command(
    after_help = EXAMPLES,
    mut_arg("seed", |seed| seed.help("Seed of the random numbers, the same for each line [default: 0]"))
)]
pub(crate) struct Arguments {
    /// The prompts, a JSON object on each line
    #[arg(value_name = "IN.jsonl")]
    input: InputPath,
    /// The answers
    #[arg(value_name = "OUT.jsonl")]
    output: OutputPath,
    #[command(flatten)]
    model: ModelFlag,
    /// What the model is told before each prompt
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    system: Option<String>,
    /// Continue prompts as they are, without the chat template
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    template: TemplateArguments,
    #[command(flatten)]
    answer: AnswerArguments,
    #[command(flatten)]
    grammar: GrammarArguments,
    /// Tokens that a prompt and its answer have at most [default: what the model was made for, up to 4096]
    #[arg(short, long, visible_alias = "context", value_name = "N", value_parser = count)]
    ctx_size: Option<usize>,
    /// Lines that are answered at once [default: up to 32, as there is memory for them; more than 8 where their caches take at
    /// most twice what the weights take]
    #[arg(long, value_name = "N", value_parser = count)]
    parallel: Option<usize>,
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
}

const EXAMPLES: &str = "\
Examples:
  siskin batch questions.jsonl answers.jsonl --model model.gguf --temp 0
  siskin batch questions.jsonl answers.jsonl --model model.gguf -n 200 --system \"Answer in one sentence.\"
  jq -c '{id: .key, prompt: .text}' notes.json > in.jsonl && siskin batch in.jsonl out.jsonl --model model.gguf";

impl Arguments {
    /// Whether the model may think before it answers.
    fn thinks(&self) -> bool {
        !self.raw && self.template.thinks()
    }
}

/// Answers what is not answered yet, and prints a line about it.
pub(crate) fn run(arguments: &Arguments, inputs: &Inputs) -> Result<()> {
    arguments.sampling.check()?;
    let mut input = Input::open(&arguments.input)?;
    let (basis, mut work) = Work::open(arguments, &mut input)?;
    let mut settings = basis.settings(&work.sampling, &arguments.answer.limits());
    settings.set("system", arguments.system.clone());
    settings.set("raw", arguments.raw);
    #[cfg(feature = "grammar")]
    if let Some((source, _)) = arguments.grammar.source()? {
        settings.set("grammar", format!("{source:?}"));
    }
    for (name, value) in arguments.template.settings(work.model()) {
        settings.set(name, value);
    }
    let mut answers = Answers::open(&arguments.output, inputs.clone(), settings)?;
    work.started = answers.started();

    // Nothing is answered before all lines are known to be right.
    let lines = work.check(&mut input)?;
    let before = answers.resume(&lines).with_context(|| input.name().to_owned())?;
    work.answer(&mut input, &lines, before, &mut answers)?;
    answers.check_names()?;
    answer::tell_hidden(work.queue.hidden_tokens());

    let so_far = if before > 0 { format!(", {before} of them from before") } else { String::new() };
    tell(format_args!("{}: {} answers{so_far}", answers.name(), lines.len()))?;
    Ok(())
}

/// What answers the lines.
struct Work<'a> {
    arguments: &'a Arguments,
    queue: Queue,
    adapters: Vec<(Adapter, f32)>,
    sampling: SamplerOptions,
    /// What answers keep to where their lines do not say.
    grammar: Option<Grammar>,
    /// The grammar of the last line that had one of its own: lines often have the same.
    compiled: RefCell<Option<(GrammarSource, Grammar)>>,
    /// The time that templates are told, in seconds since 1970: work that goes on tomorrow has the prompts that it
    /// would have had today.
    started: u64,
}

/// A line, ready to be answered.
struct Prompt {
    id: Id,
    tokens: Vec<u32>,
    sampling: SamplerOptions,
    limits: AnswerLimits,
    adapters: Vec<(Adapter, f32)>,
    /// Whether control tokens stand in the answer by their own text.
    special: bool,
    grammar: Option<Grammar>,
    /// Whether the conversation begins with a system message.
    has_system: bool,
}

impl Work<'_> {
    /// Opens the model and makes room for as many answers at once as there are to be.
    fn open<'a>(arguments: &'a Arguments, input: &mut Input) -> Result<(Basis, Work<'a>)> {
        let Arguments { model: flag, adapters, memory, neighbour, session, ctx_size, parallel, .. } =
            arguments;
        let options = neighbour.begin(session.options(*ctx_size))?;
        let mut any_format = false;
        input.each(|line| {
            any_format |= line.text.contains("\"response_format\"");
            Ok(())
        })?;
        let (model, options, adapters) =
            flag.open_together(memory, options, adapters, *parallel, |outline| match any_format {
                true => outline.add_grammars(),
                false => arguments.grammar.count(outline),
            })?;
        let model = arguments.template.apply(model, arguments.raw)?;
        let grammar = arguments.grammar.compile(&model, arguments.thinks())?;
        let hash = flag.hash()?;
        let mut sequences = model.sequences(&options)?;
        neighbour.watch(sequences.threads(), |limit| sequences.limit_threads(limit))?;
        let mut sampling = arguments.sampling.options(&model);
        sampling.seed.get_or_insert(0);
        sequences.sampler(&sampling)?;
        let (context, cache) = (sequences.context(), options.session.cache);
        let basis = Basis { model: hash, adapters: adapters.identity(), context, cache };
        let queue = Queue::new(Scheduler::new(sequences), arguments.template.hides_thoughts());
        let adapters = adapters.all().to_vec();
        Ok((
            basis,
            Work { arguments, queue, adapters, sampling, grammar, compiled: RefCell::default(), started: 0 },
        ))
    }

    fn model(&self) -> &Model {
        self.queue.scheduler().model()
    }

    /// Reads all lines, and returns their ids and hashes.
    ///
    /// # Errors
    /// A line that cannot be answered, or has the id of another.
    fn check(&self, input: &mut Input) -> Result<Vec<(Id, u128)>> {
        let mut lines = Vec::new();
        let (mut numbers, mut any_system) = (HashMap::new(), false);
        input.each(|line| {
            let Prompt { id, has_system, .. } = self.prompt(&line).with_context(|| line.place())?;
            any_system |= has_system;
            if let Some(first) = numbers.insert(id.clone(), line.number) {
                bail!("{}: the id {id} is that of line {first} already", line.place());
            }
            lines.push((id, line.hash));
            Ok(())
        })?;
        ensure!(!lines.is_empty(), "{}: the file has no prompts", input.name());
        if any_system {
            TemplateArguments::tell_system(self.model());
        }
        Ok(lines)
    }

    /// Reads a line.
    ///
    /// # Errors
    /// Whatever would keep it from being answered.
    fn prompt(&self, line: &Line<'_>) -> Result<Prompt> {
        let request = Request::parse(line.text)?;
        let sampling = self.sampling.clone().overlay(request.sampling());
        sampling.validate()?;
        let limits = request.limits(self.arguments.answer.limits());
        let model = self.model();
        let mut has_system = false;
        let tokens = match self.arguments.raw {
            true => model.text_tokens_with(request.raw_prompt()?, self.arguments.template.special()),
            false => {
                ensure!(!request.has_empty_prompt(), "the prompt is empty");
                let mut rendering = self.arguments.template.rendering(model);
                rendering.variables.extend_from_slice(request.variables());
                rendering.seconds = Some(self.started);
                let messages = self.messages(&request);
                has_system = messages.first().is_some_and(|message| message.role == "system");
                model.chat_tokens_with(&messages, &rendering)?
            }
        };
        let (length, context) = (tokens.len(), self.queue.scheduler().sequences().context());
        ensure!(length > 0, "the prompt is empty");
        ensure!(length < context, "{}", no_room(length, context, model));
        let grammar = request.grammar(self.grammar.as_ref(), |source| self.compile(source))?;
        let (id, adapters) = (request.id.unwrap_or(Id::Number(line.number)), self.adapters.clone());
        let special = self.arguments.template.shows_special();
        Ok(Prompt { id, tokens, sampling, limits, adapters, special, grammar, has_system })
    }

    /// Compiles the grammar of a line.
    fn compile(&self, source: &GrammarSource) -> Result<Grammar> {
        let mut compiled = self.compiled.borrow_mut();
        if let Some((_, grammar)) = compiled.as_ref().filter(|(known, _)| known == source) {
            return Ok(grammar.clone());
        }
        let grammar = self.model().grammar(source)?;
        let grammar = if self.arguments.thinks() { grammar } else { grammar.without_thoughts() };
        *compiled = Some((source.clone(), grammar.clone()));
        Ok(grammar)
    }

    fn messages(&self, request: &Request) -> Vec<Message> {
        let mut messages = request.messages();
        if let Some(system) = &self.arguments.system
            && messages.first().is_none_or(|message| message.role != "system")
        {
            messages.insert(0, Message::new("system", system));
        }
        messages
    }

    /// Answers the lines behind the first `done`.
    fn answer(
        &mut self,
        input: &mut Input,
        lines: &[(Id, u128)],
        done: usize,
        answers: &mut Answers,
    ) -> Result<()> {
        const STYLE: &str = "{bar:32} {pos} of {len} answers {rate:>12} {eta:>4}";
        self.queue.cancel_when(&Interrupt::on_termination()?);
        let progress = progress::bar(lines.len() as u64, STYLE);
        progress.set_position(done as u64);
        progress.reset_eta();
        let mut written = done;
        let mut work = |queue: &mut Queue| {
            let Some(more) = queue.work(answers)? else {
                progress.finish_and_clear();
                bail!(
                    "interrupted: {written} of {} lines are answered, the same command goes on",
                    lines.len()
                );
            };
            written += more;
            progress.inc(more as u64);
            Ok(())
        };
        let name = input.name().to_owned();
        let mut expected = lines.iter().map(|(_, hash)| *hash).enumerate();
        input.each(|line| {
            let Some((index, hash)) = expected.next() else { bail!("{name} changed while it was read") };
            ensure!(line.hash == hash, "{} changed while it was read", line.place());
            if index < done {
                return Ok(());
            }
            let prompt = self.prompt(&line).with_context(|| line.place())?;
            self.queue.push(line.place(), prompt)?;
            while self.queue.is_full() {
                work(&mut self.queue)?;
            }
            Ok(())
        })?;
        ensure!(expected.next().is_none(), "{name} changed while it was read");
        while !self.queue.is_empty() {
            work(&mut self.queue)?;
        }
        progress.finish_and_clear();
        Ok(())
    }
}
