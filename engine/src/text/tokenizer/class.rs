//! The classes of characters that pre-tokenizers tell apart.

use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// What a pre-tokenizer sees of a character: its Unicode general category, with white space taken out first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// `\p{L}`
    Letter,
    /// `\p{M}`
    Mark,
    /// `\p{N}`
    Number,
    /// `\p{P}`
    Punctuation,
    /// `\p{S}`
    Symbol,
    /// `[\r\n]`
    Newline,
    /// `\s` without `\r` and `\n`
    Space,
    /// All else: controls, format characters, unassigned code points, and bytes that are not UTF-8.
    Other,
}

impl Class {
    /// `\s`
    pub(super) fn is_white(self) -> bool {
        matches!(self, Class::Space | Class::Newline)
    }

    /// `[^\s\p{L}\p{N}]`
    pub(super) fn is_sign(self) -> bool {
        !matches!(self, Class::Letter | Class::Number | Class::Space | Class::Newline)
    }
}

const ASCII: [Class; 128] = {
    let mut classes = [Class::Other; 128];
    let mut code = 0;
    while code < 128 {
        classes[code] = match code as u8 {
            b'a'..=b'z' | b'A'..=b'Z' => Class::Letter,
            b'0'..=b'9' => Class::Number,
            b'\r' | b'\n' => Class::Newline,
            b' ' | b'\t' | 0x0B | 0x0C => Class::Space,
            b'$' | b'+' | b'<'..=b'>' | b'^' | b'`' | b'|' | b'~' => Class::Symbol,
            b'!'..=b'~' => Class::Punctuation,
            _ => Class::Other,
        };
        code += 1;
    }
    classes
};

/// The class of a character. ASCII and the two largest blocks of letters need no search of the Unicode tables.
fn of(character: char) -> Class {
    match character {
        '\0'..='\x7F' => ASCII[character as usize],
        '\u{4E00}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7A3}' => Class::Letter,
        _ if character.is_whitespace() => Class::Space,
        _ => match character.general_category_group() {
            GeneralCategoryGroup::Letter => Class::Letter,
            GeneralCategoryGroup::Mark => Class::Mark,
            GeneralCategoryGroup::Number => Class::Number,
            GeneralCategoryGroup::Punctuation => Class::Punctuation,
            GeneralCategoryGroup::Symbol => Class::Symbol,
            _ => Class::Other,
        },
    }
}

/// The class and the bytes of the character that starts at `at`; `None` at the end of the text.
///
/// A byte that starts no whole UTF-8 character is a character of its own, so that no input is refused or lost.
pub(super) fn class_at(text: &[u8], at: usize) -> Option<(Class, usize)> {
    let &first = text.get(at)?;
    if first.is_ascii() {
        return Some((ASCII[first as usize], 1));
    }
    Some(match char_at(text, at) {
        Some(character) => (of(character), character.len_utf8()),
        None => (Class::Other, 1),
    })
}

/// The case of a letter or mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// `[\p{Lu}\p{Lt}]`
    Upper,
    /// `\p{Ll}`
    Lower,
    /// `[\p{Lm}\p{Lo}\p{M}]`, which stand among either.
    Either,
}

/// The case and the bytes of the letter or mark that starts at `at`; `None` where none does.
pub(super) fn case_at(text: &[u8], at: usize) -> Option<(Case, usize)> {
    let character = char_at(text, at)?;
    let case = match character {
        'A'..='Z' => Case::Upper,
        'a'..='z' => Case::Lower,
        _ if matches!(of(character), Class::Letter | Class::Mark) => match character.general_category() {
            GeneralCategory::UppercaseLetter | GeneralCategory::TitlecaseLetter => Case::Upper,
            GeneralCategory::LowercaseLetter => Case::Lower,
            _ => Case::Either,
        },
        _ => return None,
    };
    Some((case, character.len_utf8()))
}

/// The bytes of the character that starts at `at`; `None` at the end of the text.
pub(super) fn char_len_at(text: &[u8], at: usize) -> Option<usize> {
    let &first = text.get(at)?;
    Some(if first.is_ascii() { 1 } else { char_at(text, at).map_or(1, char::len_utf8) })
}

/// The character that starts at `at`, if the bytes there are UTF-8.
fn char_at(text: &[u8], at: usize) -> Option<char> {
    let bytes = text.get(at..at + char_len(*text.get(at)?))?;
    std::str::from_utf8(bytes).ok()?.chars().next()
}

/// The bytes of a character by its first byte; 1 for a byte that starts none.
fn char_len(first: u8) -> usize {
    match first {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_cuts_agree_with_the_tables() {
        for code in 0..=0x10_FFFF {
            let Some(character) = char::from_u32(code) else { continue };
            let expected = match character.general_category_group() {
                _ if matches!(character, '\r' | '\n') => Class::Newline,
                _ if character.is_whitespace() => Class::Space,
                GeneralCategoryGroup::Letter => Class::Letter,
                GeneralCategoryGroup::Mark => Class::Mark,
                GeneralCategoryGroup::Number => Class::Number,
                GeneralCategoryGroup::Punctuation => Class::Punctuation,
                GeneralCategoryGroup::Symbol => Class::Symbol,
                GeneralCategoryGroup::Separator | GeneralCategoryGroup::Other => Class::Other,
            };
            let utf8 = character.to_string();
            assert_eq!(class_at(utf8.as_bytes(), 0), Some((expected, utf8.len())), "U+{code:04X}");
        }
    }

    #[test]
    fn a_byte_that_is_not_utf8_is_a_character_of_its_own() {
        for text in
            [b"\x80".as_slice(), b"\xFF", b"\xC3", b"\xE6\xBC", b"\xE6\xBCa", b"\xED\xA0\x80", b"\xC0\x80"]
        {
            assert_eq!(class_at(text, 0), Some((Class::Other, 1)), "{text:X?}");
        }
        assert_eq!(class_at(b"", 0), None);
    }
}
