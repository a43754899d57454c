//! What is measured of a model, by name, and the bounds that a user sets.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Figures of one model by their names; what was not measured is not there.
pub type Figures = BTreeMap<String, f64>;

/// How a figure is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// A number with this many digits behind the point.
    Plain(usize),
    /// A part of one, shown in percent.
    Percent,
}

/// A metric that `--require` may name.
#[derive(Debug)]
pub struct Metric {
    /// Its name in bounds and in JSON.
    pub name: &'static str,
    /// What the table and the page call it, with its unit.
    pub(super) label: &'static str,
    pub(super) unit: Unit,
    /// Whether more is better.
    pub(super) more: bool,
    /// The flag without which it is never measured.
    pub needs: &'static str,
}

const fn metric(
    name: &'static str,
    label: &'static str,
    unit: Unit,
    more: bool,
    needs: &'static str,
) -> Metric {
    Metric { name, label, unit, more, needs }
}

/// All metrics, in the order in which they are shown. Those of tasks are followed by the same of each kind of task.
pub(super) const METRICS: &[Metric] = &[
    metric("ppl", "perplexity", Unit::Plain(3), false, "--text"),
    metric("kl", "mean KL divergence, nats", Unit::Plain(5), false, "--against"),
    metric("kl_median", "median KL divergence", Unit::Plain(5), false, "--against"),
    metric("kl_p99", "99 % KL divergence", Unit::Plain(5), false, "--against"),
    metric("kl_max", "maximum KL divergence", Unit::Plain(5), false, "--against"),
    metric("same_top", "same top token, %", Unit::Percent, true, "--against"),
    metric("rms_dp", "RMS Δp, %", Unit::Percent, false, "--against"),
    metric("weight_error", "weight error, relative RMS, %", Unit::Percent, false, "--against"),
    metric("exact", "exact match, %", Unit::Percent, true, "--tasks"),
    metric("json", "equal JSON, %", Unit::Percent, true, "--tasks"),
    metric("rouge", "ROUGE-L F1, %", Unit::Percent, true, "--tasks"),
    metric("support", "names and numbers supported, %", Unit::Percent, true, "--tasks"),
    metric("ttft_ms", "time to first token, ms", Unit::Plain(1), false, ""),
    metric("prefill_tps", "prefill, tokens/s", Unit::Plain(1), true, ""),
    metric("decode_tps", "decode, tokens/s", Unit::Plain(1), true, ""),
    metric("load_ms", "load, ms", Unit::Plain(1), false, ""),
    metric("peak_mib", "peak memory, MiB", Unit::Plain(1), false, ""),
    metric("file_mib", "file, MiB", Unit::Plain(1), false, ""),
    metric("bpw", "bits per weight", Unit::Plain(2), false, ""),
    metric("joules_per_token", "joules per token", Unit::Plain(3), false, ""),
];

impl Metric {
    /// The metric of a name, which may have a kind of task behind a point.
    pub fn find(name: &str) -> Option<&'static Metric> {
        let (name, kind) = name.split_once('.').map_or((name, None), |(name, kind)| (name, Some(kind)));
        let found = METRICS.iter().find(|metric| metric.name == name)?;
        (kind.is_none() || found.needs == "--tasks").then_some(found)
    }

    /// A figure as the table has it.
    pub(super) fn show(&self, value: f64) -> String {
        match self.unit {
            Unit::Plain(digits) => format!("{value:.digits$}"),
            Unit::Percent => format!("{:.2}", 100.0 * value),
        }
    }
}

/// The names of all figures that any of the models has, each with its metric, in the order of [`METRICS`].
pub(super) fn shown<'a>(all: impl Iterator<Item = &'a Figures> + Clone) -> Vec<(String, &'static Metric)> {
    let names = |metric: &'static Metric| {
        let of_metric = move |name: &&String| Metric::find(name).is_some_and(|m| m.name == metric.name);
        let mut names: Vec<_> = all.clone().flat_map(|figures| figures.keys().filter(of_metric)).collect();
        names.sort();
        names.dedup();
        names.into_iter().map(move |name| (name.clone(), metric))
    };
    METRICS.iter().flat_map(names).collect()
}

/// A bound that every model has to keep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Requirement {
    /// The metric's name.
    pub metric: String,
    at_least: bool,
    bound: f64,
}

impl Requirement {
    /// Whether a value is within the bound; NaN never is.
    pub fn holds(&self, value: f64) -> bool {
        if self.at_least { value >= self.bound } else { value <= self.bound }
    }
}

impl FromStr for Requirement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = [("<=", false), (">=", true)];
        let split = parts.iter().find_map(|(sign, at_least)| Some((text.split_once(sign)?, *at_least)));
        let ((metric, bound), at_least) =
            split.ok_or("expected METRIC<=NUMBER or METRIC>=NUMBER, such as ppl<=12.5")?;
        let (metric, bound) = (metric.trim(), bound.trim());
        if Metric::find(metric).is_none() {
            let names: Vec<_> = METRICS.iter().map(|metric| metric.name).collect();
            return Err(format!("no metric {metric}: expected one of {}", names.join(", ")));
        }
        let number = bound.parse().ok().filter(|bound: &f64| bound.is_finite());
        let bound = number.ok_or_else(|| format!("expected a number, found {bound}"))?;
        Ok(Requirement { metric: metric.to_owned(), at_least, bound })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.at_least { ">=" } else { "<=" };
        write!(f, "{}{sign}{}", self.metric, self.bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_read_and_written_alike() {
        for text in ["ppl<=12.5", "exact>=0.95", "exact.kitchen lamp>=0.9", "json.a.b>=1", "peak_mib<=300"] {
            assert_eq!(text.parse::<Requirement>().unwrap().to_string(), text);
        }
        assert_eq!(" kl <= 1e-3 ".parse::<Requirement>().unwrap().to_string(), "kl<=0.001");
        for (text, expected) in [
            ("ppl", "expected METRIC"),
            ("ppl<12", "expected METRIC"),
            ("speed>=1", "no metric speed"),
            ("ppl.a<=1", "no metric ppl.a"),
            ("ppl<=many", "found many"),
            ("ppl<=nan", "found nan"),
        ] {
            let error = text.parse::<Requirement>().unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn bounds_belong_to_what_is_allowed() {
        let holds = |text: &str, value| text.parse::<Requirement>().unwrap().holds(value);
        assert!(holds("ppl<=2", 2.0) && holds("exact>=0.5", 0.5));
        assert!(!holds("ppl<=2", 2.1) && !holds("exact>=0.5", 0.4));
        assert!(!holds("ppl<=2", f64::NAN) && !holds("exact>=0.5", f64::NAN));
    }

    #[test]
    fn figures_are_shown_in_their_order() {
        let figures = |names: &[&str]| names.iter().map(|name| (name.to_string(), 1.0)).collect::<Figures>();
        let all = [figures(&["bpw", "exact.b", "exact"]), figures(&["exact.a", "ppl", "other"])];
        let names: Vec<_> = shown(all.iter()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["ppl", "exact", "exact.a", "exact.b", "bpw"]);
    }
}
