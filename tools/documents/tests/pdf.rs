//! PDF files as other programs write them: columns, ligatures, divided words, glyphs that stand for nothing, encryption.
#![cfg(feature = "pdf")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on panics")]

use siskin_documents::{Document, DocumentError, pdf};
use std::fmt::Write as _;
use std::path::Path;

/// A page with a content stream. Its font has two ligatures, and a glyph that stands for nothing.
fn page(content: &str) -> Vec<u8> {
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R \
         /Resources << /Font << /F 5 0 R >> >> >>",
        &format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding << /Type /Encoding \
         /BaseEncoding /WinAnsiEncoding /Differences [1 /fi /fl /unheardof] >> >>",
    ];
    let mut file = "%PDF-1.4\n".to_owned();
    let mut places = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        places.push(file.len());
        write!(file, "{} 0 obj\n{object}\nendobj\n", index + 1).unwrap();
    }
    let start = file.len();
    write!(file, "xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).unwrap();
    places.iter().for_each(|place| writeln!(file, "{place:010} 00000 n ").unwrap());
    write!(file, "trailer\n<< /Size {} /Root 1 0 R >>\n", objects.len() + 1).unwrap();
    write!(file, "startxref\n{start}\n%%EOF\n").unwrap();
    file.into_bytes()
}

/// A page of texts, each at a place.
fn placed(texts: &[(u32, u32, &str)]) -> Vec<u8> {
    let mut content = String::new();
    for (x, y, text) in texts {
        writeln!(content, "BT /F 12 Tf {x} {y} Td ({text}) Tj ET").unwrap();
    }
    page(&content)
}

fn parse(bytes: Vec<u8>) -> Result<Document, DocumentError> {
    Document::parse(bytes, Path::new("a.pdf"), |bytes| pdf::extract(bytes.to_vec(), None))
}

/// Lines of a page, one below the other.
fn lines(lines: &[&str]) -> Document {
    let placed_lines: Vec<_> = (0..).zip(lines).map(|(row, line)| (72, 720 - 14 * row, *line)).collect();
    parse(placed(&placed_lines)).unwrap()
}

#[test]
fn two_columns_drawn_across_are_read_one_behind_the_other() {
    let left = [
        "The left column is all of one",
        "sentence which goes on a long",
        "while until it comes to where",
        "its fourth line has its end.",
    ];
    let right = [
        "And the right column has its",
        "own sentence that nobody is",
        "to read before the left one",
        "has been read to its end.",
    ];
    let mut texts = Vec::new();
    for (row, (left, right)) in (0..).zip(left.into_iter().zip(right)) {
        texts.extend([(72, 720 - 14 * row, left), (320, 720 - 14 * row, right)]);
    }
    let document = parse(placed(&texts)).unwrap();
    assert_eq!(document.text.trim_end(), format!("{}\n{}", left.join("\n"), right.join("\n")));
}

#[test]
fn ligatures_and_divided_words_are_put_together() {
    assert_eq!(lines(&[r"A \001nch on the \002oor."]).text.trim_end(), "A finch on the floor.");
    assert_eq!(lines(&["An exam-", "ple of a word."]).text.trim_end(), "An example of a word.");
    let compound = lines(&["Two lunch-", "boxes.", "", "Lunch-boxes are full."]);
    assert!(compound.text.starts_with("Two lunch-boxes."), "{}", compound.text);
}

#[test]
fn glyphs_that_stand_for_nothing_are_counted_or_refused() {
    let document = lines(&[r"It costs \003 and no more."]);
    assert_eq!((document.text.trim_end(), document.unreadable), ("It costs \u{fffd} and no more.", 1));
    let mostly = parse(placed(&[(72, 720, r"\003\003\003 a")])).unwrap_err();
    assert_eq!(mostly.to_string(), "mostly unreadable: 3 of 4 characters are no text");
}

/// Whoever has the owner's password may change such a file; everyone may read it.
#[test]
fn an_owner_s_password_alone_keeps_nobody_from_reading() {
    let files: [&[u8]; 3] = [
        include_bytes!("encrypted/rc4-128.pdf"),
        include_bytes!("encrypted/aes-128.pdf"),
        include_bytes!("encrypted/aes-256.pdf"),
    ];
    for file in files {
        assert_eq!(parse(file.to_vec()).unwrap().text.trim_end(), "An open door.");
    }
    let asks = parse(include_bytes!("encrypted/aes-256-user.pdf").to_vec()).unwrap_err();
    assert_eq!(asks.to_string(), "a PDF file with a password");
}
