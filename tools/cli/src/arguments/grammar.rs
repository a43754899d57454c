//! The flags that say what an answer is to be: a JSON schema, a grammar or a regular expression.

use clap::Args;
#[cfg(feature = "grammar")]
pub(crate) use there::SchemaArgument;

/// What answers keep to.
#[derive(Clone, Debug, Default, Args)]
#[group(multiple = false)]
pub(crate) struct GrammarArguments {
    /// Answer in JSON that validates against this schema: a file, or the schema itself where it begins with {
    #[cfg(feature = "grammar")]
    #[arg(long, value_name = "FILE|SCHEMA")]
    json_schema: Option<SchemaArgument>,
    /// Answer as this grammar has it: llama.cpp's GBNF where the file's name ends with .gbnf, or with neither that nor .lark
    /// and there is a ::= in it; Lark otherwise
    #[cfg(feature = "grammar")]
    #[arg(long, value_name = "FILE")]
    grammar: Option<super::InputPath>,
    /// Answer with a text that this regular expression matches from end to end
    #[cfg(feature = "grammar")]
    #[arg(long, value_name = "REGEX")]
    regex: Option<String>,
}

#[cfg(not(feature = "grammar"))]
impl GrammarArguments {
    /// Whether answers keep to anything: never, as this build has no grammars.
    pub(crate) fn is_given(&self) -> bool {
        false
    }

    /// Counts what they take of memory: nothing.
    pub(crate) fn count(&self, _outline: &mut siskin::plan::Outline) {}

    /// The grammar: none, as this build has none.
    pub(crate) fn compile(
        &self,
        _model: &siskin::Model,
        _thinks: bool,
    ) -> anyhow::Result<Option<siskin::grammar::Grammar>> {
        Ok(None)
    }
}

#[cfg(feature = "grammar")]
mod there {
    use super::GrammarArguments;
    use crate::arguments::InputPath;
    use anyhow::{Context, Result};
    use siskin::Model;
    use siskin::grammar::{Grammar, GrammarSource};
    use siskin::plan::Outline;
    use siskin_kit::read_text;
    use std::convert::Infallible;
    use std::path::{Path, PathBuf};
    use std::str::FromStr;

    /// A schema, or the file that has it.
    #[derive(Clone, Debug, PartialEq)]
    pub(crate) enum SchemaArgument {
        File(InputPath),
        Text(String),
    }

    impl FromStr for SchemaArgument {
        type Err = Infallible;

        fn from_str(text: &str) -> Result<Self, Infallible> {
            Ok(match text.trim_start().starts_with('{') {
                true => Self::Text(text.to_owned()),
                false => Self::File(PathBuf::from(text).into()),
            })
        }
    }

    impl SchemaArgument {
        /// The file, where it is one.
        pub(crate) fn path(&self) -> Option<&Path> {
            match self {
                Self::File(path) => Some(path),
                Self::Text(_) => None,
            }
        }
    }

    impl GrammarArguments {
        /// Whether answers keep to anything.
        pub(crate) fn is_given(&self) -> bool {
            self.json_schema.is_some() || self.grammar.is_some() || self.regex.is_some()
        }

        /// Counts what they take of memory.
        pub(crate) fn count(&self, outline: &mut Outline) {
            if self.is_given() {
                outline.add_grammars();
            }
        }

        /// What answers are to be, and what messages call it.
        ///
        /// # Errors
        /// A file that cannot be read.
        pub(crate) fn source(&self) -> Result<Option<(GrammarSource, String)>> {
            if let Some(schema) = &self.json_schema {
                return Ok(Some(match schema {
                    SchemaArgument::Text(text) => {
                        (GrammarSource::JsonSchema(text.clone()), "--json-schema".to_owned())
                    }
                    SchemaArgument::File(path) => {
                        (GrammarSource::JsonSchema(read_text(path)?), path.display().to_string())
                    }
                }));
            }
            if let Some(path) = &self.grammar {
                return Ok(Some((grammar(path, read_text(path)?), path.display().to_string())));
            }
            Ok(self.regex.clone().map(|regex| (GrammarSource::Regex(regex), "--regex".to_owned())))
        }

        /// The grammar for a model's answers, which `thinks` before them, or not; None where none is asked for.
        ///
        /// # Errors
        /// A file that cannot be read, and a grammar that cannot be kept to.
        pub(crate) fn compile(&self, model: &Model, thinks: bool) -> Result<Option<Grammar>> {
            let Some((source, name)) = self.source()? else { return Ok(None) };
            let grammar = model.grammar(&source).context(name)?;
            Ok(Some(if thinks { grammar } else { grammar.without_thoughts() }))
        }
    }

    /// A grammar of one of two kinds.
    fn grammar(path: &Path, text: String) -> GrammarSource {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("gbnf") => GrammarSource::Gbnf(text),
            Some("lark") => GrammarSource::Lark(text),
            _ if text.contains("::=") => GrammarSource::Gbnf(text),
            _ => GrammarSource::Lark(text),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_grammar_s_kind_is_its_ending_s_or_else_its_text_s() {
            for (name, text, is_gbnf) in [
                ("a.gbnf", "start: /a/", true),
                ("a.lark", "root ::= \"a\"", false),
                ("a", "root ::= \"a\"", true),
                ("a.txt", "start: /a/", false),
            ] {
                let found = grammar(Path::new(name), text.to_owned());
                assert_eq!(matches!(found, GrammarSource::Gbnf(_)), is_gbnf, "{name}");
            }
        }

        #[test]
        fn a_schema_that_is_none_is_a_file() {
            let path = |text: &str| text.parse::<SchemaArgument>().map(|schema| schema.path().is_some());
            assert_eq!(path(" {\"type\": \"null\"}"), Ok(false));
            assert_eq!(path("schema.json"), Ok(true));
        }
    }
}
