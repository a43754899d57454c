use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};
use siskin::AnswerLimits;
use siskin::grammar::{Grammar, GrammarSource};
use siskin::sampler::SamplerOverrides;
use siskin::template::{Json, Message};
use siskin_kit::json::{Kind, Object};
use siskin_kit::openai::{Tokens, messages, one_of, response_format, sampling, stops, tokens, variables};
use std::fmt;

/// A line: the fields of OpenAI's chat completions that mean something here, and llama.cpp's names where those differ.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) id: Option<Id>,
    prompt: Option<String>,
    messages: Option<Vec<Message>>,
    system: Option<String>,
    tokens: Option<Tokens>,
    stop: Option<Vec<String>>,
    sampling: SamplerOverrides,
    /// What the chat template is told.
    variables: Vec<(String, Json)>,
    /// What the answer is to be, None for text; None where the line does not say.
    format: Option<Option<GrammarSource>>,
}

/// What tells a line from others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
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

/// Fields that are read, whatever they say: they change no answer of one model at home.
const UNREAD: [&str; 11] = [
    "metadata",
    "model",
    "parallel_tool_calls",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "stream_options",
    "user",
];

/// Fields that would change what comes back, and the values, as JSON, with which they do not. With another one a line is
/// refused.
const UNSUPPORTED: [(&str, &[&str]); 14] = [
    ("audio", &[]),
    ("function_call", &["\"none\"", "\"auto\""]),
    ("functions", &["[]"]),
    ("logit_bias", &["{}"]),
    ("logprobs", &["false"]),
    ("modalities", &["[\"text\"]"]),
    ("n", &["1"]),
    ("reasoning_effort", &[]),
    ("stream", &["false"]),
    ("tool_choice", &["\"none\"", "\"auto\""]),
    ("tools", &["[]"]),
    ("top_logprobs", &["0"]),
    ("verbosity", &["\"medium\""]),
    ("web_search_options", &[]),
];

/// All names that a line may have, but for those of OpenAI's.
const NAMES: &str = "id, prompt, messages, system, max_tokens, stop, seed, temperature, top_k, top_p, min_p, \
                     repeat_penalty, presence_penalty, frequency_penalty, response_format or chat_template_kwargs";

impl Request {
    /// Reads a line.
    ///
    /// # Errors
    /// What is no JSON, fields that are unknown, of another type, without support or at odds with each other.
    pub(super) fn parse(line: &str) -> Result<Request> {
        let mut fields = Object::parse(line)?;
        let request = match fields.take("body") {
            Some(body) => open(fields, Object::of("body", body)?)?,
            None => Request::read(fields)?,
        };
        request.check()?;
        Ok(request)
    }

    fn read(mut fields: Object) -> Result<Request> {
        let request = Request {
            id: one_of(&mut fields, &["id", "custom_id"], ID, id)?,
            prompt: fields.text("prompt")?,
            messages: fields.take("messages").map(messages).transpose()?,
            system: fields.text("system")?,
            tokens: tokens(&mut fields)?,
            stop: fields.take("stop").map(|value| stops(&fields.name("stop"), &value)).transpose()?,
            sampling: sampling(&mut fields)?,
            variables: fields.typed("chat_template_kwargs", "an object", variables)?.unwrap_or_default(),
            format: fields.take("response_format").map(response_format).transpose()?,
        };
        for (name, value) in fields.rest() {
            check_rest(&name, &value)?;
        }
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
        Ok(())
    }

    /// The prompt that is to be continued as it is.
    ///
    /// # Errors
    /// Fields that only a chat template gives a meaning.
    pub(super) fn raw_prompt(&self) -> Result<&str> {
        ensure!(self.system.is_none(), "system: with --raw there is only the prompt");
        ensure!(self.variables.is_empty(), "chat_template_kwargs: with --raw there is only the prompt");
        self.prompt.as_deref().ok_or_else(|| anyhow!("messages: with --raw there is only the prompt"))
    }

    /// Whether the user says nothing at all.
    pub(super) fn has_empty_prompt(&self) -> bool {
        self.prompt.as_ref().is_some_and(String::is_empty)
    }

    /// The conversation.
    pub(super) fn messages(&self) -> Vec<Message> {
        let system = self.system.iter().map(|text| Message::new("system", text));
        let prompt = self.prompt.iter().map(|text| Message::new("user", text));
        system.chain(prompt).chain(self.messages.iter().flatten().cloned()).collect()
    }

    /// When the answer ends: as the line says, or else as `otherwise` does.
    pub(super) fn limits(&self, otherwise: AnswerLimits) -> AnswerLimits {
        let mut limits = match self.tokens {
            Some(Tokens::Most(tokens)) => otherwise.tokens(tokens),
            Some(Tokens::Unlimited) => otherwise.tokens(None),
            None => otherwise,
        };
        if let Some(stop) = &self.stop {
            limits.stop.clone_from(stop);
        }
        limits
    }

    /// What the line tells the chat template.
    pub(super) fn variables(&self) -> &[(String, Json)] {
        &self.variables
    }

    /// The grammar that the answer keeps to: what the line says, compiled, or else what the flags do.
    ///
    /// # Errors
    /// One that cannot be kept to.
    pub(super) fn grammar(
        &self,
        otherwise: Option<&Grammar>,
        compile: impl FnOnce(&GrammarSource) -> Result<Grammar>,
    ) -> Result<Option<Grammar>> {
        match &self.format {
            None => Ok(otherwise.cloned()),
            Some(None) => Ok(None),
            Some(Some(source)) => compile(source).context("response_format").map(Some),
        }
    }

    /// What the line says of sampling.
    pub(super) fn sampling(&self) -> &SamplerOverrides {
        &self.sampling
    }
}

/// A line of OpenAI's batches.
fn open(mut envelope: Object, body: Object) -> Result<Request> {
    let custom_id = envelope.typed("custom_id", ID, id)?;
    let url = envelope.text("url")?;
    let chat = url.is_none_or(|url| url == "/v1/chat/completions");
    ensure!(chat, "url: expected /v1/chat/completions");
    envelope.take("method");
    if let Some((name, _)) = envelope.rest().first() {
        bail!("{name}: beside a body, expected custom_id, method or url");
    }
    let request = Request::read(body)?;
    Ok(Request { id: custom_id.or(request.id), ..request })
}

const ID: &str = "a text or a whole number of at least 0";

fn id(value: &Json) -> Option<Id> {
    match value {
        Json::String(text) => Some(Id::Text(text.clone())),
        Json::Integer(number) => u64::try_from(*number).ok().map(Id::Number),
        _ => None,
    }
}

/// Refuses a field that is unknown, or asks for what there is not.
fn check_rest(name: &str, value: &Json) -> Result<()> {
    if UNREAD.contains(&name) {
        return Ok(());
    }
    let Some((_, neutral)) = UNSUPPORTED.iter().find(|(known, _)| *known == name) else {
        bail!("{name}: there is no such field, expected {NAMES}")
    };
    let same = |text: &&str| text.parse::<Json>().is_ok_and(|neutral| neutral == *value);
    match neutral.first() {
        _ if *value == Json::Null || neutral.iter().any(same) => Ok(()),
        Some(text) => bail!("{name}: only {text} is supported, found {}", Kind(value)),
        None => bail!("{name} is not supported"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(line: &str) -> Vec<Message> {
        Request::parse(line).unwrap().messages()
    }

    /// The line's limits, under flags that say 3 tokens.
    fn limits(request: &Request) -> (Option<usize>, Vec<String>) {
        let AnswerLimits { tokens, stop, .. } =
            request.limits(AnswerLimits::default().tokens(3).stop(vec!["flag".to_owned()]));
        (tokens, stop)
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
        assert_eq!(limits(&request), (Some(5), vec!["x".to_owned()]));
        assert_eq!(request.messages(), [Message::new("user", "hi")]);
    }

    #[test]
    fn what_changes_no_answer_is_read() {
        let line = r#"{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {
            "model": "gpt", "messages": [{"role": "user", "content": "hi", "name": "Ada"}], "n": 1, "stream": false,
            "stream_options": null, "user": "u", "store": true, "metadata": {"a": "b"}, "service_tier": "auto",
            "logprobs": false, "top_logprobs": null, "logit_bias": {}, "response_format": {"type": "text"},
            "tools": [], "tool_choice": "auto", "parallel_tool_calls": true, "modalities": ["text"], "audio": null,
            "reasoning_effort": null, "max_completion_tokens": 4, "max_tokens": null, "seed": null, "stop": null}}"#;
        let request = Request::parse(line).unwrap();
        assert_eq!(request.messages(), [Message::new("user", "hi").with("name", "Ada")]);
        assert_eq!(limits(&request), (Some(4), vec!["flag".to_owned()]));
        assert_eq!(*request.sampling(), SamplerOverrides::default());
    }

    #[test]
    fn what_would_change_an_answer_is_refused_by_name() {
        for (field, expected) in [
            (r#""n": 2"#, "n: only 1 is supported, found 2"),
            (r#""stream": true"#, "stream: only false is supported, found true"),
            (r#""logprobs": true"#, "logprobs: only false is supported, found true"),
            (r#""tools": [{"type": "function"}]"#, "tools: only [] is supported, found an array"),
            (
                r#""response_format": {"type": "json_objects"}"#,
                "response_format.type: expected text, json_object or json_schema, found \"json_objects\"",
            ),
            (r#""reasoning_effort": "low""#, "reasoning_effort is not supported"),
            (r#""logit_bias": {"5": -100}"#, "logit_bias: only {} is supported"),
        ] {
            let line = format!(r#"{{"messages": [{{"role": "user", "content": "hi"}}], {field}}}"#);
            let error = Request::parse(&line).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn an_assistant_may_call_tools_and_say_nothing() {
        let line = r#"{"messages": [{"role": "user", "content": "warm?"},
            {"role": "assistant", "content": null, "refusal": null, "tool_calls": [{"id": "1", "type": "function",
                "function": {"name": "sensor", "arguments": "{\"room\": \"attic\"}"}}]},
            {"role": "tool", "tool_call_id": "1", "content": "21"}]}"#;
        let [_, assistant, tool] = messages(line).try_into().unwrap();
        assert_eq!((assistant.role.as_str(), assistant.content.as_str()), ("assistant", ""));
        let [(calls, value), (refusal, _)] = assistant.fields.try_into().unwrap();
        assert_eq!((calls.as_str(), refusal.as_str()), ("tool_calls", "refusal"));
        let written = r#"[{"id": "1", "type": "function",
            "function": {"name": "sensor", "arguments": {"room": "attic"}}}]"#;
        assert_eq!(value, written.parse().unwrap());
        assert_eq!(tool, Message::new("tool", "21").with("tool_call_id", "1"));
    }

    #[test]
    fn a_line_may_lift_the_limit() {
        for line in [r#"{"prompt": "a", "n_predict": -1}"#, r#"{"prompt": "a", "max_tokens": -1}"#] {
            assert_eq!(limits(&Request::parse(line).unwrap()).0, None);
        }
        assert_eq!(limits(&Request::parse(r#"{"prompt": "a"}"#).unwrap()).0, Some(3));
    }

    #[test]
    fn a_line_s_sampling_counts() {
        let line = r#"{"prompt": "", "seed": 3, "temperature": 0, "top_p": 0.5, "n_predict": 7}"#;
        let request = Request::parse(line).unwrap();
        let sampling = request.sampling();
        assert_eq!((sampling.seed, sampling.temperature, sampling.top_k), (Some(Some(3)), Some(0.0), None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, expected) in [
            ("", "EOF while parsing a value at column 0"),
            ("[]", "expected an object, found an array"),
            (r#"{"prompt": "a""#, "EOF while parsing an object at column 14"),
            (r#"{"prompt": "a"} {}"#, "trailing characters at column 17"),
            (r#"{"prompt": "a", "prompt": "b"}"#, "prompt is there twice"),
            (
                r#"{"prompt": "a", "max_token": 3}"#,
                "max_token: there is no such field, expected id, prompt, ",
            ),
            (r#"{"prompt": "a", "max_token": null}"#, "max_token: there is no such field"),
            (r#"{"prompt": 3}"#, "prompt: expected a text, found 3"),
            (
                r#"{"prompt": "a", "max_tokens": 0}"#,
                "max_tokens: expected a whole number of at least 1, or -1",
            ),
            (r#"{"prompt": "a", "max_tokens": 1, "n_predict": 2}"#, "max_tokens and n_predict: expected one"),
            (r#"{"prompt": "a", "seed": -1}"#, "seed: expected a whole number from 0 to 2^64 - 1, found -1"),
            (
                r#"{"prompt": "a", "top_k": 1e9}"#,
                "top_k: expected a whole number below 2^31, found 1000000000.0",
            ),
            (r#"{"prompt": "a", "temperature": "hot"}"#, "temperature: expected a number, found \"hot\""),
            (
                r#"{"prompt": "a", "id": [1]}"#,
                "id: expected a text or a whole number of at least 0, found an array",
            ),
            (
                r#"{"prompt": "a", "chat_template_kwargs": 1}"#,
                "chat_template_kwargs: expected an object, found 1",
            ),
            (
                r#"{"prompt": "a", "stop": ["b", ""]}"#,
                "stop[1]: expected a text that is not empty, found \"\"",
            ),
            (
                r#"{"body": {"prompt": "a", "stop": [2]}}"#,
                "body.stop[0]: expected a text that is not empty, found 2",
            ),
            (r#"{"prompt": "a", "stop": 1}"#, "stop: expected a text or several that are not empty"),
            (r#"{"id": 1}"#, "expected a prompt or messages"),
            (r#"{"prompt": "a", "messages": []}"#, "found both"),
            (r#"{"messages": []}"#, "messages: expected one or more"),
            (r#"{"messages": {}}"#, "messages: expected an array, found an object"),
            (r#"{"messages": ["hi"]}"#, "messages[0]: expected an object, found \"hi\""),
            (r#"{"messages": [{"content": "a"}]}"#, "messages[0].role is missing, expected a text"),
            (r#"{"messages": [{"role": "user"}]}"#, "messages[0].content is missing, expected a text"),
            (
                r#"{"messages": [{"role": "user", "content": 1}]}"#,
                "messages[0].content: expected a text or an array",
            ),
            (
                r#"{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}"#,
                "messages[0].content[0].type: only \"text\" is supported, found \"image_url\"",
            ),
            (r#"{"messages": [{"role": "user", "content": "a"}], "system": "b"}"#, "system: "),
            (r#"{"url": "/v1/embeddings", "body": {"prompt": "a"}}"#, "url: expected /v1/chat/completions"),
            (r#"{"body": {"prompt": 1}}"#, "body.prompt: expected a text, found 1"),
            (r#"{"body": "a"}"#, "body: expected an object, found \"a\""),
            (
                r#"{"body": {"prompt": "a"}, "temperature": 1}"#,
                "temperature: beside a body, expected custom_id",
            ),
            (&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)), "nest deeper than 64"),
        ] {
            let error = Request::parse(line).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("line 1"), "{error}");
            for word in ["struct", "enum", "map", "integer", "u32", "u64", "i32", "variant", "string"] {
                assert!(!error.contains(word), "{error}");
            }
        }
    }
}
