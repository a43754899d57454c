//! `POST /siskin/text`: the text of a PDF file, which the page puts before a question. The body is the file.

use super::{Routes, refuse};
use crate::http;
use crate::refusal::{Reason, Refusal};
use crate::server::Server;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{Request, Uri};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use siskin::plan::Budget;
use std::sync::Arc;
use std::time::Duration;

pub(super) fn routes() -> Routes {
    Routes::new().post("/siskin/text", text)
}

/// Bytes of a document's text, at most: some hundred pages, and more than most contexts. A request takes no more.
const MOST_TEXT: usize = 1 << 20;
/// A document may be so many times as long as another body. It and a copy of it are within the room that this one has.
const TIMES_A_BODY: usize = 2;
/// When to try again while another document is read.
const LATER: Duration = Duration::from_secs(5);

/// How a document is called.
#[derive(Debug, Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
}

async fn text(
    State(server): State<Arc<Server>>,
    named: Result<Query<Named>, QueryRejection>,
    uri: Uri,
    request: Request<Body>,
) -> Response {
    let read = async {
        let Query(Named { name }) = named.map_err(|error| Refusal::invalid(error.body_text()))?;
        read(&server, name, request).await
    };
    read.await
        .map_or_else(|refusal| refuse(uri.path(), &refusal), |text| http::json(200, &json!({"text": text})))
}

/// Bytes that a document is read with, at least.
const LEAST_MEMORY: u64 = 64 << 20;

/// Bytes that there are to read a document with: what the server may take, or the machine has left, beside the models.
///
/// # Errors
/// Too few, with the figures.
fn memory(server: &Server) -> Result<u64, Refusal> {
    let Some(budget) = siskin_kit::memory::budget(server.options.memory) else { return Ok(u64::MAX) };
    left(&budget, server.models.promised.bytes())
}

/// What there is of a budget beside what is planned.
fn left(budget: &Budget, planned: u64) -> Result<u64, Refusal> {
    let left = budget.bytes().saturating_sub(planned);
    if left >= LEAST_MEMORY {
        return Ok(left);
    }
    let [left, least] = [left, LEAST_MEMORY].map(|bytes| bytes >> 20);
    let said =
        format!("documents: {left} MiB of {budget} are left beside the models, expected {least} at least");
    Err(Refusal::new(Reason::Unavailable, said))
}

async fn read(server: &Server, name: String, request: Request<Body>) -> Result<String, Refusal> {
    let Some(reader) = server.options.documents else {
        let said = "documents: this program was built without what reads them";
        return Err(Refusal::new(Reason::Unsupported, said));
    };
    let bytes = http::read(server, request, TIMES_A_BODY * server.options.body).await?;
    // One at a time: it may take as much memory and as many seconds as its reader allows. Who goes away leaves it to its end.
    let Ok(place) = Arc::clone(&server.reading).try_acquire_owned() else {
        let refusal = Refusal::new(Reason::Busy, "another document is being read");
        return Err(Refusal { retry_after: Some(LATER), ..refusal });
    };
    let memory = memory(server)?;
    let called = if name.is_empty() { "the document".to_owned() } else { name.clone() };
    let read = tokio::task::spawn_blocking(move || {
        let _place = place;
        reader(bytes.into(), &name, MOST_TEXT, memory)
    });
    let text = read.await.map_err(|_| Refusal::internal("a fault of what reads documents"))?;
    let text = text.map_err(|error| Refusal::invalid(format_args!("{called}: {error}")))?;
    if text.len() > MOST_TEXT {
        let said = format!("{called}: its text has {} bytes, expected {MOST_TEXT} at most", text.len());
        return Err(Refusal::new(Reason::TooLarge, said));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_refused_where_the_models_leave_too_little() {
        let budget = Budget::of(200 << 20);
        assert_eq!(left(&budget, 100 << 20).unwrap(), 100 << 20);
        let refused = left(&budget, 190 << 20).unwrap_err();
        assert!(matches!(refused.reason, Reason::Unavailable), "{refused:?}");
        let expected = "documents: 10 MiB of 200.0 MiB are left beside the models, expected 64 at least";
        assert_eq!(refused.message, expected);
    }
}
