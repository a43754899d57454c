//! Adapters as the GGUF files that sessions attach.

use anyhow::{Result, ensure};
use siskin::gguf::write::Builder;
use siskin::training::{Change, Trainer};
use siskin_quant::TensorType;

/// The trainer's adapter as a file, as llama.cpp's converter would write it. The changes' scales times their ranks are `alpha`.
///
/// # Errors
/// Changes that no single alpha makes.
pub fn bytes(trainer: &Trainer, changes: &[Change], alpha: f32) -> Result<Vec<u8>> {
    let mut builder = Builder::new();
    builder.set("general.type", "adapter")?;
    builder.set("general.architecture", trainer.model().architecture())?;
    builder.set("adapter.type", "lora")?;
    builder.set("adapter.lora.alpha", alpha)?;
    let mut tensors = Vec::new();
    for Change { matrix, rank, scale } in changes {
        ensure!(alpha / *rank as f32 == *scale, "{matrix}: expected a scale of alpha / rank");
        let [a, b] = trainer.numbers(matrix)?;
        let (row_len, rows) = (a.len() / rank, b.len() / rank);
        tensors.push((format!("{matrix}.lora_a"), [row_len, *rank], a));
        tensors.push((format!("{matrix}.lora_b"), [*rank, rows], b));
    }
    for (name, shape, _) in &tensors {
        builder.tensor(name, &shape.map(|n| n as u64), TensorType::F32)?;
    }
    let mut writer = builder.start(Vec::new())?;
    for (name, _, numbers) in &tensors {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        writer.tensor(name, &bytes)?;
    }
    Ok(writer.finish()?)
}
