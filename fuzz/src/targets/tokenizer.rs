//! A text for each kind of vocabulary: encoded, it is tokens that there are, and decoded it is itself again.

use super::golden;
use siskin::gguf::Gguf;
use siskin::tokenizer::{Detokenizer, Special, Tokenizer};
use std::sync::LazyLock;

/// Of byte-level BPE vocabularies whose pieces are the text's own bytes: Qwen's are those of its composed form (NFC).
const BPE: usize = 4;

static TOKENIZERS: LazyLock<Vec<Tokenizer>> = LazyLock::new(|| {
    [
        "gpt-2",
        "llama-bpe",
        "gpt-4o",
        "tekken",
        "qwen2",
        "spm",
        "spm-no-prefix",
        "spm-single-spaces",
        "spm-unknown",
    ]
    .map(|name| {
        let file = Gguf::from_bytes(name, golden(&format!("tokenizer/{name}.gguf"))).expect("a golden");
        Tokenizer::from_gguf(&file).expect("a golden")
    })
    .into()
});

/// The texts of the goldens, for each vocabulary.
pub fn seeds() -> Vec<Vec<u8>> {
    const TEXTS: [&str; 8] = [
        "Hello, world! It's 1234567 o'clock; WE'LL see.",
        "  leading\n\n\t\r\n and trailing   ",
        "<|im_start|>user\n</s><s><unk><|endoftext|>",
        "日本語のテキスト 한국어 العربية עברית ไทย",
        "\u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467} e\u{301} \u{FEFF}\u{2581}\u{2581} \u{A0}",
        "fn main() { println!(\"{:?}\", [0x1F; 8]); } // 中",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "",
    ];
    let of = |number: usize| TEXTS.iter().map(move |text| [&[number as u8], text.as_bytes()].concat());
    (0..TOKENIZERS.len()).flat_map(of).collect()
}

/// The first byte says which vocabulary.
pub fn run(data: &[u8]) {
    let Some((&first, text)) = data.split_first() else { return };
    let number = usize::from(first) % TOKENIZERS.len();
    let tokenizer = &TOKENIZERS[number];
    for special in [Special::Parse, Special::Text] {
        let mut tokens = Vec::new();
        tokenizer.encode(text, special, &mut tokens);
        let pieces: Vec<u8> = tokens.iter().flat_map(|&token| tokenizer.piece(token)).copied().collect();
        if special == Special::Text {
            let control = |&token: &u32| tokenizer.is_special(token) && tokenizer.is_end(token);
            assert!(!tokens.iter().any(control), "a text has no end in it");
            if number < BPE {
                assert_eq!(pieces, text, "a byte-level vocabulary keeps every byte");
            }
        }
        let mut detokenizer = Detokenizer::continuing(tokenizer);
        let mut decoded = String::new();
        for &token in &tokens {
            assert!((token as usize) < tokenizer.len());
            decoded.push_str(detokenizer.push(tokenizer, token));
        }
        decoded.push_str(detokenizer.finish());
        assert_eq!(decoded, String::from_utf8_lossy(&pieces), "token by token as all at once");
    }
}
