use siskin::SessionOptions;
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

/// What a server does, and within which bounds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServeOptions {
    /// Where it listens.
    pub address: SocketAddr,
    /// Models by the names that clients call them; the first is the one that is meant where none is named.
    pub models: Vec<(String, ModelSource)>,
    /// Answers of a model that are worked on at once, at most.
    pub parallel: usize,
    /// Sequences of answers that are over, which are kept for prompts that begin as they do, at most.
    pub idle: usize,
    /// Requests of a model that wait for a place, at most: those beyond are refused.
    pub queue: usize,
    /// The sessions of models: context, threads, types of the cache.
    pub session: SessionOptions,
    /// Bytes that the whole program may take. None: what the machine and the control group have left.
    pub memory: Option<u64>,
    /// How long a model stays in memory that nobody asks. None: for good.
    pub keep_alive: Option<Duration>,
    /// Bytes of a request's body, at most.
    pub body: usize,
    /// How long an answer may take, the time in the queue included.
    pub answer_time: Duration,
}

impl ServeOptions {
    /// A server of these models on the machine itself, port 8080, within bounds that suit a board.
    pub fn new(models: Vec<(String, ModelSource)>) -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            models,
            parallel: 4,
            idle: 8,
            queue: 64,
            session: SessionOptions::default(),
            memory: None,
            keep_alive: Some(Duration::from_mins(5)),
            body: 16 << 20,
            answer_time: Duration::from_mins(30),
        }
    }
}
