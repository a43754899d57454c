//! The bodies of requests, within bounds of length and time.

use crate::refusal::{Reason, Refusal};
use crate::server::Server;
use axum::body::Body;
use axum::body::HttpBody;
use axum::http::Request;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use siskin_kit::json::Object;
use std::time::Duration;

/// How long a client may take for a body.
const BODY_TIME: Duration = Duration::from_mins(1);
/// How long it waits for memory.
const ROOM_TIME: Duration = Duration::from_mins(1);

/// The body of a request, of `most` bytes at most.
///
/// # Errors
/// One that is too long, comes too slowly, or breaks off, and one that there is no memory for in time.
pub(crate) async fn read(server: &Server, request: Request<Body>, most: usize) -> Result<Bytes, Refusal> {
    let too_large = || {
        let said = format!("the body has more than {most} bytes, which is the most that is taken");
        Refusal::new(Reason::TooLarge, said)
    };
    // What is announced need not be waited for.
    if request.body().size_hint().lower() > most as u64 {
        return Err(too_large());
    }
    // One whose length is not announced may be as long as any.
    let announced = request.body().size_hint().exact().map_or(most, |bytes| bytes as usize);
    let taken = tokio::time::timeout(ROOM_TIME, server.room.take(announced)).await;
    taken.map_err(|_| Refusal {
        retry_after: Some(Duration::from_secs(1)),
        ..Refusal::new(Reason::Unavailable, "other requests have the memory that this one takes")
    })?;
    let body = Limited::new(request.into_body(), most).collect();
    match tokio::time::timeout(BODY_TIME, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Refusal::invalid("the body breaks off")),
        Err(_) => Err(Refusal::new(Reason::Timeout, "the body came too slowly")),
    }
}

/// The body of a request, a JSON object. Nothing at all is an empty one.
///
/// # Errors
/// As for [`read`]; another body.
pub(crate) async fn read_json(server: &Server, request: Request<Body>) -> Result<Object, Refusal> {
    let body = read(server, request, server.options.body).await?;
    let text = str::from_utf8(&body).map_err(|_| Refusal::invalid("the body: expected JSON in UTF-8"))?;
    let text = if text.trim().is_empty() { "{}" } else { text };
    server.room.take_for_values(text)?;
    // Long conversations take a while.
    Object::parse(text).map_err(|error| Refusal::invalid(format_args!("the body: {error:#}")))
}
