//! What a template can do, found by reading it and by asking it.

use std::borrow::Cow;

use super::{ChatTemplate, Message, TemplateError};

/// Variables that switch thinking on and off: of Qwen3, SmolLM3, Gemma and most others; and of Granite and DeepSeek.
const THINKING: [&str; 2] = ["enable_thinking", "thinking"];

impl ChatTemplate {
    /// The variable that switches the model's thinking on (`true`) and off (`false`); None where the template has none.
    pub fn thinking_variable(&self) -> Option<&'static str> {
        let known = THINKING.into_iter().find(|name| self.program.asks_for(name));
        known.or_else(|| self.with_tools.as_ref()?.thinking_variable())
    }

    /// Whether the template says what a system message does. Those of Gemma 2 and Mistral 7B refuse it, others leave it out.
    pub fn takes_system(&self) -> bool {
        const WORD: &str = "siskin";
        *self.takes_system.get_or_init(|| {
            let user = Message::new("user", "");
            let both = self.render_at(&[Message::new("system", WORD), user.clone()], true, 0);
            let refused = match both {
                Ok(text) => !text.contains(WORD),
                Err(TemplateError::Raised { .. }) => true,
                Err(_) => false,
            };
            !refused || self.render_at(&[user], true, 0).is_err()
        })
    }

    /// The conversation as the template takes it: where it takes no system message, that of the beginning goes before the
    /// first message of the user, with an empty line between.
    pub fn with_system_taken<'m>(&self, messages: &'m [Message]) -> Cow<'m, [Message]> {
        let is_text = |message: &Message| message.fields.iter().all(|(name, _)| name != "content");
        let Some((system, rest)) = messages.split_first().filter(|(system, _)| system.role == "system")
        else {
            return messages.into();
        };
        let Some(first) = rest.iter().position(|message| message.role == "user") else {
            return messages.into();
        };
        let mut rest = rest.to_vec();
        match rest.get_mut(first).filter(|user| is_text(user) && is_text(system)) {
            Some(user) if !self.takes_system() => {
                user.content = format!("{}\n\n{}", system.content, user.content);
                rest.into()
            }
            _ => messages.into(),
        }
    }
}

/// Whether a source is a template of Go's `text/template`, as Ollama has them.
pub(super) fn is_go(source: &str) -> bool {
    let mut rest = source;
    while let Some((_, inside)) = rest.split_once("{{") {
        let inside = inside.strip_prefix('-').unwrap_or(inside).trim_start();
        let words = ["if ", "range ", "with ", "end ", "end}", "else", "define ", "template ", "block "];
        if inside.starts_with(['.', '$'])
            || inside.starts_with("/*")
            || words.iter().any(|w| inside.starts_with(w))
        {
            return true;
        }
        rest = inside;
    }
    false
}
