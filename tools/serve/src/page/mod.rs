//! The page at `/`, on which people talk to the models and look after the server. All of it is in the program: plain HTML, CSS
//! and JavaScript modules, which a browser takes as they are.

use crate::api::{Routes, refuse, running};
use crate::http;
use crate::refusal::{Reason, Refusal};
use axum::body::Body;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use siskin_kit::hash;
use std::sync::LazyLock;

/// Where all but the page itself is. It says nothing of models, so no key is needed for it.
pub(crate) const FOLDER: &str = "/page/";

pub(crate) fn routes() -> Routes {
    Routes::new().get("/", root).get("/page/{name}", part)
}

/// A file of the page.
struct File {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

macro_rules! files {
    ($($name:literal: $kind:expr,)*) => {
        [$(File { name: $name, kind: $kind, bytes: include_bytes!($name) }),*]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The first is the page itself.
static FILES: [File; 13] = files! {
    "index.html": HTML,
    "style.css": CSS,
    "icon.svg": "image/svg+xml",
    "app.js": SCRIPT,
    "chat.js": SCRIPT,
    "conversations.js": SCRIPT,
    "dom.js": SCRIPT,
    "markdown.js": SCRIPT,
    "message.js": SCRIPT,
    "operation.js": SCRIPT,
    "reports.js": SCRIPT,
    "server.js": SCRIPT,
    "words.js": SCRIPT,
};

/// A tag of each file, which is another one when the file is.
static TAGS: LazyLock<Vec<String>> =
    LazyLock::new(|| FILES.iter().map(|file| format!("\"{}\"", hash::of(file.bytes))).collect());

/// What a browser does for the page: it runs and shows what is of this server, asks nobody else, and makes no code or markup of
/// text, so that what a model writes stays text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// The page for browsers. Clients of Ollama's API ask here whether it is there, and are told.
async fn root(headers: HeaderMap) -> Response {
    let mut response = match accepts_html(&headers) {
        true => served(0, &headers),
        false => running(),
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// Whether who asks names HTML among what it takes. Programs take anything, and name nothing.
fn accepts_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|accepted| accepted.to_str().ok());
    let mut kinds = accepted.flat_map(|accepted| accepted.split(','));
    kinds.any(|kind| kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/html"))
}

async fn part(name: Result<Path<String>, PathRejection>, uri: Uri, headers: HeaderMap) -> Response {
    // What is no text is no name of a file.
    let name = name.map(|Path(name)| name).unwrap_or_default();
    match FILES.iter().skip(1).position(|file| file.name == name) {
        Some(index) => served(index + 1, &headers),
        None => {
            let said = format!("there is nothing at {}", uri.path());
            refuse(uri.path(), &Refusal::new(Reason::NotFound, said))
        }
    }
}

/// The file of this number, unless who asks has it already.
fn served(index: usize, headers: &HeaderMap) -> Response {
    let (Some(file), Some(tag)) = (FILES.get(index), TAGS.get(index)) else {
        return refuse(FOLDER, &Refusal::internal("the page is not there"));
    };
    let mut response = http::text(200, file.kind, file.bytes);
    if is_held(headers, tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
    }
    let fields = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(tag) {
        fields.insert(header::ETAG, tag);
    }
    for (name, value) in [
        // It is asked each time whether it still is the same, since a new program has a new page.
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether a request names the tag as one that it has.
fn is_held(headers: &HeaderMap, tag: &str) -> bool {
    let held = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|held| held.to_str().ok());
    let mut tags = held.flat_map(|held| held.split(','));
    tags.any(|held| {
        let held = held.trim();
        held == "*" || held.strip_prefix("W/").unwrap_or(held) == tag
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_is_for_who_names_it() {
        let accepts = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(value));
            accepts_html(&headers)
        };
        assert!(accepts("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
        assert!(accepts("application/json, Text/HTML;q=0.5"));
        assert!(!accepts("*/*"));
        assert!(!accepts("application/json"));
        assert!(!accepts_html(&HeaderMap::new()));
    }

    #[test]
    fn a_tag_is_held_by_who_names_it() {
        let held = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static(value));
            is_held(&headers, "\"a\"")
        };
        assert!(held("\"a\"") && held("\"b\", W/\"a\"") && held("*"));
        assert!(!held("\"b\"") && !held("a"));
    }

    /// What is small stays small: it costs bytes of every program.
    #[test]
    fn the_page_is_small() {
        let bytes: usize = FILES.iter().map(|file| file.bytes.len()).sum();
        assert!(bytes < 96 << 10, "{bytes} bytes");
    }

    /// Each module that a file imports is there, and nothing is loaded from elsewhere.
    #[test]
    fn all_that_is_loaded_is_there() {
        for file in &FILES {
            let text = std::str::from_utf8(file.bytes).unwrap();
            for line in text.lines().filter(|line| line.starts_with("import ")) {
                let name = line.rsplit("\"./").next().unwrap().trim_end_matches("\";");
                assert!(FILES.iter().any(|other| other.name == name), "{}: {line}", file.name);
            }
            for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!text.contains(forbidden), "{}: {forbidden}", file.name);
            }
        }
    }
}
