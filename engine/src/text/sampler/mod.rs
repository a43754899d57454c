//! Choosing the next token from the logits: llama.cpp's chain of samplers, with its names, order and defaults.
//!
//! The same seed, options, tokens and logits choose the same token on every machine: the random numbers are made of
//! integers ([`Sampler::seed`]), `exp`, `log` and `pow` are the `libm` crate's and never the C library's, and equal
//! logits are ordered by token id. A NaN logit counts as impossible. After [`Sampler::new`] nothing is allocated.

mod breakers;
mod candidates;
mod defaults;
mod dry;
mod history;
mod mirostat;
mod named;
mod options;
mod penalties;
mod rng;
mod temperature;
#[cfg(test)]
mod tests;
mod truncate;

pub use breakers::Breakers;
pub use options::{Mirostat, SamplerKind, SamplerOptions, SamplerOverrides};

use candidates::{Candidate, Candidates};
use dry::Dry;
use penalties::Penalties;
use rng::Rng;

/// Why a sampler cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SamplerError {
    /// An option has a value without meaning.
    #[error("sampling option {option} is {found}, expected {expected}")]
    OutOfRange {
        /// Its name.
        option: &'static str,
        /// Its value.
        found: String,
        /// The values with a meaning.
        expected: &'static str,
    },
    /// A chain names a sampler that there is not.
    #[error(
        "unknown sampler {name:?}, expected penalties, dry, top_n_sigma, top_k, typ_p, top_p, min_p, xtc or temperature"
    )]
    UnknownSampler {
        /// The name.
        name: String,
    },
    /// A logit bias is for a token that there is not.
    #[error(
        "sampling option logit_bias names token {token}, expected one of the {vocabulary} tokens of the vocabulary"
    )]
    UnknownToken {
        /// The token.
        token: u32,
        /// The size of the vocabulary.
        vocabulary: usize,
    },
    /// The vocabulary holds no token, or more than there are token ids.
    #[error("the vocabulary has {vocabulary} tokens, expected 1 to 4294967295")]
    Vocabulary {
        /// The size of the vocabulary.
        vocabulary: usize,
    },
}

/// Bytes that a sampler works with: one candidate for each token. Those that count tokens (penalties, DRY) take four
/// more for each.
pub(crate) fn bytes_for(vocabulary: usize) -> usize {
    vocabulary.saturating_mul(size_of::<Candidate>())
}

/// Where the random numbers of a [`Sampler`] stand, and Mirostat's surprise: all that one text leaves to the next. It is
/// some bytes, so it can be kept for every answer that may be taken back.
#[derive(Debug, Clone)]
pub struct Chance {
    mirostat: Option<mirostat::State>,
    rng: Rng,
    seed: u64,
}

/// Chooses tokens, remembering those of the text so far.
#[derive(Debug, Clone)]
pub struct Sampler {
    /// With every sampler left out that the options switch off.
    chain: Vec<SamplerKind>,
    options: SamplerOptions,
    greedy: bool,
    penalties: Option<Penalties>,
    dry: Option<Dry>,
    mirostat: Option<mirostat::State>,
    candidates: Candidates,
    rng: Rng,
    seed: u64,
}

impl Sampler {
    /// Makes a sampler for logits of `vocabulary` tokens and texts of up to `context` tokens, the bound of every window
    /// that looks back. `breakers` are DRY's; without DRY, `&Breakers::default()` serves.
    ///
    /// # Errors
    /// [`SamplerError`] for an option without meaning, a bias for a token outside the vocabulary, or a vocabulary that
    /// is empty or beyond 32-bit ids.
    pub fn new(
        options: &SamplerOptions,
        vocabulary: usize,
        context: usize,
        breakers: &Breakers,
    ) -> Result<Self, SamplerError> {
        options.validate()?;
        if vocabulary == 0 || u32::try_from(vocabulary).is_err() {
            return Err(SamplerError::Vocabulary { vocabulary });
        }
        if let Some(&(token, _)) = options.logit_bias.iter().find(|(token, _)| *token as usize >= vocabulary)
        {
            return Err(SamplerError::UnknownToken { token, vocabulary });
        }
        let mirostat = mirostat::State::new(options, vocabulary);
        let chain = if mirostat.is_some() { &[] } else { options.samplers.as_slice() };
        let uses = |kind| chain.contains(&kind);
        let seed = options.seed.unwrap_or_else(rng::seed_from_os);
        let mut sampler = Sampler {
            chain: chain.to_vec(),
            greedy: options.is_greedy(),
            penalties: Penalties::new(options, vocabulary, context).filter(|_| uses(SamplerKind::Penalties)),
            dry: Dry::new(options, vocabulary, context, breakers).filter(|_| uses(SamplerKind::Dry)),
            mirostat,
            candidates: Candidates::with_capacity(vocabulary),
            rng: Rng::new(seed),
            seed,
            options: options.clone(),
        };
        let mut chain = std::mem::take(&mut sampler.chain);
        chain.retain(|&kind| sampler.acts(kind));
        sampler.chain = chain;
        Ok(sampler)
    }

    /// The seed of the random numbers, drawn or given. xoshiro256++, its state filled by SplitMix64, serves every draw:
    /// one for the token, and before it one for XTC where that is on.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Chooses the next token, and does not yet [`accept`](Self::accept) it. `logits` holds one for each token of the
    /// vocabulary; those beyond it are ignored, and of none at all token 0 is chosen.
    pub fn sample(&mut self, logits: &[f32]) -> u32 {
        self.sample_from(logits, None)
    }

    /// As [`Sampler::sample`], of the tokens alone whose bit is set: `id % 32` of word `id / 32`. The samplers do not see the
    /// others. A single one is chosen without a random number.
    pub fn sample_allowed(&mut self, logits: &[f32], allowed: &[u32]) -> u32 {
        let mut set = allowed.iter().zip(0..).filter(|(word, _)| **word != 0);
        match (set.next(), set.next()) {
            (Some((word, index)), None) if word.is_power_of_two() => index * 32 + word.trailing_zeros(),
            _ => self.sample_from(logits, Some(allowed)),
        }
    }

    fn sample_from(&mut self, logits: &[f32], allowed: Option<&[u32]>) -> u32 {
        let picked = if self.greedy { self.greedy(logits, allowed) } else { self.draw(logits, allowed) };
        picked.map_or(0, |candidate| candidate.id)
    }

    /// Takes up another text, such as a prompt, in the place of the one so far: what looks back sees its last tokens. The
    /// random numbers go on. Nothing is allocated.
    pub fn begin(&mut self, text: &[u32]) {
        if let Some(penalties) = &mut self.penalties {
            penalties.reset();
            text.iter().for_each(|&token| penalties.accept(token));
        }
        if let Some(dry) = &mut self.dry {
            dry.reset();
            text.iter().for_each(|&token| dry.accept(token));
        }
    }

    /// Adds a token to the text: the one chosen, or any other, such as the prompt's.
    pub fn accept(&mut self, token: u32) {
        if let Some(penalties) = &mut self.penalties {
            penalties.accept(token);
        }
        if let Some(dry) = &mut self.dry {
            dry.accept(token);
        }
        if let Some(mirostat) = &mut self.mirostat {
            mirostat.accept(token);
        }
    }

    /// Adds tokens to the text: a prompt, which penalties and DRY then see as llama.cpp's do.
    pub fn accept_all(&mut self, tokens: &[u32]) {
        tokens.iter().for_each(|&token| self.accept(token));
    }

    /// Forgets the text and starts the random numbers again from the seed.
    pub fn reset(&mut self) {
        if let Some(penalties) = &mut self.penalties {
            penalties.reset();
        }
        if let Some(dry) = &mut self.dry {
            dry.reset();
        }
        if let Some(mirostat) = &mut self.mirostat {
            mirostat.reset();
        }
        self.rng = Rng::new(self.seed);
    }

    /// Forgets the text and starts the random numbers from another seed.
    pub fn reseed(&mut self, seed: u64) {
        self.seed = seed;
        self.reset();
    }

    /// Where the random numbers stand.
    pub fn chance(&self) -> Chance {
        Chance { mirostat: self.mirostat.clone(), rng: self.rng.clone(), seed: self.seed }
    }

    /// Goes on from where the random numbers stood: from the next text on it is as if nothing had been chosen since.
    pub fn set_chance(&mut self, chance: &Chance) {
        self.mirostat.clone_from(&chance.mirostat);
        self.rng.clone_from(&chance.rng);
        self.seed = chance.seed;
    }

    /// The highest logit, the lowest id among equals, after what changes logits. Samplers that only drop tokens cannot
    /// matter (typ_p and XTC, which may drop the best, make no sense here and are left out).
    fn greedy(&mut self, logits: &[f32], allowed: Option<&[u32]>) -> Option<Candidate> {
        let changes = !self.options.logit_bias.is_empty() || self.penalties.is_some() || self.dry.is_some();
        if !changes && allowed.is_none() {
            self.candidates.load_best(logits, 1);
            return self.candidates.best();
        }
        self.candidates.load(logits, allowed);
        self.apply_bias();
        if let Some(penalties) = &self.penalties {
            penalties.apply(&mut self.candidates);
        }
        if let Some(dry) = &mut self.dry {
            dry.apply(&mut self.candidates);
        }
        self.candidates.best()
    }

    fn draw(&mut self, logits: &[f32], allowed: Option<&[u32]>) -> Option<Candidate> {
        self.run_chain(logits, allowed);
        let picked = self.candidates.draw(self.rng.uniform());
        if let (Some(mirostat), Some(picked)) = (&mut self.mirostat, &picked) {
            mirostat.pick(picked);
        }
        picked
    }

    /// Leaves the candidates to draw from.
    fn run_chain(&mut self, logits: &[f32], allowed: Option<&[u32]>) {
        let top_k = self.options.top_k as usize;
        let mut first = 0;
        if self.chain.first() == Some(&SamplerKind::TopK)
            && self.options.logit_bias.is_empty()
            && allowed.is_none()
        {
            self.candidates.load_best(logits, top_k);
            first = 1;
        } else {
            self.candidates.load(logits, allowed);
            self.apply_bias();
        }
        for index in first..self.chain.len() {
            if let Some(&kind) = self.chain.get(index) {
                self.apply(kind);
            }
        }
        if let Some(mirostat) = &self.mirostat {
            temperature::temperature(&mut self.candidates, self.options.temperature);
            mirostat.truncate(&mut self.candidates);
        }
    }

    fn apply_bias(&mut self) {
        for &(token, bias) in &self.options.logit_bias {
            self.candidates.bias(token, bias);
        }
    }

    /// Whether the options leave a sampler anything to do.
    fn acts(&self, kind: SamplerKind) -> bool {
        let options = &self.options;
        match kind {
            SamplerKind::Penalties => self.penalties.is_some(),
            SamplerKind::Dry => self.dry.is_some(),
            SamplerKind::TopNSigma => options.top_n_sigma > 0.0,
            SamplerKind::TopK => options.top_k > 0,
            SamplerKind::TypP => options.typ_p < 1.0,
            SamplerKind::TopP => options.top_p < 1.0,
            SamplerKind::MinP => options.min_p > 0.0,
            SamplerKind::Xtc => options.xtc_probability > 0.0 && options.xtc_threshold <= 0.5,
            SamplerKind::Temperature => options.temperature != 1.0 || options.dynatemp_range > 0.0,
        }
    }

    fn apply(&mut self, kind: SamplerKind) {
        let (options, candidates) = (&self.options, &mut self.candidates);
        let min_keep = options.min_keep;
        match kind {
            SamplerKind::Penalties => self.penalties.iter().for_each(|penalties| penalties.apply(candidates)),
            SamplerKind::Dry => self.dry.iter_mut().for_each(|dry| dry.apply(candidates)),
            SamplerKind::TopNSigma => truncate::top_n_sigma(candidates, options.top_n_sigma),
            SamplerKind::TopK => truncate::top_k(candidates, options.top_k as usize),
            SamplerKind::TypP => truncate::typ_p(candidates, options.typ_p, min_keep),
            SamplerKind::TopP => truncate::top_p(candidates, options.top_p, min_keep),
            SamplerKind::MinP => truncate::min_p(candidates, options.min_p, min_keep),
            SamplerKind::Xtc if self.rng.uniform() < f64::from(options.xtc_probability) => {
                truncate::xtc(candidates, options.xtc_threshold, min_keep);
            }
            SamplerKind::Xtc => {}
            SamplerKind::Temperature if options.dynatemp_range > 0.0 => temperature::dynamic_temperature(
                candidates,
                options.temperature,
                options.dynatemp_range,
                options.dynatemp_exponent,
            ),
            SamplerKind::Temperature => temperature::temperature(candidates, options.temperature),
        }
    }
}
