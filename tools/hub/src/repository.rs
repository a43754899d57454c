//! What the hub says of a repository.

use crate::address::Address;
use crate::choose::choose;
use crate::client::{Client, Failure, Refusal, Request, read};
use crate::digest::{Proof, as_sha256};
use crate::name::HubName;
use crate::remote::{Remote, RemoteFile, local_name};
use crate::settings::Settings;
use anyhow::{Context, Error, Result, anyhow, bail};
use serde::Deserialize;
use std::time::Duration;

/// Bytes of the longest answer: a repository of ten thousand files has some 4 MB.
const LONGEST: u64 = 16 << 20;

/// The part that is of use of what `/api/models/ORG/REPO?blobs=true` answers.
#[derive(Deserialize)]
struct Repository {
    id: Option<String>,
    /// The commit that it stands at.
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Option<String>,
    size: Option<u64>,
}

/// Asks the hub which files a name stands for.
pub(crate) fn look_up(client: &Client<'_>, settings: &Settings, name: &HubName) -> Result<Remote> {
    let address = settings.of_hub(&format!("api/models/{}?blobs=true", name.repository()))?;
    let answer = client.patiently(
        || false,
        |_: &str, _: Duration| (),
        || {
            let response = client.get(Request { address: &address, from: 0, validator: None })?;
            read(response, LONGEST)
        },
    );
    let answer = answer.map_err(|failure| explain(settings, name, failure))?;
    let repository: Repository = serde_json::from_slice(&answer)
        .map_err(|_| anyhow!("{} answers, but not as the hub does", settings.endpoint.host()))?;
    files(settings, name, &repository).with_context(|| name.to_string())
}

fn files(settings: &Settings, name: &HubName, repository: &Repository) -> Result<Remote> {
    let Repository { id, sha, siblings } = repository;
    if !(40..=64).contains(&sha.len()) || !sha.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        bail!("the hub names no commit of it");
    }
    let choice = choose(siblings.iter().map(|file| file.rfilename.as_str()), name.tag.as_deref())?;
    // As its owner writes it.
    let own = id.as_deref().and_then(|id| id.split_once('/'));
    let own = own
        .filter(|(org, repo)| org.eq_ignore_ascii_case(&name.org) && repo.eq_ignore_ascii_case(&name.repo));
    let (org, repo) = own.unwrap_or((&name.org, &name.repo));
    let first = choice.files.first().map(String::as_str).unwrap_or_default();
    let asked_for_file = name.tag.as_deref().is_some_and(|tag| tag.to_ascii_lowercase().ends_with(".gguf"));
    let tag = choice.label.filter(|_| !asked_for_file).unwrap_or_else(|| first.to_owned());
    let full = HubName { org: org.to_owned(), repo: repo.to_owned(), tag: None }.with_tag(&tag);
    let files = choice.files.iter().map(|path| {
        let file = siblings.iter().find(|file| file.rfilename == *path);
        let file = file.ok_or_else(|| anyhow!("{path} is not there"))?;
        let lfs = file.lfs.as_ref();
        let proof = match (lfs.and_then(|lfs| as_sha256(lfs.sha256.as_deref()?)), &file.blob_id) {
            (Some(hash), _) => Proof::Sha256(hash),
            (None, Some(git)) if lfs.is_none() && git.len() == 40 => Proof::Git(git.to_ascii_lowercase()),
            _ => bail!("the hub has no hash of {path}"),
        };
        let bytes = lfs.and_then(|lfs| lfs.size).or(file.size);
        Ok(RemoteFile {
            address: resolve(settings, &full, sha, path)?,
            file: local_name(path),
            path: path.clone(),
            bytes: bytes.ok_or_else(|| anyhow!("the hub does not say how long {path} is"))?,
            proof,
            validator: None,
            answer: None,
        })
    });
    Ok(Remote { name: full.to_string(), files: files.collect::<Result<_>>()?, validator: None })
}

/// Where a file of a commit is.
fn resolve(settings: &Settings, name: &HubName, commit: &str, path: &str) -> Result<Address> {
    let mut encoded = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                encoded.push(byte.into())
            }
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    settings.of_hub(&format!("{}/resolve/{commit}/{encoded}", name.repository()))
}

/// A refusal of the hub in words, with what can be done.
pub(crate) fn explain(settings: &Settings, name: &HubName, failure: Failure) -> Error {
    let Failure::Refused(Refusal { status, code, host }) = &failure else {
        return Error::from(failure).context(name.to_string());
    };
    if host != settings.endpoint.host() {
        return Error::from(failure).context(name.to_string());
    }
    let page =
        settings.of_hub(&name.repository()).map_or_else(|_| name.repository(), |page| page.to_string());
    let known = settings.token.is_some();
    match (code.as_deref(), status) {
        (Some("GatedRepo"), _) if known => anyhow!(
            "{name}: its licence must be accepted: visit {page} with the account of your HF_TOKEN, then pull again"
        ),
        (Some("GatedRepo"), _) => anyhow!(
            "{name}: its licence must be accepted: visit {page}, then pull again with your token in HF_TOKEN"
        ),
        (Some("EntryNotFound"), _) => anyhow!("{name}: the file is no longer there"),
        (Some("RepoNotFound"), _) | (_, 404) if known => {
            anyhow!("{name}: {host} has no such repository, or the account of your HF_TOKEN may not see it")
        }
        (Some("RepoNotFound"), _) | (_, 404) => {
            anyhow!("{name}: {host} has no such repository; for a private one, HF_TOKEN holds your token")
        }
        (_, 401) if known => anyhow!("{name}: {host} does not know the token in HF_TOKEN"),
        (_, 401 | 403) => anyhow!("{name}: {host} wants to know who asks: put your token into HF_TOKEN"),
        _ => Error::from(failure).context(name.to_string()),
    }
}
