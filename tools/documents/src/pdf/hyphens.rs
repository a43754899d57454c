//! Hyphens at the ends of lines: those that only divide a word for its line go, those of a compound stay.
//!
//! The page does not tell them apart, so the rest of the document does. Both forms of the word are looked for where no
//! line ends in it: `lunch-boxes` and `lunchboxes`, in upper or lower case, also with up to two letters more or fewer at the
//! end (`lunch-box`). The hyphen stays where the hyphenated form is found more often than the joined one. It also stays
//! where the word has another hyphen before it (`state-of-the-` `art`). All other hyphens go: in a text that nothing more is
//! known of, most of them were put there to fill lines.

use std::collections::BTreeMap;

/// Letters at the end that two forms of one word may differ by.
const ENDING: usize = 2;

/// The text without those of its `hyphens`, places in bytes in order, that only divide words.
pub(super) fn join(text: &str, hyphens: &[usize]) -> String {
    if hyphens.is_empty() {
        return text.to_owned();
    }
    let words = Words::of(text, hyphens);
    let mut joined = String::with_capacity(text.len());
    let mut begun = 0;
    for &hyphen in hyphens {
        let (Some(before), Some(after)) = (text.get(..hyphen), text.get(hyphen + 1..)) else { continue };
        joined.push_str(text.get(begun..hyphen).unwrap_or_default());
        begun = hyphen + 1;
        if words.keep(before, after) {
            joined.push('-');
        }
    }
    joined.push_str(text.get(begun..).unwrap_or_default());
    joined
}

/// How often each word is in a text, in lower case; those in which a line ends are left out.
struct Words(BTreeMap<String, usize>);

impl Words {
    fn of(text: &str, hyphens: &[usize]) -> Words {
        let mut words = BTreeMap::new();
        let mut hyphens = hyphens.iter().copied().peekable();
        let mut start = 0;
        for part in text.split_inclusive(|c| !is_part(c)) {
            let end = start + part.len();
            let divided = hyphens.peek().is_some_and(|&hyphen| hyphen < end);
            while hyphens.next_if(|&hyphen| hyphen < end).is_some() {}
            let word = part.trim_matches(|c: char| !c.is_alphanumeric());
            if !divided && !word.is_empty() {
                *words.entry(word.to_lowercase()).or_insert(0) += 1;
            }
            start = end;
        }
        Words(words)
    }

    /// Whether the hyphen between two texts is part of the word around it.
    fn keep(&self, before: &str, after: &str) -> bool {
        let head = before.rsplit(|c| !is_part(c)).next().unwrap_or_default().to_lowercase();
        let tail = after.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_lowercase();
        let head = head.trim_start_matches('-');
        head.contains('-') || self.count(&format!("{head}-{tail}")) > self.count(&format!("{head}{tail}"))
    }

    /// How often a word is there, in all forms.
    fn count(&self, word: &str) -> usize {
        let letters = word.chars().count();
        // What has fewer letters must still have most of the word.
        let mut stem = word.len();
        for (at, character) in word.char_indices().rev().take(ENDING) {
            if character.is_alphanumeric() && !word.get(..at).is_some_and(|rest| rest.ends_with('-')) {
                stem = at;
            }
        }
        let stem = word.get(..stem).unwrap_or(word);
        let alike = |found: &str| {
            let common = found.chars().zip(word.chars()).take_while(|(a, b)| a == b).count();
            common + ENDING >= letters && found.chars().count() <= common + ENDING
        };
        let from = self.0.range(stem.to_owned()..).take_while(|(found, _)| found.starts_with(stem));
        from.filter(|(found, _)| alike(found)).map(|(_, count)| count).sum()
    }
}

fn is_part(character: char) -> bool {
    character.is_alphanumeric() || character == '-'
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bar stands where a line ended behind a hyphen.
    fn joined(text: &str) -> String {
        let hyphens: Vec<usize> =
            text.match_indices('|').enumerate().map(|(n, (at, _))| at - n - 1).collect();
        join(&text.replace('|', ""), &hyphens)
    }

    #[test]
    fn the_document_decides() {
        assert_eq!(joined("an ex-|ample"), "an example");
        assert_eq!(joined("ein Bei-|spiel, Bei-|spiele"), "ein Beispiel, Beispiele");
        assert_eq!(joined("lunch-|boxes. Lunch-boxes!"), "lunch-boxes. Lunch-boxes!");
        assert_eq!(
            joined("well-|known, well-known, wellknown, wellknown"),
            "wellknown, well-known, wellknown, wellknown"
        );
        assert_eq!(joined("a state-of-the-|art one"), "a state-of-the-art one");
        assert_eq!(joined("in-|form, in-fo"), "in-form, in-fo", "two letters fewer");
        assert_eq!(joined("in-|form, in-f"), "inform, in-f", "three fewer");
        assert_eq!(joined("über-|all überall"), "überall überall");
    }
}
