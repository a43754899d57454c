use crate::name::is_path;
use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use siskin_kit::{Inputs, Output};
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The version of what is written; a later one may not be understood.
const VERSION: u32 = 1;

/// A model that is here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Model {
    version: u32,
    /// What it is called.
    pub name: String,
    /// Its quantization, as its file's name has it, or the type of most of its weights.
    pub quantization: String,
    /// When it was fetched, in seconds since 1970.
    pub pulled: u64,
    /// Where its first file came from.
    pub source: String,
    /// What the server called this state of an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) validator: Option<String>,
    /// The folder of its files.
    pub(crate) set: String,
    /// Its files, in order.
    pub files: Vec<Part>,
    /// Where the store is.
    #[serde(skip)]
    store: PathBuf,
}

/// A file of a model: most have one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part {
    /// Its name in the folder.
    pub file: String,
    /// Its path where it came from.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
}

/// What is said of a model when it is put into the store.
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) quantization: String,
    pub(crate) pulled: u64,
    pub(crate) source: String,
    pub(crate) validator: Option<String>,
    pub(crate) set: String,
    pub(crate) files: Vec<Part>,
}

impl Model {
    pub(crate) fn new(described: Described, store: &Path) -> Model {
        let Described { name, quantization, pulled, source, validator, set, files } = described;
        let store = store.to_owned();
        Model { version: VERSION, name, quantization, pulled, source, validator, set, files, store }
    }

    /// Bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    /// The file that is opened to run it.
    pub fn path(&self) -> PathBuf {
        let first = self.files.first().map_or("", |part| &part.file);
        self.store.join("blobs").join(&self.set).join(first)
    }

    /// Whether all its files are there, as long as they should be.
    pub fn is_complete(&self) -> bool {
        let folder = self.store.join("blobs").join(&self.set);
        let there = |part: &Part| {
            let found = fs::symlink_metadata(folder.join(&part.file));
            found.is_ok_and(|found| found.is_file() && found.len() == part.bytes)
        };
        self.files.iter().all(there)
    }

    /// Reads what a name stands for; None where the name was removed meanwhile.
    pub(crate) fn read(path: &Path, store: &Path) -> Result<Option<Model>> {
        const LONGEST: u64 = 1 << 20;
        let read = || -> Result<Option<Model>> {
            let found = match fs::symlink_metadata(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                found => found?,
            };
            if !found.is_file() || found.len() > LONGEST {
                bail!("this is not what was written there");
            }
            let text = match fs::read(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                text => text?,
            };
            let model: Model = serde_json::from_slice(&text)
                .map_err(|error| anyhow!("this is not what was written there: {error}"))?;
            model.check()?;
            Ok(Some(Model { store: store.to_owned(), ..model }))
        };
        read().with_context(|| path.display().to_string())
    }

    /// Nothing in it leads out of the store.
    fn check(&self) -> Result<()> {
        if self.version > VERSION {
            bail!("a later version of this program has written it");
        }
        let plain = |name: &str| is_path(name) && !name.contains('/');
        let hash = self.set.strip_prefix("sha256-").and_then(crate::digest::as_sha256);
        if hash.is_none() || self.files.is_empty() || !self.files.iter().all(|part| plain(&part.file)) {
            bail!("this is not what was written there");
        }
        Ok(())
    }

    /// Writes what the name stands for from now on.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let output = Output::create_private(path, &Inputs::of([self.path()]))?;
        let mut writer = output.writer();
        serde_json::to_writer_pretty(&mut writer, self)
            .map_err(std::io::Error::from)
            .and_then(|()| writer.flush())
            .with_context(|| path.display().to_string())?;
        drop(writer);
        output.commit()
    }
}
