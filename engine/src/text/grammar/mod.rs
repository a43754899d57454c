//! Grammars that an answer keeps to: JSON schemas, regular expressions, Lark and GBNF.
//!
//! A [`Grammar`] is compiled for a model's vocabulary ([`Model::grammar`](crate::Model::grammar)). While an answer is written
//! its `Constraint` says before each token which ones the grammar allows, and the sampler picks among these alone. What can
//! only go on in one way is not sampled: such *forced* tokens are fed together. The `llguidance` crate parses; here are its
//! limits, a model's vocabulary as it wants it, and what it does not read (`gbnf`).
//!
//! Without the feature `grammar` there are the same names, and no grammar can be made.

#[cfg(not(feature = "grammar"))]
mod absent;
#[cfg(feature = "grammar")]
mod compile;
#[cfg(feature = "grammar")]
mod constraint;
mod error;
#[cfg(feature = "grammar")]
mod gbnf;
#[cfg(feature = "grammar")]
mod limits;
mod schema;
#[cfg(all(test, feature = "grammar"))]
mod tests;
#[cfg(feature = "grammar")]
mod vocabulary;

#[cfg(not(feature = "grammar"))]
pub use absent::Grammar;
#[cfg(not(feature = "grammar"))]
pub(crate) use absent::{Constraint, GrammarVocabulary};
#[cfg(feature = "grammar")]
pub use compile::Grammar;
#[cfg(feature = "grammar")]
pub(crate) use constraint::Constraint;
pub use error::GrammarError;
pub(crate) use schema::{OPTIONS, prepare};
#[cfg(feature = "grammar")]
pub(crate) use vocabulary::GrammarVocabulary;

/// What an answer is to be, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GrammarSource {
    /// Any JSON object.
    JsonObject,
    /// JSON that validates against this schema, which is JSON itself: draft 2020-12, or the one that its `$schema` names.
    /// Properties come in the order in which the schema has them. A schema with what cannot be kept to is refused.
    JsonSchema(String),
    /// Text that this regular expression matches from end to end, in the syntax of Rust's `regex` crate, without
    /// look-around and back references.
    Regex(String),
    /// A grammar in the Lark syntax of llguidance, which begins with the rule `start`.
    Lark(String),
    /// A grammar in the GBNF syntax of llama.cpp, which begins with the rule `root`.
    Gbnf(String),
}

impl GrammarSource {
    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            GrammarSource::JsonObject | GrammarSource::JsonSchema(_) => "JSON schema",
            GrammarSource::Regex(_) => "regular expression",
            GrammarSource::Lark(_) => "Lark grammar",
            GrammarSource::Gbnf(_) => "GBNF grammar",
        }
    }

    /// What it is in a file or a log, and its text: `json_object`, which has none, `json_schema`, `regex`, `lark`, `gbnf`.
    pub fn to_named(&self) -> (&'static str, &str) {
        match self {
            GrammarSource::JsonObject => ("json_object", ""),
            GrammarSource::JsonSchema(text) => ("json_schema", text),
            GrammarSource::Regex(text) => ("regex", text),
            GrammarSource::Lark(text) => ("lark", text),
            GrammarSource::Gbnf(text) => ("gbnf", text),
        }
    }

    /// The source that [`to_named`](Self::to_named) wrote so; None for a name that none has.
    pub fn from_named(name: &str, text: String) -> Option<Self> {
        Some(match name {
            "json_object" => GrammarSource::JsonObject,
            "json_schema" => GrammarSource::JsonSchema(text),
            "regex" => GrammarSource::Regex(text),
            "lark" => GrammarSource::Lark(text),
            "gbnf" => GrammarSource::Gbnf(text),
            _ => return None,
        })
    }
}

/// Where an answer stands when it is to keep to a grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GrammarStart {
    /// The grammar says what the next token may be.
    Now,
    /// The next token may be the first of one of these instead, which begins thoughts and is followed by the rest of it.
    AfterThoughts(Vec<Vec<u32>>),
    /// Thoughts have begun: the grammar waits for their end.
    WithinThoughts,
}
