//! The turns of a conversation.

use super::{Json, TemplateError};

/// One turn of a conversation.
///
/// Templates see it as Hugging Face's `apply_chat_template` shows it: a mapping of `role`, `content` and the further
/// fields in this order, without those that are null; a text under one of the names `reasoning_content`, `thinking` and
/// `reasoning` is also there under the first two.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, `tool`, or what else the template knows.
    pub role: String,
    /// What is said.
    pub content: String,
    /// All else that the turn has, such as `tool_calls` and `tool_call_id`. Fields named `role` or `content` are what
    /// templates see instead of those: a `content` that is null is that of an assistant who only calls tools, one that is
    /// an array holds blocks of `type` and `text`.
    pub fields: Vec<(String, Json)>,
}

impl Message {
    /// A turn of `role` that says `content`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Message { role: role.into(), content: content.into(), fields: Vec::new() }
    }

    /// This turn with one more field.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Json>) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }
}

impl TryFrom<Json> for Message {
    type Error = TemplateError;

    /// A turn in the form of OpenAI's and Hugging Face's messages: an object with a `role`.
    ///
    /// # Errors
    /// [`TemplateError::Json`] for other values.
    fn try_from(json: Json) -> Result<Self, TemplateError> {
        let expected = |what: &str| TemplateError::Json { problem: format!("a message: expected {what}") };
        let Json::Object(entries) = json else { return Err(expected("an object")) };
        let (mut role, mut content) = (None, Json::Null);
        let mut message = Message::new("", "");
        for (name, value) in entries {
            match name.as_str() {
                "role" => role = Some(value),
                "content" => content = value,
                _ => message.fields.push((name, value)),
            }
        }
        let Some(Json::String(role)) = role else { return Err(expected("a role that is a string")) };
        message.role = role;
        match content {
            Json::String(text) => message.content = text,
            other => message.fields.insert(0, ("content".to_owned(), other)),
        }
        Ok(message)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn message(text: &str) -> Result<Message, TemplateError> {
        Message::try_from(text.parse::<Json>().unwrap())
    }

    #[test]
    fn messages_are_read_from_objects() {
        let read = message(r#"{"content": "12:00", "role": "tool", "tool_call_id": "a"}"#).unwrap();
        assert_eq!(read, Message::new("tool", "12:00").with("tool_call_id", "a"));
        for text in [r#"{"role": "assistant"}"#, r#"{"role": "assistant", "content": null}"#] {
            assert_eq!(message(text).unwrap(), Message::new("assistant", "").with("content", Json::Null));
        }
        let blocks = message(r#"{"role": "user", "content": ["a"]}"#).unwrap();
        assert_eq!(blocks.fields, [("content".to_owned(), Json::from(vec![Json::from("a")]))]);
    }

    #[test]
    fn other_values_are_no_messages() {
        for (text, expected) in [("[]", "an object"), ("{}", "a role"), (r#"{"role": 1}"#, "a role")] {
            let error = message(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("JSON value: a message: expected {expected}")), "{error}");
        }
    }
}
