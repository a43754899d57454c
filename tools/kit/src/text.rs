use anyhow::{Result, bail};

/// The text in a file's bytes, as all commands read it: without the byte order mark that some editors begin it with, and
/// with a newline where some end lines by two characters.
///
/// # Errors
/// Bytes that are no UTF-8, UTF-16 by its name.
pub fn text(bytes: Vec<u8>) -> Result<String> {
    if is_utf16(&bytes) {
        bail!("expected UTF-8 text, found UTF-16");
    }
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => bail!("expected UTF-8 text, byte {} is none", error.utf8_error().valid_up_to()),
    };
    Ok(plain(&text))
}

/// Whether bytes begin with the byte order mark of UTF-16, which no other text does.
pub fn is_utf16(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff])
}

/// A text that is one already, as [`text`] has it.
pub fn plain(text: &str) -> String {
    text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_ends_of_lines_of_editors_are_no_text() {
        for bytes in ["a\nb\n", "\u{feff}a\nb\n", "\u{feff}a\r\nb\r\n"] {
            assert_eq!(text(bytes.into()).unwrap(), "a\nb\n");
        }
        assert_eq!(text("a\rb\u{feff}".into()).unwrap(), "a\rb\u{feff}");
    }

    #[test]
    fn what_is_no_utf_8_is_refused() {
        let refusal = |bytes: &[u8]| text(bytes.to_vec()).unwrap_err().to_string();
        assert_eq!(refusal(b"ab\xff"), "expected UTF-8 text, byte 2 is none");
        assert_eq!(refusal(b"\xff\xfea\0"), "expected UTF-8 text, found UTF-16");
        assert_eq!(refusal(b"\xfe\xff\0a"), "expected UTF-8 text, found UTF-16");
    }
}
