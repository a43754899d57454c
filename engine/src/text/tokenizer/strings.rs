//! Many short byte strings in one allocation, and a hash index over them that stores no key twice.

use std::hash::{BuildHasher, RandomState};

/// Byte strings numbered from 0, end to end in one buffer.
#[derive(Default)]
pub(super) struct Strings {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Strings {
    /// Appends a string; false, and nothing appended, if all strings together would pass 4 GiB.
    pub(super) fn push(&mut self, string: &[u8]) -> bool {
        let Ok(end) = u32::try_from(self.bytes.len() + string.len()) else { return false };
        self.bytes.extend_from_slice(string);
        self.ends.push(end);
        true
    }

    /// The string of this number; empty if there is none.
    pub(super) fn get(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let Some(&end) = self.ends.get(number) else { return &[] };
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start as usize..end as usize]
    }

    /// How many strings there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// All strings in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len() as u32).map(|number| self.get(number))
    }

    /// The longest string's bytes.
    pub(super) fn longest(&self) -> usize {
        self.iter().map(<[u8]>::len).max().unwrap_or(0)
    }

    /// Gives spare capacity back.
    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

const EMPTY: u32 = u32::MAX;

/// Finds a string's number in a [`Strings`]: open addressing over the numbers alone, at most half full.
///
/// The hash is keyed anew in each process, so that no file can be made to collide; what is found never depends on it.
pub(super) struct Index {
    slots: Box<[u32]>,
    hasher: RandomState,
}

impl Index {
    /// Indexes these numbers in this order. Of equal strings the first is kept; the empty string is never indexed.
    pub(super) fn new(strings: &Strings, numbers: impl Iterator<Item = u32>) -> Index {
        let slots = vec![EMPTY; (2 * strings.len()).next_power_of_two().max(2)].into_boxed_slice();
        let mut index = Index { slots, hasher: RandomState::new() };
        for number in numbers {
            let string = strings.get(number);
            let slot = index.slot(strings, string);
            if index.slots[slot] == EMPTY && !string.is_empty() {
                index.slots[slot] = number;
            }
        }
        index
    }

    /// The number of this string.
    pub(super) fn find(&self, strings: &Strings, string: &[u8]) -> Option<u32> {
        Some(self.slots[self.slot(strings, string)]).filter(|&number| number != EMPTY)
    }

    /// Where this string is, or the free slot where it would be put.
    fn slot(&self, strings: &Strings, string: &[u8]) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = self.hasher.hash_one(string) as usize & mask;
        while self.slots[slot] != EMPTY && strings.get(self.slots[slot]) != string {
            slot = (slot + 1) & mask;
        }
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_string_and_the_first_of_equals() {
        let mut strings = Strings::default();
        for number in 0..1000 {
            assert!(strings.push(format!("{}", number % 700).as_bytes()));
        }
        assert!(strings.push(b""));
        let index = Index::new(&strings, 0..1001);
        for number in 0..700 {
            assert_eq!(index.find(&strings, format!("{number}").as_bytes()), Some(number));
        }
        assert_eq!(index.find(&strings, b"700"), None);
        assert_eq!(index.find(&strings, b""), None);
        assert_eq!(strings.get(1000), b"");
        assert_eq!(strings.get(1001), b"");
        assert_eq!(strings.longest(), 3);
    }

    #[test]
    fn an_empty_collection_has_nothing_to_find() {
        let strings = Strings::default();
        assert_eq!(Index::new(&strings, 0..0).find(&strings, b"a"), None);
        assert_eq!(strings.longest(), 0);
    }
}
