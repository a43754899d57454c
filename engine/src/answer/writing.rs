use super::channel::{Kind, Piece, Stretches};
use super::stop::StopFilter;
use super::thoughts::Thoughts;
use super::{AnswerLimits, Ending};
use crate::grammar::{Grammar, GrammarStart};
use crate::sequences::{Decoding, End, SessionError};
use crate::text::tokenizer::{Detokenizer, Tokenizer};

/// An answer as it is written: tokens become text, thoughts are told from what is said, up to a stop string or whatever else
/// ends it. Who works out the logits and picks the tokens, a [`Session`](crate::Session) or one of
/// [`Sequences`](crate::Sequences), is no concern of it.
pub(super) struct Writing {
    tokens: Vec<u32>,
    decoding: Decoding,
    detokenizer: Detokenizer,
    /// Whether control tokens are told, by their own text.
    special: bool,
    thoughts: Thoughts,
    /// How many tokens the thoughts took, once they are over.
    thought: Option<usize>,
    filter: StopFilter,
    /// The newest text, of which so many bytes were told.
    pieces: Stretches,
    told: usize,
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
            special: false,
            thoughts: Thoughts::with_capacity(PIECE),
            thought: None,
            filter: StopFilter::default(),
            pieces: Stretches::with_capacity(PIECE),
            told: 0,
            ending: Some(Ending::Complete),
        }
    }

    /// Begins another answer, to a prompt of these tokens.
    pub(super) fn begin(&mut self, tokenizer: &Tokenizer, prompt: &[u32], limits: &AnswerLimits) {
        self.tokens.clear();
        self.decoding = Decoding::new(limits.tokens.unwrap_or(usize::MAX));
        self.detokenizer = Detokenizer::continuing(tokenizer);
        self.thoughts.begin(&end_of(tokenizer, prompt));
        self.thought = if self.thoughts.are_open() { None } else { Some(0) };
        self.filter = StopFilter::new(&limits.stop);
        self.pieces.clear();
        self.told = 0;
        self.ending = None;
    }

    /// Has the answer keep to a grammar from the next token on, or behind its thoughts if it has some: see
    /// [`Answer::set_grammar`](crate::Answer::set_grammar).
    pub(super) fn set_grammar(&mut self, tokenizer: &Tokenizer, prompt: &[u32], grammar: Option<&Grammar>) {
        let constraint = grammar.map(|grammar| {
            let start = if self.thoughts.are_open() {
                GrammarStart::WithinThoughts
            } else if self.tokens.is_empty() && grammar.has_thoughts() {
                GrammarStart::AfterThoughts(Thoughts::openings(tokenizer, &end_of(tokenizer, prompt)))
            } else {
                GrammarStart::Now
            };
            grammar.begin(start)
        });
        self.decoding.constrain(constraint);
    }

    /// Whether the text has control tokens in it, by their own text.
    pub(super) fn show_special(&mut self, special: bool) {
        self.special = special;
    }

    /// Takes up what came of picking a token, which is added to the pieces of text.
    ///
    /// # Errors
    /// One that is no ordinary end of an answer.
    pub(super) fn take_up(
        &mut self,
        tokenizer: &Tokenizer,
        picked: Result<Option<u32>, SessionError>,
    ) -> Result<(), SessionError> {
        // What was told makes room, or a long answer would be there as a whole.
        self.clear_told();
        match picked {
            Ok(Some(token)) => {
                self.push(tokenizer, token);
                return Ok(());
            }
            Ok(None) if self.decoding.end() == Some(End::Limit) => self.ending = Some(Ending::Limit),
            Ok(None) => self.ending = Some(Ending::Complete),
            // The last token that was asked for need not be worked on.
            Err(SessionError::ContextFull { .. }) if self.decoding.is_full() => {
                self.ending = Some(Ending::Limit);
            }
            Err(SessionError::ContextFull { .. }) => self.ending = Some(Ending::ContextFull),
            Err(SessionError::Cancelled) => self.ending = Some(Ending::Cancelled),
            Err(error) => return Err(error),
        }
        let Self { detokenizer, thoughts, filter, pieces, .. } = self;
        thoughts.push(detokenizer.finish(), false, |text, kind| filter.push(text, kind));
        thoughts.finish(|text, kind| filter.push(text, kind));
        filter.release(|text, kind| pieces.push(text, kind));
        filter.finish(|text, kind| pieces.push(text, kind));
        Ok(())
    }

    fn push(&mut self, tokenizer: &Tokenizer, token: u32) {
        let Self {
            tokens, decoding, detokenizer, special, thoughts, thought, filter, pieces, ending, ..
        } = self;
        tokens.push(token);
        let mut tell = |text: &str, kind: Kind| filter.push(text, kind);
        let were_open = thoughts.are_open();
        if tokenizer.is_special(token) {
            // No character goes on behind a control token.
            thoughts.push(detokenizer.finish(), false, &mut tell);
            let text = String::from_utf8_lossy(tokenizer.text(token));
            thoughts.push(&text, !*special, &mut tell);
        } else {
            thoughts.push(detokenizer.push(tokenizer, token), false, &mut tell);
        }
        match (were_open, thoughts.are_open()) {
            (_, true) => *thought = None,
            (true, false) => {
                *thought = Some(tokens.len());
                decoding.wake();
            }
            (false, false) => {}
        }
        filter.release(|text, kind| pieces.push(text, kind));
        if filter.stopped() {
            *ending = Some(Ending::Complete);
        }
    }

    /// Ends the answer where it is, without the text that is held back.
    pub(super) fn end(&mut self, ending: Ending) {
        self.ending = Some(ending);
    }

    /// Where the picking of tokens stands.
    pub(super) fn decoding(&mut self) -> &mut Decoding {
        &mut self.decoding
    }

    /// The next of what was added and not told.
    pub(super) fn next_piece(&mut self) -> Option<Piece<'_>> {
        self.clear_told();
        let (text, kind) = self.pieces.iter_from(self.told).next()?;
        self.told += text.len();
        Some(Piece { channel: kind.channel, text })
    }

    fn clear_told(&mut self) {
        if !self.has_piece() {
            self.pieces.clear();
            self.told = 0;
        }
    }

    /// Whether something was added and not told.
    pub(super) fn has_piece(&self) -> bool {
        self.told < self.pieces.text().len()
    }

    pub(super) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// How many of the tokens are thoughts, with their marks.
    pub(super) fn thought(&self) -> usize {
        self.thought.unwrap_or(self.tokens.len())
    }

    /// The stop string that ended the answer.
    pub(super) fn stop(&self) -> Option<&str> {
        self.filter.found()
    }

    /// Why the answer is over; None as long as it is not.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.ending
    }
}

/// The text of a prompt's last tokens, control tokens by their own text.
fn end_of(tokenizer: &Tokenizer, prompt: &[u32]) -> String {
    let text = |&token: &u32| {
        if tokenizer.is_special(token) { tokenizer.text(token) } else { tokenizer.piece(token) }
    };
    let mut length = 0;
    let first = prompt.iter().rposition(|token| {
        length += text(token).len();
        length >= Thoughts::TAIL
    });
    let last = prompt.get(first.unwrap_or(0)..).unwrap_or_default();
    String::from_utf8_lossy(&last.iter().flat_map(text).copied().collect::<Vec<u8>>()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::Channel;
    use super::*;
    use crate::gguf::Gguf;
    use crate::text::tokenizer::Special;

    fn tokenizer() -> Tokenizer {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/tokenizer/demo.gguf");
        Tokenizer::from_gguf(&Gguf::open(&path).unwrap()).unwrap()
    }

    fn tokens(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
        let mut tokens = Vec::new();
        tokenizer.encode(text.as_bytes(), Special::Parse, &mut tokens);
        tokens
    }

    /// What is told of an answer of these tokens, and how many of them are thoughts.
    fn told(prompt: &str, answer: &str, stop: &str, special: bool) -> (String, String, usize) {
        let tokenizer = tokenizer();
        let mut writing = Writing::over(&tokenizer, 100);
        let limits = AnswerLimits { tokens: None, stop: vec![stop.to_owned()] };
        writing.begin(&tokenizer, &tokens(&tokenizer, prompt), &limits);
        writing.show_special(special);
        let (mut text, mut thoughts) = (String::new(), String::new());
        let picked = tokens(&tokenizer, answer).into_iter().map(|token| Ok(Some(token)));
        for picked in picked.chain([Err(SessionError::Cancelled)]) {
            writing.take_up(&tokenizer, picked).unwrap();
            while let Some(piece) = writing.next_piece() {
                match piece.channel {
                    Channel::Text => text.push_str(piece.text),
                    Channel::Thoughts => thoughts.push_str(piece.text),
                    Channel::Mark => {}
                }
            }
            if writing.ending().is_some() {
                break;
            }
        }
        (text, thoughts, writing.thought())
    }

    #[test]
    fn control_tokens_are_told_to_who_asks_and_end_an_answer_that_stops_before_them() {
        let answer = "a <|im_start|>b";
        let told = |stop, special| told("", answer, stop, special).0;
        assert_eq!(told("", false), "a b");
        assert_eq!(told("", true), answer);
        for special in [false, true] {
            assert_eq!(told("<|im_start|>", special), "a ");
            assert_eq!(told("a <|im_st", special), "");
        }
        assert_eq!(told("a b", false), "");
        assert_eq!(told("a b", true), answer);
    }

    #[test]
    fn thoughts_are_counted_to_the_token_that_ends_them() {
        let count = |text| tokens(&tokenizer(), text).len();
        let whole = "<think>Hm.</think>";
        assert_eq!(told("", "<think>Hm.</think>Yes", "", false), ("Yes".into(), "Hm.".into(), count(whole)));
        assert_eq!(told("", "Yes", "", false), ("Yes".into(), String::new(), 0));
        let opened = told("<|im_start|>assistant\n<think>\n", "Hm.</think>Yes", "", false);
        assert_eq!(opened, ("Yes".into(), "Hm.".into(), count("Hm.</think>")));
        let endless = told("", "<think>Hm", "", false);
        assert_eq!(endless, (String::new(), "Hm".into(), count("<think>Hm")));
        assert_eq!(told("", "<think>Hm. Stop", "Stop", false).1, "Hm. ");
        let apart = told("", "<think>Hm.</think>Yes. Stop", "Stop", false);
        assert_eq!((apart.0.as_str(), apart.1.as_str()), ("Yes. ", "Hm."));
    }

    #[test]
    fn characters_in_parts_are_whole_or_replaced() {
        let tokenizer = tokenizer();
        let bytes = tokens(&tokenizer, "\u{1F600}");
        assert!(bytes.len() > 1);
        for (stop, expected) in [("", "\u{1F600}\u{FFFD}"), ("\u{1F600}", "")] {
            let mut writing = Writing::over(&tokenizer, 100);
            writing.begin(&tokenizer, &[], &AnswerLimits { tokens: None, stop: vec![stop.to_owned()] });
            let picked = bytes.iter().chain(&bytes[..1]).map(|&token| Ok(Some(token)));
            let mut text = String::new();
            for picked in picked.chain([Err(SessionError::Cancelled)]) {
                if writing.ending().is_none() {
                    writing.take_up(&tokenizer, picked).unwrap();
                }
                while let Some(piece) = writing.next_piece() {
                    text.push_str(piece.text);
                }
            }
            assert_eq!(text, expected);
        }
    }
}
