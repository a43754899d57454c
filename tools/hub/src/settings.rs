use crate::address::Address;
use crate::proxies::Proxies;
use anyhow::{Context, Result, bail};
use std::env;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// How the hub is asked, as its own tools read it from the environment.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The hub's address (`HF_ENDPOINT`), without `/` at its end.
    pub(crate) endpoint: Address,
    pub(crate) token: Option<Token>,
    /// Nobody is asked (`HF_HUB_OFFLINE`).
    pub(crate) offline: bool,
    pub(crate) proxies: Proxies,
    /// How long a server may say nothing (`HF_HUB_DOWNLOAD_TIMEOUT`).
    pub(crate) silence: Duration,
    /// How long to wait before a server that failed is asked again; each time twice as long.
    pub(crate) wait: Duration,
}

/// Who the user is to the hub. It is never shown.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Token {
    /// The header that carries it.
    pub(crate) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Settings {
    /// Those of this process's environment.
    ///
    /// # Errors
    /// A variable or the token's file that holds something else.
    pub fn from_environment() -> Result<Settings> {
        Settings::read(&|name| env::var(name).ok())
    }

    /// Those of an environment that has these variables.
    ///
    /// # Errors
    /// As for [`Settings::from_environment`].
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Settings> {
        const SILENCE: Duration = Duration::from_secs(60);
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let is_true = |name: &str| {
            set(name).is_some_and(|value| {
                ["1", "ON", "YES", "TRUE"].contains(&value.to_ascii_uppercase().as_str())
            })
        };
        let endpoint = set("HF_ENDPOINT").unwrap_or("https://huggingface.co".into());
        let silence = match set("HF_HUB_DOWNLOAD_TIMEOUT") {
            Some(seconds) => match seconds.trim().parse() {
                Ok(seconds @ 1..=86_400) => Duration::from_secs(seconds),
                _ => bail!("HF_HUB_DOWNLOAD_TIMEOUT: expected a number of seconds"),
            },
            None => SILENCE,
        };
        Ok(Settings {
            endpoint: Address::parse(endpoint.trim().trim_end_matches('/')).context("HF_ENDPOINT")?,
            token: if is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN") { None } else { token(&set)? },
            offline: is_true("HF_HUB_OFFLINE") || is_true("TRANSFORMERS_OFFLINE"),
            proxies: Proxies::read(variable)?,
            silence,
            wait: Duration::from_secs(1),
        })
    }

    /// The same with another time to wait before a server that failed is asked again.
    #[must_use]
    pub fn waiting(self, wait: Duration) -> Settings {
        Settings { wait, ..self }
    }

    /// An address of the hub.
    pub(crate) fn of_hub(&self, path: &str) -> Result<Address> {
        let endpoint = self.endpoint.to_string();
        Address::parse(&format!("{}/{path}", endpoint.trim_end_matches('/')))
    }
}

/// The token of `HF_TOKEN`, or of the file where the hub's own tools leave it when their user logs in.
fn token(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Token>> {
    let (from, text) = match variable("HF_TOKEN").or_else(|| variable("HUGGING_FACE_HUB_TOKEN")) {
        Some(text) => ("HF_TOKEN".to_owned(), text),
        None => {
            let folder = |name: &str| variable(name).map(PathBuf::from);
            let home = || {
                let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
                folder("HF_HOME").or_else(|| Some(cache?.join("huggingface")))
            };
            let Some(path) = folder("HF_TOKEN_PATH").or_else(|| Some(home()?.join("token"))) else {
                return Ok(None);
            };
            // Whoever has none, or may not read it, has not logged in.
            let Ok(text) = fs::read_to_string(&path) else { return Ok(None) };
            (path.display().to_string(), text)
        }
    };
    let text = text.trim();
    if text.len() > 4096 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("{from}: expected a token of the hub, which has letters and digits alone");
    }
    Ok(Some(Token(text.to_owned())).filter(|_| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings> {
        let variables: Vec<_> = variables.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        Settings::read(&|name| {
            variables.iter().find(|(variable, _)| variable == name).map(|(_, value)| value.clone())
        })
    }

    fn header(variables: &[(&str, &str)]) -> Option<String> {
        read(variables).unwrap().token.map(|token| token.header())
    }

    #[test]
    fn the_hub_is_where_the_environment_says() {
        assert_eq!(read(&[]).unwrap().of_hub("a").unwrap().to_string(), "https://huggingface.co/a");
        let mirror = read(&[("HF_ENDPOINT", "http://mirror:8080/hub/")]).unwrap();
        assert_eq!(mirror.of_hub("a/b").unwrap().to_string(), "http://mirror:8080/hub/a/b");
        assert!(read(&[("HF_ENDPOINT", "mirror")]).is_err());
        assert!(read(&[("HF_HUB_OFFLINE", "Yes")]).unwrap().offline);
        assert!(!read(&[("HF_HUB_OFFLINE", "0")]).unwrap().offline);
        assert!(read(&[("HF_HUB_DOWNLOAD_TIMEOUT", "soon")]).is_err());
    }

    #[test]
    fn the_token_is_found_where_the_hub_s_tools_leave_it() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        assert_eq!(header(&[("HOME", home)]), None);
        fs::create_dir_all(folder.path().join(".cache/huggingface")).unwrap();
        fs::write(folder.path().join(".cache/huggingface/token"), "of_home\n").unwrap();
        fs::write(folder.path().join("token"), "of_hf_home").unwrap();
        fs::write(folder.path().join("mine"), "of_path").unwrap();
        let mine = folder.path().join("mine");
        let mut variables = vec![("HOME", home)];
        for (name, value, expected) in [
            ("", "", "of_home"),
            ("HF_HOME", home, "of_hf_home"),
            ("HF_TOKEN_PATH", mine.to_str().unwrap(), "of_path"),
            ("HF_TOKEN", " hf_given ", "hf_given"),
        ] {
            variables.push((name, value));
            assert_eq!(header(&variables), Some(format!("Bearer {expected}")));
        }
        variables.push(("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"));
        assert_eq!(header(&variables), None);
    }

    #[test]
    fn a_token_is_never_shown() {
        let settings = read(&[("HF_TOKEN", "hf_secret")]).unwrap();
        assert!(!format!("{settings:?}").contains("secret"));
        let error = read(&[("HF_TOKEN", "hf_secret\nEvil: header")]).unwrap_err();
        assert!(!format!("{error:#}").contains("secret"), "{error:#}");
    }
}
