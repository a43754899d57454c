use crate::arguments::adapter;
use crate::arguments::{InputPath, ModelFlag};
use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};
use siskin::{AdapterChange, AdapterOutline};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};

/// Show what an adapter changes
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A GGUF file, or a folder of PEFT
    file: InputPath,
    #[command(flatten)]
    model: ModelFlag,
    /// Print one JSON object, with every matrix
    #[arg(long)]
    json: bool,
}

/// Prints a line about the adapter, and one for each kind of matrix; or all as one JSON object.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { file, model, json } = arguments;
    let file = if file.is_dir() { adapter::open(file, &model.file()?)? } else { model.beside(file)? };
    let outline = AdapterOutline::of(&file)?;
    adapter::say_left_out(&outline);
    let norm = |change: &AdapterChange| -> Result<f64> {
        let [a, b] = change.numbers(&file)?;
        Ok(product_norm(change.rank, &a, &b) * f64::from(change.scale.abs()))
    };
    let norms = outline.changes().iter().map(norm).collect::<Result<Vec<_>>>()?;
    let report = match json {
        true => format!("{:#}\n", to_json(&outline, &norms)),
        false => to_text(&outline, &norms),
    };
    io::stdout().lock().write_all(report.as_bytes()).context("standard output")
}

/// A line about the adapter, and one for each kind of matrix with the mean of its norms.
fn to_text(outline: &AdapterOutline, norms: &[f64]) -> String {
    let mut kinds: BTreeMap<(&str, String), Vec<f64>> = BTreeMap::new();
    for (change, norm) in outline.changes().iter().zip(norms) {
        let AdapterChange { matrix, rank, rows, row_len, types: [a, b], scale, .. } = change;
        let kind = matrix.strip_prefix("blk.").and_then(|rest| Some(rest.split_once('.')?.1));
        let shape = format!("[{row_len}, {rows}]");
        let text = format!("{shape:>14}  rank {rank}, {} and {}, times {scale}", a.name(), b.name());
        kinds.entry((kind.unwrap_or(matrix), text)).or_default().push(*norm);
    }
    let (name, architecture) = (outline.name(), outline.architecture());
    let mut text = format!("{name}: {}\n", summary(outline));
    // Writing to a string cannot fail.
    let _ = writeln!(text, "architecture {architecture}, alpha {}\n", outline.alpha());
    let width = kinds.keys().map(|(kind, _)| kind.len()).max().unwrap_or(0);
    for ((kind, what), norms) in &kinds {
        let (count, mean) = (norms.len(), norms.iter().sum::<f64>() / norms.len() as f64);
        let _ = writeln!(text, "{kind:width$}  {count:>3} of {what}, norm {mean:.3}");
    }
    text
}

fn to_json(outline: &AdapterOutline, norms: &[f64]) -> Value {
    let matrix = |(change, norm): (&AdapterChange, &f64)| {
        let AdapterChange { matrix, rank, rows, row_len, types: [a, b], scale, .. } = change;
        json!({
            "name": matrix, "shape": [row_len, rows], "rank": rank, "type_a": a.name(), "type_b": b.name(),
            "scale": scale, "norm": norm,
        })
    };
    json!({
        "adapter": outline.name(),
        "architecture": outline.architecture(),
        "alpha": outline.alpha(),
        "rank": outline.rank(),
        "bytes": outline.bytes(),
        "matrices": outline.changes().iter().zip(norms).map(matrix).collect::<Vec<_>>(),
    })
}

/// What the adapter is, in a few words.
pub(super) fn summary(outline: &AdapterOutline) -> String {
    let mib = outline.bytes() as f64 / f64::from(1 << 20);
    let matrices = match outline.changes().len() {
        1 => "1 matrix".to_owned(),
        many => format!("{many} matrices"),
    };
    format!("{matrices}, rank {}, {mib:.2} MiB in memory", outline.rank())
}

/// The Frobenius norm of B · A: the root of the sum of all products of an entry of BᵀB with the same of AAᵀ.
fn product_norm(rank: usize, a: &[f32], b: &[f32]) -> f64 {
    let k = a.len() / rank;
    let mut sum = 0.0;
    for i in 0..rank {
        for j in 0..rank {
            let row = |r: usize| a.iter().skip(r * k).take(k);
            let column = |r: usize| b.iter().skip(r).step_by(rank);
            let rows: f64 = row(i).zip(row(j)).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
            let columns: f64 = column(i).zip(column(j)).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
            sum += rows * columns;
        }
    }
    // Rounding may lead a hair below 0.
    sum.max(0.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_norm_is_that_of_the_product() {
        let (a, b) = ([1.0, 2.0, 0.5, -1.0, 0.0, 3.0], [1.0, 2.0, -1.0, 0.5]);
        let mut squares = 0.0f64;
        for row in b.chunks(2) {
            for column in 0..3 {
                squares += f64::from(row[0] * a[column] + row[1] * a[3 + column]).powi(2);
            }
        }
        assert!((product_norm(2, &a, &b) - squares.sqrt()).abs() < 1e-9);
    }
}
