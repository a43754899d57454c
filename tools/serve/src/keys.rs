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
    /// Answers that are worked on, or wait, at a time.
    parallel: Option<usize>,
    requests_per_minute: Option<u32>,
    /// Tokens of prompts and answers.
    tokens_per_day: Option<u64>,
}

/// What a key has used.
#[derive(Debug, Default)]
struct Used {
    /// Answers at a time.
    parallel: usize,
    /// Tokens that these may take yet, at most.
    reserved: u64,
    /// Requests that it may begin now, as far as they were counted, and when that was.
    requests: Option<(f64, Instant)>,
    /// Tokens, and since when they are counted.
    tokens: Option<(u64, Instant)>,
}

/// Who asks: those of one client wait for each other before those of others do.
pub(crate) type Client = Arc<Visitor>;

/// Somebody who may ask.
pub(crate) struct Visitor {
    keys: Arc<Keys>,
    name: Arc<str>,
    limits: Limits,
}

/// What is kept for a request of a key, until it is over: its answers are among those at a time, and the tokens that they may
/// take at most are as if they were used.
pub(crate) struct Reserved {
    client: Client,
    answers: usize,
    tokens: u64,
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
        self.change(&name, |used| used.begin(limits, Instant::now())).unwrap_or(Ok(()))?;
        Ok(Visitor { keys: Arc::clone(self), name, limits })
    }

    /// Changes what a key has used. Without keys nothing is counted, as addresses come and go.
    fn change<T>(&self, name: &Arc<str>, change: impl FnOnce(&mut Used) -> T) -> Option<T> {
        if !self.are_wanted() {
            return None;
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        Some(change(used.entry(Arc::clone(name)).or_default()))
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

    /// Keeps places for so many answers, and the tokens that a request may take at most, until it is over.
    ///
    /// # Errors
    /// More answers at a time than the key may have, and more tokens than are left of the day's.
    pub(crate) fn reserve(self: &Arc<Self>, answers: usize, tokens: usize) -> Result<Reserved, Refusal> {
        let tokens = tokens as u64;
        let reserve = |used: &mut Used| used.reserve(self.limits, answers, tokens, Instant::now());
        self.keys.change(&self.name, reserve).unwrap_or(Ok(()))?;
        Ok(Reserved { client: Arc::clone(self), answers, tokens })
    }
}

impl Reserved {
    /// Counts tokens that were read or answered.
    pub(crate) fn count(&mut self, tokens: usize) {
        let tokens = tokens as u64;
        let kept = tokens.min(self.tokens);
        self.tokens -= kept;
        self.client.keys.change(&self.client.name, |used| {
            used.reserved = used.reserved.saturating_sub(kept);
            if let Some((count, _)) = &mut used.tokens {
                *count = count.saturating_add(tokens);
            }
        });
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.client.keys.change(&self.client.name, |used| {
            used.parallel = used.parallel.saturating_sub(self.answers);
            used.reserved = used.reserved.saturating_sub(self.tokens);
        });
    }
}

impl Used {
    /// Counts a request that begins now.
    fn begin(&mut self, limits: Limits, now: Instant) -> Result<(), Refusal> {
        if let Some(most) = limits.requests_per_minute {
            let rate = f64::from(most) / 60.0;
            let (left, then) = self.requests.unwrap_or((f64::from(most), now));
            let left = (left + rate * (now - then).as_secs_f64()).min(f64::from(most));
            if left < 1.0 {
                let said = format!("the key may begin {most} requests a minute");
                return Err(busy(said, Duration::from_secs_f64((1.0 - left) / rate)));
            }
            self.requests = Some((left - 1.0, now));
        }
        Ok(())
    }

    /// Keeps places for answers, and tokens.
    fn reserve(&mut self, limits: Limits, answers: usize, tokens: u64, now: Instant) -> Result<(), Refusal> {
        if let Some(most) = limits.parallel {
            if answers > most {
                let said = format!("the key may have {most} answers at a time, and {answers} are asked for");
                return Err(Refusal::invalid(said));
            }
            if self.parallel.saturating_add(answers) > most {
                let said = format!("the key may have {most} answers at a time");
                return Err(busy(said, Duration::from_secs(1)));
            }
        }
        let (count, since) = self.tokens.filter(|(_, since)| now - *since < DAY).unwrap_or((0, now));
        if let Some(most) = limits.tokens_per_day {
            let used = count.saturating_add(self.reserved);
            let may = format!("this request may take {tokens}, prompt and answers");
            if tokens > most {
                return Err(Refusal::invalid(format_args!("the key may use {most} tokens a day, and {may}")));
            }
            if used.saturating_add(tokens) > most {
                let said = format!(
                    "the key may use {most} tokens a day, of which {used} are used or kept for answers under way, and {may}"
                );
                return Err(busy(said, DAY.saturating_sub(now - since)));
            }
        }
        self.tokens = Some((count, since));
        self.parallel = self.parallel.saturating_add(answers);
        self.reserved = self.reserved.saturating_add(tokens);
        Ok(())
    }
}

fn busy(said: String, after: Duration) -> Refusal {
    Refusal { retry_after: Some(after), ..Refusal::new(Reason::Busy, said) }
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
    let limits = Limits {
        parallel: limit(&mut fields, "parallel")?,
        requests_per_minute: limit(&mut fields, "requests_per_minute")?,
        tokens_per_day: limit(&mut fields, "tokens_per_day")?,
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

/// A limit; none is no limit, and 0 would be a key that nobody can use.
fn limit<T: TryFrom<i128>>(fields: &mut Object, name: &str) -> Result<Option<T>> {
    fields.typed(name, "a whole number of at least 1", |value| match value {
        Json::Integer(number) if *number > 0 => T::try_from(*number).ok(),
        _ => None,
    })
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
        let visitor = Arc::new(ask(&parallel).unwrap());
        let refusal = |reserved: Result<Reserved, Refusal>| reserved.err().unwrap();
        let (one, two) = (visitor.reserve(1, 5).unwrap(), visitor.reserve(1, 5).unwrap());
        let refused_now = refusal(visitor.reserve(1, 5));
        assert_eq!(
            (refused_now.reason, refused_now.message.as_str()),
            (Reason::Busy, "the key may have 2 answers at a time")
        );
        // Who asks for none is not among them.
        assert!(ask(&parallel).is_ok());
        drop(one);
        let _three = visitor.reserve(1, 5).unwrap();
        drop(two);
        assert_eq!(refusal(visitor.reserve(3, 5)).reason, Reason::Invalid);
        let minute = limited(r#""requests_per_minute": 2"#);
        assert!(ask(&minute).is_ok() && ask(&minute).is_ok());
        let after = refused(ask(&minute)).retry_after.unwrap();
        assert!(after > Duration::from_secs(25) && after <= Duration::from_secs(30), "{after:?}");
        let tokens = limited(r#""tokens_per_day": 100"#);
        let visitor = Arc::new(ask(&tokens).unwrap());
        let mut one = visitor.reserve(1, 60).unwrap();
        assert!(visitor.reserve(1, 41).is_err());
        one.count(20);
        assert!(visitor.reserve(1, 41).is_err());
        // What was not taken is given back.
        drop(one);
        let mut two = visitor.reserve(1, 80).unwrap();
        two.count(80);
        drop(two);
        assert_eq!(refusal(visitor.reserve(1, 101)).reason, Reason::Invalid);
        let refused = refusal(visitor.reserve(1, 1));
        assert!(refused.message.starts_with("the key may use 100 tokens a day, of which 100 are used"));
        assert!(refused.retry_after.is_some_and(|after| after > Duration::from_hours(23)));
    }

    #[test]
    fn counts_start_again_with_the_day_and_go_on_through_the_minute() {
        let limits = Limits { requests_per_minute: Some(60), tokens_per_day: Some(10), ..Limits::default() };
        let (mut used, begun) = (Used::default(), Instant::now());
        used.tokens = Some((10, begun));
        assert!(used.reserve(limits, 1, 1, begun + DAY / 2).is_err());
        used.reserve(limits, 1, 10, begun + DAY).unwrap();
        let later = begun + DAY;
        (0..60).for_each(|_| used.begin(limits, later).unwrap());
        assert!(used.begin(limits, later).is_err());
        used.begin(limits, later + Duration::from_secs(1)).unwrap();
    }

    #[test]
    fn a_limit_of_none_is_refused() {
        for limit in ["parallel", "requests_per_minute", "tokens_per_day"] {
            for wrong in ["0", "-1", "1.5"] {
                let text = format!(r#"{{"keys": [{{"name": "a", "key": "12345678", "{limit}": {wrong}}}]}}"#);
                let said = parse(&text).unwrap_err().to_string();
                assert!(
                    said.starts_with(&format!("keys[0].{limit}: expected a whole number of at least 1")),
                    "{said}"
                );
            }
        }
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
