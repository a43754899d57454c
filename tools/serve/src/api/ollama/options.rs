//! `options`, `keep_alive` and `think` of Ollama's requests.

use crate::api::sampling::sampling;
use crate::ask::KeepAlive;
use crate::refusal::Refusal;
use anyhow::Result;
use siskin::AnswerLimits;
use siskin::sampler::SamplerOverrides;
use siskin::template::Json;
use siskin_kit::json::Object;
use siskin_kit::openai;
use std::time::Duration;

/// The field `options`: how tokens are picked, and when the answer ends. Others of Ollama's options say how a model is loaded,
/// which is the server's own concern.
pub(super) fn options(fields: &mut Object) -> Result<(SamplerOverrides, AnswerLimits), Refusal> {
    let options = fields.take("options").unwrap_or(Json::Object(Vec::new()));
    let mut options = Object::of("options", options)?;
    let stop = options.take("stop").map(|stop| stops(&stop)).transpose()?.unwrap_or_default();
    // -1 and -2 are no limit but that of the context.
    let tokens = options.whole::<i64>("num_predict", "a whole number")?;
    let tokens = tokens.and_then(|tokens| usize::try_from(tokens).ok());
    Ok((sampling(&mut options)?, AnswerLimits::default().tokens(tokens).stop(stop)))
}

fn stops(value: &Json) -> Result<Vec<String>> {
    openai::stops("options.stop", value)
}

/// Whether the model is to think first: true, false, or how much.
pub(super) fn think(fields: &mut Object) -> Result<Option<bool>, Refusal> {
    Ok(fields.typed("think", "true, false, \"high\", \"medium\" or \"low\"", |value| match value {
        Json::Bool(think) => Some(*think),
        Json::String(level) => ["high", "medium", "low"].contains(&level.as_str()).then_some(true),
        _ => None,
    })?)
}

/// How long the model stays in memory: seconds, or a duration as Go writes it. What is below 0 is for good.
pub(super) fn keep_alive(fields: &mut Object) -> Result<Option<KeepAlive>, Refusal> {
    const EXPECTED: &str = "seconds, or a duration such as \"5m\" or \"1h30m\"";
    Ok(fields.typed("keep_alive", EXPECTED, |value| {
        let seconds = match value {
            Json::Integer(seconds) => *seconds as f64,
            Json::Float(seconds) => *seconds,
            Json::String(text) => duration(text)?,
            _ => return None,
        };
        if seconds < 0.0 {
            return Some(KeepAlive::Forever);
        }
        // What is longer than any machine runs is for good, too.
        Duration::try_from_secs_f64(seconds)
            .map_or(Some(KeepAlive::Forever), |time| Some(KeepAlive::For(time)))
    })?)
}

/// The seconds of a duration as Go writes it; of a number alone, too.
fn duration(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("μs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    if is_number(rest) {
        return rest.parse::<f64>().ok().map(|seconds| sign * seconds);
    }
    let mut seconds = None;
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let unit = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit);
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        seconds = Some(seconds.unwrap_or(0.0) + number.parse::<f64>().ok()? * scale);
        rest = behind;
    }
    seconds.map(|seconds| sign * seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, seconds) in [
            ("5m", Some(300.0)),
            ("1h30m", Some(5400.0)),
            ("1.5s", Some(1.5)),
            ("250ms", Some(0.25)),
            ("-1", Some(-1.0)),
            ("-1m", Some(-60.0)),
            ("0", Some(0.0)),
            ("30", Some(30.0)),
            ("", None),
            ("-", None),
            ("m", None),
            ("5 m", None),
            ("5d", None),
            ("1.2.3s", None),
            ("5m3", None),
        ] {
            assert_eq!(duration(text), seconds, "{text}");
        }
    }

    #[test]
    fn a_model_stays_as_long_as_is_asked() {
        let read =
            |value: &str| keep_alive(&mut Object::parse(&format!("{{\"keep_alive\": {value}}}")).unwrap());
        for (value, expected) in [
            ("0", Some(KeepAlive::For(Duration::ZERO))),
            ("\"5m\"", Some(KeepAlive::For(Duration::from_mins(5)))),
            ("0.5", Some(KeepAlive::For(Duration::from_millis(500)))),
            ("-1", Some(KeepAlive::Forever)),
            ("1e300", Some(KeepAlive::Forever)),
            ("null", None),
        ] {
            assert_eq!(read(value).unwrap(), expected, "{value}");
        }
        let error = read("\"soon\"").unwrap_err().message;
        assert!(error.starts_with("keep_alive: expected seconds, or a duration"), "{error}");
    }
}
