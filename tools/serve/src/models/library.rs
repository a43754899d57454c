//! Models that nobody named when the server began: those in a folder, and those that were pulled.

use super::Origin;
use crate::options::{LogFormat, ModelSource, ServeOptions};
use crate::refusal::{Reason, Refusal};
use anyhow::{Context, Result};
use serde_json::json;
use siskin::gguf::ShardName;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Where they are.
pub(crate) struct Library {
    /// Those that may be pulled at a time: each takes a thread and a part of the network.
    pulls: Arc<Semaphore>,
    /// Those on their way, by what they were asked for as.
    #[cfg(feature = "hub")]
    pulling: Mutex<Vec<(String, siskin_hub::Stop)>>,
    /// Pulled models that were deleted, and whose files stay as long as copies of them: their names.
    hidden: Mutex<BTreeSet<String>>,
    folder: Option<PathBuf>,
    log: LogFormat,
    #[cfg(feature = "hub")]
    store: Option<siskin_hub::Store>,
}

/// How far a model has come that is being pulled.
#[derive(Clone, Default)]
pub(crate) struct Progress {
    #[cfg(feature = "hub")]
    bar: Option<indicatif::ProgressBar>,
}

impl Library {
    pub(super) fn new(options: &ServeOptions) -> Self {
        const PULLS: usize = 4;
        Self {
            pulls: Arc::new(Semaphore::new(PULLS)),
            #[cfg(feature = "hub")]
            pulling: Mutex::default(),
            hidden: Mutex::default(),
            folder: options.folder.clone(),
            log: options.log,
            #[cfg(feature = "hub")]
            store: options.store.clone().map(siskin_hub::Store::at),
        }
    }

    /// All models that there are now, in the order of their names, those of the folder first. What cannot be read is said.
    pub(super) fn list(&self) -> Vec<(String, ModelSource, Origin)> {
        let mut models = Vec::new();
        if let Some(folder) = &self.folder {
            match in_folder(folder) {
                Ok(found) => models.extend(found),
                Err(error) => self.log.warn("models-unreadable", format_args!("{error:#}"), json!({})),
            }
        }
        #[cfg(feature = "hub")]
        if let Some(store) = &self.store {
            match store.models() {
                Ok(found) => {
                    models.extend(found.into_iter().filter(siskin_hub::Model::is_complete).map(|model| {
                        let source = ModelSource::File(model.path());
                        (model.name, source, Origin::Pulled)
                    }))
                }
                Err(error) => self.log.warn("models-unreadable", format_args!("{error:#}"), json!({})),
            }
        }
        let hidden = self.hidden();
        models.retain(|(name, ..)| !hidden.contains(name));
        models
    }

    fn hidden(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.hidden.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a model that was pulled be none any more, by its full name, while its files stay.
    pub(super) fn hide(&self, name: &str) {
        self.hidden().insert(name.to_owned());
        self.log.info(
            "model-removed",
            format_args!("{name} was removed, but for its copies"),
            json!({"model": name}),
        );
    }

    /// Those that are hidden.
    pub(super) fn all_hidden(&self) -> Vec<String> {
        self.hidden().iter().cloned().collect()
    }

    /// The file of a model that was pulled, by its full name.
    #[cfg(feature = "hub")]
    pub(super) fn file_of(&self, name: &str) -> Option<PathBuf> {
        let models = self.store.as_ref()?.models().ok()?;
        models.into_iter().find(|model| model.name == name).map(|model| model.path())
    }

    #[cfg(not(feature = "hub"))]
    pub(super) fn file_of(&self, _name: &str) -> Option<PathBuf> {
        None
    }

    /// The full name of a model that was pulled, by what else it may be called.
    #[cfg(feature = "hub")]
    pub(super) fn full_name(&self, name: &str) -> Option<String> {
        let store = self.store.as_ref()?;
        let name = siskin_hub::Name::parse(name).ok().flatten()?;
        let found = store.find(&name).and_then(|found| found.one(&name)).ok().flatten()?;
        Some(found.name)
    }

    #[cfg(not(feature = "hub"))]
    pub(super) fn full_name(&self, _name: &str) -> Option<String> {
        None
    }

    /// Leave to pull a model.
    ///
    /// # Errors
    /// [`Reason::Busy`] where as many are being pulled as may be.
    pub(crate) fn leave_to_pull(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let leave = Arc::clone(&self.pulls).try_acquire_owned();
        leave.map_err(|_| Refusal::new(Reason::Busy, "as many models are being pulled as may be at a time"))
    }

    /// Fetches a model.
    ///
    /// # Errors
    /// A name that is none, and all that can go wrong on the way.
    #[cfg(feature = "hub")]
    pub(crate) fn pull(&self, name: &str, progress: &Progress) -> Result<(), Refusal> {
        use siskin_hub::{Name, Options, Settings, pull};
        let Some(store) = &self.store else { return Err(no_store()) };
        let text = name.strip_suffix(":latest").unwrap_or(name);
        let Some(name) = Name::parse(text)? else {
            let said = format!("model {text:?}: expected hf.co/ORG/REPO:QUANT or an address");
            return Err(Refusal::invalid(said));
        };
        let options = Options { bar: progress.bar.clone(), ..Options::default() };
        let _under_way = self.under_way(text, options.stop.clone());
        let settings =
            Settings::from_environment().map_err(|error| Refusal::internal(format_args!("{error:#}")))?;
        let told = |line: &str| self.log.info("pull", line, json!({"model": text}));
        let pulled = pull(store, &name, &settings, &options, &told);
        let pulled = pulled.map_err(|error| Refusal::internal(format_args!("{error:#}")))?;
        let name = &pulled.model.name;
        self.hidden().remove(name);
        self.log.info("model-pulled", format_args!("{name} was pulled"), json!({"model": name}));
        Ok(())
    }

    #[cfg(not(feature = "hub"))]
    pub(crate) fn pull(&self, _name: &str, _progress: &Progress) -> Result<(), Refusal> {
        Err(no_store())
    }

    /// Has a pull be one that can be ended, as long as what is returned lives.
    #[cfg(feature = "hub")]
    fn under_way(&self, name: &str, stop: siskin_hub::Stop) -> impl Drop + '_ {
        let lock = || self.pulling.lock().unwrap_or_else(PoisonError::into_inner);
        lock().push((name.to_owned(), stop.clone()));
        OnDrop(move || {
            // Its own alone: others may fetch the same.
            stop.set();
            lock().retain(|(_, other)| !other.is_set());
        })
    }

    /// Ends the pulls of a model, and says whether there were any.
    #[cfg(feature = "hub")]
    pub(super) fn stop_pulls(&self, name: &str) -> bool {
        let name = name.strip_suffix(":latest").unwrap_or(name);
        let pulling = self.pulling.lock().unwrap_or_else(PoisonError::into_inner);
        let own = pulling.iter().filter(|(other, _)| other == name);
        own.map(|(_, stop)| stop.set()).count() > 0
    }

    #[cfg(not(feature = "hub"))]
    pub(super) fn stop_pulls(&self, _name: &str) -> bool {
        false
    }

    /// Removes a model that was pulled, by its full name.
    #[cfg(feature = "hub")]
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        let mut models = store.models()?;
        models.retain(|model| model.name == name);
        store.remove(&models)?;
        self.hidden().remove(name);
        self.log.info("model-removed", format_args!("{name} was removed"), json!({"model": name}));
        Ok(())
    }

    #[cfg(not(feature = "hub"))]
    pub(super) fn remove(&self, _name: &str) -> Result<()> {
        Ok(())
    }
}

/// Does something when it goes.
#[cfg(feature = "hub")]
struct OnDrop<F: FnMut()>(F);

#[cfg(feature = "hub")]
impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn no_store() -> Refusal {
    Refusal::new(Reason::Unsupported, "this server pulls no models")
}

impl Progress {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self {
            #[cfg(feature = "hub")]
            bar: Some(indicatif::ProgressBar::hidden()),
        }
    }

    /// Bytes that are here, and bytes in all, once that is known.
    pub(crate) fn bytes(&self) -> Option<(u64, u64)> {
        #[cfg(feature = "hub")]
        {
            let bar = self.bar.as_ref()?;
            Some((bar.position(), bar.length().filter(|&bytes| bytes > 0)?))
        }
        #[cfg(not(feature = "hub"))]
        None
    }
}

/// The GGUF files of a folder; of one in parts the first. Hidden ones are none: programs that copy call what is not whole so.
fn in_folder(folder: &Path) -> Result<Vec<(String, ModelSource, Origin)>> {
    let mut models = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry.with_context(|| folder.display().to_string())?.path();
        let is_gguf = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"));
        let is_first = path
            .to_str()
            .and_then(ShardName::parse)
            .is_none_or(|part| part.other(1) == path.to_string_lossy());
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_gguf && is_first && !is_hidden && path.is_file() {
            models.push((model_name(&path), ModelSource::File(path), Origin::Folder));
        }
    }
    models.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    Ok(models)
}

/// What clients call the model in a file: its name without the ending, and without the number of a part.
pub fn model_name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    match stem.rsplit_once("-00001-of-") {
        Some((whole, parts)) if parts.len() == 5 && parts.bytes().all(|c| c.is_ascii_digit()) => {
            whole.to_owned()
        }
        _ => stem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_called_by_their_files() {
        for (path, expected) in [
            ("a/SmolLM2-135M.Q4_1.gguf", "SmolLM2-135M.Q4_1"),
            ("big-00001-of-00003.gguf", "big"),
            ("big-00001-of-3.gguf", "big-00001-of-3"),
            ("sha256-00ff", "sha256-00ff"),
        ] {
            assert_eq!(model_name(Path::new(path)), expected);
        }
    }

    #[test]
    fn the_gguf_files_of_a_folder_are_models() {
        let folder = tempfile::tempdir().unwrap();
        for name in
            ["b.gguf", "a.GGUF", ".0.gguf", "c-00001-of-00002.gguf", "c-00002-of-00002.gguf", "notes.txt"]
        {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir(folder.path().join("d.gguf")).unwrap();
        let names: Vec<String> =
            in_folder(folder.path()).unwrap().into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert!(in_folder(&folder.path().join("nothing")).is_err());
    }
}
