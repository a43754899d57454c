//! The figures of all models, as a table for people and as JSON for programs.

use super::evaluation::Evaluation;
use super::metrics::{Figures, Metric, Requirement, shown};
use super::weights::{TensorError, relative_error};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What an evaluation found out.
#[derive(Debug)]
pub struct Report {
    /// The text that was read.
    pub text: Option<PathBuf>,
    /// Tokens of its windows.
    pub window: usize,
    /// The model that all were compared with.
    pub reference: Option<PathBuf>,
    /// The file of tasks, and how many it has.
    pub tasks: Option<(PathBuf, usize)>,
    /// Bounds that all models have to keep.
    pub requirements: Vec<Requirement>,
    /// The models.
    pub rows: Vec<Row>,
}

/// A model and its figures.
#[derive(Debug)]
pub struct Row {
    /// The model's file.
    pub path: PathBuf,
    /// What was found out about it.
    pub evaluation: Evaluation,
}

/// What is said of a figure that is not there.
pub(super) const NOT_MEASURED: &str = "not measured";

impl Report {
    /// What to call the models: their files' names as far as they differ, else their paths.
    pub(super) fn labels(&self) -> Vec<String> {
        let short = |path: &Path| path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let labels: Vec<_> = self.rows.iter().map(|row| short(&row.path)).collect();
        let unique = labels.iter().all(|label| labels.iter().filter(|other| *other == label).count() == 1);
        let paths = || self.rows.iter().map(|row| row.path.display().to_string()).collect();
        if unique { labels } else { paths() }
    }

    /// All figures that some model has, in order; and the energy, so that nobody looks for it.
    pub(super) fn metrics(&self) -> Vec<(String, &'static Metric)> {
        let mut metrics = shown(self.rows.iter().map(|row| &row.evaluation.figures));
        const ENERGY: &str = "joules_per_token";
        if !metrics.iter().any(|(name, _)| name == ENERGY) {
            metrics.extend(Metric::find(ENERGY).map(|metric| (ENERGY.to_owned(), metric)));
        }
        metrics
    }

    /// What the figures are of, in a line.
    pub(super) fn subject(&self) -> String {
        let Some(Row { evaluation, .. }) = self.rows.first() else { return String::new() };
        let mut line = format!("{}, {} threads", evaluation.isa, evaluation.threads);
        if let (Some(text), Some(windows)) = (&self.text, evaluation.windows) {
            let _ = write!(line, "; text {}, {windows} windows of {} tokens", text.display(), self.window);
        }
        if let Some(reference) = &self.reference {
            let _ = write!(line, "; reference {}", reference.display());
        }
        if let Some(perplexity) = evaluation.reference_perplexity {
            let _ = write!(line, " (perplexity {perplexity:.3})");
        }
        if let Some((path, count)) = &self.tasks {
            let _ = write!(line, "; {count} tasks of {}", path.display());
        }
        line
    }

    /// A column for each model.
    pub fn table(&self) -> String {
        let labels = self.labels();
        let metrics = self.metrics();
        let names: Vec<_> = metrics.iter().map(|(name, metric)| label(name, metric)).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let columns: Vec<_> =
            labels.iter().map(|label| label.chars().count().max(NOT_MEASURED.len())).collect();
        let mut text = format!("{}\n\n{:width$}", self.subject(), "");
        let _ =
            labels.iter().zip(&columns).try_for_each(|(label, column)| write!(text, "  {label:>column$}"));
        for ((name, metric), label) in metrics.iter().zip(&names) {
            let _ = write!(text, "\n{label:width$}");
            for (row, column) in self.rows.iter().zip(&columns) {
                let _ = write!(text, "  {:>column$}", cell(&row.evaluation.figures, name, metric));
            }
        }
        text.push('\n');
        text
    }

    /// Everything, in one object; figures that were not measured are not there.
    pub fn json(&self) -> Value {
        let first = self.rows.first().map(|row| &row.evaluation);
        let text = self.text.as_ref().map(|path| {
            json!({"path": path, "window": self.window, "windows": first.and_then(|first| first.windows)})
        });
        let reference = self
            .reference
            .as_ref()
            .map(|path| json!({"path": path, "ppl": first.and_then(|first| first.reference_perplexity)}));
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "text": text,
            "reference": reference,
            "tasks": self.tasks.as_ref().map(|(path, count)| json!({"path": path, "count": count})),
            "models": self.rows.iter().map(|row| self.model_json(row)).collect::<Vec<_>>(),
        })
    }

    fn model_json(&self, Row { path, evaluation }: &Row) -> Value {
        let weights = |tensor: &TensorError| json!({"name": tensor.name, "type": tensor.ty, "relative_error": relative_error([tensor])});
        let requirements = self.requirements.iter().map(|requirement| {
            let value = evaluation.figures.get(&requirement.metric);
            json!({"bound": requirement.to_string(), "kept": value.map(|&value| requirement.holds(value))})
        });
        json!({
            "path": path,
            "name": evaluation.name,
            "tier": evaluation.isa,
            "threads": evaluation.threads,
            "context": evaluation.context,
            "parameters": evaluation.parameters,
            "metrics": evaluation.figures,
            "standard_errors": evaluation.errors,
            "requirements": requirements.collect::<Vec<_>>(),
            "weights": evaluation.weights.iter().map(weights).collect::<Vec<_>>(),
        })
    }
}

/// The metric's label, with the kind of task that it is of.
pub(super) fn label(name: &str, metric: &Metric) -> String {
    match name.split_once('.') {
        Some((_, kind)) => format!("  {kind}: {}", metric.label),
        None => metric.label.to_owned(),
    }
}

/// A figure, or that there is none.
pub(super) fn cell(figures: &Figures, name: &str, metric: &Metric) -> String {
    figures.get(name).map_or_else(|| NOT_MEASURED.to_owned(), |&value| metric.show(value))
}

/// The error of each layer's weights, by the layer's number.
pub(super) fn layer_errors(weights: &[TensorError]) -> Vec<(u32, f64)> {
    let mut layers: BTreeMap<u32, Vec<&TensorError>> = BTreeMap::new();
    for tensor in weights {
        if let Some(layer) = tensor.layer() {
            layers.entry(layer).or_default().push(tensor);
        }
    }
    layers.into_iter().filter_map(|(layer, tensors)| Some((layer, relative_error(tensors)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(paths: &[&str]) -> Report {
        let row = |path: &&str| {
            let mut evaluation = Evaluation::default();
            evaluation.figures.insert("exact.lamp".to_owned(), 0.5);
            Row { path: path.into(), evaluation }
        };
        let rows = paths.iter().map(row).collect();
        Report { text: None, window: 512, reference: None, tasks: None, requirements: Vec::new(), rows }
    }

    #[test]
    fn models_have_short_names_unless_those_are_the_same() {
        assert_eq!(report(&["a/x.gguf", "b/y.gguf"]).labels(), ["x", "y"]);
        assert_eq!(report(&["a/x.gguf", "b/x.gguf"]).labels(), ["a/x.gguf", "b/x.gguf"]);
    }

    #[test]
    fn a_table_says_what_was_not_measured() {
        let table = report(&["x.gguf"]).table();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines[3], "  lamp: exact match, %         50.00");
        assert_eq!(lines[4], "joules per token        not measured");
    }

    #[test]
    fn a_layer_s_error_is_that_of_its_tensors_together() {
        let tensor = |name: &str, squared_error| TensorError {
            name: name.to_owned(),
            ty: String::new(),
            squared_error,
            squared: 2.0,
        };
        let tensors = [
            tensor("blk.1.a", 1.0),
            tensor("blk.0.a", 0.0),
            tensor("blk.0.b", 1.0),
            tensor("output.weight", 9.0),
        ];
        assert_eq!(layer_errors(&tensors), [(0, 0.5), (1, 0.5f64.sqrt())]);
    }
}
