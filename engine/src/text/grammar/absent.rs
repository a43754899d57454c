//! What stands in for grammars in builds without them: types that have no values.

use std::convert::Infallible;
use std::sync::Arc;

use super::{GrammarError, GrammarSource, GrammarStart};
use crate::text::sampler::Sampler;
use crate::text::tokenizer::Tokenizer;

/// A grammar, of which a build without the feature `grammar` has none.
#[derive(Clone, Debug)]
pub struct Grammar(Infallible);

impl Grammar {
    /// The same grammar, which begins where the answer does: it has no thoughts.
    #[must_use]
    pub fn without_thoughts(self) -> Self {
        match self.0 {}
    }

    pub(crate) fn has_thoughts(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn begin(&self, _start: GrammarStart) -> Constraint {
        match self.0 {}
    }
}

/// The vocabulary that grammars are compiled for.
pub(crate) struct GrammarVocabulary(Infallible);

impl GrammarVocabulary {
    pub(crate) fn new(_tokenizer: Arc<Tokenizer>) -> Result<Self, GrammarError> {
        Err(GrammarError::NotBuilt)
    }

    pub(crate) fn compile(&self, _source: &GrammarSource) -> Result<Grammar, GrammarError> {
        match self.0 {}
    }

    pub(crate) fn bytes_for(_tokens: usize, _text: usize) -> usize {
        0
    }
}

/// A grammar and where an answer stands in it.
pub(crate) struct Constraint(Infallible);

impl Constraint {
    pub(crate) fn is_over(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn wake(&mut self) {
        match self.0 {}
    }

    pub(crate) fn pick(&mut self, _sampler: &mut Sampler, _logits: &[f32]) -> Result<u32, GrammarError> {
        match self.0 {}
    }

    pub(crate) fn accept(
        &mut self,
        _token: u32,
        _most: usize,
        _run: &mut Vec<u32>,
    ) -> Result<(), GrammarError> {
        match self.0 {}
    }

    pub(crate) fn allowed(&mut self, _drafts: &[u32]) -> usize {
        match self.0 {}
    }
}
