use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::str;
use twox_hash::XxHash3_128;

/// Bytes of the longest line that is read: more than any context has room for, and no more than a board has memory.
const LONGEST: u64 = 16 << 20;

/// A file of lines that is read twice: to be checked, and to be worked on.
pub(super) struct Input {
    name: String,
    file: File,
}

/// A line that is not blank.
pub(super) struct Line<'l> {
    file: &'l str,
    /// Its number in the file, from 1.
    pub(super) number: u64,
    /// The line without white space around it.
    pub(super) text: &'l str,
    /// XXH3 of `text`.
    pub(super) hash: u128,
}

impl Line<'_> {
    /// What messages call the line.
    pub(super) fn place(&self) -> String {
        format!("{}, line {}", self.file, self.number)
    }
}

impl Input {
    /// Opens the file.
    ///
    /// # Errors
    /// What is no regular file: it could not be read twice.
    pub(super) fn open(path: &Path) -> Result<Input> {
        let name = path.display().to_string();
        ensure!(
            name != "-",
            "-: standard input is not taken, as lines are read twice: give the name of a file"
        );
        let found = fs::metadata(path).with_context(|| name.clone())?;
        ensure!(found.is_file(), "{name}: expected a regular file");
        let file = File::open(path).with_context(|| name.clone())?;
        Ok(Input { name, file })
    }

    /// What messages call the file.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Shows `see` each line that is not blank, from the first.
    ///
    /// # Errors
    /// What `see` returns, and lines that are too long or no UTF-8.
    pub(super) fn each(&mut self, mut see: impl FnMut(Line<'_>) -> Result<()>) -> Result<()> {
        self.file.seek(SeekFrom::Start(0)).with_context(|| self.name.clone())?;
        let mut reader = BufReader::new(&self.file);
        let mut bytes = Vec::new();
        for number in 1.. {
            let place = || format!("{}, line {number}", self.name);
            bytes.clear();
            reader.by_ref().take(LONGEST + 1).read_until(b'\n', &mut bytes).with_context(place)?;
            if bytes.is_empty() {
                break;
            }
            ensure!(bytes.len() as u64 <= LONGEST, "{}: longer than {LONGEST} bytes", place());
            let text = match str::from_utf8(&bytes) {
                Ok(text) => text,
                Err(error) => {
                    let offset = error.valid_up_to();
                    anyhow::bail!("{}: expected UTF-8 text, byte {offset} of the line is none", place())
                }
            };
            // Some editors begin a file with a byte order mark.
            let text = if number == 1 { text.trim_start_matches('\u{feff}') } else { text }.trim();
            if !text.is_empty() {
                let hash = XxHash3_128::oneshot(text.as_bytes());
                see(Line { file: &self.name, number, text, hash })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn lines(bytes: &[u8]) -> Result<Vec<(u64, String)>> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let mut input = Input::open(file.path())?;
        let mut lines = Vec::new();
        input.each(|line| {
            lines.push((line.number, line.text.to_owned()));
            Ok(())
        })?;
        Ok(lines)
    }

    #[test]
    fn lines_are_numbered_and_blank_ones_left_out() {
        let found = lines(b"\xef\xbb\xbf {1}\r\n\n \t\n{2}").unwrap();
        assert_eq!(found, [(1, "{1}".to_owned()), (4, "{2}".to_owned())]);
        assert!(lines(b"").unwrap().is_empty());
    }

    #[test]
    fn lines_that_are_none() {
        let error = lines(b"a\nb \xff c\n").unwrap_err().to_string();
        assert!(error.ends_with(", line 2: expected UTF-8 text, byte 2 of the line is none"), "{error}");
        let error = lines(&vec![b'a'; LONGEST as usize + 1]).unwrap_err().to_string();
        assert!(error.ends_with(", line 1: longer than 16777216 bytes"), "{error}");
        assert!(Input::open(Path::new("/dev/null")).is_err());
    }
}
