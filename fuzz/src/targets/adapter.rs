//! An adapter in GGUF: it is refused, or it is attached, answers, and comes off without a trace.

use super::{golden, options};
use siskin::gguf::Gguf;
use siskin::{Adapter, AdapterOutline, Model};
use std::sync::LazyLock;

static MODELS: LazyLock<Vec<Model>> = LazyLock::new(|| {
    ["qwen3-moe", "granite", "phi3"]
        .map(|name| {
            let file = Gguf::from_bytes(name, golden(&format!("families/{name}.gguf"))).expect("a golden");
            Model::from_gguf(&file).expect("a golden")
        })
        .into()
});

/// An adapter of each model.
pub fn seeds() -> Vec<Vec<u8>> {
    let of =
        |(number, name)| [&[number], golden(&format!("families/{name}/adapter.gguf")).as_slice()].concat();
    [(0, "qwen3-moe"), (1, "granite"), (2, "phi3")].map(of).to_vec()
}

/// The first byte says whose it is.
pub fn run(data: &[u8]) {
    let Some((&first, bytes)) = data.split_first() else { return };
    let Ok(file) = Gguf::from_bytes("fuzzed", bytes.to_vec()) else { return };
    let model = &MODELS[usize::from(first) % MODELS.len()];
    let outline = AdapterOutline::of(&file);
    let Ok(adapter) = Adapter::from_gguf(&file, model) else { return };
    assert!(outline.is_ok(), "an adapter that loads has an outline");
    let mut session = model.session(&options(model)).expect("a golden");
    session.feed(&[1, 2]).expect("tokens that there are");
    let before = session.logits().expect("logits").to_vec();
    session.clear();
    if session.attach(&adapter, 0.5).is_ok() {
        // Its numbers may be too large; that is an error, and no more.
        let _ = session.feed(&[1, 2]);
        assert!(session.detach(&adapter));
    }
    session.clear();
    session.feed(&[1, 2]).expect("tokens that there are");
    assert!(session.logits().expect("logits") == before, "an adapter that has come off leaves no trace");
}
