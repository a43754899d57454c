//! Adapters by request, different ones in one batch.

use crate::client::post;
use crate::{demo, start};
use serde_json::{Value, json};
use siskin::gguf::Gguf;
use siskin::gguf::write::Builder;
use siskin_quant::TensorType;
use std::path::{Path, PathBuf};
use std::thread;

/// An adapter of the demo model that changes its first queries, in a file.
pub(crate) fn adapter(folder: &Path, name: &str, seed: u32) -> PathBuf {
    adapter_of(folder, name, seed, 0)
}

/// The same of a model that is so much wider.
fn adapter_of(folder: &Path, name: &str, seed: u32, wider: u64) -> PathBuf {
    const RANK: u64 = 4;
    let matrix = "blk.0.attn_q.weight";
    let base = Gguf::open(&demo()).unwrap();
    let shape = &base.tensors().iter().find(|tensor| tensor.name == matrix).unwrap().shape;
    let (k, rows) = (shape.as_slice()[0] + wider, shape.as_slice()[1]);
    let numbers = |count: u64, seed: u32| -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
        let number = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        std::iter::repeat_with(number).take(count as usize).flat_map(f32::to_le_bytes).collect()
    };
    let mut builder = Builder::new();
    builder.set("general.type", "adapter").unwrap();
    builder.set("general.architecture", base.str("general.architecture").unwrap().unwrap()).unwrap();
    builder.set("adapter.type", "lora").unwrap();
    builder.set("adapter.lora.alpha", 8.0f32).unwrap();
    let halves = [("lora_a", [k, RANK], 2 * seed), ("lora_b", [RANK, rows], 2 * seed + 1)];
    for (half, shape, _) in &halves {
        builder.tensor(&format!("{matrix}.{half}"), shape, TensorType::F32).unwrap();
    }
    let mut writer = builder.start(Vec::new()).unwrap();
    for (half, [a, b], seed) in &halves {
        writer.tensor(&format!("{matrix}.{half}"), &numbers(a * b, *seed)).unwrap();
    }
    let path = folder.join(format!("{name}.gguf"));
    std::fs::write(&path, writer.finish().unwrap()).unwrap();
    path
}

#[test]
fn each_request_has_the_adapters_that_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let files =
        [("one", 1), ("two", 2)].map(|(name, seed)| (name.to_owned(), adapter(folder.path(), name, seed)));
    let server = start(|options| options.adapters = files.to_vec());
    let ask = |model: &str| {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "tell me a story about a fox"}],
            "temperature": 0, "max_tokens": 24});
        post(&format!("{server}/v1/chat/completions"), &body)
    };
    let said = |model: &str| ask(model).ok()["choices"][0]["message"]["content"].clone();
    let models = ["demo", "demo+one", "demo+two", "demo+one+two"];
    let alone: Vec<Value> = models.iter().map(|model| said(model)).collect();
    for (at, answer) in alone.iter().enumerate() {
        assert!(!alone[..at].contains(answer), "{} changes nothing: {answer}", models[at]);
    }
    let together: Vec<Value> = thread::scope(|scope| {
        let asked: Vec<_> = models.iter().map(|model| scope.spawn(|| said(model))).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert_eq!(together, alone);
    let refused = |model: &str| (ask(model).status, ask(model).json()["error"]["message"].clone());
    assert_eq!(refused("demo+three"), (404, json!("model demo has no adapter \"three\": one, two")));
    assert_eq!(refused("demo+one+one"), (400, json!("the adapter \"one\" is there twice")));
}

#[test]
fn an_adapter_that_is_for_none_of_the_models_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let other = adapter_of(folder.path(), "other", 1, 32);
    let said = crate::refused(|options| options.adapters = vec![("other".to_owned(), other.clone())]);
    assert!(
        said.starts_with(&format!(
            "{}: the adapter is for none of the models: model demo: ",
            other.display()
        )),
        "{said}"
    );
}

#[test]
fn adapters_are_named_in_every_api_s_own_way() {
    let folder = tempfile::tempdir().unwrap();
    let files =
        [("one", 3), ("two", 4)].map(|(name, seed)| (name.to_owned(), adapter(folder.path(), name, seed)));
    let server = start(|options| options.adapters = files.to_vec());
    let listed = crate::client::get(&format!("{server}/lora-adapters")).ok();
    assert_eq!(listed[1], json!({"id": 1, "path": "two", "scale": 0.0}));
    let question = json!([{"role": "user", "content": "tell me a story about a fox"}]);
    let chat = |more: Value| {
        let mut body = json!({"messages": question, "temperature": 0, "max_tokens": 24});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post(&format!("{server}/v1/chat/completions"), &body)
    };
    let said = |more: Value| chat(more).ok()["choices"][0]["message"]["content"].clone();
    let named = said(json!({"model": "demo+two"}));
    assert_ne!(named, said(json!({})));
    for lora in [
        json!([{"id": 1}]),
        json!([{"name": "two", "scale": 1.0}]),
        json!([{"id": 0, "scale": 0}, {"id": 1}]),
    ] {
        assert_eq!(said(json!({"lora": lora})), named, "{lora}");
    }
    let prompt =
        post(&format!("{server}/apply-template"), &json!({"messages": question})).ok()["prompt"].clone();
    let body = json!({"prompt": prompt, "lora": [{"id": 1}], "temperature": 0, "n_predict": 24});
    assert_eq!(post(&format!("{server}/completion"), &body).ok()["content"], named);
    let body = json!({"model": "demo+two", "messages": question, "stream": false,
        "options": {"temperature": 0, "num_predict": 24}});
    assert_eq!(post(&format!("{server}/api/chat"), &body).ok()["message"]["content"], named);
    let body = json!({"model": "demo+two", "messages": question, "max_tokens": 24, "temperature": 0});
    assert_eq!(post(&format!("{server}/v1/messages"), &body).ok()["content"][0]["text"], named);
    let counted = post(&format!("{server}/v1/messages/count_tokens"), &body);
    assert!(counted.ok()["input_tokens"].as_u64().unwrap() > 1);
    for (lora, status) in [(json!([{"id": 2}]), 400), (json!([{"name": "three"}]), 404), (json!("one"), 400)]
    {
        assert_eq!(chat(json!({"lora": lora})).status, status, "{lora}");
    }
}
