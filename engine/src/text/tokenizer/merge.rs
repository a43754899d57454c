//! Byte-pair merging: join the best pair of neighbours until none is left to join.
//!
//! Symbols are a linked list in a vector, candidates a heap, so a word of n symbols takes O(n log n) however it is
//! made. A candidate is never taken back when one of its halves is merged elsewhere; it is recognized as stale when
//! its turn comes, because symbols only grow and its length no longer fits.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// No symbol, and no token.
pub(super) const NONE: u32 = u32::MAX;

/// A stretch of text that is, or may become, one token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Symbol {
    /// Its token, or [`NONE`].
    pub(super) token: u32,
    /// Where it starts in the text.
    pub(super) start: u32,
    /// Its bytes; 0 once it is part of the symbol before.
    pub(super) len: u32,
    previous: u32,
    next: u32,
}

/// What two neighbours become when joined. The lowest priority is joined first, of equal ones the leftmost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Merge {
    pub(super) priority: u32,
    pub(super) token: u32,
}

/// Two neighbours that can be joined, ordered by what comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    /// The priority, and below it the left symbol's number: one comparison tells the order.
    order: u64,
    len: u32,
    token: u32,
}

impl Candidate {
    fn left(self) -> u32 {
        self.order as u32
    }
}

/// The working memory of merging, to be used again from word to word.
#[derive(Default)]
pub(super) struct Merger {
    symbols: Vec<Symbol>,
    candidates: BinaryHeap<Reverse<Candidate>>,
}

impl Merger {
    /// The bytes of text that one merging can take; numbers of symbols and their positions are 32 bits wide.
    pub(super) const LIMIT: usize = 1 << 30;

    /// Starts on a new word.
    pub(super) fn clear(&mut self) {
        self.symbols.clear();
    }

    /// Appends the word's next symbol.
    pub(super) fn push(&mut self, token: u32, start: usize, len: usize) {
        let number = self.symbols.len() as u32;
        if let Some(last) = self.symbols.last_mut() {
            last.next = number;
        }
        let previous = number.checked_sub(1).unwrap_or(NONE);
        self.symbols.push(Symbol { token, start: start as u32, len: len as u32, previous, next: NONE });
    }

    /// Joins neighbours, as `merge` says what two of them become, until no more can be.
    pub(super) fn run(&mut self, merge: impl Fn(&Symbol, &Symbol) -> Option<Merge>) {
        self.candidates.clear();
        let pairs = self.symbols.windows(2).zip(0..);
        self.candidates.extend(pairs.filter_map(|(pair, left)| candidate(left, &pair[0], &pair[1], &merge)));
        while let Some(Reverse(best)) = self.candidates.pop() {
            if self.join(best) {
                let joined = self.symbols[best.left() as usize];
                self.consider(joined.previous, &merge);
                self.consider(best.left(), &merge);
            }
        }
    }

    /// What is left of the word, in order.
    pub(super) fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        self.symbols.iter().filter(|symbol| symbol.len > 0)
    }

    /// Joins a candidate's two symbols into the left one; false if the candidate is stale.
    fn join(&mut self, candidate: Candidate) -> bool {
        let left = self.symbols[candidate.left() as usize];
        let Some(&right) = self.symbols.get(left.next as usize) else { return false };
        if left.len == 0 || left.len + right.len != candidate.len {
            return false;
        }
        self.symbols[left.next as usize].len = 0;
        if let Some(after) = self.symbols.get_mut(right.next as usize) {
            after.previous = candidate.left();
        }
        let joined = &mut self.symbols[candidate.left() as usize];
        (joined.token, joined.len, joined.next) = (candidate.token, candidate.len, right.next);
        true
    }

    /// Puts a symbol and the one behind it among the candidates, if there are both and they can be joined.
    fn consider(&mut self, left: u32, merge: &impl Fn(&Symbol, &Symbol) -> Option<Merge>) {
        let Some(symbol) = self.symbols.get(left as usize) else { return };
        let Some(next) = self.symbols.get(symbol.next as usize) else { return };
        self.candidates.extend(candidate(left, symbol, next, merge));
    }
}

fn candidate(
    left: u32,
    symbol: &Symbol,
    next: &Symbol,
    merge: &impl Fn(&Symbol, &Symbol) -> Option<Merge>,
) -> Option<Reverse<Candidate>> {
    let Merge { priority, token } = merge(symbol, next)?;
    let order = u64::from(priority) << 32 | u64::from(left);
    Some(Reverse(Candidate { order, len: symbol.len + next.len, token }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Merges a word of the digits 0 to 9 in which two equal neighbours become their sum, small ones first.
    fn merged(word: &[u32]) -> Vec<(u32, u32)> {
        let mut merger = Merger::default();
        merger.clear();
        for (start, &token) in word.iter().enumerate() {
            merger.push(token, start, 1);
        }
        merger.run(|left, right| {
            (left.token == right.token).then(|| Merge { priority: left.token, token: 2 * left.token })
        });
        merger.symbols().map(|symbol| (symbol.token, symbol.start)).collect()
    }

    #[test]
    fn the_lowest_priority_goes_first_and_the_leftmost_of_equals() {
        assert!(merged(&[]).is_empty());
        assert_eq!(merged(&[1]), [(1, 0)]);
        assert_eq!(merged(&[1, 1, 1]), [(2, 0), (1, 2)]);
        assert_eq!(merged(&[2, 2, 1, 1]), [(4, 0), (2, 2)]);
        assert_eq!(merged(&[2, 1, 1, 2]), [(4, 0), (2, 3)]);
        assert_eq!(merged(&[1; 16]), [(16, 0)]);
        assert_eq!(merged(&[1; 23]), [(16, 0), (4, 16), (2, 20), (1, 22)]);
    }
}
