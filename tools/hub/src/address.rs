use anyhow::{Result, anyhow, bail};
use std::fmt;
use ureq::http::Uri;
use ureq::http::uri::Scheme;

/// An address of the web, http or https, with a host and without a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(Uri);

impl Address {
    /// Reads an address; what stands behind `#` is of no concern to a server.
    pub(crate) fn parse(text: &str) -> Result<Address> {
        let text = text.split('#').next().unwrap_or_default();
        let uri: Uri =
            text.parse().map_err(|_| anyhow!("expected an address such as https://HOST/FILE.gguf"))?;
        if ![Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&uri.scheme()) {
            bail!("expected an address that begins with http:// or https://");
        }
        let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        if authority.contains('@') {
            bail!("expected an address without a name or password in it");
        }
        if uri.host().is_none_or(str::is_empty) {
            bail!("expected an address with a host");
        }
        Ok(Address(uri))
    }

    /// Where a redirect to `location` leads from here.
    pub(crate) fn join(&self, location: &str) -> Result<Address> {
        let scheme = self.0.scheme_str().unwrap_or("https");
        let host = self.0.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let path = self.0.path();
        let has_scheme = location.split(['/', '?', '#']).next().is_some_and(|first| first.contains(':'));
        let joined = match location {
            _ if has_scheme => location.to_owned(),
            _ if location.starts_with("//") => format!("{scheme}:{location}"),
            _ if location.starts_with('/') => format!("{scheme}://{host}{location}"),
            _ if location.starts_with('?') => format!("{scheme}://{host}{path}{location}"),
            _ => {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                format!("{scheme}://{host}{folder}/{location}")
            }
        };
        Address::parse(&joined)
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.0
    }

    pub(crate) fn host(&self) -> &str {
        self.0.host().unwrap_or_default()
    }

    pub(crate) fn is_https(&self) -> bool {
        self.0.scheme() == Some(&Scheme::HTTPS)
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or(if self.is_https() { 443 } else { 80 })
    }

    /// Whether both are of one server: what is told to one is told to the other.
    pub(crate) fn same_server(&self, other: &Address) -> bool {
        self.is_https() == other.is_https()
            && self.host().eq_ignore_ascii_case(other.host())
            && self.port() == other.port()
    }

    /// The last part of the path.
    pub(crate) fn file(&self) -> &str {
        self.0.path().rsplit('/').next().unwrap_or_default()
    }

    /// The same with another last part of the path.
    pub(crate) fn with_file(&self, file: &str) -> Result<Address> {
        let text = self.0.to_string();
        let (before, query) = match text.split_once('?') {
            Some((before, query)) => (before, format!("?{query}")),
            None => (text.as_str(), String::new()),
        };
        let folder = before.strip_suffix(self.file()).unwrap_or(before);
        Address::parse(&format!("{folder}{file}{query}"))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_web_is_asked() {
        assert_eq!(Address::parse("http://a.b:81/c?d#e").unwrap().to_string(), "http://a.b:81/c?d");
        for text in [
            "",
            "a",
            "file:///etc/passwd",
            "ftp://a/b",
            "http://",
            "https://u:p@a/b",
            "http://a b/",
            "http:/a",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn redirects_are_followed_as_browsers_do() {
        let from = Address::parse("https://a.b/c/d?e").unwrap();
        for (location, to) in [
            ("http://x/y", "http://x/y"),
            ("//x/y", "https://x/y"),
            ("/y?z=:", "https://a.b/y?z=:"),
            ("y", "https://a.b/c/y"),
            ("?y", "https://a.b/c/d?y"),
        ] {
            assert_eq!(from.join(location).unwrap().to_string(), to, "{location}");
        }
        for location in ["file:///etc/passwd", "javascript:x", "https://u@x/", ""] {
            let joined = from.join(location);
            assert!(location.is_empty() || joined.is_err(), "{location}: {joined:?}");
        }
    }

    #[test]
    fn servers_are_told_apart_by_scheme_host_and_port() {
        let same = |a: &str, b: &str| Address::parse(a).unwrap().same_server(&Address::parse(b).unwrap());
        assert!(same("https://a/x", "https://A:443/y"));
        for other in ["http://a/", "https://a.b/", "https://a:444/"] {
            assert!(!same("https://a/", other), "{other}");
        }
    }

    #[test]
    fn files_beside_one_have_its_query() {
        let address = Address::parse("https://a/b/c-00001-of-00002.gguf?d=c").unwrap();
        assert_eq!(address.file(), "c-00001-of-00002.gguf");
        assert_eq!(address.with_file("x").unwrap().to_string(), "https://a/b/x?d=c");
    }
}
