use std::fmt;
use std::str::FromStr;

/// Bits of a weight, on average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BitsPerWeight(pub f64);

impl FromStr for BitsPerWeight {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<BitsPerWeight, Self::Err> {
        let bits = text.parse().ok().filter(|bits: &f64| bits.is_finite() && *bits > 0.0);
        bits.map(BitsPerWeight).ok_or("expected a number of bits such as 4.3")
    }
}

/// What a fitted file has to keep within.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// Bytes of the whole file.
    File(u64),
    /// Bits per weight, over all tensors: what else the file holds does not count.
    BitsPerWeight(f64),
}

impl Budget {
    /// Bytes of what it bounds, in a model of so many weights.
    pub(super) fn bytes(self, weights: u64) -> u64 {
        match self {
            Budget::File(bytes) => bytes,
            Budget::BitsPerWeight(bits) => (bits * weights as f64 / 8.0) as u64,
        }
    }

    /// The line about a budget for which `least` bytes are too many.
    pub(super) fn too_small(self, least: u64, weights: u64) -> String {
        match self {
            Budget::File(bytes) => {
                format!("--fit: {bytes} bytes are too few: the least size of this file is {least} bytes")
            }
            Budget::BitsPerWeight(bits) => {
                // Rounded up, so that what is named can be kept.
                let least = (800.0 * least as f64 / weights.max(1) as f64).ceil() / 100.0;
                format!("--bpw: {bits} bits per weight are too few: the least for this model are {least:.2}")
            }
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Budget::File(bytes) => write!(f, "a file of {bytes} bytes"),
            Budget::BitsPerWeight(bits) => write!(f, "{bits} bits per weight"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_a_positive_number() {
        for text in ["", "0", "-4", "nan", "inf", "four"] {
            assert!(text.parse::<BitsPerWeight>().is_err(), "{text}");
        }
        assert_eq!("4.3".parse(), Ok(BitsPerWeight(4.3)));
    }
}
