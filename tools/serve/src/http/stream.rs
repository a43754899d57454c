//! What is sent back: JSON, texts, server-sent events, lines.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use serde::Serialize;
use std::convert::Infallible;

fn response(status: u16, kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A JSON value.
pub(crate) fn json(status: u16, value: &impl Serialize) -> Response {
    // Values of ours have texts for keys, so this cannot fail.
    let body = serde_json::to_vec(value).unwrap_or_default();
    response(status, "application/json", Body::from(body))
}

/// A text.
pub(crate) fn text(status: u16, kind: &'static str, body: impl Into<Body>) -> Response {
    response(status, kind, body.into())
}

/// Server-sent events, as they come; each is all of its lines but the empty one at its end.
pub(crate) fn events(events: impl Stream<Item = String> + Send + 'static) -> Response {
    let bytes = events.map(|event| Ok::<_, Infallible>(Bytes::from(event + "\n\n")));
    let mut response = response(200, "text/event-stream", Body::from_stream(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Proxies such as nginx would wait for more of them.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// JSON values, a line each, as they come.
pub(crate) fn lines(values: impl Stream<Item = serde_json::Value> + Send + 'static) -> Response {
    let bytes = values.map(|value| Ok::<_, Infallible>(Bytes::from(value.to_string() + "\n")));
    response(200, "application/x-ndjson", Body::from_stream(bytes))
}
