//! The `serve` command: models that other programs ask over HTTP.

use crate::arguments::numbers::{count, whole};
use crate::arguments::{InputPath, MemoryLimit, NeighbourArguments, SessionArguments, demo_model, names};
use crate::terminal::note;
use anyhow::{Result, ensure};
use clap::Args;
use siskin_serve::{ModelSource, ServeOptions, serve};
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
    /// Address to listen on; others than this machine can connect with 0.0.0.0 or ::
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Port to listen on, 0 for any that is free
    #[arg(long, value_name = "N", default_value_t = 8080)]
    port: u16,
    /// Answers of a model that are worked on at once, at most
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = count)]
    parallel: usize,
    /// Sequences of answers that are over, kept for prompts that begin alike, at most
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = whole::<usize>)]
    idle: usize,
    /// Requests of a model that wait for their turn, at most
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = whole::<usize>)]
    queue: usize,
    /// Tokens of a prompt with its answer, at most [default: what the model was made for, up to 4096]
    #[arg(short, long, visible_alias = "context", value_name = "N", value_parser = count)]
    ctx_size: Option<usize>,
    /// Seconds that a model stays in memory which nobody asks, -1 for good
    #[arg(long, value_name = "SECONDS", default_value_t = 300, allow_negative_numbers = true)]
    keep_alive: i64,
    #[command(flatten)]
    memory: MemoryLimit,
    #[command(flatten)]
    neighbour: NeighbourArguments,
    #[command(flatten)]
    session: SessionArguments,
}

const EXAMPLES: &str = "\
Examples:
  siskin serve
  siskin serve hf.co/ORG/REPO:Q4_K_M --parallel 8
  siskin serve small.gguf large.gguf --host 0.0.0.0 --port 11434 --memory 3g
  curl localhost:8080/v1/chat/completions -d '{\"messages\": [{\"role\": \"user\", \"content\": \"hello\"}]}'";

/// Serves until it is told to end.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut models = Vec::new();
    for path in &arguments.models {
        let name = name(path);
        ensure!(models.iter().all(|(other, _)| *other != name), "two models are called {name}");
        models.push((name, ModelSource::File(path.to_path_buf())));
    }
    if models.is_empty() {
        models.push(("siskin-demo".to_owned(), ModelSource::BuiltIn(demo_model()?)));
    }
    let mut options = ServeOptions::new(models);
    options.address = SocketAddr::new(arguments.host, arguments.port);
    options.parallel = arguments.parallel;
    options.idle = arguments.idle;
    options.queue = arguments.queue;
    options.session = arguments.neighbour.begin(arguments.session.options(arguments.ctx_size))?;
    options.memory = arguments.memory.bytes();
    options.keep_alive = u64::try_from(arguments.keep_alive).ok().map(Duration::from_secs);
    serve(options, |address| note(format_args!("listening on http://{address}")))
}

/// What clients call the model in a file: its name without the ending, and without the number of a part.
fn name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    match stem.rsplit_once("-00001-of-") {
        Some((whole, parts)) if parts.len() == 5 && parts.bytes().all(|c| c.is_ascii_digit()) => {
            whole.to_owned()
        }
        _ => stem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_called_by_their_files() {
        for (path, expected) in [
            ("a/SmolLM2-135M.Q4_1.gguf", "SmolLM2-135M.Q4_1"),
            ("big-00001-of-00003.gguf", "big"),
            ("big-00001-of-3.gguf", "big-00001-of-3"),
            ("sha256-00ff", "sha256-00ff"),
        ] {
            assert_eq!(name(Path::new(path)), expected);
        }
    }
}
