//! HTML: its words, without scripts, styles, navigation and what else is no part of the text.
//!
//! Tags are read one by one and no tree is built, so nothing grows with their depth. Where a page says what its main part
//! is (`<main>`), that alone is read.

use crate::encoding::{ByteOrder, Charset, declared, utf16_lossy};
use crate::structure::Builder;
use crate::{BlockKind, Document, DocumentError, plain};
use html5gum::emitters::default::DefaultEmitter;
use html5gum::{StartTag, Token, Tokenizer};
use std::str;

/// Elements that are left out with all that is in them.
const LEFT_OUT: &[&str] = &[
    "script", "style", "nav", "footer", "noscript", "template", "svg", "math", "iframe", "object", "canvas",
    "audio", "video", "select", "textarea", "button",
];
/// Elements that have no end.
const VOID: &[&str] =
    &["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"];
/// Elements that begin and end a line of their own.
const BLOCKS: &[&str] = &[
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "caption",
    "dd",
    "details",
    "dialog",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "form",
    "head",
    "header",
    "hgroup",
    "hr",
    "html",
    "main",
    "p",
    "section",
    "summary",
];

/// Reads a page.
pub(crate) fn read(bytes: Vec<u8>) -> Result<Document, DocumentError> {
    let text = decode(bytes)?;
    let main = Page { only_main: true, ..Page::default() }.read(&text);
    if main.text.is_empty() { Ok(Page::default().read(&text)) } else { Ok(main) }
}

/// The text of a page, whatever it is in.
///
/// # Errors
/// An encoding that is not read, and bytes that are not what they are said to be.
fn decode(bytes: Vec<u8>) -> Result<String, DocumentError> {
    /// What encodings that are no UTF-8 in bytes that seem to be begin with: they use those of ASCII.
    const SEVEN_BITS: [&str; 3] = ["iso-2022-", "hz-", "utf-7"];
    if let Some(order) = ByteOrder::of_markup(&bytes) {
        return Ok(plain::normal(&utf16_lossy(&bytes, order)));
    }
    let Some(name) = declared(&bytes) else { return plain::text(bytes) };
    // What is UTF-8 is hardly ever anything else, whatever an old template says.
    let seems_utf8 =
        str::from_utf8(&bytes).is_ok() && !SEVEN_BITS.iter().any(|beginning| name.starts_with(beginning));
    match Charset::of(&name) {
        _ if seems_utf8 => plain::text(bytes),
        Some(Charset::Utf8) => plain::text(bytes),
        Some(charset) => Ok(plain::normal(&charset.decode(&bytes))),
        None => Err(DocumentError::Encoding { declared: name }),
    }
}

/// What is known of the place in a page.
#[derive(Default)]
struct Page {
    builder: Builder,
    only_main: bool,
    /// Elements `main` that are open.
    main: usize,
    /// The element that is being left out, and how many of its name are open.
    left_out: Option<(String, usize)>,
    /// The page's title, while it is read.
    title: Option<String>,
    heading: Option<u8>,
    /// Lists and tables that are open: what is in one is one block.
    groups: usize,
    /// Whether a cell was in this row.
    cell: bool,
    /// Whether nothing but its mark is in this item of a list.
    item: bool,
    verbatim: bool,
}

impl Page {
    fn read(mut self, text: &str) -> Document {
        let mut emitter = DefaultEmitter::default();
        // Within scripts and the like, `<` begins no tag.
        emitter.naively_switch_states(true);
        for token in Tokenizer::new_with_emitter(text, emitter) {
            let Ok(token) = token;
            match token {
                Token::StartTag(tag) => self.start(&tag),
                Token::EndTag(tag) => self.end(&String::from_utf8_lossy(&tag.name)),
                Token::String(text) => self.text(&String::from_utf8_lossy(&text)),
                Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
            }
        }
        self.end_heading();
        self.builder.finish()
    }

    fn text(&mut self, text: &str) {
        if self.left_out.is_some() {
        } else if let Some(title) = &mut self.title {
            title.push_str(text);
        } else if self.only_main && self.main == 0 {
        } else if self.verbatim {
            self.builder.push_verbatim(text);
        } else {
            self.item &= text.trim().is_empty();
            self.builder.push(text);
        }
    }

    fn start(&mut self, tag: &StartTag<()>) {
        let name = &*String::from_utf8_lossy(&tag.name);
        if let Some((left_out, open)) = &mut self.left_out {
            *open += usize::from(left_out == name && !tag.self_closing);
            return;
        }
        let hidden = tag.attributes.contains_key(&b"hidden"[..]) && !VOID.contains(&name);
        if (LEFT_OUT.contains(&name) || hidden) && !tag.self_closing {
            self.left_out = Some((name.to_owned(), 1));
            return;
        }
        match name {
            "title" => self.title = Some(String::new()),
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.end_heading();
                self.builder.end_block();
                self.heading = name.bytes().last().map(|digit| digit - b'0');
            }
            "ul" | "ol" | "table" => {
                self.boundary();
                self.groups += 1;
                // Within a list or another table it is a part of that.
                if name == "table" && self.groups == 1 {
                    self.builder.is(BlockKind::Table);
                }
            }
            "a" => self.builder.link(true),
            "li" => {
                self.end_line();
                self.mark("- ");
                self.item = true;
            }
            "tr" => {
                self.end_line();
                self.cell = false;
            }
            "td" | "th" => {
                let follows = std::mem::replace(&mut self.cell, true);
                if follows {
                    self.mark(" | ");
                }
            }
            "pre" => {
                self.boundary();
                if self.groups == 0 {
                    self.builder.is(BlockKind::Code);
                }
                self.verbatim = true;
            }
            "br" => self.end_line(),
            _ if BLOCKS.contains(&name) => self.boundary(),
            _ => {}
        }
        self.main += usize::from(name == "main");
    }

    fn end(&mut self, name: &str) {
        if let Some((left_out, open)) = &mut self.left_out {
            *open -= usize::from(left_out == name);
            if *open == 0 {
                self.left_out = None;
            }
            return;
        }
        match name {
            "title" => {
                if let Some(title) = self.title.take() {
                    self.builder.title(title.split_whitespace().collect::<Vec<_>>().join(" "));
                }
            }
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.end_heading(),
            "ul" | "ol" | "table" => {
                self.item = false;
                self.groups = self.groups.saturating_sub(1);
                self.boundary();
            }
            "a" => self.builder.link(false),
            "pre" => {
                self.verbatim = false;
                self.boundary();
            }
            "tr" => self.end_line(),
            _ if BLOCKS.contains(&name) => self.boundary(),
            _ => {}
        }
        self.main -= usize::from(name == "main" && self.main > 0);
    }

    /// Adds what stands for a tag.
    fn mark(&mut self, mark: &str) {
        if !self.only_main || self.main > 0 {
            self.builder.push(mark);
        }
    }

    /// The beginning or end of a block.
    fn boundary(&mut self) {
        if self.heading.is_some() || self.item {
            self.builder.push(" ");
        } else if self.groups == 0 {
            self.builder.end_block();
        } else if self.cell {
            self.builder.push(" ");
        } else {
            self.builder.end_line();
        }
    }

    fn end_line(&mut self) {
        self.item = false;
        if self.heading.is_some() { self.builder.push(" ") } else { self.builder.end_line() }
    }

    fn end_heading(&mut self) {
        if let Some(level) = self.heading.take() {
            self.builder.end_heading(level);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(html: &str) -> String {
        read(html.into()).unwrap().text
    }

    #[test]
    fn a_page_is_its_words() {
        let page = "<!doctype html><html><head><title> The\n finch </title><style>p { x: '<p>' }</style></head><body>\
            <nav><a href=/>Home</a></nav><h1>The <em>finch</em></h1><p>It sings, <a href=x>they\n say</a>&nbsp;&amp; \
            eats.<br>A lot.<script>if (a < b) { '</p>' }</script><p>So&shy;ng<div hidden>no</div>\
            <h2>Food</h2><ul><li><p>seeds</p><li>worms</ul><table><tr><th>a<th>b<tr><td>1<td><p>2</p></table>\
            <pre>x =\n  1\n</pre><footer>(c)</footer></body>";
        let document = read(page.into()).unwrap();
        assert_eq!(
            document.text,
            "# The finch\n\nIt sings, they say & eats.\nA lot.\n\nSong\n\n## Food\n\n- seeds\n- worms\n\na | b\n1 | 2\n\n\
             x =\n  1\n"
        );
        assert_eq!(document.title.as_deref(), Some("The finch"));
        let headings: Vec<_> = document.headings.iter().map(|h| (h.level, h.title.as_str())).collect();
        assert_eq!(headings, [(1, "The finch"), (2, "Food")]);
        for heading in &document.headings {
            assert!(
                document.text[heading.start..].starts_with('#')
                    && document.blocks.iter().any(|block| block.start == heading.start)
            );
        }
    }

    #[test]
    fn the_main_part_is_read_alone_where_there_is_one() {
        assert_eq!(text("<header>Shop</header><main><p>Text</main><p>Buy"), "Text\n");
        assert_eq!(text("<ul><li>a</ul><main></main><p>b"), "- a\n\nb\n");
    }

    #[test]
    fn pages_are_read_in_what_they_say_they_are_in() {
        let page = |charset: &str, bytes: &[u8]| {
            let head =
                format!("<html><meta http-equiv=Content-Type content='text/html; charset={charset}'><p>");
            read([head.as_bytes(), bytes].concat()).map(|document| document.text)
        };
        for (charset, bytes, expected) in [
            ("iso-8859-1", &b"Gr\xf6\xdfe \x93\x80\x94"[..], "Größe “€”\n"),
            ("Windows-1252", b"\x80 \x9f \xa4", "€ Ÿ ¤\n"),
            ("ISO-8859-15", b"5 \xa4, c\xbdur", "5 €, cœur\n"),
            ("iso-8859-1", "Größe".as_bytes(), "Größe\n"),
            ("shift_jis", b"plain", "plain\n"),
        ] {
            assert_eq!(page(charset, bytes).unwrap(), expected, "{charset}");
        }
        for (charset, bytes) in [("Shift_JIS", &b"\x93\xfa"[..]), ("iso-2022-jp", b"\x1b$B$\"\x1b(B")] {
            let expected =
                format!("the page is in {}, expected UTF-8, UTF-16 or windows-1252", charset.to_lowercase());
            assert_eq!(page(charset, bytes).unwrap_err().to_string(), expected);
        }
        for charset in ["utf-8", "utf-16"] {
            assert!(matches!(page(charset, b"\xf6"), Err(DocumentError::NotText { .. })));
        }
        assert!(matches!(read(b"<p>\xf6".to_vec()), Err(DocumentError::NotText { offset: 3 })));

        let units: Vec<u16> = "\u{feff}<html><p>Größe 𝄞\r\n".encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        for bytes in [&little[..], &big, &little[2..], &big[2..]] {
            let no_pdf = |_: &[u8]| Err(DocumentError::Scan);
            let document = Document::parse(bytes.to_vec(), std::path::Path::new("-"), no_pdf).unwrap();
            assert_eq!(document.text, "Größe 𝄞\n");
        }
        assert_eq!(read(b"\xfe\xff\0a\xd8\0\0b".to_vec()).unwrap().text, "a\u{fffd}b\n");
    }

    #[test]
    fn broken_and_deep_pages_are_read_as_far_as_they_go() {
        assert_eq!(text("</main></ul></nav>a<h1>b<h2>c"), "a\n\n# b\n\n## c\n");
        assert_eq!(text(&format!("{}x", "<div>".repeat(1 << 16))), "x\n");
        assert_eq!(text("<p>a<script>b"), "a\n");
        assert_eq!(text("a\u{1}b&#0;"), "a\u{fffd}b\u{fffd}\n");
    }
}
