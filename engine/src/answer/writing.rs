use super::stop::StopFilter;
use super::{AnswerLimits, Ending};
use crate::sequences::{Decoding, End, SessionError};
use crate::text::tokenizer::{Detokenizer, Tokenizer};

/// An answer as it is written: tokens become text, up to a stop string or whatever else ends it. Who works out the logits
/// and picks the tokens, a [`Session`](crate::Session) or one of [`Sequences`](crate::Sequences), is no concern of it.
pub(super) struct Writing {
    tokens: Vec<u32>,
    decoding: Decoding,
    detokenizer: Detokenizer,
    filter: StopFilter,
    /// The newest text.
    piece: String,
    ending: Option<Ending>,
}

/// Bytes that hold any piece that is not made of stop strings that came to nothing.
const PIECE: usize = 1024;

impl Writing {
    /// No answer yet, and room for those of a context of so many tokens.
    pub(super) fn over(tokenizer: &Tokenizer, context: usize) -> Self {
        Self {
            tokens: Vec::with_capacity(context),
            decoding: Decoding::new(0),
            detokenizer: Detokenizer::continuing(tokenizer),
            filter: StopFilter::default(),
            piece: String::with_capacity(PIECE),
            ending: Some(Ending::Complete),
        }
    }

    /// Begins another answer.
    pub(super) fn begin(&mut self, tokenizer: &Tokenizer, limits: &AnswerLimits) {
        self.tokens.clear();
        self.decoding = Decoding::new(limits.tokens.unwrap_or(usize::MAX));
        self.detokenizer = Detokenizer::continuing(tokenizer);
        self.filter = StopFilter::new(&limits.stop);
        self.piece.clear();
        self.ending = None;
    }

    /// Takes up what came of picking a token, which is added to the piece of text.
    ///
    /// # Errors
    /// One that is no ordinary end of an answer.
    pub(super) fn take_up(
        &mut self,
        tokenizer: &Tokenizer,
        picked: Result<Option<u32>, SessionError>,
    ) -> Result<(), SessionError> {
        let Self { tokens, decoding, detokenizer, filter, piece, ending, .. } = self;
        match picked {
            Ok(Some(token)) => {
                tokens.push(token);
                piece.push_str(filter.push(detokenizer.push(tokenizer, token)));
                if filter.stopped() {
                    *ending = Some(Ending::Complete);
                }
                return Ok(());
            }
            Ok(None) if decoding.end() == Some(End::Limit) => *ending = Some(Ending::Limit),
            Ok(None) => *ending = Some(Ending::Complete),
            // The last token that was asked for need not be worked on.
            Err(SessionError::ContextFull { .. }) if decoding.is_full() => *ending = Some(Ending::Limit),
            Err(SessionError::ContextFull { .. }) => *ending = Some(Ending::ContextFull),
            Err(SessionError::Cancelled) => *ending = Some(Ending::Cancelled),
            Err(error) => return Err(error),
        }
        piece.push_str(filter.push(detokenizer.finish()));
        piece.push_str(filter.finish());
        Ok(())
    }

    /// Ends the answer where it is, without the text that is held back.
    pub(super) fn end(&mut self, ending: Ending) {
        self.ending = Some(ending);
    }

    /// Where the picking of tokens stands.
    pub(super) fn decoding(&mut self) -> &mut Decoding {
        &mut self.decoding
    }

    /// What was added since the piece was cleared last.
    pub(super) fn piece(&self) -> &str {
        &self.piece
    }

    pub(super) fn clear_piece(&mut self) {
        self.piece.clear();
    }

    pub(super) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Why the answer is over; None as long as it is not.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.ending
    }
}
