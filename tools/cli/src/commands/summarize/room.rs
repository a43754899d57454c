use anyhow::{Result, ensure};

/// How the tokens of a context are divided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    context: usize,
    /// Tokens of a summary at most.
    summary: usize,
    /// Tokens of a text that is to be summarized.
    text: usize,
}

/// Tokens that a text may take more where it meets the words before it.
const SLACK: usize = 8;
/// The shortest text that is worth a summary.
const LEAST: usize = 16;

impl Room {
    /// Tokens of a summary at most, where so many were asked for.
    pub(super) fn summary(context: usize, asked: Option<usize>) -> usize {
        /// A page. Models that say more repeat themselves.
        const LONGEST: usize = 512;
        asked.unwrap_or((context / 4).clamp(1, LONGEST))
    }

    /// Divides a context of which the prompt takes `prompt` tokens without any text.
    ///
    /// # Errors
    /// Too little room for a text or, with `merges`, for two summaries: the work would have no end.
    pub(super) fn new(context: usize, prompt: usize, summary: usize, merges: bool) -> Result<Room> {
        let text = context.saturating_sub(prompt + summary + SLACK);
        let least = if merges { (2 * summary + SLACK).max(LEAST) } else { LEAST };
        ensure!(
            text >= least,
            "a context of {context} tokens has room for {text} of a text, beside the {prompt} of a prompt and the \
             {summary} of a summary, and expected is room for {least}: give a larger --ctx-size or a smaller --n-predict"
        );
        Ok(Room { context, summary, text })
    }

    /// Tokens of a text that is to be summarized.
    pub(super) fn text(&self) -> usize {
        self.text
    }

    /// Whether the context has room for a whole prompt of so many tokens, and for its summary.
    pub(super) fn fits(&self, prompt: usize) -> bool {
        prompt.saturating_add(self.summary) <= self.context
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_summaries_have_room_where_they_are_merged() {
        let room = |context, merges| {
            Room::new(context, 20, Room::summary(context, None), merges).map(|room| room.text())
        };
        assert_eq!(room(4096, true).unwrap(), 4096 - 512 - 20 - SLACK);
        assert_eq!(room(256, true).unwrap(), 256 - 64 - 20 - SLACK);
        assert!(room(64, true).is_err() && room(48, false).is_err());
        assert_eq!(room(64, false).unwrap(), 64 - 16 - 20 - SLACK);
        assert!(Room::new(100, usize::MAX / 2, 1, false).is_err());
    }
}
