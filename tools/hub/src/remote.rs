use crate::address::Address;
use crate::client::Response;
use crate::digest::{Proof, sha256};
use crate::store::Part;

/// What is to be fetched: a model's files, in order.
pub(crate) struct Remote {
    /// What the model is called from now on.
    pub(crate) name: String,
    pub(crate) files: Vec<RemoteFile>,
    /// What the server calls this state of an address, if anything.
    pub(crate) validator: Option<String>,
}

/// A file on a server.
pub(crate) struct RemoteFile {
    pub(crate) address: Address,
    /// What it is called on this machine.
    pub(crate) file: String,
    /// What it is called there.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) proof: Proof,
    pub(crate) validator: Option<String>,
    /// The answer to the question how long it is, which has the file in it.
    pub(crate) answer: Option<Response>,
}

impl RemoteFile {
    /// What is written down of it once it is here.
    pub(crate) fn part(&self, sha256: String) -> Part {
        Part { file: self.file.clone(), path: self.path.clone(), bytes: self.bytes, sha256 }
    }
}

impl Remote {
    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    /// The set of files that this will be, if that is known beforehand.
    pub(crate) fn set(&self) -> Option<String> {
        let hashes = self.files.iter().map(|file| match &file.proof {
            Proof::Sha256(hash) => Some(hash.as_str()),
            Proof::Git(_) | Proof::None => None,
        });
        hashes.collect::<Option<Vec<_>>>().map(|hashes| set_of(&hashes))
    }

    /// What its unfinished files are found by: the same for the same bytes alone, as far as the server tells.
    pub(crate) fn growing(&self) -> String {
        self.set().unwrap_or_else(|| {
            let mut said = String::new();
            for file in &self.files {
                let proof = match &file.proof {
                    Proof::Sha256(hash) | Proof::Git(hash) => hash,
                    Proof::None => "",
                };
                let validator = file.validator.as_deref().unwrap_or_default();
                said += &format!("{}\n{}\n{proof}\n{validator}\n", file.address, file.bytes);
            }
            format!("address-{}", sha256(&said))
        })
    }
}

/// What a set of files with these SHA-256 is called.
pub(crate) fn set_of<H: AsRef<str>>(hashes: &[H]) -> String {
    match hashes {
        [one] => format!("sha256-{}", one.as_ref()),
        several => {
            let lines: String = several.iter().map(|hash| format!("{}\n", hash.as_ref())).collect();
            format!("sha256-{}", sha256(&lines))
        }
    }
}

/// The name of a file on this machine that was called `name` elsewhere: letters, digits and what stands between them.
pub(crate) fn local_name(name: &str) -> String {
    const MOST: usize = 160;
    let base = name.rsplit('/').next().unwrap_or_default();
    let end = base.len().checked_sub(".gguf".len()).and_then(|at| base.split_at_checked(at));
    let stem = end.filter(|(_, end)| end.eq_ignore_ascii_case(".gguf")).map_or(base, |(stem, _)| stem);
    let kept = |c: char| if c.is_ascii_alphanumeric() || "-_.+".contains(c) { c } else { '_' };
    let stem: String = stem.chars().map(kept).collect();
    // The end has what tells parts and quantizations apart.
    let start = stem.len().saturating_sub(MOST);
    let stem = stem.get(start..).unwrap_or_default().trim_start_matches(['.', '-']);
    format!("{}.gguf", if stem.is_empty() { "model" } else { stem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_names_that_lead_nowhere() {
        for (name, local) in [
            ("a/b/Model-Q4_0.gguf", "Model-Q4_0.gguf"),
            ("M-00001-of-00002.GGUF", "M-00001-of-00002.gguf"),
            ("..", "model.gguf"),
            ("", "model.gguf"),
            (".gguf", "model.gguf"),
            ("-rf", "rf.gguf"),
            ("a\x1b[2J\u{202e}.gguf", "a__2J_.gguf"),
            ("download", "download.gguf"),
        ] {
            assert_eq!(local_name(name), local, "{name}");
        }
        let long = local_name(&format!("{}-00001-of-00002.gguf", "x".repeat(500)));
        assert!(long.len() < 200 && long.ends_with("-00001-of-00002.gguf"));
    }

    #[test]
    fn sets_are_told_apart_by_what_is_in_them() {
        assert_eq!(set_of(&["ab"]), "sha256-ab");
        assert_ne!(set_of(&["ab", "cd"]), set_of(&["abcd"]));
        assert_ne!(set_of(&["ab", "cd"]), set_of(&["cd", "ab"]));
    }
}
