//! The last tokens of the text, as penalties and DRY see them.

/// A ring of the last `capacity` tokens.
#[derive(Debug, Clone)]
pub(super) struct History {
    ring: Vec<u32>,
    capacity: usize,
    /// Where the next token goes, once the ring is full.
    next: usize,
}

impl History {
    pub(super) fn new(capacity: usize) -> Self {
        History { ring: Vec::with_capacity(capacity), capacity, next: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.ring.clear();
        self.next = 0;
    }

    pub(super) fn len(&self) -> usize {
        self.ring.len()
    }

    /// Adds the newest token; returns the one that it pushes out.
    pub(super) fn push(&mut self, token: u32) -> Option<u32> {
        if self.ring.len() < self.capacity {
            self.ring.push(token);
            return None;
        }
        let slot = self.ring.get_mut(self.next)?;
        self.next = (self.next + 1) % self.capacity;
        Some(std::mem::replace(slot, token))
    }

    /// The token `age` places back; 0 is the newest. Beyond the last it is `None`.
    pub(super) fn back(&self, age: usize) -> Option<u32> {
        let len = self.ring.len();
        let index = (age < len).then(|| (self.next + len - 1 - age) % len)?;
        self.ring.get(index).copied()
    }
}

/// The window that an option asks for: -1 is the whole context, and no window is longer.
pub(super) fn window(last_n: i32, context: usize) -> usize {
    usize::try_from(last_n).map_or(context, |n| n.min(context))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_forgets_the_oldest() {
        let mut history = History::new(3);
        assert_eq!([1, 2, 3, 4, 5].map(|t| history.push(t)), [None, None, None, Some(1), Some(2)]);
        assert_eq!([0, 1, 2, 3].map(|age| history.back(age)), [Some(5), Some(4), Some(3), None]);
        history.clear();
        assert_eq!(history.back(0), None);
        assert_eq!((history.push(9), history.back(0), history.len()), (None, Some(9), 1));
    }

    #[test]
    fn a_ring_of_nothing_holds_nothing() {
        let mut history = History::new(0);
        assert_eq!((history.push(1), history.back(0)), (None, None));
    }

    #[test]
    fn a_window_is_never_longer_than_the_context() {
        assert_eq!([-1, 0, 64, 4096].map(|n| window(n, 2048)), [2048, 0, 64, 2048]);
    }
}
