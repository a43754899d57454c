//! The last requests that were refused, for whoever looks after the server.

use crate::refusal::{Reason, Refusal};
use crate::server::{Server, now};
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::middleware::Next;
use axum::response::Response;
use serde::Serialize;
use serde_json::json;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// How many are kept.
const KEPT: usize = 32;
/// Bytes of a message or an address, at most: both are as long as who asks makes them.
const LONGEST: usize = 400;

/// The last refusals, the newest first.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<VecDeque<Refused>>);

/// A request that was refused, or several alike, one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Refused {
    /// Seconds since 1970, of the last one.
    pub(crate) time: u64,
    pub(crate) status: u16,
    pub(crate) path: String,
    pub(crate) message: String,
    pub(crate) count: u64,
    /// The key's name; None where there was no good one.
    #[serde(skip)]
    pub(crate) key: Option<Arc<str>>,
}

impl Refusals {
    fn add(&self, refused: Refused) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = all.front_mut()
            && (&last.path, &last.message, &last.key) == (&refused.path, &refused.message, &refused.key)
        {
            (last.time, last.count) = (refused.time, last.count.saturating_add(1));
            return;
        }
        all.truncate(KEPT - 1);
        all.push_front(refused);
    }

    /// Those that are of a key; of None: all. A message may quote what was asked, which is no other key's concern.
    pub(crate) fn of(&self, key: Option<&str>) -> Vec<Refused> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|one| key.is_none() || one.key.as_deref() == key).cloned().collect()
    }
}

/// Remembers what is refused: the response of each has the refusal with it, and the name of the key.
pub(crate) async fn remember(
    State(server): State<Arc<Server>>,
    request: Request<Body>,
    next: Next,
) -> Response {
    let path = shortened(request.uri().path());
    let response = next.run(request).await;
    if let Some(refusal) = response.extensions().get::<Refusal>() {
        let key = response.extensions().get::<Arc<str>>().cloned();
        let (status, message) = (refusal.status(), shortened(&refusal.message));
        if refusal.reason == Reason::Internal {
            let said = format!("{path}: {message}");
            server.options.log.error("request-failed", said, json!({"path": path, "status": status}));
        }
        server.refusals.add(Refused { time: now(), status, path, message, count: 1, key });
    }
    response
}

fn shortened(text: &str) -> String {
    match text.char_indices().take_while(|(at, _)| *at < LONGEST).last() {
        Some((at, _)) if text.len() > LONGEST => format!("{}…", &text[..at]),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(message: &str, key: Option<&str>) -> Refused {
        let (path, message) = ("/v1/x".to_owned(), message.to_owned());
        Refused { time: 1, status: 400, path, message, count: 1, key: key.map(Into::into) }
    }

    #[test]
    fn the_last_are_kept_and_those_alike_counted() {
        let all = Refusals::default();
        for number in 0..2 * KEPT {
            all.add(refused(&number.to_string(), None));
        }
        all.add(Refused { time: 2, ..refused(&(2 * KEPT - 1).to_string(), None) });
        let found = all.of(None);
        assert_eq!(found.len(), KEPT);
        assert_eq!((found[0].count, found[0].time, found[0].message.as_str()), (2, 2, "63"));
        assert_eq!((found[1].count, found[KEPT - 1].message.as_str()), (1, "32"));
    }

    #[test]
    fn a_key_sees_its_own_alone() {
        let all = Refusals::default();
        all.add(refused("a", Some("kitchen")));
        all.add(refused("b", None));
        all.add(refused("c", Some("garage")));
        let seen = |key| all.of(key).into_iter().map(|one| one.message).collect::<Vec<_>>();
        assert_eq!(seen(Some("kitchen")), ["a"]);
        assert_eq!(seen(None), ["c", "b", "a"]);
    }

    #[test]
    fn what_is_long_is_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        let cut = shortened(&"\u{9d5f}".repeat(1000));
        assert!(cut.ends_with('…') && cut.len() <= LONGEST + 3, "{}", cut.len());
    }
}
