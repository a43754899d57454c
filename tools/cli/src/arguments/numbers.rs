//! Numbers as flags have them: each says what it expects.

use clap::Arg;
use std::num::NonZero;
use std::str::FromStr;
use std::thread;

/// Threads that a flag can ask for: as many as a session has at most.
const MOST_THREADS: usize = 1024;

/// Lets an option take numbers below 0, so that it says itself which it expects.
pub(crate) fn may_be_negative(arg: Arg) -> Arg {
    let takes_value = !arg.is_positional() && arg.get_action().takes_values();
    if takes_value { arg.allow_negative_numbers(true) } else { arg }
}

/// Reads a number of at least 1.
pub(crate) fn count(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|&number| number > 0).ok_or("expected a number of at least 1")
}

/// Reads a whole number of at least 0, which a `T` without a sign has room for.
pub(crate) fn whole<T: FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|_| "expected a whole number of at least 0")
}

/// Reads a whole number.
pub(crate) fn signed(text: &str) -> Result<i32, &'static str> {
    text.parse().map_err(|_| "expected a whole number")
}

/// Reads a number with or without a fraction.
pub(crate) fn real(text: &str) -> Result<f32, &'static str> {
    text.parse().ok().filter(|number: &f32| number.is_finite()).ok_or("expected a number")
}

/// Reads a number of threads, of which 0 stands for all that the process may use.
pub(crate) fn threads(text: &str) -> Result<usize, &'static str> {
    match text.parse() {
        Ok(0) => Ok(thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS)),
        Ok(number) if number <= MOST_THREADS => Ok(number),
        _ => Err("expected a number of threads from 1 to 1024, or 0 for all that the process may use"),
    }
}

/// How many tokens there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit(Option<usize>);

impl Limit {
    /// Tokens at most; None where there is no limit.
    pub(crate) fn tokens(self) -> Option<usize> {
        self.0
    }
}

/// Reads a limit, of which -1 stands for none.
pub(crate) fn limit(text: &str) -> Result<Limit, &'static str> {
    match text {
        "-1" => Ok(Limit(None)),
        _ => count(text)
            .map(|tokens| Limit(Some(tokens)))
            .map_err(|_| "expected a number of at least 1, or -1 for no limit"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_within_their_bounds() {
        assert_eq!(
            (count("1"), whole::<u32>("0"), signed("-2"), real("-0.5")),
            (Ok(1), Ok(0), Ok(-2), Ok(-0.5))
        );
        for text in ["", "x", "0", "-1", "1.5", "99999999999999999999"] {
            assert!(count(text).is_err(), "{text}");
        }
        assert!(whole::<u64>("-1").is_err() && whole::<u32>("4294967296").is_err() && signed("1.5").is_err());
        for text in ["", "x", "nan", "inf", "1e99"] {
            assert_eq!(real(text), Err("expected a number"), "{text}");
        }
    }

    #[test]
    fn no_threads_are_all_of_them() {
        assert_eq!(threads("0"), Ok(thread::available_parallelism().unwrap().get()));
        assert_eq!((threads("1"), threads("1024")), (Ok(1), Ok(1024)));
        for text in ["-1", "1025", "x", ""] {
            assert!(threads(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_limit_is_minus_one() {
        assert_eq!(limit("-1").map(Limit::tokens), Ok(None));
        assert_eq!(limit("7").map(Limit::tokens), Ok(Some(7)));
        for text in ["0", "-2", "x"] {
            assert!(limit(text).is_err(), "{text}");
        }
    }
}
