//! What takes hours: `bash ci/real --hours`.

use super::{divergences, model, printed, quantized};
use crate::common::text;
use std::fs;

/// Fitted to the size of its Q4_0, with the same importance matrix, a published model diverges less from itself than that.
fn diverges_less_where_it_is_fitted(published: &str) {
    let (folder, published) = (tempfile::tempdir().unwrap(), model(published));
    let [imatrix, mix, fitted] = ["imatrix", "mix", "fitted"].map(|name| folder.path().join(name));
    printed(&["imatrix", text(&published), "-o", text(&imatrix)]);
    let weighted = ["--imatrix", text(&imatrix)];
    quantized(&published, &mix, &[&["--type", "q4_0"], &weighted[..]].concat());
    let size = fs::metadata(&mix).unwrap().len();
    quantized(&published, &fitted, &[&["--fit", &size.to_string()], &weighted[..]].concat());
    let used = fs::metadata(&fitted).unwrap().len();
    assert!(used <= size && used > size - size / 100, "{used} of {size} bytes");
    let [of_mix, of_fitted] = divergences(&[&mix, &fitted], &published)[..] else { panic!() };
    assert!(of_fitted <= 0.9 * of_mix, "{of_fitted} nats, and {of_mix} of the mix");
}

#[test]
#[ignore = "needs the models that ci/real fetches, and an hour"]
fn smollm2_diverges_less_where_it_is_fitted() {
    diverges_less_where_it_is_fitted("smollm2.gguf");
}

#[test]
#[ignore = "needs the models that ci/real fetches, and an hour"]
fn gemma3_diverges_less_where_it_is_fitted() {
    diverges_less_where_it_is_fitted("gemma3.gguf");
}
