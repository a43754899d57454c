//! Who may ask, and how much: keys with names and limits, from a file that is read again on SIGHUP.

use crate::refusal::{Reason, Refusal};
use anyhow::{Context, Result, bail, ensure};
use constant_time_eq::constant_time_eq;
use siskin::template::Json;
use siskin_kit::json::{Kind, Object};
use siskin_kit::read_text;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// The keys that there are; without a file anybody may ask.
pub(crate) struct Keys {
    file: Option<PathBuf>,
    all: RwLock<Vec<Key>>,
    /// What each key has used, by its name, also of keys whose limits changed.
    used: Mutex<BTreeMap<Arc<str>, Used>>,
}

/// A key.
#[derive(Clone, Debug)]
struct Key {
    name: Arc<str>,
    secret: String,
    limits: Limits,
}

/// How much a key may ask. None: as much as it wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Limits {
    /// Requests that are answered at a time.
    parallel: Option<usize>,
    requests_per_minute: Option<u32>,
    /// Tokens of prompts and answers.
    tokens_per_day: Option<u64>,
}

/// What a key has used.
#[derive(Debug, Default)]
struct Used {
    parallel: usize,
    /// Requests that it may begin now, as far as they were counted, and when that was.
    requests: Option<(f64, Instant)>,
    /// Tokens, and since when they are counted.
    tokens: Option<(u64, Instant)>,
}

/// Who asks: those of one client wait for each other before those of others do.
pub(crate) type Client = Arc<Visitor>;

/// Somebody who may ask. As long as it lives, it counts among those of its key that ask at a time.
pub(crate) struct Visitor {
    keys: Arc<Keys>,
    name: Arc<str>,
}

const DAY: Duration = Duration::from_hours(24);

impl Keys {
    /// The keys of a file, or none.
    ///
    /// # Errors
    /// A file that cannot be read, or holds something else.
    pub(crate) fn open(file: Option<PathBuf>) -> Result<Self> {
        let keys = Self { file, all: RwLock::default(), used: Mutex::default() };
        keys.read_again()?;
        Ok(keys)
    }

    /// Reads the file again. Where it is wrong now, the keys stay what they were.
    ///
    /// # Errors
    /// As for [`Keys::open`].
    pub(crate) fn read_again(&self) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let all =
            read_text(file).and_then(|text| parse(&text).with_context(|| file.display().to_string()))?;
        *self.all.write().unwrap_or_else(PoisonError::into_inner) = all;
        Ok(())
    }

    /// Whether a key is wanted.
    pub(crate) fn are_wanted(&self) -> bool {
        self.file.is_some()
    }

    /// Whoever has this key; without any keys, who is called `otherwise`.
    ///
    /// # Errors
    /// No key or a wrong one, and one that has asked for as much as it may.
    pub(crate) fn admit(self: &Arc<Self>, key: Option<&str>, otherwise: &str) -> Result<Visitor, Refusal> {
        let (name, limits) = self.find(key, otherwise)?;
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.entry(Arc::clone(&name)).or_default().begin(limits, Instant::now())?;
        Ok(Visitor { keys: Arc::clone(self), name })
    }

    fn find(&self, key: Option<&str>, otherwise: &str) -> Result<(Arc<str>, Limits), Refusal> {
        if !self.are_wanted() {
            return Ok((otherwise.into(), Limits::default()));
        }
        let given = key.ok_or_else(|| Refusal::new(Reason::Unauthorized, "an API key is wanted"))?;
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        // All are looked at, so that time does not tell how far one was right.
        let mut found = None;
        for key in &*all {
            if constant_time_eq(key.secret.as_bytes(), given.as_bytes()) {
                found = Some((Arc::clone(&key.name), key.limits));
            }
        }
        found.ok_or_else(|| Refusal::new(Reason::Unauthorized, "there is no such API key"))
    }
}

impl Visitor {
    /// What the key is called.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Counts tokens that were read or answered.
    pub(crate) fn count(&self, tokens: usize) {
        let mut used = self.keys.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((count, _)) = used.get_mut(&self.name).and_then(|used| used.tokens.as_mut()) {
            *count = count.saturating_add(tokens as u64);
        }
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        let mut used = self.keys.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = used.get_mut(&self.name) {
            used.parallel = used.parallel.saturating_sub(1);
        }
        // Addresses come and go where there are no keys.
        if !self.keys.are_wanted() {
            used.retain(|_, used| used.parallel > 0);
        }
    }
}

impl Used {
    /// Counts a request that begins now.
    fn begin(&mut self, limits: Limits, now: Instant) -> Result<(), Refusal> {
        let busy = |said: String, after: Duration| {
            Err(Refusal { retry_after: Some(after), ..Refusal::new(Reason::Busy, said) })
        };
        if let Some(most) = limits.parallel.filter(|&most| self.parallel >= most) {
            return busy(format!("the key may have {most} requests at a time"), Duration::from_secs(1));
        }
        let (tokens, since) = self.tokens.filter(|(_, since)| now - *since < DAY).unwrap_or((0, now));
        if let Some(most) = limits.tokens_per_day.filter(|&most| tokens >= most) {
            let said = format!("the key may use {most} tokens a day, and has used {tokens}");
            return busy(said, DAY.saturating_sub(now - since));
        }
        if let Some(most) = limits.requests_per_minute {
            let rate = f64::from(most) / 60.0;
            let (left, then) = self.requests.unwrap_or((f64::from(most), now));
            let left = (left + rate * (now - then).as_secs_f64()).min(f64::from(most));
            if left < 1.0 {
                let said = format!("the key may begin {most} requests a minute");
                return busy(said, Duration::from_secs_f64((1.0 - left) / rate));
            }
            self.requests = Some((left - 1.0, now));
        }
        self.tokens = Some((tokens, since));
        self.parallel += 1;
        Ok(())
    }
}

/// Reads a file of keys.
fn parse(text: &str) -> Result<Vec<Key>> {
    let mut fields = Object::parse(text)?;
    let Some(Json::Array(keys)) = fields.take("keys") else { bail!("keys: expected an array of objects") };
    if let Some((name, _)) = fields.rest().first() {
        bail!("{name}: there is no such field, expected keys");
    }
    let mut all: Vec<Key> = Vec::new();
    for (index, key) in keys.into_iter().enumerate() {
        let key = read(&format!("keys[{index}]"), key)?;
        ensure!(
            all.iter().all(|other| other.name != key.name),
            "keys[{index}].name is there twice: {}",
            key.name
        );
        ensure!(all.iter().all(|other| other.secret != key.secret), "keys[{index}].key is there twice");
        all.push(key);
    }
    Ok(all)
}

fn read(path: &str, value: Json) -> Result<Key> {
    const LEAST: usize = 8;
    let mut fields = Object::of(path, value)?;
    let name = fields.require_text("name")?;
    let secret = fields.require_text("key")?;
    ensure!(!name.is_empty(), "{path}.name: expected a text that is not empty");
    let printable = secret.bytes().all(|byte| byte.is_ascii_graphic());
    ensure!(secret.len() >= LEAST && printable, "{path}.key: expected {LEAST} or more printable characters");
    const COUNT: &str = "a whole number of at least 1";
    let limits = Limits {
        parallel: fields.whole("parallel", COUNT)?.filter(|&most| most > 0),
        requests_per_minute: fields.whole("requests_per_minute", COUNT)?.filter(|&most| most > 0),
        tokens_per_day: fields.whole("tokens_per_day", COUNT)?.filter(|&most| most > 0),
    };
    match fields.rest().first() {
        Some((name, value)) => bail!(
            "{path}.{name}: there is no such field, found {}: expected name, key, parallel, requests_per_minute or \
             tokens_per_day",
            Kind(value)
        ),
        None => Ok(Key { name: name.into(), secret, limits }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Arc<Keys> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        Arc::new(Keys::open(Some(file.path().to_owned())).unwrap())
    }

    fn refused(admitted: Result<Visitor, Refusal>) -> Refusal {
        admitted.err().unwrap()
    }

    #[test]
    fn who_has_a_key_is_known_by_its_name() {
        let keys = keys(
            r#"{"keys": [{"name": "kitchen", "key": "secret-1"}, {"name": "hall", "key": "secret-2"}]}"#,
        );
        assert_eq!(&**keys.admit(Some("secret-2"), "127.0.0.1").unwrap().name(), "hall");
        for wrong in [None, Some(""), Some("secret-"), Some("secret-22")] {
            assert_eq!(refused(keys.admit(wrong, "127.0.0.1")).reason, Reason::Unauthorized);
        }
        let anybody = Arc::new(Keys::open(None).unwrap());
        assert_eq!(&**anybody.admit(Some("anything"), "127.0.0.1").unwrap().name(), "127.0.0.1");
        assert!(anybody.used.lock().unwrap().is_empty());
    }

    #[test]
    fn a_key_has_limits() {
        let limited =
            |limits: &str| keys(&format!(r#"{{"keys": [{{"name": "a", "key": "12345678", {limits}}}]}}"#));
        let ask = |keys: &Arc<Keys>| keys.admit(Some("12345678"), "");
        let parallel = limited(r#""parallel": 2"#);
        let (one, two) = (ask(&parallel).unwrap(), ask(&parallel).unwrap());
        assert_eq!(refused(ask(&parallel)).message, "the key may have 2 requests at a time");
        drop(one);
        let _three = ask(&parallel).unwrap();
        drop(two);
        let minute = limited(r#""requests_per_minute": 2"#);
        assert!(ask(&minute).is_ok() && ask(&minute).is_ok());
        let after = refused(ask(&minute)).retry_after.unwrap();
        assert!(after > Duration::from_secs(25) && after <= Duration::from_secs(30), "{after:?}");
        let tokens = limited(r#""tokens_per_day": 100"#);
        let visitor = ask(&tokens).unwrap();
        visitor.count(99);
        assert!(ask(&tokens).is_ok());
        visitor.count(1);
        assert_eq!(refused(ask(&tokens)).message, "the key may use 100 tokens a day, and has used 100");
    }

    #[test]
    fn counts_start_again_with_the_day_and_go_on_through_the_minute() {
        let limits = Limits { requests_per_minute: Some(60), tokens_per_day: Some(10), ..Limits::default() };
        let (mut used, begun) = (Used::default(), Instant::now());
        used.begin(limits, begun).unwrap();
        used.tokens = Some((10, begun));
        assert!(used.begin(limits, begun + DAY / 2).is_err());
        used.begin(limits, begun + DAY).unwrap();
        let later = begun + DAY;
        (0..59).for_each(|_| used.begin(limits, later).unwrap());
        assert!(used.begin(limits, later).is_err());
        used.begin(limits, later + Duration::from_secs(1)).unwrap();
    }

    #[test]
    fn a_wrong_file_names_the_field_and_changes_nothing() {
        for (text, expected) in [
            ("[]", "expected an object, found an array"),
            ("{}", "keys: expected an array of objects"),
            (
                r#"{"keys": [{"name": "a", "key": "short"}]}"#,
                "keys[0].key: expected 8 or more printable characters",
            ),
            (r#"{"keys": [{"key": "12345678"}]}"#, "keys[0].name is missing, expected a text"),
            (
                r#"{"keys": [{"name": "a", "key": "12345678", "rate": 1}]}"#,
                "keys[0].rate: there is no such field, found 1: expected name, key, parallel, requests_per_minute or \
                 tokens_per_day",
            ),
            (
                r#"{"keys": [{"name": "a", "key": "12345678"}, {"name": "a", "key": "23456789"}]}"#,
                "keys[1].name is there twice: a",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), expected);
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, r#"{"keys": [{"name": "a", "key": "12345678"}]}"#).unwrap();
        let keys = Arc::new(Keys::open(Some(file.path().to_owned())).unwrap());
        std::fs::write(&file, "{").unwrap();
        assert!(keys.read_again().is_err());
        assert!(keys.admit(Some("12345678"), "").is_ok());
        std::fs::write(&file, r#"{"keys": []}"#).unwrap();
        keys.read_again().unwrap();
        assert!(keys.admit(Some("12345678"), "").is_err());
    }
}
