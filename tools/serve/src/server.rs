//! The server as a whole: from where it begins to what each request asks of it, in no API's own words.

use crate::answers::Answers;
use crate::api;
use crate::ask::{Ask, Chat, Format, Part, Prompt};
use crate::audit::{Audit, Manner, Record};
use crate::http::{self, Listener, Room, Signals};
use crate::infill;
use crate::keys::Keys;
use crate::models::{Loaded, Models};
use crate::options::ServeOptions;
use crate::refusal::{Reason, Refusal};
use crate::refusals::Refusals;
use crate::systemd;
use crate::tools;
use crate::truncation;
use crate::worker::{Client, Job, Task, event_channel};
use anyhow::{Context, Result};
use axum::http::HeaderValue;
use serde_json::json;
use siskin::AnswerRequest;
use siskin::grammar::Grammar;
use siskin::sampler::SamplerOptions;
use siskin::template::{Json, Rendering};
use siskin::tokenizer::Special;
use siskin::{Error, Model, SessionError};
use siskin_kit::one_line;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime;
use tokio::sync::{Notify, Semaphore};

/// What all requests share.
pub(crate) struct Server {
    pub(crate) options: Arc<ServeOptions>,
    pub(crate) models: Models,
    /// Seconds since 1970 when the server began.
    pub(crate) created: u64,
    pub(crate) keys: Arc<Keys>,
    audit: Option<Arc<Audit>>,
    /// Origins whose pages may ask.
    pub(crate) origins: Vec<HeaderValue>,
    /// Whether only this machine can connect.
    pub(crate) is_local: bool,
    /// Memory for what clients send.
    pub(crate) room: Room,
    /// What was refused lately.
    pub(crate) refusals: Refusals,
    /// A place for a document that is being read.
    pub(crate) reading: Arc<Semaphore>,
}

/// A server that clients can connect to.
#[derive(Clone, Debug)]
pub struct Started {
    address: String,
    stop: Arc<Notify>,
}

impl Started {
    /// Where it listens, as clients would write it: `http://127.0.0.1:8080`, `unix:/run/siskin.sock`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Has the server end, as SIGTERM does.
    pub fn stop(&self) {
        self.stop.notify_one();
    }
}

/// Serves until the process is asked to end (SIGTERM, SIGINT): what is under way has some seconds then. `ready` is told once
/// clients can connect.
///
/// # Errors
/// An address that cannot be had, and models that cannot be opened.
pub fn serve(options: ServeOptions, ready: impl FnOnce(&Started)) -> Result<()> {
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(HTTP_THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(KEEP_ALIVE)
        .thread_name("http")
        .enable_all()
        .build()
        .context("the server's threads")?;
    let done = runtime.block_on(async {
        let listener = Listener::open(&options.listen).await?;
        let server = Arc::new(Server::new(options, listener.is_local())?);
        // What is wrong with the first model shows before anybody asks.
        let first = server.models.open_first().await?;
        first.tell(server.options.log);
        drop(first);
        // Who is told that clients can connect may end it at once.
        let signals = Signals::hear()?;
        let started = Started { address: listener.name(), stop: Arc::default() };
        ready(&started);
        systemd::is_ready();
        let tidy = tokio::spawn(tidy(Arc::clone(&server)));
        let router = api::router(Arc::clone(&server));
        http::accept(listener, Arc::clone(&server), router, signals, &started.stop).await;
        tidy.abort();
        Ok(())
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

/// How long a thread that reads and writes files waits for more to do, before it ends and gives back what it took.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// Threads for connections. They only parse and write; models have threads of their own, whose CPU each of these takes where a
/// token comes: of two, one wakes the other every time.
const HTTP_THREADS: usize = 1;
/// Threads that load models and make prompts, at most.
const BLOCKING_THREADS: usize = 8;

async fn tidy(server: Arc<Server>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.models.tidy().await;
        systemd::is_alive();
    }
}

impl Server {
    fn new(options: ServeOptions, is_local: bool) -> Result<Self> {
        let origins =
            options.origins.iter().map(|origin| http::named_origin(origin)).collect::<Result<_>>()?;
        if let Some(folder) = options.reports.as_ref().filter(|folder| !folder.is_dir()) {
            anyhow::bail!("--reports {}: there is no such folder", folder.display());
        }
        let keys = Arc::new(Keys::open(options.keys.clone())?);
        let audit =
            options.audit.as_ref().map(|audit| Audit::open(audit, options.log)).transpose()?.map(Arc::new);
        let options = Arc::new(options);
        Ok(Self {
            models: Models::new(&options),
            room: Room::new(options.body),
            options,
            created: now(),
            keys,
            audit,
            origins,
            is_local,
            refusals: Refusals::default(),
            reading: Arc::new(Semaphore::new(1)),
        })
    }

    /// How tokens of a model are picked where a request says nothing of it.
    pub(crate) fn sampling(&self, model: &Loaded) -> SamplerOptions {
        SamplerOptions::default().overlay(model.model.sampling()).overlay(&self.options.sampling)
    }

    /// Reads the keys again.
    pub(crate) fn reload(&self) {
        match self.keys.read_again() {
            // There are none to read.
            Ok(()) if !self.keys.are_wanted() => {}
            Ok(()) => self.options.log.info("keys-read", "the keys were read again", json!({})),
            Err(error) => {
                let said = format!("the keys stay what they were: {}", one_line(&error));
                self.options.log.warn("keys-refused", said, json!({}));
            }
        }
    }

    /// Says that the server is about to end.
    pub(crate) fn is_ending(&self) {
        systemd::is_ending();
    }

    /// Answers that a worker works on from now on.
    ///
    /// # Errors
    /// A request that is wrong, a model that is not there or has no memory, a queue that is full.
    pub(crate) async fn answer(&self, client: Client, mut ask: Ask) -> Result<Answers, Refusal> {
        let asked = Instant::now();
        let (name, named) = self.models.split(ask.model.as_deref());
        let (model, loading) = self.models.open(name, ask.keep_alive).await?;
        let named = named.into_iter().map(|name| (name.to_owned(), 1.0));
        let names: Vec<(String, f32)> = named.chain(ask.adapters.iter().cloned()).collect();
        let adapters = model.named_adapters(&names)?;
        let count = ask.answers.max(1);
        model.worker.check_room(count)?;
        let name = ask.model.clone().unwrap_or_else(|| model.name.clone());
        let reader = tools::prepare(&model, &mut ask)?;
        let thinks = matches!(&ask.prompt, Prompt::Chat(chat) if chat.think != Some(false));
        let prompt = prompt_tokens(&model, ask.prompt).await?;
        check_prompt(&model, &prompt)?;
        let (grammar, grammar_share) = match &ask.format {
            Some(format) => {
                // Nothing else is left of the body.
                http::give_back();
                self.room.take_anew(format.source.to_named().1.len()).await;
                let share = model.grammar_room(&format.source, count).await?;
                (Some(compiled(&model, format.clone(), thinks).await?), Some(share))
            }
            None => (None, None),
        };
        http::give_back();

        let sampling = self.sampling(&model).overlay(&ask.sampling);
        sampling.validate().map_err(Refusal::invalid)?;
        let vocabulary = model.model.vocabulary();
        if let Some((token, _)) = sampling.logit_bias.iter().find(|(token, _)| *token as usize >= vocabulary)
        {
            let said = format!("logit_bias: the vocabulary has {vocabulary} tokens, and none is {token}");
            return Err(Refusal::invalid(said));
        }
        let seed = sampling.seed.unwrap_or_else(draw_seed);
        let (limits, special) = (&ask.limits, ask.special);
        let format = ask.format.as_ref().map(|format| (&format.source, thinks));
        let manner = Manner { sampling: &sampling, seed, limits, special, adapters: &names, format };
        let record = Record::new(self.audit.as_ref(), &client, &model, &prompt, &manner, count)?;
        let (sender, events) = event_channel();
        let prompt_tokens = prompt.len();
        for index in 0..count {
            let request = AnswerRequest::new(prompt.clone())
                .sampling(sampling.clone().seed(seed.wrapping_add(index as u64)))
                .limits(ask.limits.clone())
                .special(ask.special)
                .adapters(adapters.clone())
                .grammar(grammar.clone())
                .logprobs(ask.logprobs);
            let (client, events) = (Arc::clone(&client), sender.clone());
            let deadline = asked + self.options.answer_time;
            let task = Task::Answer(Box::new(request));
            model.worker.ask(Job {
                client,
                task,
                index,
                asked,
                deadline,
                events,
                told: self.room.told().clone(),
            })?;
        }
        let readers = reader.into_iter().cycle().take(count).collect();
        let waiting = VecDeque::new();
        Ok(Answers {
            model,
            name,
            prompt_tokens,
            seed,
            loading,
            events,
            collects: false,
            unfinished: count,
            record,
            readers,
            waiting,
            _grammar: grammar_share,
        })
    }
}

/// The grammar of a format, compiled where nobody waits for it. The model thinks before it, or it does not.
///
/// # Errors
/// A source that is wrong or cannot be kept to, and a server without grammars.
async fn compiled(model: &Arc<Loaded>, format: Format, thinks: bool) -> Result<Grammar, Refusal> {
    let of = Arc::clone(model);
    let compile = move || {
        let named = |field: &str, refusal: Refusal| Refusal {
            message: format!("{field}: {}", refusal.message),
            ..refusal
        };
        of.grammar(&format.source).map_err(|refusal| {
            let wrong = |(field, part): &(String, _)| Some(named(field, of.grammar(part).err()?));
            format.parts.iter().find_map(wrong).unwrap_or_else(|| named(format.field, refusal))
        })
    };
    let _turn = model.grammar_turn().await?;
    let grammar = tokio::task::spawn_blocking(compile).await.map_err(Refusal::internal)??;
    Ok(if thinks { grammar } else { grammar.without_thoughts() })
}

/// The tokens of a prompt, made where nobody waits for it.
///
/// # Errors
/// A prompt that the model takes none of.
pub(crate) async fn prompt_tokens(model: &Loaded, prompt: Prompt) -> Result<Vec<u32>, Refusal> {
    let prompt = match prompt {
        Prompt::Chat(chat) => Prompt::Chat(tools::placed(model.syntax, chat)),
        other => other,
    };
    let prompt = match prompt {
        Prompt::Chat(chat) if chat.forgets => {
            Prompt::Chat(truncation::shortened(chat, model.texts.longest()))
        }
        other => other,
    };
    let _room = model.texts.take(prompt.bytes()).await?;
    let (context, model) = (model.context, model.model.clone());
    let tokens = tokio::task::spawn_blocking(move || tokens(&model, &prompt, context)).await;
    tokens.map_err(Refusal::internal)?
}

fn tokens(model: &Model, prompt: &Prompt, context: usize) -> Result<Vec<u32>, Refusal> {
    match prompt {
        Prompt::Chat(chat) => {
            let tokens = match chat.forgets {
                true => truncation::tokens(model, chat, context),
                false => model.chat_tokens_with(&chat.messages, &rendering(model, chat)),
            };
            tokens.map_err(|error| Refusal::invalid(format_args!("messages: {error}")))
        }
        Prompt::Given(text) => Ok(model.text_tokens(text)),
        Prompt::Parts(parts) => Ok(joined(model, parts)),
        Prompt::Infill(text) => infill::tokens(model.tokenizer(), text),
    }
}

/// The tokens of parts. Only a text at the beginning has the token before it that begins a text.
fn joined(model: &Model, parts: &[Part]) -> Vec<u32> {
    let mut tokens = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        match part {
            Part::Text(text) if index == 0 => tokens = model.text_tokens_with(text, Special::Parse),
            Part::Text(text) => model.tokenizer().encode(text.as_bytes(), Special::Parse, &mut tokens),
            Part::Token(token) => tokens.push(*token),
        }
    }
    tokens
}

/// What a template is told of a conversation.
pub(crate) fn rendering(model: &Model, chat: &Chat) -> Rendering {
    let switch = model.chat_template().thinking_variable().zip(chat.think);
    let switch = switch.map(|(name, on)| (name.to_owned(), Json::from(on)));
    let named = |name: &str| chat.variables.iter().any(|(variable, _)| variable == name);
    let variables = switch.into_iter().filter(|(name, _)| !named(name)).chain(chat.variables.iter().cloned());
    Rendering::default().tools(chat.tools.clone()).variables(variables.collect())
}

/// Refuses a prompt that cannot be answered.
pub(crate) fn check_prompt(model: &Loaded, prompt: &[u32]) -> Result<(), Refusal> {
    let (tokens, context) = (prompt.len(), model.context);
    if tokens == 0 {
        return Err(Refusal::invalid("the prompt is empty"));
    }
    if tokens >= context {
        let said =
            format!("the prompt has {tokens} tokens, the context has room for {context} with the answer");
        return Err(Refusal::new(Reason::ContextExceeded { prompt: Some(tokens), context }, said));
    }
    let vocabulary = model.model.vocabulary();
    match prompt.iter().find(|&&token| token as usize >= vocabulary) {
        Some(&token) => Err(Refusal::invalid(Error::from(SessionError::Token { token, vocabulary }))),
        None => Ok(()),
    }
}

/// A seed that nobody chose. It is below 2^53, so that clients whose numbers are floats read it right.
fn draw_seed() -> u64 {
    // Its keys are random, from the operating system.
    RandomState::new().hash_one(0) >> 11
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
