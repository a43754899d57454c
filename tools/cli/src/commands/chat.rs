//! The `chat` command: a conversation in the terminal, or through a pipe.

mod conversation;
mod input;
mod lines;
mod setup;
mod talk;
mod termination;

use crate::arguments::context::larger;
use crate::arguments::names;
use crate::arguments::{
    AdapterArguments, AnswerArguments, ContextArguments, GrammarArguments, InputPath, MemoryArguments,
    ModelArguments, NeighbourArguments, SamplingArguments, SessionArguments, SpeculationArguments,
    TemplateArguments,
};
use crate::terminal::{Interrupt, Reply, answer, note};
use anyhow::{Context, Result, ensure};
use clap::Args;
use conversation::Conversation;
use input::Input;
use lines::Lines;
use setup::Setup;
use signal_hook::consts::{SIGINT, SIGTERM};
use siskin::Ending;
use siskin::machine::give_back_freed_memory;
use siskin_kit::Inputs;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use talk::Talk;
use termination::Termination;

/// Talk with a model in the terminal.
///
/// In a terminal, lines can be edited and those of earlier conversations recalled; Ctrl-C stops an answer. Lines from
/// a pipe are answered one by one, until Ctrl-C. A line that begins with a slash is a command: /help lists them.
#[derive(Debug, Args)]
#[command(
    after_help = EXAMPLES,
    mut_arg("when_full", |arg| arg.help(
        "What is done when so many are there [default: shift, but a message that is too long alone is refused]"
    )),
    mut_arg("keep", |arg| arg.help(
        "First tokens that are kept in the middle of an answer [default: those of the system message]"
    ))
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// What the model is told before the conversation
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
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
    #[command(flatten)]
    memory: MemoryArguments,
    #[command(flatten)]
    speculation: SpeculationArguments,
    #[command(flatten)]
    neighbour: NeighbourArguments,
    #[command(flatten)]
    session: SessionArguments,
    #[command(flatten)]
    sampling: SamplingArguments,
}

const EXAMPLES: &str = "\
Examples:
  siskin chat
  siskin chat model.gguf --system \"You are a patient teacher.\" --temp 0.5
  printf 'Who are you?\\nAnd who am I?\\n' | siskin chat model.gguf";

/// Talks until the input ends.
pub(crate) fn run(arguments: &Arguments, inputs: &Inputs) -> Result<()> {
    arguments.sampling.check()?;
    // A model that another one takes the place of is not to be in memory beside it.
    give_back_freed_memory();
    let (setup, opened) = Setup::begin(arguments)?;
    let talk = Talk::new(arguments.system.as_deref().map(siskin_kit::plain).as_deref());
    if talk.system.is_some() {
        TemplateArguments::tell_system(opened.answer.model());
    }
    let mut lines = Lines::open()?;
    // In a terminal, Ctrl-C is about an answer or a line.
    let (interrupt, ending): (_, &[_]) = match lines.is_terminal() {
        true => (Interrupt::on_ctrl_c()?, &[SIGTERM]),
        false => (Interrupt::default(), &[SIGINT, SIGTERM]),
    };
    let termination = Termination::on(ending, &interrupt)?;
    let mut conversation = Conversation::new(opened, talk, arguments.context.policy());
    conversation.cancel_when(&interrupt);
    let inputs = inputs.clone();
    let mut chat =
        Chat { arguments, setup, conversation: Some(conversation), interrupt, termination, inputs };
    let conversation = chat.conversation()?;
    if lines.is_terminal() {
        tell_model(conversation);
        note(format_args!("/help lists commands, Ctrl-D leaves."));
    }
    conversation.tell_seed();
    while let Some(line) = chat.termination.while_reading(|| lines.next())? {
        match Input::parse(&line) {
            Input::Quit => break,
            input => chat.follow(input)?,
        }
    }
    Ok(())
}

/// Says which model answers.
fn tell_model(conversation: &Conversation) {
    note(format_args!("{}, {} tokens of context", conversation.model().name(), conversation.context()));
}

/// A conversation and all that commands change.
struct Chat<'a> {
    arguments: &'a Arguments,
    setup: Setup<'a>,
    /// None only as long as one model makes room for another.
    conversation: Option<Conversation>,
    interrupt: Interrupt,
    termination: Termination,
    /// What the program reads.
    inputs: Inputs,
}

impl Chat<'_> {
    fn conversation(&mut self) -> Result<&mut Conversation> {
        self.conversation.as_mut().context("no model is there to answer")
    }

    /// Does what a line of the user asks for. What cannot be done is said, and changes nothing.
    ///
    /// # Errors
    /// Whatever ends the conversation.
    fn follow(&mut self, input: Input<'_>) -> Result<()> {
        let arguments = &self.arguments.answer;
        match input {
            Input::Say(text) => {
                self.begin_answer()?;
                let reply = self.conversation()?.say(text, arguments, &mut io::stdout().lock())?;
                return self.end_answer(&reply);
            }
            Input::Retry => {
                self.begin_answer()?;
                let conversation = self.conversation()?;
                if conversation.is_greedy() && !conversation.talk().messages.is_empty() {
                    note(format_args!("what is likeliest is answered again: --temp 0 leaves no choice"));
                }
                match self.conversation()?.retry(arguments, &mut io::stdout().lock())? {
                    Some(reply) => return self.end_answer(&reply),
                    None => note(format_args!("there is no message to answer again")),
                }
            }
            Input::Undo => match self.conversation()?.undo() {
                true => note(format_args!("the last message and its answer are taken back")),
                false => note(format_args!("there is no answer to take back")),
            },
            Input::System(text) => {
                let conversation = self.conversation()?;
                conversation.set_system(text);
                TemplateArguments::tell_system(conversation.model());
                note(format_args!("the model is told this from your next message on"));
            }
            Input::ShowSystem => match &self.conversation()?.talk().system {
                Some(text) => note(format_args!("the model is told: {text}")),
                None => note(format_args!("the model is told nothing: /system TEXT changes that")),
            },
            Input::Think(think) => {
                let conversation = self.conversation.as_mut().context("no model is there to answer")?;
                let (rendering, hides) = self.setup.set_think(think, conversation.model());
                conversation.render_with(rendering, hides);
            }
            Input::Model(name) => match self.setup.find(name) {
                Ok(path) => self.change_model(path, true)?,
                Err(error) => tell_failure(&error),
            },
            Input::ShowModel => tell_model(self.conversation()?),
            Input::Load(name) => self.load(name)?,
            Input::Save { path, replace } => match self.save(path, replace) {
                Ok(()) => note(format_args!("saved to {}", path.display())),
                Err(error) => tell_failure(&error),
            },
            Input::Reset => {
                let conversation = self.conversation()?;
                conversation.reset()?;
                conversation.tell_seed();
            }
            Input::Help => note(format_args!("{}", input::help())),
            Input::Wrong(why) => note(format_args!("{why}")),
            Input::Nothing | Input::Quit => {}
        }
        Ok(())
    }

    /// Begins to hear what breaks an answer off.
    fn begin_answer(&self) -> Result<()> {
        self.interrupt.reset();
        ensure!(!self.termination.came(), "interrupted before the answer began");
        Ok(())
    }

    /// Ends an answer's line, and says if it could not be done as it should.
    fn end_answer(&mut self, reply: &Reply) -> Result<()> {
        let arguments = &self.arguments.answer;
        let conversation = self.conversation()?;
        let bounded = conversation.bounds_answers(arguments);
        let (begun, context) = (!reply.tokens.is_empty(), conversation.context());
        if begun || reply.ending != Ending::ContextFull {
            answer::end_line(&mut io::stdout().lock())?;
        }
        if conversation.hides_thoughts() {
            answer::tell_hidden(reply.thought_tokens);
        }
        if conversation.tells_that_it_forgot() {
            note(format_args!(
                "the context of {context} tokens was full: the oldest of the conversation is forgotten, now and whenever it \
                 is full again; {}, --when-full stop forgets nothing",
                larger(context, conversation.model())
            ));
        }
        match reply.ending {
            Ending::ContextFull => tell_no_room(conversation, begun),
            Ending::Limit if bounded => note(format_args!(
                "the answer has {context} tokens, as many as the context: it ends here, -n sets another limit"
            )),
            _ => {}
        }
        let ended = reply.ending == Ending::Cancelled && self.termination.came();
        ensure!(!ended, "interrupted: the answer is not complete");
        Ok(())
    }

    /// Goes on with another model, or begins a new conversation with it.
    ///
    /// # Errors
    /// Neither the other model nor the one before can be opened.
    fn change_model(&mut self, path: InputPath, keeps_conversation: bool) -> Result<()> {
        let policy = self.arguments.context.policy();
        // The model before makes room first: a board may have none for both.
        let mut former = self.conversation.take().context("no model is there to answer")?;
        let (chance, talk) = (former.chance(), former.into_talk());
        self.inputs = self.inputs.clone().and([&*path]);
        let (opened, done) = self.setup.open_other(path)?;
        let talk = if done && !keeps_conversation { Talk::new(talk.system.as_deref()) } else { talk };
        let said = talk.messages.len();
        let mut conversation = Conversation::new(opened, talk, policy);
        conversation.cancel_when(&self.interrupt);
        if done {
            tell_model(&conversation);
            note(format_args!(
                "{}",
                match said {
                    0 => "a new conversation begins",
                    1.. => "the conversation goes on; /reset begins a new one",
                }
            ));
            conversation.tell_seed();
        } else {
            conversation.set_chance(&chance);
        }
        self.conversation = Some(conversation);
        Ok(())
    }

    /// Goes on with a conversation in a file, or begins one with the model that is meant.
    ///
    /// # Errors
    /// As for [`Chat::change_model`].
    fn load(&mut self, name: &str) -> Result<()> {
        let found = names::find(name).and_then(|path| {
            let talk = match is_model(&path) {
                true => None,
                false => Some(Talk::load(&path).with_context(|| name.to_owned())?),
            };
            Ok((if talk.is_none() { self.setup.find(name)? } else { path }, talk))
        });
        let conversation = self.conversation()?;
        let loaded = match found {
            Ok((path, None)) => return self.change_model(path, false),
            Ok((_, Some(talk))) => conversation.load(talk).with_context(|| name.to_owned()),
            Err(error) => Err(error),
        };
        if let Err(error) = loaded {
            tell_failure(&error);
            return Ok(());
        }
        note(format_args!("{} messages of {name}", conversation.talk().messages.len()));
        if conversation.talk().unanswered.is_some() {
            note(format_args!("the last message has no answer: /retry asks for one"));
        }
        conversation.tell_seed();
        Ok(())
    }

    fn save(&mut self, path: &Path, replace: bool) -> Result<()> {
        let inputs = self.inputs.clone();
        self.conversation()?.talk().save(path, replace, &inputs)
    }
}

/// Whether a file begins as models do.
fn is_model(path: &Path) -> bool {
    let mut magic = [0; 4];
    let is_file = path.metadata().is_ok_and(|found| found.is_file());
    is_file && File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"GGUF"
}

/// Says why a command was not followed.
fn tell_failure(error: &anyhow::Error) {
    note(format_args!("siskin: {}", crate::one_line(error)));
}

/// Says that there is no room for a message, or for the rest of an answer, and what helps.
fn tell_no_room(conversation: &Conversation, begun: bool) {
    let (context, asked) = (conversation.context(), conversation.asked());
    let larger = larger(context, conversation.model());
    let is_default = conversation.policy().is_default;
    match begun {
        true => note(format_args!(
            "the context of {context} tokens is full: the answer ends here; /reset begins a new conversation, {larger}, and \
             --when-full shift forgets the oldest messages"
        )),
        false if is_default => note(format_args!(
            "the message alone has {asked} tokens, the context has room for {context}, and an answer needs some: {larger}; \
             siskin summarize reads texts of any length; --when-full shift forgets the oldest tokens"
        )),
        false => note(format_args!(
            "the context of {context} tokens is full: there is no room for this message, with which the conversation has \
             {asked}; /reset begins a new conversation, {larger}, and --when-full shift forgets the oldest messages"
        )),
    }
}
