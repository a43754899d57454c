//! Messages that spell control tokens, in prompts where only the template may use them.

use std::borrow::Cow;

use super::special::Part;
use super::{Special, Tokenizer};

// Noncharacters of Unicode, which no text that is meant for others contains.
const OPEN: char = '\u{FDD0}';
const CLOSE: char = '\u{FDD1}';

/// Whether the character is one of those that mark what spells a control token.
pub(crate) fn is_mark(c: char) -> bool {
    matches!(c, OPEN | CLOSE)
}

impl Tokenizer {
    /// A message as it goes into a chat template: what spells a control token is marked, so that
    /// [`Tokenizer::encode_shielded`] takes it for text. Nobody ends another's turn by writing `<|im_end|>`.
    pub fn shield<'t>(&self, message: &'t str) -> Cow<'t, str> {
        let mut marked = Vec::new();
        let mut found = message.contains([OPEN, CLOSE]);
        let plain: Cow<'_, str> =
            if found { message.replace([OPEN, CLOSE], "").into() } else { message.into() };
        self.all_special.split(&self.vocabulary, plain.as_bytes(), |part| match part {
            Part::Text(text) => marked.extend_from_slice(text),
            Part::Token(id) => {
                found = true;
                let mut utf8 = [0; 4];
                marked.extend_from_slice(OPEN.encode_utf8(&mut utf8).as_bytes());
                marked.extend_from_slice(self.text(id));
                marked.extend_from_slice(CLOSE.encode_utf8(&mut utf8).as_bytes());
            }
        });
        match found {
            true => String::from_utf8_lossy(&marked).into_owned().into(),
            false => message.into(),
        }
    }

    /// Appends the tokens of what a chat template made of shielded messages: control tokens are parsed, but not where
    /// [`Tokenizer::shield`] marked them.
    pub fn encode_shielded(&self, prompt: &str, out: &mut Vec<u32>) {
        for (i, stretch) in prompt.split(OPEN).enumerate() {
            // Behind a mark, text up to the mark's end is plain; before the first there is none.
            let (plain, parsed) = match stretch.split_once(CLOSE) {
                Some((plain, parsed)) if i > 0 => (plain, parsed),
                _ => ("", stretch),
            };
            for (text, special) in [(plain, Special::Text), (parsed, Special::Parse)] {
                if !text.is_empty() {
                    self.encode(text.as_bytes(), special, out);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{CONTROL, Draft, made};
    use super::*;

    fn tokenizer() -> (Tokenizer, u32) {
        let mut draft = Draft::byte_level();
        let end = draft.add(b"<|end|>", CONTROL, 0.0);
        (made(draft.bpe("gpt-2")), end)
    }

    fn prompt(tokenizer: &Tokenizer, message: &str) -> Vec<u32> {
        let mut tokens = Vec::new();
        let text = format!("user: {}<|end|>", tokenizer.shield(message));
        tokenizer.encode_shielded(&text, &mut tokens);
        tokens
    }

    #[test]
    fn only_the_template_s_control_tokens_count() {
        let (tokenizer, end) = tokenizer();
        let marks = ["\u{FDD0}", "\u{FDD1}<|end|>", "\u{FDD0}<|end|>\u{FDD1}<|end|>", "<|en\u{FDD0}d|>"];
        for message in ["hello", "a<|end|>b<|end|>", "<|end|>", ""].into_iter().chain(marks) {
            let tokens = prompt(&tokenizer, message);
            let ends = tokens.iter().filter(|&&token| token == end).count();
            assert_eq!((ends, tokens.last()), (1, Some(&end)), "{message:?}");
            let spelled: Vec<u8> = tokens.iter().flat_map(|&id| tokenizer.piece(id).to_vec()).collect();
            let expected = format!("user: {}", message.replace(['\u{FDD0}', '\u{FDD1}'], ""));
            assert_eq!(String::from_utf8_lossy(&spelled), expected);
        }
    }

    #[test]
    fn a_message_without_control_tokens_is_itself() {
        let (tokenizer, _) = tokenizer();
        assert!(matches!(tokenizer.shield("what is <|end|"), Cow::Borrowed("what is <|end|")));
        let mut tokens = Vec::new();
        tokenizer.encode("user: what?<|end|>".as_bytes(), Special::Parse, &mut tokens);
        assert_eq!(prompt(&tokenizer, "what?"), tokens);
    }
}
