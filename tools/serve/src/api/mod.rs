//! The APIs, each a module that reads requests and writes answers in the words of its own clients.

mod anthropic;
mod content;
mod documents;
mod fields;
mod format;
mod llama_cpp;
mod logprobs;
mod ollama;
mod openai;
mod openapi;
mod prompts;
mod reports;
mod routes;
mod sampling;
mod status;

pub(crate) use ollama::running;
pub(crate) use openapi::ADDRESS as OPENAPI;
pub(crate) use routes::Routes;

use crate::http;
use crate::page;
use crate::refusal::{Reason, Refusal};
use crate::refusals;
use crate::server::{Server, now};
use axum::body::Body;
use axum::http::{HeaderValue, Request, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use axum::{Router, middleware};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// All addresses, as openapi.json describes them.
fn routes() -> Routes {
    Routes::new()
        .merge(openai::routes())
        .merge(ollama::routes())
        .merge(anthropic::routes())
        .merge(llama_cpp::routes())
        .merge(status::routes())
        .merge(openapi::routes())
        .merge(documents::routes())
        .merge(reports::routes())
        .merge(page::routes())
}

/// What answers requests.
pub(crate) fn router(server: Arc<Server>) -> Router {
    routes()
        .router()
        .fallback(async |uri: Uri| {
            let said = format!("there is nothing at {}", uri.path());
            refuse(uri.path(), &Refusal::new(Reason::NotFound, said))
        })
        .method_not_allowed_fallback(async |uri: Uri| {
            let said = format!("{} takes another method", uri.path());
            refuse(uri.path(), &Refusal::new(Reason::Method, said))
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&server), http::guard))
        .layer(middleware::from_fn(catch_panic))
        .layer(middleware::from_fn_with_state(Arc::clone(&server), refusals::remember))
        .with_state(server)
}

/// Answers for a handler that panics, which is told on standard error: others go on.
async fn catch_panic(request: Request<Body>, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    answered.unwrap_or_else(|_| refuse(&path, &Refusal::internal("a fault of the server's own")))
}

/// A refusal in the words of the API that an address belongs to.
pub(crate) fn refuse(path: &str, refusal: &Refusal) -> Response {
    let mut parts = path.split('/').skip(1);
    match (parts.next().unwrap_or_default(), parts.next()) {
        ("" | "api", _) => ollama::refuse(refusal),
        ("v1", Some("messages")) => anthropic::refuse(refusal),
        ("v1" | "chat" | "models", _) => openai::refuse(refusal),
        _ => llama_cpp::refuse(refusal),
    }
}

/// A name for an answer, which no other one of this server has.
fn id(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{prefix}{:08x}{:08x}", now(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Says when to try again. The refusal itself goes with the response, for who remembers them.
fn with_retry(mut response: Response, refusal: &Refusal) -> Response {
    response.extensions_mut().insert(refusal.clone());
    if let Some(after) = refusal.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use http_body_util::BodyExt;
    use tower_service::Service;

    #[tokio::test]
    async fn a_handler_that_panics_is_answered_for() {
        async fn broken() -> Response {
            panic!("on purpose")
        }
        let mut router: Router =
            Router::new().route("/api/broken", get(broken)).layer(middleware::from_fn(catch_panic));
        let request = Request::builder().uri("/api/broken").body(Body::empty()).unwrap();
        let response = router.call(request).await.unwrap();
        assert_eq!(response.status(), 500);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&body[..], br#"{"error":"a fault of the server's own"}"#);
    }

    #[test]
    fn a_refusal_is_in_the_form_of_its_api() {
        let keys = |path: &str| {
            let refusal = Refusal::new(Reason::NotFound, "x");
            let body =
                refuse(path, &refusal).into_body().collect().now_or_never().unwrap().unwrap().to_bytes();
            String::from_utf8(body.to_vec()).unwrap()
        };
        assert_eq!(keys("/api/x"), r#"{"error":"x"}"#);
        assert!(keys("/v1/messages/x").contains(r#""type":"error""#));
        assert!(keys("/v1/x").contains(r#""param":null"#));
        assert!(keys("/x").contains(r#""code":404"#));
    }
}
