use super::super::document::Document;
use anyhow::{Result, bail};
use std::f64::consts::TAU;

/// Frequencies of the rotary embedding.
pub(super) struct Rope {
    pub(super) theta: f32,
    pub(super) scaling: Scaling,
}

pub(super) enum Scaling {
    None,
    /// All positions divided by this.
    Linear(f32),
    /// Each frequency divided by its own factor.
    Factors(Vec<f32>),
}

impl Rope {
    /// transformers 4 writes `rope_theta` and `rope_scaling`, transformers 5 both as `rope_parameters`. `theta` is what
    /// the family takes where the file has none.
    pub(super) fn read(config: &Document<'_>, head_dim: u32, theta: f32) -> Result<Rope> {
        whole(config)?;
        let theta = config.f32("rope_theta")?.unwrap_or(theta);
        match parameters(config)? {
            Some(parameters) => Self::of_parameters(&parameters, head_dim, theta),
            None => Ok(Rope { theta, scaling: Scaling::None }),
        }
    }

    /// The frequencies that an object such as `rope_scaling` describes.
    pub(super) fn of_parameters(parameters: &Document<'_>, head_dim: u32, theta: f32) -> Result<Rope> {
        whole(parameters)?;
        let theta = parameters.f32("rope_theta")?.unwrap_or(theta);
        let scaling = match kind(parameters)? {
            "default" => Scaling::None,
            "linear" => Scaling::Linear(positive(parameters, "factor")?),
            "llama3" => Scaling::Factors(llama3_factors(parameters, theta, head_dim)?),
            other => bail!(
                "{}: rope_type: {other} is not supported, expected default, linear or llama3",
                parameters.name()
            ),
        };
        Ok(Rope { theta, scaling })
    }

    /// The tensors that hold the frequencies' factors, if there are any.
    pub(super) fn into_tensors(self) -> Vec<(&'static str, Vec<f32>)> {
        match self.scaling {
            Scaling::Factors(factors) => vec![("rope_freqs.weight", factors)],
            Scaling::None | Scaling::Linear(_) => Vec::new(),
        }
    }
}

/// The object that describes the rotary embedding.
pub(super) fn parameters<'a>(config: &'a Document<'_>) -> Result<Option<Document<'a>>> {
    match config.object("rope_parameters")? {
        Some(parameters) => Ok(Some(parameters)),
        None => config.object("rope_scaling"),
    }
}

/// How frequencies are scaled, by name.
pub(super) fn kind<'a>(parameters: &'a Document<'_>) -> Result<&'a str> {
    Ok(parameters.str("rope_type")?.or(parameters.str("type")?).unwrap_or("default"))
}

/// The number at `key`, which must be there and above 0.
pub(super) fn positive(parameters: &Document<'_>, key: &str) -> Result<f32> {
    match parameters.require_f32(key)? {
        value if value > 0.0 => Ok(value),
        value => bail!("{}: {key}: expected a number above 0, found {value}", parameters.name()),
    }
}

/// Refuses heads of which a part only is rotated.
fn whole(document: &Document<'_>) -> Result<()> {
    if document.f32("partial_rotary_factor")?.is_some_and(|factor| factor != 1.0) {
        bail!("{}: partial_rotary_factor is not supported", document.name());
    }
    Ok(())
}

/// Llama 3.1's scaling: wavelengths above `original context / low_freq_factor` are stretched by `factor`, those below
/// `original context / high_freq_factor` are left alone, those between are stretched by a blend of the two.
///
/// Computed in f64 and rounded once. llama.cpp's converter computes in f32 and may differ in the last bit.
fn llama3_factors(parameters: &Document<'_>, theta: f32, head_dim: u32) -> Result<Vec<f32>> {
    let number = |key| positive(parameters, key).map(f64::from);
    let (factor, low, high) = (number("factor")?, number("low_freq_factor")?, number("high_freq_factor")?);
    let context = number("original_max_position_embeddings")?;
    if high <= low {
        bail!("{}: expected high_freq_factor above low_freq_factor", parameters.name());
    }
    let stretch = |pair: u32| {
        let wavelength = TAU * f64::from(theta).powf(f64::from(2 * pair) / f64::from(head_dim));
        // 1 and more for short waves, 0 and less for long ones.
        let blend = ((context / wavelength - low) / (high - low)).clamp(0.0, 1.0);
        (1.0 / ((1.0 - blend) / factor + blend)) as f32
    };
    Ok((0..head_dim / 2).map(stretch).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn llama_3_2_stretches_long_waves_only() {
        let parameters = json!({"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192});
        let parameters = Document::of("config.json: rope_scaling", &parameters).unwrap();
        let factors = llama3_factors(&parameters, 500000.0, 64).unwrap();
        assert_eq!(factors.len(), 32);
        assert_eq!((factors[0], factors[14], factors[31]), (1.0, 1.0, 32.0));
        assert!(factors.windows(2).all(|pair| pair[0] <= pair[1]));
        assert!(factors.iter().any(|&factor| factor > 1.0 && factor < 32.0));
    }
}
