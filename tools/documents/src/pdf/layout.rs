use super::{columns, hyphens};

/// Says where a word may be divided, and is seen only where it is.
const SOFT_HYPHEN: char = '\u{ad}';

/// Where a character is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// Its place on the page; y grows upwards.
    pub origin: (f64, f64),
    /// The direction of writing, as long as the font is large.
    pub along: (f64, f64),
    /// How far the next one is, in that direction and by that length.
    pub advance: f64,
}

/// Makes text of characters by where they are drawn: gaps between them become spaces, new lines or paragraphs.
#[derive(Debug, Default)]
pub struct Layout {
    /// What is drawn on the page so far.
    page: Vec<(String, Mark)>,
    text: String,
    last: Option<Mark>,
    /// Whether the last character was a soft hyphen, which only shows at the end of a line.
    soft: bool,
    /// Where in the text a line ended with a hyphen.
    hyphens: Vec<usize>,
}

/// Distances, in sizes of the font.
pub(super) mod distance {
    /// The least gap between two words. Kerning is less, and the space of most fonts is a quarter.
    pub(crate) const WORD: f64 = 0.15;
    /// What is farther below, or above, is on another line. Superscripts are not.
    pub(crate) const LINE: f64 = 0.5;
    /// Lines of a paragraph are nearer to each other.
    pub(crate) const PARAGRAPH: f64 = 1.8;
    /// How far back in its line a character may stand and still follow.
    pub(crate) const BACK: f64 = 1.0;
}

impl Layout {
    /// Adds a character, or what it stands for, in the order in which it is drawn.
    pub fn push(&mut self, text: &str, mark: Mark) {
        self.page.push((text.to_owned(), mark));
    }

    /// Ends a page.
    pub fn end_page(&mut self) {
        let mut page = std::mem::take(&mut self.page);
        columns::put_in_order(&mut page);
        for (text, mark) in &page {
            self.place(text, *mark);
        }
        self.soft = false;
        self.separate("\n\n");
        self.last = None;
    }

    /// The text of all pages that have ended.
    pub fn finish(self) -> String {
        hyphens::join(&self.text, &self.hyphens)
    }

    fn place(&mut self, text: &str, mark: Mark) {
        match self.last.map_or(Gap::None, |last| gap(last, mark)) {
            Gap::None => {}
            Gap::Word => self.separate(" "),
            Gap::Line if self.soft => {}
            Gap::Line => self.end_line(text),
            Gap::Paragraph => self.separate("\n\n"),
        }
        self.soft = text.ends_with(SOFT_HYPHEN);
        for character in text.chars() {
            match ligature(character) {
                Some(letters) => self.text.push_str(letters),
                None if character.is_whitespace() => self.separate(" "),
                None if character == SOFT_HYPHEN => {}
                // Such as NUL, for a glyph of which the file does not say what it stands for.
                None if character.is_control() => self.text.push(char::REPLACEMENT_CHARACTER),
                None => self.text.push(character),
            }
        }
        self.last = Some(mark);
    }

    /// Ends a line before `next`. Whether a hyphen there divides a word shows when all is read.
    fn end_line(&mut self, next: &str) {
        let mut end = self.text.chars().rev();
        let divided = end.next() == Some('-') && end.next().is_some_and(char::is_alphabetic);
        if divided && next.starts_with(char::is_lowercase) {
            self.hyphens.push(self.text.len() - 1);
        } else {
            self.separate("\n");
        }
    }

    /// Puts white space at the end, in place of weaker white space that is there.
    fn separate(&mut self, space: &str) {
        let words = self.text.trim_end().len();
        let found = self.text.split_off(words);
        if words > 0 {
            let breaks = |text: &str| text.matches('\n').count();
            let stronger = if !found.is_empty() && breaks(&found) >= breaks(space) { &found } else { space };
            self.text.push_str(stronger);
        }
    }
}

enum Gap {
    None,
    Word,
    Line,
    Paragraph,
}

/// What is between two characters.
fn gap(last: Mark, next: Mark) -> Gap {
    let size = last.along.0.hypot(last.along.1);
    let (x, y) = (last.along.0 / size, last.along.1 / size);
    let end = (last.origin.0 + last.along.0 * last.advance, last.origin.1 + last.along.1 * last.advance);
    let (dx, dy) = ((next.origin.0 - end.0) / size, (next.origin.1 - end.1) / size);
    let (along, below) = (dx * x + dy * y, dx * y - dy * x);
    if !along.is_finite() || !below.is_finite() {
        Gap::Word
    } else if below.abs() > distance::LINE {
        if below > distance::PARAGRAPH { Gap::Paragraph } else { Gap::Line }
    } else if along < -distance::BACK {
        Gap::Line
    } else if along > distance::WORD {
        Gap::Word
    } else {
        Gap::None
    }
}

/// The letters of a ligature that has a code of its own.
fn ligature(character: char) -> Option<&'static str> {
    Some(match character {
        'ﬀ' => "ff",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        'ﬃ' => "ffi",
        'ﬄ' => "ffl",
        'ﬅ' | 'ﬆ' => "st",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of letters that are half as wide as the font is large, which is 10.
    fn laid_out(words: &[(&str, f64, f64)]) -> String {
        let mut layout = Layout::default();
        for &(word, x, y) in words {
            for (index, letter) in word.chars().enumerate() {
                let origin = (x + 5.0 * index as f64, y);
                layout.push(&letter.to_string(), Mark { origin, along: (10.0, 0.0), advance: 0.5 });
            }
        }
        layout.end_page();
        layout.finish()
    }

    #[test]
    fn gaps_are_spaces_lines_and_paragraphs() {
        let words = [("one", 0.0, 100.0), ("two", 18.0, 100.0), ("three", 0.0, 88.0), ("four", 0.0, 60.0)];
        assert_eq!(laid_out(&words), "one two\nthree\n\nfour\n\n");
        assert_eq!(laid_out(&[("ab", 0.0, 0.0), ("cd", 10.5, 0.0)]), "abcd\n\n", "kerning");
        assert_eq!(
            laid_out(&[("x", 0.0, 0.0), ("2", 5.0, 4.0), ("y", 10.0, 0.0)]),
            "x2y\n\n",
            "a superscript"
        );
        assert_eq!(laid_out(&[("a ", 0.0, 0.0), (" b", 20.0, 0.0)]), "a b\n\n");
        assert_eq!(laid_out(&[("left", 0.0, 0.0), ("right", 200.0, 500.0)]), "left\nright\n\n");
    }

    #[test]
    fn divided_words_and_ligatures_are_put_together() {
        assert_eq!(laid_out(&[("of-", 0.0, 12.0), ("ﬁce", 0.0, 0.0)]), "office\n\n");
        assert_eq!(laid_out(&[("exam-", 0.0, 12.0), ("ple", 0.0, 0.0)]), "example\n\n");
        assert_eq!(laid_out(&[("3-", 0.0, 12.0), ("fold", 0.0, 0.0)]), "3-\nfold\n\n");
        assert_eq!(laid_out(&[("A-", 0.0, 12.0), ("B", 0.0, 0.0)]), "A-\nB\n\n");
    }

    #[test]
    fn a_hyphen_at_the_end_of_a_line_stays_where_the_word_has_one_elsewhere() {
        let broken = [("lunch-", 0.0, 12.0), ("boxes", 0.0, 0.0)];
        let elsewhere = |word| laid_out(&[broken[0], broken[1], (word, 28.0, 0.0)]);
        assert_eq!(elsewhere("lunch-boxes"), "lunch-boxes lunch-boxes\n\n");
        assert_eq!(elsewhere("Lunch-box"), "lunch-boxes Lunch-box\n\n");
        assert_eq!(elsewhere("lunchboxes"), "lunchboxes lunchboxes\n\n");
    }

    #[test]
    fn soft_hyphens_go_and_what_is_no_text_is_kept_to_be_counted() {
        assert_eq!(laid_out(&[("exam\u{ad}ple", 0.0, 0.0)]), "example\n\n");
        assert_eq!(laid_out(&[("exam\u{ad}", 0.0, 12.0), ("ple", 0.0, 0.0)]), "example\n\n");
        assert_eq!(laid_out(&[("a\0b", 0.0, 0.0)]), "a\u{fffd}b\n\n");
    }

    #[test]
    fn marks_without_size_or_place_do_no_harm() {
        let mut layout = Layout::default();
        for along in [(0.0, 0.0), (f64::NAN, 1.0), (f64::INFINITY, 0.0)] {
            layout.push("a", Mark { origin: (0.0, f64::MAX), along, advance: f64::MAX });
        }
        layout.end_page();
        assert_eq!(layout.finish(), "a a a\n\n");
    }
}
