use super::gate::slope;
use super::last;
use crate::kernels::Kernels;
use crate::kernels::activation::exp;
use crate::lanes::{Op, Tier};

/// What a target's loss counts, and by what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// What gradients are multiplied by.
    pub weight: f32,
    /// With ε the target has the probability 1 − ε, and all tokens together, the target among them, have ε (Szegedy et al. 2016,
    /// arXiv 1512.00567).
    pub smoothing: f32,
    /// The limit of the cap that the logits went through: see [`Kernels::cap`].
    pub cap: Option<f32>,
}

impl Kernels {
    /// The cross-entropy of a target, `ln Σ exp(logits) − logits[target]`, and in place of the logits its gradient by them, or by
    /// what they were before their cap: `(softmax − 1 for the target) · weight`. A target beyond the logits is none of them.
    pub fn cross_entropy(self, logits: &mut [f32], target: usize, loss: &Loss) -> f64 {
        self.run(CrossEntropy { logits, target, loss })
    }

    /// The logarithm of a target's probability: `logits[target] − ln Σ exp(logits)`.
    pub fn log_probability(self, logits: &[f32], target: usize) -> f64 {
        let chosen = logits.get(target).copied().unwrap_or(f32::NEG_INFINITY);
        f64::from(chosen) - self.run(LogSum { logits })
    }
}

struct CrossEntropy<'a> {
    logits: &'a mut [f32],
    target: usize,
    loss: &'a Loss,
}

impl Op for CrossEntropy<'_> {
    type Out = f64;

    #[inline(always)]
    fn run<L: Tier>(self, l: L) -> f64 {
        let Self { logits, target, loss: &Loss { weight, smoothing, cap } } = self;
        let (high, total) = log_sum::<L>(l, logits);
        let log_sum = f64::from(high) + libm::log(f64::from(total));
        let chosen = logits.get(target).copied().unwrap_or(high);
        let each = smoothing / logits.len().max(1) as f32;
        let mut loss = log_sum - f64::from(1.0 - smoothing) * f64::from(chosen);
        if smoothing > 0.0 {
            let sum: f64 = logits.iter().map(|&logit| f64::from(logit)).sum();
            loss -= f64::from(each) * sum;
        }
        let (highest, scale) = (l.splat(high), l.splat(weight / total));
        let less = l.splat(-each * weight);
        let (is_capped, inverse) = (cap.is_some(), l.splat(cap.map_or(0.0, |limit| 1.0 / limit)));
        let (vectors, rest) = logits.as_chunks_mut();
        let mut last = last(rest, f32::NEG_INFINITY);
        for x in vectors.iter_mut().chain([&mut last]) {
            let logit = l.load(x);
            let mut gradient = l.fma(exp(l, l.sub(logit, highest)), scale, less);
            if is_capped {
                gradient = l.mul(gradient, slope(l, logit, inverse));
            }
            l.store(gradient, x);
        }
        rest.copy_from_slice(&last[..rest.len()]);
        if let Some(gradient) = logits.get_mut(target) {
            let tanh = chosen * cap.map_or(0.0, |limit| 1.0 / limit);
            *gradient -= (1.0 - smoothing) * weight * (1.0 - tanh * tanh);
        }
        loss
    }
}

struct LogSum<'a> {
    logits: &'a [f32],
}

impl Op for LogSum<'_> {
    type Out = f64;

    #[inline(always)]
    fn run<L: Tier>(self, l: L) -> f64 {
        let (high, total) = log_sum::<L>(l, self.logits);
        f64::from(high) + libm::log(f64::from(total))
    }
}

/// The maximum of some numbers, and the sum of what is left of them by e to the power.
#[inline(always)]
fn log_sum<L: Tier>(l: L, logits: &[f32]) -> (f32, f32) {
    let (vectors, rest) = logits.as_chunks();
    let last = last(rest, f32::NEG_INFINITY);
    let vectors = vectors.iter().chain([&last]);
    let mut high = l.splat(f32::NEG_INFINITY);
    for x in vectors.clone() {
        high = l.max(l.load(x), high);
    }
    let high = l.fold_max(high);
    let highest = l.splat(high);
    let mut total = l.splat(0.0);
    for x in vectors {
        total = l.add(total, exp(l, l.sub(l.load(x), highest)));
    }
    (high, l.fold_add(total))
}
