//! The figures of a benchmark, for people and for programs.

use super::measure::{Measured, Plan, Series};
use serde_json::{Value, json};
use std::fmt::Write;

/// Everything that was measured, in one object; null where nothing was. What was taken several times is there as its
/// median, that of the memory as its most, and under `samples` in full.
pub fn json(plan: &Plan, shape: &Option<(String, &str)>, measured: &Measured) -> Value {
    let median = |series: &Option<Series>| series.as_ref().map(|series| series.median);
    let samples = |series: &Option<Series>| series.as_ref().map(|series| series.samples.clone());
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "model": measured.model,
        "shape": shape.as_ref().map(|(name, _)| name),
        "type": shape.as_ref().map(|(_, file_type)| file_type),
        "tier": measured.isa,
        "threads": measured.threads,
        "runs": plan.runs,
        "prompt_tokens": plan.prompt,
        "decode_tokens": plan.tokens,
        "depth": plan.depth,
        "prefill_tps": median(&measured.prefill),
        "decode_tps": median(&measured.decode),
        "parallel": plan.parallel,
        "parallel_tps": median(&measured.together),
        "adapted_tps": median(&measured.adapted),
        "attach_ms": median(&measured.attach),
        "probe_gbps": measured.probe.as_ref().map(|series| series.max),
        "decode_gbps": measured.decode_gbps(),
        "decode_percent_of_probe": measured.decode_percent(),
        "prefill_gmacs": measured.prefill_gmacs(plan.prompt),
        "peak_gmacs": median(&measured.peak),
        "prefill_percent_of_peak": measured.prefill_percent(plan.prompt),
        "model_bytes": measured.weight_bytes,
        "bytes_per_token": measured.bytes_per_token,
        "session_bytes": measured.session_bytes,
        "peak_rss_bytes": measured.peak_rss,
        "load_ms": measured.load.median,
        "first_load_ms": measured.first_load,
        "samples": {
            "prefill_tps": samples(&measured.prefill),
            "decode_tps": samples(&measured.decode),
            "parallel_tps": samples(&measured.together),
            "adapted_tps": samples(&measured.adapted),
            "attach_ms": samples(&measured.attach),
            "probe_gbps": samples(&measured.probe),
            "peak_gmacs": samples(&measured.peak),
            "load_ms": measured.load.samples,
        },
    })
}

/// A table for people.
pub fn text(plan: &Plan, shape: &Option<(String, &str)>, measured: &Measured) -> String {
    let file_type = shape.as_ref().map_or(String::new(), |(_, file_type)| format!(", {file_type}"));
    let mut text = format!(
        "{}{file_type}: {} of weights; {}, {} threads, {} runs\n\n{:28}{:>10}{:>10}{:>10}\n",
        measured.model,
        bytes(measured.weight_bytes as u64),
        measured.isa,
        measured.threads,
        plan.runs,
        "",
        "median",
        "least",
        "most"
    );
    let mut row = |name: &str, series: Option<&Series>| {
        if let Some(Series { median, min, max, .. }) = series {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name:28}{median:10.1}{min:10.1}{max:10.1}");
        }
    };
    row("load, ms", Some(&measured.load));
    let behind = if plan.depth == 0 { String::new() } else { format!(" at {}", plan.depth) };
    row(&format!("prefill of {}{behind}, tokens/s", plan.prompt), measured.prefill.as_ref());
    row(&format!("decode of {}{behind}, tokens/s", plan.tokens), measured.decode.as_ref());
    row(&format!("the same of {} together", plan.parallel), measured.together.as_ref());
    row("the same with the adapter", measured.adapted.as_ref());
    row("attaching it, ms", measured.attach.as_ref());
    row("reading memory, GB/s", measured.probe.as_ref());
    row("dot products alone, G/s", measured.peak.as_ref());
    text.push('\n');
    if let (Some(rate), Some(percent)) = (measured.decode_gbps(), measured.decode_percent()) {
        let _ =
            writeln!(text, "decode reads {rate:.1} GB/s of weights, {percent:.0} % of what the memory gives");
    }
    if let (Some(rate), Some(percent)) =
        (measured.prefill_gmacs(plan.prompt), measured.prefill_percent(plan.prompt))
    {
        let _ = writeln!(
            text,
            "prefill does {rate:.1} G multiply-adds/s with weights, {percent:.0} % of what the dot products reach"
        );
    }
    let session = bytes(measured.session_bytes as u64);
    let _ = match measured.peak_rss {
        Some(peak) => writeln!(text, "memory {} at most, the session's {session}", bytes(peak)),
        None => writeln!(text, "memory of the session {session}"),
    };
    text
}

fn bytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
