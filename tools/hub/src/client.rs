//! Asking servers: redirects, refusals, and what may be otherwise in a while.

use crate::address::Address;
use crate::digest::as_sha256;
use crate::settings::Settings;
use crate::shown::shown;
use crate::stop::Stop;
use anyhow::{Error, anyhow};
use std::cell::{Cell, OnceCell};
use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::thread;
use std::time::{Duration, Instant};
use ureq::http::HeaderMap;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, BodyReader, ProxyProtocol};

/// Redirects in a row, as in browsers.
const REDIRECTS: usize = 20;
/// Times that a server is asked again when it fails and hardly anything came meanwhile.
const TRIES: u32 = 5;
/// The longest that a server may ask us to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What asks servers.
pub(crate) struct Client<'s> {
    pub(crate) settings: &'s Settings,
    stop: &'s Stop,
    roots: OnceCell<RootCerts>,
    /// Whether any server has answered, so that there is a network.
    reached: Cell<bool>,
}

/// What a server is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Request<'r> {
    pub(crate) address: &'r Address,
    /// The first byte that is wanted.
    pub(crate) from: u64,
    /// What the bytes before belong to, as the server called it.
    pub(crate) validator: Option<&'r str>,
}

/// What a server answered, 200 or 206.
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: HeaderMap,
    pub(crate) body: BodyReader<'static>,
    /// What a redirect said of the file it led to, as the hub does.
    pub(crate) linked_sha256: Option<String>,
}

/// Why there is no answer.
pub(crate) enum Failure {
    /// It may be otherwise in a while, which the server may have named.
    Passing { said: String, wait: Option<Duration> },
    /// The server does not give it.
    Refused(Refusal),
    /// Asking again does not help.
    Lasting(Error),
}

/// A server's refusal.
pub(crate) struct Refusal {
    pub(crate) host: String,
    pub(crate) status: u16,
    /// The hub's `X-Error-Code`.
    pub(crate) code: Option<String>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Lasting(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::Passing { said, .. } => anyhow!("{said}"),
            Failure::Refused(Refusal { host, status, .. }) => match status {
                401 | 403 => anyhow!("{host} does not give it to everybody (HTTP {status})"),
                404 | 410 => anyhow!("{host} has no such file (HTTP {status})"),
                _ => anyhow!("{host} refuses (HTTP {status})"),
            },
            Failure::Lasting(error) => error,
        }
    }
}

impl Response {
    /// A header's text, if it is one.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The whole number of a header.
    pub(crate) fn length(&self) -> Option<u64> {
        self.header("content-length")?.trim().parse().ok()
    }

    /// What tells this file from others at its address: an entity tag that stands for the same bytes, not for alike ones.
    pub(crate) fn validator(&self) -> Option<String> {
        let tag = self.header("etag")?.trim();
        (tag.starts_with('"') && tag.len() <= 256).then(|| tag.to_owned())
    }
}

impl<'s> Client<'s> {
    pub(crate) fn new(settings: &'s Settings, stop: &'s Stop) -> Client<'s> {
        Client { settings, stop, roots: OnceCell::new(), reached: Cell::new(false) }
    }

    /// What `work` comes to, which is begun again after a pause while its failures pass. There are as many tries again as at
    /// first where `progress` says that enough came since it was asked last: it must be so that it says that only so often.
    pub(crate) fn patiently<T>(
        &self,
        mut progress: impl FnMut() -> bool,
        mut waiting: impl FnMut(&str, Duration),
        mut work: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut tries = 0;
        loop {
            self.go_on()?;
            let (said, wait) = match work() {
                Err(Failure::Passing { said, wait }) => (said, wait),
                done => return done,
            };
            if progress() {
                tries = 0;
            }
            let own = self.settings.wait.saturating_mul(1 << tries.min(TRIES));
            let wait = wait.map_or(own, |wait| wait.max(own));
            if wait > LONGEST_WAIT {
                return Err(anyhow!("{said}: try again in {} s", wait.as_secs()).into());
            }
            if tries == TRIES {
                return Err(anyhow!("{said}, also when asked again").into());
            }
            tries += 1;
            waiting(&said, wait);
            self.pause(wait)?;
        }
    }

    /// Fails where whoever wanted it does not want it any more.
    pub(crate) fn go_on(&self) -> Result<(), Error> {
        if self.stop.is_set() {
            return Err(anyhow!("it was stopped"));
        }
        Ok(())
    }

    /// Waits, unless it is stopped meanwhile.
    fn pause(&self, wait: Duration) -> Result<(), Error> {
        const GLANCE: Duration = Duration::from_millis(100);
        let end = Instant::now() + wait;
        loop {
            self.go_on()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(GLANCE));
        }
    }

    /// Asks for a file, wherever that is by now. Of the hub's servers only the hub itself is told the user's token.
    pub(crate) fn get(&self, request: Request<'_>) -> Result<Response, Failure> {
        let mut address = request.address.clone();
        let mut linked_sha256 = None;
        for _ in 0..REDIRECTS {
            let response = self.once(&address, request)?;
            let status = response.status().as_u16();
            let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            match status {
                200 | 206 => {
                    let (parts, body) = response.into_parts();
                    let body = body.into_reader();
                    return Ok(Response { status, headers: parts.headers, body, linked_sha256 });
                }
                301 | 302 | 303 | 307 | 308 => {
                    let host = address.host();
                    linked_sha256 = linked_sha256
                        .or_else(|| as_sha256(header("x-linked-etag")?.trim().trim_matches('"')));
                    let location =
                        header("location").ok_or_else(|| anyhow!("{host} redirects to nowhere"))?;
                    let next = address.join(location).map_err(|_| {
                        anyhow!("{host} redirects to {}, which is no address of the web", shown(location))
                    })?;
                    if address.is_https() && !next.is_https() {
                        return Err(anyhow!(
                            "{host} redirects from https to http, where anybody could change what comes"
                        )
                        .into());
                    }
                    address = next;
                }
                408 | 425 | 429 | 500.. => {
                    let seconds = header("retry-after").and_then(|value| value.trim().parse().ok());
                    let why = if status == 429 { "has been asked too often" } else { "fails" };
                    return Err(Failure::Passing {
                        said: format!("{} {why} (HTTP {status})", address.host()),
                        wait: seconds.map(Duration::from_secs),
                    });
                }
                _ => {
                    let code = header("x-error-code").map(shown);
                    return Err(Failure::Refused(Refusal { host: address.host().into(), status, code }));
                }
            }
        }
        Err(anyhow!("{} redirects in circles", request.address.host()).into())
    }

    fn once(
        &self,
        address: &Address,
        request: Request<'_>,
    ) -> Result<ureq::http::Response<ureq::Body>, Failure> {
        let mut asked = self.agent(address)?.get(address.uri()).header("accept-encoding", "identity");
        if request.from > 0 {
            asked = asked.header("range", format!("bytes={}-", request.from));
            if let Some(validator) = request.validator {
                asked = asked.header("if-range", validator);
            }
        }
        if let Some(token) = &self.settings.token
            && address.same_server(&self.settings.endpoint)
        {
            asked = asked.header("authorization", token.header());
        }
        let answered = asked.call().map_err(|error| self.failure(address, error))?;
        self.reached.set(true);
        Ok(answered)
    }

    fn agent(&self, address: &Address) -> Result<Agent, Error> {
        let proxy = self.settings.proxies.of(address);
        let in_tls = address.is_https()
            || proxy.as_ref().is_some_and(|proxy| proxy.protocol() == ProxyProtocol::Https);
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("siskin/", env!("CARGO_PKG_VERSION")))
            .proxy(proxy)
            .timeout_resolve(Some(self.settings.silence))
            .timeout_connect(Some(self.settings.silence))
            .timeout_per_read(Some(self.settings.silence))
            .timeout_per_write(Some(self.settings.silence));
        if in_tls {
            config = config.tls_config(TlsConfig::builder().root_certs(self.roots()?).build());
        }
        Ok(config.build().new_agent())
    }

    /// The certificates that this machine trusts, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    fn roots(&self) -> Result<RootCerts, Error> {
        if let Some(roots) = self.roots.get() {
            return Ok(roots.clone());
        }
        // Another has done so: that is as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let found = rustls_native_certs::load_native_certs();
        let certificates: Vec<_> =
            found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
        if certificates.is_empty() {
            return Err(anyhow!(
                "this machine trusts no certificates, so no https can be spoken: install its package \
                 ca-certificates, or name a file of them in SSL_CERT_FILE"
            ));
        }
        let roots = RootCerts::new_with_certs(&certificates);
        Ok(self.roots.get_or_init(|| roots).clone())
    }

    /// What came in the way of a question.
    fn failure(&self, address: &Address, error: ureq::Error) -> Failure {
        use ureq::Error::{
            ConnectProxyFailed, ConnectionFailed, HostNotFound, Io, LargeResponseHeader, Protocol, Rustls,
            Timeout, Tls,
        };
        let host = address.host();
        let said = match &error {
            HostNotFound => format!("{host} is not known: is there a network?"),
            Timeout(_) => format!("{host} says nothing"),
            ConnectionFailed => format!("{host} cannot be connected to"),
            Io(error) if error.kind() == ErrorKind::InvalidData => return untrusted(host, error),
            Io(error) => format!("{host}: {}", io_said(error)),
            Rustls(error) => return untrusted(host, error),
            ConnectProxyFailed(why) => return anyhow!("the proxy for {host} fails: {}", shown(why)).into(),
            Protocol(_) | LargeResponseHeader(..) | Tls(_) => {
                return anyhow!("{host} does not speak HTTP as expected: {}", shown(&error.to_string()))
                    .into();
            }
            _ => return anyhow!("{host}: {}", shown(&error.to_string())).into(),
        };
        let no_network = match &error {
            HostNotFound | ConnectionFailed => true,
            Io(error) => matches!(
                error.kind(),
                ErrorKind::ConnectionRefused | ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable
            ),
            _ => false,
        };
        if no_network && !self.reached.get() {
            return Failure::Lasting(anyhow!("{said}"));
        }
        Failure::Passing { said, wait: None }
    }
}

/// A server whose TLS or certificate is not as it should be.
fn untrusted(host: &str, error: &dyn fmt::Display) -> Failure {
    // Without the numbers of algorithms, which some have behind.
    let said = shown(error.to_string().split(" {").next().unwrap_or_default());
    let hint = match said.contains("certificate") {
        true => {
            " (certificates are checked with those that this machine trusts, or with those of SSL_CERT_FILE)"
        }
        false => "",
    };
    Failure::Lasting(anyhow!("{host}: {said}{hint}"))
}

/// An error of a connection in a few words.
pub(crate) fn io_said(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            "the connection was cut".into()
        }
        ErrorKind::ConnectionRefused => "the connection was refused".into(),
        ErrorKind::TimedOut => "nothing came any more".into(),
        _ => shown(&error.to_string()),
    }
}

/// All of a body, if it is no longer than `most` bytes.
pub(crate) fn read(response: Response, most: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    match response.body.take(most + 1).read_to_end(&mut bytes) {
        Ok(_) if bytes.len() as u64 > most => Err(anyhow!("the answer is longer than {most} bytes").into()),
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::Passing { said: io_said(&error), wait: None }),
    }
}
