//! The response piece by piece: events that say what was begun, added and finished, and what is there so far.

use super::object::{Item, Object, function_call, item};
use crate::answers::{Answers, Call, Delta, Finish};
use crate::api::id;
use crate::api::logprobs::{items, logprob};
use crate::http::{Told, Written};
use futures_util::{Stream, stream};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::iter;
use std::sync::Arc;

/// The answer as events, in pieces.
pub(super) fn events(answers: Answers, object: Object) -> impl Stream<Item = String> {
    let mut state = Streaming {
        answers,
        object,
        waiting: VecDeque::new(),
        logprobs: Vec::new(),
        number: 0,
        open: None,
        call: None,
        items: 0,
        is_over: false,
    };
    state.tell_all("response.created");
    state.tell_all("response.in_progress");
    stream::unfold(state, |mut state| async {
        let event = state.next().await?;
        Some((event, state))
    })
}

/// The item that is written.
struct Open {
    item: Item,
    id: String,
    text: String,
    logprobs: ToldTokens,
    /// Of these, those whose text is still to come.
    fresh: ToldTokens,
}

/// Tokens, each with what was told of its probability.
type ToldTokens = Vec<(u32, Arc<Told>)>;

/// An answer that is written piece by piece.
struct Streaming {
    answers: Answers,
    object: Object,
    /// What is to be written before anything else, each event in pieces.
    waiting: VecDeque<Box<dyn Iterator<Item = String> + Send>>,
    /// The probabilities of the tokens of each message, by the number of its item.
    logprobs: Vec<(usize, Arc<ToldTokens>)>,
    /// The next event's number.
    number: u64,
    open: Option<Open>,
    /// The call of a tool that is written, by the item's id.
    call: Option<(String, Call)>,
    /// How many items were finished.
    items: usize,
    is_over: bool,
}

impl Streaming {
    /// The next piece of an event; None once the last was written.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(event) = self.waiting.front_mut() {
                match event.next() {
                    Some(piece) => return Some(piece),
                    None => self.waiting.pop_front(),
                };
                continue;
            }
            if self.is_over {
                return None;
            }
            match self.answers.next().await {
                Ok(Some((_, delta))) => self.take_up(delta),
                Ok(None) => self.is_over = true,
                Err(refusal) => {
                    self.object.fail(&refusal.message);
                    self.tell_all("response.failed");
                    self.is_over = true;
                }
            }
        }
    }

    fn take_up(&mut self, delta: Delta) {
        match delta {
            Delta::Text(text) => self.write(Item::Message, &text),
            Delta::Thought(text) => self.write(Item::Thoughts, &text),
            Delta::Token(token, of) => {
                if let Some(open) = &mut self.open {
                    open.fresh.push((token, of));
                } else {
                    self.begin(Item::Message, vec![(token, of)]);
                }
            }
            Delta::Call { id: call_id, name, .. } => {
                self.finish();
                self.finish_call();
                let call = Call { id: call_id, name, arguments: String::new() };
                let id = id("fc_");
                let begun = function_call(&id, "in_progress", &call);
                let begun = json!({"output_index": self.items, "item": begun});
                self.tell("response.output_item.added", begun);
                self.call = Some((id, call));
            }
            Delta::Arguments(_, more) => {
                let Some((id, call)) = &mut self.call else { return };
                call.arguments.push_str(&more);
                let delta = json!({"item_id": id, "output_index": self.items, "delta": more});
                self.tell("response.function_call_arguments.delta", delta);
            }
            Delta::Over(outcome) => {
                let has_calls = self.call.is_some();
                if !has_calls && self.open.as_ref().is_none_or(|open| open.item == Item::Thoughts) {
                    self.finish();
                    self.begin(Item::Message, Vec::new());
                }
                self.finish();
                self.finish_call();
                self.object.end(&outcome);
                self.tell_all(match outcome.finish {
                    Finish::Stop | Finish::ToolCalls => "response.completed",
                    Finish::Length => "response.incomplete",
                });
                self.is_over = true;
            }
        }
    }

    /// Adds to the item of this kind, which is begun if another is open.
    fn write(&mut self, kind: Item, text: &str) {
        match &mut self.open {
            Some(open) if open.item == kind => {}
            // Of a token that was told before its text was.
            Some(open) if open.text.is_empty() => {
                let fresh = std::mem::take(&mut open.fresh);
                self.open = None;
                self.begin(kind, fresh);
            }
            _ => {
                self.finish();
                self.begin(kind, Vec::new());
            }
        }
        let Some(mut open) = self.open.take() else { return };
        if open.text.is_empty() {
            self.tell_begun(&open);
        }
        open.text.push_str(text);
        let fresh = std::mem::take(&mut open.fresh);
        let mut delta =
            json!({"item_id": open.id, "output_index": self.items, "content_index": 0, "delta": text});
        if kind == Item::Message {
            let tokenizer = self.answers.model.model.tokenizer();
            let fresh = fresh.iter().map(|(token, of)| logprob(*token, of, tokenizer));
            delta["logprobs"] = fresh.collect();
        }
        open.logprobs.extend(fresh);
        self.open = Some(open);
        self.tell(&format!("{}.delta", kind.events()), delta);
    }

    fn begin(&mut self, kind: Item, fresh: ToldTokens) {
        let id = match kind {
            Item::Thoughts => id("rs_"),
            Item::Message => id("msg_"),
        };
        self.open = Some(Open { item: kind, id, text: String::new(), logprobs: Vec::new(), fresh });
    }

    /// Finishes the call of a tool that is written.
    fn finish_call(&mut self) {
        let Some((id, call)) = self.call.take() else { return };
        let mut done = json!({"item_id": id, "output_index": self.items});
        (done["name"], done["arguments"]) = (json!(call.name), json!(call.arguments));
        self.tell("response.function_call_arguments.done", done);
        let whole = function_call(&id, "completed", &call);
        self.tell("response.output_item.done", json!({"output_index": self.items, "item": whole}));
        self.object.push(whole);
        self.items += 1;
    }

    /// Finishes the item that is open.
    fn finish(&mut self) {
        let Some(open) = self.open.take() else { return };
        if open.text.is_empty() && open.item == Item::Thoughts {
            return;
        }
        if open.text.is_empty() {
            self.tell_begun(&open);
        }
        let Open { item: kind, id, text, mut logprobs, fresh } = open;
        logprobs.extend(fresh);
        let at = json!({"item_id": id, "output_index": self.items, "content_index": 0});
        let logprobs = Arc::new(logprobs);
        let mut done = at.clone();
        done["text"] = json!(text);
        let mut written = Written::default();
        if kind == Item::Message {
            done["logprobs"] = self.array(&logprobs, &mut written);
        }
        self.tell_with(&format!("{}.done", kind.events()), done, written);
        let mut written = Written::default();
        let mut done = at;
        done["part"] = kind.part(&text, self.array(&logprobs, &mut written));
        self.tell_with("response.content_part.done", done, written);
        let mut written = Written::default();
        let whole = |logprobs| item(kind, &id, "completed", Some(kind.part(&text, logprobs)));
        let done = json!({
            "output_index": self.items,
            "item": whole(self.array(&logprobs, &mut written)),
        });
        self.tell_with("response.output_item.done", done, written);
        self.object.push(whole(json!([])));
        self.logprobs.push((self.items, logprobs));
        self.items += 1;
    }

    /// What stands for an array of probabilities, which are written one by one.
    fn array(&self, logprobs: &Arc<ToldTokens>, written: &mut Written) -> Value {
        let logprobs = Arc::clone(logprobs);
        let each = (0..logprobs.len()).filter_map(move |at| logprobs.get(at).cloned());
        written.array(items(each, &self.answers.model.model, logprob))
    }

    fn tell_begun(&mut self, open: &Open) {
        let (id, part) = (&open.id, open.item.part("", json!([])));
        let begun = item(open.item, id, "in_progress", None);
        self.tell("response.output_item.added", json!({"output_index": self.items, "item": begun}));
        let at = json!({"item_id": id, "output_index": self.items, "content_index": 0, "part": part});
        self.tell("response.content_part.added", at);
    }

    /// Writes an event with all that is there so far.
    fn tell_all(&mut self, name: &str) {
        let (mut response, mut written) = (self.object.value().clone(), Written::default());
        for (at, logprobs) in &self.logprobs {
            let part = response.pointer_mut(&format!("/output/{at}/content/0/logprobs"));
            if let Some(place) = part {
                *place = self.array(logprobs, &mut written);
            }
        }
        self.tell_with(name, json!({"response": response}), written);
    }

    fn tell(&mut self, name: &str, value: Value) {
        self.tell_with(name, value, Written::default());
    }

    /// Writes an event whose long arrays are `written` when they are read.
    fn tell_with(&mut self, name: &str, mut value: Value, written: Written) {
        value["type"] = json!(name);
        value["sequence_number"] = json!(self.number);
        self.number += 1;
        let pieces = iter::once(format!("event: {name}\ndata: ")).chain(written.write(&value));
        self.waiting.push_back(Box::new(pieces.chain(iter::once("\n\n".to_owned()))));
    }
}
