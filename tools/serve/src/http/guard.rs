//! Who may ask from where: keys, and pages of other origins.

use super::room;
use crate::api;
use crate::page;
use crate::refusal::{Reason, Refusal};
use crate::server::Server;
use anyhow::{Context, Result as AnyResult};
use axum::body::Body;
use axum::extract::State;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use std::net::IpAddr;
use std::sync::Arc;

/// Where a connection comes from.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) name: Arc<str>,
    /// Whether it is this machine.
    pub(super) is_local: bool,
}

/// Whether a program on this machine asks, and is no browser that a stranger's name has led here (DNS rebinding): a page that
/// asks by an address is of this server, or was refused.
pub(crate) fn is_of_this_machine(request: &Request<Body>) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or(request.uri().authority().map(|authority| authority.as_str()));
    let is_named = host.is_none_or(|host| is_own(host) || name_of(host).parse::<IpAddr>().is_ok());
    is_named && request.extensions().get::<Address>().is_some_and(|address| address.is_local)
}

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
        let address = request.extensions().get::<Address>().map(|address| Arc::clone(&address.name));
        let address = address.unwrap_or_else(|| "unknown".into());
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
            match named_origin(origin) {
                Ok(_) => format!("pages of {origin} may not ask: --cors {origin} lets them"),
                Err(_) => "pages without an origin of their own may not ask".to_owned(),
            },
        )),
    }
}

/// An origin that was named, as browsers write it, or `*` for all: a scheme, a host, and a port where it is not the scheme's own.
///
/// # Errors
/// What is no origin. `null` is what pages say that have none, whoever's they are.
pub(crate) fn named_origin(text: &str) -> AnyResult<HeaderValue> {
    let read = || {
        let lower = text.to_ascii_lowercase();
        let (scheme, rest) = lower.split_once("://")?;
        let host = rest.strip_suffix('/').unwrap_or(rest);
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        let is_host =
            !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(c));
        let own = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => "",
        };
        let host = host.strip_suffix(own).unwrap_or(host);
        // A port is a number.
        let authority: Authority = host.parse().ok()?;
        let is_whole =
            !authority.host().is_empty() && (authority.port_u16().is_some() || !ends_in_port(host));
        (is_scheme && is_host && is_whole).then(|| format!("{scheme}://{host}"))
    };
    let origin = if text == "*" { Some(text.to_owned()) } else { read() };
    let value = origin.and_then(|origin| HeaderValue::from_str(&origin).ok());
    value.with_context(|| {
        format!("--cors {text}: expected an origin such as https://example.com, or * for all")
    })
}

/// Whether something follows a colon behind the host.
fn ends_in_port(host: &str) -> bool {
    host.rsplit(']').next().unwrap_or_default().contains(':')
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

/// Whether a host's name is one of this machine.
fn is_own(host: &str) -> bool {
    let name = name_of(host);
    name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
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
    fn origins_are_read_as_browsers_write_them() {
        for (text, expected) in [
            ("https://good.example", "https://good.example"),
            ("HTTPS://Good.example/", "https://good.example"),
            ("https://good.example:443", "https://good.example"),
            ("http://good.example:8080/", "http://good.example:8080"),
            ("http://[::1]:80", "http://[::1]"),
            ("app://obsidian.md", "app://obsidian.md"),
            ("*", "*"),
        ] {
            assert_eq!(named_origin(text).unwrap(), expected, "{text}");
        }
        for text in [
            "",
            "notanorigin",
            "null",
            "https://",
            "https:///",
            "https://a/b",
            "https://a b",
            "https://a:x",
            "://a",
        ] {
            let said = named_origin(text).unwrap_err().to_string();
            assert!(said.contains("expected an origin such as https://example.com"), "{said}");
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
