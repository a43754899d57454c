//! Who is next: clients take turns, and each one's requests keep their order.

use super::{Client, Job};
use std::collections::VecDeque;

/// Jobs that wait for a place.
#[derive(Default)]
pub(super) struct Queue {
    /// Clients in the order of their turns, each with one job or more.
    turns: VecDeque<(Client, VecDeque<Job>)>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.turns.iter().map(|(_, jobs)| jobs.len()).sum()
    }

    pub(super) fn push(&mut self, job: Job) {
        match self.turns.iter_mut().find(|(client, _)| client.name() == job.client.name()) {
            Some((_, jobs)) => jobs.push_back(job),
            None => self.turns.push_back((job.client.clone(), VecDeque::from([job]))),
        }
    }

    /// The next job, whose client is the last to have another turn.
    pub(super) fn pop(&mut self) -> Option<Job> {
        let (client, mut jobs) = self.turns.pop_front()?;
        let job = jobs.pop_front();
        if !jobs.is_empty() {
            self.turns.push_back((client, jobs));
        }
        job
    }

    /// Drops jobs that are not to be kept.
    pub(super) fn retain(&mut self, keep: impl Fn(&Job) -> bool) {
        self.turns.iter_mut().for_each(|(_, jobs)| jobs.retain(&keep));
        self.turns.retain(|(_, jobs)| !jobs.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;
    use crate::worker::Task;
    use std::sync::Arc;
    use std::time::Instant;

    fn job(client: &str, index: usize) -> Job {
        let (events, _) = crate::worker::event_channel();
        let now = Instant::now();
        Job {
            client: Arc::new(Arc::new(Keys::open(None).unwrap()).admit(None, client).unwrap()),
            task: Task::Answer(Box::default()),
            index,
            asked: now,
            deadline: now,
            events,
            told: Default::default(),
        }
    }

    #[test]
    fn clients_take_turns() {
        let mut queue = Queue::default();
        for (client, index) in [("a", 0), ("a", 1), ("a", 2), ("b", 3), ("c", 4), ("b", 5)] {
            queue.push(job(client, index));
        }
        assert_eq!(queue.len(), 6);
        let order: Vec<usize> = std::iter::from_fn(|| queue.pop()).map(|job| job.index).collect();
        assert_eq!(order, [0, 3, 4, 1, 5, 2]);
        assert!(queue.is_empty());
    }

    #[test]
    fn who_went_away_has_no_turn() {
        let mut queue = Queue::default();
        for (client, index) in [("a", 0), ("b", 1), ("a", 2)] {
            queue.push(job(client, index));
        }
        queue.retain(|job| job.index != 1);
        assert_eq!(queue.len(), 2);
        queue.retain(|job| job.index == 2);
        assert_eq!(queue.pop().map(|job| job.index), Some(2));
        assert!(queue.pop().is_none());
    }
}
