//! Who may ask from where: keys, and pages of other origins.

use super::room;
use crate::api;
use crate::page;
use crate::refusal::{Reason, Refusal};
use crate::server::Server;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use std::sync::Arc;

/// Where a connection comes from.
#[derive(Clone, Debug)]
pub(super) struct Address(pub(super) Arc<str>);

/// Addresses that need no key: whether the server lives, what can be asked of it, and the page, which asks for a key itself.
fn is_open(path: &str) -> bool {
    ["/", "/health", "/v1/health", "/favicon.ico", api::OPENAPI].contains(&path)
        || path.starts_with(page::FOLDER)
}

/// Lets a request through that may be answered, with whoever asks.
pub(crate) async fn guard(State(server): State<Arc<Server>>, request: Request<Body>, next: Next) -> Response {
    room::within(admit(&server, request, next)).await
}

async fn admit(server: &Server, mut request: Request<Body>, next: Next) -> Response {
    let (path, origin) = (request.uri().path().to_owned(), origin(request.headers()));
    let allowed = match check_origin(server, request.headers(), request.uri(), origin.as_deref()) {
        Ok(allowed) => allowed,
        Err(refusal) => return api::refuse(&path, &refusal),
    };
    if let Some(origin) = allowed.filter(|_| request.method() == Method::OPTIONS) {
        return preflight(origin);
    }
    let answered = if is_open(&path) {
        next.run(request).await
    } else {
        let Address(address) =
            request.extensions().get::<Address>().cloned().unwrap_or_else(|| Address("unknown".into()));
        match server.keys.admit(key(request.headers()), &address) {
            Ok(visitor) => {
                let name = Arc::clone(visitor.name());
                request.extensions_mut().insert(Arc::new(visitor));
                let mut answered = next.run(request).await;
                answered.extensions_mut().insert(name);
                answered
            }
            Err(refusal) => api::refuse(&path, &refusal),
        }
    };
    match allowed {
        Some(origin) => with_origin(answered, origin),
        None => answered,
    }
}

/// The key that a request brings, as the clients of one API or another write it.
fn key(headers: &HeaderMap) -> Option<&str> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    let bearer = text(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    bearer.or_else(|| text(HeaderName::from_static("x-api-key"))).filter(|key| !key.is_empty())
}

fn origin(headers: &HeaderMap) -> Option<String> {
    headers.get(header::ORIGIN)?.to_str().ok().map(str::to_owned)
}

/// Refuses what a page of another origin asks for, unless that origin was named, and on a server for this machine alone what
/// comes by a name that is none of it: a stranger's name may lead here, too (DNS rebinding). Returns the origin that was named.
fn check_origin<'s>(
    server: &'s Server,
    headers: &HeaderMap,
    uri: &Uri,
    origin: Option<&str>,
) -> Result<Option<&'s HeaderValue>, Refusal> {
    let host =
        headers.get(header::HOST).and_then(|host| host.to_str().ok()).or(uri.authority().map(|a| a.as_str()));
    if server.is_local && host.is_some_and(|host| !is_own(host)) {
        let said = "this server is for this machine alone, and is asked by another name";
        return Err(Refusal::new(Reason::Forbidden, said));
    }
    let Some(origin) = origin else { return Ok(None) };
    let named = |allowed: &&HeaderValue| *allowed == "*" || allowed.as_bytes() == origin.as_bytes();
    if let Some(allowed) = server.origins.iter().find(named) {
        return Ok(Some(allowed));
    }
    let own = origin.split_once("://").map(|(_, own)| own);
    match own.is_some() && own == host {
        true => Ok(None),
        false => Err(Refusal::new(
            Reason::Forbidden,
            format!("pages of {origin} may not ask: --cors {origin} lets them"),
        )),
    }
}

/// Whether a host's name is one of this machine.
fn is_own(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The answer to a browser that asks whether it may ask.
fn preflight(origin: &HeaderValue) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE, HEAD"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*, authorization"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    with_origin(response, origin)
}

fn with_origin(mut response: Response, origin: &HeaderValue) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.1.2.3", "[::1]:8080", "a.localhost:1"]
        {
            assert!(is_own(host), "{host}");
        }
        for host in
            ["example.com", "localhost.example.com:80", "192.168.0.1", "[fe80::1]", "", "127.0.0.1.nip.io"]
        {
            assert!(!is_own(host), "{host}");
        }
    }

    #[test]
    fn a_key_is_found_where_clients_write_it() {
        let of = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            key(&headers).map(str::to_owned)
        };
        assert_eq!(of("authorization", "Bearer sk-1").as_deref(), Some("sk-1"));
        assert_eq!(of("authorization", "bearer  sk-1 ").as_deref(), Some("sk-1"));
        assert_eq!(of("x-api-key", "sk-1").as_deref(), Some("sk-1"));
        assert_eq!(of("authorization", "Basic c2s="), None);
        assert_eq!(of("authorization", "Bearer "), None);
    }
}
