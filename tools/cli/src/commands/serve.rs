//! The `serve` command: models that other programs ask over HTTP.

use crate::arguments::numbers::{count, whole};
use crate::arguments::size::Size;
use crate::arguments::{
    InputPath, MemoryLimit, NeighbourArguments, OutputPath, SamplingArguments, SessionArguments, demo_model,
    names,
};
use crate::terminal::{Told, note};
use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use serde_json::json;
use siskin::machine::give_back_freed_memory;
use siskin::template::{Json, Message};
use siskin_kit::json::{Kind, Object};
use siskin_kit::{openai, read_text};
use siskin_serve::{
    AuditOptions, Listen, LogFormat, ModelSource, Pinned, PrefixOptions, ServeOptions, check_health,
    model_name, serve,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// Answer other programs over HTTP, in the words of OpenAI's, Ollama's, Anthropic's and llama.cpp's APIs.
///
/// Answers are worked on together, and what prompts begin with in common is worked out once. An answer has the same bits as if
/// it had been asked alone.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[cfg_attr(
        feature = "demo",
        doc = "Models, GGUF files or names; the first is meant where a request names none [default: the small demo model in this program]"
    )]
    #[cfg_attr(
        not(feature = "demo"),
        doc = "Models, GGUF files or names; the first is meant where a request names none"
    )]
    #[arg(value_name = "MODEL", value_parser = names::model())]
    models: Vec<InputPath>,
    /// A LoRA adapter, a GGUF file, which requests can have: FILE.gguf as MODEL+FILE; may be given several times
    #[arg(long = "adapter", value_name = "FILE")]
    adapters: Vec<InputPath>,
    /// The GGUF files in this folder are models, too, as soon as they are there
    #[arg(long, value_name = "FOLDER")]
    models_dir: Option<InputPath>,
    /// Address to listen on; others than this machine can connect with 0.0.0.0 or ::
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Port to listen on, 0 for any that is free
    #[arg(long, value_name = "N", default_value_t = 8080)]
    port: u16,
    /// Listen on a socket in the file system instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["host", "port"])]
    unix: Option<OutputPath>,
    /// Listen on the socket that systemd hands over instead
    #[arg(long, conflicts_with_all = ["host", "port", "unix"])]
    inherit: bool,
    /// Ask the server that listens there whether it is well, instead of being one: the exit code is 0 if it is
    #[arg(long, conflicts_with = "inherit")]
    health_check: bool,
    /// Answer nobody without one of the keys in this file, JSON with the name, the key and the limits of each; SIGHUP has it
    /// read again
    #[arg(long, value_name = "FILE")]
    keys: Option<InputPath>,
    /// Write a line of JSON for each answer to this file: who asked, what it depends on, how long it took
    #[arg(long, value_name = "FILE")]
    audit: Option<OutputPath>,
    /// Write prompts and answers there too, with which siskin replay makes an answer again
    #[arg(long, requires = "audit")]
    audit_texts: bool,
    /// Bytes of the file, at most: it is put aside then, and so are the four before it
    #[arg(long, value_name = "SIZE", default_value = "16m", requires = "audit")]
    audit_size: Size,
    /// How to tell on standard error what happens
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log: Log,
    /// Let the pages of this origin ask, such as https://example.com, or * for those of anybody; may be given several times
    #[arg(long, value_name = "ORIGIN")]
    cors: Vec<String>,
    /// Answers of a model that are worked on at once, at most
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = count)]
    parallel: usize,
    /// Sequences of answers that are over, kept for prompts that begin alike, at most
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = whole::<usize>)]
    idle: usize,
    /// Requests of a model that wait for their turn, at most
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = whole::<usize>)]
    queue: usize,
    /// How many times longer the next token of an answer may take while the prompts of others are read
    #[arg(long, value_name = "TIMES", default_value_t = 2.0, value_parser = slowdown)]
    slowdown: f32,
    /// Refuse JSON schemas, grammars and tools, for which a model takes more memory
    #[cfg(feature = "grammar")]
    #[arg(long)]
    no_grammars: bool,
    /// Keep what prompts come to in this folder, so that a server that begins anew does not read them again
    #[arg(long, value_name = "FOLDER")]
    cache_dir: Option<OutputPath>,
    /// Bytes of all that is kept there, at most
    #[arg(long, value_name = "SIZE", default_value = "1g", requires = "cache_dir")]
    cache_size: Size,
    /// Read this beginning of prompts before the first request, and keep it: a system message, or JSON with messages and
    /// tools as requests have them; may be given several times
    #[arg(long, value_name = "FILE")]
    pin_prompt: Vec<InputPath>,
    /// Tokens of a prompt with its answer, at most [default: what the model was made for, up to 4096]
    #[arg(short, long, visible_alias = "context", value_name = "N", value_parser = count)]
    ctx_size: Option<usize>,
    /// Show the reports of siskin eval in this folder, JSON and HTML, on the page
    #[arg(long, value_name = "FOLDER")]
    reports: Option<InputPath>,
    /// Seconds that a model stays in memory which nobody asks, -1 for good
    #[arg(long, value_name = "SECONDS", default_value_t = 300, allow_negative_numbers = true)]
    keep_alive: i64,
    #[command(flatten)]
    memory: MemoryLimit,
    #[command(flatten)]
    neighbour: NeighbourArguments,
    #[command(flatten)]
    session: SessionArguments,
    #[command(flatten)]
    sampling: SamplingArguments,
}

/// How it is told what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Log {
    /// Lines of text
    Text,
    /// A JSON object a line, with time, level, event and message
    Json,
}

const EXAMPLES: &str = "\
Examples:
  siskin serve
  siskin serve hf.co/ORG/REPO:Q4_K_M --parallel 8
  siskin serve --models-dir models
  siskin serve small.gguf large.gguf --host 0.0.0.0 --port 11434 --memory 3g
  curl localhost:8080/v1/chat/completions -d '{\"messages\": [{\"role\": \"user\", \"content\": \"hello\"}]}'";

/// Serves until it is told to end.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.health_check {
        return check_health(&listen(arguments));
    }
    let log = match arguments.log {
        Log::Text => LogFormat::Text,
        Log::Json => LogFormat::Json,
    };
    log.tell_panics();
    give_back_freed_memory();
    let done = options(arguments, log).and_then(|options| {
        serve(options, |started| {
            let said = format!("listening on {}", started.address());
            match log {
                LogFormat::Text => note(format_args!("{said}")),
                LogFormat::Json => log.info("listening", said, json!({"address": started.address()})),
            }
        })
    });
    done.map_err(|error| match log {
        LogFormat::Text => error,
        LogFormat::Json => {
            log.error("failed", format_args!("{error:#}"), json!({}));
            Told.into()
        }
    })
}

/// What the server is told.
fn options(arguments: &Arguments, log: LogFormat) -> Result<ServeOptions> {
    arguments.sampling.check()?;
    let mut models = Vec::new();
    for path in &arguments.models {
        let name = model_name(path);
        ensure!(models.iter().all(|(other, _)| *other != name), "two models are called {name}");
        models.push((name, ModelSource::File(path.to_path_buf())));
    }
    if models.is_empty() && arguments.models_dir.is_none() {
        models.push(("siskin-demo".to_owned(), ModelSource::BuiltIn(demo_model()?)));
    }
    let mut options = ServeOptions::new(models);
    options.log = log;
    for path in &arguments.adapters {
        let name = model_name(path);
        let is_new = options.adapters.iter().all(|(other, _)| *other != name);
        ensure!(is_new, "two adapters are called {name}");
        options.adapters.push((name, path.to_path_buf()));
    }
    options.folder = arguments.models_dir.as_ref().map(|folder| folder.to_path_buf());
    #[cfg(feature = "hub")]
    {
        // Who has no home has no models by name.
        options.store = siskin_hub::Store::of_user().ok().map(|store| store.folder().to_owned());
    }
    options.listen = listen(arguments);
    options.keys = arguments.keys.as_ref().map(|path| path.to_path_buf());
    let (Size(bytes), texts) = (arguments.audit_size, arguments.audit_texts);
    let file = arguments.audit.as_ref().map(|file| file.to_path_buf());
    options.audit = file.map(|file| AuditOptions { file, texts, bytes });
    options.origins.clone_from(&arguments.cors);
    options.parallel = arguments.parallel;
    options.idle = arguments.idle;
    options.queue = arguments.queue;
    options.session = arguments.neighbour.begin(arguments.session.options(arguments.ctx_size))?;
    options.sampling = arguments.sampling.overrides();
    options.memory = arguments.memory.bytes();
    options.slowdown = arguments.slowdown;
    #[cfg(feature = "grammar")]
    {
        options.grammars = !arguments.no_grammars;
    }
    let Size(bytes) = arguments.cache_size;
    let folder = arguments.cache_dir.as_ref().map(|folder| folder.to_path_buf());
    options.prefixes = folder.map(|folder| PrefixOptions { folder, bytes });
    options.pinned = arguments.pin_prompt.iter().map(|path| pinned(path)).collect::<Result<_>>()?;
    options.reports = arguments.reports.as_ref().map(|folder| folder.to_path_buf());
    #[cfg(feature = "pdf")]
    {
        options.documents = Some(document_text);
    }
    options.keep_alive = u64::try_from(arguments.keep_alive).ok().map(Duration::from_secs);
    Ok(options)
}

/// Where clients connect.
fn listen(arguments: &Arguments) -> Listen {
    match &arguments.unix {
        Some(path) => Listen::Unix(path.to_path_buf()),
        None if arguments.inherit => Listen::Inherited,
        None => Listen::Address(SocketAddr::new(arguments.host, arguments.port)),
    }
}

/// The text of a PDF file that is attached to a question, read by a process of its own.
#[cfg(feature = "pdf")]
fn document_text(bytes: Vec<u8>, name: &str, most: usize, memory: u64) -> Result<String, String> {
    use siskin_documents::{Document, pdf};
    let worker = pdf::Worker {
        prefix: "siskin: ",
        arguments: &["summarize", "--pdf-worker", "--pdf-pages", "2000"],
        most: most as u64,
        memory: Some(memory),
    };
    if !pdf::is_pdf(&bytes) {
        return Err("expected a PDF file".to_owned());
    }
    let document = Document::parse(bytes, Path::new(name), |bytes| worker.text(bytes));
    document.map(|document| document.text).map_err(|error| error.to_string())
}

/// A time that is no less than one without others.
fn slowdown(text: &str) -> Result<f32, &'static str> {
    text.parse().ok().filter(|times: &f32| *times >= 1.0).ok_or("expected a number of at least 1")
}

/// A beginning of prompts: a text, or JSON.
fn pinned(path: &Path) -> Result<Pinned> {
    let name = path.display().to_string();
    let text = read_text(path)?;
    if !text.trim_start().starts_with(['{', '[']) {
        let messages = vec![Message::new("system", text.trim_end_matches('\n'))];
        return Ok(Pinned { name, messages, tools: None });
    }
    let json: Json = text.parse().with_context(|| name.clone())?;
    let (messages, tools) = match json {
        Json::Array(_) => (json, None),
        object => {
            let mut fields = Object::of("", object).with_context(|| name.clone())?;
            (fields.take("messages").unwrap_or(Json::Array(Vec::new())), fields.take("tools"))
        }
    };
    let tools = match tools {
        None => None,
        Some(Json::Array(tools)) => Some(tools),
        Some(other) => bail!("{name}: tools: expected an array, found {}", Kind(&other)),
    };
    let messages = openai::messages(messages).with_context(|| name.clone())?;
    Ok(Pinned { name, messages, tools })
}
