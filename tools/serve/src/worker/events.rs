//! What an answer comes to, on its way from the thread that works on it to whoever asked. The thread never waits, and who
//! collects an answer is not woken for each piece of it: on a board every wake takes a CPU from the model.

use crate::answers::Times;
use crate::http::Told;
use crate::refusal::Refusal;
use siskin::{Channel, Ending};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

/// What is new of an answer.
pub(crate) enum Event {
    /// The mean of what the text's tokens come to. There is no more.
    Embedded(Vec<f32>),
    /// More of its text, whole characters.
    Piece(Channel, String),
    /// A token, where probabilities were asked for.
    Token(u32, Arc<Told>),
    /// There is no more.
    Over(Over),
    /// It was not begun.
    Refused(Refusal),
}

/// What an answer was in all.
pub(crate) struct Over {
    pub(crate) ending: Ending,
    pub(crate) error: Option<String>,
    /// Whether that is the request's fault: its grammar cannot be gone on with.
    pub(crate) is_wrong: bool,
    /// The stop string before which it ended.
    pub(crate) stop: Option<String>,
    pub(crate) tokens: Vec<u32>,
    pub(crate) thought_tokens: usize,
    /// Tokens of the prompt that were there already.
    pub(crate) reused: usize,
    pub(crate) times: Times,
}

/// Events that lie there before whoever collects them is woken.
const MANY: usize = 64;

/// A channel for the events of a request's answers, each with its number among them.
pub(crate) fn event_channel() -> (EventSender, EventReceiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let many = Arc::new(Many::default());
    let wake = WakeOnDrop(Arc::clone(&many));
    (EventSender { events: sender, wake }, EventReceiver { events: receiver, many })
}

/// Where an answer's events are told.
#[derive(Clone)]
pub(crate) struct EventSender {
    events: UnboundedSender<(usize, Event)>,
    /// Behind the sender, so that who is woken finds it gone.
    wake: WakeOnDrop,
}

impl EventSender {
    /// Tells of an event, if anybody is still there.
    pub(crate) fn send(&self, index: usize, event: Event) {
        let is_one_of_many = matches!(event, Event::Piece(..) | Event::Token(..));
        let _ = self.events.send((index, event));
        let Many { told, wake } = &*self.wake.0;
        if !is_one_of_many || told.fetch_add(1, Ordering::Relaxed) % MANY == MANY - 1 {
            wake.notify_one();
        }
    }

    /// Whether nobody is there any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.events.is_closed()
    }
}

/// Where they are heard of. Dropping it ends the answers' work.
pub(crate) struct EventReceiver {
    events: UnboundedReceiver<(usize, Event)>,
    many: Arc<Many>,
}

impl EventReceiver {
    /// The next event, as soon as there is one; None where there can be none.
    pub(crate) async fn next(&mut self) -> Option<(usize, Event)> {
        self.events.recv().await
    }

    /// The next event, once there are many or an answer is over; None where there can be none.
    pub(crate) async fn next_of_many(&mut self) -> Option<(usize, Event)> {
        loop {
            match self.events.try_recv() {
                Ok(event) => return Some(event),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => self.many.wake.notified().await,
            }
        }
    }

    /// The next event, if there is one already.
    pub(crate) fn next_of_those_there(&mut self) -> Option<(usize, Event)> {
        self.events.try_recv().ok()
    }
}

/// What wakes whoever collects events.
#[derive(Debug, Default)]
struct Many {
    /// Events that nobody was woken for by themselves.
    told: AtomicUsize,
    wake: Notify,
}

/// Wakes whoever waits for a sender that is gone.
#[derive(Clone)]
struct WakeOnDrop(Arc<Many>);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.0.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn piece() -> Event {
        Event::Piece(Channel::Text, "a".to_owned())
    }

    #[tokio::test]
    async fn who_collects_is_woken_for_many_events_and_for_the_last() {
        let (sender, mut receiver) = event_channel();
        {
            let mut waits = Box::pin(receiver.next_of_many());
            assert!(waits.as_mut().now_or_never().is_none());
            for _ in 1..MANY {
                sender.send(0, piece());
            }
            assert!(waits.as_mut().now_or_never().is_none());
            sender.send(0, piece());
            assert!(waits.await.is_some());
        }
        for _ in 1..MANY {
            assert!(receiver.next_of_many().now_or_never().flatten().is_some());
        }
        {
            let mut waits = Box::pin(receiver.next_of_many());
            assert!(waits.as_mut().now_or_never().is_none());
            sender.send(1, Event::Embedded(Vec::new()));
            assert!(matches!(waits.await, Some((1, Event::Embedded(_)))));
        }
        // A thread that ended says nothing.
        let mut waits = Box::pin(receiver.next_of_many());
        assert!(waits.as_mut().now_or_never().is_none());
        let other = sender.clone();
        drop(sender);
        assert!(waits.as_mut().now_or_never().is_none());
        drop(other);
        assert!(waits.await.is_none());
    }

    #[tokio::test]
    async fn who_streams_is_woken_for_each() {
        let (sender, mut receiver) = event_channel();
        let mut waits = Box::pin(receiver.next());
        assert!(waits.as_mut().now_or_never().is_none());
        sender.send(0, piece());
        assert!(waits.now_or_never().flatten().is_some());
        assert!(!sender.is_closed());
        drop(receiver);
        assert!(sender.is_closed());
    }
}
