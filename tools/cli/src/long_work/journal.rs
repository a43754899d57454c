//! What the files of long work say first: what it was begun with, so that it only goes on with the same.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use siskin_kit::hash::Fields;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// The first line of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    format: String,
    settings: Settings,
    started: u64,
}

impl Header {
    /// The header of work that begins now.
    pub(crate) fn new(format: &str, settings: Settings) -> Header {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        Header { format: format.to_owned(), settings, started }
    }

    /// Reads a line; None where it is not the header of a journal in this format.
    pub(crate) fn parse(line: &[u8], format: &str) -> Option<Header> {
        serde_json::from_slice(line).ok().filter(|header: &Header| header.format == format)
    }

    /// Whether a file of which this is all ends within the header of a journal in this format.
    pub(crate) fn is_torn(bytes: &[u8], format: &str) -> bool {
        let beginning = format!("{{\"format\":{}", Value::from(format));
        let length = bytes.len().min(beginning.len());
        let ends = serde_json::from_slice::<Header>(bytes).is_err_and(|error| error.is_eof());
        ends && bytes.get(..length) == beginning.as_bytes().get(..length)
    }

    /// When the work was begun, in seconds since 1970.
    pub(crate) fn started(&self) -> u64 {
        self.started
    }

    /// Checks that `name`, which was begun with this header, may go on with another.
    ///
    /// # Errors
    /// Settings that are not the same, and `instead` as what else may be done.
    pub(crate) fn check(&self, now: &Header, name: &str, instead: &str) -> Result<()> {
        let differences = self.settings.differences(&now.settings);
        ensure!(
            differences.is_empty(),
            "{name} was begun with another {differences}: give the same again, or {instead}"
        );
        Ok(())
    }
}

/// What results depend on besides their input, by name. Work goes on only where all of it is the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Settings(BTreeMap<String, Value>);

impl Settings {
    /// Sets the value of a name: one that later versions write as this one does.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Adds them to what is hashed.
    pub(crate) fn hash(&self, fields: Fields) -> Fields {
        let Settings(values) = self;
        values.iter().fold(fields.number(values.len() as u64), |fields, (name, value)| {
            fields.text(name).text(&value.to_string())
        })
    }

    /// The names whose values are others in `other`, with commas between; empty where there are none.
    fn differences(&self, other: &Settings) -> String {
        let names = self.0.keys().chain(other.0.keys().filter(|&name| !self.0.contains_key(name)));
        let differing = names.filter(|&name| self.0.get(name) != other.0.get(name));
        differing.map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named() {
        let settings = |pairs: &[(&str, u32)]| {
            let mut settings = Settings::default();
            pairs.iter().for_each(|&(name, value)| settings.set(name, value));
            settings
        };
        let first = settings(&[("a", 1), ("b", 2), ("c", 3)]);
        assert_eq!(first.differences(&first), "");
        assert_eq!(first.differences(&settings(&[("a", 1), ("b", 3), ("d", 4)])), "b, c, d");
    }

    #[test]
    fn what_ends_within_a_header_is_torn_and_nothing_else() {
        let mut settings = Settings::default();
        settings.set("stop", vec!["é\n".to_owned()]);
        let header = Header::new("format 1", settings);
        let whole = serde_json::to_vec(&header).unwrap();
        for length in 0..whole.len() {
            assert!(Header::is_torn(&whole[..length], "format 1"), "{length}");
            assert!(length < 20 || !Header::is_torn(&whole[..length], "format 2"), "{length}");
        }
        assert!(!Header::is_torn(&whole, "format 1"));
        assert_eq!(Header::parse(&whole, "format 1"), Some(header));
        for other in ["dear diary", "{\"a\":", "[", "\n\n", "{\"format\":\"format 1\",x", "\0\0"] {
            assert!(!Header::is_torn(other.as_bytes(), "format 1"), "{other}");
        }
    }

    /// Journals of earlier versions, and the names of those that have none from the user, depend on it.
    #[test]
    fn values_are_written_and_hashed_as_json() {
        let mut settings = Settings::default();
        settings.set("n-predict", None::<usize>);
        settings.set("stop", vec!["\n".to_owned()]);
        settings.set("cache type", vec!["f16", "q8_0"]);
        let text = r#"{"cache type":["f16","q8_0"],"n-predict":null,"stop":["\n"]}"#;
        assert_eq!(serde_json::to_string(&settings).unwrap(), text);
        let expected = ["cache type", r#"["f16","q8_0"]"#, "n-predict", "null", "stop", r#"["\n"]"#];
        let expected = expected.iter().fold(Fields::new().number(3), |fields, text| fields.text(text));
        assert_eq!(settings.hash(Fields::new()).finish(), expected.finish());
    }
}
