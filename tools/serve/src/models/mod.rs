//! The models that there are, and which of them are in memory.

mod compiled;
mod described;
mod library;
mod loaded;
mod promised;
mod texts;

pub(crate) use described::{Described, open_file};
pub use library::model_name;
pub(crate) use library::{Library, Progress};
pub(crate) use loaded::Loaded;
pub(crate) use promised::Promised;
pub(crate) use texts::Texts;

use crate::ask::KeepAlive;
use crate::options::{ModelSource, ServeOptions};
use crate::refusal::{Reason, Refusal};
use crate::worker::Figures;
use anyhow::bail;
use serde_json::json;
use siskin::plan::PlanError;
use siskin_kit::one_line;
use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// All models by name, each loaded when it is first asked.
pub(crate) struct Models {
    entries: RwLock<Vec<Arc<Entry>>>,
    /// The model that is meant where none is named; None: the first.
    default: OnceLock<Arc<Entry>>,
    pub(crate) library: Arc<Library>,
    options: Arc<ServeOptions>,
    /// Held while a model is loaded: what there is room for depends on the others.
    loading: Mutex<()>,
    /// What those in memory may take.
    pub(crate) promised: Arc<Promised>,
}

/// A model that there is.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) source: ModelSource,
    pub(crate) origin: Origin,
    /// What its worker tells, whether it is in memory or was.
    pub(crate) figures: Arc<Figures>,
    described: OnceLock<Described>,
    /// Held while it is loaded or unloaded.
    place: Arc<Mutex<Place>>,
}

/// How a model came to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was named when the server began.
    Named,
    /// It lies in the folder of models.
    Folder,
    /// It was pulled.
    #[cfg_attr(not(feature = "hub"), expect(dead_code, reason = "nothing is pulled then"))]
    Pulled,
    /// It is another name of a model.
    Copy,
}

/// Where a model in memory is kept.
#[derive(Default)]
struct Place {
    loaded: Option<Kept>,
}

/// A model in memory.
struct Kept {
    model: Arc<Loaded>,
    used: Instant,
    /// How long it stays after its last use; None: for good.
    keep: Option<Duration>,
}

/// Why a model is not in memory.
#[derive(Debug)]
pub(crate) enum LoadFailure {
    /// There is too little memory beside what is there already.
    Memory(String),
    Other(String),
}

/// Why a model is not opened.
enum OpenFailure {
    Refused(Refusal),
    /// What is wrong with it, for whoever looks after the server.
    Unusable(String),
}

impl From<Refusal> for OpenFailure {
    fn from(refusal: Refusal) -> Self {
        OpenFailure::Refused(refusal)
    }
}

impl From<anyhow::Error> for LoadFailure {
    fn from(error: anyhow::Error) -> Self {
        let said = one_line(&error);
        match error.downcast_ref::<PlanError>() {
            Some(PlanError::Memory { .. }) => LoadFailure::Memory(said),
            _ => LoadFailure::Other(said),
        }
    }
}

impl Models {
    pub(crate) fn new(options: &Arc<ServeOptions>) -> Self {
        let entry =
            |(name, source): &(String, ModelSource)| Arc::new(Entry::new(name, source, Origin::Named));
        let entries = RwLock::new(options.models.iter().map(entry).collect());
        let library = Arc::new(Library::new(options));
        let (loading, promised) = (Mutex::default(), Arc::default());
        Self { entries, default: OnceLock::new(), library, options: Arc::clone(options), loading, promised }
    }

    /// All models, those that came since included.
    pub(crate) async fn all(&self) -> Vec<Arc<Entry>> {
        let library = Arc::clone(&self.library);
        if let Ok(found) = tokio::task::spawn_blocking(move || library.list()).await {
            self.take_over(found);
        }
        self.entries()
    }

    /// Has the models of the library be these.
    fn take_over(&self, found: Vec<(String, ModelSource, Origin)>) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|entry| match entry.origin {
            Origin::Named | Origin::Copy => true,
            // One in memory stays until it is unloaded.
            Origin::Folder | Origin::Pulled => {
                found.iter().any(|(name, ..)| *name == entry.name) || entry.loaded().is_some()
            }
        });
        for (name, source, origin) in found {
            if entries.iter().any(|entry| entry.name == name) {
                continue;
            }
            // The same file by another name is in memory once.
            let twin = entries.iter().find(|entry| entry.file().is_some() && entry.file() == source.file());
            let entry = match twin {
                Some(twin) => twin.called(&name, origin),
                None => Entry::new(&name, &source, origin),
            };
            entries.push(Arc::new(entry));
        }
    }

    /// Gives a model another name, for as long as the server runs.
    ///
    /// # Errors
    /// No such model, and a name that another has.
    pub(crate) async fn copy(&self, name: &str, other: &str) -> Result<(), Refusal> {
        let other = other.strip_suffix(":latest").unwrap_or(other);
        check_copy(other)?;
        let entry = self.find(Some(name)).await?;
        {
            let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
            match entries.iter().position(|entry| entry.name == other) {
                Some(at) if entries.get(at).is_some_and(|entry| entry.origin != Origin::Copy) => {
                    return Err(Refusal::invalid(format_args!("destination: there is a model {other:?}")));
                }
                Some(at) => drop(entries.remove(at)),
                None => {}
            }
            if entries.iter().filter(|entry| entry.origin == Origin::Copy).count() >= COPIES {
                let said = format!("destination: there are {COPIES} copies, which is as many as may be");
                return Err(Refusal::invalid(said));
            }
            entries.push(Arc::new(entry.called(other, Origin::Copy)));
        }
        self.remove_hidden().await
    }

    /// Removes the files of pulled models that were deleted, once no copy of them is left.
    ///
    /// # Errors
    /// What the file system says.
    async fn remove_hidden(&self) -> Result<(), Refusal> {
        for name in self.library.all_hidden() {
            let (library, entries) = (Arc::clone(&self.library), self.entries());
            let remove = move || {
                let file = library.file_of(&name);
                let is_used =
                    entries.iter().any(|entry| entry.file().is_some() && entry.file() == file.as_deref());
                if is_used { Ok(()) } else { library.remove(&name) }
            };
            let removed = tokio::task::spawn_blocking(remove).await.map_err(Refusal::internal)?;
            removed.map_err(|error| Refusal::internal(format_args!("{error:#}")))?;
        }
        Ok(())
    }

    /// All models by their first names: others are names of the same.
    pub(crate) fn distinct(&self) -> Vec<Arc<Entry>> {
        let mut distinct: Vec<Arc<Entry>> = Vec::new();
        for entry in self.entries() {
            if distinct.iter().all(|other| !Arc::ptr_eq(&other.place, &entry.place)) {
                distinct.push(entry);
            }
        }
        distinct
    }

    /// Loads the model that is meant where a request names none: the first that was named, or else the first that can be
    /// opened.
    ///
    /// # Errors
    /// What is wrong with the first that was named; no model that can be opened; adapters that are for none that was named.
    pub(crate) async fn open_first(&self) -> anyhow::Result<Arc<Loaded>> {
        let options = Arc::clone(&self.options);
        tokio::task::spawn_blocking(move || loaded::check_adapters(&options)).await??;
        let is_named = !self.options.models.is_empty();
        let mut last = "there are no models".to_owned();
        for entry in self.all().await {
            let said = match self.open_entry(&entry, None).await {
                Ok((model, _)) => {
                    let _ = self.default.set(entry);
                    return Ok(model);
                }
                Err(OpenFailure::Refused(refusal)) => refusal.message,
                Err(OpenFailure::Unusable(said)) => said,
            };
            if is_named {
                bail!("{said}");
            }
            self.unusable(&entry, &said);
            last = said;
        }
        bail!("{last}")
    }

    /// Removes a model that was pulled, with its file, or a name that is a copy.
    ///
    /// # Errors
    /// No such model, and one that is not the server's to remove.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), Refusal> {
        let is_stopped = self.library.stop_pulls(name);
        let entry = match self.find(Some(name)).await {
            Err(_) if is_stopped => return Ok(()),
            found => found?,
        };
        match entry.origin {
            Origin::Copy => {}
            Origin::Pulled if self.has_copies(&entry) => self.library.hide(&entry.name),
            Origin::Pulled => {
                self.unload(&entry.name).await?;
                let (library, name) = (Arc::clone(&self.library), entry.name.clone());
                let removed = tokio::task::spawn_blocking(move || library.remove(&name)).await;
                removed.map_err(Refusal::internal)?.map_err(|e| Refusal::internal(format_args!("{e:#}")))?;
            }
            Origin::Named | Origin::Folder => {
                let said =
                    format!("{:?} was not pulled, and its file is not the server's to remove", entry.name);
                return Err(Refusal::new(Reason::Forbidden, said));
            }
        }
        let keep = |other: &Arc<Entry>| !Arc::ptr_eq(other, &entry);
        self.entries.write().unwrap_or_else(PoisonError::into_inner).retain(keep);
        self.remove_hidden().await
    }

    fn has_copies(&self, entry: &Entry) -> bool {
        let is_copy =
            |other: &Arc<Entry>| other.origin == Origin::Copy && Arc::ptr_eq(&other.place, &entry.place);
        self.entries().iter().any(is_copy)
    }

    /// All models that are known so far.
    pub(crate) fn entries(&self) -> Vec<Arc<Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The model of this name, which may end in `:latest` or have names of adapters behind it; None: the first.
    ///
    /// # Errors
    /// [`Reason::NotFound`].
    pub(crate) async fn find(&self, name: Option<&str>) -> Result<Arc<Entry>, Refusal> {
        let (name, _) = self.split(name);
        match self.find_among(self.entries(), name) {
            // It may have come since.
            Err(_) => self.find_among(self.all().await, name),
            found => found,
        }
    }

    fn find_among(&self, entries: Vec<Arc<Entry>>, name: Option<&str>) -> Result<Arc<Entry>, Refusal> {
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            let default =
                self.default.get().filter(|default| entries.iter().any(|e| Arc::ptr_eq(e, default)));
            let first = default.or(entries.first()).cloned();
            return first.ok_or_else(|| Refusal::new(Reason::NotFound, "there are no models"));
        };
        self.look_up(&entries, name).ok_or_else(|| {
            let names: Vec<&str> = entries.iter().take(LISTED).map(|entry| entry.name.as_str()).collect();
            let more = match entries.len().saturating_sub(LISTED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let (name, cut) = match name.char_indices().nth(LONGEST_NAME) {
                Some((at, _)) => (name.get(..at).unwrap_or_default(), "..."),
                None => (name, ""),
            };
            let said = format!("model {name:?}{cut} not found, expected one of: {}{more}", names.join(", "));
            Refusal::new(Reason::NotFound, said)
        })
    }

    fn look_up(&self, entries: &[Arc<Entry>], name: &str) -> Option<Arc<Entry>> {
        let bare = name.strip_suffix(":latest").unwrap_or(name);
        let found = entries.iter().find(|entry| entry.name == name || entry.name == bare);
        let found = found.or_else(|| {
            let full = self.library.full_name(bare)?;
            entries.iter().find(|entry| entry.name == full)
        });
        found.cloned()
    }

    /// A name in parts: that of the model, and those of adapters behind it, each after a `+`. A model may have one in its own.
    pub(crate) fn split<'n>(&self, name: Option<&'n str>) -> (Option<&'n str>, Vec<&'n str>) {
        let Some(whole) = name.filter(|name| name.contains('+')) else { return (name, Vec::new()) };
        let models = whole.match_indices('+').map(|(at, _)| whole.split_at(at)).rev();
        const LONGEST: usize = 4096;
        if whole.len() > LONGEST {
            return (name, Vec::new());
        }
        let entries = self.entries();
        let known = |name: &str| self.look_up(&entries, name).is_some();
        if known(whole) {
            return (name, Vec::new());
        }
        match models.into_iter().find(|(model, _)| !model.is_empty() && known(model)) {
            Some((model, adapters)) => (Some(model), adapters.split('+').skip(1).collect()),
            None => (name, Vec::new()),
        }
    }

    /// The model of this name, loaded, and how long that took.
    ///
    /// # Errors
    /// No such model, one that cannot be loaded, and too little memory beside those that are being asked.
    pub(crate) async fn open(
        &self,
        name: Option<&str>,
        keep_alive: Option<KeepAlive>,
    ) -> Result<(Arc<Loaded>, Duration), Refusal> {
        let entry = self.find(name).await?;
        self.open_entry(&entry, keep_alive).await.map_err(|failure| match failure {
            OpenFailure::Refused(refusal) => refusal,
            OpenFailure::Unusable(said) => self.unusable(&entry, &said),
        })
    }

    async fn open_entry(
        &self,
        entry: &Arc<Entry>,
        keep_alive: Option<KeepAlive>,
    ) -> Result<(Arc<Loaded>, Duration), OpenFailure> {
        let mut place = Arc::clone(&entry.place).lock_owned().await;
        let begun = Instant::now();
        if place.loaded.as_ref().is_some_and(|kept| !kept.model.worker.is_alive()) {
            // It has ended by a fault, which its own requests were told; others have another one.
            let name = &entry.name;
            let said = format!("{name}: the model's thread has ended by a fault, and is begun anew");
            self.options.log.error("model-restarts", said, json!({"model": name}));
            unload(&mut place).await;
        }
        if place.loaded.is_none() {
            let _turn = self.loading.lock().await;
            let model = loop {
                match self.load(entry).await? {
                    Ok(model) => break model,
                    Err(LoadFailure::Memory(said)) => {
                        if !self.make_room().await {
                            return Err(Refusal::new(Reason::Unavailable, said).into());
                        }
                    }
                    Err(LoadFailure::Other(said)) => return Err(OpenFailure::Unusable(said)),
                }
            };
            let keep = self.options.keep_alive;
            place.loaded = Some(Kept { model: Arc::new(model), used: begun, keep });
        }
        let loading = begun.elapsed();
        let kept = place.loaded.as_mut().ok_or_else(|| Refusal::internal("the model is gone"))?;
        kept.used = Instant::now();
        match keep_alive {
            Some(KeepAlive::For(time)) => kept.keep = Some(time),
            Some(KeepAlive::Forever) => kept.keep = None,
            None => {}
        }
        Ok((Arc::clone(&kept.model), loading))
    }

    /// Tells of a model that cannot be opened: whoever looks after the server, and who asks.
    fn unusable(&self, entry: &Entry, said: &str) -> Refusal {
        let name = &entry.name;
        self.options.log.warn("model-unusable", format_args!("{name}: {said}"), json!({"model": name}));
        entry.unusable(said)
    }

    async fn load(&self, entry: &Entry) -> Result<Result<Loaded, LoadFailure>, Refusal> {
        let (name, source) = (entry.name.clone(), entry.source.clone());
        let options = Arc::clone(&self.options);
        let (figures, promised) = (Arc::clone(&entry.figures), Arc::clone(&self.promised));
        let load =
            move || Loaded::open(&name, &source, &options, &promised, &figures).map_err(LoadFailure::from);
        tokio::task::spawn_blocking(load).await.map_err(Refusal::internal)
    }

    /// Unloads the model that nobody has asked for the longest time. Returns whether there was one.
    async fn make_room(&self) -> bool {
        let mut oldest: Option<(Instant, OwnedMutexGuard<Place>)> = None;
        for entry in self.entries() {
            // One that is being loaded, or asked, stays.
            let Ok(place) = Arc::clone(&entry.place).try_lock_owned() else { continue };
            if let Some(kept) = place.loaded.as_ref().filter(|kept| kept.is_unused())
                && oldest.as_ref().is_none_or(|(used, _)| kept.used < *used)
            {
                oldest = Some((kept.used, place));
            }
        }
        match oldest {
            Some((_, mut place)) => {
                unload(&mut place).await;
                true
            }
            None => false,
        }
    }

    /// Unloads the models whose time is over.
    pub(crate) async fn tidy(&self) {
        for entry in self.entries() {
            let Ok(mut place) = Arc::clone(&entry.place).try_lock_owned() else { continue };
            if place.loaded.as_ref().is_some_and(Kept::is_over) {
                unload(&mut place).await;
            }
        }
    }

    /// Unloads a model, once nobody waits for an answer of it.
    ///
    /// # Errors
    /// No such model.
    pub(crate) async fn unload(&self, name: &str) -> Result<(), Refusal> {
        let entry = self.find(Some(name)).await?;
        let mut place = Arc::clone(&entry.place).lock_owned().await;
        if let Some(kept) = &mut place.loaded {
            kept.keep = Some(Duration::ZERO);
        }
        if place.loaded.as_ref().is_some_and(Kept::is_over) {
            unload(&mut place).await;
        }
        Ok(())
    }
}

impl Entry {
    fn new(name: &str, source: &ModelSource, origin: Origin) -> Self {
        let (figures, described, place) = (Arc::default(), OnceLock::new(), Arc::default());
        Self { name: name.to_owned(), source: source.clone(), origin, figures, described, place }
    }

    /// The file that it is in; None: the program itself.
    fn file(&self) -> Option<&Path> {
        self.source.file()
    }

    /// Says that a model cannot be opened: 404 where its file is not there any more, and else 503. Where files lie is not told.
    pub(crate) fn unusable(&self, said: &str) -> Refusal {
        let name = &self.name;
        match self.file() {
            Some(file) if !file.exists() => Refusal::new(
                Reason::NotFound,
                format_args!("model {name:?} not found: its file is not there any more"),
            ),
            file => {
                let folder = file.and_then(Path::parent).map(|folder| format!("{}/", folder.display()));
                let said = folder.map_or_else(|| said.to_owned(), |folder| said.replace(&folder, ""));
                Refusal::new(Reason::Unavailable, format_args!("model {name:?} cannot be used: {said}"))
            }
        }
    }

    /// The same model by another name: it is in memory once.
    fn called(&self, name: &str, origin: Origin) -> Self {
        let (figures, place) = (Arc::clone(&self.figures), Arc::clone(&self.place));
        let (source, described) = (self.source.clone(), OnceLock::new());
        Self { name: name.to_owned(), source, origin, figures, described, place }
    }

    /// What its file says of it. It is read when that is first asked.
    ///
    /// # Errors
    /// All that is wrong with the file.
    pub(crate) async fn describe(self: &Arc<Self>) -> Result<&Described, Refusal> {
        if self.described.get().is_none() {
            let entry = Arc::clone(self);
            let read = move || Described::of(&entry.name, &entry.source);
            let described = tokio::task::spawn_blocking(read).await.map_err(Refusal::internal)?;
            let described = described.map_err(|error| self.unusable(&one_line(&error)))?;
            return Ok(self.described.get_or_init(|| described));
        }
        self.described.get().ok_or_else(|| Refusal::internal("the model is gone"))
    }

    /// The model, where it is in memory, and how long it stays there; None of the latter: for good.
    pub(crate) fn loaded(&self) -> Option<(Arc<Loaded>, Option<Duration>)> {
        let place = self.place.try_lock().ok()?;
        let kept = place.loaded.as_ref()?;
        let left = kept.keep.map(|keep| keep.saturating_sub(kept.used.elapsed()));
        Some((Arc::clone(&kept.model), left))
    }
}

/// Copies, at most.
const COPIES: usize = 64;
/// Bytes of a copy's name, at most, and characters of one that is told to be wrong.
const LONGEST_NAME: usize = 256;
/// Names that are told where one is not found, at most.
const LISTED: usize = 16;

/// Refuses the name of a copy that could be another thing: `+` leads to adapters, and `..` to folders.
fn check_copy(name: &str) -> Result<(), Refusal> {
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c))
    };
    if name.len() > LONGEST_NAME || !name.split('/').all(is_part) {
        return Err(Refusal::invalid(format_args!(
            "destination: expected a name of at most {LONGEST_NAME} letters, digits and - _ . : /, each part of which begins \
             with a letter or a digit"
        )));
    }
    Ok(())
}

impl Kept {
    /// Whether nobody waits for an answer of it.
    fn is_unused(&self) -> bool {
        Arc::strong_count(&self.model) == 1
    }

    fn is_over(&self) -> bool {
        self.is_unused() && self.keep.is_some_and(|keep| self.used.elapsed() >= keep)
    }
}

/// Gives a model's memory back.
async fn unload(place: &mut Place) {
    let kept = place.loaded.take();
    // Its thread is waited for.
    let _ = tokio::task::spawn_blocking(move || drop(kept)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_copies_are_short_and_lead_nowhere() {
        for name in ["mine", "gpt-4o", "org/name:7b-q4_0", "a.b"] {
            assert!(check_copy(name).is_ok(), "{name}");
        }
        let long = "x".repeat(LONGEST_NAME + 1);
        for name in ["", "../../x", "c+d", "/a", "a/", "a//b", "a/.b", "a b", "a\n", "\u{e9}", long.as_str()]
        {
            assert!(check_copy(name).is_err(), "{name}");
        }
    }
}
