//! How far one model's next-token distribution is from another's: llama.cpp's `--kl-divergence` figures.

use serde::{Deserialize, Serialize};

/// The natural logarithm of the sum of the exponentials of a row of logits: what turns each of them into a log
/// probability when it is subtracted. NaN if one of them is.
pub fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if max == f32::NEG_INFINITY {
        return f64::from(max);
    }
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - max).exp()).sum();
    f64::from(max) + sum.ln()
}

/// The negative log-likelihood of `token`, in nats; infinite for a token without a logit.
pub fn surprise(logits: &[f32], token: u32) -> f64 {
    logits.get(token as usize).map_or(f64::INFINITY, |&logit| log_sum_exp(logits) - f64::from(logit))
}

/// The Kullback-Leibler divergence of the distribution that `model`'s logits stand for from that of `reference`'s, in
/// nats. It is never negative, and 0 where both are the same. The rows are of one vocabulary.
pub fn kl_divergence(reference: &[f32], model: &[f32]) -> f64 {
    divergence(reference, log_sum_exp(reference), model, log_sum_exp(model))
}

fn divergence(reference: &[f32], reference_norm: f64, model: &[f32], model_norm: f64) -> f64 {
    let term = |(&p, &q): (&f32, &f32)| {
        let (log_p, log_q) = (f64::from(p) - reference_norm, f64::from(q) - model_norm);
        // What the reference never says takes no part, however unlikely the model finds it.
        if log_p == f64::NEG_INFINITY { 0.0 } else { log_p.exp() * (log_p - log_q) }
    };
    // Rounding may lead a hair below 0.
    reference.iter().zip(model).map(term).sum::<f64>().max(0.0)
}

/// Two models' predictions at one position of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// See [`kl_divergence`].
    pub divergence: f64,
    /// Both find the same token likeliest.
    pub same_top: bool,
    /// The model's probability of the text's own token, less the reference's.
    pub probability_change: f64,
    /// The reference's surprise at the text's own token, in nats.
    pub reference_surprise: f64,
}

impl Comparison {
    /// Compares two rows of logits where the text goes on with `token`.
    pub fn new(reference: &[f32], model: &[f32], token: u32) -> Comparison {
        let (reference_norm, model_norm) = (log_sum_exp(reference), log_sum_exp(model));
        let log_probability = |row: &[f32], norm: f64| {
            row.get(token as usize).map_or(f64::NEG_INFINITY, |&logit| f64::from(logit) - norm)
        };
        let (before, after) =
            (log_probability(reference, reference_norm), log_probability(model, model_norm));
        Comparison {
            divergence: divergence(reference, reference_norm, model, model_norm),
            same_top: likeliest(reference) == likeliest(model),
            probability_change: after.exp() - before.exp(),
            reference_surprise: -before,
        }
    }
}

/// The first of the highest logits.
fn likeliest(logits: &[f32]) -> Option<usize> {
    let better = |best: (usize, f32), next: (usize, f32)| if next.1 > best.1 { next } else { best };
    logits.iter().copied().enumerate().reduce(better).map(|(index, _)| index)
}

/// What is known after some comparisons. It takes eight bytes for each, as percentiles need them all.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    divergences: Vec<f64>,
    same_top: usize,
    squared_change: f64,
    reference_surprise: f64,
}

/// Figures over all positions of a text.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Mean KL divergence, in nats.
    pub mean: f64,
    /// Standard error of the mean.
    pub mean_error: f64,
    /// Half of the positions diverge less.
    pub median: f64,
    /// 99 % of the positions diverge less.
    pub p99: f64,
    /// The position that diverges most.
    pub max: f64,
    /// Part of the positions at which both models find the same token likeliest.
    pub same_top: f64,
    /// Root of the mean square of the change in probability of the text's own token.
    pub rms_change: f64,
    /// The reference's perplexity on the same positions.
    pub reference_perplexity: f64,
}

impl Statistics {
    /// Takes another position.
    pub fn push(&mut self, comparison: &Comparison) {
        self.divergences.push(comparison.divergence);
        self.same_top += usize::from(comparison.same_top);
        self.squared_change += comparison.probability_change.powi(2);
        self.reference_surprise += comparison.reference_surprise;
    }

    /// Takes the logits of another position, at which the text goes on with `token`.
    pub fn compare(&mut self, reference: &[f32], model: &[f32], token: u32) {
        self.push(&Comparison::new(reference, model, token));
    }

    /// The figures so far; None before the first comparison.
    pub fn summary(&self) -> Option<Summary> {
        let count = self.divergences.len() as f64;
        let mut sorted = self.divergences.clone();
        sorted.sort_by(f64::total_cmp);
        let (mean, mean_error) = mean_and_error(&sorted)?;
        Some(Summary {
            mean,
            mean_error,
            median: percentile(&sorted, 0.5)?,
            p99: percentile(&sorted, 0.99)?,
            max: *sorted.last()?,
            same_top: self.same_top as f64 / count,
            rms_change: (self.squared_change / count).sqrt(),
            reference_perplexity: (self.reference_surprise / count).exp(),
        })
    }
}

/// The mean and its standard error; None of nothing.
pub fn mean_and_error(values: &[f64]) -> Option<(f64, f64)> {
    let count = values.len() as f64;
    let mean = (!values.is_empty()).then(|| values.iter().sum::<f64>() / count)?;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    Some((mean, (variance / (count - 1.0).max(1.0)).sqrt()))
}

/// The value below which `fraction` of the sorted values are, between two of them where it falls there.
pub fn percentile(sorted: &[f64], fraction: f64) -> Option<f64> {
    let place = fraction * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (*sorted.get(place as usize)?, *sorted.get(place.ceil() as usize)?);
    Some(below + (above - below) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_known_divergence() {
        // Halves against a quarter and three quarters.
        let (reference, model) = ([0.0, 0.0], [1.0, 1.0 + 3f32.ln()]);
        let expected = 0.5 * (0.5f64 / 0.25).ln() + 0.5 * (0.5f64 / 0.75).ln();
        assert!((kl_divergence(&reference, &model) - expected).abs() < 1e-7);
        assert!((surprise(&model, 0) - 4f64.ln()).abs() < 1e-7);
        assert_eq!(surprise(&model, 2), f64::INFINITY);
    }

    #[test]
    fn what_the_reference_rules_out_takes_no_part() {
        let out = f32::NEG_INFINITY;
        assert_eq!(kl_divergence(&[3.0, out], &[1.0, out]), 0.0);
        assert!((kl_divergence(&[3.0, out], &[1.0, 1.0]) - 2f64.ln()).abs() < 1e-12);
        assert_eq!(kl_divergence(&[1.0, 1.0], &[3.0, out]), f64::INFINITY);
    }

    #[test]
    fn a_comparison_looks_at_the_text_s_token_and_at_the_likeliest() {
        let third = 3f32.ln();
        let comparison = Comparison::new(&[third, 0.0], &[0.0, third], 1);
        assert!(!comparison.same_top && (comparison.probability_change - 0.5).abs() < 1e-7);
        assert!((comparison.reference_surprise - 4f64.ln()).abs() < 1e-7);
        assert!(Comparison::new(&[1.0, 1.0, 0.0], &[2.0, 2.0, 2.0], 0).same_top);
    }

    #[test]
    fn statistics_are_those_of_all_positions() {
        let mut statistics = Statistics::default();
        assert_eq!(statistics.summary(), None);
        for (divergence, same_top) in [(4.0, true), (1.0, false), (2.0, true), (3.0, true)] {
            statistics.push(&Comparison {
                divergence,
                same_top,
                probability_change: divergence / 10.0,
                reference_surprise: 2.0,
            });
        }
        let summary = statistics.summary().unwrap();
        assert_eq!((summary.mean, summary.median, summary.max, summary.same_top), (2.5, 2.5, 4.0, 0.75));
        assert!((summary.p99 - 3.97).abs() < 1e-12 && (summary.rms_change - 0.075f64.sqrt()).abs() < 1e-12);
        assert!((summary.mean_error - (1.25f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!((summary.reference_perplexity - 2f64.exp()).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn a_shift_of_all_logits_changes_nothing(
            rows in prop::collection::vec((-30f32..30.0, -30f32..30.0), 1..50), shift in -8i8..8
        ) {
            let (reference, model): (Vec<f32>, Vec<f32>) = rows.into_iter().unzip();
            let shifted: Vec<f32> = model.iter().map(|logit| logit + f32::from(shift)).collect();
            let divergence = kl_divergence(&reference, &model);
            prop_assert!(divergence >= 0.0);
            prop_assert!((kl_divergence(&reference, &shifted) - divergence).abs() < 1e-4);
            prop_assert!(kl_divergence(&reference, &reference) < 1e-12);
        }
    }
}
