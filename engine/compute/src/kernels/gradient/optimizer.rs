use crate::kernels::Kernels;

/// What a step of AdamW does (Loshchilov and Hutter 2019, arXiv 1711.05101), as torch's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// The learning rate.
    pub rate: f32,
    /// How much of the mean gradient stays.
    pub beta1: f32,
    /// How much of the mean square stays.
    pub beta2: f32,
    /// What is added to the root of the mean square.
    pub epsilon: f32,
    /// How much of itself a weight loses, times the rate.
    pub decay: f32,
    /// Steps, this one among them.
    pub step: u32,
}

impl Default for AdamW {
    /// torch's, but without decay.
    fn default() -> Self {
        Self { rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: 0.0, step: 1 }
    }
}

impl Kernels {
    /// A step of `weights` by their `gradients`, times `scale`; `means` and `squares` are those of the gradients so far. All have the
    /// same length.
    ///
    /// Each operation is rounded once, so that it is the same on every instruction set.
    pub fn adamw(
        self,
        options: &AdamW,
        scale: f32,
        weights: &mut [f32],
        gradients: &[f32],
        means: &mut [f32],
        squares: &mut [f32],
    ) {
        let &AdamW { rate, beta1, beta2, epsilon, decay, step } = options;
        let corrected = |beta: f32| 1.0 - libm::pow(f64::from(beta), f64::from(step));
        let rate_of_mean = (f64::from(rate) / corrected(beta1)) as f32;
        let root = libm::sqrt(corrected(beta2)) as f32;
        let (keep, new1, new2) = (1.0 - rate * decay, 1.0 - beta1, 1.0 - beta2);
        let moments = means.iter_mut().zip(squares);
        for ((weight, gradient), (mean, square)) in weights.iter_mut().zip(gradients).zip(moments) {
            let gradient = gradient * scale;
            *mean = *mean * beta1 + gradient * new1;
            *square = *square * beta2 + gradient * gradient * new2;
            *weight = *weight * keep - rate_of_mean * *mean / (square.sqrt() / root + epsilon);
        }
    }
}
