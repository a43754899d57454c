//! The sampling options that a model file recommends.

use super::{Mirostat, SamplerOptions, SamplerOverrides};
use crate::gguf::{Gguf, GgufError, Value};

impl SamplerOverrides {
    /// What the model file recommends: its keys `general.sampling.*`, with llama.cpp's names and meanings. Samplers in
    /// `general.sampling.sequence` that there are not, such as a newer version's, are left out, as llama.cpp does.
    ///
    /// # Errors
    /// [`GgufError::WrongValue`] for a key of the wrong type, or a number that fits no option.
    pub fn from_gguf(file: &Gguf) -> Result<Self, GgufError> {
        let sequence = file.str("general.sampling.sequence")?;
        Ok(SamplerOverrides {
            samplers: sequence
                .map(|names| names.split(';').filter_map(|name| name.trim().parse().ok()).collect()),
            top_k: integer(file, "general.sampling.top_k")?,
            top_p: file.f32("general.sampling.top_p")?,
            min_p: file.f32("general.sampling.min_p")?,
            xtc_probability: file.f32("general.sampling.xtc_probability")?,
            xtc_threshold: file.f32("general.sampling.xtc_threshold")?,
            temperature: file.f32("general.sampling.temp")?,
            penalty_last_n: integer(file, "general.sampling.penalty_last_n")?,
            repeat_penalty: file.f32("general.sampling.penalty_repeat")?,
            mirostat: mirostat(file, "general.sampling.mirostat")?,
            mirostat_tau: file.f32("general.sampling.mirostat_tau")?,
            mirostat_eta: file.f32("general.sampling.mirostat_eta")?,
            ..Default::default()
        })
    }
}

impl SamplerOptions {
    /// The defaults, with the model file's recommendations over them. Lay the user's choices over these.
    ///
    /// # Errors
    /// As [`SamplerOverrides::from_gguf`].
    pub fn with_model_defaults(file: &Gguf) -> Result<Self, GgufError> {
        Ok(SamplerOptions::default().overlay(&SamplerOverrides::from_gguf(file)?))
    }
}

fn integer(file: &Gguf, key: &str) -> Result<Option<i32>, GgufError> {
    let Some(value) = file.get(key) else { return Ok(None) };
    value.as_i32().map(Some).ok_or_else(|| wrong(file, key, "a 32-bit integer", value))
}

fn mirostat(file: &Gguf, key: &str) -> Result<Option<Mirostat>, GgufError> {
    let Some(value) = file.get(key) else { return Ok(None) };
    let version = value.as_i32().and_then(|number| Mirostat::from_number(number.into()));
    version.map(Some).ok_or_else(|| wrong(file, key, "0, 1 or 2", value))
}

fn wrong(file: &Gguf, key: &str, expected: &'static str, value: Value<'_>) -> GgufError {
    let found = value.as_integer().map_or_else(|| value.kind().to_string(), |number| number.to_string());
    GgufError::WrongValue { file: file.name().to_owned(), key: key.to_owned(), expected, found }
}
