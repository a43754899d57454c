//! How tokens are picked, in the names that llama.cpp gave and all others took over.

use crate::refusal::Refusal;
use anyhow::Result;
use siskin::sampler::{Mirostat, SamplerOverrides};
use siskin::template::Json;
use siskin_kit::json::{Object, single};
use siskin_kit::openai;

/// The fields that say how tokens are picked, but for biases. A seed below 0 is one that is drawn.
///
/// # Errors
/// Values of another kind.
pub(super) fn sampling(fields: &mut Object) -> Result<SamplerOverrides> {
    const LAST_N: &str = "-1 for the whole context, 0 or a number of tokens";
    let seed = seed(fields)?;
    let typical = openai::one_of(fields, &["typical_p", "typ_p"], "a number", single)?;
    let last_n = openai::one_of(fields, &["repeat_last_n", "penalty_last_n"], LAST_N, whole)?;
    Ok(openai::sampling(fields)?
        .seed(seed)
        .typ_p(typical)
        .penalty_last_n(last_n)
        .min_keep(fields.whole("min_keep", "a whole number of at least 0")?)
        .top_n_sigma(fields.number("top_n_sigma")?)
        .xtc_probability(fields.number("xtc_probability")?)
        .xtc_threshold(fields.number("xtc_threshold")?)
        .dynatemp_range(fields.number("dynatemp_range")?)
        .dynatemp_exponent(fields.number("dynatemp_exponent")?)
        .dry_multiplier(fields.number("dry_multiplier")?)
        .dry_base(fields.number("dry_base")?)
        .dry_allowed_length(fields.whole("dry_allowed_length", "a whole number of at least 0")?)
        .dry_penalty_last_n(fields.whole("dry_penalty_last_n", LAST_N)?)
        .dry_sequence_breakers(fields.typed("dry_sequence_breakers", "an array of texts", texts)?)
        .mirostat(fields.typed("mirostat", "0, 1 or 2", mirostat)?)
        .mirostat_tau(fields.number("mirostat_tau")?)
        .mirostat_eta(fields.number("mirostat_eta")?))
}

/// A seed; below 0 it is one that is drawn, which None within Some asks for.
fn seed(fields: &mut Object) -> Result<Option<Option<u64>>> {
    fields.typed("seed", "a whole number below 2^64", |value| match value {
        Json::Integer(seed) if *seed < 0 => Some(None),
        Json::Integer(seed) => u64::try_from(*seed).ok().map(Some),
        _ => None,
    })
}

fn whole(value: &Json) -> Option<i32> {
    match value {
        Json::Integer(number) => i32::try_from(*number).ok(),
        _ => None,
    }
}

fn mirostat(value: &Json) -> Option<Mirostat> {
    whole(value).and_then(|number| Mirostat::from_number(number.into()))
}

fn texts(value: &Json) -> Option<Vec<String>> {
    let Json::Array(texts) = value else { return None };
    let text = |value: &Json| match value {
        Json::String(text) => Some(text.clone()),
        _ => None,
    };
    texts.iter().map(text).collect()
}

/// Biases by token, whose numbers are texts in JSON.
///
/// # Errors
/// Other values.
pub(super) fn logit_bias(value: &Json) -> Result<Vec<(u32, f32)>, Refusal> {
    const EXPECTED: &str = "logit_bias: expected an object of numbers from -100 to 100 by token";
    let Json::Object(entries) = value else { return Err(Refusal::invalid(EXPECTED)) };
    let entry = |(token, bias): &(String, Json)| {
        let bias = single(bias).filter(|bias| (-100.0..=100.0).contains(bias))?;
        Some((token.parse().ok()?, bias))
    };
    let all: Option<_> = entries.iter().map(entry).collect();
    all.ok_or_else(|| Refusal::invalid(EXPECTED))
}
