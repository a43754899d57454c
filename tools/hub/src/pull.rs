use crate::address::Address;
use crate::choose::label;
use crate::client::{Client, Failure, Request};
use crate::digest::{self, Proof, as_sha256};
use crate::download::download;
use crate::name::{HubName, Name};
use crate::remote::{Remote, RemoteFile, local_name, set_of};
use crate::repository;
use crate::settings::Settings;
use crate::stop::Stop;
use crate::store::{Described, Found, Model, Part, Store};
use anyhow::{Context, Error, Result, anyhow, bail};
use indicatif::{DecimalBytes, ProgressBar};
use siskin::gguf::{Gguf, MAX_SHARDS, ShardName};
use siskin_kit::{GrowingFolder, progress};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// How a model is fetched.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The SHA-256 that the file of an address has.
    pub sha256: Option<String>,
    /// A bar on which progress is told, in bytes, in place of one on standard error.
    pub bar: Option<ProgressBar>,
    /// What ends it before it is done.
    pub stop: Stop,
}

/// What came of it.
#[derive(Debug)]
pub struct Pulled {
    /// The model, which is here now.
    pub model: Model,
    /// Whether it was before.
    pub was_here: bool,
}

/// Fetches what `name` stands for into the store. `note` is given lines for who waits.
///
/// # Errors
/// What there is not, or is not for this user; what is damaged or no model; a disk that is full, a network that is not there.
/// What has come so far stays where that is of use, and the same call goes on with it.
pub fn pull(
    store: &Store,
    name: &Name,
    settings: &Settings,
    options: &Options,
    note: &dyn Fn(&str),
) -> Result<Pulled> {
    let here = || -> Result<Option<Model>> {
        Ok(match store.find(name)? {
            Found::Model(model) if model.is_complete() => Some(*model),
            _ => None,
        })
    };
    if settings.offline {
        let Some(model) = here()? else {
            bail!("{name} is not here, and HF_HUB_OFFLINE says to ask nobody");
        };
        return Ok(Pulled { model, was_here: true });
    }
    let client = Client::new(settings, &options.stop);
    let mut remote = match name {
        Name::Hub(name) if options.sha256.is_some() => {
            bail!("{name}: a SHA-256 can be given for an address; the hub says its own")
        }
        Name::Hub(name) => repository::look_up(&client, settings, name)?,
        Name::Address(address) => ask(&client, address, options).with_context(|| name.to_string())?,
    };
    if let Some(model) = unchanged(store, &remote) {
        return Ok(Pulled { model, was_here: true });
    }
    let of_hub = match name {
        Name::Hub(name) => Some(name),
        Name::Address(_) => None,
    };
    let bar = options.bar.as_ref();
    let model = fetch(store, &client, settings, &mut remote, of_hub, bar, note)?;
    Ok(Pulled { model, was_here: false })
}

/// The model, if it is here as the server has it.
fn unchanged(store: &Store, remote: &Remote) -> Option<Model> {
    // A name that was damaged is written anew.
    let model = Model::read(&store.manifest(&remote.name), store.folder()).ok().flatten();
    model.filter(|model| {
        let same = match remote.set() {
            Some(set) => model.set == set,
            None => {
                let lengths = |files: &[Part]| files.iter().map(|file| file.bytes).collect::<Vec<_>>();
                remote.validator.is_some()
                    && model.validator == remote.validator
                    && lengths(&model.files) == remote.files.iter().map(|file| file.bytes).collect::<Vec<_>>()
            }
        };
        same && model.is_complete()
    })
}

/// Asks an address, and those of the other parts, how long their files are.
fn ask(client: &Client<'_>, address: &Address, options: &Options) -> Result<Remote> {
    let given = options.sha256.as_deref().map(|hash| {
        as_sha256(hash).ok_or_else(|| anyhow!("{hash}: expected a SHA-256, 64 hexadecimal digits"))
    });
    let given = given.transpose()?;
    let mut addresses = vec![address.clone()];
    if let Some(part) = ShardName::parse(address.file()) {
        let count = part.count;
        if count > MAX_SHARDS {
            bail!("it has {count} parts, at most {MAX_SHARDS} are fetched");
        }
        if given.is_some() {
            bail!("a SHA-256 is that of one file, and this one has {count} parts");
        }
        addresses =
            (1..=count).map(|number| address.with_file(&part.other(number))).collect::<Result<_>>()?;
    }
    let single = addresses.len() == 1;
    let mut files = Vec::new();
    for address in addresses {
        let answer = client.patiently(
            || false,
            |_, _| (),
            || client.get(Request { address: &address, from: 0, validator: None }),
        );
        let answer = answer.map_err(Error::from)?;
        let (file, path) = (local_name(address.file()), address.file().to_owned());
        let Some(bytes) = answer.length() else { bail!("the server does not say how long the file is") };
        let validator = answer.validator();
        let proof = given.clone().or_else(|| answer.linked_sha256.clone()).map_or(Proof::None, Proof::Sha256);
        let answer = single.then_some(answer);
        files.push(RemoteFile { address, file, path, bytes, proof, validator, answer });
    }
    let validators: Option<Vec<&str>> = files.iter().map(|file| file.validator.as_deref()).collect();
    let validator = validators.map(|validators| validators.join(" "));
    Ok(Remote { name: address.to_string(), files, validator })
}

/// Fetches what is not here yet, and gives it its name.
fn fetch(
    store: &Store,
    client: &Client<'_>,
    settings: &Settings,
    remote: &mut Remote,
    of_hub: Option<&HubName>,
    bar: Option<&ProgressBar>,
    note: &dyn Fn(&str),
) -> Result<Model> {
    let name = remote.name.clone();
    let waiting = || note(&format!("{name}: another process is fetching it, which is waited for"));
    let folder = GrowingFolder::open(&store.growing(&remote.growing()), waiting)?;
    // Another process, or another name, may have brought it.
    if let Some(set) = remote.set() {
        let _lock = store.lock()?;
        let here = match adopt(store, remote, &set)? {
            None => recover(store, remote, &set)?,
            model => model,
        };
        if let Some(model) = here {
            folder.discard()?;
            return Ok(model);
        }
    }
    // What nothing tells from another file's beginning is of no use.
    let certain = |file: &RemoteFile| file.proof != Proof::None || file.validator.is_some();
    let mut growing = Vec::new();
    for file in &remote.files {
        let mut one = folder.file(&file.file)?;
        if !certain(file) {
            one.restart()?;
        }
        growing.push(one);
    }
    let kept = growing.iter().fold(0u64, |sum, file| sum.saturating_add(file.length()));
    let mut grow = || {
        check_room(folder.path(), remote.bytes().saturating_sub(kept))?;
        let bar = progress_of(remote, kept, bar, note);
        let mut hashes = Vec::new();
        for (file, growing) in remote.files.iter_mut().zip(&mut growing) {
            let called = file.file.clone();
            let hash = download(client, file, growing, &bar).map_err(|failure| match (failure, of_hub) {
                (failure @ Failure::Refused(_), Some(name)) => repository::explain(settings, name, failure),
                (failure, _) => Error::from(failure).context(format!("{name}: {called}")),
            })?;
            hashes.push(hash);
        }
        bar.finish_and_clear();
        Ok(hashes)
    };
    let hashes = match grow() {
        Ok(hashes) => hashes,
        Err(error) => {
            let of_use = remote.files.iter().zip(&growing).any(|(f, one)| certain(f) && one.length() > 0);
            if !of_use {
                // That it fails is told, and not that it leaves something.
                let _ = folder.discard();
            }
            return Err(error);
        }
    };
    let quantization = match check(folder.path(), remote) {
        Ok(quantization) => quantization,
        Err(error) => {
            folder.discard()?;
            return Err(error.context(format!("{name} is no model that can be used, and was not kept")));
        }
    };
    put(store, folder, remote, hashes, quantization)
}

/// Gives the name to a set that is here already, by another name. The lock is held.
fn adopt(store: &Store, remote: &Remote, set: &str) -> Result<Option<Model>> {
    let twin = store.models()?.into_iter().find(|model| model.set == set && model.is_complete());
    let Some(twin) = twin else { return Ok(None) };
    name_it(store, remote, set.to_owned(), twin.files, twin.quantization).map(Some)
}

/// Gives the name to a set whose process ended before it could, if all its bytes are there. The lock is held.
fn recover(store: &Store, remote: &Remote, set: &str) -> Result<Option<Model>> {
    let place = store.blob(set);
    let mut parts = Vec::new();
    for file in &remote.files {
        let path = place.join(&file.file);
        let there =
            fs::symlink_metadata(&path).is_ok_and(|found| found.is_file() && found.len() == file.bytes);
        if !there {
            return Ok(None);
        }
        let sha256 = digest::of_file(&path).with_context(|| path.display().to_string())?;
        if file.proof != Proof::Sha256(sha256.clone()) {
            return Ok(None);
        }
        parts.push(file.part(sha256));
    }
    // One that could not be read would not be there.
    let Ok(quantization) = check(&place, remote) else { return Ok(None) };
    name_it(store, remote, set.to_owned(), parts, quantization).map(Some)
}

/// Fails where the disk has no room for `bytes` more.
fn check_room(folder: &Path, bytes: u64) -> Result<()> {
    // Where it cannot be known, it is seen when it is full.
    let Ok(found) = rustix::fs::statvfs(folder) else { return Ok(()) };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if bytes > free {
        bail!(
            "{}: {} are to come, {} are free there",
            folder.display(),
            DecimalBytes(bytes),
            DecimalBytes(free)
        );
    }
    Ok(())
}

fn progress_of(remote: &Remote, kept: u64, bar: Option<&ProgressBar>, note: &dyn Fn(&str)) -> ProgressBar {
    const STYLE: &str = "{bar:32} {percent:>3}% {decimal_bytes:>10} of {decimal_total_bytes} {decimal_bytes_per_sec:>12} {eta:>4} {wide_msg}";
    let parts = match remote.files.len() {
        1 => String::new(),
        count => format!("{count} files, "),
    };
    let left = if kept > 0 { format!(", of which {} are here", DecimalBytes(kept)) } else { String::new() };
    note(&format!("{}: {parts}{}{left}", remote.name, DecimalBytes(remote.bytes())));
    let bar = bar.cloned().unwrap_or_else(|| progress::bar(remote.bytes(), STYLE));
    bar.set_length(remote.bytes());
    bar.set_position(kept);
    // The rate is that of this run.
    bar.reset_eta();
    bar
}

/// Whether the files are a model that the engine can read, whole or in parts, and of what type most of its weights are.
fn check(folder: &Path, remote: &Remote) -> Result<String> {
    let first = remote.files.first().map_or("", |file| file.file.as_str());
    let model = Gguf::open(&folder.join(first))?;
    if model.files().count() != remote.files.len() {
        bail!("{first} is called as a part of a model, but says nothing of others");
    }
    let mut types: BTreeMap<&'static str, u64> = BTreeMap::new();
    for tensor in model.tensors() {
        *types.entry(tensor.ty.name()).or_default() += tensor.bytes;
    }
    let most = types.into_iter().max_by_key(|(_, bytes)| *bytes).map_or("", |(name, _)| name);
    Ok(label(first).unwrap_or_else(|| most.to_owned()))
}

/// Puts complete files into their place, and gives them their name.
fn put(
    store: &Store,
    folder: GrowingFolder,
    remote: &Remote,
    hashes: Vec<String>,
    quantization: String,
) -> Result<Model> {
    let set = set_of(&hashes);
    let _lock = store.lock()?;
    if let Some(model) = adopt(store, remote, &set)? {
        folder.discard()?;
        return Ok(model);
    }
    let place = store.blob(&set);
    if fs::symlink_metadata(&place).is_ok() {
        // Of a process that was ended before it gave a name, or damaged since.
        store.withdraw(&place)?;
    }
    let files: Vec<&str> = remote.files.iter().map(|file| file.file.as_str()).collect();
    folder.commit(&files, &place)?;
    let parts = remote.files.iter().zip(hashes).map(|(file, sha256)| file.part(sha256));
    name_it(store, remote, set, parts.collect(), quantization)
}

/// Writes what the name stands for; the lock is held.
fn name_it(
    store: &Store,
    remote: &Remote,
    set: String,
    files: Vec<Part>,
    quantization: String,
) -> Result<Model> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let described = Described {
        name: remote.name.clone(),
        quantization,
        pulled: now,
        source: remote.files.first().map_or_else(String::new, |file| file.address.to_string()),
        validator: remote.validator.clone(),
        set,
        files,
    };
    let model = Model::new(described, store.folder());
    store.write(&model)?;
    // What the name stood for before goes, if that can be done.
    let _ = store.collect();
    Ok(model)
}
