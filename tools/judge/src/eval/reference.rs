//! The reference model's logits in a file, so that they are worked out once for many models.
//!
//! The file is a line of JSON, the [`Header`], and a row for each scored position of the text: every logit less the
//! row's highest, in half precision, little-endian. What a probability is made of is near 0 there, where half
//! precision is finest.

use super::kept::{Kept, LOGITS};
use anyhow::{Context, Result, bail, ensure};
use half::f16;
use serde::{Deserialize, Serialize};
use siskin::{CacheTypes, Model, SessionOptions};
use siskin_kit::hash::{self, Fields, hex};
use siskin_kit::perplexity::Windows;
use siskin_kit::{Inputs, Output};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use twox_hash::XxHash3_128;

/// What the logits were worked out from; other logits have another key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    version: String,
    model_bytes: u64,
    model_hash: String,
    text_hash: String,
    window: usize,
    chunks: usize,
    /// The types of keys and values.
    cache: [String; 2],
}

impl Key {
    /// The key of these files and settings.
    ///
    /// # Errors
    /// A model that cannot be read.
    pub fn new(
        model: &Path,
        text: &str,
        window: usize,
        chunks: usize,
        options: &SessionOptions,
    ) -> Result<Key> {
        let CacheTypes { keys, values } = options.cache;
        let (model_bytes, model_hash) = hash::of_model(model)?;
        Ok(Key {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            model_bytes,
            model_hash,
            text_hash: hash::of(text.as_bytes()),
            window,
            chunks,
            cache: [keys, values].map(|ty| ty.name().to_owned()),
        })
    }

    /// A name for the file of these logits.
    pub fn file_name(&self) -> String {
        let Key { version, model_bytes, model_hash, text_hash, window, chunks, cache: [keys, values] } = self;
        let fields = Fields::new().text(version).number(*model_bytes).text(model_hash).text(text_hash);
        let fields = fields.number(*window as u64).number(*chunks as u64).text(keys).text(values);
        format!("{}{LOGITS}", fields.finish())
    }
}

/// The logits in a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Logits {
    /// Where the file is.
    pub path: PathBuf,
    /// Whether that is in the folder of [`Kept`] ones.
    pub kept: bool,
    /// What they are of.
    pub key: Key,
}

/// The first line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    format: String,
    key: Key,
    /// The vocabulary's hash, and that of the text's tokens: a model that has others cannot be compared.
    vocabulary: String,
    tokens: String,
    rows: usize,
    columns: usize,
}

const FORMAT: &str = "siskin reference logits 2";
/// No header is longer.
const LONGEST_HEADER: u64 = 1 << 16;

impl Header {
    fn new(key: &Key, model: &Model, windows: &Windows) -> Header {
        let tokenizer = model.tokenizer();
        let mut vocabulary = XxHash3_128::new();
        for text in (0..tokenizer.len() as u32).map(|id| tokenizer.text(id)) {
            vocabulary.write(&(text.len() as u64).to_le_bytes());
            vocabulary.write(text);
        }
        let mut tokens = XxHash3_128::new();
        windows.tokens().iter().for_each(|token| tokens.write(&token.to_le_bytes()));
        Header {
            format: FORMAT.to_owned(),
            key: key.clone(),
            vocabulary: hex(vocabulary.finish_128()),
            tokens: hex(tokens.finish_128()),
            rows: windows.scored().count(),
            columns: model.vocabulary(),
        }
    }
}

/// What is at the place of the cache file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Absent,
    /// Logits of another key, or broken off.
    Stale,
    /// The logits that are wanted.
    Ready,
}

/// Whether the file at `path` holds the logits of `key`.
///
/// # Errors
/// A file of another kind, which must not be replaced.
pub fn state(path: &Path, key: &Key) -> Result<State> {
    let name = || path.display().to_string();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(State::Absent),
        Err(error) => return Err(error).with_context(name),
    };
    let bytes = file.metadata().with_context(name)?.len();
    let (header, length) = match header(&mut BufReader::new(file)) {
        Ok(found) => found,
        Err(_) if bytes == 0 => return Ok(State::Stale),
        Err(error) => return Err(error).with_context(name),
    };
    let expected = (header.rows as u64).checked_mul(header.columns as u64).and_then(|n| n.checked_mul(2));
    let complete = expected.and_then(|rows| rows.checked_add(length)) == Some(bytes);
    Ok(if header.key == *key && complete { State::Ready } else { State::Stale })
}

/// The header and its length in bytes.
fn header(file: &mut impl BufRead) -> Result<(Header, u64)> {
    let mut line = Vec::new();
    let length = file.take(LONGEST_HEADER).read_until(b'\n', &mut line)?;
    match serde_json::from_slice::<Header>(&line) {
        Ok(header) if header.format == FORMAT => Ok((header, length as u64)),
        _ => bail!("expected a file of reference logits, found another: give --logits-cache another name"),
    }
}

/// Logits on their way into the file, which appears once it is complete.
pub(super) struct Writer {
    output: Output,
    halves: Vec<u8>,
}

impl Writer {
    /// Begins the file, which is none of `inputs`.
    pub(super) fn create(
        logits: &Logits,
        model: &Model,
        windows: &Windows,
        inputs: &Inputs,
    ) -> Result<Writer> {
        let header = Header::new(&logits.key, model, windows);
        if logits.kept {
            Kept::open()?.make_room(2 * header.rows as u64 * header.columns as u64)?;
        }
        let output = Output::create(&logits.path, inputs)?;
        let header = serde_json::to_string(&header)?;
        output.file().write_all(format!("{header}\n").as_bytes()).context(output.name().to_owned())?;
        Ok(Writer { output, halves: Vec::new() })
    }

    /// Appends the logits of a position.
    pub(super) fn push(&mut self, logits: &[f32]) -> Result<()> {
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        self.halves.clear();
        self.halves.extend(logits.iter().flat_map(|logit| f16::from_f32(logit - max).to_le_bytes()));
        // A row is large enough to be written as it is.
        let mut writer = self.output.file();
        writer.write_all(&self.halves).with_context(|| self.output.name().to_owned())
    }

    /// Puts the file in its place.
    pub(super) fn finish(self) -> Result<()> {
        self.output.commit()
    }
}

/// Logits as they were kept, a row at a time.
pub(super) struct Reader {
    name: String,
    file: BufReader<File>,
    bytes: Vec<u8>,
    row: Vec<f32>,
}

impl Reader {
    /// Opens the file for a model that is to be compared on the same text.
    ///
    /// # Errors
    /// A model with another vocabulary, or one that cuts the text into other tokens.
    pub(super) fn open(path: &Path, key: &Key, model: &Model, windows: &Windows) -> Result<Reader> {
        let name = path.display().to_string();
        let mut file = BufReader::with_capacity(1 << 18, File::open(path).context(name.clone())?);
        let (found, _) = header(&mut file).with_context(|| name.clone())?;
        let wanted = Header::new(key, model, windows);
        ensure!(
            (&found.vocabulary, found.columns) == (&wanted.vocabulary, wanted.columns),
            "its vocabulary of {} tokens is not the reference's of {}: only models with the same can be compared",
            wanted.columns,
            found.columns
        );
        ensure!(
            found.tokens == wanted.tokens && found.rows == wanted.rows,
            "it cuts the text into other tokens than the reference: only models that cut alike can be compared"
        );
        ensure!(found.key == *key, "{name}: the logits changed meanwhile");
        Ok(Reader { name, file, bytes: vec![0; 2 * found.columns], row: vec![0.0; found.columns] })
    }

    /// The next position's logits, less their highest.
    pub(super) fn next(&mut self) -> Result<&[f32]> {
        self.file.read_exact(&mut self.bytes).with_context(|| self.name.clone())?;
        for (logit, bytes) in self.row.iter_mut().zip(self.bytes.as_chunks().0) {
            *logit = f16::from_le_bytes(*bytes).to_f32();
        }
        Ok(&self.row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn key(text: &str) -> Key {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"weights").unwrap();
        Key::new(file.path(), text, 512, 3, &SessionOptions::default()).unwrap()
    }

    fn written(header: &Header, row_bytes: usize) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.logits");
        let line = serde_json::to_string(header).unwrap();
        fs::write(&path, [line.as_bytes(), b"\n", &vec![0; row_bytes]].concat()).unwrap();
        (folder, path)
    }

    fn header_of(key: Key) -> Header {
        let (vocabulary, tokens) = (String::new(), String::new());
        Header { format: FORMAT.to_owned(), key, vocabulary, tokens, rows: 3, columns: 5 }
    }

    #[test]
    fn only_complete_logits_of_the_same_key_are_ready() {
        let header = header_of(key("a"));
        let (_folder, path) = written(&header, 30);
        assert_eq!(state(&path, &key("a")).unwrap(), State::Ready);
        assert_eq!(state(&path, &key("b")).unwrap(), State::Stale);
        let (_folder, path) = written(&header, 29);
        assert_eq!(state(&path, &key("a")).unwrap(), State::Stale);
        assert_eq!(state(&path.with_extension("none"), &key("a")).unwrap(), State::Absent);
    }

    #[test]
    fn a_file_of_another_kind_is_never_replaced() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(state(file.path(), &key("a")).unwrap(), State::Stale);
        for other in [&b"{}\n"[..], b"my thesis\nall of it\n", &[0xff; 100_000]] {
            fs::write(file.path(), other).unwrap();
            let error = format!("{:#}", state(file.path(), &key("a")).unwrap_err());
            assert!(error.contains("expected a file of reference logits"), "{error}");
        }
    }

    /// Files that were made once are found by it again, also by later builds.
    #[test]
    fn a_key_names_its_file() {
        assert_ne!(key("a").file_name(), key("b").file_name());
        let mut key = key("a");
        key.version = "0".to_owned();
        let fields = Fields::new().text("0").number(7).text(&hash::of(b"weights")).text(&hash::of(b"a"));
        let fields = fields.number(512).number(3).text("f16").text("f16");
        assert_eq!(key.file_name(), format!("{}.logits", fields.finish()));
    }
}
