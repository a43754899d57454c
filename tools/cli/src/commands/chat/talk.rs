//! What was said in a conversation, which outlives the model that says it, and the file that it is kept in.

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use siskin::sampler::Chance;
use siskin::template::{Json, Message};
use siskin_kit::{Inputs, Output, read_at_most};
use std::fs;
use std::io::Write;
use std::path::Path;

/// Bytes of the longest conversation that is read.
const LONGEST: u64 = 64 << 20;

/// What thoughts are called, beside what was said, where chat templates look for them.
const THOUGHTS: &str = "reasoning_content";

/// The messages of a conversation.
#[derive(Default)]
pub(super) struct Talk {
    /// What the model is told before it.
    pub(super) system: Option<String>,
    pub(super) messages: Vec<Message>,
    /// How many of these, from the first on, the model does not see any more.
    pub(super) forgotten: usize,
    /// Messages and their answers, those that can be taken back.
    pub(super) exchanges: Vec<Exchange>,
    /// The last message, where it got no answer and is none of the conversation's.
    pub(super) unanswered: Option<String>,
}

/// A message of the user, and how all was before it.
#[derive(Clone)]
pub(super) struct Exchange {
    /// The number of the message.
    pub(super) message: usize,
    /// As [`Talk::forgotten`].
    pub(super) forgotten: usize,
    /// Tokens that the session held already; None where another session did.
    pub(super) held: Option<usize>,
    /// Where the random numbers stood; None where those of another sampler did.
    pub(super) chance: Option<Chance>,
}

/// A message as the file has it.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    role: String,
    content: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
}

/// A message of the model.
pub(super) fn said(text: &str, thoughts: &str) -> Message {
    let said = Message::new("assistant", text);
    match thoughts.trim() {
        "" => said,
        thoughts => said.with(THOUGHTS, thoughts),
    }
}

impl Talk {
    /// A conversation in which nothing was said yet.
    pub(super) fn new(system: Option<&str>) -> Talk {
        Talk { system: system.map(str::to_owned), ..Talk::default() }
    }

    /// What the model sees.
    pub(super) fn seen(&self) -> Vec<Message> {
        self.opening().chain(self.messages.iter().skip(self.forgotten).cloned()).collect()
    }

    /// What the model is told before it.
    pub(super) fn opening(&self) -> impl Iterator<Item = Message> {
        self.system.iter().map(|text| Message::new("system", text.as_str()))
    }

    /// Forgets the oldest message that the model sees and the answer to it, unless there is only one. Whether it did.
    pub(super) fn forget_oldest(&mut self) -> bool {
        let next = self.messages.iter().enumerate().skip(self.forgotten + 1);
        let next = next.filter(|(_, message)| message.role == "user").map(|(number, _)| number).next();
        self.forgotten = next.unwrap_or(self.forgotten);
        next.is_some()
    }

    /// Forgets where sessions and samplers stood, as another model's will.
    pub(super) fn leave_session(&mut self) {
        self.exchanges.iter_mut().for_each(|exchange| (exchange.held, exchange.chance) = (None, None));
        self.forgotten = 0;
    }

    /// Writes the messages to a JSON file: an array of objects with `role` and `content`, and `reasoning_content` of
    /// thoughts. Those that the model has forgotten are there, too.
    ///
    /// # Errors
    /// A file that is there already, unless it is to be replaced; what the file system says.
    pub(super) fn save(&self, path: &Path, replace: bool, inputs: &Inputs) -> Result<()> {
        let (name, is_there) = (path.display(), fs::metadata(path).is_ok_and(|found| found.is_file()));
        ensure!(replace || !is_there, "{name} is there already: /save! {name} replaces it");
        let saved = self.opening().chain(self.messages.iter().cloned()).map(|message| {
            let thoughts = message.fields.into_iter().find_map(|(name, value)| match value {
                Json::String(text) if name == THOUGHTS => Some(text),
                _ => None,
            });
            Saved { role: message.role, content: message.content, reasoning_content: thoughts }
        });
        let json = serde_json::to_string_pretty(&saved.collect::<Vec<_>>())?;
        let output = Output::create(path, inputs)?;
        writeln!(output.writer(), "{json}").with_context(|| output.name().to_owned())?;
        output.commit()
    }

    /// Reads what [`Talk::save`] wrote, or somebody else in this form.
    ///
    /// # Errors
    /// A file that is no such conversation.
    pub(super) fn load(path: &Path) -> Result<Talk> {
        ensure!(fs::metadata(path)?.is_file(), "expected a regular file");
        let bytes = read_at_most(path, LONGEST)?;
        let saved: Vec<Saved> = serde_json::from_str(&siskin_kit::text(bytes)?)
            .context("expected a conversation that /save wrote, or a model")?;
        let mut talk = Talk::default();
        for (number, Saved { role, content, reasoning_content }) in saved.into_iter().enumerate() {
            match role.as_str() {
                "system" if number == 0 => talk.system = Some(content),
                "user" => {
                    let message = talk.messages.len();
                    talk.exchanges.push(Exchange { message, forgotten: 0, held: None, chance: None });
                    talk.messages.push(Message::new("user", content));
                }
                "assistant" if !talk.messages.is_empty() => {
                    talk.messages.push(said(&content, &reasoning_content.unwrap_or_default()));
                }
                role => bail!(
                    "message {}: the role is {role:?}, expected a system message first of all, then \"user\" and \
                     \"assistant\" in turn",
                    number + 1
                ),
            }
        }
        if talk.messages.last().is_some_and(|message| message.role == "user") {
            talk.exchanges.pop();
            talk.unanswered = talk.messages.pop().map(|message| message.content);
        }
        Ok(talk)
    }
}
