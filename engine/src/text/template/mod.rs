//! Chat templates: a conversation into the text that a model was trained on, by the model's own Jinja template.
//!
//! A template comes with the model file, so it is a program written by a stranger. It runs in minijinja (`jinja`), which has
//! no access to anything but its arguments, with a bound on each of its resources.
//!
//! Without the feature `templates` there are the same names, and every conversation is refused.

mod abilities;
#[cfg(not(feature = "templates"))]
mod absent;
mod error;
mod file;
#[cfg(feature = "templates")]
mod jinja;
mod message;
mod value;

pub use super::rendered::Rendered;
pub use error::TemplateError;
pub use message::Message;
pub use value::Json;

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

#[cfg(not(feature = "templates"))]
use absent::Program;
#[cfg(feature = "templates")]
use jinja::Program;

/// What a conversation is rendered with: the arguments of Hugging Face's `apply_chat_template`. The default offers no tools
/// and ends where the assistant's answer begins.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Rendering {
    /// The tools that the model may call, each as its JSON schema. Templates may tell none from an empty list.
    pub tools: Option<Vec<Json>>,
    /// Further values that the template knows by name, such as `enable_thinking`; also `documents`.
    pub variables: Vec<(String, Json)>,
    /// Whether the text ends where the assistant's answer begins.
    pub add_generation_prompt: bool,
    /// The time that the template may ask for (`strftime_now`): seconds since 1970, UTC. None: now. A template that asks
    /// gives the same text only for the same time.
    pub seconds: Option<u64>,
}

impl Default for Rendering {
    fn default() -> Self {
        Rendering { tools: None, variables: Vec::new(), add_generation_prompt: true, seconds: None }
    }
}

impl Rendering {
    crate::setters! {
        tools: impl Into<Option<Vec<Json>>>,
        variables: Vec<(String, Json)>,
        add_generation_prompt: bool,
        seconds: impl Into<Option<u64>>,
    }
}

/// The template of models that bring none: OpenAI's ChatML, as in llama.cpp.
pub const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + \
     message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ \
     '<|im_start|>assistant\n' }}{% endif %}";

/// The control tokens that [`CHATML`] spells.
pub(crate) const CHATML_TOKENS: [&str; 2] = ["<|im_start|>", "<|im_end|>"];

/// The longest output in bytes; longer than any context.
pub const MAX_OUTPUT: usize = 16 << 20;

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    program: Program,
    source: String,
    bos: Option<String>,
    eos: Option<String>,
    /// What serves conversations with tools, where that is another template.
    with_tools: Option<Box<ChatTemplate>>,
    is_fallback: bool,
    /// The names of the file's templates, where it has none for every conversation.
    unnamed: Vec<String>,
    /// Why the file's template serves no conversation.
    unusable: Option<String>,
    takes_system: OnceLock<bool>,
}

impl ChatTemplate {
    /// Compiles a template. `bos` and `eos` are the texts of the tokens that begin and end a text, which templates know as
    /// `bos_token` and `eos_token`.
    ///
    /// # Errors
    /// [`TemplateError`] for a source that is too long or too nested, uses a statement that chat templates have no use
    /// for (`include`, `import`, `extends`, `block`, ...), or is not Jinja.
    pub fn new(source: &str, bos: Option<&str>, eos: Option<&str>) -> Result<Self, TemplateError> {
        Self::compile(source, bos, eos)
            .map_err(|error| if abilities::is_go(source) { TemplateError::Go } else { error })
    }

    fn compile(source: &str, bos: Option<&str>, eos: Option<&str>) -> Result<Self, TemplateError> {
        let program = Program::compile(source)?;
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Ok(ChatTemplate {
            program,
            source: source.to_owned(),
            bos: owned(bos),
            eos: owned(eos),
            with_tools: None,
            is_fallback: false,
            unnamed: Vec::new(),
            unusable: None,
            takes_system: OnceLock::new(),
        })
    }

    /// The template's source, as it was given.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The source of the template that serves conversations with tools, which may be another one.
    pub fn source_with_tools(&self) -> &str {
        self.with_tools.as_ref().map_or(&self.source, |template| &template.source)
    }

    /// Whether this is [`CHATML`], for want of a template in the model file. Models without one are base models more
    /// often than not, and were not trained to answer.
    pub fn is_fallback(&self) -> bool {
        self.is_fallback
    }

    /// The conversation as text. With `add_generation_prompt` it ends where the assistant's answer begins.
    ///
    /// # Errors
    /// [`TemplateError`] when the template refuses the conversation (`raise_exception`), fails, or exceeds a bound.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, TemplateError> {
        self.render_at(messages, add_generation_prompt, now())
    }

    /// As [`render`](Self::render), with the time that the template may ask for (`strftime_now`): seconds since 1970,
    /// UTC. A template that asks gives the same text only for the same time.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn render_at(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        seconds: u64,
    ) -> Result<String, TemplateError> {
        let seconds = Some(seconds);
        self.render_with(messages, &Rendering { add_generation_prompt, seconds, ..Rendering::default() })
    }

    /// The conversation as text, with tools and variables.
    ///
    /// # Errors
    /// As [`render`](Self::render); [`TemplateError::Json`] for values that nest too deep or are too many, and
    /// [`TemplateError::Variable`] for a variable that is named as what else a template is given.
    pub fn render_with(&self, messages: &[Message], rendering: &Rendering) -> Result<String, TemplateError> {
        self.render_traced(messages, rendering).map(Rendered::into_text)
    }

    /// As [`render_with`](Self::render_with), with the origin of each character: all texts of messages, tools and
    /// variables are given, but for roles that are words.
    ///
    /// # Errors
    /// As [`render_with`](Self::render_with).
    pub fn render_traced(
        &self,
        messages: &[Message],
        rendering: &Rendering,
    ) -> Result<Rendered, TemplateError> {
        match &self.with_tools {
            Some(template) if rendering.tools.is_some() => {
                return template.render_traced(messages, rendering);
            }
            _ if self.unusable.is_some() => {
                return Err(TemplateError::Unusable { problem: self.unusable.clone().unwrap_or_default() });
            }
            _ if !self.unnamed.is_empty() => {
                return Err(TemplateError::Unnamed { names: self.unnamed.join(", ") });
            }
            _ => {}
        }
        self.program.render(messages, rendering, [self.bos.as_deref(), self.eos.as_deref()])
    }
}

/// The time: seconds since 1970, UTC.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
