//! LoRA adapters in the folders of Hugging Face's PEFT.

use super::document::Document;
use super::families::Family;
use super::safetensors::{Stored, Weights, tensor_type};
use super::tensor::{RowOrder, Source, Tensor};
use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use regex_lite::Regex;
use serde_json::Value;
use siskin::gguf::Gguf;
use siskin::gguf::write::Builder;
use siskin::template::Json;
use siskin_quant::TensorType;
use std::collections::BTreeMap;
use std::path::Path;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// The matrices of a layer, as Hugging Face and GGUF call them, of all families. Rows of the first two are in another
/// order in some families.
const MATRICES: [(&str, &str); 16] = [
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.qkv_proj", "attn_qkv"),
    ("self_attn.o_proj", "attn_output"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.gate_up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("mlp.gate", "ffn_gate_inp"),
    ("self_attn.out_proj", "attn_output"),
    ("feed_forward.w1", "ffn_gate"),
    ("feed_forward.w3", "ffn_up"),
    ("feed_forward.w2", "ffn_down"),
    ("conv.in_proj", "shortconv.in_proj"),
    ("conv.out_proj", "shortconv.out_proj"),
];
const ROTATED: usize = 2;

/// One half of a change of a matrix.
struct Half<'a> {
    /// The matrix, as the folder calls it and as GGUF does.
    module: &'a str,
    name: String,
    order: RowOrder,
    stored: &'a Stored,
}

/// The adapter in a folder as a GGUF file for the model in `base`, as llama.cpp's converter would write it.
///
/// # Errors
/// A folder that holds no LoRA adapter, a kind of LoRA that is another computation, such as DoRA, or tensors that no
/// matrix of the model's layers has.
pub fn convert(folder: &Path, base: &Gguf) -> Result<Vec<u8>> {
    read(folder, base).with_context(|| folder.display().to_string())
}

fn read(folder: &Path, base: &Gguf) -> Result<Vec<u8>> {
    let config = Document::open(folder, CONFIG)?;
    refuse_variants(&config)?;
    let architecture = base.require_str("general.architecture")?;
    Family::check_architecture(architecture).with_context(|| base.name().to_owned())?;
    ensure!(folder.join(WEIGHTS).exists(), "found no {WEIGHTS}, and no other file is read for it");
    let weights = Weights::of_file(folder, WEIGHTS)?;
    let rotated = match Family::interleaves(architecture) {
        true => RowOrder::Interleave { head_dim: head_dim(base, architecture)? },
        false => RowOrder::Same,
    };
    let halves = |suffix: &str| -> Result<BTreeMap<String, Half<'_>>> {
        let mut all = BTreeMap::new();
        for (name, stored) in weights.tensors.iter().filter(|(name, _)| name.ends_with(suffix)) {
            let module = name.strip_suffix(suffix).and_then(|name| name.strip_prefix("base_model.model."));
            let found = module.and_then(|module| Some((module, matrix(module, rotated)?)));
            let Some((module, (gguf, order))) = found else {
                return Err(stray(name));
            };
            all.insert(gguf.clone(), Half { module, name: gguf, order, stored });
        }
        Ok(all)
    };
    let (a, b) = (halves(".lora_A.weight")?, halves(".lora_B.weight")?);
    let known =
        |name: &&String| [".lora_A.weight", ".lora_B.weight"].iter().any(|suffix| name.ends_with(suffix));
    if let Some(name) = weights.tensors.keys().find(|name| !known(name)) {
        // What an embedding's halves are called.
        if name.contains(".lora_embedding_") {
            return Err(stray(name));
        }
        bail!("{WEIGHTS}: tensor {name} is no half of a LoRA matrix");
    }
    write(&Alphas::open(folder, &config)?, architecture, &a, &b)
}

/// Why a tensor is none of an adapter that can be used.
fn stray(tensor: &str) -> Error {
    let module = tensor.strip_prefix("base_model.model.").unwrap_or(tensor);
    let part = module.split(".lora_").next().unwrap_or(module);
    match part.rsplit('.').next() {
        Some(part @ ("lm_head" | "embed_tokens")) => anyhow!(
            "{WEIGHTS}: tensor {tensor} changes {part}, and adapters change matrices of layers alone: merge it into the \
             checkpoint with PEFT (merge_and_unload), and make a GGUF file of that with siskin quantize"
        ),
        _ => anyhow!("{WEIGHTS}: tensor {tensor} belongs to no matrix of a layer"),
    }
}

fn write(
    all: &Alphas,
    architecture: &str,
    a: &BTreeMap<String, Half<'_>>,
    b: &BTreeMap<String, Half<'_>>,
) -> Result<Vec<u8>> {
    let Some((first, _)) = a.iter().next() else { bail!("{WEIGHTS}: there is no LoRA matrix") };
    if let Some(name) = b.keys().find(|name| !a.contains_key(*name)) {
        bail!("{WEIGHTS}: {name}: lora_A is missing");
    }
    // What the file's one alpha has to come to, so that alpha / rank is PEFT's scale.
    let mut alphas = BTreeMap::new();
    for (name, Half { module, stored, .. }) in a {
        let rank = stored.shape.first().copied().unwrap_or(0);
        ensure!(rank > 0, "{WEIGHTS}: {name}: expected a rank of at least 1");
        alphas.insert(name.clone(), all.of(module, rank)?);
    }
    let alpha = alphas[first];
    let mut builder = Builder::new();
    builder.set("general.type", "adapter")?;
    builder.set("general.architecture", architecture)?;
    builder.set("adapter.type", "lora")?;
    builder.set("adapter.lora.alpha", alpha as f32)?;
    let mut tensors = Vec::new();
    for (name, a) in a {
        let b = b.get(name).ok_or_else(|| anyhow!("{WEIGHTS}: {name}: lora_B is missing"))?;
        tensors.push(tensor(a, "lora_a", RowOrder::Same, 1.0)?);
        tensors.push(tensor(b, "lora_b", b.order, alphas[name] / alpha)?);
    }
    for Tensor { name, shape, ty, .. } in &tensors {
        builder.tensor(name, shape, *ty)?;
    }
    let mut writer = builder.start(Vec::new())?;
    let mut buffer = Vec::new();
    for tensor in &tensors {
        let rows = usize::try_from(tensor.rows())?;
        let row_bytes = usize::try_from(tensor.bytes())? / rows.max(1);
        writer.tensor(&tensor.name, tensor.read(0, rows, row_bytes, &mut buffer)?)?;
    }
    Ok(writer.finish()?)
}

/// A tensor of the GGUF file, its numbers multiplied by `factor`.
fn tensor(half: &Half<'_>, suffix: &str, order: RowOrder, factor: f64) -> Result<Tensor> {
    let Half { module, name, stored, .. } = half;
    let Some(ty) = tensor_type(stored.dtype) else {
        bail!("{WEIGHTS}: {module}: expected F32, F16 or BF16, found {:?}", stored.dtype);
    };
    let shape: Vec<u64> = stored.shape.iter().rev().copied().collect();
    ensure!(shape.len() == 2, "{WEIGHTS}: {module}: expected a matrix, found {:?}", stored.shape);
    let (name, source) = (format!("{name}.weight.{suffix}"), Source::File(vec![stored.bytes.clone()]));
    let tensor = Tensor { name, shape, ty, source, order };
    if factor == 1.0 {
        return Ok(tensor);
    }
    let (rows, mut buffer) = (usize::try_from(tensor.rows())?, Vec::new());
    let row_bytes = usize::try_from(tensor.bytes())? / rows.max(1);
    let bytes = tensor.read(0, rows, row_bytes, &mut buffer)?;
    let mut numbers = vec![0.0; usize::try_from(tensor.elements())?];
    siskin_quant::decode(ty, bytes, &mut numbers)?;
    let scaled =
        numbers.iter().flat_map(|&number| ((f64::from(number) * factor) as f32).to_le_bytes()).collect();
    Ok(Tensor { ty: TensorType::F32, source: Source::Memory(scaled), order: RowOrder::Same, ..tensor })
}

/// What tells the scales of changes.
struct Alphas {
    alpha: f64,
    /// Those of modules whose names a pattern matches, in the order of the file.
    patterns: Vec<(Regex, f64)>,
    rank_stabilized: bool,
}

impl Alphas {
    fn open(folder: &Path, config: &Document<'_>) -> Result<Alphas> {
        let mut patterns = Vec::new();
        if let Some(given) = config.object("alpha_pattern")? {
            let name = given.name();
            for key in keys_in_order(folder, "alpha_pattern")? {
                let alpha = given.get(&key).and_then(Value::as_f64);
                let alpha = alpha.with_context(|| format!("{name}: {key}: expected a number"))?;
                // As PEFT matches it: the end of a module's name, from a point on, or all of it.
                let pattern = Regex::new(&format!(r"^(.*\.)?({key})$"));
                let pattern = pattern.map_err(|error| anyhow!("{name}: {key}: {error}"))?;
                patterns.push((pattern, alpha));
            }
        }
        Ok(Alphas {
            alpha: f64::from(config.require_f32("lora_alpha")?),
            patterns,
            rank_stabilized: config.bool("use_rslora")?.unwrap_or(false),
        })
    }

    /// The scale of a module's change times its rank. The first pattern that matches counts.
    fn of(&self, module: &str, rank: u64) -> Result<f64> {
        let pattern = self.patterns.iter().find(|(pattern, _)| pattern.is_match(module));
        let alpha = pattern.map_or(self.alpha, |&(_, alpha)| alpha);
        ensure!(
            alpha.is_finite() && alpha != 0.0,
            "{CONFIG}: lora_alpha: expected a number other than 0, found {alpha}"
        );
        Ok(if self.rank_stabilized { alpha * (rank as f64).sqrt() } else { alpha })
    }
}

/// The keys of an object of the configuration as they follow each other, which [`Document`] does not tell.
fn keys_in_order(folder: &Path, object: &str) -> Result<Vec<String>> {
    let text = siskin_kit::read(&folder.join(CONFIG))?;
    let fields = |json: Json| match json {
        Json::Object(fields) => fields,
        _ => Vec::new(),
    };
    let config = fields(serde_json::from_slice(&text).context(CONFIG)?);
    let found = config.into_iter().find(|(name, _)| name == object).map_or(Json::Null, |(_, found)| found);
    Ok(fields(found).into_iter().map(|(key, _)| key).collect())
}

/// Kinds of adapters that are other computations.
fn refuse_variants(config: &Document<'_>) -> Result<()> {
    match config.str("peft_type")? {
        Some("LORA") => {}
        other => bail!("{CONFIG}: peft_type: expected LORA, found {}", other.unwrap_or("none")),
    }
    for (key, name) in [
        ("use_dora", "DoRA"),
        ("use_qalora", "QALoRA"),
        ("use_bdlora", "BD-LoRA"),
        ("fan_in_fan_out", "fan_in_fan_out"),
        ("lora_bias", "LoRA with biases"),
    ] {
        ensure!(!config.bool(key)?.unwrap_or(false), "{CONFIG}: {key}: {name} is not supported");
    }
    // These begin by taking what they put into the adapter out of the base's weights.
    let start = config.get("init_lora_weights").and_then(|start| start.as_str()).unwrap_or_default();
    let other_base =
        ["pissa", "olora", "corda", "loftq", "lora_ga"].iter().any(|name| start.starts_with(name));
    ensure!(
        !other_base,
        "{CONFIG}: init_lora_weights: {start} is not supported: it is for a base of its own"
    );
    let bias = config.str("bias")?.unwrap_or("none");
    ensure!(bias == "none", "{CONFIG}: bias: expected none, found {bias}");
    for key in [
        "modules_to_save",
        "trainable_token_indices",
        "layer_replication",
        "target_parameters",
        "alora_invocation_tokens",
        "arrow_config",
        "kasa_config",
        "monteclora_config",
    ] {
        let absent = config.get(key).is_none_or(|value| {
            value.is_null()
                || value.as_array().is_some_and(Vec::is_empty)
                || value.as_object().is_some_and(|o| o.is_empty())
        });
        ensure!(absent, "{CONFIG}: {key} is not supported");
    }
    Ok(())
}

/// The name of a module's matrix in GGUF, and the order of its rows.
fn matrix(module: &str, rotated: RowOrder) -> Option<(String, RowOrder)> {
    let (layer, part) = module.strip_prefix("model.layers.")?.split_once('.')?;
    let layer: u32 = layer.parse().ok()?;
    let at = MATRICES.iter().position(|(name, _)| *name == part)?;
    let order = if at < ROTATED { rotated } else { RowOrder::Same };
    Some((format!("blk.{layer}.{}", MATRICES[at].1), order))
}

fn head_dim(base: &Gguf, architecture: &str) -> Result<u64> {
    let number = |key: &str| base.u64(&format!("{architecture}.{key}"));
    let divided = || number("embedding_length").ok()??.checked_div(number("attention.head_count").ok()??);
    let head_dim =
        number("attention.key_length")?.or_else(divided).filter(|&dim| dim > 0 && dim.is_multiple_of(2));
    head_dim.ok_or_else(|| anyhow!("{}: expected heads of an even size", base.name()))
}
