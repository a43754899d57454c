//! Tools of a request: what the model is told of them, what its answer keeps to, and how calls are read out of that.

use crate::ask::{Ask, Chat, Format, Prompt, ToolChoice};
use crate::models::Loaded;
use crate::refusal::Refusal;
use siskin::grammar::GrammarSource;
use siskin::template::Json;
use siskin::tool_calls::{self, Tool, ToolReader, ToolSyntax, told};
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Has the answer keep to the syntax of calls, if the request has tools. Returns what reads them.
///
/// # Errors
/// A choice of a tool that there is not, tools beside a format.
pub(crate) fn prepare(model: &Loaded, ask: &mut Ask) -> Result<Option<ToolReader>, Refusal> {
    let Prompt::Chat(chat) = &mut ask.prompt else { return Ok(None) };
    if chat.tool_choice == ToolChoice::None {
        // A model that is told of tools calls them.
        chat.tools = None;
    }
    let Some(described) = chat.tools.as_ref().filter(|tools| !tools.is_empty()) else {
        return match &chat.tool_choice {
            ToolChoice::Required | ToolChoice::Named(_) => {
                Err(Refusal::invalid("tool_choice: there are no tools"))
            }
            ToolChoice::None | ToolChoice::Auto => Ok(None),
        };
    };
    if let Some(format) = &ask.format {
        return Err(Refusal::invalid(format_args!("{} and tools: expected one of them", format.field)));
    }
    let read = |(index, tool): (usize, &Json)| {
        Tool::read(tool).map_err(|error| Refusal::invalid(format_args!("tools[{index}]: {error}")))
    };
    let mut tools = described.iter().enumerate().map(read).collect::<Result<Vec<Tool>, _>>()?;
    let part = |(index, tool): (usize, &Tool)| {
        let schema = serde_json::to_string(&tool.parameters).unwrap_or_default();
        (format!("tools[{index}] ({}), parameters", tool.name), GrammarSource::JsonSchema(schema))
    };
    let parts = tools.iter().enumerate().map(part).collect();
    let choice = match &chat.tool_choice {
        ToolChoice::None | ToolChoice::Auto => tool_calls::ToolChoice::Auto,
        ToolChoice::Required => tool_calls::ToolChoice::Required,
        ToolChoice::Named(name) => {
            tools.retain(|tool| tool.name == *name);
            if tools.is_empty() {
                return Err(Refusal::invalid(format_args!("tool_choice: there is no tool {name:?}")));
            }
            chat.one_call = true;
            tool_calls::ToolChoice::Required
        }
    };
    let syntax = model.syntax.unwrap_or(ToolSyntax::Hermes);
    let source = syntax.grammar(model.model.tokenizer(), &tools, choice, !chat.one_call);
    let source = source.map_err(|error| Refusal::invalid(format_args!("tools: {error}")))?;
    ask.format = Some(Format { field: "tools", source, parts });
    // The marks around calls are control tokens.
    ask.special = true;
    Ok(Some(ToolReader::new(syntax, &tools)))
}

/// A conversation as the model's template takes it: what that has no place for becomes text.
pub(crate) fn placed(syntax: Option<ToolSyntax>, mut chat: Chat) -> Chat {
    if let (None, Some(tools)) = (syntax, &chat.tools) {
        chat.messages = told(&chat.messages, tools);
        chat.tools = None;
    }
    chat
}

/// A name for a call: nine letters and digits, as Mistral's templates want them.
pub(crate) fn call_id() -> String {
    const LETTERS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    static KEY: OnceLock<RandomState> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut rest = KEY.get_or_init(RandomState::new).hash_one(NEXT.fetch_add(1, Ordering::Relaxed));
    let letter = |_| {
        let letter = LETTERS.get((rest % 36) as usize).copied().unwrap_or(b'0');
        rest /= 36;
        char::from(letter)
    };
    (0..9).map(letter).collect()
}
