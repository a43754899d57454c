//! A checkpoint's weights, or an adapter's: the folder is refused, or it becomes a file that is read again.

use super::golden;
use rayon::{ThreadPool, ThreadPoolBuilder};
use siskin::gguf::Gguf;
use siskin_convert::quantize::{FileType, Plan, Recipe};
use siskin_convert::{Model, peft};
use siskin_kit::{Inputs, Output};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use tempfile::TempDir;

const CHECKPOINT: &str = "families/qwen3";
const BASE: &str = "families/qwen3.gguf";
const CHECKPOINT_WEIGHTS: &str = "model.safetensors";
const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

static BASE_FILE: LazyLock<Gguf> =
    LazyLock::new(|| Gguf::from_bytes("base", golden(BASE)).expect("a golden"));
static POOL: LazyLock<ThreadPool> =
    LazyLock::new(|| ThreadPoolBuilder::new().num_threads(1).build().expect("a thread"));

thread_local! {
    /// The folders, whole but for the weights.
    static FOLDERS: [TempDir; 2] = [
        folder(CHECKPOINT, &["config.json", "tokenizer.json", "tokenizer_config.json"]),
        folder(&format!("{CHECKPOINT}/adapter"), &["adapter_config.json"]),
    ];
}

fn folder(from: &str, files: &[&str]) -> TempDir {
    // In memory, where there is such a place.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
    for file in files {
        fs::write(folder.path().join(file), golden(&format!("{from}/{file}"))).expect("room");
    }
    folder
}

/// The weights of each.
pub fn seeds() -> Vec<Vec<u8>> {
    let adapter = format!("adapter/{ADAPTER_WEIGHTS}");
    [(0, CHECKPOINT_WEIGHTS), (1, &adapter)]
        .map(|(number, file)| [&[number], golden(&format!("{CHECKPOINT}/{file}")).as_slice()].concat())
        .to_vec()
}

/// The first byte says which.
pub fn run(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    FOLDERS.with(|[checkpoint, adapter]| {
        if first % 2 == 0 {
            fs::write(checkpoint.path().join(CHECKPOINT_WEIGHTS), bytes).expect("room");
            convert(checkpoint.path());
        } else {
            fs::write(adapter.path().join(ADAPTER_WEIGHTS), bytes).expect("room");
            if let Ok(file) = peft::convert(adapter.path(), &BASE_FILE) {
                Gguf::from_bytes("adapter", file).expect("what is written is read");
            }
        }
    });
}

fn convert(folder: &Path) {
    let Ok(model) = Model::open(folder) else { return };
    let file_type = FileType::Q8_0;
    let choices = model.choose(file_type, &model.kept(&[]).expect("nothing kept"), false);
    let Ok(plan) = Plan::new(&model, &choices, Recipe::Mix(file_type), None, false) else { return };
    let path = folder.join("out.gguf");
    let output = Output::create(&path, &Inputs::of(model.inputs())).expect("room");
    if plan.write(vec![output], &POOL).is_ok() {
        let file = Gguf::read(&path).expect("what is written is read");
        assert_eq!(file.file_len(), plan.file_len());
    }
}
