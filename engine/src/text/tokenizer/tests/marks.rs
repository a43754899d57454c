use super::*;

const TEMPLATE: &str = "{{ '<start_of_turn>user\n' + m + '<end_of_turn>' }}</s>";

#[test]
fn generation_ends_where_the_file_or_a_control_token_says() {
    let mut draft = Draft::byte_level();
    let turn = draft.add(b"<|im_end|>", CONTROL, 0.0);
    let text = draft.add(b"<|endoftext|>", CONTROL, 0.0);
    let message = draft.add(b"<|eom_id|>", CONTROL, 0.0);
    let file_end = draft.add(b"<|file_sep|>", CONTROL, 0.0);
    let own = draft.add(b"<stop>", NORMAL, 0.0);
    let mut file = draft.bpe("gpt-2");
    file.set("tokenizer.ggml.eos_token_id", own).unwrap();
    let tokenizer = made(file);
    assert_eq!(tokenizer.ends(), [turn, text, message, file_end, own]);
    assert_eq!((tokenizer.eos(), tokenizer.eot(), tokenizer.eom()), (Some(own), Some(turn), Some(message)));
    assert!(tokenizer.is_end(turn) && !tokenizer.is_end(97) && !tokenizer.is_end(u32::MAX));
    assert!(tokenizer.is_special(own), "what a key names is no text of a message");
    assert!(tokenizer.corrected().is_empty());
}

#[test]
fn text_ends_nothing_whatever_it_says() {
    for text in ["</s>", "<EOT>", "<PAD>", "[PAD]", "<|end|>", "<eos>", "<|fim_pad|>", "<REPO>", "<|im_end|>"]
    {
        for kind in [NORMAL, USER_DEFINED] {
            let mut draft = Draft::byte_level();
            let id = draft.add(text.as_bytes(), kind, 0.0);
            let tokenizer = made(draft.bpe("gpt-2"));
            assert!(!tokenizer.is_end(id) && !tokenizer.is_special(id), "{text}");
            assert_eq!(tokenizer.piece(id), text.as_bytes());
            assert_eq!((tokenizer.eot(), tokenizer.eom()), (None, None), "{text}");
            let spelled: Vec<u32> = text.bytes().map(u32::from).collect();
            let expected = if kind == NORMAL { spelled } else { vec![id] };
            assert_eq!(plain(&tokenizer, text), expected, "{text}");
        }
    }
}

/// As Gemma 3 has it: `<s>` and `</s>` are two of its HTML tags, and the text's own marks have other names.
#[test]
fn tags_that_look_like_marks_are_tokens_of_their_own() {
    let mut draft = Draft::sentence_piece();
    (draft.texts[1], draft.texts[2]) = (b"<eos>".to_vec(), b"<bos>".to_vec());
    let (open, close) = (draft.add(b"<s>", USER_DEFINED, 0.0), draft.add(b"</s>", USER_DEFINED, 0.0));
    let old = draft.word("old");
    let mut file = draft.spm();
    file.set("tokenizer.ggml.eos_token_id", 1_u32).unwrap();
    file.set("tokenizer.ggml.bos_token_id", 2_u32).unwrap();
    file.set("tokenizer.ggml.add_space_prefix", false).unwrap();
    file.set("tokenizer.chat_template", "{{ bos_token + '<start_of_turn>' }}").unwrap();
    let tokenizer = made(file);
    assert_eq!(plain(&tokenizer, "<s>old</s>"), [open, old, close]);
    assert_eq!(decode(&tokenizer, &[open, old, close]).concat(), "<s>old</s>");
    assert_eq!(tokenizer.ends(), [1]);
}

#[test]
fn marks_that_the_file_s_template_spells_are_control_tokens() {
    for kind in [NORMAL, USER_DEFINED] {
        let mut draft = Draft::byte_level();
        let start = draft.add(b"<start_of_turn>", kind, 0.0);
        let end = draft.add(b"<end_of_turn>", kind, 0.0);
        let user = draft.add(b"user", NORMAL, 0.0);
        let other = draft.add(b"<|im_end|>", kind, 0.0);
        let mut file = draft.bpe("gpt-2");
        file.set("tokenizer.chat_template", TEMPLATE).unwrap();
        let tokenizer = made(file);
        assert_eq!(tokenizer.corrected(), [start, end]);
        assert!(tokenizer.is_special(start) && !tokenizer.is_special(user) && !tokenizer.is_special(other));
        assert_eq!(tokenizer.ends(), [end]);
        assert_eq!(tokenizer.eot(), Some(end));
        assert_eq!(encode(&tokenizer, "<start_of_turn>a<end_of_turn>", Special::Parse), [start, 97, end]);
        assert!(!plain(&tokenizer, "<start_of_turn>a<end_of_turn>").contains(&end), "a message spells none");
    }
}

#[test]
fn of_a_mark_that_is_there_twice_the_control_token_is_meant() {
    let mut draft = Draft::byte_level();
    let text = draft.add(b"<end_of_turn>", NORMAL, 0.0);
    let control = draft.add(b"<end_of_turn>", CONTROL, 0.0);
    let mut file = draft.bpe("gpt-2");
    file.set("tokenizer.chat_template", TEMPLATE).unwrap();
    let tokenizer = made(file);
    assert_eq!((tokenizer.ends(), tokenizer.eot()), (&[control][..], Some(control)));
    assert!(!tokenizer.is_special(text) && tokenizer.corrected().is_empty());
}

#[test]
fn a_key_that_names_a_word_makes_no_control_token_of_it() {
    let mut file = Draft::byte_level().bpe("gpt-2");
    file.set("tokenizer.ggml.eos_token_id", 97_u32).unwrap();
    let tokenizer = made(file);
    assert_eq!(plain(&tokenizer, "a"), [97]);
    assert!(tokenizer.is_end(97));
}

#[test]
fn tokens_take_white_space_along_where_the_file_says_so() {
    let mut draft = Draft::byte_level();
    let (left, right) = (draft.add(b"<l>", CONTROL, 0.0), draft.add(b"<r>", USER_DEFINED, 0.0));
    let text = "a \u{3000}<l> \u{3000}b \n<r>\r\n\u{3000} c<r> <r> \u{200b}<l>\n";
    let encoded = |left: Vec<i32>, right: Vec<i32>| {
        let mut file = draft.bpe("gpt-2");
        file.set("tokenizer.ggml.lstrip_tokens", OwnedArray::I32(left)).unwrap();
        file.set("tokenizer.ggml.rstrip_tokens", OwnedArray::I32(right)).unwrap();
        load(file).map(|tokenizer| {
            let ids = encode(&tokenizer, text, Special::Parse);
            let spelled = |id: &u32| {
                if tokenizer.is_special(*id) { tokenizer.text(*id) } else { tokenizer.piece(*id) }
            };
            String::from_utf8(ids.iter().flat_map(spelled).copied().collect()).unwrap()
        })
    };
    // Hugging Face's `tokenizers`, with these tokens as `AddedToken(text, lstrip=..., rstrip=...)`.
    assert_eq!(encoded(vec![], vec![]).unwrap(), text);
    let lefts = "a<l> \u{3000}b \n<r>\r\n\u{3000} c<r> <r> \u{200b}<l>\n";
    assert_eq!(encoded(vec![left as i32], vec![]).unwrap(), lefts);
    let rights = "a \u{3000}<l> \u{3000}b \n<r>c<r><r>\u{200b}<l>\n";
    assert_eq!(encoded(vec![], vec![right as i32]).unwrap(), rights);
    let error = encoded(vec![], vec![9999]).unwrap_err().to_string();
    assert_eq!(error, "tokenizer.ggml.rstrip_tokens[0]: found 9999, expected a token below 258");
}

/// As `<|user|>\nhi<|end|>\n<|assistant|>\n` is 32010 7251 32007 32001 of Phi-3, `\u{2581}hi` in the middle.
#[test]
fn phi_3_is_known_by_its_name() {
    let mut draft = Draft::sentence_piece();
    let hi = draft.word("hi");
    let [user, end, assistant] =
        ["<|user|>", "<|end|>", "<|assistant|>"].map(|text| draft.add(text.as_bytes(), CONTROL, 0.0));
    for (name, strips) in [("Phi-3 Mini", true), ("my phi3.5 tune", true), ("Phi-4", false)] {
        let mut file = draft.spm();
        file.set("general.name", name).unwrap();
        let ids = encode(&made(file), "<|user|>\nhi<|end|>\n<|assistant|>\n", Special::Parse);
        let without: Vec<u32> = vec![user, 259, hi, end, assistant];
        assert_eq!(ids == without, strips, "{name}: {ids:?}");
    }
}
