//! Chat templates: a conversation into the text that a model was trained on, by the model's own Jinja template.
//!
//! A template comes with the model file, so it is a program written by a stranger. It runs in minijinja, which has no
//! access to anything but its arguments, with a bound on each of its resources: the length of the source and of its
//! expressions (`guard`), steps and bytes worked on (fuel), nesting and number of values (`bounds`), output. What
//! Hugging Face's `apply_chat_template` offers a template is there under the same names (`python`).

mod abilities;
mod bounds;
mod clock;
mod compare;
mod error;
mod file;
mod filters;
mod format;
mod given;
mod groups;
mod guard;
mod json;
mod message;
mod methods;
mod product;
mod provenance;
mod python;
mod repr;
mod strings;
mod value;

pub use super::rendered::Rendered;
pub use error::TemplateError;
pub use message::Message;
pub use value::Json;

use std::collections::BTreeMap;
use std::io;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::{Environment, Value};

use given::{Given, Weight};

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

/// The longest text while it is rendered, in bytes: what is given takes up to four a character.
const MAX_CARRIED: usize = 4 * MAX_OUTPUT;

const NAME: &str = "chat_template";

/// The names of values that no variable may replace.
const TAKEN: [&str; 7] = [
    "messages",
    "tools",
    "add_generation_prompt",
    guard::BOUNDED,
    guard::COMPARED,
    guard::KEY,
    guard::PRODUCT,
];

/// Fuel of a rendering: some steps for the template itself, more for each message, for each value of its fields, of tools
/// and variables, and for each byte that they say. A step is worth 64 bytes of data, so this bounds memory too.
const FUEL: u64 = 200_000;
const FUEL_PER_MESSAGE: u64 = 2_000;
const FUEL_PER_VALUE: u64 = 200;
const BYTES_PER_FUEL: u64 = 2;

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
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
        let guarded = guard::guard(source)?;
        let mut environment = python::environment();
        environment.add_template_owned(NAME, guarded).map_err(|error| TemplateError::from_engine(&error))?;
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Ok(ChatTemplate {
            environment,
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
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(fuel(messages, rendering)?));
        let tools = rendering.tools.as_ref().map(|tools| Given::list(tools.iter().map(given::value)));
        let mut context = BTreeMap::from([
            ("documents", Value::from(())),
            ("strftime_now", python::strftime_now(rendering.seconds.unwrap_or_else(now))),
        ]);
        context.extend(self.bos.as_deref().map(|text| ("bos_token", Value::from(text))));
        context.extend(self.eos.as_deref().map(|text| ("eos_token", Value::from(text))));
        for (name, json) in &rendering.variables {
            if TAKEN.contains(&name.as_str()) {
                return Err(TemplateError::Variable { name: name.clone() });
            }
            context.insert(name, given::value(json));
        }
        context.extend([
            ("messages", Given::list(messages.iter().map(Given::message))),
            ("add_generation_prompt", Value::from(rendering.add_generation_prompt)),
            ("tools", tools.unwrap_or_else(|| Value::from(()))),
        ]);

        let mut output = Limited { bytes: Vec::new(), overflowed: false };
        let template = environment.get_template(NAME).map_err(|error| TemplateError::from_engine(&error))?;
        let rendered = template.render_captured_to(Value::from(context), &mut output).map(drop);
        if output.overflowed {
            return Err(TemplateError::OutputTooLong { limit: MAX_OUTPUT });
        }
        rendered.map_err(|error| TemplateError::from_engine(&error))?;
        let rendered = provenance::render(&String::from_utf8_lossy(&output.bytes));
        if rendered.text().len() > MAX_OUTPUT {
            return Err(TemplateError::OutputTooLong { limit: MAX_OUTPUT });
        }
        Ok(rendered)
    }
}

/// The fuel that a rendering may use.
fn fuel(messages: &[Message], rendering: &Rendering) -> Result<u64, TemplateError> {
    let mut weight = Weight::default();
    messages.iter().try_for_each(|message| weight.add_message(message))?;
    rendering.tools.iter().flatten().try_for_each(|tool| weight.add(tool))?;
    rendering.variables.iter().try_for_each(|(_, value)| weight.add(value))?;
    Ok(FUEL
        + FUEL_PER_MESSAGE * messages.len() as u64
        + FUEL_PER_VALUE * weight.values as u64
        + weight.bytes as u64 / BYTES_PER_FUEL)
}

/// The time: seconds since 1970, UTC.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// Collects the output, up to [`MAX_CARRIED`].
struct Limited {
    bytes: Vec<u8>,
    overflowed: bool,
}

impl io::Write for Limited {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if more.len() > MAX_CARRIED - self.bytes.len() {
            self.overflowed = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
