//! Thoughts: what a model writes between marks before it answers.

use super::channel::{Channel, Kind, Stretches};
use crate::text::tokenizer::{Special, Tokenizer};

/// How thoughts begin and end.
const MARKS: [Marks; 3] = [
    Marks { open: "<think>", close: "</think>" },
    Marks { open: "[THINK]", close: "[/THINK]" },
    Marks { open: "<|channel>thought", close: "<channel|>" },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Marks {
    open: &'static str,
    close: &'static str,
}

/// Where an answer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing but white space has come.
    Start,
    Within(Marks),
    /// Behind the closing mark, where nothing but white space has come.
    Behind,
    /// Text, to the end.
    Text,
}

/// Tells thoughts from what is said, as both come. A model thinks once, before it says anything; marks that come later are
/// text. The prompt may have opened the thoughts already.
///
/// What may be the beginning of a mark is held back until the next text decides. How the text is cut makes no difference.
#[derive(Debug)]
pub(super) struct Thoughts {
    stage: Stage,
    pending: Stretches,
}

impl Thoughts {
    /// The most text of a prompt's end, in bytes, that [`Thoughts::begin`] looks at.
    pub(super) const TAIL: usize = 64;

    pub(super) fn with_capacity(bytes: usize) -> Self {
        Thoughts { stage: Stage::Text, pending: Stretches::with_capacity(bytes) }
    }

    /// Begins an answer to a prompt with this end.
    pub(super) fn begin(&mut self, prompt: &str) {
        let prompt = prompt.trim_end();
        let opened = MARKS.into_iter().find(|marks| prompt.ends_with(marks.open));
        self.stage = opened.map_or(Stage::Start, Stage::Within);
        self.pending.clear();
    }

    /// The tokens of each mark that may open thoughts in an answer to a prompt with this end: those that begin with a token
    /// that stands for nothing else. None where the prompt has closed them already.
    pub(super) fn openings(tokenizer: &Tokenizer, prompt: &str) -> Vec<Vec<u32>> {
        let prompt = prompt.trim_end();
        if MARKS.iter().any(|marks| prompt.ends_with(marks.close)) {
            return Vec::new();
        }
        let encoded = MARKS.iter().map(|marks| {
            let mut tokens = Vec::new();
            tokenizer.encode_continuing(marks.open.as_bytes(), Special::Parse, &mut tokens);
            (marks, tokens)
        });
        let is_of_its_own = |(marks, tokens): &(&Marks, Vec<u32>)| {
            tokens.first().is_some_and(|&first| {
                tokenizer.is_special(first) || tokenizer.piece(first) == marks.open.as_bytes()
            })
        };
        encoded.filter(is_of_its_own).map(|(_, tokens)| tokens).collect()
    }

    /// Whether thoughts have begun and not ended.
    pub(super) fn are_open(&self) -> bool {
        matches!(self.stage, Stage::Within(_))
    }

    /// Takes the next text, and hands on what is certain.
    pub(super) fn push(&mut self, text: &str, hidden: bool, mut each: impl FnMut(&str, Kind)) {
        if self.stage == Stage::Text {
            return each(text, Kind { channel: Channel::Text, hidden });
        }
        self.pending.push(text, Kind { channel: Channel::Text, hidden });
        while self.advance(&mut each) {}
    }

    /// Hands on what was held back, as no more text comes.
    pub(super) fn finish(&mut self, each: impl FnMut(&str, Kind)) {
        let channel = match self.stage {
            Stage::Within(_) => Channel::Thoughts,
            Stage::Behind => Channel::Mark,
            Stage::Start | Stage::Text => Channel::Text,
        };
        self.hand_on(usize::MAX, channel, each);
    }

    /// Goes on to the next stage, if it is certain where that begins.
    fn advance(&mut self, each: &mut impl FnMut(&str, Kind)) -> bool {
        let text = self.pending.text();
        let said = text.trim_start();
        let space = text.len() - said.len();
        match self.stage {
            Stage::Start => {
                if let Some(marks) = MARKS.into_iter().find(|marks| said.starts_with(marks.open)) {
                    self.stage = Stage::Within(marks);
                    self.hand_on(space + marks.open.len(), Channel::Mark, each);
                    return true;
                }
                if MARKS.iter().any(|marks| marks.open.starts_with(said)) {
                    return false;
                }
                self.stage = Stage::Text;
                self.hand_on(usize::MAX, Channel::Text, each);
                false
            }
            Stage::Within(Marks { close, .. }) => {
                if let Some(at) = text.find(close) {
                    self.stage = Stage::Behind;
                    self.hand_on(at, Channel::Thoughts, &mut *each);
                    self.hand_on(close.len(), Channel::Mark, each);
                    return true;
                }
                let begun = (1..close.len()).rev().find(|&len| text.ends_with(&close[..len]));
                let certain = text.len() - begun.unwrap_or(0);
                self.hand_on(certain, Channel::Thoughts, each);
                false
            }
            Stage::Behind => {
                let over = !said.is_empty();
                self.hand_on(space, Channel::Mark, &mut *each);
                if over {
                    self.stage = Stage::Text;
                    self.hand_on(usize::MAX, Channel::Text, each);
                }
                false
            }
            Stage::Text => false,
        }
    }

    fn hand_on(&mut self, len: usize, channel: Channel, mut each: impl FnMut(&str, Kind)) {
        self.pending.take(len, |text, kind| each(text, Kind { channel, ..kind }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The thoughts, the marks and the text of an answer in these pieces.
    fn told(prompt: &str, pieces: &[&str]) -> [String; 3] {
        let mut thoughts = Thoughts::with_capacity(0);
        thoughts.begin(prompt);
        let mut told = [const { String::new() }; 3];
        let mut tell = |text: &str, kind: Kind| {
            told[[Channel::Thoughts, Channel::Mark, Channel::Text]
                .iter()
                .position(|channel| *channel == kind.channel)
                .unwrap()]
            .push_str(text);
        };
        pieces.iter().for_each(|piece| thoughts.push(piece, false, &mut tell));
        thoughts.finish(&mut tell);
        told
    }

    #[test]
    fn thoughts_are_told_from_text() {
        for (prompt, answer, expected) in [
            ("", "4", ["", "", "4"]),
            ("", " \n4", ["", "", " \n4"]),
            ("", "<think>\nEasy.\n</think>\n\n4", ["\nEasy.\n", "<think></think>\n\n", "4"]),
            ("", "\n<think></think> 4", ["", "\n<think></think> ", "4"]),
            ("", "<thinking>", ["", "", "<thinking>"]),
            ("", "<thi", ["", "", "<thi"]),
            ("", "4 <think>x</think>", ["", "", "4 <think>x</think>"]),
            ("", "<think>a</think>b</think>", ["a", "<think></think>", "b</think>"]),
            ("", "<think>never ends </thin", ["never ends </thin", "<think>", ""]),
            ("", "<think>a</think>\n", ["a", "<think></think>\n", ""]),
            ("assistant\n<think>\n", "Hm.</think>4", ["Hm.", "</think>", "4"]),
            ("assistant\n<think>\n\n</think>\n\n", "4", ["", "", "4"]),
            ("", "[THINK]a</think>[/THINK]b", ["a</think>", "[THINK][/THINK]", "b"]),
        ] {
            assert_eq!(told(prompt, &[answer]), expected, "{prompt} {answer}");
            let letters: Vec<String> = answer.chars().map(String::from).collect();
            let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
            assert_eq!(told(prompt, &letters), expected, "{prompt} {answer}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_pieces_make_no_difference(
            parts in prop::collection::vec("(<think>|</think>|<th|</|ink>| |\n|é|a|\\[THINK\\]){0,4}", 0..6),
            opened in any::<bool>(),
        ) {
            let prompt = if opened { "<think>" } else { "" };
            let pieces: Vec<&str> = parts.iter().map(String::as_str).collect();
            let whole = parts.concat();
            let found = told(prompt, &pieces);
            prop_assert_eq!(found.iter().map(String::len).sum::<usize>(), whole.len());
            prop_assert_eq!(found, told(prompt, &[&whole]));
        }
    }
}
