//! A document: text, Markdown, HTML, the XML of a Word document, or marks on the pages of a PDF file, by the first
//! byte. PDF files as a whole are no part of it: a process with limits reads them, whatever the library does there.

use siskin_documents::pdf::{Layout, Mark};
use siskin_documents::{Document, DocumentError, docx};
use std::path::Path;

/// Names of files, each for a format. The number behind them stands for a Word document's XML, all others for marks.
const NAMES: &[&str] = &["a.txt", "a.md", "a.html"];
const STYLES: &str = r#"<styles><style styleId="H"><name val="heading 1"/></style></styles>"#;

/// One of each format.
pub fn seeds() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 4] = [
        b"A text.\r\n\r\nIt has a\0 NUL.",
        b"# A\n\n- b\n\n> c\n\n```\nd\n```\n\nE\n---\n",
        b"<!doctype html><title>a</title><nav>b</nav><main><h1>c</h1><ul><li><p>d<li>e</ul><table><tr><td>f<td>g</table>\
          <pre>h\n</pre>&amp;&shy;<script>i</script><p hidden>j</p></main>",
        br#"<w:body><w:p><w:pPr><w:pStyle w:val="H"/></w:pPr><w:r><w:t>a &amp; b</w:t></w:r></w:p><w:p><w:pPr><w:numPr/>
          </w:pPr><w:r><w:t>c</w:t></w:r></w:p><w:tbl><w:tr><w:tc><w:p><w:t>d</w:t></w:p></w:tc></w:tr></w:tbl></w:body>"#,
    ];
    let mut seeds: Vec<Vec<u8>> =
        texts.iter().enumerate().map(|(kind, text)| [&[kind as u8], *text].concat()).collect();
    // Lines of a page, in steps of eight characters: letter, x, y, size.
    let marks = b"exam-ple lunch-boxes"
        .iter()
        .enumerate()
        .flat_map(|(n, &letter)| [letter, 5 * (n % 8) as u8, 200 - 12 * (n / 8) as u8, 10]);
    seeds.push(std::iter::once(u8::MAX).chain(marks).collect());
    seeds
}

/// Reads the bytes.
pub fn run(data: &[u8]) {
    let Some((&kind, data)) = data.split_first() else { return };
    let no_pdf = |_: &[u8]| Err(DocumentError::Empty);
    let read = match NAMES.get(usize::from(kind)) {
        Some(name) => Document::parse(data.to_vec(), Path::new(name), no_pdf),
        None if usize::from(kind) == NAMES.len() => docx::from_xml(&String::from_utf8_lossy(data), STYLES),
        None => return layout(data),
    };
    match read {
        Ok(document) => check(&document),
        Err(error) => {
            let line = error.to_string();
            assert!(line.len() < 1000 && !line.contains(char::is_control), "{line:?}");
        }
    }
}

/// Places are in the text, in order, and headings are blocks.
fn check(document: &Document) {
    assert!(!document.text.trim().is_empty() && !document.text.contains('\0'));
    let starts: Vec<usize> = document.blocks.iter().map(|block| block.start).collect();
    assert!(starts.is_sorted());
    assert!(starts.iter().all(|&start| document.text.is_char_boundary(start)));
    assert!(document.headings.iter().all(|heading| starts.contains(&heading.start)));
    let (prose, _) = document.clone().prose();
    assert!(prose.blocks.iter().all(|block| prose.text.is_char_boundary(block.start)));
    assert!(
        prose.headings.iter().all(|heading| prose.blocks.iter().any(|block| block.start == heading.start))
    );
    assert!(document.headings.iter().all(|heading| (1..=6).contains(&heading.level)));
    assert_eq!(document.unreadable, document.text.matches(char::REPLACEMENT_CHARACTER).count());
}

/// Lays characters out. Nothing but hyphens and white space is lost.
fn layout(data: &[u8]) {
    let mut layout = Layout::default();
    let mut letters = 0;
    for mark in data.chunks_exact(4) {
        let [letter, x, y, size] = [mark[0], mark[1], mark[2], mark[3]];
        let size = f64::from(size as i8);
        layout.push(
            &char::from(letter).to_string(),
            Mark { origin: (f64::from(x), f64::from(y)), along: (size, 0.0), advance: 0.5 },
        );
        letters += usize::from(letter.is_ascii_alphanumeric());
        if letter == 12 {
            layout.end_page();
        }
    }
    layout.end_page();
    let text = layout.finish();
    assert_eq!(text.chars().filter(char::is_ascii_alphanumeric).count(), letters);
}
