//! Perplexity by llama.cpp's method: a text is cut into windows, and only what a window's first half leads up to is
//! scored, so that every prediction has some context.

use super::divergence::{mean_and_error, surprise};
use anyhow::{Result, ensure};
use siskin::{Model, Session, SessionError};

/// A text's tokens, cut into windows of `context` tokens each; what is left over at the end is not scored.
#[derive(Clone, Debug)]
pub struct Windows {
    tokens: Vec<u32>,
    /// Stands in place of each window's first token, where the vocabulary wants it.
    bos: Option<u32>,
    context: usize,
}

/// A position whose next token is scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scored {
    /// Number of its window, from 0.
    pub window: usize,
    /// The token that the text goes on with.
    pub token: u32,
}

impl Windows {
    /// The windows of a text, but no more than `most`.
    ///
    /// # Errors
    /// A context without a second half, or a text that is shorter than one window.
    pub fn new(model: &Model, text: &str, context: usize, most: usize) -> Result<Windows> {
        let longest = model.context_length();
        ensure!(
            (4..=longest).contains(&context),
            "expected windows of 4 to {longest} tokens, the model's context, found {context}"
        );
        let tokenizer = model.tokenizer();
        let bos = tokenizer.bos().filter(|_| tokenizer.add_bos());
        Windows::of_tokens(model.text_tokens(text), bos, context, most)
    }

    fn of_tokens(mut tokens: Vec<u32>, bos: Option<u32>, context: usize, most: usize) -> Result<Windows> {
        let count = tokens.len() / context;
        ensure!(
            count > 0,
            "the text has {} tokens, expected at least {context}: one window to be scored",
            tokens.len()
        );
        tokens.truncate(count.min(most) * context);
        Ok(Windows { tokens, bos, context })
    }

    /// No more than `most` of the windows, evenly spaced over the text.
    pub fn spread(&self, most: usize) -> Windows {
        let (all, count) = (self.count(), self.count().min(most));
        let start = |index: usize| (2 * index + 1) * all / (2 * count) * self.context;
        let window = |index| self.tokens.iter().skip(start(index)).take(self.context);
        let tokens = (0..count).flat_map(window).copied().collect();
        Windows { tokens, bos: self.bos, context: self.context }
    }

    /// Tokens of a window.
    pub fn context(&self) -> usize {
        self.context
    }

    /// How many windows there are.
    pub fn count(&self) -> usize {
        self.tokens.len() / self.context
    }

    /// The tokens of all windows, without what stands in place of their first.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// All positions that are scored, in the order of the text.
    pub fn scored(&self) -> impl Iterator<Item = Scored> {
        let first = self.first() + 1;
        self.tokens.chunks_exact(self.context).enumerate().flat_map(move |(window, tokens)| {
            tokens.iter().skip(first).map(move |&token| Scored { window, token })
        })
    }

    /// The first position of a window after which there is something to score.
    fn first(&self) -> usize {
        self.context / 2
    }

    /// Runs the text through a session of at least [`Windows::context`] tokens, and calls `each` with every scored
    /// position and the logits before it. Nothing but one window is ever in memory.
    ///
    /// # Errors
    /// What the session or `each` returns.
    pub fn run(
        &self,
        session: &mut Session,
        mut each: impl FnMut(Scored, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let mut scored = self.scored();
        for tokens in self.tokens.chunks_exact(self.context) {
            let mut tokens = tokens.to_vec();
            if let (Some(first), Some(bos)) = (tokens.first_mut(), self.bos) {
                *first = bos;
            }
            // What would follow the window's last token is not part of it.
            let (before, after) = tokens.split_at(self.first());
            let predicting = after.split_last().map_or(after, |(_, predicting)| predicting);
            session.clear();
            session.feed(before)?;
            session.feed_each(predicting, |logits| -> Result<()> {
                scored.next().map_or(Ok(()), |position| each(position, logits))
            })?;
        }
        Ok(())
    }
}

/// A text's perplexity in the making.
#[derive(Clone, Debug, Default)]
pub struct Perplexity {
    surprises: Vec<f64>,
}

impl Perplexity {
    /// Takes another position: the logits before `token`.
    ///
    /// # Errors
    /// Logits that are no numbers.
    pub fn push(&mut self, logits: &[f32], token: u32) -> Result<()> {
        let surprise = surprise(logits, token);
        ensure!(!surprise.is_nan(), "the model's logits are not all numbers");
        self.surprises.push(surprise);
        Ok(())
    }

    /// The perplexity, which is the exponential of the mean surprise, and its standard error.
    pub fn value(&self) -> Option<(f64, f64)> {
        let (mean, error) = mean_and_error(&self.surprises)?;
        Some((mean.exp(), mean.exp() * error))
    }
}

/// The perplexity of a text and its standard error.
///
/// # Errors
/// As for [`Windows::run`].
pub fn perplexity(session: &mut Session, windows: &Windows) -> Result<(f64, f64)> {
    let mut perplexity = Perplexity::default();
    windows.run(session, |scored, logits| perplexity.push(logits, scored.token))?;
    perplexity.value().ok_or_else(|| SessionError::NoPrompt.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(tokens: u32, bos: Option<u32>, context: usize, most: usize) -> Result<Windows> {
        Windows::of_tokens((0..tokens).collect(), bos, context, most)
    }

    #[test]
    fn the_second_half_of_each_window_is_scored() {
        let windows = windows(19, Some(99), 8, 9).unwrap();
        assert_eq!((windows.count(), windows.context(), windows.tokens().len()), (2, 8, 16));
        let scored: Vec<_> = windows.scored().map(|scored| (scored.window, scored.token)).collect();
        assert_eq!(scored, [(0, 5), (0, 6), (0, 7), (1, 13), (1, 14), (1, 15)]);
    }

    #[test]
    fn no_more_windows_than_were_asked_for() {
        assert_eq!(windows(100, None, 10, 3).unwrap().count(), 3);
        assert_eq!(windows(10, None, 10, usize::MAX).unwrap().count(), 1);
    }

    #[test]
    fn some_windows_are_spread_over_the_text() {
        let starts =
            |windows: Windows| -> Vec<u32> { windows.tokens().iter().copied().step_by(10).collect() };
        let all = windows(109, None, 10, usize::MAX).unwrap();
        assert_eq!(starts(all.spread(3)), [10, 50, 80]);
        assert_eq!(starts(all.spread(1)), [50]);
        assert_eq!(all.spread(99).tokens(), all.tokens());
    }

    #[test]
    fn a_text_shorter_than_a_window_is_refused() {
        let error = windows(7, None, 8, 1).unwrap_err().to_string();
        assert!(error.contains("7 tokens") && error.contains("at least 8"), "{error}");
    }

    #[test]
    fn perplexity_is_the_exponential_of_the_mean_surprise() {
        let mut perplexity = Perplexity::default();
        assert_eq!(perplexity.value(), None);
        // One of two tokens as likely as the other, then one of four.
        perplexity.push(&[5.0; 2], 1).unwrap();
        perplexity.push(&[-5.0; 4], 3).unwrap();
        let (value, error) = perplexity.value().unwrap();
        assert!((value - 8f64.sqrt()).abs() < 1e-9 && error > 0.0);
        assert!(perplexity.push(&[f32::NAN, 0.0], 1).is_err());
    }
}
