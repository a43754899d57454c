//! Grammars that were compiled: programs send the same tools, or the same schema, with each request.

use crate::refusal::{Reason, Refusal};
use siskin::grammar::{Grammar, GrammarSource};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// The most grammars that are kept, and bytes of their sources.
const MOST: usize = 8;
const BYTES: usize = 256 << 10;

/// Bytes that a grammar and the answer that keeps to it take, and more for each byte of its source.
const AT_WORK: usize = 64 << 10;
const AT_WORK_EACH: usize = 64;
/// The same of a grammar that is kept.
const KEPT: usize = 32 << 10;
const KEPT_EACH: usize = 24;
/// Bytes that a plan counts of them for each answer at a time.
const PLANNED: usize = 2 << 20;
/// Bytes beside them, so that some are kept while others are at work.
const BESIDE: usize = 2 << 20;
/// What their room is counted in.
const UNIT: usize = 1 << 10;
/// How long is waited for room, and for a turn.
const WAIT: Duration = Duration::from_mins(1);
/// What waits for it.
const GRAMMAR: &str = "grammar";

/// The grammars of a model that were asked for last, and room for them and for those that answers keep to.
pub(super) struct Compiled {
    kept: Mutex<VecDeque<Kept>>,
    room: Arc<Semaphore>,
    /// Units of that in all.
    units: usize,
    turn: Arc<Semaphore>,
}

/// A grammar that is kept, as long as no answer wants its room.
struct Kept {
    source: GrammarSource,
    grammar: Grammar,
    _share: OwnedSemaphorePermit,
}

impl Compiled {
    /// Those of a model that works on so many answers at once.
    pub(super) fn new(answers: usize) -> Self {
        let units = answers.max(1).saturating_mul(PLANNED / UNIT).saturating_add(BESIDE / UNIT);
        let (room, turn) = (Arc::new(Semaphore::new(units)), Arc::new(Semaphore::new(1)));
        Self { kept: Mutex::default(), room, units, turn }
    }

    /// Bytes that they take beyond what a plan counts for each answer.
    pub(super) const fn bytes() -> usize {
        BESIDE
    }

    /// Room for answers that keep to a grammar, for which those that nobody asked for the longest time make way. One that would
    /// take more than there is takes all of it.
    pub(super) async fn room(
        &self,
        source: &GrammarSource,
        count: usize,
    ) -> Result<OwnedSemaphorePermit, Refusal> {
        let each = AT_WORK.saturating_add(length(source).saturating_mul(AT_WORK_EACH));
        let units = self.units(each.saturating_mul(count));
        loop {
            if let Ok(share) = Arc::clone(&self.room).try_acquire_many_owned(units) {
                return Ok(share);
            }
            if self.kept().pop_back().is_none() {
                break;
            }
        }
        soon(Arc::clone(&self.room).acquire_many_owned(units), GRAMMAR).await
    }

    /// A turn to compile.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        soon(Arc::clone(&self.turn).acquire_owned(), GRAMMAR).await
    }

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
        self.keep(source, &grammar);
        Ok(grammar)
    }

    /// Keeps a grammar in place of those that nobody asked for the longest time, if there is room for it then.
    fn keep(&self, source: &GrammarSource, grammar: &Grammar) {
        let mut kept = self.kept();
        let length_of = |kept: &VecDeque<Kept>| kept.iter().map(|kept| length(&kept.source)).sum::<usize>();
        while kept.len() >= MOST || !kept.is_empty() && length_of(&kept) + length(source) > BYTES {
            kept.pop_back();
        }
        let units = self.units(KEPT.saturating_add(length(source).saturating_mul(KEPT_EACH)));
        if let Ok(share) = Arc::clone(&self.room).try_acquire_many_owned(units) {
            kept.push_front(Kept { source: source.clone(), grammar: grammar.clone(), _share: share });
        }
    }

    /// What so many bytes come to, at most all that there is.
    fn units(&self, bytes: usize) -> u32 {
        u32::try_from((bytes / UNIT).min(self.units)).unwrap_or(u32::MAX)
    }

    fn known(&self, source: &GrammarSource) -> Option<Grammar> {
        let mut kept = self.kept();
        let at = kept.iter().position(|kept| kept.source == *source)?;
        let found = kept.remove(at)?;
        let grammar = found.grammar.clone();
        kept.push_front(found);
        Some(grammar)
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        // What is kept is whole between any two changes.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room that is waited for, if it comes soon: for the request's `what`.
///
/// # Errors
/// None for a minute.
pub(super) async fn soon(
    permit: impl Future<Output = Result<OwnedSemaphorePermit, AcquireError>>,
    what: &str,
) -> Result<OwnedSemaphorePermit, Refusal> {
    let permit = tokio::time::timeout(WAIT, permit).await.ok().and_then(Result::ok);
    permit.ok_or_else(|| {
        let said = format!("other requests have the memory that this one's {what} takes");
        Refusal { retry_after: Some(Duration::from_secs(1)), ..Refusal::new(Reason::Unavailable, said) }
    })
}

fn length(source: &GrammarSource) -> usize {
    source.to_named().1.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use siskin::Model;
    use siskin::grammar::GrammarError;

    #[tokio::test]
    async fn what_was_asked_for_last_is_not_compiled_again() {
        let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../demo/siskin-demo.gguf");
        let model = Model::open(demo).unwrap();
        let compiled = Compiled::new(4);
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
        // And all, where an answer takes all of the room.
        assert!(!asks(&long(0)));
        let all = GrammarSource::JsonSchema(" ".repeat(250_000));
        let share = compiled.room(&all, 1).now_or_never().unwrap().unwrap();
        assert!(compiled.room(&source(0, 1), 1).now_or_never().is_none());
        assert!(asks(&long(0)) && asks(&long(0)), "there is room to keep none");
        drop(share);
        assert!(asks(&long(0)) && !asks(&long(0)));
        let wrong = GrammarSource::Regex("(".to_owned());
        for _ in 0..2 {
            assert!(compiled.get(&wrong, |source| model.grammar(source)).is_err());
        }
    }
}
