use super::*;

#[test]
fn a_tokenizer_can_be_shared_by_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Tokenizer>();
}

#[test]
fn equal_texts_mean_the_lowest_ordinary_token() {
    let mut draft = Draft::byte_level();
    let control = draft.add(b"ab", CONTROL, 0.0);
    let merged = draft.merge("a", "b");
    let again = draft.add(b"ab", NORMAL, 0.0);
    let empty = draft.add(b"", NORMAL, 0.0);
    let tokenizer = made(draft.bpe("gpt-2"));
    assert_eq!(tokenizer.len(), 260);
    assert_eq!(tokenizer.find(b"ab"), Some(merged));
    assert_eq!(plain(&tokenizer, "ab"), [merged]);
    assert_eq!(encode(&tokenizer, "ab", Special::Parse), [control]);
    assert_eq!((tokenizer.text(again), tokenizer.piece(again)), (&b"ab"[..], &b"ab"[..]));
    assert_eq!((tokenizer.text(empty), tokenizer.find(b"")), (&b""[..], None));
}

#[test]
fn merges_go_by_rank_and_words_of_the_vocabulary_are_taken_whole_where_the_name_says_so() {
    let mut draft = Draft::byte_level();
    let bc = draft.merge("b", "c");
    draft.merge("a", "b");
    let hidden = draft.add(b"abc", NORMAL, 0.0);
    assert_eq!(plain(&made(draft.bpe("smaug-bpe")), "abc"), [b'a'.into(), bc]);
    assert_eq!(plain(&made(draft.bpe("llama-bpe")), "abc"), [hidden]);
    assert_eq!(plain(&made(draft.bpe("llama-bpe")), "abca"), [b'a'.into(), bc, b'a'.into()]);
}

#[test]
fn plain_text_never_becomes_a_control_token() {
    let mut draft = Draft::byte_level();
    let end = draft.add(b"END", CONTROL, 0.0);
    let tokenizer = made(draft.bpe("llama-bpe"));
    assert_eq!(plain(&tokenizer, "END"), [69, 78, 68]);
    assert_eq!(encode(&tokenizer, "END", Special::Parse), [end]);

    let mut draft = Draft::byte_level();
    let merged = draft.merge("E", "N");
    draft.kinds[merged as usize] = CONTROL;
    assert_eq!(plain(&made(draft.bpe("gpt-2")), "END"), [69, 78, 68]);

    let mut draft = Draft::sentence_piece();
    draft.add(b"<", NORMAL, -1.0);
    draft.add(b"s>", NORMAL, -1.0);
    let tokenizer = made(draft.spm());
    assert!(!plain(&tokenizer, "<s>").contains(&1));
    assert!(!plain(&tokenizer, "<0x41>").contains(&(3 + 0x41)));
    assert_eq!(encode(&tokenizer, "<s>", Special::Parse), [1]);
}

#[test]
fn the_longest_special_token_is_taken_at_each_place() {
    let mut draft = Draft::byte_level();
    let short = draft.add(b"<|a|>", CONTROL, 0.0);
    let long = draft.add(b"<|a|>b", CONTROL, 0.0);
    let user = draft.add(b"|>", USER_DEFINED, 0.0);
    let tokenizer = made(draft.bpe("gpt-2"));
    let parse = |text| encode(&tokenizer, text, Special::Parse);
    assert_eq!(parse("<|a|><|a|>b<|a|>"), [short, long, short]);
    assert_eq!(parse("<|a"), [60, 124, 97]);
    assert_eq!(parse("<|<|a|>|>"), [60, 124, short, user]);
    assert_eq!(plain(&tokenizer, "<|a|>"), [60, 124, 97, user]);
}

#[test]
fn bytes_that_are_not_utf8_become_their_own_tokens() {
    let invalid = b"a\xFF\xE6\xBC b\xC0\x80";
    for pre in ["llama-bpe", "qwen2", "qwen35", "gpt-4o", "tekken", "gpt-2", "smollm", "default"] {
        let tokenizer = made(Draft::byte_level().bpe(pre));
        let ids = plain(&tokenizer, invalid);
        assert_eq!(ids, invalid.map(u32::from), "{pre}");
        assert_eq!(decode(&tokenizer, &ids).concat(), String::from_utf8_lossy(invalid));
    }
    let tokenizer = made(Draft::sentence_piece().spm());
    let expected = [259, 100, 258, 233, 191, 259, 101, 195, 131];
    assert_eq!(plain(&tokenizer, invalid), expected);
}

#[test]
fn a_missing_byte_token_is_left_out_or_unknown() {
    let mut draft = Draft::byte_level();
    draft.merge("a", "b");
    draft.kinds[usize::from(b'x')] = UNUSED;
    assert_eq!(plain(&made(draft.bpe("gpt-2")), "axb"), [256]);

    let mut draft = Draft::sentence_piece();
    for byte in [b'x', b'y'] {
        let id = 3 + usize::from(byte);
        (draft.kinds[id], draft.texts[id]) = (NORMAL, vec![b'!'; id]);
    }
    assert_eq!(plain(&made(draft.spm()), "axyzx"), [259, 100, 0, 125, 0]);
    draft.kinds[0] = NORMAL;
    assert_eq!(plain(&made(draft.spm()), "axyzx"), [259, 100, 125]);
}

#[test]
fn sentence_piece_puts_a_space_before_text() {
    let mut draft = Draft::sentence_piece();
    let user = draft.add(b"<u>", USER_DEFINED, 0.0);
    let tokenizer = made(draft.spm());
    let a = 3 + u32::from(b'a');
    assert!(plain(&tokenizer, "").is_empty());
    assert_eq!(plain(&tokenizer, "a"), [259, a]);
    assert_eq!(plain(&tokenizer, " a"), [259, 259, a]);
    assert_eq!(plain(&tokenizer, "a<u>a"), [259, a, user, a]);
    assert_eq!(encode(&tokenizer, "a<s>a</s><s> a", Special::Parse), [259, a, 1, 259, a, 2, 1, 259, 259, a]);
    assert_eq!(encode(&tokenizer, "a<u>a", Special::Parse), [259, a, user, 259, a]);
    assert_eq!(decode(&tokenizer, &[1, 259, a, 259, a, 2]).concat(), "a a");

    let mut file = draft.spm();
    file.set("tokenizer.ggml.add_space_prefix", false).unwrap();
    let tokenizer = made(file);
    assert_eq!(plain(&tokenizer, "a"), [a]);
    assert_eq!(decode(&tokenizer, &[259, a]).concat(), " a");
}

#[test]
fn sentence_piece_joins_the_best_score_first() {
    let mut draft = Draft::sentence_piece();
    for (text, score) in [("a", -9.0), ("b", -9.0), ("c", -9.0), ("ab", -3.0), ("bc", -2.0), ("abc", -1.0)] {
        draft.add(text.as_bytes(), NORMAL, score);
    }
    let tokenizer = made(draft.spm());
    let find = |text: &str| tokenizer.find(text.as_bytes()).unwrap();
    assert_eq!(plain(&tokenizer, "abc"), [259, find("abc")]);
    assert_eq!(plain(&tokenizer, "abbc"), [259, find("ab"), find("bc")]);
    assert_eq!(plain(&tokenizer, "abab"), [259, find("ab"), find("ab")]);
    assert_eq!(plain(&tokenizer, "cba"), [259, find("c"), find("b"), find("a")]);
}

#[test]
fn scores_that_are_no_numbers_still_encode() {
    let mut draft = Draft::sentence_piece();
    for score in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let text = vec![b'a'; draft.texts.len() - 258];
        draft.add(&text, NORMAL, score);
    }
    let tokenizer = made(draft.spm());
    assert_eq!(decode(&tokenizer, &plain(&tokenizer, "aaaaaaaaaaaaa")).concat(), "aaaaaaaaaaaaa");
}

#[test]
fn prompts_begin_and_end_as_the_vocabulary_says() {
    let prompt = |file, text: &str| {
        let mut ids = vec![9];
        made(file).encode_prompt(text.as_bytes(), Special::Parse, &mut ids);
        ids
    };
    let mut draft = Draft::byte_level();
    let bos = draft.add(b"<bos>", CONTROL, 0.0);
    assert_eq!(prompt(draft.bpe("llama-bpe"), "a"), [9, 97], "there is no such token in the file");
    let mut file = draft.bpe("llama-bpe");
    file.set("tokenizer.ggml.bos_token_id", bos).unwrap();
    file.set("tokenizer.ggml.eos_token_id", bos).unwrap();
    assert_eq!(prompt(file.clone(), "a"), [9, bos, 97]);
    assert_eq!(prompt(file.clone(), ""), [9, bos]);
    assert_eq!(prompt(file.clone(), "<bos>a"), [9, bos, 97], "not twice");
    file.set("tokenizer.ggml.add_eos_token", true).unwrap();
    file.set("tokenizer.ggml.add_bos_token", false).unwrap();
    assert_eq!(prompt(file, "a"), [9, 97, bos]);
    assert_eq!(prompt(Draft::sentence_piece().spm(), "a"), [9, 1, 259, 100]);
}
