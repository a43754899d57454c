//! What stands in for the interpreter of templates in builds without it.

use super::{Message, Rendered, Rendering, TemplateError};

/// A source, which nothing is made of.
#[derive(Debug)]
pub(super) struct Program;

impl Program {
    pub(super) fn compile(_source: &str) -> Result<Self, TemplateError> {
        Ok(Program)
    }

    pub(super) fn render(
        &self,
        _messages: &[Message],
        _rendering: &Rendering,
        _bos_and_eos: [Option<&str>; 2],
    ) -> Result<Rendered, TemplateError> {
        Err(TemplateError::NotBuilt)
    }

    pub(super) fn asks_for(&self, _variable: &str) -> bool {
        false
    }
}
