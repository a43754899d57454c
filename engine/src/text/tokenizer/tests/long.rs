use super::*;

/// Much text without a place to cut it; [`Draft::double`] made what it merges to.
#[test]
fn long_unbroken_words_take_no_longer_than_broken_ones() {
    const LONG: usize = 1 << 20;
    const MANY: usize = 1 << 17;
    let mut draft = Draft::byte_level();
    let letters = draft.double("a", 1024);
    let dots = draft.double(".", 64);
    let spaces = draft.double(" ", 64);
    let [han, emoji] = ["漢", "😀"].map(|character| {
        for end in 1..character.len() {
            let (left, right) = character.as_bytes().split_at(end);
            draft.merge(left, &right[..1]);
        }
        draft.double(character, 4)
    });
    for pre in ["llama-bpe", "qwen2", "gpt-2", "smollm", "default"] {
        let tokenizer = made(draft.bpe(pre));
        assert_eq!(plain(&tokenizer, "a".repeat(LONG)), vec![letters; LONG / 1024], "{pre}");
        assert_eq!(plain(&tokenizer, "漢".repeat(MANY)), vec![han; MANY / 4], "{pre}");
        assert_eq!(plain(&tokenizer, ".".repeat(MANY)), vec![dots; MANY / 64], "{pre}");
        assert_eq!(plain(&tokenizer, " ".repeat(MANY)), vec![spaces; MANY / 64], "{pre}");
        assert_eq!(plain(&tokenizer, "😀".repeat(MANY)), vec![emoji; MANY / 4], "{pre}");
        assert_eq!(plain(&tokenizer, "7".repeat(MANY)), vec![u32::from(b'7'); MANY], "{pre}");
        assert_eq!(plain(&tokenizer, vec![0xFF; MANY]), vec![0xFF; MANY], "{pre}");
    }
}

#[test]
fn long_text_of_sentence_piece_takes_no_longer() {
    const MANY: usize = 1 << 17;
    let mut draft = Draft::sentence_piece();
    let mut last = Vec::new();
    for unit in ["▁", "a", "漢", "."] {
        for double in 0..7 {
            let text = unit.repeat(1 << double);
            if text != "▁" {
                draft.add(text.as_bytes(), NORMAL, double as f32 - 100.0);
            }
        }
        last.push(draft.texts.len() as u32 - 1);
    }
    let mut file = draft.spm();
    file.set("tokenizer.ggml.add_space_prefix", false).unwrap();
    let tokenizer = made(file);
    for (unit, &whole) in [" ", "a", "漢", "."].iter().zip(&last) {
        assert_eq!(plain(&tokenizer, unit.repeat(MANY)), vec![whole; MANY / 64], "{unit}");
    }
    let bytes: Vec<u32> = "😀".bytes().map(|byte| 3 + u32::from(byte)).collect();
    assert_eq!(plain(&tokenizer, "😀".repeat(MANY)), bytes.repeat(MANY));
}

#[test]
fn text_full_of_beginnings_of_special_tokens_takes_no_longer() {
    const MANY: usize = 1 << 17;
    let mut draft = Draft::byte_level();
    let token = draft.add(b"<|<|<|<|<|<|<|end|>", CONTROL, 0.0);
    let tokenizer = made(draft.bpe("gpt-2"));
    let text = "<|".repeat(MANY) + "end|>";
    let ids = encode(&tokenizer, text, Special::Parse);
    assert_eq!(ids, [[60, 124].repeat(MANY - 7), vec![token]].concat());
}
