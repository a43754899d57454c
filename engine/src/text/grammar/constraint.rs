use std::sync::Arc;

use llguidance::Matcher;

use super::compile::one_line;
use super::{GrammarError, GrammarStart};
use crate::text::sampler::Sampler;

/// A grammar and where an answer stands in it.
pub(crate) struct Constraint {
    matcher: Matcher,
    stage: GrammarStart,
    ends: Arc<[u32]>,
    /// Which tokens may be picked: bit `id % 32` of word `id / 32`.
    allowed: Vec<u32>,
    vocabulary: usize,
}

impl Constraint {
    pub(super) fn new(matcher: Matcher, start: GrammarStart, ends: &Arc<[u32]>, vocabulary: usize) -> Self {
        let allowed = Vec::with_capacity(vocabulary.div_ceil(32));
        Self { matcher, stage: start, ends: Arc::clone(ends), allowed, vocabulary }
    }

    /// Whether the grammar allows no more text: the answer ends here.
    pub(crate) fn is_over(&self) -> bool {
        self.matcher.is_stopped() && !self.matcher.is_error()
    }

    /// Thoughts are over: the next token is the grammar's first.
    pub(crate) fn wake(&mut self) {
        self.stage = GrammarStart::Now;
    }

    /// Picks a token by the logits after the last one, among those that the grammar allows. Where it allows a single one
    /// that is taken, and no random number is drawn.
    ///
    /// # Errors
    /// [`GrammarError::Stuck`].
    pub(crate) fn pick(&mut self, sampler: &mut Sampler, logits: &[f32]) -> Result<u32, GrammarError> {
        self.allowed.clear();
        if self.stage == GrammarStart::WithinThoughts {
            // All but what would end the answer before there is one.
            self.allowed.resize(self.vocabulary.div_ceil(32), u32::MAX);
            self.ends.iter().for_each(|&end| set(&mut self.allowed, end, false));
        } else {
            let mask = self.matcher.compute_mask().map_err(|error| stuck(&error))?;
            self.allowed.extend_from_slice(mask.as_slice());
            if let GrammarStart::AfterThoughts(openings) = &self.stage {
                openings.iter().filter_map(|opening| opening.first()).for_each(|&token| {
                    set(&mut self.allowed, token, true);
                });
            }
        }
        Ok(sampler.sample_allowed(logits, &self.allowed))
    }

    /// Goes on behind a token that was picked, and appends it to `run`, with up to `most` tokens that can only follow.
    ///
    /// # Errors
    /// [`GrammarError::Stuck`].
    pub(crate) fn accept(&mut self, token: u32, most: usize, run: &mut Vec<u32>) -> Result<(), GrammarError> {
        run.push(token);
        match &self.stage {
            GrammarStart::Now => {}
            GrammarStart::WithinThoughts => return Ok(()),
            GrammarStart::AfterThoughts(openings) => {
                let opening = openings.iter().find(|opening| opening.first() == Some(&token));
                if let Some(opening) = opening {
                    run.extend(opening.iter().skip(1));
                    self.stage = GrammarStart::WithinThoughts;
                    return Ok(());
                }
                self.stage = GrammarStart::Now;
            }
        }
        self.matcher.consume_token(token).map_err(|error| stuck(&error))?;
        if most == 0 || self.matcher.is_stopped() {
            return Ok(());
        }
        let mut forced = self.matcher.compute_ff_tokens();
        if let Some(error) = self.matcher.get_error() {
            return Err(stuck(&error));
        }
        let before_end = forced.iter().position(|token| self.ends.contains(token)).unwrap_or(forced.len());
        forced.truncate(before_end.min(most));
        self.matcher.consume_tokens(&forced).map_err(|error| stuck(&error))?;
        run.extend_from_slice(&forced);
        Ok(())
    }

    /// How many of these tokens, from the first on, may follow.
    pub(crate) fn allowed(&mut self, drafts: &[u32]) -> usize {
        if self.stage == GrammarStart::WithinThoughts {
            // They may lead out of the thoughts: then the mask tells.
            return drafts.iter().take_while(|draft| !self.ends.contains(draft)).count();
        }
        let known = drafts.iter().take_while(|&&draft| (draft as usize) < self.vocabulary).count();
        if known == 0 || self.matcher.is_stopped() {
            return 0;
        }
        self.matcher.validate_tokens(&drafts[..known]).unwrap_or(0)
    }
}

fn set(allowed: &mut [u32], token: u32, value: bool) {
    if let Some(word) = allowed.get_mut(token as usize / 32) {
        let bit = 1 << (token % 32);
        *word = if value { *word | bit } else { *word & !bit };
    }
}

fn stuck(error: &dyn std::fmt::Display) -> GrammarError {
    GrammarError::Stuck { reason: one_line(error) }
}
