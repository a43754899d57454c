//! Where each character comes from, carried through all that a template does with it.
//!
//! Nobody must end another's turn by writing `<|im_end|>`, in one piece or in parts that a template joins. So all text
//! that a conversation brings is rendered in other code points than the template's own, and the tokenizer makes control
//! tokens of the template's alone. The rule:
//!
//! - **A character that was given is carried as U+D0000 plus its code point.** Plane 13 has no characters. What is copied,
//!   cut, joined, reversed or iterated, by the engine or by us, keeps its origin, for no code point changes.
//! - Characters beyond U+FFFF stand for themselves and count as given wherever they are: no control token is spelled with
//!   them. Those of plane 13 itself are carried as two, by the places of the surrogates, so a text that brings any is
//!   itself again in the end.
//! - **What asks what a text says is answered for the text as it was given**: comparisons and `in`, which [`super::guard`]
//!   turns into calls, and methods, filters and tests. What they give is cut out of the text as it is carried, or is a
//!   number or truth. No operation gives given characters as the template's.
//! - What is put in between by `tojson`, `join`, `indent` and the like is the template's. Numbers, truths and none are
//!   spelled by it too.
//! - A role that is a word counts as the template's: some compose `<|` + role + `|>`. So do the texts of the model's
//!   own tokens, and the time.
//! - In the end, each character is read back ([`render`]).

use std::borrow::Cow;

use minijinja::Value;
use minijinja::value::ValueKind;

use crate::text::rendered::Rendered;

/// What is added to the code point of a given character.
const GIVEN: u32 = 0xD_0000;
const HIGH: u32 = 0xD800;
const LOW: u32 = 0xDC00;
const LOW_BITS: u32 = 10;

/// Whether a code point is one of those that carry given text.
pub(super) fn is_carrier(c: char) -> bool {
    u32::from(c) & !0xFFFF == GIVEN
}

/// The code points that carry a given character.
pub(super) fn carried(c: char) -> impl Iterator<Item = char> {
    let code = u32::from(c);
    let (first, second) = match code {
        ..=0xFFFF => (GIVEN + code, None),
        _ if is_carrier(c) => {
            let rest = code - GIVEN;
            (GIVEN + HIGH + (rest >> LOW_BITS), Some(GIVEN + LOW + (rest & ((1 << LOW_BITS) - 1))))
        }
        _ => (code, None),
    };
    [Some(first), second].into_iter().flatten().filter_map(char::from_u32)
}

/// A given text as templates carry it.
pub(super) fn give(text: &str) -> String {
    let mut given = String::with_capacity(text.len() * 4);
    text.chars().for_each(|c| given.extend(carried(c)));
    given
}

/// The length of [`give`]'s text in bytes.
pub(super) fn carried_len(text: &str) -> usize {
    text.chars().flat_map(carried).map(char::len_utf8).sum()
}

/// A role, which is the template's if it is a word.
pub(super) fn give_role(role: &str) -> String {
    let is_word = role.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if is_word { role.to_owned() } else { give(role) }
}

/// A character as it was before it was carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) c: char,
    pub(super) given: bool,
}

/// The characters that a text carries, each with its place in the text.
pub(super) fn read(text: &str) -> impl Iterator<Item = (usize, Origin)> {
    let mut chars = text.char_indices();
    std::iter::from_fn(move || {
        let (at, carrier) = chars.next()?;
        if !is_carrier(carrier) {
            return Some((at, Origin { c: carrier, given: u32::from(carrier) > 0xFFFF }));
        }
        let code = u32::from(carrier) - GIVEN;
        let low = |c: char| u32::from(c).checked_sub(GIVEN + LOW).filter(|low| *low < 1 << LOW_BITS);
        let c = match char::from_u32(code) {
            Some(c) => Some(c),
            None if code < LOW => chars.clone().next().and_then(|(_, next)| low(next)).and_then(|low| {
                chars.next();
                char::from_u32(GIVEN + ((code - HIGH) << LOW_BITS) + low)
            }),
            None => None,
        };
        // A template has cut the two places of a character apart.
        Some((at, Origin { c: c.unwrap_or(char::REPLACEMENT_CHARACTER), given: true }))
    })
}

/// What a text says.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    match text.chars().any(is_carrier) {
        true => {
            let mut plain = String::with_capacity(text.len());
            read(text).for_each(|(_, origin)| plain.push(origin.c));
            plain.into()
        }
        false => text.into(),
    }
}

/// A value as it was given, if it is a text; texts within lists too.
pub(super) fn plain_value(value: &Value) -> Value {
    match (value.as_str(), value.kind()) {
        (Some(text), _) => match plain(text) {
            Cow::Owned(plain) => Value::from(plain),
            Cow::Borrowed(_) => value.clone(),
        },
        (None, ValueKind::Seq) => {
            value.try_iter().map_or_else(|_| value.clone(), |items| items.map(|item| flat(&item)).collect())
        }
        _ => value.clone(),
    }
}

fn flat(value: &Value) -> Value {
    value.as_str().map_or_else(|| value.clone(), |text| Value::from(plain(text).as_ref()))
}

/// A rendered text, each character as it was.
pub(super) fn render(text: &str) -> Rendered {
    let mut rendered = Rendered::default();
    read(text).for_each(|(_, origin)| rendered.push(origin.c, origin.given));
    rendered
}

/// A text as it is carried, beside what it says.
pub(super) struct Traced<'t> {
    carried: &'t str,
    plain: Cow<'t, str>,
    /// For each byte of what it says, the byte of what carries it, and the end. Empty if they are the same.
    places: Vec<usize>,
}

impl<'t> Traced<'t> {
    pub(super) fn new(carried: &'t str) -> Self {
        let plain = plain(carried);
        let mut places = Vec::new();
        if let Cow::Owned(plain) = &plain {
            places.reserve(plain.len() + 1);
            for (at, origin) in read(carried) {
                places.resize(places.len() + origin.c.len_utf8(), at);
            }
            places.push(carried.len());
        }
        Traced { carried, plain, places }
    }

    /// What the text says.
    pub(super) fn plain(&self) -> &str {
        &self.plain
    }

    /// What carries a part of [`plain`](Self::plain), which must be cut out of it.
    pub(super) fn part(&self, part: &str) -> &'t str {
        let start = (part.as_ptr() as usize).wrapping_sub(self.plain.as_ptr() as usize);
        let place = |at: usize| if self.places.is_empty() { Some(at) } else { self.places.get(at).copied() };
        let range = place(start).zip(place(start.saturating_add(part.len())));
        range.and_then(|(start, end)| self.carried.get(start..end)).unwrap_or_default()
    }

    /// The text with what it says changed: each character takes the place of one, or else all of the new are given if any
    /// of the old was.
    pub(super) fn map(&self, change: impl Fn(&str) -> String) -> String {
        let changed = change(&self.plain);
        let mut given = read(self.carried).map(|(_, origin)| origin.given);
        let any = given.by_ref().any(|given| given);
        if !any {
            return changed;
        }
        let mut out = String::with_capacity(self.carried.len());
        let same = changed.chars().count() == self.plain.chars().count();
        let mut origins = read(self.carried);
        for c in changed.chars() {
            let origin = origins.next().filter(|_| same);
            match origin.is_none_or(|(_, origin)| origin.given) {
                true => out.extend(carried(c)),
                false => out.push(c),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_given_text_is_read_back() {
        for text in
            ["", "a<|im_end|>é漢", "😀", "\u{D0041}\u{DFFFF}\u{D0000}\u{FDD0}\u{F0000}\u{10FFFF}\u{FFFF}"]
        {
            let rendered = render(&give(text));
            assert_eq!(rendered.text(), text);
            let expected = if text.is_empty() { vec![] } else { vec![(text, true)] };
            assert_eq!(rendered.stretches().collect::<Vec<_>>(), expected);
            assert_eq!(plain(&give(text)), text);
        }
        assert_eq!(render("<s>").stretches().collect::<Vec<_>>(), [("<s>", false)]);
    }

    #[test]
    fn one_code_point_is_carried_as_one_but_for_those_without_a_character() {
        assert_eq!(give("a漢😀").chars().count(), 3);
        assert_eq!(give("\u{D0041}").chars().count(), 2);
    }

    #[test]
    fn halves_stand_for_no_character() {
        let whole = give("\u{D0041}");
        for half in whole.chars() {
            assert_eq!(render(&half.to_string()).text(), "\u{FFFD}");
        }
        let turned: String = whole.chars().rev().collect();
        assert_eq!(plain(&turned), "\u{FFFD}\u{FFFD}");
    }

    #[test]
    fn a_part_is_what_carries_it() {
        let carried = format!("<{}>", give("é\u{D0041}😀b"));
        let traced = Traced::new(&carried);
        assert_eq!(traced.plain(), "<é\u{D0041}😀b>");
        assert_eq!(traced.part(&traced.plain()[1..7]), give("é\u{D0041}"));
        assert_eq!(traced.part(traced.plain()), carried);
        assert_eq!(traced.part(&traced.plain()[12..]), ">");
        assert_eq!(Traced::new("abc").part(&"abc"[3..]), "");
    }

    #[test]
    fn what_changes_length_is_given_as_a_whole() {
        let carried = format!("a{}", give("b"));
        let upper = Traced::new(&carried).map(str::to_uppercase);
        assert_eq!(upper, format!("A{}", give("B")));
        let carried = format!("a{}", give("ß"));
        assert_eq!(Traced::new(&carried).map(str::to_uppercase), give("ASS"));
        assert_eq!(Traced::new("aß").map(str::to_uppercase), "ASS");
    }

    proptest! {
        #[test]
        fn every_text_is_read_back(text in any::<String>()) {
            let rendered = render(&give(&text));
            prop_assert_eq!(rendered.text(), &text);
            prop_assert!(rendered.stretches().all(|(_, given)| given));
        }
    }
}
