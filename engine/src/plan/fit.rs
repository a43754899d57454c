use super::PlanError;
use super::{Budget, Outline, Plan};
use crate::model::ContextOptions;
use crate::sequences::{For, SequencesOptions, SessionOptions};
use crate::state::{CacheType, CacheTypes, PAGE};

/// A context that answers most questions: it is shortened to this much before the cache is narrowed.
const SHORT: usize = 1024;
/// The shortest context that is worth running.
const LEAST: usize = 256;
/// Contexts are shortened by whole multiples of this.
const STEP: usize = 64;
/// Sequences that are worked on together where nobody says how many: more gain little.
const MANY: usize = 32;
/// So many there are even where the caches of a long context are large beside the weights.
const FEW: usize = 8;
/// Caches of more than [`FEW`] sequences take at most so many times what the weights take.
const CACHES: u64 = 2;

impl Outline {
    /// The plan of `sessions` sessions, if it is within the budget.
    ///
    /// # Errors
    /// [`PlanError::Memory`], with the figures, if it is not; an option without meaning.
    pub fn within(
        &self,
        options: &SessionOptions,
        sessions: usize,
        budget: &Budget,
    ) -> Result<Plan, PlanError> {
        let plan = self.plan(options, sessions)?;
        match plan.peak() <= budget.bytes() {
            true => Ok(plan),
            false => Err(self.refusal(plan, budget)),
        }
    }

    /// The options changed as little as the budget asks for, and their plan. What is tried, in this order: the options
    /// as they are; a shorter context, of no less than 1,024 tokens, which changes no bit of an answer that has room;
    /// the cache in [`CacheType::Q8_0`], with as long a context as there is room for, of no less than 256.
    ///
    /// # Errors
    /// [`PlanError::Memory`] if none of this is within the budget; an option without meaning.
    pub fn fit(
        &self,
        options: &SessionOptions,
        sessions: usize,
        budget: &Budget,
    ) -> Result<(SessionOptions, Plan), PlanError> {
        let wanted = options.resolve(self.context_length(), For::One)?;
        let narrow = CacheTypes::from(CacheType::Q8_0);
        let attempts = [(wanted.cache, SHORT), (narrow, LEAST)];
        for (cache, least) in attempts {
            let plan = |context: usize| {
                let batch = wanted.batch.min(context);
                self.plan_for(&ContextOptions { context, batch, cache, ..wanted }, sessions, 1)
            };
            let fits = |context: usize| plan(context).peak() <= budget.bytes();
            if let Some(context) = longest(least.min(wanted.context), wanted.context, fits) {
                let options = SessionOptions { context: Some(context), cache, ..options.clone() };
                return Ok((options, plan(context)));
            }
        }
        let context = LEAST.min(wanted.context);
        let least = ContextOptions { context, batch: wanted.batch.min(context), cache: narrow, ..wanted };
        Err(self.refusal(self.plan_for(&least, sessions, 1), budget))
    }

    /// As many sequences that are worked on together as the budget asks for, and their plan: `options.most`, else half of
    /// that, and so on, but no fewer than `least`. They share as many pages of the cache as there is room for, up to all
    /// that they can fill. As few as one of them can fill alone are enough if that is two for each, so that most of them
    /// need not wait for others.
    ///
    /// # Errors
    /// [`PlanError::Memory`] if there is no room for `least`; an option without meaning.
    pub fn fit_sequences(
        &self,
        options: &SequencesOptions,
        least: usize,
        budget: &Budget,
    ) -> Result<(SequencesOptions, Plan), PlanError> {
        let context = options.session.resolve(self.context_length(), For::One)?.context;
        let one = context.div_ceil(PAGE);
        let mut most = options.most;
        loop {
            let with = |pages| SequencesOptions { most, pages, ..options.clone() };
            let whole = self.plan_sequences(&with(None))?;
            if whole.peak() <= budget.bytes() {
                return Ok((with(None), whole));
            }
            let (mut fits, mut above) = (one.max(2 * most).min(one * most), one * most);
            let plan = |pages| self.plan_sequences(&with(Some(pages)));
            if plan(fits)?.peak() <= budget.bytes() {
                while fits + 1 < above {
                    let middle = fits.midpoint(above);
                    if plan(middle)?.peak() <= budget.bytes() { fits = middle } else { above = middle }
                }
                return Ok((with(Some(fits)), plan(fits)?));
            }
            if most / 2 < least.max(1) {
                return Err(self.refusal(plan(fits)?, budget));
            }
            most /= 2;
        }
    }

    /// As many sequences that are worked on together as are worth their memory, where nobody says how many, and their plan:
    /// up to 32, of whose whole contexts the caches take at most twice what the weights take, but 8 however long contexts
    /// are. Where the budget has no room for them they are fewer, as for [`Outline::fit_sequences`].
    ///
    /// # Errors
    /// [`PlanError::Memory`] if there is no room for one; an option without meaning.
    pub fn default_sequences(
        &self,
        session: &SessionOptions,
        budget: Option<&Budget>,
    ) -> Result<(SequencesOptions, Plan), PlanError> {
        let mut most = MANY;
        loop {
            let options = SequencesOptions::default().most(most).session(session.clone());
            let plan = self.plan_sequences(&options)?;
            let weights = plan.weights.saturating_add(plan.in_place);
            if most == FEW || plan.cache <= weights.saturating_mul(CACHES) {
                return match budget {
                    Some(budget) => self.fit_sequences(&options, 1, budget),
                    None => Ok((options, plan)),
                };
            }
            most -= 1;
        }
    }

    fn refusal(&self, plan: Plan, budget: &Budget) -> PlanError {
        PlanError::Memory { file: self.name.clone(), plan: Box::new(plan), budget: *budget }
    }
}

/// The greatest number from `least` to `most` that fits: `most`, `least`, or a multiple of [`STEP`]. Where a number
/// fits, so do all below it.
fn longest(least: usize, most: usize, fits: impl Fn(usize) -> bool) -> Option<usize> {
    if fits(most) {
        return Some(most);
    }
    if !fits(least) {
        return None;
    }
    let (mut below, mut above) = (least / STEP, most.div_ceil(STEP));
    while below + 1 < above {
        let middle = below.midpoint(above);
        if fits(middle * STEP) { below = middle } else { above = middle }
    }
    Some((below * STEP).max(least))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_that_fits_is_found() {
        let longest = |least, most, room| longest(least, most, |context| context <= room);
        assert_eq!(longest(256, 4096, 5000), Some(4096));
        assert_eq!(longest(256, 4096, 4095), Some(4032));
        assert_eq!(longest(256, 4096, 1000), Some(960));
        assert_eq!(longest(256, 4096, 256), Some(256));
        assert_eq!(longest(256, 4096, 255), None);
        assert_eq!(longest(100, 100, 100), Some(100));
        assert_eq!(longest(100, 100, 99), None);
        assert_eq!(longest(100, 130, 127), Some(100));
        assert_eq!(longest(100, 200, 130), Some(128));
    }
}
