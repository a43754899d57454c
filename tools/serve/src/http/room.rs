//! Memory for what clients send, and for what they are told that grows beyond a text. There is so much of it for all requests,
//! and each takes its share before it is read: so what the server takes is known before anybody asks, whoever asks then.

use super::connections::{CONNECTIONS, HEADERS};
use crate::refusal::{Reason, Refusal};
use siskin::Logprobs;
use std::cell::RefCell;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task_local;

/// Bytes that a byte of a body comes to: the body, and its texts as they are read out of the JSON.
const EACH: usize = 3;
/// Bytes that a value of JSON comes to, in an array that grew to twice of what it has.
const VALUE: usize = 64;
/// Bodies of up to so many bytes have room of their own, so that no long one holds them up.
const SHORT: usize = 16 << 10;
/// Bytes of that room.
const SHORT_ROOM: usize = 2 << 20;
/// What room is counted in.
const UNIT: usize = 1 << 10;
/// Bytes of the probabilities of tokens that were told and that nobody has read yet, of all answers.
const TOLD_ROOM: usize = 6 << 20;
/// Bytes that those of a token come to, and more for each of the most probable ones.
const TOLD: usize = 256;
const TOLD_EACH: usize = 8;
/// What that room is counted in.
const TOLD_UNIT: usize = 64;

task_local! {
    /// What the request of this task has of the room.
    static SHARES: RefCell<Vec<OwnedSemaphorePermit>>;
}

/// Room for requests.
#[derive(Debug)]
pub(crate) struct Room {
    short: Arc<Semaphore>,
    long: Arc<Semaphore>,
    /// Bytes of the second one.
    all: usize,
    told: ToldRoom,
}

impl Room {
    /// Room for bodies of up to so many bytes.
    pub(crate) fn new(body: usize) -> Self {
        let all = long_room(body);
        let units = |bytes: usize| Arc::new(Semaphore::new(bytes.div_ceil(UNIT)));
        Self { short: units(SHORT_ROOM), long: units(all), all, told: ToldRoom::default() }
    }

    /// Bytes that all requests together take, at most, the connections that they come by included.
    pub(crate) fn bytes(body: usize) -> usize {
        // What was read of a request, and what is not yet written of its answer.
        CONNECTIONS * 2 * HEADERS + SHORT_ROOM + long_room(body) + TOLD_ROOM
    }

    /// Room for probabilities of tokens.
    pub(crate) fn told(&self) -> &ToldRoom {
        &self.told
    }

    /// Has this task take room for a body of so many bytes, once there is.
    pub(super) async fn take(&self, body: usize) {
        let (room, bytes) = self.of(body);
        // It is never closed.
        if let Ok(share) = Arc::clone(room).acquire_many_owned(units(bytes)).await {
            keep(share);
        }
    }

    /// Has this task, which has nothing of the room, take so many bytes of it, once there are.
    pub(crate) async fn take_anew(&self, bytes: usize) {
        // It is never closed.
        if let Ok(share) = Arc::clone(&self.long).acquire_many_owned(units(bytes.min(self.all))).await {
            keep(share);
        }
    }

    /// Has it take room for what the JSON of its body comes to, beyond what it has.
    ///
    /// # Errors
    /// More than there is now, or ever.
    pub(super) fn take_for_values(&self, text: &str) -> Result<(), Refusal> {
        let values = values(text);
        let (room, there) = self.of(text.len());
        let more = (values * VALUE).saturating_sub(there / 2);
        if more == 0 {
            return Ok(());
        }
        if more.saturating_add(if Arc::ptr_eq(room, &self.long) { there } else { 0 }) > self.all {
            let said = format!("the body has {values} values, more than there is memory for");
            return Err(Refusal::new(Reason::TooLarge, said));
        }
        // Where it waited, one that waits for all of the room would wait for its share.
        match Arc::clone(room).try_acquire_many_owned(units(more)) {
            Ok(share) => keep(share),
            Err(_) => self.take_more(more)?,
        }
        Ok(())
    }

    /// Has this task take room for so many bytes that it makes of its request, beyond what it has.
    ///
    /// # Errors
    /// More than there is now, or ever.
    pub(crate) fn take_more(&self, bytes: usize) -> Result<(), Refusal> {
        if bytes > self.all {
            let said = format!("the answer takes {bytes} bytes, more than there is memory for");
            return Err(Refusal::new(Reason::TooLarge, said));
        }
        let share = Arc::clone(&self.long).try_acquire_many_owned(units(bytes));
        keep(share.map_err(|_| Refusal {
            retry_after: Some(Duration::from_secs(1)),
            ..Refusal::new(Reason::Unavailable, "other requests have the memory that this one takes")
        })?);
        Ok(())
    }

    /// The room that a body of so many bytes has its share in, and how many that is.
    fn of(&self, body: usize) -> (&Arc<Semaphore>, usize) {
        let bytes = body.saturating_mul(EACH);
        if body <= SHORT { (&self.short, bytes) } else { (&self.long, bytes.min(self.all)) }
    }
}

/// Room for the probabilities of tokens that nobody has read yet: of answers that are collected, and of streams that are read
/// more slowly than they are written.
#[derive(Clone, Debug)]
pub(crate) struct ToldRoom(Arc<Semaphore>);

impl Default for ToldRoom {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(TOLD_ROOM / TOLD_UNIT)))
    }
}

impl ToldRoom {
    /// How probable a token was, with its share of the room; None where there is none left.
    pub(crate) fn keep(&self, logprobs: &Logprobs) -> Option<Arc<Told>> {
        let bytes = TOLD + TOLD_EACH * logprobs.top.len();
        let units = u32::try_from(bytes.div_ceil(TOLD_UNIT)).ok()?;
        let share = Arc::clone(&self.0).try_acquire_many_owned(units).ok()?;
        Some(Arc::new(Told { logprobs: logprobs.clone(), _share: share }))
    }
}

/// How probable a token was, as long as somebody is to be told.
#[derive(Debug)]
pub(crate) struct Told {
    logprobs: Logprobs,
    _share: OwnedSemaphorePermit,
}

impl Deref for Told {
    type Target = Logprobs;

    fn deref(&self) -> &Logprobs {
        &self.logprobs
    }
}

/// Works on a request, which has what it takes of the room until then, or until it [gives that back](give_back).
pub(super) async fn within<T>(work: impl Future<Output = T>) -> T {
    SHARES.scope(RefCell::default(), work).await
}

/// Gives back what the request of this task has of the room: nothing is left of its body, but for the prompt's tokens.
pub(crate) fn give_back() {
    let _ = SHARES.try_with(|shares| shares.borrow_mut().clear());
}

/// What the request of this task has of the room, which is given back with the shares from now on.
pub(super) fn carry() -> Vec<OwnedSemaphorePermit> {
    SHARES.try_with(|shares| std::mem::take(&mut *shares.borrow_mut())).unwrap_or_default()
}

fn keep(share: OwnedSemaphorePermit) {
    let _ = SHARES.try_with(|shares| shares.borrow_mut().push(share));
}

fn long_room(body: usize) -> usize {
    body.saturating_mul(EACH)
}

fn units(bytes: usize) -> u32 {
    bytes.div_ceil(UNIT).try_into().unwrap_or(u32::MAX)
}

/// How many values a text of JSON has, at most.
fn values(text: &str) -> usize {
    let (mut count, mut within, mut escaped) = (1, false, false);
    for &byte in text.as_bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if within => escaped = true,
            b'"' => within = !within,
            b',' | b':' | b'[' | b'{' if !within => count += 1,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn values_are_those_outside_of_texts() {
        assert_eq!(values("{}"), 2);
        assert_eq!(values(r#"{"a": [1, 2, 3], "b": "x, y: [z], \", {"}"#), 8);
        assert_eq!(values(r#"["\\", 1]"#), 3);
    }

    #[test]
    fn probabilities_that_nobody_reads_have_a_bound() {
        let (room, logprobs) = (ToldRoom::default(), Logprobs::default());
        let kept: Vec<_> = std::iter::from_fn(|| room.keep(&logprobs)).collect();
        assert_eq!(kept.len(), TOLD_ROOM / TOLD);
        drop(kept);
        assert!(room.keep(&logprobs).is_some());
    }

    #[tokio::test]
    async fn a_share_is_given_back_with_the_request() {
        let room = Room::new(1 << 20);
        let free = || (room.short.available_permits(), room.long.available_permits());
        let before = free();
        within(async {
            room.take(1000).await;
            assert_eq!(before.0 - free().0, 3);
            room.take(1 << 20).await;
            assert_eq!(free().1, 0);
            // Others wait, short ones do not.
            assert!(room.take(1 << 20).now_or_never().is_none());
            room.take(1000).await;
            give_back();
            assert_eq!(free(), before);
            room.take(SHORT + 1).await;
        })
        .await;
        assert_eq!(free(), before);
    }

    #[tokio::test]
    async fn many_values_take_more_or_are_refused() {
        let room = Room::new(1 << 20);
        let free = || room.short.available_permits() + room.long.available_permits();
        let zeros = |count: usize| format!("[{}0]", "0,".repeat(count));
        within(async {
            room.take(20).await;
            let before = free();
            room.take_for_values(&format!(r#"{{"prompt": "{}"}}"#, "a text ".repeat(20))).unwrap();
            assert_eq!(free(), before);
            room.take_for_values(&zeros(1000)).unwrap();
            assert!(before - free() > 50);
            let refused = room.take_for_values(&zeros(100_000)).unwrap_err();
            assert!(matches!(refused.reason, Reason::TooLarge), "{refused:?}");
            room.take_for_values(&zeros(40_000)).unwrap();
            let refused = room.take_for_values(&zeros(40_000)).unwrap_err();
            assert!(matches!(refused.reason, Reason::Unavailable), "{refused:?}");
        })
        .await;
    }
}
