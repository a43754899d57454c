//! What a caller may ask of the sampler, with llama.cpp's names and defaults, and the check that it makes sense.

use std::fmt;
use std::str::FromStr;

use twox_hash::XxHash3_128;

use super::SamplerError;
use super::named::Named;
use crate::fingerprint::{Fingerprint, fingerprint};
use crate::text::template::Json;

/// One step of the sampling chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SamplerKind {
    /// Repetition, frequency and presence penalties.
    Penalties,
    /// DRY: penalizes the continuation of a repeated sequence.
    Dry,
    /// top-nσ: keeps logits within n standard deviations of the best.
    TopNSigma,
    /// Keeps the k best tokens.
    TopK,
    /// Locally typical sampling.
    TypP,
    /// Nucleus sampling.
    TopP,
    /// Keeps tokens at least p times as probable as the best.
    MinP,
    /// XTC: now and then excludes the top choices.
    Xtc,
    /// Divides the logits by a temperature, fixed or chosen from the entropy.
    Temperature,
}

impl SamplerKind {
    /// Every kind, in llama.cpp's default order.
    pub const DEFAULT_CHAIN: [SamplerKind; 9] = [
        SamplerKind::Penalties,
        SamplerKind::Dry,
        SamplerKind::TopNSigma,
        SamplerKind::TopK,
        SamplerKind::TypP,
        SamplerKind::TopP,
        SamplerKind::MinP,
        SamplerKind::Xtc,
        SamplerKind::Temperature,
    ];

    /// llama.cpp's canonical name.
    pub const fn name(self) -> &'static str {
        match self {
            SamplerKind::Penalties => "penalties",
            SamplerKind::Dry => "dry",
            SamplerKind::TopNSigma => "top_n_sigma",
            SamplerKind::TopK => "top_k",
            SamplerKind::TypP => "typ_p",
            SamplerKind::TopP => "top_p",
            SamplerKind::MinP => "min_p",
            SamplerKind::Xtc => "xtc",
            SamplerKind::Temperature => "temperature",
        }
    }

    /// llama.cpp's one-letter name, as in `--sampling-seq edskypmxt`.
    pub const fn letter(self) -> char {
        match self {
            SamplerKind::Penalties => 'e',
            SamplerKind::Dry => 'd',
            SamplerKind::TopNSigma => 's',
            SamplerKind::TopK => 'k',
            SamplerKind::TypP => 'y',
            SamplerKind::TopP => 'p',
            SamplerKind::MinP => 'm',
            SamplerKind::Xtc => 'x',
            SamplerKind::Temperature => 't',
        }
    }

    /// Reads a chain of names separated by `;`, such as `"top_k;top_p;temperature"`. llama.cpp's other spellings
    /// (`top-k`, `nucleus`, `typical`, `temp`, ...) are accepted; an empty text is the empty chain.
    ///
    /// # Errors
    /// [`SamplerError::UnknownSampler`] with the first name that is none of them.
    pub fn parse_chain(names: &str) -> Result<Vec<SamplerKind>, SamplerError> {
        names.split(';').map(str::trim).filter(|name| !name.is_empty()).map(str::parse).collect()
    }

    /// Reads a chain of one-letter names, such as `"kpt"`.
    ///
    /// # Errors
    /// [`SamplerError::UnknownSampler`] with the first letter that is none of them.
    pub fn parse_letters(letters: &str) -> Result<Vec<SamplerKind>, SamplerError> {
        let kind = |letter| Self::DEFAULT_CHAIN.into_iter().find(|kind| kind.letter() == letter);
        let unknown = |letter: char| SamplerError::UnknownSampler { name: letter.to_string() };
        letters.chars().map(|letter| kind(letter).ok_or_else(|| unknown(letter))).collect()
    }
}

impl FromStr for SamplerKind {
    type Err = SamplerError;

    fn from_str(name: &str) -> Result<Self, SamplerError> {
        let canonical = match name {
            "nucleus" => "top_p",
            "typical" | "typical-p" | "typical_p" | "typ" | "typ-p" => "typ_p",
            "temp" => "temperature",
            "top-k" => "top_k",
            "top-p" => "top_p",
            "min-p" => "min_p",
            "top-n-sigma" => "top_n_sigma",
            other => other,
        };
        let kind = Self::DEFAULT_CHAIN.into_iter().find(|kind| kind.name() == canonical);
        kind.ok_or_else(|| SamplerError::UnknownSampler { name: name.to_owned() })
    }
}

impl fmt::Display for SamplerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which Mirostat, if any, takes the place of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mirostat {
    /// The chain is used.
    #[default]
    Off,
    /// Version 1: estimates Zipf's exponent and keeps the k best tokens.
    V1,
    /// Version 2: drops tokens more surprising than the moving target.
    V2,
}

impl Mirostat {
    /// llama.cpp's number: 0, 1 or 2.
    pub const fn from_number(number: i64) -> Option<Mirostat> {
        match number {
            0 => Some(Mirostat::Off),
            1 => Some(Mirostat::V1),
            2 => Some(Mirostat::V2),
            _ => None,
        }
    }
}

/// Declares the options once: the struct with its defaults, and the same fields as overrides.
macro_rules! options {
    ($($(#[$doc:meta])* $name:ident: $ty:ty $(as $value:ty)? = $default:expr,)*) => {
        /// How the next token is chosen. The defaults are llama.cpp's.
        ///
        /// Options come in layers, the user's last: `SamplerOptions::default().overlay(&model).overlay(&user)`.
        ///
        /// ```
        /// use siskin::sampler::SamplerOptions;
        ///
        /// let options = SamplerOptions::default().temperature(0.0);
        /// assert!(options.is_greedy());
        /// ```
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub struct SamplerOptions {
            $($(#[$doc])* pub $name: $ty,)*
        }

        impl Default for SamplerOptions {
            fn default() -> Self {
                SamplerOptions { $($name: $default,)* }
            }
        }

        /// A layer of [`SamplerOptions`]: what is `None` is left as the layer below has it.
        #[derive(Debug, Clone, PartialEq, Default)]
        #[non_exhaustive]
        pub struct SamplerOverrides {
            $($(#[$doc])* pub $name: Option<$ty>,)*
        }

        impl SamplerOptions {
            $crate::setters! { $($name: options!(@value $ty $(, $value)?),)* }
        }

        impl SamplerOverrides {
            $crate::setters! { $($name: impl Into<Option<$ty>>,)* }
        }

        fingerprint!(SamplerOptions { $($name),* });

        impl SamplerOptions {
            /// All options by their names, as JSON has them: infinities are texts, a bias is a pair of token and bias, a
            /// sampler is its name, and Mirostat its number.
            pub fn to_json(&self) -> Vec<(&'static str, Json)> {
                vec![$((stringify!($name), Named::to_json(&self.$name)),)*]
            }
        }

        impl SamplerOverrides {
            /// Sets the option of this name to what [`SamplerOptions::to_json`] would have for the value. Whether the value is
            /// of the option's kind; None where there is no such option.
            pub fn set(&mut self, name: &str, value: &Json) -> Option<bool> {
                match name {
                    $(stringify!($name) => {
                        let value = Named::from_json(value);
                        let is_of_kind = value.is_some();
                        self.$name = value.or(self.$name.take());
                        Some(is_of_kind)
                    })*
                    _ => None,
                }
            }
        }

        impl SamplerOptions {
            /// These options with everything that `layer` sets.
            #[must_use]
            pub fn overlay(mut self, layer: &SamplerOverrides) -> Self {
                $(if let Some(value) = &layer.$name {
                    self.$name = value.clone();
                })*
                self
            }
        }
    };
    (@value $ty:ty) => { $ty };
    (@value $ty:ty, $value:ty) => { $value };
}

options! {
    /// The steps, in order; Mirostat replaces them.
    samplers: Vec<SamplerKind> = SamplerKind::DEFAULT_CHAIN.to_vec(),
    /// Seed of the random numbers; `None` draws one from the operating system.
    seed: Option<u64> as impl Into<Option<u64>> = None,
    /// Fewest tokens that typ_p, top_p, min_p and xtc leave.
    min_keep: usize = 0,
    /// Keeps this many of the best tokens; 0 or below keeps all.
    top_k: i32 = 40,
    /// Nucleus: the smallest set of best tokens with this much probability, 0 to 1; 1 is off.
    top_p: f32 = 0.95,
    /// Least probability, relative to the best token's, 0 to 1; 0 is off.
    min_p: f32 = 0.05,
    /// Typical probability mass, 0 to 1; 1 is off.
    typ_p: f32 = 1.0,
    /// Width in standard deviations below the best logit; 0 or below is off.
    top_n_sigma: f32 = -1.0,
    /// Chance that XTC acts on a token, 0 to 1; 0 is off.
    xtc_probability: f32 = 0.0,
    /// Probability from which XTC counts a token as a top choice, 0 to 1; above 0.5 is off.
    xtc_threshold: f32 = 0.1,
    /// Divides the logits; 0 picks the highest logit.
    temperature: f32 = 0.8,
    /// Half width of the range around `temperature` that the entropy chooses from; 0 is off.
    dynatemp_range: f32 = 0.0,
    /// Exponent of the normalized entropy in that choice.
    dynatemp_exponent: f32 = 1.0,
    /// How many of the last tokens the penalties look at; 0 is off, -1 the whole context.
    penalty_last_n: i32 = 64,
    /// Divides positive and multiplies negative logits of seen tokens; 1 is off.
    repeat_penalty: f32 = 1.0,
    /// Subtracted from a logit once for each time its token was seen; 0 is off.
    frequency_penalty: f32 = 0.0,
    /// Subtracted from the logit of a token that was seen; 0 is off.
    presence_penalty: f32 = 0.0,
    /// Scale of the DRY penalty; 0 is off.
    dry_multiplier: f32 = 0.0,
    /// Base of the DRY penalty, raised to the length of the repetition beyond the allowed one; below 1 is off.
    dry_base: f32 = 1.75,
    /// Longest repetition that DRY leaves alone, in tokens.
    dry_allowed_length: u32 = 2,
    /// How many of the last tokens DRY looks at; 0 is off, -1 the whole context.
    dry_penalty_last_n: i32 = -1,
    /// Texts that end a repetition. [`Breakers`](super::Breakers) turns them into tokens.
    dry_sequence_breakers: Vec<String> = ["\n", ":", "\"", "*"].map(str::to_owned).to_vec(),
    /// Mirostat instead of the chain.
    mirostat: Mirostat = Mirostat::Off,
    /// Mirostat's target surprise, in bits.
    mirostat_tau: f32 = 5.0,
    /// Mirostat's learning rate.
    mirostat_eta: f32 = 0.1,
    /// Added to the logits of these tokens before anything else; -∞ bans a token.
    logit_bias: Vec<(u32, f32)> = Vec::new(),
}

impl Fingerprint for SamplerKind {
    fn hash(&self, hasher: &mut XxHash3_128) {
        u32::from(self.letter()).hash(hasher);
    }
}

impl Fingerprint for Mirostat {
    fn hash(&self, hasher: &mut XxHash3_128) {
        let version: u32 = match self {
            Mirostat::Off => 0,
            Mirostat::V1 => 1,
            Mirostat::V2 => 2,
        };
        version.hash(hasher);
    }
}

impl SamplerOptions {
    /// A hash of all of them, for files that tell whether they were made with the same.
    pub fn fingerprint(&self) -> u128 {
        let mut hasher = XxHash3_128::new();
        self.hash(&mut hasher);
        hasher.finish_128()
    }

    /// Whether the temperature asks for the highest logit instead of a draw: it is 0, is applied at all, and
    /// the entropy may not raise it.
    pub fn is_greedy(&self) -> bool {
        let applied = self.mirostat != Mirostat::Off || self.samplers.contains(&SamplerKind::Temperature);
        applied && self.temperature <= 0.0 && (self.dynatemp_range <= 0.0 || self.mirostat != Mirostat::Off)
    }

    /// Checks every option.
    ///
    /// # Errors
    /// [`SamplerError::OutOfRange`] for the first option that has no meaning.
    pub fn validate(&self) -> Result<(), SamplerError> {
        let fraction = |x: f32| (0.0..=1.0).contains(&x);
        let not_negative = |x: f32| x.is_finite() && x >= 0.0;
        let last_n = |n: i32| n >= -1;
        const FRACTION: &str = "a number from 0 to 1";
        const FINITE: &str = "a finite number";
        const NOT_NEGATIVE: &str = "a finite number of at least 0";
        const LAST_N: &str = "-1, 0 or a number of tokens";

        check("top_p", self.top_p, fraction(self.top_p), FRACTION)?;
        check("min_p", self.min_p, fraction(self.min_p), FRACTION)?;
        check("typ_p", self.typ_p, fraction(self.typ_p), FRACTION)?;
        check("top_n_sigma", self.top_n_sigma, self.top_n_sigma.is_finite(), FINITE)?;
        check("xtc_probability", self.xtc_probability, fraction(self.xtc_probability), FRACTION)?;
        check("xtc_threshold", self.xtc_threshold, fraction(self.xtc_threshold), FRACTION)?;
        check("temperature", self.temperature, not_negative(self.temperature), NOT_NEGATIVE)?;
        check("dynatemp_range", self.dynatemp_range, not_negative(self.dynatemp_range), NOT_NEGATIVE)?;
        check(
            "dynatemp_exponent",
            self.dynatemp_exponent,
            not_negative(self.dynatemp_exponent),
            NOT_NEGATIVE,
        )?;
        check("penalty_last_n", self.penalty_last_n, last_n(self.penalty_last_n), LAST_N)?;
        let positive = self.repeat_penalty.is_finite() && self.repeat_penalty > 0.0;
        check("repeat_penalty", self.repeat_penalty, positive, "a finite number above 0")?;
        check("frequency_penalty", self.frequency_penalty, self.frequency_penalty.is_finite(), FINITE)?;
        check("presence_penalty", self.presence_penalty, self.presence_penalty.is_finite(), FINITE)?;
        check("dry_multiplier", self.dry_multiplier, not_negative(self.dry_multiplier), NOT_NEGATIVE)?;
        check("dry_base", self.dry_base, not_negative(self.dry_base), NOT_NEGATIVE)?;
        check("dry_penalty_last_n", self.dry_penalty_last_n, last_n(self.dry_penalty_last_n), LAST_N)?;
        check("mirostat_tau", self.mirostat_tau, not_negative(self.mirostat_tau), NOT_NEGATIVE)?;
        check("mirostat_eta", self.mirostat_eta, not_negative(self.mirostat_eta), NOT_NEGATIVE)?;
        self.logit_bias.iter().try_for_each(|&(_, bias)| {
            check("logit_bias", bias, !bias.is_nan() && bias != f32::INFINITY, "finite numbers or -infinity")
        })
    }
}

fn check(
    option: &'static str,
    found: impl fmt::Display,
    holds: bool,
    expected: &'static str,
) -> Result<(), SamplerError> {
    if holds { Ok(()) } else { Err(SamplerError::OutOfRange { option, found: found.to_string(), expected }) }
}
