//! What is asked of a model, in no API's own words.

use siskin::AnswerLimits;
use siskin::grammar::GrammarSource;
use siskin::sampler::SamplerOverrides;
use siskin::template::{Json, Message};
use siskin_kit::json::{bytes, field_bytes};
use std::time::Duration;

/// A request for one or several answers to a prompt.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask {
    /// The model's name, behind which there may be names of adapters: `model+adapter`. None: the server's first.
    pub(crate) model: Option<String>,
    pub(crate) prompt: Prompt,
    /// Adapters by name, and what their changes are multiplied by, beside those in the model's name.
    pub(crate) adapters: Vec<(String, f32)>,
    pub(crate) sampling: SamplerOverrides,
    pub(crate) limits: AnswerLimits,
    /// What the answer keeps to.
    pub(crate) format: Option<Format>,
    /// How many of the most probable tokens are told with each one.
    pub(crate) logprobs: Option<usize>,
    /// Whether control tokens stand in the answer by their own text.
    pub(crate) special: bool,
    /// Answers to the same prompt; 0 counts as 1. Each has a seed of its own, the next one's being greater by 1.
    pub(crate) answers: usize,
    /// How long the model stays in memory afterwards, where the request has a say in it.
    pub(crate) keep_alive: Option<KeepAlive>,
}

/// What an answer is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// The field of the request that says so.
    pub(crate) field: &'static str,
    pub(crate) source: GrammarSource,
    /// What it is made of, by field: where it cannot be kept to, the first that cannot is named.
    pub(crate) parts: Vec<(String, GrammarSource)>,
}

impl Format {
    /// One that a field says by itself.
    pub(crate) fn of(field: &'static str, source: GrammarSource) -> Self {
        Self { field, source, parts: Vec::new() }
    }
}

/// What the answer goes on from.
#[derive(Clone, Debug)]
pub(crate) enum Prompt {
    /// A conversation, in the model's chat template.
    Chat(Chat),
    /// Texts and tokens, one behind the other, that are continued as they are. Texts may spell control tokens.
    Parts(Vec<Part>),
    /// A text that is continued as it is, or looked at as a whole. It spells no control tokens.
    Given(String),
    /// What is missing in the middle of a text.
    Infill(Infill),
}

impl Prompt {
    /// The bytes of its texts.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Prompt::Chat(chat) => chat.bytes(),
            Prompt::Parts(parts) => parts
                .iter()
                .map(|part| match part {
                    Part::Text(text) => text.len(),
                    Part::Token(_) => 0,
                })
                .sum(),
            Prompt::Given(text) => text.len(),
            Prompt::Infill(Infill { prefix, suffix, files }) => {
                let files = files.iter().map(|(name, text)| name.len() + text.len());
                prefix.len() + suffix.len() + files.sum::<usize>()
            }
        }
    }
}

/// A part of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Text(String),
    Token(u32),
}

/// A text whose middle is missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Infill {
    pub(crate) prefix: String,
    pub(crate) suffix: String,
    /// Other files that belong to it, each a name and a text.
    pub(crate) files: Vec<(String, String)>,
}

impl Default for Prompt {
    fn default() -> Self {
        Prompt::Chat(Chat::default())
    }
}

/// A conversation, and what its template is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chat {
    pub(crate) messages: Vec<Message>,
    /// Tools that the model may call, each as OpenAI writes them.
    pub(crate) tools: Option<Vec<Json>>,
    pub(crate) tool_choice: ToolChoice,
    /// Whether it may call only one of them.
    pub(crate) one_call: bool,
    /// Whether the model is to think first, where its template has a switch for that.
    pub(crate) think: Option<bool>,
    /// Whether its oldest turns are left out where the context has no room for them.
    pub(crate) forgets: bool,
    /// Further variables of the template.
    pub(crate) variables: Vec<(String, Json)>,
}

impl Chat {
    /// The bytes of its texts.
    fn bytes(&self) -> usize {
        let messages = self.messages.iter().map(message_bytes).sum::<usize>();
        let tools = self.tools.iter().flatten().map(bytes).sum::<usize>();
        let variables = self.variables.iter().map(field_bytes).sum::<usize>();
        messages + tools + variables
    }
}

/// The bytes of a message's texts.
pub(crate) fn message_bytes(message: &Message) -> usize {
    let fields = message.fields.iter().map(field_bytes).sum::<usize>();
    message.role.len() + message.content.len() + fields
}

/// Whether the model calls tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ToolChoice {
    /// It calls none.
    None,
    /// As it likes.
    #[default]
    Auto,
    /// It calls one at least.
    Required,
    /// It calls the one with this name.
    Named(String),
}

/// How long a model stays in memory that nobody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepAlive {
    For(Duration),
    Forever,
}
