//! What may be tuned, and between which values.

use siskin::SessionOptions;
use siskin::sampler::SamplerOptions;

/// Something that may be tuned.
#[derive(Debug)]
pub(super) struct Knob {
    /// Its name in a space.
    pub(super) name: &'static str,
    /// The flag of `siskin run` that sets it.
    pub(super) flag: &'static str,
    /// Only whole numbers make sense.
    whole: bool,
    turn: Turn,
}

#[derive(Debug)]
enum Turn {
    Sampler(fn(&mut SamplerOptions, f64)),
    Session(fn(&mut SessionOptions, f64)),
}

const fn sampler(
    name: &'static str,
    flag: &'static str,
    whole: bool,
    turn: fn(&mut SamplerOptions, f64),
) -> Knob {
    Knob { name, flag, whole, turn: Turn::Sampler(turn) }
}

const fn session(name: &'static str, flag: &'static str, turn: fn(&mut SessionOptions, f64)) -> Knob {
    Knob { name, flag, whole: true, turn: Turn::Session(turn) }
}

/// All knobs.
pub(super) const KNOBS: &[Knob] = &[
    sampler("temperature", "--temp", false, |options, value| options.temperature = value as f32),
    sampler("top_k", "--top-k", true, |options, value| options.top_k = value as i32),
    sampler("top_p", "--top-p", false, |options, value| options.top_p = value as f32),
    sampler("min_p", "--min-p", false, |options, value| options.min_p = value as f32),
    sampler("typical", "--typical", false, |options, value| options.typ_p = value as f32),
    sampler("top_nsigma", "--top-nsigma", false, |options, value| options.top_n_sigma = value as f32),
    sampler("repeat_penalty", "--repeat-penalty", false, |options, value| {
        options.repeat_penalty = value as f32;
    }),
    sampler("repeat_last_n", "--repeat-last-n", true, |options, value| options.penalty_last_n = value as i32),
    sampler("presence_penalty", "--presence-penalty", false, |options, value| {
        options.presence_penalty = value as f32;
    }),
    sampler("frequency_penalty", "--frequency-penalty", false, |options, value| {
        options.frequency_penalty = value as f32;
    }),
    sampler("dry_multiplier", "--dry-multiplier", false, |options, value| {
        options.dry_multiplier = value as f32;
    }),
    session("threads", "--threads", |options, value| options.threads = Some(value as usize)),
    session("batch_size", "--batch-size", |options, value| options.batch = Some(value as usize)),
];

impl Knob {
    /// Whether it changes answers, and not how fast they come.
    pub(super) fn is_sampler(&self) -> bool {
        matches!(self.turn, Turn::Sampler(_))
    }

    /// Sets it.
    pub(super) fn turn(&self, sampling: &mut SamplerOptions, session: &mut SessionOptions, value: f64) {
        match self.turn {
            Turn::Sampler(turn) => turn(sampling, value),
            Turn::Session(turn) => turn(session, value),
        }
    }
}

/// The values that a knob may have.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Values {
    /// All between two numbers, both included.
    Range(f64, f64),
    /// These.
    Choices(Vec<f64>),
}

/// A knob and its values.
#[derive(Debug)]
pub(super) struct Dimension {
    pub(super) knob: &'static Knob,
    pub(super) values: Values,
}

impl Dimension {
    /// Whether its values are whole numbers.
    pub(super) fn whole(&self) -> bool {
        self.knob.whole
    }

    /// A number as it is tried: short enough to be written in a flag, so that what was tried is what is pasted.
    pub(super) fn rounded(&self, value: f64) -> f64 {
        const FINEST: f64 = 1000.0;
        if self.knob.whole { value.round() } else { (value * FINEST).round() / FINEST }
    }
}

/// Reads a space: `temperature=0..1.5,top_k=1|20|40`.
pub(super) fn parse(text: &str) -> Result<Vec<Dimension>, String> {
    let dimensions = text.split(',').map(dimension).collect::<Result<Vec<_>, _>>()?;
    for (index, dimension) in dimensions.iter().enumerate() {
        if dimensions.iter().take(index).any(|other| other.knob.name == dimension.knob.name) {
            return Err(format!("{} is there twice", dimension.knob.name));
        }
    }
    Ok(dimensions)
}

fn dimension(text: &str) -> Result<Dimension, String> {
    const EXPECTED: &str = "expected NAME=LOW..HIGH or NAME=A|B|C";
    let (name, values) = text.split_once('=').ok_or_else(|| format!("{EXPECTED}, found {text:?}"))?;
    let knob = KNOBS.iter().find(|knob| knob.name == name.trim()).ok_or_else(|| {
        let names: Vec<_> = KNOBS.iter().map(|knob| knob.name).collect();
        format!("nothing called {:?} can be tuned: expected one of {}", name.trim(), names.join(", "))
    })?;
    let number = |text: &str| match text.trim().parse::<f64>() {
        Ok(number) if number.is_finite() && (!knob.whole || number.fract() == 0.0) => Ok(number),
        _ if knob.whole => Err(format!("{name}: expected a whole number, found {text:?}")),
        _ => Err(format!("{name}: expected a number, found {text:?}")),
    };
    let values = match values.split_once("..") {
        Some((low, high)) => match (number(low)?, number(high)?) {
            (low, high) if low < high => Values::Range(low, high),
            _ => return Err(format!("{name}: expected a range that rises, found {values}")),
        },
        None => Values::Choices(values.split('|').map(number).collect::<Result<_, _>>()?),
    };
    Ok(Dimension { knob, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_is_ranges_and_choices() {
        let space = parse("temperature=0..1.5, top_k=1|20").unwrap();
        let values: Vec<_> = space.iter().map(|d| (d.knob.name, d.values.clone())).collect();
        let expected =
            [("temperature", Values::Range(0.0, 1.5)), ("top_k", Values::Choices(vec![1.0, 20.0]))];
        assert_eq!(values, expected);
        assert_eq!((space[0].rounded(0.12349), space[1].rounded(2.6)), (0.123, 3.0));
    }

    #[test]
    fn nonsense_is_refused() {
        for (text, expected) in [
            ("", "expected NAME=LOW..HIGH"),
            ("temperature", "expected NAME=LOW..HIGH"),
            ("heat=0..1", "nothing called \"heat\""),
            ("temperature=1..0", "range that rises"),
            ("temperature=a..b", "expected a number, found \"a\""),
            ("top_k=1..2.5", "expected a whole number, found \"2.5\""),
            ("top_p=1|nan", "expected a number"),
            ("top_p=1,top_p=0..1", "top_p is there twice"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn each_knob_turns_something() {
        for knob in KNOBS {
            let (mut sampling, mut session) = (SamplerOptions::default(), SessionOptions::default());
            knob.turn(&mut sampling, &mut session, 0.375 + 7.0);
            let sampler = sampling != SamplerOptions::default();
            let session = session.threads.is_some() || session.batch.is_some();
            assert_eq!((sampler, session), (knob.is_sampler(), !knob.is_sampler()), "{}", knob.name);
        }
    }
}
