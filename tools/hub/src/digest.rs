//! Hashes that prove what a file holds.

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Works out what a file's bytes prove, while they come.
pub(crate) struct Digest {
    sha256: Context,
    /// As Git names a file of this length.
    git: Context,
}

/// What a file is said to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    Sha256(String),
    /// Git's own name for a file, SHA-1 with a header: of those that the hub does not keep by SHA-256, which are small.
    Git(String),
    /// Nobody said.
    None,
}

impl Digest {
    /// Of a file that will have this many bytes.
    pub(crate) fn new(bytes: u64) -> Digest {
        let mut git = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        git.update(format!("blob {bytes}\0").as_bytes());
        Digest { sha256: Context::new(&SHA256), git }
    }

    pub(crate) fn update(&mut self, bytes: &[u8], proof: &Proof) {
        self.sha256.update(bytes);
        if let Proof::Git(_) = proof {
            self.git.update(bytes);
        }
    }

    /// The SHA-256 of the file, and whether it is what `proof` says.
    pub(crate) fn finish(self, proof: &Proof) -> (String, bool) {
        let found = hex(self.sha256.finish().as_ref());
        let proven = match proof {
            Proof::Sha256(expected) => *expected == found,
            Proof::Git(expected) => *expected == hex(self.git.finish().as_ref()),
            Proof::None => true,
        };
        (found, proven)
    }
}

/// The SHA-256 of a file.
pub(crate) fn of_file(path: &Path) -> io::Result<String> {
    let (mut file, mut digest) = (File::open(path)?, Context::new(&SHA256));
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hex(digest.finish().as_ref())),
            Ok(count) => digest.update(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The SHA-256 of a text.
pub(crate) fn sha256(text: &str) -> String {
    hex(ring::digest::digest(&SHA256, text.as_bytes()).as_ref())
}

/// A SHA-256 as it is written down, in small letters.
pub(crate) fn as_sha256(text: &str) -> Option<String> {
    let is_one = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then(|| text.to_ascii_lowercase())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_sha256sum_and_git() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(""), empty);
        assert_eq!(as_sha256(&empty.to_uppercase()).as_deref(), Some(empty));
        assert_eq!(as_sha256("e3b0"), None);
        // `printf hello | git hash-object --stdin`
        let git = Proof::Git("b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0".into());
        let mut digest = Digest::new(5);
        digest.update(b"hello", &git);
        assert!(digest.finish(&git).1);
        let mut digest = Digest::new(5);
        digest.update(b"hellO", &git);
        assert!(!digest.finish(&git).1);
    }
}
