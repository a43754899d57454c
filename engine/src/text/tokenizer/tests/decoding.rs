use super::*;

#[test]
fn characters_are_held_back_until_whole() {
    let tokenizer = made(Draft::byte_level().bpe("gpt-2"));
    let texts = |bytes: &[u8]| decode(&tokenizer, &bytes.iter().copied().map(u32::from).collect::<Vec<_>>());
    assert_eq!(texts("a漢b".as_bytes()), ["a", "", "", "漢", "b", ""]);
    assert_eq!(texts("😀".as_bytes()), ["", "", "", "😀", ""]);
    assert_eq!(texts(b"\xF0\x9F\x98"), ["", "", "", "\u{FFFD}"]);
    assert_eq!(texts(b"\xE6\xBCa"), ["", "", "\u{FFFD}a", ""]);
    assert_eq!(texts(b"\xE6\xE6\xBC\xA2"), ["", "\u{FFFD}", "", "漢", ""]);
    assert_eq!(texts(b"\xFF\x80"), ["\u{FFFD}", "\u{FFFD}", ""]);
    assert_eq!(decode(&tokenizer, &[97, 256, u32::MAX, 98]), ["a", "", "", "b", ""]);
}

#[test]
fn text_that_goes_on_keeps_its_first_space() {
    let tokenizer = made(Draft::sentence_piece().spm());
    let mut detokenizer = Detokenizer::continuing(&tokenizer);
    assert_eq!(detokenizer.push(&tokenizer, 259), " ");
    let mut detokenizer = Detokenizer::new(&tokenizer);
    assert_eq!(detokenizer.push(&tokenizer, 1), "");
    assert_eq!(detokenizer.push(&tokenizer, 259), "");
    assert_eq!(detokenizer.push(&tokenizer, 259), " ");
}

#[test]
fn tokens_that_are_not_text_stand_for_no_bytes() {
    let mut draft = Draft::byte_level();
    let control = draft.add(b"<|x|>", CONTROL, 0.0);
    let user = draft.add("é<u>".as_bytes(), USER_DEFINED, 0.0);
    let unused = draft.add(b"[PAD]x", UNUSED, 0.0);
    let foreign = draft.add("漢".as_bytes(), NORMAL, 0.0);
    let tokenizer = made(draft.bpe("gpt-2"));
    assert_eq!(tokenizer.piece(u32::from(b' ')), b" ");
    assert_eq!(tokenizer.text(u32::from(b' ')), "Ġ".as_bytes());
    assert_eq!((tokenizer.piece(control), tokenizer.text(control)), (&b""[..], &b"<|x|>"[..]));
    assert_eq!(tokenizer.piece(user), "é<u>".as_bytes());
    assert_eq!((tokenizer.piece(unused), tokenizer.piece(foreign)), (&b""[..], "漢".as_bytes()));
    assert_eq!((tokenizer.piece(9999), tokenizer.text(9999)), (&b""[..], &b""[..]));
    assert!(tokenizer.is_special(control) && !tokenizer.is_special(user) && !tokenizer.is_special(9999));
}
