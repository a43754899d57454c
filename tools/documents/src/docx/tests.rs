use super::*;
use std::io::Write as _;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// An archive of files.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn document(body: &str) -> Vec<u8> {
    let styles = r#"<w:styles xmlns:w="w"><w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style>
        <w:style w:styleId="Own"><w:pPr><w:outlineLvl w:val="1"/></w:pPr></w:style></w:styles>"#;
    let body =
        format!(r#"<?xml version="1.0"?><w:document xmlns:w="w"><w:body>{body}</w:body></w:document>"#);
    archive(&[("word/styles.xml", styles.as_bytes()), ("word/document.xml", body.as_bytes())])
}

fn refusal(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

fn paragraph(properties: &str, text: &str) -> String {
    format!("<w:p><w:pPr>{properties}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>")
}

#[test]
fn paragraphs_headings_lists_and_tables() {
    let item = "<w:numPr/>";
    let cell = |text| format!("<w:tc>{}</w:tc>", paragraph("", text));
    let body = [
        paragraph(r#"<w:pStyle w:val="berschrift1"/>"#, "The finch"),
        "<w:p><w:r><w:t xml:space=\"preserve\">It </w:t></w:r><w:hyperlink><w:r><w:t>sings</w:t></w:r></w:hyperlink>\
         <w:r><w:t> &amp; eats.</w:t><w:br/><w:t>A\u{ad} lo</w:t><w:softHyphen/><w:t>t.</w:t></w:r>\
         <w:del><w:r><w:t>gone</w:t></w:r></w:del></w:p>"
            .into(),
        paragraph(r#"<w:pStyle w:val="Own"/>"#, "Food"),
        paragraph(item, "seeds"),
        paragraph(item, "worms"),
        paragraph("", "None else."),
        format!("<w:tbl><w:tr>{}{}</w:tr><w:tr>{}{}</w:tr></w:tbl>", cell("a"), cell("b"), cell("1"), cell("2")),
        "<w:p><w:r><w:t>Around</w:t><w:txbxContent><w:p><w:r><w:t>a box</w:t></w:r></w:p></w:txbxContent></w:r></w:p>"
            .into(),
    ];
    let document = read(&document(&body.concat())).unwrap();
    assert_eq!(
        document.text,
        "# The finch\n\nIt sings & eats.\nA lot.\n\n## Food\n\n- seeds\n- worms\n\nNone else.\n\na | b\n1 | 2\n\nAround\n\n\
         a box\n"
    );
    let headings: Vec<_> = document.headings.iter().map(|h| (h.level, h.title.as_str())).collect();
    assert_eq!(headings, [(1, "The finch"), (2, "Food")]);
    assert!(
        document
            .blocks
            .iter()
            .all(|block| block.start == 0 || document.text[..block.start].ends_with("\n\n"))
    );
}

#[test]
fn hostile_archives_and_xml_end_in_one_line() {
    let bomb = vec![b' '; (LARGEST_XML + 1) as usize];
    assert_eq!(
        refusal(&archive(&[("word/document.xml", &bomb)])),
        "a damaged Word document: word/document.xml is longer than 67108864 bytes"
    );
    assert_eq!(
        refusal(&archive(&[("mimetype", b"x")])),
        "a damaged Word document: an archive without word/document.xml"
    );
    let deep = "<w:p>".repeat(1 << 16);
    assert!(refusal(&document(&deep)).ends_with("more than 256 elements in each other"));
    assert!(refusal(&document("<w:p>&bomb;</w:p>")).ends_with("an entity &bomb;"));
    for body in ["<w:p>", "</w:p>", "<w:p", "<w:p></w:r>", "&#xd800;"] {
        let line = refusal(&document(body));
        assert!(line.starts_with("a damaged Word document: XML, byte ") && !line.contains('\n'), "{line}");
    }
    let long = format!("</w:\n\u{1b}[2J{}>", "x".repeat(1 << 16));
    let line = refusal(&document(&long));
    assert!(line.len() < 300 && !line.contains(char::is_control), "{line}");
    let latin = archive(&[("word/document.xml", b"<a>\xff</a>")]);
    assert_eq!(refusal(&latin), "a damaged Word document: word/document.xml: expected UTF-8");
}

#[test]
fn every_cut_of_an_archive_is_refused() {
    let whole = document(&paragraph("", "one two"));
    for length in 0..whole.len() {
        let line = refusal(&whole[..length]);
        assert!(line.starts_with("a damaged Word document: "), "{length}: {line}");
    }
}
