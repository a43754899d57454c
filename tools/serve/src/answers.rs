//! Answers as they come from a worker, in no API's own words.

use crate::audit::Record;
use crate::http::Told;
use crate::models::Loaded;
use crate::refusal::Refusal;
use crate::tools::call_id;
use crate::worker::{Event, EventReceiver};
use serde_json::{Map, Value};
use siskin::tool_calls::{ToolPiece, ToolReader};
use siskin::{Channel, Ending};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// What is new of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Delta {
    /// More of what is said.
    Text(String),
    /// More of what the model thought before.
    Thought(String),
    /// A call of a tool begins.
    Call {
        /// Its number among those of the answer, from 0.
        number: usize,
        id: String,
        /// The tool's name.
        name: String,
    },
    /// More of the arguments of the call with this number, a text that is JSON once it is whole.
    Arguments(usize, String),
    /// A token of either, for whoever asked for probabilities.
    Token(u32, Arc<Told>),
    /// There is no more.
    Over(Outcome),
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// The model ended its turn, or a stop string came.
    Stop,
    /// The model ended its turn with calls of tools.
    ToolCalls,
    /// There were as many tokens as were asked for, or as the context has room for; or a stop string cut a call.
    Length,
}

/// What an answer was in all.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) finish: Finish,
    /// The stop string before which it ended.
    pub(crate) stop: Option<String>,
    /// Tokens of the answer, thoughts included.
    pub(crate) tokens: usize,
    pub(crate) all_tokens: Vec<u32>,
    /// How many of them are thoughts.
    pub(crate) thought_tokens: usize,
    /// Tokens of the prompt that were there already.
    pub(crate) cached_tokens: usize,
    pub(crate) times: Times,
}

/// How long an answer took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    /// From the request to the first step of its work.
    pub(crate) queued: Duration,
    /// From there until the prompt was read.
    pub(crate) prompt: Duration,
    /// From there to the end.
    pub(crate) answer: Duration,
}

/// One or several answers to a prompt, as they come. Dropping it ends their work.
pub(crate) struct Answers {
    pub(crate) model: Arc<Loaded>,
    /// The name by which the request called the model.
    pub(crate) name: String,
    pub(crate) prompt_tokens: usize,
    /// The seed of the first answer.
    pub(crate) seed: u64,
    /// How long it took to have the model in memory.
    pub(crate) loading: Duration,
    /// What the worker tells.
    pub(crate) events: EventReceiver,
    /// Whether nobody is told of anything before an answer is over.
    pub(crate) collects: bool,
    /// Answers that are not over.
    pub(crate) unfinished: usize,
    pub(crate) record: Record,
    /// What reads calls of tools out of each answer, where there are tools.
    pub(crate) readers: Vec<ToolReader>,
    /// What was read and not told.
    pub(crate) waiting: VecDeque<(usize, Delta)>,
    /// What its grammar has of the room for those at work.
    pub(crate) _grammar: Option<OwnedSemaphorePermit>,
}

impl Answers {
    /// The next news, and the number of the answer that it is of; None once all are over.
    ///
    /// # Errors
    /// What went wrong with an answer. There is nothing more of any then.
    pub(crate) async fn next(&mut self) -> Result<Option<(usize, Delta)>, Refusal> {
        loop {
            if let Some(ready) = self.waiting.pop_front() {
                return Ok(Some(ready));
            }
            if self.unfinished == 0 {
                return Ok(None);
            }
            let event = match self.collects {
                true => self.events.next_of_many().await,
                false => self.events.next().await,
            };
            let Some((index, event)) = event else {
                self.unfinished = 0;
                return Err(Refusal::internal("the model's thread has ended"));
            };
            if let Event::Piece(..) = event {
                self.record.came(index);
            }
            let delta = match event {
                Event::Piece(Channel::Text, text) => match self.readers.get_mut(index) {
                    Some(reader) => {
                        reader.push(&text, |piece| self.waiting.push_back((index, read(piece))));
                        continue;
                    }
                    None => Delta::Text(text),
                },
                Event::Piece(Channel::Thoughts, text) => Delta::Thought(text),
                Event::Piece(Channel::Mark, _) => continue,
                Event::Token(token, logprobs) => Delta::Token(token, logprobs),
                Event::Over(over) => {
                    self.unfinished -= 1;
                    let (mut has_calls, mut is_cut) = (false, false);
                    if let Some(reader) = self.readers.get_mut(index) {
                        reader.finish(|piece| self.waiting.push_back((index, read(piece))));
                        (has_calls, is_cut) = (reader.calls() > 0, reader.is_cut());
                    }
                    let finish = match over.ending {
                        // A stop string came in the midst of a call.
                        Ending::Complete if is_cut => Finish::Length,
                        Ending::Complete if has_calls => Finish::ToolCalls,
                        Ending::Complete => Finish::Stop,
                        Ending::Limit | Ending::ContextFull => Finish::Length,
                        Ending::Cancelled | Ending::Failed => {
                            self.unfinished = 0;
                            let said = over.error.unwrap_or_else(|| "the answer was broken off".to_owned());
                            return Err(match over.is_wrong {
                                true => Refusal::invalid(said),
                                false => Refusal::internal(said),
                            });
                        }
                    };
                    let outcome = Outcome {
                        finish,
                        stop: over.stop,
                        tokens: over.tokens.len(),
                        all_tokens: over.tokens,
                        thought_tokens: over.thought_tokens,
                        cached_tokens: over.reused,
                        times: over.times,
                    };
                    self.record.over(index, &outcome);
                    self.waiting.push_back((index, Delta::Over(outcome)));
                    continue;
                }
                // No answer is one.
                Event::Embedded(_) => continue,
                Event::Refused(refusal) => {
                    self.unfinished = 0;
                    return Err(refusal);
                }
            };
            return Ok(Some((index, delta)));
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        // What came for whoever goes away is counted, read or not.
        while let Some((index, event)) = self.events.next_of_those_there() {
            if let Event::Piece(..) = event {
                self.record.came(index);
            }
        }
    }
}

/// What a reader tells.
fn read(piece: ToolPiece) -> Delta {
    match piece {
        ToolPiece::Text(text) => Delta::Text(text),
        ToolPiece::Call { number, name, id } => Delta::Call { number, id: id.unwrap_or_else(call_id), name },
        ToolPiece::Arguments(number, more) => Delta::Arguments(number, more),
    }
}

/// A call of a tool.
#[derive(Clone, Debug, Default)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    /// JSON, unless the answer was cut within it.
    pub(crate) arguments: String,
}

impl Call {
    /// The arguments as an object, which is empty where they were cut.
    pub(crate) fn object(&self) -> Value {
        serde_json::from_str(&self.arguments).unwrap_or_else(|_| Value::Object(Map::new()))
    }
}

/// An answer, whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Whole {
    pub(crate) text: String,
    pub(crate) thoughts: String,
    pub(crate) calls: Vec<Call>,
    pub(crate) logprobs: Vec<(u32, Arc<Told>)>,
    pub(crate) outcome: Option<Outcome>,
}

impl Answers {
    /// All answers, once the last is over, in their order.
    ///
    /// # Errors
    /// As for [`Answers::next`].
    pub(crate) async fn whole(&mut self) -> Result<Vec<Whole>, Refusal> {
        self.collects = true;
        let mut all = vec![Whole::default(); self.unfinished];
        while let Some((index, delta)) = self.next().await? {
            let Some(whole) = all.get_mut(index) else { continue };
            match delta {
                Delta::Text(text) => whole.text.push_str(&text),
                Delta::Thought(text) => whole.thoughts.push_str(&text),
                Delta::Call { id, name, .. } => {
                    whole.calls.push(Call { id, name, ..Call::default() });
                }
                Delta::Arguments(number, more) => {
                    if let Some(call) = whole.calls.get_mut(number) {
                        call.arguments.push_str(&more);
                    }
                }
                Delta::Token(token, logprobs) => whole.logprobs.push((token, logprobs)),
                Delta::Over(outcome) => whole.outcome = Some(outcome),
            }
        }
        Ok(all)
    }
}
