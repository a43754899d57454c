use super::config::{Config, Keys};
use super::weights::Loader;
use crate::fingerprint::fingerprint;
use crate::kernels::{Pairs, rope};
use crate::model::LoadError;

/// How queries and keys turn with their position (RoPE: Su et al. 2021, arXiv 2104.09864).
#[derive(Clone, Debug)]
pub(crate) struct Rope {
    pub(crate) pairs: Pairs,
    /// The angle from one position to the next, for each pair of a head.
    pub(crate) frequencies: Vec<f32>,
    /// What is rotated gets longer by this.
    pub(crate) magnitude: f32,
    /// What holds for sessions with room for more than the model began with.
    pub(crate) long: Option<LongContext>,
}

/// A rope's other frequencies, for long contexts.
#[derive(Clone, Debug)]
pub(crate) struct LongContext {
    /// The longest context that they are not for.
    pub(crate) original: usize,
    pub(crate) frequencies: Vec<f32>,
}

fingerprint!(Rope { pairs, frequencies, magnitude, long });
fingerprint!(LongContext { original, frequencies });

impl Rope {
    /// base^(−2i/d) for each pair i of the `rotated` numbers d, divided by `factor`.
    pub(crate) fn new(pairs: Pairs, base: f32, rotated: usize, factor: f32) -> Self {
        let frequency = |i: usize| {
            let exponent = 2.0 * i as f64 / rotated as f64;
            (1.0 / libm::pow(f64::from(base), exponent)) as f32 / factor
        };
        Self { pairs, frequencies: (0..rotated / 2).map(frequency).collect(), magnitude: 1.0, long: None }
    }

    /// What a file's keys say, with the factors of `rope_freqs.weight` where it has that (Llama 3.1: arXiv 2407.21783).
    pub(crate) fn of(
        keys: &Keys<'_>,
        loader: &mut Loader<'_>,
        config: &Config,
        pairs: Pairs,
    ) -> Result<Self, LoadError> {
        let rotated = keys.rotated(config.head_dim)?;
        let base = keys.positive("rope.freq_base", Some(10_000.0))?;
        let mut rope = Self::new(pairs, base, rotated, 1.0);
        if let Some(factors) = loader.numbers("rope_freqs.weight", rotated / 2)? {
            rope.divide(&factors);
        }
        let factor = linear_factor(keys)?;
        rope.frequencies.iter_mut().for_each(|frequency| *frequency /= factor);
        Ok(rope)
    }

    /// Divides each frequency by its own factor.
    pub(crate) fn divide(&mut self, factors: &[f32]) {
        for (frequency, factor) in self.frequencies.iter_mut().zip(factors) {
            *frequency /= factor;
        }
    }

    /// The rope in a session that has room for `context` positions. It holds for all of them, so that what a token
    /// sees does not depend on how many follow.
    pub(crate) fn in_context(&self, context: usize) -> Self {
        let frequencies = match &self.long {
            Some(long) if self.is_long(context) => &long.frequencies,
            _ => &self.frequencies,
        };
        Self { frequencies: frequencies.clone(), long: None, ..*self }
    }

    /// Whether a session with room for `context` positions has frequencies of its own.
    pub(crate) fn is_long(&self, context: usize) -> bool {
        self.long.as_ref().is_some_and(|long| context > long.original)
    }

    /// Numbers of a table's row: what turns the heads at one position.
    pub(crate) fn len(&self) -> usize {
        4 * self.frequencies.len()
    }

    /// Fills `row` for a position.
    pub(crate) fn fill(&self, row: &mut [f32], position: usize) {
        rope::fill_turns(row, self.pairs, position, &self.frequencies, self.magnitude);
    }

    /// Fills `row` with what turns back by so many positions, and leaves lengths as they are.
    pub(crate) fn fill_back(&self, row: &mut [f32], positions: usize) {
        rope::fill_turns(row, self.pairs, positions, &self.frequencies, 1.0);
        rope::reverse(row);
    }
}

/// What positions are divided by (linear scaling: Chen et al. 2023, arXiv 2306.15595).
pub(crate) fn linear_factor(keys: &Keys<'_>) -> Result<f32, LoadError> {
    match keys.str("rope.scaling.type")? {
        None => keys.positive("rope.scale_linear", Some(1.0)),
        Some("none") => Ok(1.0),
        Some("linear") => keys.positive("rope.scaling.factor", None),
        Some(other) => Err(keys.refuse("rope.scaling.type", format!("{other:?}"), "\"none\" or \"linear\"")),
    }
}
