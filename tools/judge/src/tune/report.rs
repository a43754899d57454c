use super::{Space, Trial};
use serde_json::{Map, Value, json};
use std::fmt::Write;

fn settings(space: &Space, trial: &Trial) -> String {
    trial.point.as_ref().map_or_else(|| "(the model's own)".to_owned(), |point| space.flags(point))
}

/// The best by rank, for people.
pub fn text(space: &Space, trials: &[Trial]) -> String {
    const SHOWN: usize = 10;
    let mut text = format!("rank  trial  {:>12}  settings\n", space.goal.name());
    for (rank, trial) in (1..).zip(trials.iter().take(SHOWN)) {
        let _ =
            writeln!(text, "{rank:4}  {:5}  {:12.4}  {}", trial.number, trial.score, settings(space, trial));
    }
    let own = trials.iter().find(|trial| trial.point.is_none()).map_or(f64::NAN, |trial| trial.score);
    let _ = match trials.first() {
        Some(Trial { point: Some(point), score, .. }) => {
            writeln!(text, "\nbest, {score:.4} against {own:.4}:\n{}", space.flags(point))
        }
        _ => writeln!(text, "\nnothing was better than the model's own settings: no flags are needed"),
    };
    text
}

/// Everything that was tried, in one object.
pub fn json(space: &Space, seed: u64, trials: &[Trial]) -> Value {
    let values = |point: &Vec<f64>| -> Map<String, Value> {
        space.dimensions.iter().zip(point).map(|(d, &value)| (d.knob.name.to_owned(), json!(value))).collect()
    };
    let trial = |trial: &Trial| {
        json!({
            "trial": trial.number,
            "score": trial.score,
            "settings": trial.point.as_ref().map(values),
        })
    };
    let best = trials.first().and_then(|trial| trial.point.as_ref());
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "metric": space.goal.name(),
        "seed": seed,
        "flags": best.map_or_else(String::new, |point| space.flags(point)),
        "trials": trials.iter().map(trial).collect::<Vec<_>>(),
    })
}
