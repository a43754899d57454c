use anyhow::{Context, Result, bail};
use siskin::gguf::Gguf;
use siskin::gguf::write::Builder;
use siskin::plan::Budget;
use siskin_kit::Random;
use siskin_quant::TensorType;

/// A LoRA adapter of this rank with random numbers, for all matrices of the layers of the model in `base`: those of experts
/// and the kernels of convolutions are none.
///
/// # Errors
/// A model without an architecture; numbers that there is no room for within the `budget`, twice: as a file in memory, and
/// attached.
pub fn random_adapter(base: &Gguf, rank: usize, budget: Option<&Budget>) -> Result<Gguf> {
    let mut builder = Builder::new();
    builder.set("general.type", "adapter")?;
    builder.set("general.architecture", base.require_str("general.architecture")?)?;
    builder.set("adapter.type", "lora")?.set("adapter.lora.alpha", rank as f32)?;
    let (rank, mut halves) = (rank as u64, Vec::new());
    for tensor in base.tensors().iter().filter(|tensor| is_of_layer(&tensor.name)) {
        if let [row_len, rows] = *tensor.shape {
            halves.push((format!("{}.lora_a", tensor.name), [row_len, rank]));
            halves.push((format!("{}.lora_b", tensor.name), [rank, rows]));
        }
    }
    let elements = halves.iter().map(|(_, [row_len, rows])| row_len.saturating_mul(*rows));
    let bytes = elements.fold(0, u64::saturating_add).saturating_mul(size_of::<f32>() as u64);
    let mebibytes = bytes as f64 * 2.0 / f64::from(1 << 20);
    let too_much = || format!("an adapter of rank {rank} needs {mebibytes:.1} MiB");
    if let Some(budget) = budget.filter(|budget| bytes.saturating_mul(2) > budget.bytes()) {
        bail!("{}, there is room for {budget}", too_much());
    }
    let mut numbers = Vec::new();
    numbers.try_reserve_exact(usize::try_from(bytes)?).with_context(too_much)?;
    for (name, shape) in &halves {
        builder.tensor(name, shape, TensorType::F32)?;
    }
    let mut writer = builder.start(numbers)?;
    let mut random = Random::new(1);
    for (name, [row_len, rows]) in &halves {
        let deviation = 1.0 / (*row_len as f32).sqrt();
        let numbers = (0..row_len * rows).flat_map(|_| (deviation * random.normal()).to_le_bytes());
        writer.tensor(name, &numbers.collect::<Vec<u8>>())?;
    }
    Ok(Gguf::from_bytes("the random adapter", writer.finish()?)?)
}

fn is_of_layer(name: &str) -> bool {
    name.starts_with("blk.") && !name.ends_with(".shortconv.conv.weight")
}
