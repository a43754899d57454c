//! `GET /metrics`: figures in Prometheus' text format. Those that mean the same as llama.cpp's have its names, and are of all
//! models; ours are of each.

use crate::http;
use crate::models::Entry;
use crate::server::Server;
use crate::worker::Figures;
use axum::extract::State;
use axum::response::Response;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Tells all figures.
pub(super) async fn metrics(State(server): State<Arc<Server>>) -> Response {
    // The figures of a copy are those of the model that it is a name of.
    let entries = server.models.distinct();
    let text = of_all(&entries) + &of_each(&entries) + &of_process();
    http::text(200, "text/plain; version=0.0.4", text)
}

/// What is written of a figure.
struct Family<'f> {
    name: &'f str,
    help: &'f str,
    kind: &'f str,
}

impl Family<'_> {
    /// The figure's lines, each value with its labels.
    fn write(&self, values: impl IntoIterator<Item = (String, f64)>) -> String {
        let Self { name, help, kind } = self;
        let mut text = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in values {
            // A String takes all that is written.
            let _ = writeln!(text, "{name}{labels} {value}");
        }
        text
    }
}

fn count(figure: &AtomicU64) -> f64 {
    figure.load(Ordering::Relaxed) as f64
}

fn size(figure: &AtomicUsize) -> f64 {
    figure.load(Ordering::Relaxed) as f64
}

fn seconds(microseconds: &AtomicU64) -> f64 {
    count(microseconds) / 1e6
}

/// Tokens of prompts that had to be read.
fn read_tokens(figures: &Figures) -> f64 {
    count(&figures.prompt_tokens) - count(&figures.reused_tokens)
}

/// The figures of all models together, under llama.cpp's names.
fn of_all(entries: &[Arc<Entry>]) -> String {
    let sum = |of: &dyn Fn(&Figures) -> f64| entries.iter().map(|entry| of(&entry.figures)).sum::<f64>();
    let tokens = (sum(&read_tokens), sum(&|figures| count(&figures.answer_tokens)));
    let times =
        (sum(&|figures| seconds(&figures.prompt_time)), sum(&|figures| seconds(&figures.answer_time)));
    let rate = |tokens: f64, time: f64| if time > 0.0 { tokens / time } else { 0.0 };
    let all = [
        ("prompt_tokens_total", "Tokens of prompts that were read.", "counter", tokens.0),
        ("prompt_seconds_total", "Seconds that prompts took.", "counter", times.0),
        ("tokens_predicted_total", "Tokens that were answered.", "counter", tokens.1),
        ("tokens_predicted_seconds_total", "Seconds that answers took.", "counter", times.1),
        (
            "prompt_tokens_seconds",
            "Tokens of prompts that were read in a second.",
            "gauge",
            rate(tokens.0, times.0),
        ),
        (
            "predicted_tokens_seconds",
            "Tokens of an answer that came in a second.",
            "gauge",
            rate(tokens.1, times.1),
        ),
        (
            "requests_processing",
            "Answers that are worked on.",
            "gauge",
            sum(&|figures| size(&figures.at_work)),
        ),
        (
            "requests_deferred",
            "Answers that wait for a place.",
            "gauge",
            sum(&|figures| size(&figures.waiting)),
        ),
    ];
    let write = |(name, help, kind, value): (&str, &str, &str, f64)| {
        Family { name: &format!("llamacpp:{name}"), help, kind }.write([(String::new(), value)])
    };
    all.into_iter().map(write).collect()
}

/// The figures of each model.
fn of_each(entries: &[Arc<Entry>]) -> String {
    type Of = fn(&Figures) -> f64;
    let all: [(&str, &str, &str, Of); 10] = [
        ("siskin_answers_total", "Answers that are over.", "counter", |figures| count(&figures.answers)),
        ("siskin_prompt_tokens_total", "Tokens of their prompts.", "counter", |f| count(&f.prompt_tokens)),
        ("siskin_cached_tokens_total", "Tokens of these that were there already.", "counter", |f| {
            count(&f.reused_tokens)
        }),
        ("siskin_answer_tokens_total", "Tokens of the answers.", "counter", |f| count(&f.answer_tokens)),
        ("siskin_changed_prompts_total", "Prompts that changed near their beginnings.", "counter", |f| {
            count(&f.changed_prompts)
        }),
        ("siskin_queue_seconds_total", "Seconds that they waited for a place.", "counter", |f| {
            seconds(&f.queue_time)
        }),
        ("siskin_prompt_seconds_total", "Seconds that the prompts took.", "counter", |f| {
            seconds(&f.prompt_time)
        }),
        ("siskin_answer_seconds_total", "Seconds that the answers took.", "counter", |f| {
            seconds(&f.answer_time)
        }),
        ("siskin_at_work", "Answers that are worked on.", "gauge", |figures| size(&figures.at_work)),
        ("siskin_queue", "Answers that wait for a place.", "gauge", |figures| size(&figures.waiting)),
    ];
    let write = |(name, help, kind, of): (&str, &str, &str, Of)| {
        let value = |entry: &Arc<Entry>| (label(&entry.name), of(&entry.figures));
        Family { name, help, kind }.write(entries.iter().map(value))
    };
    let figures: String = all.into_iter().map(write).collect();
    let name = "siskin_model_bytes";
    let help = "Bytes that the plan of a model in memory says it takes.";
    let bytes = entries.iter().filter_map(|entry| {
        let (loaded, _) = entry.loaded()?;
        Some((label(&entry.name), loaded.bytes() as f64))
    });
    figures + &Family { name, help, kind: "gauge" }.write(bytes)
}

/// What the system says of the process.
fn of_process() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| {
        let kibibytes = line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?;
        kibibytes.trim().parse::<f64>().ok()
    });
    let help = "Bytes of memory that the process has.";
    let value = resident.map(|kibibytes| (String::new(), kibibytes * 1024.0));
    Family { name: "process_resident_memory_bytes", help, kind: "gauge" }.write(value)
}

fn label(model: &str) -> String {
    let model = model.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{{model=\"{model}\"}}")
}
