//! Sizes as flags have them.

use std::str::FromStr;

/// A number of bytes, as people write it: `700MB`, `1.5GiB`, `200m`, `4561504`.
///
/// A letter alone is a power of 1024, as Docker has it; `MB` is 10^6 bytes and `MiB` 2^20, as disks and llama.cpp have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// The bytes in one of a unit, whose name is in small letters.
fn unit(name: &str) -> Option<u64> {
    Some(match name {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    })
}

const EXPECTED: &str =
    "expected a size such as 200m, 1.5g or 1.5GiB (powers of 1024), 200MB (powers of 1000), or bytes";

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Size, Self::Err> {
        parse(text.trim()).ok_or(EXPECTED)
    }
}

/// Exact where the number is whole; what is less than a byte is left out otherwise.
fn parse(text: &str) -> Option<Size> {
    let letters = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, name) = text.split_at_checked(letters)?;
    let (number, unit) = (number.trim_end(), unit(&name.to_ascii_lowercase())?);
    if !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let bytes = match number.parse::<u64>() {
        Ok(number) => number.checked_mul(unit)?,
        Err(_) => {
            let bytes = number.parse::<f64>().ok()? * unit as f64;
            // What a u64 has room for.
            (bytes < 1e18).then_some(bytes as u64)?
        }
    };
    Some(Size(bytes)).filter(|_| bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_any_unit_and_case() {
        for (text, bytes) in [
            ("4561504", 4_561_504),
            ("12B", 12),
            ("700MB", 700_000_000),
            ("700 mb", 700_000_000),
            ("700MiB", 700 << 20),
            ("1.5GiB", 3 << 29),
            ("0.5kb", 500),
            ("2GB", 2_000_000_000),
            ("200m", 200 << 20),
            ("200M", 200 << 20),
            ("1.5g", 3 << 29),
            ("64k", 64 << 10),
            ("2t", 2 << 40),
            ("2TB", 2_000_000_000_000),
            ("2TiB", 2 << 40),
            ("4096b", 4096),
            (" 1 g ", 1 << 30),
            // More than a float tells apart.
            ("9007199254740993", 9_007_199_254_740_993),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "MB",
            "m",
            "0",
            "0MB",
            "0.1b",
            "-1MB",
            "-1",
            "+1m",
            "1e9",
            "1e9m",
            "inf",
            "nan",
            "700MX",
            "200mm",
            "200 m b",
            "1.2.3GB",
            "1,5g",
            ".",
            "1g5",
            "200m\u{e9}",
            "\u{ff11}m",
            "99999999999999GB",
            "18446744073709551616",
        ] {
            assert_eq!(text.parse::<Size>(), Err(EXPECTED), "{text}");
        }
    }
}
