//! Hashes that tell whether a file or a text is still the one that it was. They are no defence against forgery.

use anyhow::Result;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use twox_hash::XxHash3_128;

/// The XXH3 hash of some bytes, 128 bits as hexadecimal digits.
pub fn of(bytes: &[u8]) -> String {
    hex(XxHash3_128::oneshot(bytes))
}

/// A file's size in bytes, and its hash.
pub fn of_file(path: &Path) -> Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut hasher = XxHash3_128::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((bytes, hex(hasher.finish_128()))),
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
        assert_eq!(of_file(&path).unwrap(), (bytes.len() as u64, of(&bytes)));
        // XXH3's own test vector for no input.
        assert_eq!(of(b""), "99aa06d3014798d86001c324468d497f");
    }
}
