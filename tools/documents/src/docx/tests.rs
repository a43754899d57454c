use super::package::LARGEST_XML;
use super::*;
use std::io::{Cursor, Write as _};
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

const RELATIONSHIPS: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";

/// The XML that leads to parts by their types.
fn relationships(parts: &[(&str, &str)]) -> String {
    let one = |(kind, target): &(&str, &str)| {
        format!(r#"<Relationship Id="x" Type="{RELATIONSHIPS}/{kind}" Target="{target}"/>"#)
    };
    format!("<Relationships>{}</Relationships>", parts.iter().map(one).collect::<String>())
}

fn body(paragraphs: &str) -> String {
    format!("<w:document><w:body>{paragraphs}</w:body></w:document>")
}

#[test]
fn a_document_is_found_by_what_leads_to_it() {
    let text = body(&paragraph(r#"<w:pStyle w:val="H"/>"#, "one"));
    let styles = r#"<w:styles><w:style w:styleId="H"><w:name w:val="heading 2"/></w:style></w:styles>"#;
    let root = relationships(&[
        ("extended-properties", "docProps/app.xml"),
        ("officeDocument", "word/document2.xml"),
    ]);
    let beside = relationships(&[("styles", "/word/styles7.xml")]);
    let types = |kind: &str, part: &str| {
        format!(
            r#"<Types><Override PartName="/{part}" ContentType="application/vnd.{kind}.main+xml"/></Types>"#
        )
    };
    let word = "openxmlformats-officedocument.wordprocessingml.document";
    let (word2, macros) =
        (types(word, "word/document2.xml"), types("ms-word.document.macroEnabled", "d.xml"));
    for files in [
        &[
            ("_rels/.rels", &*root),
            ("word/document2.xml", &text),
            ("word/_rels/document2.xml.rels", &beside),
            ("word/styles7.xml", styles),
        ][..],
        &[("[Content_Types].xml", &*word2), ("Word/Document2.xml", &text), ("word/styles.xml", styles)],
        &[("[Content_Types].xml", &*macros), ("d.xml", &text), ("styles.xml", styles)],
    ] {
        let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
        assert_eq!(read(&archive(&files)).unwrap().text, "## one\n");
    }
    let sheet = types("openxmlformats-officedocument.spreadsheetml.sheet", "xl/workbook.xml");
    let root = relationships(&[("officeDocument", "xl/workbook.xml")]);
    let book = [("_rels/.rels", root.as_bytes()), ("[Content_Types].xml", sheet.as_bytes())];
    assert_eq!(refusal(&archive(&book)), "a damaged Word document: a package of another kind of document");
    let root = relationships(&[("officeDocument", "word/gone.xml")]);
    let gone = archive(&[("_rels/.rels", root.as_bytes()), ("word/document.xml", text.as_bytes())]);
    assert_eq!(refusal(&gone), "a damaged Word document: an archive without word/gone.xml");
}

#[test]
fn parts_may_be_in_utf_16() {
    let xml = body(&paragraph("", "Größe 𝄞"));
    let units: Vec<u16> = xml.encode_utf16().collect();
    let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
    for (mark, bytes) in [(&[0xff, 0xfe][..], &little), (&[0xfe, 0xff], &big), (&[], &little), (&[], &big)] {
        let part = [mark, bytes].concat();
        assert_eq!(read(&archive(&[("word/document.xml", &part)])).unwrap().text, "Größe 𝄞\n");
        let odd = archive(&[("word/document.xml", &part[..part.len() - 1])]);
        assert!(refusal(&odd).ends_with("expected UTF-8 or UTF-16"));
    }
}

#[test]
fn notes_follow_the_block_that_refers_to_them_once() {
    let note = |element: &str, id: &str, text: &str| {
        format!(
            "<w:{element} w:id=\"{id}\"><w:p><w:r><w:{element}Ref/><w:t>{text}</w:t></w:r></w:p></w:{element}>"
        )
    };
    let footnotes = format!(
        "<w:footnotes><w:footnote w:type=\"continuationNotice\" w:id=\"1\"><w:p><w:r><w:t>no</w:t></w:r></w:p>\
         </w:footnote>{}{}{}</w:footnotes>",
        note("footnote", "2", "Two."),
        note("footnote", "3", "Three.</w:t></w:r></w:p><w:p><w:r><w:t>More."),
        note("footnote", "4", "Nobody refers to it.")
    );
    let endnotes = format!("<w:endnotes>{}</w:endnotes>", note("endnote", "2", "At the end."));
    let reference = |element: &str, id: &str| format!("<w:r><w:{element}Reference w:id=\"{id}\"/></w:r>");
    let (two, three, end) =
        (reference("footnote", "2"), reference("footnote", "3"), reference("endnote", "2"));
    let text = |text: &str| format!("<w:r><w:t>{text}</w:t></w:r>");
    let item = |runs: String| format!("<w:p><w:pPr><w:numPr/></w:pPr>{runs}</w:p>");
    let body = body(
        &[
            format!("<w:p>{}{two}{}</w:p>", text("A"), text(" b.")),
            item(text("c") + &three),
            item(text("d") + &two),
            format!(
                "<w:tbl><w:tr><w:tc><w:p>{}{end}</w:p></w:tc><w:tc><w:p>{}</w:p></w:tc></w:tr></w:tbl>",
                text("e"),
                text("f")
            ),
            format!("<w:p>{}{}</w:p>", text("g"), reference("footnote", "1")),
        ]
        .concat(),
    );
    let files =
        [("word/footnotes.xml", &footnotes), ("word/endnotes.xml", &endnotes), ("word/document.xml", &body)];
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    assert_eq!(
        read(&archive(&files)).unwrap().text,
        "A b.\n\nTwo.\n\n- c\n- d\n\nThree. More.\n\ne | f\n\nAt the end.\n\ng\n"
    );
}

#[test]
fn hidden_text_and_earlier_properties_are_left_out() {
    let styles = r#"<w:styles><w:style w:styleId="Off"><w:rPr><w:vanish/></w:rPr></w:style>
        <w:style w:styleId="H"><w:name w:val="heading 1"/></w:style></w:styles>"#;
    let run = |properties: &str, text: &str| {
        format!("<w:r><w:rPr>{properties}</w:rPr><w:t>{text}</w:t><w:tab/></w:r>")
    };
    let text = body(&[
        format!("<w:p><w:pPr><w:rPr><w:vanish/></w:rPr></w:pPr>{}{}{}</w:p>", run("", "a"), run("<w:vanish/>", "b"),
            run("<w:vanish w:val=\"0\"/>", "c")),
        format!("<w:p>{}{}</w:p>", run("<w:rStyle w:val=\"Off\"/>", "d"), run("<w:rPrChange><w:rPr><w:vanish/></w:rPr></w:rPrChange>", "e")),
        format!("<w:p><w:pPr><w:pStyle w:val=\"Off\"/></w:pPr>{}{}</w:p>", run("", "f"), run("<w:vanish w:val=\"false\"/>", "g")),
        format!("<w:p><w:pPr><w:pPrChange><w:pPr><w:pStyle w:val=\"H\"/></w:pPr></w:pPrChange></w:pPr>{}</w:p>", run("", "h")),
        format!("<w:p><w:r><w:rPr><w:vanish/></w:rPr><w:txbxContent><w:p><w:pPr><w:rPr><w:vanish w:val=\"0\"/></w:rPr></w:pPr>{}\
            </w:p></w:txbxContent></w:r>{}</w:p>", run("", "i"), run("", "j")),
    ].concat());
    assert_eq!(from_xml(&text, styles).unwrap().text, "a c\n\ne\n\ng\n\nh\n\nj\n");
}

#[test]
fn hostile_archives_and_xml_end_in_one_line() {
    let bomb = vec![b' '; (LARGEST_XML + 1) as usize];
    assert_eq!(
        refusal(&archive(&[("word/document.xml", &bomb)])),
        "a damaged Word document: word/document.xml: more than 67108864 bytes of XML in all"
    );
    let half = vec![b' '; (LARGEST_XML / 2 + 1) as usize];
    let line = refusal(&archive(&[("word/styles.xml", &half), ("word/document.xml", &half)]));
    assert!(line.ends_with("word/document.xml: more than 67108864 bytes of XML in all"), "{line}");
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
    assert_eq!(refusal(&latin), "a damaged Word document: word/document.xml: expected UTF-8 or UTF-16");
}

#[test]
fn every_cut_of_an_archive_is_refused() {
    let whole = document(&paragraph("", "one two"));
    for length in 0..whole.len() {
        let line = refusal(&whole[..length]);
        assert!(line.starts_with("a damaged Word document: "), "{length}: {line}");
    }
}
