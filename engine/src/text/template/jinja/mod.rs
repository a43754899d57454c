//! The interpreter of templates: minijinja, with what `apply_chat_template` offers and a bound on all that a template does.
//!
//! A source is guarded before it is compiled (`guard`), and runs with bounds on steps and bytes worked on (fuel), on nesting
//! and number of values (`bounds`), and on the output. What Hugging Face's `apply_chat_template` offers is there under the
//! same names (`python`). Characters of the conversation are told from the template's own (`provenance`).

mod bounds;
mod clock;
mod compare;
mod filters;
mod format;
mod given;
mod groups;
mod guard;
mod json;
mod methods;
mod product;
mod provenance;
mod python;
mod repr;
mod strings;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::{fmt, io};

use minijinja::{Environment, Value};

use super::error::one_line;
use super::value::{MAX_DEPTH, MAX_VALUES};
use super::{Json, MAX_OUTPUT, Message, Rendering, TemplateError, now};
use crate::text::rendered::Rendered;

use given::{Given, Weight};
use provenance::plain;

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

/// A compiled source.
#[derive(Debug)]
pub(super) struct Program {
    environment: Environment<'static>,
}

impl Program {
    /// Compiles a source.
    ///
    /// # Errors
    /// As [`ChatTemplate::new`](super::ChatTemplate::new).
    pub(super) fn compile(source: &str) -> Result<Self, TemplateError> {
        let mut environment = python::environment();
        environment.add_template_owned(NAME, guard::guard(source)?).map_err(|error| failed(&error))?;
        Ok(Program { environment })
    }

    /// The text of a conversation, for a vocabulary whose tokens that begin and end a text have these texts.
    ///
    /// # Errors
    /// As [`ChatTemplate::render_with`](super::ChatTemplate::render_with).
    pub(super) fn render(
        &self,
        messages: &[Message],
        rendering: &Rendering,
        [bos, eos]: [Option<&str>; 2],
    ) -> Result<Rendered, TemplateError> {
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(fuel(messages, rendering)?));
        let tools = rendering.tools.as_ref().map(|tools| Given::list(tools.iter().map(given::value)));
        let mut context = BTreeMap::from([
            ("documents", Value::from(())),
            ("strftime_now", python::strftime_now(rendering.seconds.unwrap_or_else(now))),
        ]);
        context.extend(bos.map(|text| ("bos_token", Value::from(text))));
        context.extend(eos.map(|text| ("eos_token", Value::from(text))));
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
        let template = environment.get_template(NAME).map_err(|error| failed(&error))?;
        let rendered = template.render_captured_to(Value::from(context), &mut output).map(drop);
        if output.overflowed {
            return Err(TemplateError::OutputTooLong { limit: MAX_OUTPUT });
        }
        rendered.map_err(|error| failed(&error))?;
        let rendered = provenance::render(&String::from_utf8_lossy(&output.bytes));
        if rendered.text().len() > MAX_OUTPUT {
            return Err(TemplateError::OutputTooLong { limit: MAX_OUTPUT });
        }
        Ok(rendered)
    }

    /// Whether the source reads this variable, and sets it nowhere.
    pub(super) fn asks_for(&self, variable: &str) -> bool {
        let template = self.environment.get_template(NAME);
        template.is_ok_and(|template| template.undeclared_variables(false).contains(variable))
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

/// Marks an error as the template's own.
#[derive(Debug)]
struct Raised(String);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

/// What the engine says of a template, as this crate says it.
fn failed(error: &minijinja::Error) -> TemplateError {
    let line = error.line().unwrap_or(0);
    if let Some(Raised(message)) = error.source().and_then(|source| source.downcast_ref()) {
        return TemplateError::Raised { line, message: one_line(&plain(message)) };
    }
    let kind = error.kind();
    let problem = match error.detail() {
        Some(detail) => one_line(&plain(&format!("{kind}: {detail}"))),
        None => kind.to_string(),
    };
    match kind {
        minijinja::ErrorKind::OutOfFuel => TemplateError::TooMuchWork { line },
        minijinja::ErrorKind::SyntaxError | minijinja::ErrorKind::BadEscape => {
            TemplateError::Syntax { line, problem }
        }
        _ => TemplateError::Failed { line, problem },
    }
}
