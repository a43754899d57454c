use std::fmt;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use llguidance::Matcher;
use llguidance::api::TopLevelGrammar;
use serde_json::json;

use super::{Constraint, GrammarError, GrammarSource, GrammarStart, GrammarVocabulary, gbnf, limits, schema};

/// A grammar, compiled for the vocabulary of a model: see [`Model::grammar`](crate::Model::grammar). Cloning shares it, and
/// any number of answers may keep to it at a time.
///
/// An answer that keeps to it ends where the grammar is complete: with a token that ends answers where it could go on, by
/// itself where it could not. One that is cut before, by a limit of tokens or for want of room, is no text of the grammar, and
/// its [`Ending`](crate::Ending) says so. Where a model thinks first, the grammar begins behind its thoughts, which are free:
/// an answer may begin with the token that opens them, unless the prompt ends with the mark that closes them, as those of
/// templates do that switch thinking off.
#[derive(Clone)]
pub struct Grammar {
    /// Of which each answer gets a copy. A lock, as it cannot be looked at by two at a time.
    matcher: Arc<Mutex<Matcher>>,
    ends: Arc<[u32]>,
    vocabulary: usize,
    thoughts: bool,
}

impl Grammar {
    /// The same grammar, which begins where the answer does: it has no thoughts, unless the prompt has opened them.
    #[must_use]
    pub fn without_thoughts(self) -> Self {
        Self { thoughts: false, ..self }
    }

    /// Whether thoughts may come before it.
    pub(crate) fn has_thoughts(&self) -> bool {
        self.thoughts
    }

    /// An answer that keeps to it from now on.
    pub(crate) fn begin(&self, start: GrammarStart) -> Constraint {
        // Nothing that may panic is done while it is locked. A deep copy shares no cache, so that no answer's costs, which
        // have limits, depend on what others asked for.
        let matcher = self.matcher.lock().unwrap_or_else(PoisonError::into_inner).deep_clone();
        Constraint::new(matcher, start, &self.ends, self.vocabulary)
    }
}

impl fmt::Debug for Grammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grammar").field("thoughts", &self.thoughts).finish_non_exhaustive()
    }
}

impl GrammarVocabulary {
    /// Compiles a grammar.
    ///
    /// # Errors
    /// What is wrong with it, cannot be kept to, or takes more than the limits allow.
    pub(crate) fn compile(&self, source: &GrammarSource) -> Result<Grammar, GrammarError> {
        limits::check(source)?;
        let matcher = thread::scope(|scope| {
            let builder = thread::Builder::new().stack_size(limits::STACK);
            let compiling = builder.spawn_scoped(scope, || self.matcher(source));
            let compiled = compiling.map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
            compiled.unwrap_or_else(|error| {
                Err(GrammarError::Thread { kind: source.kind(), reason: error.to_string() })
            })
        })?;
        Ok(Grammar {
            matcher: Arc::new(Mutex::new(matcher)),
            ends: Arc::clone(&self.ends),
            vocabulary: self.size,
            thoughts: true,
        })
    }

    fn matcher(&self, source: &GrammarSource) -> Result<Matcher, GrammarError> {
        let kind = source.kind();
        let refused = |reason: String| GrammarError::Refused { kind, reason };
        let grammar = match source {
            GrammarSource::JsonObject => schema::grammar(json!({ "type": "object" })).map_err(refused)?,
            GrammarSource::JsonSchema(text) => match serde_json::from_str(text) {
                Ok(schema) => {
                    limits::check_properties(&schema).map_err(refused)?;
                    schema::grammar(schema).map_err(refused)?
                }
                Err(error) => return Err(refused(format!("it is no JSON: {error}"))),
            },
            GrammarSource::Regex(text) => TopLevelGrammar::from_regex(text),
            GrammarSource::Lark(text) => TopLevelGrammar::from_lark(text.clone()),
            GrammarSource::Gbnf(text) => TopLevelGrammar::from_lark(gbnf::to_lark(text)?),
        };
        let parser = self.factory.create_parser(grammar).map_err(|error| refused(one_line(&error)))?;
        let mut matcher = Matcher::new(Ok(parser));
        // What allows nothing at all is known before the first token.
        matcher.compute_mask().map_err(|error| refused(one_line(&error)))?;
        self.go_on(&matcher).map_err(refused)?;
        Ok(matcher)
    }
}

impl GrammarVocabulary {
    /// Whether an answer can go on behind what can only come first, such as the bracket of an object, of which there may be
    /// more properties than the limits allow.
    fn go_on(&self, matcher: &Matcher) -> Result<(), String> {
        let mut first = matcher.deep_clone();
        let forced = first.compute_ff_bytes();
        if forced.is_empty() {
            return Ok(());
        }
        let tokens = self.factory.tok_env().tokenize_bytes(&forced);
        first.consume_tokens(&tokens).map_err(|error| one_line(&error))?;
        if !first.is_stopped() {
            first.compute_mask().map_err(|error| one_line(&error))?;
        }
        Ok(())
    }
}

/// What is said in place of words of llguidance: and of all that follows, or before it.
enum Ours {
    Instead(&'static str),
    Before(&'static str),
}

const WORDS: [(&str, Ours); 3] = [
    ("NoExtensionBias", Ours::Instead("no token of the vocabulary can follow")),
    ("Unimplemented keys: ", Ours::Before("unsupported keywords: ")),
    // It names an option that there is not.
    (
        "oneOf constraints are not supported.",
        Ours::Instead("oneOf is supported where its options exclude each other by type or by a constant"),
    ),
];

/// What went wrong in llguidance, without its state and the lines around the place, and in one line.
pub(super) fn one_line(error: &dyn fmt::Display) -> String {
    let text = error.to_string();
    let is_told = |line: &&str| !line.starts_with("<non-verbose") && !line.starts_with("<backtrace");
    let is_quoted = |line: &str| {
        let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
        line == "^" || (rest.len() < line.len() && rest.starts_with(" | "))
    };
    let lines = text.lines().take_while(is_told).map(str::trim);
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty() && !is_quoted(line)).collect();
    let text = lines.join(", ");
    let said = WORDS.iter().find_map(|(theirs, ours)| Some((text.split_once(theirs)?, ours)));
    match said {
        Some(((before, _), Ours::Instead(ours))) => format!("{before}{ours}"),
        Some(((before, behind), Ours::Before(ours))) => format!("{before}{ours}{behind}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn messages_are_one_line() {
        for (text, expected) in [
            ("a\n  while processing b\n<non-verbose/>", "a, while processing b"),
            ("at 2(6): bad\n1 | a: b\n2 | b: c\n    ^\n3 | c: d", "at 2(6): bad"),
            ("panic: a\n<backtrace>\n 0: x\n</backtrace>", "panic: a"),
            ("NoExtensionBias\n<non-verbose/>", "no token of the vocabulary can follow"),
            ("Unimplemented keys: [\"not\"]", "unsupported keywords: [\"not\"]"),
            (
                "oneOf constraints are not supported. Enable it, processing #/a",
                "oneOf is supported where its options exclude each other by type or by a constant",
            ),
        ] {
            assert_eq!(one_line(&text), expected);
        }
    }
}
