//! What a server is told when it begins.

use siskin::SessionOptions;
use siskin::sampler::SamplerOverrides;
use siskin::template::{Json, Message};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where a model is.
#[derive(Clone, Debug)]
pub enum ModelSource {
    /// In a GGUF file.
    File(PathBuf),
    /// In the program itself.
    BuiltIn(&'static [u8]),
}

impl ModelSource {
    /// The file; None: it is in the program.
    pub(crate) fn file(&self) -> Option<&std::path::Path> {
        match self {
            ModelSource::File(path) => Some(path),
            ModelSource::BuiltIn(_) => None,
        }
    }
}

/// Where clients connect.
#[derive(Clone, Debug)]
pub enum Listen {
    /// An address of the machine.
    Address(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
    /// The socket that systemd hands over.
    Inherited,
}

/// How a server tells what happens, on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// A line of text each.
    #[default]
    Text,
    /// A JSON object each, in a line.
    Json,
}

/// Where answers are written down.
#[derive(Clone, Debug)]
pub struct AuditOptions {
    /// The file, which is put aside when it is long.
    pub file: PathBuf,
    /// Whether prompts and answers are written down too, without which no answer can be made again.
    pub texts: bool,
    /// Bytes of a file, at most.
    pub bytes: u64,
}

/// Where beginnings of prompts are kept from one run to the next.
#[derive(Clone, Debug)]
pub struct PrefixOptions {
    /// A folder, which is made if need be.
    pub folder: PathBuf,
    /// Bytes of all files there, at most.
    pub bytes: u64,
}

/// The text of a document, of which there are the bytes, the file's name, how many bytes of text it may have, and how many of
/// memory there are to read it with; or what is wrong with it, in one line. It is to bound the time of hostile ones itself.
pub type DocumentReader = fn(Vec<u8>, &str, usize, u64) -> Result<String, String>;

/// A beginning of prompts that is read before the first request, and kept for good.
#[derive(Clone, Debug)]
pub struct Pinned {
    /// What messages call it: its file.
    pub name: String,
    /// The conversation's first messages, such as the system's.
    pub messages: Vec<Message>,
    /// The tools that requests will offer.
    pub tools: Option<Vec<Json>>,
}

/// What a server does, and within which bounds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServeOptions {
    /// Where it listens.
    pub listen: Listen,
    /// A file of keys, without one of which nothing is answered; None: anybody may ask.
    pub keys: Option<PathBuf>,
    /// How it tells what happens.
    pub log: LogFormat,
    /// Where answers are written down; None: nowhere.
    pub audit: Option<AuditOptions>,
    /// Origins whose pages may ask, beside the server's own; `*` is all.
    pub origins: Vec<String>,
    /// Models by the names that clients call them; the first is the one that is meant where none is named.
    pub models: Vec<(String, ModelSource)>,
    /// LoRA adapters by the names that clients call them, each for the models whose shape it has: GGUF files.
    pub adapters: Vec<(String, PathBuf)>,
    /// A folder whose GGUF files are models too, by their names.
    pub folder: Option<PathBuf>,
    /// Where pulled models lie, which are models too, by theirs. Without the feature `hub` there are none.
    pub store: Option<PathBuf>,
    /// Answers of a model that are worked on at once, at most.
    pub parallel: usize,
    /// Sequences of answers that are over, which are kept for prompts that begin as they do, at most.
    pub idle: usize,
    /// Requests of a model that wait for a place, at most: those beyond are refused.
    pub queue: usize,
    /// The sessions of models: context, threads, types of the cache.
    pub session: SessionOptions,
    /// How tokens are picked where a request does not say it: laid over the settings of the model's file.
    pub sampling: SamplerOverrides,
    /// Bytes that the whole program may take. None: what the machine and the control group have left.
    pub memory: Option<u64>,
    /// How long a model stays in memory that nobody asks. None: for good.
    pub keep_alive: Option<Duration>,
    /// Bytes of a request's body, at most.
    pub body: usize,
    /// How many times longer an answer's next token may take while others' prompts are read.
    pub slowdown: f32,
    /// Whether answers may keep to grammars, for which a model takes more memory.
    pub grammars: bool,
    /// Where beginnings of prompts are kept; None: nowhere.
    pub prefixes: Option<PrefixOptions>,
    /// Beginnings of prompts that are there from the start, of each model whose template takes them.
    pub pinned: Vec<Pinned>,
    /// Reads documents that are attached to questions; None: only texts are.
    pub documents: Option<DocumentReader>,
    /// A folder of what `siskin eval` wrote, which the page shows; None: there is none.
    pub reports: Option<PathBuf>,
    /// How long an answer may take, the time in the queue included.
    pub answer_time: Duration,
}

impl ServeOptions {
    /// A server of these models on the machine itself, port 8080, within bounds that suit a board.
    pub fn new(models: Vec<(String, ModelSource)>) -> Self {
        Self {
            listen: Listen::Address(SocketAddr::from(([127, 0, 0, 1], 8080))),
            keys: None,
            log: LogFormat::default(),
            audit: None,
            origins: Vec::new(),
            models,
            adapters: Vec::new(),
            folder: None,
            store: None,
            parallel: 4,
            idle: 8,
            queue: 64,
            session: SessionOptions::default(),
            sampling: SamplerOverrides::default(),
            memory: None,
            keep_alive: Some(Duration::from_mins(5)),
            body: 2 << 20,
            slowdown: 2.0,
            grammars: true,
            prefixes: None,
            pinned: Vec::new(),
            documents: None,
            reports: None,
            answer_time: Duration::from_mins(30),
        }
    }
}
