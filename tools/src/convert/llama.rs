use super::document::Document;
use super::family::{Description, Family, Weight};
use super::metadata::Metadata;
use super::tensor::RowOrder;
use anyhow::{Result, bail};
use std::f64::consts::TAU;

/// Llama 1 to 3.3 and what is built like it: TinyLlama, SmolLM2.
pub(crate) const FAMILY: Family = Family { class: "LlamaForCausalLM", architecture: "llama", describe };

/// The sizes that shape the tensors.
struct Sizes {
    hidden: u32,
    feed_forward: u32,
    layers: u32,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
}

/// Frequencies of the rotary embedding.
struct Rope {
    theta: f32,
    scaling: Scaling,
}

enum Scaling {
    None,
    /// All positions divided by this.
    Linear(f32),
    /// Each frequency divided by its own factor.
    Factors(Vec<f32>),
}

fn describe(config: &Document<'_>) -> Result<Description> {
    refuse_variants(config)?;
    let sizes = sizes(config)?;
    let rope = rope(config, sizes.head_dim)?;
    let vocabulary = config.size("vocab_size")?;

    let mut metadata = Metadata::default();
    let mut set = |key: &str, value: u32| metadata.set(&format!("llama.{key}"), value);
    set("block_count", sizes.layers);
    set("context_length", config.size("max_position_embeddings")?);
    set("embedding_length", sizes.hidden);
    set("feed_forward_length", sizes.feed_forward);
    set("attention.head_count", sizes.heads);
    set("attention.head_count_kv", sizes.kv_heads);
    if let Scaling::Linear(factor) = rope.scaling {
        metadata.set("llama.rope.scaling.type", "linear");
        metadata.set("llama.rope.scaling.factor", factor);
    }
    metadata.set("llama.rope.freq_base", rope.theta);
    metadata.set("llama.attention.layer_norm_rms_epsilon", config.f32("rms_norm_eps")?.unwrap_or(1e-6));
    metadata.set("llama.attention.key_length", sizes.head_dim);
    metadata.set("llama.attention.value_length", sizes.head_dim);
    metadata.set("llama.vocab_size", vocabulary);
    metadata.set("llama.rope.dimension_count", sizes.head_dim);

    let generated = match rope.scaling {
        Scaling::Factors(factors) => vec![("rope_freqs.weight", factors)],
        _ => Vec::new(),
    };
    Ok(Description {
        metadata,
        vocabulary,
        weights: weights(config, &sizes, vocabulary)?,
        generated,
        unneeded: &[".rotary_emb.inv_freq"],
    })
}

/// Variants that GGUF's `llama` cannot say, or that nobody trained.
fn refuse_variants(config: &Document<'_>) -> Result<()> {
    let name = config.name();
    if let Some(activation) = config.str("hidden_act")?
        && activation != "silu"
    {
        bail!("{name}: hidden_act: expected silu, found {activation}");
    }
    if let Some(method) = config.object("quantization_config")? {
        let method = method.str("quant_method")?.unwrap_or("unknown").to_string();
        bail!("{name}: quantization_config: a checkpoint quantized by {method} is not supported");
    }
    Ok(())
}

fn sizes(config: &Document<'_>) -> Result<Sizes> {
    let name = config.name();
    let hidden = config.size("hidden_size")?;
    let heads = config.size("num_attention_heads")?;
    let kv_heads = config.u32("num_key_value_heads")?.unwrap_or(heads);
    let head_dim = match config.u32("head_dim")? {
        Some(head_dim) => head_dim,
        None if hidden.is_multiple_of(heads) => hidden / heads,
        None => bail!("{name}: hidden_size {hidden} is no multiple of num_attention_heads {heads}"),
    };
    if head_dim == 0 || !head_dim.is_multiple_of(2) {
        bail!("{name}: expected heads of an even size, found {head_dim}");
    }
    if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
        bail!("{name}: num_attention_heads {heads} is no multiple of num_key_value_heads {kv_heads}");
    }
    if heads.checked_mul(head_dim).is_none() {
        bail!("{name}: {heads} heads of {head_dim} are too wide");
    }
    let feed_forward = config.size("intermediate_size")?;
    Ok(Sizes { hidden, feed_forward, layers: layers(config)?, heads, kv_heads, head_dim })
}

/// Each layer makes nine names or more, so their number is not left to the file.
fn layers(config: &Document<'_>) -> Result<u32> {
    const MOST: u32 = 4096;
    match config.size("num_hidden_layers")? {
        layers if layers <= MOST => Ok(layers),
        layers => bail!("{}: num_hidden_layers: expected at most {MOST}, found {layers}", config.name()),
    }
}

/// transformers 4 writes `rope_theta` and `rope_scaling`, transformers 5 both as `rope_parameters`.
fn rope(config: &Document<'_>, head_dim: u32) -> Result<Rope> {
    let parameters = match config.object("rope_parameters")? {
        Some(parameters) => Some(parameters),
        None => config.object("rope_scaling")?,
    };
    let theta = config.f32("rope_theta")?.unwrap_or(10000.0);
    let Some(parameters) = parameters else { return Ok(Rope { theta, scaling: Scaling::None }) };
    let theta = parameters.f32("rope_theta")?.unwrap_or(theta);
    let name = parameters.name();
    if parameters.f32("partial_rotary_factor")?.is_some_and(|factor| factor != 1.0) {
        bail!("{name}: partial_rotary_factor is not supported");
    }
    let kind = parameters.str("rope_type")?.or(parameters.str("type")?).unwrap_or("default");
    let scaling = match kind {
        "default" => Scaling::None,
        "linear" => Scaling::Linear(positive(&parameters, "factor")?),
        "llama3" => Scaling::Factors(llama3_factors(&parameters, theta, head_dim)?),
        other => bail!("{name}: rope_type: {other} is not supported, expected default, linear or llama3"),
    };
    Ok(Rope { theta, scaling })
}

fn positive(parameters: &Document<'_>, key: &str) -> Result<f32> {
    match parameters.require_f32(key)? {
        value if value > 0.0 => Ok(value),
        value => bail!("{}: {key}: expected a number above 0, found {value}", parameters.name()),
    }
}

/// Llama 3.1's scaling: wavelengths above `original context / low_freq_factor` are stretched by `factor`, those below
/// `original context / high_freq_factor` are left alone, those between are stretched by a blend of the two.
///
/// Computed in f64 and rounded once. llama.cpp's converter computes in f32 and may differ in the last bit.
fn llama3_factors(parameters: &Document<'_>, theta: f32, head_dim: u32) -> Result<Vec<f32>> {
    let number = |key| positive(parameters, key).map(f64::from);
    let (factor, low, high) = (number("factor")?, number("low_freq_factor")?, number("high_freq_factor")?);
    let context = number("original_max_position_embeddings")?;
    if high <= low {
        bail!("{}: expected high_freq_factor above low_freq_factor", parameters.name());
    }
    let stretch = |pair: u32| {
        let wavelength = TAU * f64::from(theta).powf(f64::from(2 * pair) / f64::from(head_dim));
        // 1 and more for short waves, 0 and less for long ones.
        let blend = ((context / wavelength - low) / (high - low)).clamp(0.0, 1.0);
        (1.0 / ((1.0 - blend) / factor + blend)) as f32
    };
    Ok((0..head_dim / 2).map(stretch).collect())
}

/// Every tensor, in the order of its use.
fn weights(config: &Document<'_>, sizes: &Sizes, vocabulary: u32) -> Result<Vec<Weight>> {
    let Sizes { hidden, feed_forward, heads, kv_heads, head_dim, .. } = *sizes;
    let (queries, keys) = (heads * head_dim, kv_heads * head_dim);
    let rotary = RowOrder::Interleave { head_dim: head_dim.into() };
    let attention_bias = config.bool("attention_bias")?.unwrap_or(false);
    let mlp_bias = config.bool("mlp_bias")?.unwrap_or(false);

    let mut weights = vec![weight("model.embed_tokens.weight", "token_embd.weight", &[vocabulary, hidden])];
    for layer in 0..sizes.layers {
        let mut add = |name: &str, gguf: &str, [rows, columns]: [u32; 2], order, bias| {
            let (name, gguf) = (format!("model.layers.{layer}.{name}"), format!("blk.{layer}.{gguf}"));
            let with = |suffix, shape| Weight {
                name: format!("{name}.{suffix}"),
                gguf: format!("{gguf}.{suffix}"),
                shape,
                order,
            };
            weights.push(with("weight", if columns == 0 { vec![rows] } else { vec![rows, columns] }));
            if bias {
                weights.push(with("bias", vec![rows]));
            }
        };
        let same = RowOrder::Same;
        add("input_layernorm", "attn_norm", [hidden, 0], same, false);
        add("self_attn.q_proj", "attn_q", [queries, hidden], rotary, attention_bias);
        add("self_attn.k_proj", "attn_k", [keys, hidden], rotary, attention_bias);
        add("self_attn.v_proj", "attn_v", [keys, hidden], same, attention_bias);
        add("self_attn.o_proj", "attn_output", [hidden, queries], same, attention_bias);
        add("post_attention_layernorm", "ffn_norm", [hidden, 0], same, false);
        add("mlp.gate_proj", "ffn_gate", [feed_forward, hidden], same, mlp_bias);
        add("mlp.up_proj", "ffn_up", [feed_forward, hidden], same, mlp_bias);
        add("mlp.down_proj", "ffn_down", [hidden, feed_forward], same, mlp_bias);
    }
    weights.push(weight("model.norm.weight", "output_norm.weight", &[hidden]));
    if !config.bool("tie_word_embeddings")?.unwrap_or(false) {
        weights.push(weight("lm_head.weight", "output.weight", &[vocabulary, hidden]));
    }
    Ok(weights)
}

fn weight(name: &str, gguf: &str, shape: &[u32]) -> Weight {
    Weight { name: name.into(), gguf: gguf.into(), shape: shape.to_vec(), order: RowOrder::Same }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn config(changes: Value) -> Document<'static> {
        let mut value = json!({
            "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 1, "vocab_size": 10, "max_position_embeddings": 64
        });
        let Value::Object(changes) = changes else { panic!() };
        value.as_object_mut().unwrap().extend(changes);
        Document::owned("config.json", value).unwrap()
    }

    fn error(changes: Value) -> String {
        describe(&config(changes)).unwrap_err().to_string()
    }

    #[test]
    fn biases_and_the_head_follow_the_config() {
        let names = |changes| -> Vec<String> {
            describe(&config(changes)).unwrap().weights.into_iter().map(|weight| weight.gguf).collect()
        };
        assert_eq!(names(json!({})).len(), 2 * 9 + 3);
        let tied = names(json!({"tie_word_embeddings": true, "attention_bias": true}));
        assert_eq!(tied.len(), 2 * 13 + 2);
        assert!(tied.contains(&"blk.1.attn_output.bias".into()) && !tied.contains(&"output.weight".into()));
        assert!(names(json!({"mlp_bias": true})).contains(&"blk.0.ffn_down.bias".into()));
    }

    #[test]
    fn llama_3_2_stretches_long_waves_only() {
        let parameters = json!({"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192});
        let parameters = Document::of("config.json: rope_scaling", &parameters).unwrap();
        let factors = llama3_factors(&parameters, 500000.0, 64).unwrap();
        assert_eq!(factors.len(), 32);
        assert_eq!((factors[0], factors[14], factors[31]), (1.0, 1.0, 32.0));
        assert!(factors.windows(2).all(|pair| pair[0] <= pair[1]));
        assert!(factors.iter().any(|&factor| factor > 1.0 && factor < 32.0));
    }

    #[test]
    fn what_cannot_be_converted_is_named() {
        assert_eq!(
            error(json!({"hidden_act": "gelu"})),
            "config.json: hidden_act: expected silu, found gelu"
        );
        assert_eq!(
            error(json!({"rope_scaling": {"type": "dynamic", "factor": 2.0}})),
            "config.json: rope_scaling: rope_type: dynamic is not supported, expected default, linear or llama3"
        );
        assert_eq!(
            error(json!({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}})),
            "config.json: rope_parameters: factor is missing, expected a number"
        );
        assert_eq!(
            error(json!({"num_key_value_heads": 0})),
            "config.json: num_attention_heads 2 is no multiple of num_key_value_heads 0"
        );
        assert_eq!(
            error(json!({"num_attention_heads": 3})),
            "config.json: hidden_size 8 is no multiple of num_attention_heads 3"
        );
        assert_eq!(
            error(json!({"quantization_config": {"quant_method": "gptq"}})),
            "config.json: quantization_config: a checkpoint quantized by gptq is not supported"
        );
        assert_eq!(
            error(json!({"num_hidden_layers": 1_000_000_000})),
            "config.json: num_hidden_layers: expected at most 4096, found 1000000000"
        );
        assert!(
            error(json!({"num_attention_heads": 65536, "num_key_value_heads": 1, "head_dim": 65536}))
                .contains("too wide")
        );
    }
}
