//! What is sent back: JSON, texts, server-sent events, lines.

use super::room;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;
use std::convert::Infallible;
use std::io;
use std::time::{Duration, Instant};

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
    event_pieces(events.map(|event| event + "\n\n"))
}

/// Server-sent events in pieces, which have all of their lines.
pub(crate) fn event_pieces(pieces: impl Stream<Item = String> + Send + 'static) -> Response {
    let bytes = pieces.map(|piece| Ok::<_, Infallible>(Bytes::from(piece)));
    let mut response = response(200, "text/event-stream", Body::from_stream(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Proxies such as nginx would wait for more of them.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// JSON that is made as it is read, a piece at a time. What the request has of the room stays its own until then.
pub(crate) fn pieces(pieces: impl Iterator<Item = String> + Send + 'static) -> Response {
    let state = (pieces, room::carry(), Instant::now() + PIECES_TIME);
    let bytes = stream::unfold(state, async |(mut pieces, shares, end)| {
        let mut piece = pieces.next()?;
        while piece.len() < PIECE
            && let Some(more) = pieces.next()
        {
            piece.push_str(&more);
        }
        // Whoever reads as slowly as can be does not keep others out.
        let in_time = Instant::now() < end;
        let piece = in_time.then(|| Bytes::from(piece)).ok_or(io::ErrorKind::TimedOut);
        Some((piece.map_err(io::Error::from), (pieces, shares, end)))
    });
    response(200, "application/json", Body::from_stream(bytes))
}

/// Bytes that pieces are put together to, about.
const PIECE: usize = 8 << 10;
/// How long a client may take to read what is made as it is read.
const PIECES_TIME: Duration = Duration::from_mins(1);

/// JSON values, a line each, as they come.
pub(crate) fn lines(values: impl Stream<Item = serde_json::Value> + Send + 'static) -> Response {
    let bytes = values.map(|value| Ok::<_, Infallible>(Bytes::from(value.to_string() + "\n")));
    response(200, "application/x-ndjson", Body::from_stream(bytes))
}
