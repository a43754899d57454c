//! What llama.cpp computes from the files and adapters that the program makes of the families' tiny checkpoints.
//! `goldens/llama_cpp/make_llama_cpp_goldens.py` asked it.

use crate::common::{families, here, ids, logits_of, names, nmse, npy, quantized, text};

/// The checkpoints that llama.cpp can read, and how many of the prompt's tokens it sees as they are meant: it does not
/// heed the windows of three.
const CHECKPOINTS: [(&str, usize); 14] = [
    ("gemma2", 60),
    ("gemma3", 60),
    ("granite", 60),
    ("granite-moe", 60),
    ("lfm2", 60),
    ("ministral", 16),
    ("mistral", 16),
    ("olmo2", 60),
    ("phi3", 16),
    ("phi4-mini", 60),
    ("qwen2", 60),
    ("qwen3", 60),
    ("qwen3-moe", 60),
    ("smollm3", 60),
];

#[test]
fn llama_cpp_computes_the_same_from_our_files_and_adapters() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.gguf");
    let theirs = here("tests/goldens/llama_cpp");
    let mut compared = 0;
    for (name, tokens) in CHECKPOINTS {
        let checkpoint = families().join(name);
        quantized(&checkpoint, &model, "f32");
        let ids = ids(&checkpoint);
        let agree = |adapters: &[&str], golden: &str| {
            let error = nmse(&logits_of(&model, &ids[..tokens], adapters), &npy(&theirs.join(golden)));
            assert!(error < 1e-6, "{golden}: {error:e}");
        };
        agree(&[], &format!("{name}.npy"));
        compared += 1;
        let adapter = checkpoint.join("adapter");
        if adapter.exists() {
            agree(&[text(&adapter)], &format!("{name}-adapted.npy"));
            compared += 1;
        }
    }
    // The others are the script.
    assert_eq!(compared + 1, names(&theirs).len());
}
