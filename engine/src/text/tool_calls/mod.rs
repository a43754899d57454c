//! Calls of tools, as models write them.
//!
//! A model is told of tools by its chat template ([`Rendering::tools`](crate::template::Rendering::tools)) and calls one in a
//! syntax that it was trained on: [`ToolSyntax`] knows these, each by what its templates spell. An answer is kept to the syntax
//! by a grammar ([`ToolSyntax::grammar`]): text is free, and as soon as a call begins its arguments keep to the tool's own JSON
//! schema. [`ToolReader`] reads calls out of the answer as it comes. So nothing that is malformed is ever repaired: it cannot be
//! written.

mod arguments;
mod grammar;
mod parameters;
mod reader;
mod syntax;
#[cfg(test)]
mod tests;
mod told;

pub use grammar::{ToolChoice, ToolsError};
pub use reader::{ToolPiece, ToolReader};
pub use syntax::ToolSyntax;
pub use told::told;

use super::template::Json;

/// A tool that a model may call.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// Its name: letters, digits, `_`, `-` and `.`.
    pub name: String,
    /// The JSON schema of its arguments, an object.
    pub parameters: Json,
}

impl Tool {
    /// Reads a tool in the form of OpenAI's chat completions: an object with a `function`, which has a `name`, and
    /// `parameters` unless there are none.
    ///
    /// # Errors
    /// What was expected of which field.
    pub fn read(tool: &Json) -> Result<Self, ToolsError> {
        let wrong = |expected: &'static str| ToolsError::Tool { expected };
        let function = field(tool, "function").ok_or(wrong("an object with a function"))?;
        let Some(Json::String(name)) = field(function, "name") else {
            return Err(wrong("a function.name that is a text"));
        };
        if name.is_empty() || name.len() > 128 || !name.chars().all(is_of_name) {
            return Err(wrong("a function.name of up to 128 letters, digits, _, - and ."));
        }
        let parameters = match field(function, "parameters") {
            None | Some(Json::Null) => Json::Object(Vec::new()),
            Some(parameters @ Json::Object(_)) => parameters.clone(),
            Some(_) => return Err(wrong("function.parameters that are a schema")),
        };
        Ok(Self { name: name.clone(), parameters })
    }
}

/// Whether a tool's name may have this character.
fn is_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || ['_', '-', '.'].contains(&character)
}

/// A field of an object.
fn field<'v>(value: &'v Json, name: &str) -> Option<&'v Json> {
    let Json::Object(fields) = value else { return None };
    fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
}

/// A value as JSON text.
fn written(value: &Json) -> String {
    // It is a value of its own making: there is nothing in it that has no text.
    serde_json::to_string(value).unwrap_or_default()
}
