//! The `chat` command: a conversation in the terminal, or through a pipe.

mod conversation;
mod input;
mod lines;
mod termination;

use crate::arguments::{
    AdapterArguments, AnswerArguments, ContextArguments, MemoryArguments, ModelArguments, NeighbourArguments,
    SamplingArguments, SessionArguments, SpeculationArguments, TemplateArguments,
};
use crate::terminal::{Interrupt, answer, note};
use anyhow::{Result, ensure};
use clap::Args;
use conversation::Conversation;
use input::Input;
use lines::Lines;
use signal_hook::consts::{SIGINT, SIGTERM};
use siskin::Ending;
use siskin_kit::Inputs;
use std::io;
use termination::Termination;

/// Talk with a model in the terminal.
///
/// In a terminal, lines can be edited and those of earlier conversations recalled; Ctrl-C stops an answer. Lines from
/// a pipe are answered one by one, until Ctrl-C. A line that begins with a slash is a command: /help lists them.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
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

const HELP: &str = "\
/reset       begin a new conversation
/save FILE   write the conversation to a new JSON file
/save! FILE  the same, where a file of this name may be replaced
/quit        leave, as does Ctrl-D
/help        show this list";

/// Talks until the input ends.
pub(crate) fn run(arguments: &Arguments, inputs: &Inputs) -> Result<()> {
    arguments.sampling.check()?;
    let options = arguments.neighbour.begin(arguments.session.options(arguments.context.ctx_size))?;
    let options = arguments.speculation.options(options);
    let draft = arguments.speculation.draft(&arguments.model)?;
    let (model, options, adapters) =
        arguments.model.open_within(&arguments.memory, options, &arguments.adapters, draft.as_ref())?;
    let model = arguments.template.apply(model, false)?;
    if arguments.system.is_some() {
        TemplateArguments::tell_system(&model);
    }
    let rendering = arguments.template.rendering(&model);
    let speculation = arguments.speculation.load(draft, &options)?;
    let mut session = model.session(&options)?;
    adapters.attach(&mut session)?;
    arguments.speculation.attach(&mut session, speculation)?;
    arguments.neighbour.watch(session.threads(), |limit| session.limit_threads(limit))?;
    let options = arguments.sampling.options(&model);
    let (name, context) = (model.name().to_owned(), session.context());
    let mut lines = Lines::open()?;
    // In a terminal, Ctrl-C is about an answer or a line.
    let (interrupt, ending): (_, &[_]) = match lines.is_terminal() {
        true => (Interrupt::on_ctrl_c()?, &[SIGTERM]),
        false => (Interrupt::default(), &[SIGINT, SIGTERM]),
    };
    let termination = Termination::on(ending, &interrupt)?;
    session.cancel_when(interrupt.flag());
    let (system, when_full) =
        (arguments.system.as_deref().map(siskin_kit::plain), arguments.context.when_full());
    let mut conversation = Conversation::new(session, options, system.as_deref(), when_full, inputs.clone())?;
    conversation.render_with(rendering, arguments.template.hides_thoughts());
    conversation.show_special(arguments.template.shows_special());
    if lines.is_terminal() {
        note(format_args!("{name}, {context} tokens of context. /help lists commands, Ctrl-D leaves."));
    }
    conversation.tell_seed();
    while let Some(line) = termination.while_reading(|| lines.next())? {
        match Input::parse(&line) {
            Input::Nothing => {}
            Input::Say(text) => {
                interrupt.reset();
                ensure!(!termination.came(), "interrupted before the answer began");
                let ending = say(&mut conversation, text, &arguments.answer)?;
                let ended = ending == Ending::Cancelled && termination.came();
                ensure!(!ended, "interrupted: the answer is not complete");
            }
            Input::Reset => {
                conversation.reset()?;
                conversation.tell_seed();
            }
            Input::Save { path, replace } => match conversation.save(path, replace) {
                Ok(()) => note(format_args!("saved to {}", path.display())),
                Err(error) => note(format_args!("siskin: {}", crate::one_line(&error))),
            },
            Input::SaveWhere => note(format_args!("expected the name of a file, as in /save talk.json")),
            Input::Help => note(format_args!("{HELP}")),
            Input::Quit => break,
            Input::NotAlone(command) => note(format_args!("{command} stands alone on its line")),
            Input::Unknown(command) => note(format_args!("{command} is no command: /help lists them")),
        }
    }
    Ok(())
}

/// Answers a message, says if it could not be done as it should, and returns how it ended.
fn say(conversation: &mut Conversation, text: &str, arguments: &AnswerArguments) -> Result<Ending> {
    let mut out = io::stdout().lock();
    let answer = conversation.say(text, arguments, &mut out)?;
    let (begun, context) = (!answer.tokens.is_empty(), conversation.context());
    if begun || answer.ending != Ending::ContextFull {
        answer::end_line(&mut out)?;
    }
    if conversation.hides_thoughts() {
        answer::tell_hidden(answer.thought_tokens);
    }
    if conversation.forgot() {
        note(format_args!(
            "the context of {context} tokens was full: the oldest of the conversation is forgotten"
        ));
    }
    if answer.ending == Ending::ContextFull {
        let asked = conversation.asked();
        let what = match begun {
            true => "the answer ends here".to_owned(),
            false => format!("there is no room for this message, with which the conversation has {asked}"),
        };
        note(format_args!(
            "the context of {context} tokens is full: {what}; /reset begins a new conversation, -c makes more room, \
             and --when-full shift forgets the oldest messages"
        ));
    }
    Ok(answer.ending)
}
