//! Text that is not in UTF-8.

/// Which byte of a character of UTF-16 is first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    /// That of a text in UTF-16, whose byte order mark says so.
    pub(crate) fn of(bytes: &[u8]) -> Option<ByteOrder> {
        match bytes {
            [0xff, 0xfe, ..] => Some(ByteOrder::Little),
            [0xfe, 0xff, ..] => Some(ByteOrder::Big),
            _ => None,
        }
    }

    /// That of XML or HTML in UTF-16, which may have its first `<` instead of a mark.
    pub(crate) fn of_markup(bytes: &[u8]) -> Option<ByteOrder> {
        match bytes {
            [b'<', 0, ..] => Some(ByteOrder::Little),
            [0, b'<', ..] => Some(ByteOrder::Big),
            _ => ByteOrder::of(bytes),
        }
    }

    fn unit(self, bytes: [u8; 2]) -> u16 {
        match self {
            ByteOrder::Little => u16::from_le_bytes(bytes),
            ByteOrder::Big => u16::from_be_bytes(bytes),
        }
    }
}

/// The text in UTF-16; None where bytes are none.
#[cfg(feature = "docx")]
pub(crate) fn utf16(bytes: &[u8], order: ByteOrder) -> Option<String> {
    let (units, rest) = bytes.as_chunks();
    let text = char::decode_utf16(units.iter().map(|&unit| order.unit(unit))).collect::<Result<_, _>>();
    text.ok().filter(|_| rest.is_empty())
}

/// The same with U+FFFD for what is no character.
#[cfg(feature = "html")]
pub(crate) fn utf16_lossy(bytes: &[u8], order: ByteOrder) -> String {
    let (units, _) = bytes.as_chunks();
    let characters = char::decode_utf16(units.iter().map(|&unit| order.unit(unit)));
    characters.map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// What a page may say that it is in, as browsers read it: https://encoding.spec.whatwg.org.
#[cfg(feature = "html")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charset {
    /// Also what says that it is UTF-16, in bytes that say otherwise.
    Utf8,
    /// Also Latin-1 and ASCII, whose pages are in it.
    Windows1252,
    /// Latin-9, the one with a euro sign.
    Iso8859_15,
}

#[cfg(feature = "html")]
impl Charset {
    /// The one of a name in small letters.
    pub(crate) fn of(name: &str) -> Option<Charset> {
        Some(match name {
            "utf-8" | "utf8" | "unicode-1-1-utf-8" | "utf-16" | "utf-16le" | "utf-16be" => Charset::Utf8,
            "windows-1252" | "cp1252" | "x-cp1252" | "iso-8859-1" | "iso8859-1" | "iso_8859-1"
            | "iso88591" | "latin1" | "l1" | "cp819" | "ascii" | "us-ascii" | "ansi_x3.4-1968" => {
                Charset::Windows1252
            }
            "iso-8859-15" | "iso8859-15" | "iso_8859-15" | "iso885915" | "latin9" | "l9" => {
                Charset::Iso8859_15
            }
            _ => return None,
        })
    }

    /// The text in these bytes, with U+FFFD for what is none.
    pub(crate) fn decode(self, bytes: &[u8]) -> String {
        match self {
            Charset::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
            Charset::Windows1252 => bytes.iter().map(|&byte| windows_1252(byte)).collect(),
            Charset::Iso8859_15 => bytes.iter().map(|&byte| iso_8859_15(byte)).collect(),
        }
    }
}

#[cfg(feature = "html")]
fn windows_1252(byte: u8) -> char {
    /// From 0x80 on; what has no character is a control code.
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
        '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    let high = byte.checked_sub(0x80).and_then(|index| HIGH.get(usize::from(index)));
    high.copied().unwrap_or(char::from(byte))
}

#[cfg(feature = "html")]
fn iso_8859_15(byte: u8) -> char {
    match byte {
        0xa4 => '€',
        0xa6 => 'Š',
        0xa8 => 'š',
        0xb4 => 'Ž',
        0xb8 => 'ž',
        0xbc => 'Œ',
        0xbd => 'œ',
        0xbe => 'Ÿ',
        _ => char::from(byte),
    }
}

/// The name, in small letters, of the encoding that a page says it is in, if it says so near its beginning.
#[cfg(feature = "html")]
pub(crate) fn declared(page: &[u8]) -> Option<String> {
    /// Bytes that are looked at. The standard asks for 1024, but not all pages heed it.
    const HEAD: usize = 4096;
    let head = page.get(..HEAD).unwrap_or(page).to_ascii_lowercase();
    // All names are ASCII.
    let head = String::from_utf8_lossy(&head);
    let mut rest = &*head;
    if let Some(declaration) = rest.strip_prefix("<?xml") {
        let name = value_of(declaration.split('>').next()?, "encoding");
        if name.is_some() {
            return name;
        }
    }
    loop {
        rest = rest.split_once('<')?.1;
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.split_once("-->")?.1;
        } else if let Some(meta) = rest.strip_prefix("meta") {
            let name = value_of(meta.split('>').next()?, "charset");
            if name.is_some() {
                return name;
            }
        }
    }
}

/// What stands behind `name=`, in quotes or without.
#[cfg(feature = "html")]
fn value_of(tag: &str, name: &str) -> Option<String> {
    /// No encoding's name is longer.
    const LONGEST: usize = 40;
    let mut rest = tag;
    loop {
        rest = rest.split_once(name)?.1;
        if let Some(value) = rest.trim_start().strip_prefix('=') {
            let value = value.trim_start().trim_start_matches(['"', '\'']);
            let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
            let value: String = value.chars().take_while(|&c| is_part(c)).take(LONGEST).collect();
            return Some(value).filter(|value| !value.is_empty());
        }
    }
}

#[cfg(all(test, feature = "html"))]
mod tests {
    use super::*;

    #[test]
    fn pages_say_what_they_are_in() {
        for (page, expected) in [
            ("<!doctype html><html><head><META Charset = 'Shift_JIS'>", Some("shift_jis")),
            ("<meta http-equiv=Content-Type content=\"text/html; charset=ISO-8859-1\">", Some("iso-8859-1")),
            ("<?xml version='1.0' encoding=\"windows-1252\"?><html>", Some("windows-1252")),
            ("<?xml version='1.0'?><meta charset=utf-8>", Some("utf-8")),
            ("<!-- <meta charset=a> --><meta name=charset content=x><meta charset=b>", Some("b")),
            ("<meta charset=\"\">", None),
            ("<meta charset", None),
            ("<!-- <meta charset=a>", None),
            ("charset=a", None),
        ] {
            assert_eq!(declared(page.as_bytes()).as_deref(), expected, "{page}");
        }
        let late = format!("{}<meta charset=a>", " ".repeat(4096));
        assert_eq!(declared(late.as_bytes()), None);
        let long = format!("<meta charset={}>", "a".repeat(4000));
        assert_eq!(declared(long.as_bytes()).unwrap().len(), 40);
    }
}
