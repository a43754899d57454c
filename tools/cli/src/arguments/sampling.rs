//! The sampling flags: llama.cpp's names, laid over the model's own settings.

use super::numbers::{real, signed, whole};
use clap::Args;
use siskin::Model;
use siskin::sampler::{Mirostat, SamplerError, SamplerKind, SamplerOptions, SamplerOverrides};

/// How the next token is chosen. What is left out comes from the model's file, then from llama.cpp's defaults.
#[derive(Debug, Args)]
#[command(next_help_heading = HEADING)]
pub(crate) struct SamplingArguments {
    /// Seed of the random numbers [default: another one each time, which is said]
    #[arg(short, long, value_name = "SEED", value_parser = whole::<u64>)]
    seed: Option<u64>,
    /// Divides the logits; 0 takes the likeliest token, always [0.8]
    #[arg(long, alias = "temperature", value_name = "T", value_parser = real)]
    temp: Option<f32>,
    /// Keep the K likeliest tokens; 0 is off [40]
    #[arg(long, value_name = "K", value_parser = signed)]
    top_k: Option<i32>,
    /// Keep the likeliest tokens that together have probability P; 1 is off [0.95]
    #[arg(long, value_name = "P", value_parser = real)]
    top_p: Option<f32>,
    /// Keep tokens at least P times as likely as the likeliest; 0 is off [0.05]
    #[arg(long, value_name = "P", value_parser = real)]
    min_p: Option<f32>,
    /// Locally typical sampling with probability mass P; 1 is off [1]
    #[arg(long, alias = "typical-p", value_name = "P", value_parser = real)]
    typical: Option<f32>,
    /// Keep logits within N standard deviations of the best; -1 is off [-1]
    #[arg(long, alias = "top-n-sigma", value_name = "N", value_parser = real)]
    top_nsigma: Option<f32>,
    /// Chance that XTC leaves out the likeliest choices; 0 is off [0]
    #[arg(long, value_name = "P", value_parser = real)]
    xtc_probability: Option<f32>,
    /// Probability from which XTC counts a token among them [0.1]
    #[arg(long, value_name = "P", value_parser = real)]
    xtc_threshold: Option<f32>,
    /// Half width of the temperature's range, chosen from by the entropy; 0 is off [0]
    #[arg(long, value_name = "RANGE", value_parser = real)]
    dynatemp_range: Option<f32>,
    /// Exponent of the entropy in that choice [1]
    #[arg(long, value_name = "EXPONENT", value_parser = real)]
    dynatemp_exp: Option<f32>,
    /// Tokens that the penalties look back at; 0 is off, -1 the whole context [64]
    #[arg(long, value_name = "N", value_parser = signed)]
    repeat_last_n: Option<i32>,
    /// Weakens tokens that were seen, by a factor; 1 is off [1]
    #[arg(long, value_name = "FACTOR", value_parser = real)]
    repeat_penalty: Option<f32>,
    /// Subtracted from the logits of tokens that were seen; 0 is off [0]
    #[arg(long, value_name = "X", value_parser = real)]
    presence_penalty: Option<f32>,
    /// Subtracted from the logits of tokens as often as they were seen; 0 is off [0]
    #[arg(long, value_name = "X", value_parser = real)]
    frequency_penalty: Option<f32>,
    /// Strength of DRY, which weakens the continuation of repeated sequences; 0 is off [0]
    #[arg(long, value_name = "X", value_parser = real)]
    dry_multiplier: Option<f32>,
    /// Base of DRY's penalty, which grows with the length of the repetition [1.75]
    #[arg(long, value_name = "BASE", value_parser = real)]
    dry_base: Option<f32>,
    /// Longest repetition that DRY leaves alone, in tokens [2]
    #[arg(long, value_name = "N", value_parser = whole::<u32>)]
    dry_allowed_length: Option<u32>,
    /// Tokens that DRY looks back at; 0 is off, -1 the whole context [-1]
    #[arg(long, value_name = "N", value_parser = signed)]
    dry_penalty_last_n: Option<i32>,
    /// A text across which DRY sees no repetition, may be given several times; "none" for none of the defaults
    /// [newline, ':', '"' and '*']
    #[arg(long, value_name = "TEXT")]
    dry_sequence_breaker: Vec<String>,
    /// Mirostat in place of the samplers: 1 or 2 for its version, 0 is off [0]
    #[arg(long, value_name = "N", value_parser = mirostat)]
    mirostat: Option<Mirostat>,
    /// Mirostat's learning rate [0.1]
    #[arg(long, value_name = "RATE", value_parser = real)]
    mirostat_lr: Option<f32>,
    /// Mirostat's target entropy, in bits [5]
    #[arg(long, value_name = "BITS", value_parser = real)]
    mirostat_ent: Option<f32>,
    /// Added to the logit of a token, such as 15+1 or 15-inf; may be given several times
    #[arg(long, value_name = "ID(+|-)BIAS", value_parser = logit_bias)]
    logit_bias: Vec<(u32, f32)>,
    /// The samplers, in order [penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature]
    #[arg(long, value_name = "NAMES", value_parser = samplers)]
    samplers: Option<Samplers>,
}

const HEADING: &str = "Sampling (default: what the model's file says, or else [llama.cpp's default])";

/// A chain of samplers. A type of its own, as clap takes a `Vec` for a flag given several times.
#[derive(Clone, Debug)]
struct Samplers(Vec<SamplerKind>);

impl SamplingArguments {
    /// Checks the flags by themselves, before a model is loaded for them.
    ///
    /// # Errors
    /// The first that has a value without meaning.
    pub(crate) fn check(&self) -> Result<(), SamplerError> {
        SamplerOptions::default().overlay(&self.overrides()).validate()
    }

    /// llama.cpp's defaults, under the model's settings, under the flags.
    pub(crate) fn options(&self, model: &Model) -> SamplerOptions {
        SamplerOptions::default().overlay(model.sampling()).overlay(&self.overrides())
    }

    /// The same with a task's own settings between the model's and the flags.
    #[cfg(feature = "long-work")]
    pub(crate) fn options_for(&self, model: &Model, task: &SamplerOverrides) -> SamplerOptions {
        SamplerOptions::default().overlay(model.sampling()).overlay(task).overlay(&self.overrides())
    }

    /// What the flags say, and nothing else.
    pub(crate) fn overrides(&self) -> SamplerOverrides {
        SamplerOverrides::default()
            .samplers(self.samplers.as_ref().map(|Samplers(chain)| chain.clone()))
            .seed(self.seed.map(Some))
            .top_k(self.top_k)
            .top_p(self.top_p)
            .min_p(self.min_p)
            .typ_p(self.typical)
            .top_n_sigma(self.top_nsigma)
            .xtc_probability(self.xtc_probability)
            .xtc_threshold(self.xtc_threshold)
            .temperature(self.temp)
            .dynatemp_range(self.dynatemp_range)
            .dynatemp_exponent(self.dynatemp_exp)
            .penalty_last_n(self.repeat_last_n)
            .repeat_penalty(self.repeat_penalty)
            .frequency_penalty(self.frequency_penalty)
            .presence_penalty(self.presence_penalty)
            .dry_multiplier(self.dry_multiplier)
            .dry_base(self.dry_base)
            .dry_allowed_length(self.dry_allowed_length)
            .dry_penalty_last_n(self.dry_penalty_last_n)
            .dry_sequence_breakers(
                given(&self.dry_sequence_breaker)
                    .map(|breakers| breakers.into_iter().filter(|breaker| breaker != "none").collect()),
            )
            .mirostat(self.mirostat)
            .mirostat_tau(self.mirostat_ent)
            .mirostat_eta(self.mirostat_lr)
            .logit_bias(given(&self.logit_bias))
    }
}

/// The values of a flag that may be given several times, if it was.
fn given<T: Clone>(values: &[T]) -> Option<Vec<T>> {
    (!values.is_empty()).then(|| values.to_vec())
}

fn mirostat(text: &str) -> Result<Mirostat, String> {
    text.parse().ok().and_then(Mirostat::from_number).ok_or_else(|| "expected 0, 1 or 2".to_owned())
}

fn samplers(names: &str) -> Result<Samplers, SamplerError> {
    SamplerKind::parse_chain(names).map(Samplers)
}

/// Reads a token and what is added to its logit: `15043+1`, `15043-0.5`, `15043-inf`.
fn logit_bias(text: &str) -> Result<(u32, f32), String> {
    let sign = text.find(['+', '-']).unwrap_or(text.len());
    let (id, bias) = text.split_at(sign);
    match (id.parse(), bias.parse::<f32>()) {
        (Ok(id), Ok(bias)) if bias < f32::INFINITY => Ok((id, bias)),
        _ => Err("expected a token, a sign and a number, such as 15+1, 15-0.5 or 15-inf".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    #[command(mut_args(crate::arguments::numbers::may_be_negative))]
    struct Flags {
        #[command(flatten)]
        sampling: SamplingArguments,
    }

    fn overrides(flags: &[&str]) -> SamplerOverrides {
        Flags::try_parse_from([&["siskin"], flags].concat()).unwrap().sampling.overrides()
    }

    #[test]
    fn a_logit_bias_is_a_token_a_sign_and_a_number() {
        let good = [
            ("15043+1", (15043, 1.0)),
            ("7-0.5", (7, -0.5)),
            ("0-inf", (0, f32::NEG_INFINITY)),
            ("3+1e-2", (3, 0.01)),
        ];
        for (text, expected) in good {
            assert_eq!(logit_bias(text), Ok(expected), "{text}");
        }
        for text in ["", "5", "+1", "5+", "5*2", "5+x", "5+inf", "5+nan", "-5+1", "4294967296+1", "5++1"] {
            assert!(logit_bias(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_flag_overrides_nothing() {
        assert_eq!(overrides(&[]), SamplerOverrides::default());
    }

    #[test]
    fn every_flag_sets_its_own_option() {
        let flags = "--seed 1 --temp 2 --top-k 3 --top-p 0.4 --min-p 0.5 --typical 0.6 --top-nsigma 7 \
             --xtc-probability 0.8 --xtc-threshold 0.9 --dynatemp-range 10 --dynatemp-exp 11 --repeat-last-n -1 \
             --repeat-penalty 13 --presence-penalty -14 --frequency-penalty -15 --dry-multiplier 16 --dry-base 17 \
             --dry-allowed-length 18 --dry-penalty-last-n -1 --dry-sequence-breaker none --dry-sequence-breaker . \
             --mirostat 2 --mirostat-lr 21 --mirostat-ent 22 --logit-bias 23+1 --logit-bias 24-inf \
             --samplers top_k;temp";
        let expected = SamplerOverrides::default()
            .samplers(vec![SamplerKind::TopK, SamplerKind::Temperature])
            .seed(Some(1))
            .top_k(3)
            .top_p(0.4)
            .min_p(0.5)
            .typ_p(0.6)
            .top_n_sigma(7.0)
            .xtc_probability(0.8)
            .xtc_threshold(0.9)
            .temperature(2.0)
            .dynatemp_range(10.0)
            .dynatemp_exponent(11.0)
            .penalty_last_n(-1)
            .repeat_penalty(13.0)
            .frequency_penalty(-15.0)
            .presence_penalty(-14.0)
            .dry_multiplier(16.0)
            .dry_base(17.0)
            .dry_allowed_length(18)
            .dry_penalty_last_n(-1)
            .dry_sequence_breakers(vec![".".to_owned()])
            .mirostat(Mirostat::V2)
            .mirostat_tau(22.0)
            .mirostat_eta(21.0)
            .logit_bias(vec![(23, 1.0), (24, f32::NEG_INFINITY)]);
        assert_eq!(overrides(&flags.split_whitespace().collect::<Vec<_>>()), expected);
    }

    #[test]
    fn the_defaults_in_the_help_are_the_sampler_s() {
        let defaults = SamplerOptions::default();
        let help = <Flags as clap::CommandFactory>::command().render_long_help().to_string();
        let shown = |flag: &str| {
            let (_, rest) = help.split_once(&format!("--{flag} ")).unwrap();
            let (_, rest) = rest.split_once('[').unwrap();
            rest.split_once(']').unwrap().0.to_owned()
        };
        let expected: [(&str, String); 21] = [
            ("temp", defaults.temperature.to_string()),
            ("top-k", defaults.top_k.to_string()),
            ("top-p", defaults.top_p.to_string()),
            ("min-p", defaults.min_p.to_string()),
            ("typical", defaults.typ_p.to_string()),
            ("top-nsigma", defaults.top_n_sigma.to_string()),
            ("xtc-probability", defaults.xtc_probability.to_string()),
            ("xtc-threshold", defaults.xtc_threshold.to_string()),
            ("dynatemp-range", defaults.dynatemp_range.to_string()),
            ("dynatemp-exp", defaults.dynatemp_exponent.to_string()),
            ("repeat-last-n", defaults.penalty_last_n.to_string()),
            ("repeat-penalty", defaults.repeat_penalty.to_string()),
            ("presence-penalty", defaults.presence_penalty.to_string()),
            ("frequency-penalty", defaults.frequency_penalty.to_string()),
            ("dry-multiplier", defaults.dry_multiplier.to_string()),
            ("dry-base", defaults.dry_base.to_string()),
            ("dry-allowed-length", defaults.dry_allowed_length.to_string()),
            ("dry-penalty-last-n", defaults.dry_penalty_last_n.to_string()),
            ("mirostat-lr", defaults.mirostat_eta.to_string()),
            ("mirostat-ent", defaults.mirostat_tau.to_string()),
            ("samplers", defaults.samplers.iter().map(|s| s.name()).collect::<Vec<_>>().join(";")),
        ];
        for (flag, default) in expected {
            assert_eq!(shown(flag).replace("\n", "").replace(' ', ""), default, "{flag}");
        }
    }
}
