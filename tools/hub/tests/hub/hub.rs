//! A hub for tests: a repository behind the part of its interface that is used.

use super::server::{Reply, Request, Server};
use siskin::gguf::write::Builder;
use siskin::gguf::{SPLIT_COUNT_KEY, SPLIT_NUMBER_KEY, SPLIT_TENSORS_KEY};
use siskin_quant::TensorType;
use std::path::Path;
use std::sync::{Arc, Mutex};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A repository `Org/Repo`.
#[derive(Clone, Default)]
pub(crate) struct Repository {
    files: Vec<(String, Vec<u8>)>,
    /// Ends of paths, and how they are answered in place of what they should be.
    faults: Vec<(String, Arc<Fault>)>,
}

/// Another answer to a request for these bytes, or none.
type Fault = dyn Fn(&Request, &[u8]) -> Option<Reply> + Send + Sync;

impl Repository {
    pub(crate) fn with(files: &[(&str, &[u8])]) -> Repository {
        let files = files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect();
        Repository { files, faults: Vec::new() }
    }

    /// Asks `fault` before each answer whose path ends in `path`; it is given the true bytes.
    pub(crate) fn fault(
        mut self,
        path: &str,
        fault: impl Fn(&Request, &[u8]) -> Option<Reply> + Send + Sync + 'static,
    ) -> Repository {
        self.faults.push((path.into(), Arc::new(fault)));
        self
    }

    /// The same, the first times only.
    pub(crate) fn fault_times(
        self,
        path: &str,
        times: usize,
        fault: impl Fn(&Request, &[u8]) -> Reply + Send + Sync + 'static,
    ) -> Repository {
        let left = Mutex::new(times);
        self.fault(path, move |request, bytes| {
            let mut left = left.lock().unwrap();
            *left = left.checked_sub(1)?;
            Some(fault(request, bytes))
        })
    }

    /// Serves it: what is asked of the hub, and the files from another host, as the hub does.
    pub(crate) fn serve(self) -> Server {
        // The files' host is known once it listens.
        let content = Arc::new(self);
        let elsewhere = Arc::clone(&content);
        let files = Server::start(move |request| elsewhere.file(request));
        let files_at = files.other_host();
        Server::start(move |request| {
            // It lives as long as the hub.
            let _ = &files;
            content.hub(request, &files_at)
        })
    }

    fn fault_of(&self, request: &Request, path: &str, bytes: &[u8]) -> Option<Reply> {
        self.faults.iter().filter(|(of, _)| path.ends_with(of)).find_map(|(_, fault)| fault(request, bytes))
    }

    fn hub(&self, request: &Request, files_at: &str) -> Reply {
        let target = request.target.as_str();
        if target.starts_with("/api/models/") {
            return self.fault_of(request, "/api", self.json().as_bytes()).unwrap_or_else(|| {
                match target.eq_ignore_ascii_case("/api/models/Org/Repo?blobs=true") {
                    true => Reply::status(200).body(self.json()),
                    false => Reply::status(404).with("x-error-code", "RepoNotFound"),
                }
            });
        }
        let Some(path) = target.strip_prefix(&format!("/Org/Repo/resolve/{COMMIT}/")) else {
            return Reply::status(404).with("x-error-code", "EntryNotFound");
        };
        let bytes = self.bytes(path).unwrap_or_default();
        self.fault_of(request, &format!("resolve/{path}"), bytes).unwrap_or_else(|| {
            Reply::status(302)
                .with("location", format!("{files_at}/blobs/{path}?signature=x"))
                .with("x-linked-etag", format!("\"{}\"", sha256(bytes)))
        })
    }

    fn file(&self, request: &Request) -> Reply {
        let path = request.target.trim_start_matches("/blobs/").split('?').next().unwrap();
        let Some(bytes) = self.bytes(path) else { return Reply::status(404) };
        self.fault_of(request, &format!("blobs/{path}"), bytes).unwrap_or_else(|| {
            Reply::file(request, bytes).with("etag", format!("\"{}\"", &sha256(bytes)[..16]))
        })
    }

    fn bytes(&self, path: &str) -> Option<&[u8]> {
        self.files.iter().find(|(known, _)| known == path).map(|(_, bytes)| bytes.as_slice())
    }

    fn json(&self) -> String {
        let siblings: Vec<_> = self
            .files
            .iter()
            .map(|(path, bytes)| {
                serde_json::json!({"rfilename": path, "size": bytes.len(), "blobId": "0".repeat(40),
                "lfs": {"sha256": sha256(bytes), "size": bytes.len(), "pointerSize": 134}})
            })
            .collect();
        serde_json::json!({"id": "Org/Repo", "sha": COMMIT, "gated": false, "siblings": siblings}).to_string()
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A small model.
pub(crate) fn model() -> Vec<u8> {
    golden("gqa.gguf")
}

/// Another one.
pub(crate) fn other_model() -> Vec<u8> {
    golden("head-dim.gguf")
}

/// A part of a third one, which has two of a tensor each.
pub(crate) fn part(number: u32) -> Vec<u8> {
    let mut builder = Builder::new();
    builder.set(SPLIT_NUMBER_KEY, number).unwrap().set(SPLIT_COUNT_KEY, 2u32).unwrap();
    builder.set(SPLIT_TENSORS_KEY, 2u32).unwrap();
    let name = format!("blk.{number}.attn_norm.weight");
    builder.tensor(&name, &[8192], TensorType::F32).unwrap();
    let mut writer = builder.start(Vec::new()).unwrap();
    writer.tensor(&name, &[number as u8; 8192 * 4]).unwrap();
    writer.finish().unwrap()
}

fn golden(name: &str) -> Vec<u8> {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../engine/tests/goldens/llama");
    std::fs::read(goldens.join(name)).unwrap()
}
