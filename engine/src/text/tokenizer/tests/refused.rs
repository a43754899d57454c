use super::*;

#[test]
fn unknown_models_and_pre_tokenizers_are_refused_by_name() {
    assert_eq!(
        error(Draft::byte_level().metadata("t5")),
        r#"tokenizer.ggml.model: "t5" is not supported, expected one of gpt2, llama"#
    );
    let message = error(Draft::byte_level().bpe("deepseek-llm"));
    assert!(
        message.starts_with(
            r#"tokenizer.ggml.pre: "deepseek-llm" is not supported, expected one of llama-bpe, "#
        )
    );
    assert!(message.contains("qwen2, ") && message.contains("smollm, ") && message.contains("gpt-2, "));
    assert_eq!(error(Builder::new()), "tokenizer.ggml.model: missing, expected gpt2 or llama");
}

#[test]
fn arrays_must_fit_the_tokens() {
    let draft = Draft::sentence_piece();
    let with = |key: &str, array| {
        let mut file = draft.spm();
        file.set(key, array).unwrap();
        error(file)
    };
    assert_eq!(
        with("tokenizer.ggml.scores", OwnedArray::F32(vec![0.0; 3])),
        "tokenizer.ggml.scores: found 3 entries, expected 260, one a token"
    );
    assert_eq!(
        with("tokenizer.ggml.token_type", OwnedArray::I32(vec![1; 300])),
        "tokenizer.ggml.token_type: found 300 entries, expected 260, one a token"
    );
    assert_eq!(
        with("tokenizer.ggml.scores", OwnedArray::I32(vec![0; 260])),
        "tokenizer.ggml.scores[0]: found 0, expected an f32"
    );
    assert_eq!(
        with("tokenizer.ggml.token_type", OwnedArray::Str(vec![b"1".to_vec(); 260])),
        "tokenizer.ggml.token_type[0]: found string, expected an integer from 0 to 6"
    );
    let mut kinds = draft.kinds.clone();
    kinds[7] = -1;
    assert_eq!(
        with("tokenizer.ggml.token_type", OwnedArray::I32(kinds)),
        "tokenizer.ggml.token_type[7]: found -1, expected an integer from 0 to 6"
    );
    assert_eq!(
        with("tokenizer.ggml.tokens", OwnedArray::Str(vec![])),
        "tokenizer.ggml.tokens: found no tokens, expected at least one"
    );
    assert_eq!(
        with("tokenizer.ggml.tokens", OwnedArray::U8(vec![1])),
        "tokenizer.ggml.tokens[0]: found 1, expected a string"
    );
    let mut file = draft.spm();
    file.set("tokenizer.ggml.tokens", "a").unwrap();
    assert_eq!(error(file), "tokenizer.ggml.tokens: found string, expected an array of strings");
}

#[test]
fn arrays_must_be_there() {
    let mut file = Builder::new();
    file.set("tokenizer.ggml.model", "llama").unwrap();
    assert_eq!(error(file.clone()), "tokenizer.ggml.tokens: missing, expected an array of strings");
    file.set("tokenizer.ggml.tokens", OwnedArray::Str(vec![b"a".to_vec()])).unwrap();
    assert_eq!(error(file.clone()), "tokenizer.ggml.scores: missing, expected an array of f32, one a token");
    file.set("tokenizer.ggml.model", "gpt2").unwrap();
    assert_eq!(error(file), "tokenizer.ggml.merges: missing, expected an array of strings");
}

#[test]
fn special_tokens_must_be_in_the_vocabulary() {
    for name in ["bos", "eos", "eot", "eom", "unknown", "fim_pad"] {
        let mut file = Draft::byte_level().bpe("gpt-2");
        let key = format!("tokenizer.ggml.{name}_token_id");
        file.set(&key, 256_u32).unwrap();
        assert_eq!(error(file), format!("{key}: found 256, expected a token below 256"));
    }
    let mut file = Draft::byte_level().bpe("gpt-2");
    file.set("tokenizer.ggml.bos_token_id", "1").unwrap();
    assert!(error(file).contains("tokenizer.ggml.bos_token_id"));
}

#[test]
fn a_padding_token_outside_the_vocabulary_is_as_good_as_none() {
    let mut file = Draft::byte_level().bpe("gpt-2");
    file.set("tokenizer.ggml.padding_token_id", u32::MAX).unwrap();
    assert_eq!(made(file.clone()).pad(), None);
    file.set("tokenizer.ggml.padding_token_id", 7_u32).unwrap();
    assert_eq!(made(file).pad(), Some(7));
}

#[test]
fn byte_tokens_must_name_a_byte() {
    let mut draft = Draft::sentence_piece();
    draft.texts[3] = b"<0xZZ>".to_vec();
    assert_eq!(
        error(draft.spm()),
        "tokenizer.ggml.tokens[3]: found <0xZZ>, expected a byte token, <0x00> to <0xFF>"
    );
}

#[test]
fn merges_must_be_of_tokens() {
    let message = |merge: &[u8]| {
        let mut draft = Draft::byte_level();
        draft.merge("a", "b");
        draft.merges.push(merge.to_vec());
        error(draft.bpe("gpt-2"))
    };
    for (merge, shown) in
        [(&b"ab"[..], "ab"), (b"", ""), (b"a ", "a "), (b" a", " a"), (b"\xFF\n", r"\xff\n")]
    {
        let expected =
            format!("tokenizer.ggml.merges[1]: found {shown}, expected two tokens with a space between");
        assert_eq!(message(merge), expected);
    }
    for merge in ["b c", "ab ?c", "xyz a"] {
        let wanted = "two tokens of the vocabulary that together are a third";
        assert_eq!(
            message(merge.as_bytes()),
            format!("tokenizer.ggml.merges[1]: found {merge}, expected {wanted}")
        );
    }
}

#[test]
fn special_tokens_have_a_longest() {
    let mut draft = Draft::byte_level();
    draft.add(&[b'x'; 1024], CONTROL, 0.0);
    assert!(load(draft.bpe("gpt-2")).is_ok());
    draft.add(&[b'x'; 1025], CONTROL, 0.0);
    assert_eq!(
        error(draft.bpe("gpt-2")),
        "tokenizer.ggml.tokens[257]: found a control or user-defined token of 1025 bytes, expected at most 1024"
    );
}
