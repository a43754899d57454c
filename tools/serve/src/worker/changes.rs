//! Prompts that differ from one before near their beginnings and go on as it does: a clock in a system message, a list in an
//! order that is drawn. All that follows is read again, though most of it was there.

use std::collections::{HashSet, VecDeque};
use std::fmt;

/// Prompts that are remembered.
const REMEMBERED: usize = 8;
/// Tokens that may stand in the place of others.
const REPLACED: usize = 32;
/// Tokens that are alike behind these, at least, for it to matter.
const ALIKE: usize = 256;
/// Places that are remembered as told.
const TOLD: usize = 64;

/// The prompts before, to compare new ones with.
#[derive(Default)]
pub(super) struct Changes {
    prompts: VecDeque<Vec<u32>>,
    told: HashSet<Vec<u32>>,
}

/// Where a prompt differs from one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// Tokens that both begin with.
    at: usize,
    /// The prompt's tokens from where both are alike again.
    read_again: usize,
    /// Whether nobody was told of this place.
    pub(super) is_new: bool,
}

impl Changes {
    /// Looks at a prompt, which is one before to those that follow. A change is found where it costs: where no other prompt
    /// begins as this one does for as long.
    pub(super) fn look_at(&mut self, prompt: &[u32]) -> Option<Change> {
        let common = |other: &Vec<u32>| prompt.iter().zip(other).take_while(|(a, b)| a == b).count();
        let most = self.prompts.iter().map(common).max().unwrap_or(0);
        let costs = |other: &Vec<u32>| {
            let at = common(other);
            // All of the other, or all of this one: it goes on, or was there.
            let rest = (prompt.get(at..)?, other.get(at..)?);
            let (replaced, alike) = alike_again(rest.0, rest.1)?;
            (at + replaced + alike >= most + ALIKE).then_some((alike, at, prompt.len() - at - replaced))
        };
        let found = self.prompts.iter().filter_map(costs).max();
        if prompt.len() >= ALIKE {
            self.prompts.truncate(REMEMBERED - 1);
            self.prompts.push_front(prompt.to_vec());
        }
        let (_, at, read_again) = found?;
        if self.told.len() == TOLD {
            self.told.clear();
        }
        let is_new = self.told.insert(prompt.get(..at)?.to_vec());
        Some(Change { at, read_again, is_new })
    }
}

/// How many tokens of `new` stand in the place of others, and how many behind them are those of `old`, where these are many.
fn alike_again(new: &[u32], old: &[u32]) -> Option<(usize, usize)> {
    // As few as can be in either.
    let places = (1..=2 * REPLACED).flat_map(|both| (0..=both).map(move |skipped| (skipped, both - skipped)));
    let within = places.filter(|&(in_new, in_old)| in_new <= REPLACED && in_old <= REPLACED);
    let alike = |(in_new, in_old): (usize, usize)| {
        let rest = (new.get(in_new..)?, old.get(in_old..)?);
        let alike = rest.0.iter().zip(rest.1).take_while(|(a, b)| a == b).count();
        (alike >= ALIKE).then_some((in_new, alike))
    };
    within.filter_map(alike).next()
}

impl Change {
    /// The tokens before the change.
    pub(super) fn beginning<'p>(&self, prompt: &'p [u32]) -> &'p [u32] {
        prompt.get(..self.at).unwrap_or(prompt)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, read_again, .. } = self;
        write!(f, "token {at}, and the {read_again} behind it are read again")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A prompt of `count` tokens of which some are others.
    fn prompt(count: u32, others: &[(usize, u32)]) -> Vec<u32> {
        let mut tokens: Vec<u32> = (0..count).collect();
        for &(at, token) in others {
            tokens[at] = token;
        }
        tokens
    }

    fn found(changes: &mut Changes, prompt: &[u32]) -> Option<(usize, usize, bool)> {
        changes.look_at(prompt).map(|Change { at, read_again, is_new }| (at, read_again, is_new))
    }

    #[test]
    fn a_clock_is_found_and_told_of_once() {
        let mut changes = Changes::default();
        assert_eq!(found(&mut changes, &prompt(900, &[(20, 7000)])), None);
        assert_eq!(found(&mut changes, &prompt(1000, &[(20, 7001)])), Some((20, 979, true)));
        assert_eq!(found(&mut changes, &prompt(1000, &[(20, 7002), (21, 7003)])), Some((20, 978, false)));
        // It takes a token more.
        let mut longer = prompt(1000, &[(20, 7004)]);
        longer.splice(21..21, [7005, 7006]);
        assert_eq!(found(&mut changes, &longer), Some((20, 979, false)));
        // Another place is news.
        assert_eq!(found(&mut changes, &prompt(1000, &[(300, 7000), (20, 7001)])), Some((300, 699, true)));
    }

    #[test]
    fn what_goes_on_or_is_another_is_no_change() {
        let mut changes = Changes::default();
        let first = prompt(600, &[]);
        assert_eq!(found(&mut changes, &first), None);
        assert_eq!(found(&mut changes, &first), None);
        assert_eq!(found(&mut changes, &first[..500]), None);
        assert_eq!(found(&mut changes, &prompt(900, &[])), None);
        // The question at its end is another.
        assert_eq!(found(&mut changes, &prompt(700, &[(590, 7000)])), None);
        let other: Vec<u32> = (10_000..10_900).collect();
        assert_eq!(found(&mut changes, &other), None);
        // Short ones are read at once.
        let mut changes = Changes::default();
        assert_eq!(found(&mut changes, &prompt(200, &[(3, 7000)])), None);
        assert_eq!(found(&mut changes, &prompt(200, &[(3, 7001)])), None);
        assert!(changes.prompts.is_empty());
    }

    #[test]
    fn what_was_there_in_another_prompt_costs_nothing() {
        let mut changes = Changes::default();
        let (one, other) = (prompt(900, &[(20, 7000)]), prompt(900, &[(20, 7001)]));
        assert_eq!(found(&mut changes, &one), None);
        assert!(found(&mut changes, &other).is_some());
        // Both are there now.
        assert_eq!(found(&mut changes, &one), None);
        assert_eq!(found(&mut changes, &other), None);
    }

    #[test]
    fn so_many_are_remembered() {
        let mut changes = Changes::default();
        for first in 0..3 * REMEMBERED as u32 {
            let prompt: Vec<u32> = (first * 1000..first * 1000 + 400).collect();
            assert_eq!(found(&mut changes, &prompt), None);
            assert!(changes.prompts.len() <= REMEMBERED);
        }
    }
}
