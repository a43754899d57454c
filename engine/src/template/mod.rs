//! Chat templates: a conversation into the text that a model was trained on, by the model's own Jinja template.
//!
//! A template comes with the model file, so it is a program written by a stranger. It runs in minijinja, which has no
//! access to anything but its arguments, with a bound on each of its resources: the length of the source and of its
//! expressions (`guard`), steps and bytes worked on (fuel), nesting and number of values (`bounds`), output. What
//! Hugging Face's `apply_chat_template` offers a template is there under the same names (`python`).

mod bounds;
mod clock;
mod error;
mod guard;
mod json;
mod methods;
mod python;

pub use error::TemplateError;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::value::{Enumerator, Object};
use minijinja::{Environment, Value};

use crate::gguf::{Gguf, GgufError};

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, or what else the template knows.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A turn of `role` that says `content`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Message { role: role.into(), content: content.into() }
    }
}

/// The template of models that bring none: OpenAI's ChatML, as in llama.cpp.
pub const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + \
     message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ \
     '<|im_start|>assistant\n' }}{% endif %}";

/// The longest output in bytes; longer than any context.
pub const MAX_OUTPUT: usize = 16 << 20;

const NAME: &str = "chat_template";

/// Fuel of a rendering: some steps for the template itself, more for each message and for each byte it says. A step is
/// worth 64 bytes of data, so this bounds memory too.
const FUEL: u64 = 200_000;
const FUEL_PER_MESSAGE: u64 = 2_000;
const BYTES_PER_FUEL: u64 = 2;

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    bos: Option<String>,
    eos: Option<String>,
}

impl ChatTemplate {
    /// Compiles a template. `bos` and `eos` are the texts of the tokens that begin and end a text, which templates know as
    /// `bos_token` and `eos_token`.
    ///
    /// # Errors
    /// [`TemplateError`] for a source that is too long or too nested, uses a statement that chat templates have no use
    /// for (`include`, `import`, `extends`, `block`, `call`, `with`, ...), or is not Jinja.
    pub fn new(source: &str, bos: Option<&str>, eos: Option<&str>) -> Result<Self, TemplateError> {
        let guarded = guard::guard(source)?;
        let mut environment = python::environment();
        environment.add_template_owned(NAME, guarded).map_err(|error| TemplateError::from_engine(&error))?;
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Ok(ChatTemplate { environment, source: source.to_owned(), bos: owned(bos), eos: owned(eos) })
    }

    /// The template of a model file, its key `tokenizer.chat_template`; [`CHATML`] where it has none.
    ///
    /// # Errors
    /// As [`ChatTemplate::new`], and [`TemplateError::File`] for keys of the wrong type.
    pub fn from_gguf(file: &Gguf) -> Result<Self, TemplateError> {
        let source = file.str("tokenizer.chat_template")?.unwrap_or(CHATML);
        let bos = token_text(file, "tokenizer.ggml.bos_token_id")?;
        let eos = token_text(file, "tokenizer.ggml.eos_token_id")?;
        ChatTemplate::new(source, bos.as_deref(), eos.as_deref())
    }

    /// The template's source, as it was given.
    pub fn source(&self) -> &str {
        &self.source
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
        let bytes: usize = messages.iter().map(|m| m.role.len() + m.content.len()).sum();
        let fuel = FUEL + FUEL_PER_MESSAGE * messages.len() as u64 + bytes as u64 / BYTES_PER_FUEL;
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(fuel));
        let turns: Vec<Value> = messages.iter().map(|m| Value::from_object(Turn::new(m))).collect();
        let mut context = BTreeMap::from([
            ("messages", Value::from(turns)),
            ("add_generation_prompt", Value::from(add_generation_prompt)),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
            ("strftime_now", python::strftime_now(seconds)),
        ]);
        context.extend(self.bos.as_deref().map(|text| ("bos_token", Value::from(text))));
        context.extend(self.eos.as_deref().map(|text| ("eos_token", Value::from(text))));

        let mut output = Limited { bytes: Vec::new(), overflowed: false };
        let template = environment.get_template(NAME).map_err(|error| TemplateError::from_engine(&error))?;
        let rendered = template.render_captured_to(Value::from(context), &mut output).map(drop);
        if output.overflowed {
            return Err(TemplateError::OutputTooLong { limit: MAX_OUTPUT });
        }
        rendered.map_err(|error| TemplateError::from_engine(&error))?;
        Ok(String::from_utf8_lossy(&output.bytes).into_owned())
    }
}

/// The time: seconds since 1970, UTC.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// The text of the token whose id a key holds.
fn token_text(file: &Gguf, key: &str) -> Result<Option<String>, GgufError> {
    let (Some(id), Some(tokens)) = (file.u32(key)?, file.array("tokenizer.ggml.tokens")?) else {
        return Ok(None);
    };
    let token = tokens.iter().nth(id as usize);
    Ok(token.and_then(|token| token.as_bytes()).map(|text| String::from_utf8_lossy(text).into_owned()))
}

/// A message as templates see it: a mapping of `role` and `content`, in this order.
#[derive(Debug)]
struct Turn {
    role: Value,
    content: Value,
}

impl Turn {
    fn new(message: &Message) -> Self {
        Turn { role: Value::from(message.role.as_str()), content: Value::from(message.content.as_str()) }
    }
}

impl Object for Turn {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "role" => Some(self.role.clone()),
            "content" => Some(self.content.clone()),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["role", "content"])
    }
}

/// Collects the output, up to [`MAX_OUTPUT`].
struct Limited {
    bytes: Vec<u8>,
    overflowed: bool,
}

impl io::Write for Limited {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if more.len() > MAX_OUTPUT - self.bytes.len() {
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
