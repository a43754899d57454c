//! The `list` command: the models that have names.

use crate::terminal::note;
use anyhow::Result;
use clap::Args;
use indicatif::DecimalBytes;
use serde_json::{Value, json};
use siskin_hub::{Model, Store};
use siskin_kit::tell;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// List the models that were fetched, with their sizes and quantizations.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Print one JSON object, with paths and hashes
    #[arg(long)]
    json: bool,
}

/// Prints a line for each model.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let store = Store::of_user()?;
    let (models, unfinished) = (store.models()?, store.unfinished()?);
    for damaged in store.damaged()? {
        note(format_args!("{damaged}: siskin pull of its name mends it, siskin rm of its name removes it"));
    }
    if arguments.json {
        let models: Vec<Value> = models.iter().map(self::json).collect();
        return tell(format_args!("{:#}", json!({"models": models, "unfinished_bytes": unfinished})));
    }
    if models.is_empty() {
        note(format_args!("no model was fetched yet: siskin pull hf.co/ORG/REPO:QUANT"));
    } else {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        tell(format_args!("{}", table(&models, now).trim_end()))?;
    }
    if unfinished > 0 {
        note(format_args!(
            "{} more are of what was not fetched to its end: siskin pull goes on with it, siskin rm --unfinished removes it",
            DecimalBytes(unfinished)
        ));
    }
    Ok(())
}

/// What scripts may want to know of a model.
pub(super) fn json(model: &Model) -> Value {
    let files: Vec<Value> = model
        .files
        .iter()
        .map(|part| json!({"file": part.file, "bytes": part.bytes, "sha256": part.sha256}))
        .collect();
    json!({
        "name": model.name,
        "bytes": model.bytes(),
        "quantization": model.quantization,
        "pulled": model.pulled,
        "source": model.source,
        "path": model.path(),
        "files": files,
    })
}

fn table(models: &[Model], now: u64) -> String {
    let head = ["NAME", "SIZE", "QUANTIZATION", "FETCHED"].map(str::to_owned);
    let rows: Vec<[String; 4]> = models
        .iter()
        .map(|model| {
            let size = DecimalBytes(model.bytes()).to_string();
            [model.name.clone(), size, model.quantization.clone(), ago(now.saturating_sub(model.pulled))]
        })
        .collect();
    let width = |column: fn(&[String; 4]) -> &String| {
        rows.iter().chain([&head]).map(|row| column(row).chars().count()).max().unwrap_or(0)
    };
    let (names, sizes, types) = (width(|row| &row[0]), width(|row| &row[1]), width(|row| &row[2]));
    let mut text = String::new();
    for [name, size, quantization, when] in [&head].into_iter().chain(&rows) {
        // A String takes all that is written to it.
        let _ = writeln!(text, "{name:names$}  {size:>sizes$}  {quantization:types$}  {when}");
    }
    text
}

/// How long ago something was, in the largest unit of which there are two.
fn ago(seconds: u64) -> String {
    let units = [("days", 86_400), ("hours", 3600), ("minutes", 60)];
    match units.into_iter().find(|(_, unit)| seconds >= 2 * unit) {
        Some((name, unit)) => format!("{} {name} ago", seconds / unit),
        None => "just now".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_down() {
        for (seconds, said) in [
            (0, "just now"),
            (120, "2 minutes ago"),
            (7_199, "119 minutes ago"),
            (172_799, "47 hours ago"),
            (172_800, "2 days ago"),
        ] {
            assert_eq!(ago(seconds), said);
        }
    }
}
