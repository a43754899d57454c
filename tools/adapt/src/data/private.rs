use std::sync::LazyLock;

use regex_lite::Regex;

use super::row::Row;

/// What looks like something that should not be learned by heart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum HintKind {
    /// A mail address.
    Mail,
    /// A telephone number.
    Phone,
    /// A password of a program: keys of known services, private keys.
    Key,
}

/// Where something is that looks private.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The row's line.
    pub line: usize,
    /// What it looks like.
    pub kind: HintKind,
    /// The first characters of it, so that it can be found.
    pub begins: String,
}

/// What each looks like. Patterns of this file alone.
static PATTERNS: LazyLock<Vec<(HintKind, Regex)>> = LazyLock::new(|| {
    let patterns = [
        (HintKind::Mail, r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}"),
        (HintKind::Phone, r"\+\d[\d ()/.-]{7,}\d|\b0[1-9]\d{0,3}[ /-]\d{2,4}[ -]?\d{3,}\b"),
        (
            HintKind::Key,
            r"\b(sk|pk|rk)-[A-Za-z0-9_-]{20,}|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{20,}|\bhf_[A-Za-z0-9]{20,}|-----BEGIN [A-Z ]*PRIVATE KEY-----",
        ),
    ];
    // They are sound: a test uses all.
    patterns.into_iter().filter_map(|(kind, pattern)| Some((kind, Regex::new(pattern).ok()?))).collect()
});

/// All that looks private in some rows.
pub(super) fn hints(rows: &[Row]) -> Vec<Hint> {
    const SHOWN: usize = 6;
    let of_text = |line, text| {
        PATTERNS.iter().flat_map(move |(kind, pattern)| {
            pattern.find_iter(text).map(move |found| Hint {
                line,
                kind: *kind,
                begins: found.as_str().chars().take(SHOWN).collect(),
            })
        })
    };
    rows.iter()
        .flat_map(|row| row.texts().into_iter().flat_map(move |text| of_text(row.line, text)))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::data::Content;

    fn kinds(text: &str) -> Vec<HintKind> {
        let rows = [Row { line: 3, content: Content::Text(text.to_owned()) }];
        hints(&rows).into_iter().map(|hint| hint.kind).collect()
    }

    #[test]
    fn what_looks_private_is_found() {
        use HintKind::{Key, Mail, Phone};
        assert_eq!(PATTERNS.len(), 3);
        assert_eq!(kinds("write to jo.doe+x@mail.example.org now"), [Mail]);
        for phone in ["+81 3-1234-5678", "+49 (0)89 123456", "03-1234-5678", "089/12 345678"] {
            assert_eq!(kinds(phone), [Phone], "{phone}");
        }
        for key in ["sk-abcdefghijklmnopqrstuv", "AKIAABCDEFGHIJKLMNOP", "-----BEGIN RSA PRIVATE KEY-----"] {
            assert_eq!(kinds(&format!("key: {key}.")), [Key], "{key}");
        }
        let plain =
            "line 9, recipe red-63 at 10:30 on 2026-12-01, 12345678 units, 3.14159265, a@b, 1 000 000 000";
        assert_eq!(kinds(plain), []);
        let rows = [Row { line: 3, content: Content::Text("jo.doe@example.org".to_owned()) }];
        assert_eq!(hints(&rows), [Hint { line: 3, kind: Mail, begins: "jo.doe".to_owned() }]);
    }
}
