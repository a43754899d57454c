//! Hashes that tell whether a file or a text is still the one that it was. They are no defence against forgery.

use anyhow::{Context, Result};
use siskin::gguf::shards;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use twox_hash::XxHash3_128;

/// The XXH3 hash of some bytes, 128 bits as hexadecimal digits.
pub fn of(bytes: &[u8]) -> String {
    hex(XxHash3_128::oneshot(bytes))
}

/// A hash of several fields, in their order. Each has its length before it, so that none runs into the next.
#[derive(Default)]
pub struct Fields(XxHash3_128);

impl Fields {
    /// None yet.
    pub fn new() -> Fields {
        Fields::default()
    }

    /// The same and a text.
    #[must_use]
    pub fn text(mut self, text: &str) -> Fields {
        self.0.write(&(text.len() as u64).to_le_bytes());
        self.0.write(text.as_bytes());
        self
    }

    /// The same and a number.
    #[must_use]
    pub fn number(mut self, number: u64) -> Fields {
        self.0.write(&number.to_le_bytes());
        self
    }

    /// The same and what there may be of a field.
    #[must_use]
    pub fn optional<T>(self, field: Option<T>, add: impl FnOnce(Fields, T) -> Fields) -> Fields {
        match field {
            Some(field) => add(self.number(1), field),
            None => self.number(0),
        }
    }

    /// The hash, as it is written down.
    pub fn finish(self) -> String {
        hex(self.0.finish_128())
    }
}

/// A model's size in bytes, and the hash of its file, or of all shards of a split one that are there.
///
/// # Errors
/// A file that cannot be read.
pub fn of_model(path: &Path) -> Result<(u64, String)> {
    let mut files = shards(path).unwrap_or_default();
    files.retain(|shard| shard.exists());
    if files.is_empty() {
        files.push(path.to_owned());
    }
    let mut hasher = XxHash3_128::new();
    let mut bytes = 0;
    for file in files {
        bytes += add_file(&mut hasher, &file).with_context(|| file.display().to_string())?;
    }
    Ok((bytes, hex(hasher.finish_128())))
}

fn add_file(hasher: &mut XxHash3_128, path: &Path) -> Result<u64> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(count) => {
                hasher.write(buffer.get(..count).unwrap_or_default());
                bytes += count as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A hash as it is written down.
pub fn hex(hash: u128) -> String {
    format!("{hash:032x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_hash_of_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(of_model(&path).unwrap(), (bytes.len() as u64, of(&bytes)));
        let [one, two] = [1, 2].map(|number| folder.path().join(format!("m-0000{number}-of-00002.gguf")));
        std::fs::write(&one, &bytes[..1_000_000]).unwrap();
        std::fs::write(&two, &bytes[1_000_000..]).unwrap();
        for shard in [&one, &two] {
            assert_eq!(of_model(shard).unwrap(), (bytes.len() as u64, of(&bytes)));
        }
        // XXH3's own test vector for no input.
        assert_eq!(of(b""), "99aa06d3014798d86001c324468d497f");
    }

    /// The names of files and what journals hold stay the same in later versions.
    #[test]
    fn fields_do_not_run_into_each_other() {
        let hash = |fields: Fields| fields.finish();
        assert_eq!(hash(Fields::new().text("a").number(1)), of(b"\x01\0\0\0\0\0\0\0a\x01\0\0\0\0\0\0\0"));
        assert_ne!(hash(Fields::new().text("ab").text("c")), hash(Fields::new().text("a").text("bc")));
        let optional = |text| hash(Fields::new().optional(text, Fields::text));
        assert_ne!(optional(None), optional(Some("")));
    }
}
