//! What texts come to as a whole, for whoever compares them.

use crate::ask::{KeepAlive, Prompt};
use crate::http;
use crate::refusal::Refusal;
use crate::server::{Server, check_prompt, prompt_tokens};
use crate::worker::{Client, Event, Job, Task, event_channel};
use std::time::{Duration, Instant};

/// A request for the embeddings of some texts.
pub(crate) struct EmbedAsk {
    /// As for an [`Ask`](crate::ask::Ask).
    pub(crate) model: Option<String>,
    pub(crate) texts: Vec<Prompt>,
    /// Whether a text that is too long is cut, and not refused.
    pub(crate) truncate: bool,
    pub(crate) keep_alive: Option<KeepAlive>,
}

/// What texts come to: the mean over their tokens of the activations that logits are made of, as vectors of length 1.
pub(crate) struct Embeddings {
    /// The name by which the request called the model.
    pub(crate) name: String,
    pub(crate) vectors: Vec<Vec<f32>>,
    /// Tokens of all texts.
    pub(crate) tokens: usize,
    pub(crate) loading: Duration,
    pub(crate) all: Duration,
}

impl Server {
    /// The embeddings of texts, once all are worked out.
    ///
    /// # Errors
    /// As for [`Server::answer`].
    pub(crate) async fn embed(&self, client: Client, ask: EmbedAsk) -> Result<Embeddings, Refusal> {
        let asked = Instant::now();
        let (name, named) = self.models.split(ask.model.as_deref());
        let (model, loading) = self.models.open(name, ask.keep_alive).await?;
        let names: Vec<(String, f32)> = named.into_iter().map(|name| (name.to_owned(), 1.0)).collect();
        let adapters = model.named_adapters(&names)?;
        let name = ask.model.clone().unwrap_or_else(|| model.name.clone());
        let mut texts = Vec::with_capacity(ask.texts.len());
        for mut text in ask.texts {
            if let (true, Prompt::Given(text)) = (ask.truncate, &mut text) {
                text.truncate(text.floor_char_boundary(model.texts.longest()));
            }
            let mut tokens = prompt_tokens(&model, text).await?;
            if ask.truncate {
                tokens.truncate(model.context - 1);
            }
            check_prompt(&model, &tokens)?;
            texts.push(tokens);
        }
        // No more of them wait at a time than are worked on at once: others come in between.
        let most = texts.len().min(model.worker.places());
        model.worker.check_room(most)?;
        let all: usize = texts.iter().map(Vec::len).sum();
        // Nothing else is left of the body.
        http::give_back();
        self.room.take_anew(all * size_of::<u32>()).await;
        let mut reserved = client.reserve(1, all)?;
        let mut vectors = vec![Vec::new(); texts.len()];
        let mut is_counted = false;
        let mut texts = texts.into_iter().enumerate().peekable();
        while texts.peek().is_some() {
            let (sender, mut events) = event_channel();
            let mut left = 0;
            for (index, tokens) in texts.by_ref().take(most) {
                let task = Task::Embed { tokens, adapters: adapters.clone() };
                let (client, events) = (Client::clone(&client), sender.clone());
                let deadline = asked + self.options.answer_time;
                let told = self.room.told().clone();
                model.worker.ask(Job { client, task, index, asked, deadline, events, told })?;
                left += 1;
            }
            drop(sender);
            while left > 0 {
                match events.next().await {
                    Some((index, Event::Embedded(mean))) => {
                        if !std::mem::replace(&mut is_counted, true) {
                            // All are there until they are read.
                            self.room.take_more(vectors.len() * mean.len() * size_of::<f32>())?;
                        }
                        if let Some(vector) = vectors.get_mut(index) {
                            *vector = unit(&mean);
                            left -= 1;
                        }
                    }
                    Some((_, Event::Refused(refusal))) => return Err(refusal),
                    Some((_, Event::Over(over))) => {
                        let said = over.error.unwrap_or_else(|| "the text was not worked out".to_owned());
                        return Err(Refusal::internal(said));
                    }
                    Some(_) => {}
                    None => return Err(Refusal::internal("the model's thread has ended")),
                }
            }
        }
        reserved.count(all);
        Ok(Embeddings { name, vectors, tokens: all, loading, all: asked.elapsed() })
    }
}

/// The vector of length 1 in the same direction. One of length 0 stays.
fn unit(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    let scale = if length > 0.0 { 1.0 / length } else { 1.0 };
    vector.iter().map(|&x| (f64::from(x) * scale) as f32).collect()
}
