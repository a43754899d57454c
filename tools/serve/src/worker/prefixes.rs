//! Beginnings of prompts on the disk, so that a server that begins anew does not read them again.
//!
//! A file is the saved state of a sequence: it names the weights and the adapters that it depends on, has a checksum, and
//! appears once it is whole. What cannot be read or written costs the file, and no answer.

#![allow(clippy::disallowed_methods, reason = "what is removed here was made here")]

use crate::options::PrefixOptions;
use anyhow::Result;
use siskin::{Adapter, CacheTypes, Error, SavedHead, Scheduler, SequenceId, StateError};
use siskin_kit::{Inputs, Output, hash, one_line, regular_file};
use std::cmp::Reverse;
use std::collections::HashSet;
use std::fs::{self, DirBuilder};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

/// Prompts shorter than this are read again as fast as their files are.
const SHORTEST: usize = 256;
/// A file is written where none has so much of the sequence.
const COVERED: f64 = 7.0 / 8.0;
/// Bytes of a file that are read at a time.
const PIECE: usize = 256 << 10;
const ENDING: &str = "prefix";

/// The files of a folder, as one model sees them.
pub(crate) struct Prefixes {
    options: PrefixOptions,
    /// Those that there were when it was opened, and those that were written since: of all models, as the bound is for all.
    entries: Vec<Entry>,
    /// Those that could not be written.
    given_up: HashSet<PathBuf>,
    /// Whether somebody was told of one.
    is_told: bool,
    /// Puts files in their place, which a disk may take seconds for.
    writer: Option<(mpsc::Sender<Written>, JoinHandle<()>)>,
}

/// A file that is to be put in its place, and those that are of no use beside it.
struct Written {
    output: Output,
    replaced: Vec<PathBuf>,
}

impl Written {
    /// The others go once it is there.
    fn commit(self) {
        if self.output.commit().is_ok() {
            for path in self.replaced {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// A file.
struct Entry {
    path: PathBuf,
    fingerprint: u128,
    tokens: Vec<u32>,
    bytes: u64,
    used: SystemTime,
}

impl Prefixes {
    /// The files in a folder, which is made if need be. `None` where it cannot be: `said` is told why.
    pub(crate) fn open(
        options: &PrefixOptions,
        scheduler: &Scheduler,
        said: &dyn Fn(String),
    ) -> Option<Self> {
        let (context, cache) = (scheduler.sequences().context(), scheduler.sequences().cache_types());
        let folder = &options.folder;
        let made =
            DirBuilder::new().recursive(true).mode(0o700).create(folder).and_then(|()| fs::read_dir(folder));
        let found = match made {
            Ok(found) => found,
            Err(error) => {
                said(format!("{}: {error}: prompts are not kept on the disk", folder.display()));
                return None;
            }
        };
        let entries = found.filter_map(|entry| Entry::read(entry.ok()?.path(), context, cache)).collect();
        let (outputs, receiver) = mpsc::channel::<Written>();
        let commit = move || receiver.into_iter().for_each(Written::commit);
        let thread = thread::Builder::new().name("prefixes".into()).spawn(commit).ok()?;
        let mut prefixes = Self {
            options: options.clone(),
            entries,
            given_up: HashSet::new(),
            is_told: false,
            writer: Some((outputs, thread)),
        };
        prefixes.remove_beyond_bound();
        Some(prefixes)
    }

    /// Takes up the files that were of use last, as many as there are places for without others having to leave.
    pub(crate) fn warm(&mut self, scheduler: &mut Scheduler) {
        let fingerprint = scheduler.fingerprint(&[]);
        self.entries.sort_by_key(|entry| Reverse(entry.used));
        let places = scheduler.sequences().most() - scheduler.places();
        // Half of the cache stays free for what comes.
        let pages = scheduler.sequences().free_pages() / 2;
        let own = self.entries.iter().filter(|entry| entry.fingerprint == fingerprint);
        // The newest last, so that it leaves last.
        let paths: Vec<PathBuf> = own.take(places).map(|entry| entry.path.clone()).collect();
        for path in paths.iter().rev() {
            if scheduler.sequences().free_pages() > pages {
                self.take_up(path, scheduler, &[]);
            }
        }
    }

    /// Takes up the file that has most of a prompt, where that is more than what is in memory.
    pub(crate) fn restore(&mut self, scheduler: &mut Scheduler, prompt: &[u32], adapters: &[(Adapter, f32)]) {
        let fingerprint = scheduler.fingerprint(adapters);
        let own = self.entries.iter().filter(|entry| entry.fingerprint == fingerprint);
        let Some((most, path)) = own.map(|entry| (entry.common(prompt), &entry.path)).max() else { return };
        if most >= SHORTEST && most >= scheduler.held(prompt, adapters) + SHORTEST {
            self.take_up(&path.clone(), scheduler, adapters);
        }
    }

    /// Reads a file. One that is damaged is removed; one that there is no room for now stays.
    fn take_up(&mut self, path: &Path, scheduler: &mut Scheduler, adapters: &[(Adapter, f32)]) {
        // One that is not there any more, or not yet, is none.
        let Ok(Some(mut file)) = regular_file(path) else {
            return self.entries.retain(|entry| entry.path != path);
        };
        match scheduler.take_up(&mut BufReader::with_capacity(PIECE, &mut file), adapters) {
            Ok(_) => {}
            Err(Error::State(StateError::Damaged)) => return self.remove(|entry| entry.path == path),
            Err(_) => return,
        }
        let now = SystemTime::now();
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.path == path) {
            entry.used = now;
        }
        let _ = file.set_modified(now);
    }

    /// Whether there is an idle sequence that no file has most of.
    pub(crate) fn has_new(&self, scheduler: &Scheduler) -> bool {
        self.newest(scheduler).is_some()
    }

    /// The one of them that was of use last, and where its file is to be.
    fn newest(&self, scheduler: &Scheduler) -> Option<(SequenceId, Entry)> {
        let is_new = |(_, fingerprint, tokens): &(SequenceId, u128, &[u32])| {
            let own = self.entries.iter().filter(|entry| entry.fingerprint == *fingerprint);
            let most = own.map(|entry| entry.common(tokens)).max().unwrap_or(0);
            tokens.len() >= SHORTEST && (most as f64) < COVERED * tokens.len() as f64
        };
        let CacheTypes { keys, values } = scheduler.sequences().cache_types();
        let entry = |(id, fingerprint, tokens): (SequenceId, u128, &[u32])| {
            let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
            let name =
                format!("{fingerprint:032x}-{}-{}-{}.{ENDING}", keys.name(), values.name(), hash::of(&bytes));
            let path = self.options.folder.join(name);
            let (tokens, used) = (tokens.to_vec(), SystemTime::now());
            (id, Entry { path, fingerprint, tokens, bytes: 0, used })
        };
        let new = scheduler.idle().filter(is_new).map(entry);
        new.filter(|(_, entry)| !self.given_up.contains(&entry.path)).last()
    }

    /// Writes that one into a file, as long as `go_on` has it. What cannot be written is given up; of the first it is said why.
    pub(crate) fn write_one(&mut self, scheduler: &Scheduler, go_on: &dyn Fn() -> bool) -> Option<String> {
        let (id, mut entry) = self.newest(scheduler)?;
        let output = match self.write(scheduler, id, &mut entry, go_on) {
            Ok(output) => output,
            Err(_) if !go_on() => return None,
            Err(error) => {
                let said = format!(
                    "{}: {}: a prompt is not kept on the disk, and no more is said of those that follow",
                    self.options.folder.display(),
                    one_line(&error)
                );
                self.given_up.insert(entry.path);
                return (!std::mem::replace(&mut self.is_told, true)).then_some(said);
            }
        };
        // It has all of what it goes on from.
        let goes_on = |old: &mut Entry| {
            let is_beginning = old.fingerprint == entry.fingerprint && entry.tokens.starts_with(&old.tokens);
            is_beginning && old.path != entry.path
        };
        let replaced = self.entries.extract_if(.., goes_on).map(|old| old.path).collect();
        if let Some((outputs, _)) = &self.writer {
            let _ = outputs.send(Written { output, replaced });
        }
        self.entries.push(entry);
        self.remove_beyond_bound();
        None
    }

    /// Writes a sequence, and says how long its file is.
    fn write(
        &self,
        scheduler: &Scheduler,
        id: SequenceId,
        entry: &mut Entry,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Output> {
        let output = Output::create_private(&entry.path, &Inputs::default())?;
        let mut writer = Bounded { writer: output.writer(), written: 0, most: self.options.bytes, go_on };
        scheduler.save(id, &mut writer)?;
        writer.flush()?;
        entry.bytes = writer.written;
        drop(writer);
        Ok(output)
    }

    /// Removes files.
    fn remove(&mut self, which: impl Fn(&Entry) -> bool) {
        self.entries.retain(|entry| {
            let removed = which(entry);
            if removed {
                let _ = fs::remove_file(&entry.path);
            }
            !removed
        });
    }

    /// Removes those that were of no use for the longest time, until all are within the bound.
    fn remove_beyond_bound(&mut self) {
        self.entries.sort_by_key(|entry| Reverse(entry.used));
        let (mut all, most) = (0u64, self.options.bytes);
        let within = self.entries.iter().take_while(|entry| {
            all = all.saturating_add(entry.bytes);
            all <= most
        });
        let within = within.count();
        for entry in self.entries.drain(within..) {
            let _ = fs::remove_file(&entry.path);
        }
    }
}

impl Drop for Prefixes {
    fn drop(&mut self) {
        if let Some((outputs, thread)) = self.writer.take() {
            drop(outputs);
            let _ = thread.join();
        }
    }
}

impl Entry {
    /// What a file says of itself; None where it is none, or of no use to sequences of this context and cache.
    fn read(path: PathBuf, context: usize, cache: CacheTypes) -> Option<Self> {
        if path.extension().is_none_or(|ending| ending != ENDING) {
            return None;
        }
        let file = regular_file(&path).ok()??;
        let found = file.metadata().ok()?;
        let head = SavedHead::read(&mut BufReader::new(file), context).ok()?;
        if head.cache != cache {
            return None;
        }
        let used = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        Some(Self { path, fingerprint: head.fingerprint, tokens: head.tokens, bytes: found.len(), used })
    }

    /// Tokens that a prompt begins with too, but for the prompt's last one.
    fn common(&self, prompt: &[u32]) -> usize {
        let prompt = prompt.iter().take(prompt.len().saturating_sub(1));
        self.tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count()
    }
}

/// Fails where there is more to write than there may be, or somebody waits.
struct Bounded<'a, W> {
    writer: W,
    written: u64,
    most: u64,
    go_on: &'a dyn Fn() -> bool,
}

impl<W: Write> Write for Bounded<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written > self.most || !(self.go_on)() {
            return Err(io::Error::other("there is no more room, or no more time"));
        }
        let count = self.writer.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
