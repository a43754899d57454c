use crate::DocumentError;

/// The text of a document, and where its parts begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// What the document calls itself: the title of HTML, else its first heading of the first level.
    pub title: Option<String>,
    /// All of it, with `\n` at the ends of lines.
    pub text: String,
    /// The headings, in order.
    pub headings: Vec<Heading>,
    /// Where paragraphs, lists, tables and headings begin: bytes from the text's beginning, in order.
    pub blocks: Vec<usize>,
    /// Characters that are no text: U+FFFD, which stands for NUL and for all that could not be decoded.
    pub unreadable: usize,
}

/// A heading of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    /// Where it begins, in bytes from the text's beginning.
    pub start: usize,
    /// 1 for the highest, to 6.
    pub level: u8,
    /// Its words.
    pub title: String,
}

impl Document {
    /// Counts what is unreadable, and refuses what is mostly that, or no text at all.
    pub(crate) fn checked(mut self) -> Result<Document, DocumentError> {
        let of = self.text.chars().filter(|character| !character.is_whitespace()).count();
        let count = self.text.matches(char::REPLACEMENT_CHARACTER).count();
        if of == 0 {
            return Err(DocumentError::Empty);
        }
        if 2 * count >= of {
            return Err(DocumentError::Unreadable { count, of });
        }
        self.unreadable = count;
        let highest = self.headings.iter().find(|heading| heading.level == 1);
        self.title = self.title.or(highest.map(|heading| heading.title.clone()));
        self.title = self.title.filter(|title| !title.is_empty());
        Ok(self)
    }
}

/// Makes a document of blocks. White space within them is one space; soft hyphens, which only say where a word may be
/// divided, are left out.
#[cfg(any(feature = "docx", feature = "html"))]
#[derive(Debug, Default)]
pub(crate) struct Builder {
    document: Document,
    /// The block that is being written.
    block: String,
    /// White space that was seen since its last word.
    space: bool,
}

#[cfg(any(feature = "docx", feature = "html"))]
impl Builder {
    /// Adds characters to the block.
    pub(crate) fn push(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '\u{ad}' => {}
                _ if character.is_whitespace() => self.space = true,
                _ => {
                    if std::mem::take(&mut self.space)
                        && !self.block.is_empty()
                        && !self.block.ends_with('\n')
                    {
                        self.block.push(' ');
                    }
                    let unreadable = character.is_control();
                    self.block.push(if unreadable { char::REPLACEMENT_CHARACTER } else { character });
                }
            }
        }
    }

    /// Adds characters as they are, but for those that are no text.
    #[cfg(feature = "html")]
    pub(crate) fn push_verbatim(&mut self, text: &str) {
        let readable =
            |c: char| if c.is_control() && !c.is_whitespace() { char::REPLACEMENT_CHARACTER } else { c };
        self.block.extend(text.chars().filter(|&c| c != '\r').map(readable));
        self.space = false;
    }

    /// Ends a line of the block.
    pub(crate) fn end_line(&mut self) {
        self.space = false;
        if !self.block.is_empty() && !self.block.ends_with('\n') {
            self.block.push('\n');
        }
    }

    /// Ends the block; the next is a paragraph farther on.
    pub(crate) fn end_block(&mut self) {
        self.end(None);
    }

    /// Ends the block, which is a heading of a level from 1 to 6.
    pub(crate) fn end_heading(&mut self, level: u8) {
        self.end(Some(level.clamp(1, 6)));
    }

    /// The document's own title.
    #[cfg(feature = "html")]
    pub(crate) fn title(&mut self, title: String) {
        self.document.title.get_or_insert(title);
    }

    pub(crate) fn finish(mut self) -> Document {
        self.end_block();
        self.document
    }

    fn end(&mut self, level: Option<u8>) {
        self.space = false;
        let block = std::mem::take(&mut self.block);
        let block = block.trim_end();
        if block.trim().is_empty() {
            return;
        }
        let Document { text, headings, blocks, .. } = &mut self.document;
        if !text.is_empty() {
            text.push('\n');
        }
        let start = text.len();
        blocks.push(start);
        if let Some(level) = level {
            let title = block.replace('\n', " ");
            text.extend(std::iter::repeat_n('#', usize::from(level)));
            text.push(' ');
            text.push_str(&title);
            headings.push(Heading { start, level, title });
        } else {
            text.push_str(block);
        }
        text.push('\n');
    }
}
