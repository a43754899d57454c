//! Temperature, fixed or dynamic.

use super::candidates::Candidates;
use super::truncate::{entropy, top_k};

/// Divides the logits by `temperature` (Ackley, Hinton & Sejnowski, 1985); at 0 or below only the best token is left.
pub(super) fn temperature(candidates: &mut Candidates, temperature: f32) {
    if temperature > 0.0 {
        candidates.scale(temperature);
    } else {
        top_k(candidates, 1);
    }
}

/// Entropy-based dynamic temperature (kalomaze, koboldcpp, 2023): from `base - range` where the model is certain to
/// `base + range` where every candidate is as likely, along the normalized entropy to the power of `exponent`.
pub(super) fn dynamic_temperature(candidates: &mut Candidates, base: f32, range: f32, exponent: f32) {
    if candidates.len() < 2 {
        return;
    }
    let low = f64::from((base - range).max(0.0));
    let high = f64::from(base + range);
    let log_sum = candidates.softmax();
    let normalized = (entropy(candidates, log_sum) / libm::log(candidates.len() as f64)).clamp(0.0, 1.0);
    let chosen = low + (high - low) * libm::pow(normalized, f64::from(exponent));
    temperature(candidates, chosen as f32);
}
