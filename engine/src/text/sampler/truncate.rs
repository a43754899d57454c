//! The samplers that drop improbable tokens (XTC: probable ones). Each is its definition, and leaves at least one.

use super::candidates::Candidates;

/// Keeps the `k` tokens with the highest logits (Fan, Lewis & Dauphin, "Hierarchical Neural Story Generation", 2018).
pub(super) fn top_k(candidates: &mut Candidates, k: usize) {
    candidates.keep_best(k.max(1));
}

/// Nucleus sampling (Holtzman et al., "The Curious Case of Neural Text Degeneration", 2019): keeps the shortest run of
/// best tokens whose probabilities reach `p`.
pub(super) fn top_p(candidates: &mut Candidates, p: f32, min_keep: usize) {
    candidates.softmax();
    let mut kept = 0;
    let mut mass = 0.0f64;
    while kept < candidates.len() {
        // The nucleus is usually small: order a few of the best, and more only when they do not suffice.
        if kept.is_power_of_two() || kept == 0 {
            candidates.sort_first((2 * kept).max(128));
        }
        mass += candidates.items().get(kept).map_or(0.0, |c| f64::from(c.p));
        kept += 1;
        if mass >= f64::from(p) && kept >= min_keep {
            break;
        }
    }
    candidates.truncate(kept);
}

/// Min-p (Nguyen et al., "Turning Up the Heat: Min-p Sampling for Creative and Coherent LLM Outputs", 2024): keeps the
/// tokens at least `p` times as probable as the best one.
pub(super) fn min_p(candidates: &mut Candidates, p: f32, min_keep: usize) {
    let Some(best) = candidates.best() else { return };
    let least = best.logit + libm::logf(p);
    let enough = candidates.items().iter().filter(|c| c.logit >= least).count() >= min_keep.max(1);
    if enough {
        candidates.keep_from(least);
    } else {
        candidates.keep_best(min_keep.max(1));
    }
}

/// Locally typical sampling (Meister et al., "Locally Typical Sampling", 2022): keeps the tokens whose surprise
/// `-ln p` is nearest to the entropy, until their probabilities exceed `p`.
pub(super) fn typ_p(candidates: &mut Candidates, p: f32, min_keep: usize) {
    let log_sum = candidates.softmax();
    let surprise = |logit: f32| log_sum - f64::from(logit);
    let entropy = entropy(candidates, log_sum);
    let distance = |logit: f32| (surprise(logit) - entropy).abs();
    candidates.sort_by(|a, b| distance(a.logit).total_cmp(&distance(b.logit)).then(a.id.cmp(&b.id)));
    let mut mass = 0.0f64;
    let reached = candidates.items().iter().enumerate().position(|(i, c)| {
        mass += f64::from(c.p);
        mass > f64::from(p) && i + 1 >= min_keep
    });
    if let Some(last) = reached {
        candidates.truncate(last + 1);
    }
}

/// The entropy in nats, after a softmax that returned `log_sum`.
pub(super) fn entropy(candidates: &Candidates, log_sum: f64) -> f64 {
    let possible = candidates.items().iter().filter(|c| c.p > 0.0);
    possible.map(|c| f64::from(c.p) * (log_sum - f64::from(c.logit))).sum()
}

/// Top-nσ (Tang et al., "Top-nσ: Not All Logits Are You Need", 2024): keeps the logits within `n` standard deviations
/// of the highest.
pub(super) fn top_n_sigma(candidates: &mut Candidates, n: f32) {
    let Some(best) = candidates.best() else { return };
    let finite = || candidates.items().iter().map(|c| f64::from(c.logit)).filter(|l| l.is_finite());
    let count = finite().count().max(1) as f64;
    let mean = finite().sum::<f64>() / count;
    let variance = finite().map(|l| (l - mean) * (l - mean)).sum::<f64>() / count;
    candidates.keep_from((f64::from(best.logit) - f64::from(n) * libm::sqrt(variance)) as f32);
}

/// XTC, "exclude top choices" (p-e-w, text-generation-webui pull request 6335, 2024): of the tokens with a probability
/// of at least `threshold`, drops all but the least probable. The caller has drawn that it acts.
pub(super) fn xtc(candidates: &mut Candidates, threshold: f32, min_keep: usize) {
    candidates.softmax();
    // No more than 1 / threshold tokens can be top choices, but the order costs nothing after top_k.
    candidates.sort_first(candidates.len());
    let choices = candidates.items().iter().take_while(|c| c.p >= threshold).count();
    let dropped = choices.saturating_sub(1);
    if candidates.len() - dropped >= min_keep {
        candidates.drop_first(dropped);
    }
}
