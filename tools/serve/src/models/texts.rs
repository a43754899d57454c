//! Room for texts that are made into tokens: a template carries each character in four bytes, and merging has a symbol and a
//! candidate for each.

use super::compiled::soon;
use crate::refusal::{Reason, Refusal};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that a text may have for each token of the context. Those of texts are 3 to 12 on average, by language and vocabulary.
const OF_TOKEN: usize = 16;
/// Bytes that a text may have with any context.
const LEAST: usize = 64 << 10;
/// Bytes that a byte of a text comes to on its way to tokens, at most: 38 were measured, of one long word.
const EACH: usize = 40;

/// Room for the texts that a model reads at a time.
#[derive(Debug)]
pub(crate) struct Texts {
    room: Arc<Semaphore>,
    context: usize,
}

impl Texts {
    /// Room for the longest text that a context of so many tokens allows, or for several shorter ones.
    pub(super) fn new(context: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(longest(context))), context }
    }

    /// Bytes that they take, at most.
    pub(super) fn bytes(context: usize) -> usize {
        longest(context).saturating_mul(EACH)
    }

    /// The bytes of the longest text that is read.
    pub(crate) fn longest(&self) -> usize {
        longest(self.context)
    }

    /// Room for a text of so many bytes, once there is.
    ///
    /// # Errors
    /// A text that is too long, and no room for a minute.
    pub(crate) async fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let (longest, context) = (self.longest(), self.context);
        if bytes > longest {
            let said = format!(
                "the prompt's text has {bytes} bytes, more than the {longest} that are read for a context of {context} tokens"
            );
            return Err(Refusal::new(Reason::ContextExceeded { prompt: None, context }, said));
        }
        soon(Arc::clone(&self.room).acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX)), "text")
            .await
    }
}

fn longest(context: usize) -> usize {
    context.saturating_mul(OF_TOKEN).clamp(LEAST, Semaphore::MAX_PERMITS.min(u32::MAX as usize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn long_texts_wait_for_each_other_and_longer_ones_are_refused() {
        let texts = Texts::new(8192);
        assert_eq!((texts.longest(), Texts::bytes(8192)), (128 << 10, 40 * (128 << 10)));
        let long = texts.take(100 << 10).await.unwrap();
        let short = texts.take(28 << 10).now_or_never().unwrap().unwrap();
        assert!(texts.take(1).now_or_never().is_none());
        drop(short);
        assert!(texts.take(1).now_or_never().is_some());
        drop(long);
        assert!(texts.take(128 << 10).now_or_never().unwrap().is_ok());
        let refused = texts.take((128 << 10) + 1).await.unwrap_err();
        assert_eq!(refused.reason, Reason::ContextExceeded { prompt: None, context: 8192 });
        assert!(refused.message.contains("131073 bytes, more than the 131072"), "{}", refused.message);
        // Whatever the context.
        assert_eq!(Texts::new(1).longest(), 64 << 10);
    }
}
