//! Which proxy an address is asked through, as the hub's own tools and curl read the environment.

use crate::address::Address;
use anyhow::{Result, anyhow};
use ureq::Proxy;

/// The proxies of the environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    /// Hosts that are asked directly: `example.com` with all below it, perhaps with a port, or `*`.
    direct: Vec<String>,
}

impl Proxies {
    /// Reads `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, in small letters or capitals.
    pub(crate) fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Proxies> {
        let either = |name: &str| {
            [name.to_owned(), name.to_ascii_uppercase()].into_iter().find_map(|name| {
                variable(&name).filter(|value| !value.trim().is_empty()).map(|value| (name, value))
            })
        };
        let proxy = |name: &str| -> Result<Option<Proxy>> {
            let Some((name, value)) = either(name).or_else(|| either("all_proxy")) else { return Ok(None) };
            // It may hold a password.
            let proxy = Proxy::new(value.trim());
            proxy
                .map(Some)
                .map_err(|_| anyhow!("{name}: expected the address of a proxy, such as http://HOST:PORT"))
        };
        let direct = either("no_proxy").map_or(String::new(), |(_, hosts)| hosts);
        let direct = direct.split([',', ' ']).map(|host| host.trim().to_ascii_lowercase());
        Ok(Proxies {
            http: proxy("http_proxy")?,
            https: proxy("https_proxy")?,
            direct: direct.filter(|host| !host.is_empty()).collect(),
        })
    }

    /// The proxy for an address; None where it is asked directly.
    pub(crate) fn of(&self, address: &Address) -> Option<Proxy> {
        let (host, port) = (address.host().to_ascii_lowercase(), address.port().to_string());
        let direct = self.direct.iter().any(|rule| {
            let rule = match rule.rsplit_once(':') {
                Some((name, digits)) if digits == port => name,
                _ => rule,
            };
            let rule = rule.strip_prefix('*').unwrap_or(rule);
            let below = rule.strip_prefix('.').unwrap_or(rule);
            rule.is_empty()
                || host == below
                || host.strip_suffix(below).is_some_and(|start| start.ends_with('.'))
        });
        let proxy = if address.is_https() { &self.https } else { &self.http };
        proxy.clone().filter(|_| !direct)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(variables: &[(&str, &str)], address: &str) -> Option<String> {
        let read = |name: &str| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        };
        let proxies = Proxies::read(&read).unwrap();
        proxies.of(&Address::parse(address).unwrap()).map(|proxy| proxy.host().to_owned())
    }

    #[test]
    fn schemes_have_their_proxies() {
        let all =
            [("http_proxy", "http://one:1"), ("HTTPS_PROXY", "two:2"), ("ALL_PROXY", "socks5h://three")];
        assert_eq!(host(&all, "http://a/").as_deref(), Some("one"));
        assert_eq!(host(&all, "https://a/").as_deref(), Some("two"));
        assert_eq!(host(&all[2..], "https://a/").as_deref(), Some("three"));
        assert_eq!(host(&[("https_proxy", " ")], "https://a/"), None);
        let both = [("https_proxy", "small"), ("HTTPS_PROXY", "capital")];
        assert_eq!(host(&both, "https://a/").as_deref(), Some("small"));
        assert_eq!(host(&[], "https://a/"), None);
    }

    #[test]
    fn some_hosts_are_asked_directly() {
        let direct =
            |rules: &str, address: &str| host(&[("all_proxy", "p"), ("no_proxy", rules)], address).is_none();
        for rules in ["*", "a.b", ".a.b", "*.a.b", "x, A.B", "x a.b:443"] {
            assert!(direct(rules, "https://a.b/") && direct(rules, "https://c.a.b/"), "{rules}");
        }
        for rules in ["", "b.c", "a.b:80", "xa.b", "c.a.b"] {
            assert!(!direct(rules, "https://a.b/"), "{rules}");
        }
        assert!(direct("127.0.0.1", "http://127.0.0.1:80/") && !direct("a.b", "http://xa.b/"));
    }

    #[test]
    fn what_is_no_proxy_is_said_without_its_password() {
        let read = |name: &str| (name == "http_proxy").then(|| "http://user:secret@".to_owned());
        let error = Proxies::read(&read).unwrap_err().to_string();
        assert!(error.starts_with("http_proxy: expected") && !error.contains("secret"), "{error}");
    }
}
