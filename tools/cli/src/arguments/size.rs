//! Sizes as flags have them.

use std::str::FromStr;

/// A number of bytes, as people write it: `700MB`, `1.5GiB`, `4561504`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// Units and the bytes in one, the longer names first.
const UNITS: [(&str, u64); 7] = [
    ("KIB", 1 << 10),
    ("MIB", 1 << 20),
    ("GIB", 1 << 30),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Size, Self::Err> {
        const EXPECTED: &str = "expected a size such as 700MB, 1.5GiB or a number of bytes";
        let upper = text.trim().to_ascii_uppercase();
        let unit = |(name, bytes): (&str, u64)| Some((upper.strip_suffix(name)?.to_owned(), bytes));
        let (number, unit) = UNITS.into_iter().find_map(unit).unwrap_or((upper.clone(), 1));
        let number = number.trim_end();
        if let Ok(number) = number.parse::<u64>() {
            return number.checked_mul(unit).filter(|&bytes| bytes > 0).map(Size).ok_or(EXPECTED);
        }
        let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let bytes = number.parse::<f64>().ok().filter(|_| plain).map(|number| number * unit as f64);
        bytes.filter(|bytes| (1.0..1e18).contains(bytes)).map(|bytes| Size(bytes as u64)).ok_or(EXPECTED)
    }
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
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in
            ["", "MB", "0", "0MB", "-1MB", "1e9", "inf", "nan", "700MX", "1.2.3GB", "99999999999999GB"]
        {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
