mod manifest;

pub(crate) use manifest::Described;
pub use manifest::{Model, Part};

use crate::choose::choose;
use crate::name::{HubName, Name};
use anyhow::{Context, Result, bail};
use siskin_kit::{GrowingFolder, Lock, folders, withdraw};
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Where models lie, each set of files in a folder that is named by what the files hold:
///
/// ```text
/// models/
///   names/    a small file a name, which says what it stands for
///   blobs/    sha256-.../MODEL.gguf, complete and proven
///   growing/  what is being fetched, or was when its process ended
///   lock      held while names and blobs change
/// ```
///
/// A name is made after its blob, and a blob removed after its last name, so that a process may end at any moment.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// What a name stands for.
#[derive(Debug)]
pub enum Found {
    /// This model.
    Model(Box<Model>),
    /// One of these, which one is not said.
    Several(Vec<Model>),
    /// Nothing that is here.
    Nothing,
}

/// What came of removing names.
#[derive(Debug)]
pub struct Removed {
    /// Names that are no more.
    pub names: Vec<String>,
    /// Bytes that no name uses any more.
    pub freed: u64,
}

impl Store {
    /// The user's: `siskin/models` in their folder for data.
    ///
    /// # Errors
    /// A user without a home.
    pub fn of_user() -> Result<Store> {
        Ok(Store::at(folders::data()?.join("models")))
    }

    /// The one in this folder, which need not exist.
    pub fn at(folder: PathBuf) -> Store {
        Store { folder }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// All models, by name, but for [damaged](Store::damaged) ones.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn models(&self) -> Result<Vec<Model>> {
        self.names().map(|names| names.models)
    }

    /// What is wrong with each name whose file holds something else, or was written by a later version. As long as there is one
    /// no model's files are removed: they may be those that it stands for.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn damaged(&self) -> Result<Vec<String>> {
        self.names().map(|names| names.damaged)
    }

    fn names(&self) -> Result<Names> {
        let names = self.folder.join("names");
        let entries = match fs::read_dir(&names) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Names::default()),
            entries => entries.with_context(|| names.display().to_string())?,
        };
        let (mut models, mut damaged) = (Vec::new(), Vec::new());
        for entry in entries {
            let path = entry.with_context(|| names.display().to_string())?.path();
            // Not one in the making.
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match Model::read(&path, &self.folder) {
                Ok(model) => models.extend(model),
                Err(error) => damaged.push(format!("{error:#}")),
            }
        }
        models.sort_by(|a, b| a.name.cmp(&b.name));
        damaged.sort();
        Ok(Names { models, damaged })
    }

    /// Whether this name's file is [damaged](Store::damaged).
    pub fn is_damaged(&self, name: &Name) -> bool {
        Model::read(&self.manifest(&name.to_string()), &self.folder).is_err()
    }

    /// Removes a name whose file is [damaged](Store::damaged); whether it was.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove_damaged(&self, name: &Name) -> Result<bool> {
        if !self.is_damaged(name) {
            return Ok(false);
        }
        let _lock = self.lock()?;
        // Nobody has mended it meanwhile.
        let is_damaged = self.is_damaged(name);
        if is_damaged {
            remove_name(&self.manifest(&name.to_string()))?;
        }
        Ok(is_damaged)
    }

    /// What a name stands for here.
    ///
    /// # Errors
    /// As for [`Store::models`].
    pub fn find(&self, name: &Name) -> Result<Found> {
        let models = self.models()?;
        let of_hub = match name {
            Name::Address(address) => {
                let address = address.to_string();
                let one = models.into_iter().find(|model| model.name == address);
                return Ok(one.map_or(Found::Nothing, |model| Found::Model(Box::new(model))));
            }
            Name::Hub(name) => name,
        };
        let mut several: Vec<Model> = models
            .into_iter()
            .filter(|model| repository(model).is_some_and(|own| own.is_beside(of_hub)))
            .collect();
        // By the name that it has, or else as it would be chosen among the files of the hub.
        let exact = |model: &Model| repository(model).is_some_and(|own| own.same_tag(of_hub));
        if several.iter().any(exact) {
            several.retain(exact);
        } else if several.len() > 1 || of_hub.tag.is_some() {
            let parts = several.iter().flat_map(|model| &model.files);
            let paths: BTreeSet<&str> = parts.map(|part| part.path.as_str()).collect();
            let chosen = choose(paths, of_hub.tag.as_deref()).map(|choice| choice.files);
            let is_chosen = |model: &Model| {
                let paths = model.files.iter().map(|part| &part.path);
                chosen.as_ref().is_ok_and(|files| paths.eq(files))
            };
            if of_hub.tag.is_some() || several.iter().any(is_chosen) {
                several.retain(is_chosen);
            }
        }
        // Two names of the same files are as good.
        several.dedup_by(|one, other| one.set == other.set);
        Ok(match several.len() {
            0 => Found::Nothing,
            1 => several.pop().map_or(Found::Nothing, |model| Found::Model(Box::new(model))),
            _ => Found::Several(several),
        })
    }

    /// Names of models that are written much as `text` is, the nearest first.
    pub fn alike(&self, text: &str) -> Vec<String> {
        const NEAR: f64 = 0.9;
        const MOST: usize = 3;
        let text = text.to_lowercase();
        let nearness = |model: &Model| {
            let name = model.name.to_lowercase();
            let repository = name.rsplit('/').next().unwrap_or_default();
            let bare = repository.split(':').next().unwrap_or_default();
            let files = model.files.iter().map(|file| file.file.to_lowercase());
            let spelled = [name.as_str(), repository, bare].map(str::to_owned);
            spelled
                .into_iter()
                .chain(files)
                .map(|known| strsim::jaro_winkler(&known, &text))
                .fold(0.0, f64::max)
        };
        // It is a hint, and none where names cannot be read.
        let models = self.models().unwrap_or_default();
        let mut near: Vec<(f64, String)> = models
            .into_iter()
            .map(|model| (nearness(&model), model.name))
            .filter(|(nearness, _)| *nearness >= NEAR)
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        near.into_iter().take(MOST).map(|(_, name)| name).collect()
    }

    /// Removes models by name, and what no other name stands for.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove(&self, models: &[Model]) -> Result<Removed> {
        let _lock = self.lock()?;
        let mut removed = Removed { names: Vec::new(), freed: 0 };
        for model in models {
            remove_name(&self.manifest(&model.name))?;
            removed.names.push(model.name.clone());
        }
        removed.freed = self.collect()?;
        Ok(removed)
    }

    /// Bytes of what is being fetched, or was not to its end.
    ///
    /// # Errors
    /// What the file system says.
    pub fn unfinished(&self) -> Result<u64> {
        let left = self.growing_sets()?.into_iter().chain(self.nameless()?);
        Ok(left.map(|set| folder_bytes(&set)).sum())
    }

    /// Removes what was not fetched to its end, and returns its bytes. What is being fetched right now stays.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove_unfinished(&self) -> Result<u64> {
        let mut freed = 0;
        for set in self.growing_sets()? {
            let bytes = folder_bytes(&set);
            if let Some(folder) = GrowingFolder::open_free(&set)? {
                folder.discard()?;
                freed += bytes;
            }
        }
        if !self.nameless()?.is_empty() {
            let _lock = self.lock()?;
            freed += self.collect()?;
        }
        Ok(freed)
    }

    /// Where a set of files that is called so grows.
    pub(crate) fn growing(&self, set: &str) -> PathBuf {
        self.folder.join("growing").join(set)
    }

    /// Where a complete set is.
    pub(crate) fn blob(&self, set: &str) -> PathBuf {
        self.folder.join("blobs").join(set)
    }

    /// Holds off whoever else changes names and blobs.
    pub(crate) fn lock(&self) -> Result<Lock> {
        Lock::wait(&self.folder.join("lock"))
    }

    /// Writes what a model's name stands for from now on; the lock is held.
    pub(crate) fn write(&self, model: &Model) -> Result<()> {
        make_private_folder(&self.folder.join("names"))?;
        model.write(&self.manifest(&model.name))
    }

    /// Removes a set that no name stands for; the lock is held.
    pub(crate) fn withdraw(&self, place: &Path) -> Result<()> {
        withdraw(place, &self.folder.join("bin"))
    }

    /// Where it is written what a name stands for.
    pub(crate) fn manifest(&self, name: &str) -> PathBuf {
        let hash = crate::digest::sha256(&name.to_ascii_lowercase());
        self.folder.join("names").join(format!("{}.json", hash.get(..32).unwrap_or_default()))
    }

    /// Removes sets that no name stands for, and returns their bytes. The lock is held.
    pub(crate) fn collect(&self) -> Result<u64> {
        let mut freed = 0;
        for place in self.nameless()? {
            freed += folder_bytes(&place);
            self.withdraw(&place)?;
        }
        Ok(freed)
    }

    /// Complete sets that no name stands for: their process ended before it gave them one, or after it took the last.
    fn nameless(&self) -> Result<Vec<PathBuf>> {
        let Names { models, damaged } = self.names()?;
        if !damaged.is_empty() {
            return Ok(Vec::new());
        }
        let mut places = folders_in(&self.folder.join("blobs"))?;
        let used: BTreeSet<String> = models.into_iter().map(|model| model.set).collect();
        places.retain(|place| place.file_name().is_none_or(|name| !used.contains(&*name.to_string_lossy())));
        Ok(places)
    }

    fn growing_sets(&self) -> Result<Vec<PathBuf>> {
        folders_in(&self.folder.join("growing"))
    }
}

/// The name of a model of the hub.
fn repository(model: &Model) -> Option<HubName> {
    match Name::parse(&model.name) {
        Ok(Some(Name::Hub(name))) => Some(name),
        _ => None,
    }
}

fn make_private_folder(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| path.display().to_string())
}

/// What the files of names say.
#[derive(Default)]
struct Names {
    models: Vec<Model>,
    damaged: Vec<String>,
}

#[allow(clippy::disallowed_methods, reason = "what a name stands for is written by this crate")]
fn remove_name(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done.with_context(|| path.display().to_string()),
    }
}

/// The folders in a folder, which need not exist; no links to some.
fn folders_in(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| path.display().to_string())?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| path.display().to_string())?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folders.push(entry.path());
        }
    }
    folders.sort();
    Ok(folders)
}

/// Bytes of the files in a folder. What cannot be read counts as nothing.
fn folder_bytes(path: &Path) -> u64 {
    let bytes = |entry: io::Result<fs::DirEntry>| entry?.metadata().map(|metadata| metadata.len());
    fs::read_dir(path).into_iter().flatten().filter_map(|entry| bytes(entry).ok()).sum()
}

impl Found {
    /// The one model, if there is any.
    ///
    /// # Errors
    /// Several, by their names.
    pub fn one(self, name: &Name) -> Result<Option<Model>> {
        match self {
            Found::Model(model) => Ok(Some(*model)),
            Found::Nothing => Ok(None),
            Found::Several(models) => {
                let names: Vec<_> = models.into_iter().map(|model| model.name).collect();
                bail!("{name} may be any of {}", names.join(", "))
            }
        }
    }
}
