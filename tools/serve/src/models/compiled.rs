//! Grammars that were compiled: programs send the same tools, or the same schema, with each request.

use siskin::grammar::{Grammar, GrammarSource};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most grammars that are kept, and bytes of their sources.
const MOST: usize = 8;
const BYTES: usize = 512 << 10;

/// The grammars of a model that were asked for last.
#[derive(Default)]
pub(super) struct Compiled(Mutex<VecDeque<(GrammarSource, Grammar)>>);

impl Compiled {
    /// The grammar of a source, compiled if it is not kept.
    ///
    /// # Errors
    /// Those of `compile`, of which nothing is kept.
    pub(super) fn get<E>(
        &self,
        source: &GrammarSource,
        compile: impl FnOnce(&GrammarSource) -> Result<Grammar, E>,
    ) -> Result<Grammar, E> {
        if let Some(grammar) = self.known(source) {
            return Ok(grammar);
        }
        // Others do not wait meanwhile. Two who ask for the same at once compile it twice.
        let grammar = compile(source)?;
        let mut kept = self.kept();
        kept.push_front((source.clone(), grammar.clone()));
        let bytes = |kept: &VecDeque<(GrammarSource, Grammar)>| {
            kept.iter().map(|(source, _)| length(source)).sum::<usize>()
        };
        while kept.len() > MOST || bytes(&kept) > BYTES {
            kept.pop_back();
        }
        Ok(grammar)
    }

    fn known(&self, source: &GrammarSource) -> Option<Grammar> {
        let mut kept = self.kept();
        let at = kept.iter().position(|(known, _)| known == source)?;
        let found = kept.remove(at)?;
        let grammar = found.1.clone();
        kept.push_front(found);
        Some(grammar)
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<(GrammarSource, Grammar)>> {
        // What is kept is whole between any two changes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn length(source: &GrammarSource) -> usize {
    source.to_named().1.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use siskin::Model;
    use siskin::grammar::GrammarError;

    #[test]
    fn what_was_asked_for_last_is_not_compiled_again() {
        let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../demo/siskin-demo.gguf");
        let model = Model::open(demo).unwrap();
        let compiled = Compiled::default();
        let source =
            |index: usize, more: usize| GrammarSource::Regex(format!("a{{{index}}}|{}", "b".repeat(more)));
        // Whether it was compiled now.
        let asks = |source: &GrammarSource| {
            let mut now = false;
            let found: Result<Grammar, GrammarError> = compiled.get(source, |source| {
                now = true;
                model.grammar(source)
            });
            found.unwrap();
            now
        };
        for index in 0..MOST {
            assert!(asks(&source(index, 1)));
        }
        assert!(!asks(&source(0, 1)));
        // The one that nobody asked for the longest time makes room.
        assert!(asks(&source(MOST, 1)));
        assert!(!asks(&source(0, 1)));
        assert!(asks(&source(1, 1)));
        // So do as many as are needed for a long one.
        let long = |index: usize| {
            let words: Vec<String> = (0..60).map(|word| format!("{index}{word}")).collect();
            let spaces = " ".repeat(100_000);
            GrammarSource::JsonSchema(format!("{{\"enum\": [\"{}\"]{spaces}}}", words.join("\", \"")))
        };
        for index in 0..6 {
            assert!(asks(&long(index)));
        }
        assert!(asks(&long(0)) && !asks(&long(5)));
        let wrong = GrammarSource::Regex("(".to_owned());
        for _ in 0..2 {
            assert!(compiled.get(&wrong, |source| model.grammar(source)).is_err());
        }
    }
}
