use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// Bytes of the longest file or stream that is read whole: some fifty times the longest novels.
/// A device or a stream without end would otherwise take all memory.
const LONGEST: u64 = 256 << 20;
/// Bytes of the longest line of a file or a terminal.
const LONGEST_LINE: u64 = 64 << 20;

/// All bytes of the file at `path`, of which there are at most 256 MiB.
///
/// # Errors
/// As the system has them, and what is longer.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_all(File::open(path)?)
}

/// The same with at most `most` bytes.
///
/// # Errors
/// As for [`read`].
pub fn read_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    at_most(File::open(path)?, most)
}

/// All that there is to be read, of which there are at most 256 MiB bytes.
///
/// # Errors
/// As for [`read`].
pub fn read_all(source: impl Read) -> io::Result<Vec<u8>> {
    at_most(source, LONGEST)
}

fn at_most(source: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 <= most {
        true => Ok(bytes),
        false => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("expected at most {most} bytes"))),
    }
}

/// The text in the file at `path`: see [`text`].
///
/// # Errors
/// As for [`read`] and [`text`], with the file's name.
pub fn read_text(path: &Path) -> Result<String> {
    read(path).map_err(Into::into).and_then(text).with_context(|| path.display().to_string())
}

/// Reads the next line into `line`, with its newline, if it has one; nothing where there is none any more.
///
/// # Errors
/// As the system has them, and a line of more than 64 MiB.
pub fn read_line(source: &mut impl BufRead, line: &mut Vec<u8>) -> Result<()> {
    line.clear();
    source.take(LONGEST_LINE + 1).read_until(b'\n', line)?;
    ensure!(line.len() as u64 <= LONGEST_LINE, "expected lines of at most {LONGEST_LINE} bytes");
    Ok(())
}

/// Reads a file of lines: what `read` makes of each that is not empty, by its number from 1.
///
/// # Errors
/// As the system has them, and the first line that is no UTF-8 or that `read` refuses, with its number.
pub fn read_lines<T>(path: &Path, mut read: impl FnMut(&str, usize) -> Result<T>) -> Result<Vec<T>> {
    let name = || path.display().to_string();
    let mut lines = BufReader::new(File::open(path).with_context(name)?);
    let (mut all, mut line) = (Vec::new(), Vec::new());
    for number in 1.. {
        let place = || format!("{}, line {number}", path.display());
        read_line(&mut lines, &mut line).with_context(place)?;
        if line.is_empty() {
            break;
        }
        let text = str::from_utf8(&line).context("expected UTF-8 text").with_context(place)?;
        // Some editors begin a file with a byte order mark.
        let text = if number == 1 { text.trim_start_matches('\u{feff}') } else { text };
        if !text.trim().is_empty() {
            all.push(read(text, number).with_context(place)?);
        }
    }
    Ok(all)
}

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
    fn what_has_no_end_is_not_read_to_the_end() {
        let endless = || io::BufReader::new(io::repeat(b'a'));
        assert_eq!(read_all(endless()).unwrap_err().to_string(), "expected at most 268435456 bytes");
        let line = read_line(&mut endless(), &mut Vec::new()).unwrap_err().to_string();
        assert_eq!(line, "expected lines of at most 67108864 bytes");
        assert!(read_text(Path::new("/dev/zero")).unwrap_err().to_string().starts_with("/dev/zero"));
    }

    #[test]
    fn lines_are_read_one_by_one() {
        let (mut source, mut line) = (&b"a\n\nb"[..], Vec::new());
        for expected in [&b"a\n"[..], b"\n", b"b", b""] {
            read_line(&mut source, &mut line).unwrap();
            assert_eq!(line, expected);
        }
    }

    #[test]
    fn what_is_no_utf_8_is_refused() {
        let refusal = |bytes: &[u8]| text(bytes.to_vec()).unwrap_err().to_string();
        assert_eq!(refusal(b"ab\xff"), "expected UTF-8 text, byte 2 is none");
        assert_eq!(refusal(b"\xff\xfea\0"), "expected UTF-8 text, found UTF-16");
        assert_eq!(refusal(b"\xfe\xff\0a"), "expected UTF-8 text, found UTF-16");
    }
}
