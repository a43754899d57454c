//! What takes hours: `bash ci/real --hours`.

use super::{divergences, model, printed, quantized};
use crate::common::text;
use std::fs;

/// Fitted to the size of its Q4_0, with the same importance matrix, a published model diverges from itself as docs/quantization.md
/// says: the mean KL divergences of both in nats, and the fitted one's bytes.
fn is_fitted_as_is_documented(published: &str, expected: [&str; 2], bytes: u64) {
    let (folder, published) = (tempfile::tempdir().unwrap(), model(published));
    let [imatrix, mix, fitted] = ["imatrix", "mix", "fitted"].map(|name| folder.path().join(name));
    printed(&["imatrix", text(&published), "-o", text(&imatrix)]);
    let weighted = ["--imatrix", text(&imatrix)];
    quantized(&published, &mix, &[&["--type", "q4_0"], &weighted[..]].concat());
    let size = fs::metadata(&mix).unwrap().len();
    quantized(&published, &fitted, &[&["--fit", &size.to_string()], &weighted[..]].concat());
    let used = fs::metadata(&fitted).unwrap().len();
    assert!(used == bytes && used <= size, "{used} of {size} bytes");
    let found = divergences(&[&mix, &fitted], &published);
    assert_eq!(found.iter().map(|kl| format!("{kl:.4}")).collect::<Vec<_>>(), expected);
}

#[test]
#[ignore = "needs the models that ci/real fetches, and minutes"]
fn smollm2_is_fitted_as_is_documented() {
    is_fitted_as_is_documented("smollm2.gguf", ["0.1471", "0.0106"], 89_515_296);
}

#[test]
#[ignore = "needs the models that ci/real fetches, and an hour"]
fn gemma3_is_fitted_as_is_documented() {
    is_fitted_as_is_documented("gemma3.gguf", ["0.1510", "0.0099"], 200_684_448);
}
