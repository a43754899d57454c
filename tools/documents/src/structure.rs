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
    /// Paragraphs, lists, tables and headings, in order.
    pub blocks: Vec<Block>,
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

/// A paragraph, a list, a table or a heading. It ends where the next begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where it begins, in bytes from the text's beginning.
    pub start: usize,
    /// What it is to a reader.
    pub kind: BlockKind,
}

/// What a block is to a reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BlockKind {
    /// Words: sentences, lists of them, headings.
    #[default]
    Prose,
    /// A program, or what one printed.
    Code,
    /// Rows of cells.
    Table,
    /// A list of links, such as a table of contents.
    Links,
}

impl BlockKind {
    fn is_prose(self) -> bool {
        self == BlockKind::Prose
    }
}

/// Blocks that [`Document::prose`] left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Blocks of code.
    pub code: usize,
    /// Tables.
    pub tables: usize,
    /// Lists of links.
    pub links: usize,
}

impl Document {
    /// The document without its code, tables and lists of links, and how many of each were left out. Where that would leave
    /// less than a tenth of its characters, they are what it is about, and all of it stays.
    pub fn prose(self) -> (Document, LeftOut) {
        const LEAST: usize = 10;
        let ends = self.blocks.iter().skip(1).map(|block| block.start).chain([self.text.len()]);
        let blocks: Vec<_> = self.blocks.iter().zip(ends).collect();
        let kept: usize = blocks
            .iter()
            .filter(|(block, _)| block.kind.is_prose())
            .map(|(block, end)| end - block.start)
            .sum();
        if kept * LEAST < self.text.len() {
            return (self, LeftOut::default());
        }
        let (mut prose, mut left_out) = (Document::default(), LeftOut::default());
        for (block, end) in blocks {
            match block.kind {
                BlockKind::Prose => {
                    let start = prose.text.len();
                    prose.headings.extend(
                        self.headings
                            .iter()
                            .filter(|heading| heading.start == block.start)
                            .map(|heading| Heading { start, ..heading.clone() }),
                    );
                    prose.blocks.push(Block { start, ..*block });
                    prose.text.push_str(self.text.get(block.start..end).unwrap_or_default());
                }
                BlockKind::Code => left_out.code += 1,
                BlockKind::Table => left_out.tables += 1,
                BlockKind::Links => left_out.links += 1,
            }
        }
        (Document { title: self.title, unreadable: self.unreadable, ..prose }, left_out)
    }

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

/// Letters and digits of a text: what is neither space nor mark.
fn letters(text: &str) -> usize {
    text.chars().filter(|c| c.is_alphanumeric()).count()
}

/// Makes a document of blocks. White space within them is one space; soft hyphens, which only say where a word may be
/// divided, are left out.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    document: Document,
    /// The block that is being written.
    block: String,
    kind: BlockKind,
    /// White space that was seen since its last word.
    space: bool,
    /// Whether a link is open, how many there were in the block, and how many of its letters were theirs.
    link: bool,
    links: usize,
    linked: usize,
}

impl Builder {
    /// Adds characters to the block.
    pub(crate) fn push(&mut self, text: &str) {
        if self.link {
            self.linked += letters(text);
        }
        self.push_words(text);
    }

    fn push_words(&mut self, text: &str) {
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

    /// Says what the block is, until it ends.
    pub(crate) fn is(&mut self, kind: BlockKind) {
        self.kind = kind;
    }

    /// The beginning or the end of a link.
    pub(crate) fn link(&mut self, open: bool) {
        self.links += usize::from(open && !self.link);
        self.link = open;
    }

    /// Adds characters as they are, but for those that are no text.
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
        /// Fewer are a sentence with links in it.
        const LEAST_LINKS: usize = 3;
        self.space = false;
        let block = std::mem::take(&mut self.block);
        let block = block.trim_end();
        let (links, linked) = (std::mem::take(&mut self.links), std::mem::take(&mut self.linked));
        let kind = std::mem::take(&mut self.kind);
        if block.trim().is_empty() {
            return;
        }
        let is_list_of_links = links >= LEAST_LINKS && 5 * linked >= 4 * letters(block) && level.is_none();
        let kind = if kind.is_prose() && is_list_of_links { BlockKind::Links } else { kind };
        let Document { text, headings, blocks, .. } = &mut self.document;
        if !text.is_empty() {
            text.push('\n');
        }
        let start = text.len();
        blocks.push(Block { start, kind });
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
