use anyhow::{Result, anyhow, bail, ensure};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use siskin::sampler::SamplerOverrides;
use siskin::template::Message;
use std::fmt;
use std::num::NonZeroUsize;

/// A line: the fields of OpenAI's chat completions that mean something here, and llama.cpp's names where those differ.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    #[serde(alias = "custom_id")]
    pub(super) id: Option<Id>,
    prompt: Option<String>,
    messages: Option<Vec<Turn>>,
    system: Option<String>,
    #[serde(alias = "max_completion_tokens", alias = "n_predict")]
    pub(super) max_tokens: Option<NonZeroUsize>,
    stop: Option<Stop>,
    seed: Option<u64>,
    temperature: Option<f32>,
    top_k: Option<i32>,
    top_p: Option<f32>,
    min_p: Option<f32>,
    repeat_penalty: Option<f32>,
    presence_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    /// Which model answers is said on the command line.
    #[serde(rename = "model")]
    _model: Option<IgnoredAny>,
}

/// A line of OpenAI's batches.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    custom_id: Option<Id>,
    #[serde(rename = "method")]
    _method: Option<IgnoredAny>,
    url: Option<String>,
    body: Request,
}

/// What tells a line from others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a text or a whole number as id")]
pub(super) enum Id {
    /// A number that is not negative.
    Number(u64),
    /// A text.
    Text(String),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Id::Number(number) => write!(f, "{number}"),
            Id::Text(text) => write!(f, "{text:?}"),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Turn {
    role: String,
    content: Content,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a text, or parts of the type text, as content")]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Part {
    Text { text: String },
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a text or several as stop")]
enum Stop {
    One(String),
    Several(Vec<String>),
}

impl Request {
    /// Reads a line.
    ///
    /// # Errors
    /// What is no JSON, fields that are unknown, of another type or at odds with each other.
    pub(super) fn parse(line: &str) -> Result<Request> {
        #[derive(Deserialize)]
        struct Probe {
            body: Option<IgnoredAny>,
        }
        let in_envelope = matches!(serde_json::from_str(line), Ok(Probe { body: Some(_) }));
        let request = if in_envelope { Envelope::open(line)? } else { read(line)? };
        request.check()?;
        Ok(request)
    }

    fn check(&self) -> Result<()> {
        match (&self.prompt, &self.messages) {
            (None, None) => bail!("expected a prompt or messages"),
            (Some(_), Some(_)) => bail!("expected a prompt or messages, found both"),
            (None, Some(messages)) => {
                ensure!(!messages.is_empty(), "messages: expected one or more");
                ensure!(self.system.is_none(), "system: messages have one of their own");
            }
            (Some(_), None) => {}
        }
        let empty = self.stop().is_some_and(|stops| stops.iter().any(String::is_empty));
        ensure!(!empty, "stop: expected texts that are not empty");
        Ok(())
    }

    /// The prompt that is to be continued as it is.
    ///
    /// # Errors
    /// Fields that only a chat template gives a meaning.
    pub(super) fn raw_prompt(&self) -> Result<&str> {
        ensure!(self.system.is_none(), "system: with --raw there is only the prompt");
        self.prompt.as_deref().ok_or_else(|| anyhow!("messages: with --raw there is only the prompt"))
    }

    /// The conversation.
    pub(super) fn messages(&self) -> Vec<Message> {
        let system = self.system.iter().map(|text| Message::new("system", text));
        let prompt = self.prompt.iter().map(|text| Message::new("user", text));
        let turns = self.messages.iter().flatten().map(|turn| Message::new(&turn.role, turn.content.text()));
        system.chain(prompt).chain(turns).collect()
    }

    /// The stop strings, if the line has its own.
    pub(super) fn stop(&self) -> Option<Vec<String>> {
        Some(match self.stop.as_ref()? {
            Stop::One(text) => vec![text.clone()],
            Stop::Several(texts) => texts.clone(),
        })
    }

    /// What the line says of sampling.
    pub(super) fn sampling(&self) -> SamplerOverrides {
        SamplerOverrides {
            seed: self.seed.map(Some),
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repeat_penalty: self.repeat_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            ..SamplerOverrides::default()
        }
    }
}

impl Envelope {
    fn open(line: &str) -> Result<Request> {
        let Envelope { custom_id, url, body, .. } = read(line)?;
        ensure!(
            url.as_deref().is_none_or(|url| url == "/v1/chat/completions"),
            "url: expected /v1/chat/completions"
        );
        Ok(Request { id: custom_id.or(body.id), ..body })
    }
}

impl Content {
    fn text(&self) -> String {
        match self {
            Content::Text(text) => text.clone(),
            Content::Parts(parts) => parts.iter().map(|Part::Text { text }| text.as_str()).collect(),
        }
    }
}

/// Reads one JSON value. What the parser says of a line's number is about this text, so it is left out.
fn read<'l, T: Deserialize<'l>>(line: &'l str) -> Result<T> {
    serde_json::from_str(line).map_err(|error| {
        let said = error.to_string();
        let problem = said.rsplit_once(" at line ").map_or(said.as_str(), |(problem, _)| problem);
        anyhow!("{problem} at column {}", error.column())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(line: &str) -> Vec<Message> {
        Request::parse(line).unwrap().messages()
    }

    #[test]
    fn prompts_and_conversations() {
        assert_eq!(messages(r#"{"prompt": "hi"}"#), [Message::new("user", "hi")]);
        let both = [Message::new("system", "Be kind."), Message::new("user", "hi")];
        assert_eq!(messages(r#"{"prompt": "hi", "system": "Be kind."}"#), both);
        assert_eq!(
            messages(
                r#"{"messages": [{"role": "system", "content": "Be kind."},
                    {"role": "user", "content": [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]}]}"#
            ),
            both
        );
    }

    #[test]
    fn openai_s_batches_are_read() {
        let line = r#"{"custom_id": "a-1", "method": "POST", "url": "/v1/chat/completions", "body":
            {"model": "gpt", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5, "stop": "x"}}"#;
        let request = Request::parse(line).unwrap();
        assert_eq!(request.id, Some(Id::Text("a-1".into())));
        assert_eq!(request.max_tokens.unwrap().get(), 5);
        assert_eq!(request.stop().unwrap(), ["x"]);
        assert_eq!(request.messages(), [Message::new("user", "hi")]);
    }

    #[test]
    fn a_line_s_sampling_counts() {
        let line = r#"{"prompt": "", "seed": 3, "temperature": 0, "top_p": 0.5, "n_predict": 7}"#;
        let sampling = Request::parse(line).unwrap().sampling();
        assert_eq!((sampling.seed, sampling.temperature, sampling.top_k), (Some(Some(3)), Some(0.0), None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, expected) in [
            ("", "EOF while parsing a value at column 0"),
            ("[]", "at column"),
            (r#"{"prompt": "a""#, "EOF while parsing an object at column 14"),
            (r#"{"prompt": "a"} {}"#, "trailing characters at column 17"),
            (r#"{"prompt": "a", "prompt": "b"}"#, "duplicate field `prompt`"),
            (r#"{"prompt": "a", "max_token": 3}"#, "unknown field `max_token`, expected one of `"),
            (r#"{"prompt": 3}"#, "invalid type: integer `3`, expected a string at column 12"),
            (r#"{"prompt": "a", "max_tokens": 0}"#, "nonzero"),
            (r#"{"prompt": "a", "seed": -1}"#, "invalid value: integer `-1`"),
            (r#"{"prompt": "a", "id": [1]}"#, "expected a text or a whole number as id"),
            (r#"{"prompt": "a", "stop": [""]}"#, "stop: expected texts that are not empty"),
            (r#"{"id": 1}"#, "expected a prompt or messages"),
            (r#"{"prompt": "a", "messages": []}"#, "found both"),
            (r#"{"messages": []}"#, "messages: expected one or more"),
            (r#"{"messages": [{"role": "user"}]}"#, "missing field `content`"),
            (
                r#"{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}"#,
                "parts of the type text",
            ),
            (r#"{"messages": [{"role": "user", "content": "a"}], "system": "b"}"#, "system: "),
            (r#"{"url": "/v1/embeddings", "body": {"prompt": "a"}}"#, "url: expected /v1/chat/completions"),
            (&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)), "recursion limit"),
        ] {
            let error = Request::parse(line).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("line 1"), "{error}");
        }
    }
}
