use std::path::Path;

use anyhow::{Result, bail, ensure};
use siskin::template::{Json, Message};
use siskin_kit::json::Object;
use siskin_kit::{openai, read_lines};

/// A line of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its number, from 1.
    pub line: usize,
    /// What it says.
    pub content: Content,
}

/// What is to be learned.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// The assistant's turns of a conversation, the last of whose turns is one.
    Conversation(Vec<Message>),
    /// All of a text.
    Text(String),
}

impl Row {
    /// Every text of the row, in its order.
    pub fn texts(&self) -> Vec<&str> {
        match &self.content {
            Content::Conversation(messages) => {
                messages.iter().map(|message| message.content.as_str()).collect()
            }
            Content::Text(text) => vec![text],
        }
    }

    fn parse(text: &str, line: usize) -> Result<Row> {
        let mut fields = Object::parse(text)?;
        let (messages, text) = (fields.take("messages"), fields.text("text")?);
        let (system, prompt) = (fields.text("system")?, fields.text("prompt")?);
        let content = match (messages, prompt, text) {
            (Some(messages), None, None) => conversation(messages)?,
            (None, Some(prompt), None) => {
                let answer = fields.require_text("answer")?;
                let system = system.map(|system| Message::new("system", system));
                let turns = [Message::new("user", prompt), Message::new("assistant", answer)];
                Content::Conversation(system.into_iter().chain(turns).collect())
            }
            (None, None, Some(text)) => Content::Text(text),
            (None, None, None) => {
                bail!("expected \"messages\", \"prompt\" with \"answer\", or \"text\", found none of them")
            }
            _ => bail!("expected one of \"messages\", \"prompt\" and \"text\", found several"),
        };
        Ok(Row { line, content })
    }
}

fn conversation(messages: Json) -> Result<Content> {
    let messages = openai::messages(messages)?;
    let last = messages.last().map(|message| message.role.as_str());
    ensure!(
        last == Some("assistant"),
        "messages: expected the last to be the assistant's, found {}",
        last.map_or_else(|| "none".to_owned(), |role| format!("{role:?}"))
    );
    Ok(Content::Conversation(messages))
}

/// Reads a file of JSON lines: on each an object with `messages`, with `prompt`, `answer` and maybe `system`, or with `text`. Other fields
/// are not looked at, and empty lines are left out.
///
/// # Errors
/// The first line that is none of these, with its number; a file without any.
pub fn read(path: &Path) -> Result<Vec<Row>> {
    let rows = read_lines(path, Row::parse)?;
    ensure!(!rows.is_empty(), "{}: the file has no examples", path.display());
    Ok(rows)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use std::io::Write;

    fn read_text(text: &str) -> Result<Vec<Row>> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        read(file.path())
    }

    #[test]
    fn rows_of_all_kinds_are_read() {
        let rows = read_text(concat!(
            "\u{feff}{\"prompt\": \"p\", \"answer\": \"a\", \"task\": \"t\"}\n\n",
            "{\"system\": \"s\", \"prompt\": \"p\", \"answer\": \"\"}\n",
            "{\"messages\": [{\"role\": \"user\", \"content\": \"u\"}, {\"role\": \"assistant\", \"content\": \"a\"}]}\n",
            "{\"text\": \"once\"}"
        ))
        .unwrap();
        let of = |turns: &[(&str, &str)]| {
            Content::Conversation(turns.iter().map(|&(role, said)| Message::new(role, said)).collect())
        };
        let expected = [
            (1, of(&[("user", "p"), ("assistant", "a")])),
            (3, of(&[("system", "s"), ("user", "p"), ("assistant", "")])),
            (4, of(&[("user", "u"), ("assistant", "a")])),
            (5, Content::Text("once".to_owned())),
        ];
        assert_eq!(rows, expected.map(|(line, content)| Row { line, content }));
        assert_eq!(rows[1].texts(), ["s", "p", ""]);
    }

    #[test]
    fn a_bad_line_is_named() {
        let good = r#"{"prompt": "p", "answer": "a"}"#;
        for (bad, expected) in [
            (r#"{"prompt": "p"}"#, "answer is missing, expected a text"),
            (r#"{"question": "p", "answer": "a"}"#, "found none of them"),
            (r#"{"prompt": "p", "answer": "a", "text": "t"}"#, "found several"),
            (r#"{"messages": []}"#, "expected the last to be the assistant's, found none"),
            (r#"{"messages": [{"role": "user", "content": "u"}]}"#, "found \"user\""),
            (r#"{"messages": 3}"#, "messages: expected an array"),
            ("[1, 2", "column"),
        ] {
            let error = format!("{:#}", read_text(&format!("{good}\n{bad}\n")).unwrap_err());
            assert!(error.contains("line 2: ") && error.contains(expected), "{error}");
        }
        assert!(read_text("\n\n").unwrap_err().to_string().contains("no examples"));
    }
}
