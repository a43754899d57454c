//! `GET /siskin/reports`: what `siskin eval --json` and `--html` have written into a folder, for the page to show.

use super::{Routes, refuse};
use crate::http;
use crate::refusal::{Reason, Refusal};
use crate::server::Server;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, Uri, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, stream};
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

pub(super) fn routes() -> Routes {
    Routes::new().get("/siskin/reports", list).get("/siskin/reports/{name}", show)
}

/// The newest ones are listed.
const MOST_LISTED: usize = 256;
/// Bytes of a report, at most.
const MOST_BYTES: u64 = 16 << 20;

/// Bytes of one that are read at a time.
const PART: usize = 16 << 10;

/// The kinds of report, by the ends of their names.
const KINDS: [(&str, &str); 2] = [("json", "application/json"), ("html", "text/html; charset=utf-8")];

/// What a browser does for a report: it shows it, with the styles and pictures that are in it, and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; sandbox";

/// The kind of a file, if its name is one of a report.
fn kind(name: &str) -> Option<(&'static str, &'static str)> {
    let ending = path::Path::new(name).extension()?.to_str()?;
    KINDS.into_iter().find(|(kind, _)| !name.starts_with('.') && *kind == ending)
}

async fn list(State(server): State<Arc<Server>>, uri: Uri) -> Response {
    let listed = match server.options.reports.clone() {
        Some(folder) => on_disk(move || found(&folder)).await,
        None => Ok(Vec::new()),
    };
    listed.map_or_else(
        |refusal| refuse(uri.path(), &refusal),
        |reports| http::json(200, &json!({"reports": reports})),
    )
}

/// The reports of a folder, the newest first.
fn found(folder: &path::Path) -> io::Result<Vec<Value>> {
    let mut reports = Vec::new();
    for entry in fs::read_dir(folder)? {
        let Ok(entry) = entry else { continue };
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some((kind, _)) = kind(&name) else { continue };
        // One that is gone meanwhile, or is no file, is none.
        let Some(found) = fs::metadata(entry.path()).ok().filter(fs::Metadata::is_file) else { continue };
        let modified = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        reports.push((modified.unwrap_or_default().as_secs(), name, kind, found.len()));
    }
    reports.sort_by(|(time, name, ..), (other_time, other, ..)| {
        (Reverse(time), name).cmp(&(Reverse(other_time), other))
    });
    let report =
        |(time, name, kind, bytes)| json!({"name": name, "kind": kind, "modified": time, "bytes": bytes});
    Ok(reports.into_iter().take(MOST_LISTED).map(report).collect())
}

async fn show(
    State(server): State<Arc<Server>>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Response {
    let missing = || Refusal::new(Reason::NotFound, format_args!("there is no report at {}", uri.path()));
    let shown = async {
        let Path(name) = name.map_err(|error| Refusal::invalid(error.body_text()))?;
        // A name of this folder, which leads nowhere else.
        let is_plain = path::Path::new(&name).file_name().is_some_and(|last| last == name.as_str());
        let (_, media) = kind(&name).filter(|_| is_plain).ok_or_else(missing)?;
        let folder = server.options.reports.clone().ok_or_else(missing)?;
        let (file, length) = on_disk(move || open(&folder.join(name))).await?.ok_or_else(missing)?;
        let mut response = http::text(200, media, Body::from_stream(contents(file, length)));
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        for (name, value) in [
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::CACHE_CONTROL, "no-cache"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        Ok(response)
    };
    shown.await.unwrap_or_else(|refusal: Refusal| refuse(uri.path(), &refusal))
}

/// A file and its length; None where it is none.
fn open(path: &path::Path) -> io::Result<Option<(File, u64)>> {
    // A pipe of that name would be waited for.
    if !fs::metadata(path).is_ok_and(|found| found.is_file()) {
        return Ok(None);
    }
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    match length > MOST_BYTES {
        true => Err(io::Error::other(format!("the report has more than {MOST_BYTES} bytes"))),
        false => Ok(Some((file, length))),
    }
}

/// The first `length` bytes of a file, a part at a time, each read once the client has read those before.
fn contents(file: File, length: u64) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::try_unfold(file.take(length), async |mut file| {
        let read = tokio::task::spawn_blocking(move || {
            let mut part = vec![0; PART];
            let read = file.read(&mut part)?;
            part.truncate(read);
            Ok((!part.is_empty()).then(|| (Bytes::from(part), file)))
        });
        read.await.map_err(io::Error::other)?
    })
}

/// What is done on a thread that may wait for the disk. Its faults do not name the folder, which is the server's own concern.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|_| Refusal::internal("a fault of what reads reports"))?;
    done.map_err(|error| Refusal::internal(format_args!("the reports cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_known_by_their_names() {
        let known = |name: &str| kind(name).map(|(kind, _)| kind);
        assert_eq!((known("a.json"), known("b.c.html")), (Some("json"), Some("html")));
        for name in ["", "json", ".json", ".a.json", "a.jsonl", "a.html.bak", "a"] {
            assert_eq!(known(name), None, "{name}");
        }
    }
}
