use super::super::document::Document;
use super::super::metadata::booleans;
use super::keys::{Keys, epsilon};
use super::rope::Rope;
use super::sizes::Sizes;
use super::weights::{Biases, Gains, interleaved, of_blocks};
use super::{Description, Family, refuse_switch, refuse_variants, windowed_blocks};
use anyhow::{Result, bail};

/// Llama 1 to 3.3 and what is built like it: TinyLlama, SmolLM2.
pub(super) const LLAMA: Family = Family { class: "LlamaForCausalLM", architecture: "llama", describe: llama };
/// Mistral: Llama whose blocks may see a window of the last positions only.
pub(super) const MISTRAL: Family =
    Family { class: "MistralForCausalLM", architecture: "llama", describe: mistral };
/// Ministral 8B: Mistral with the window in some blocks only.
pub(super) const MINISTRAL: Family =
    Family { class: "MinistralForCausalLM", architecture: "llama", describe: mistral };
/// SmolLM3: Llama, but every fourth block does not know positions.
pub(super) const SMOLLM3: Family =
    Family { class: "SmolLM3ForCausalLM", architecture: "smollm3", describe: smollm3 };

fn llama(config: &Document<'_>) -> Result<Description> {
    describe(LLAMA.architecture, config, 10000.0, false, no_windows)
}

fn mistral(config: &Document<'_>) -> Result<Description> {
    describe(MISTRAL.architecture, config, 10000.0, false, windows)
}

/// llama.cpp's converter leaves these out, and its `llama` sees all positions.
fn windows(config: &Document<'_>, sizes: &Sizes, keys: &mut Keys) -> Result<()> {
    if let Some(window) = config.u32("sliding_window")?.filter(|&window| window > 0) {
        keys.set("attention.sliding_window", window);
        let windowed = windowed_blocks(config, sizes)?;
        if let Some(windowed) = windowed.filter(|windowed| windowed.contains(&false)) {
            keys.set("attention.sliding_window_pattern", booleans(windowed));
        }
    }
    Ok(())
}

fn no_windows(_: &Document<'_>, _: &Sizes, _: &mut Keys) -> Result<()> {
    Ok(())
}

fn smollm3(config: &Document<'_>) -> Result<Description> {
    refuse_switch(config, "use_sliding_window")?;
    refuse_other_pattern(config)?;
    describe(SMOLLM3.architecture, config, 2e6, true, no_windows)
}

/// GGUF does not say which blocks know positions: of four blocks, llama.cpp takes it, the first three.
fn refuse_other_pattern(config: &Document<'_>) -> Result<()> {
    let name = config.name();
    if let Some(known) = config.array("no_rope_layers")? {
        for (block, known) in known.iter().enumerate() {
            if known.as_u64() != Some(u64::from((block + 1) % 4 != 0)) {
                bail!(
                    "{name}: no_rope_layers: expected 0 for every fourth block and 1 for others, found {known} for block {block}"
                );
            }
        }
    } else if config.u32("no_rope_layer_interval")?.unwrap_or(4) != 4 {
        bail!("{name}: no_rope_layer_interval: expected 4");
    }
    Ok(())
}

/// `theta` and `tied` are what the family takes where config.json has nothing to say.
fn describe(
    architecture: &'static str,
    config: &Document<'_>,
    theta: f32,
    tied: bool,
    windows: impl FnOnce(&Document<'_>, &Sizes, &mut Keys) -> Result<()>,
) -> Result<Description> {
    refuse_variants(config, "silu")?;
    let sizes = Sizes::read(config)?;
    let rope = Rope::read(config, sizes.head_dim, theta)?;
    let mut keys = Keys::new(architecture, config, &sizes, &rope, epsilon(config, 1e-6)?)?;
    keys.set("vocab_size", sizes.vocabulary);
    keys.set("rope.dimension_count", sizes.head_dim);
    windows(config, &sizes, &mut keys)?;

    let biases = Biases::read(config)?;
    let mlp_bias = config.bool("mlp_bias")?.unwrap_or(false);
    let weights = of_blocks(config, &sizes, Gains::Plain, tied, |layer| {
        layer.norm("input_layernorm", "attn_norm", sizes.hidden);
        layer.attention(&sizes, interleaved(&sizes), biases);
        layer.norm("post_attention_layernorm", "ffn_norm", sizes.hidden);
        layer.feed_forward(&sizes, mlp_bias);
    })?;
    Ok(Description::new(keys, &sizes, weights).with_rope(rope))
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
        llama(&config(changes)).unwrap_err().to_string()
    }

    #[test]
    fn biases_and_the_head_follow_the_config() {
        let names = |changes| -> Vec<String> {
            llama(&config(changes)).unwrap().weights.into_iter().map(|weight| weight.gguf).collect()
        };
        assert_eq!(names(json!({})).len(), 2 * 9 + 3);
        let tied = names(json!({"tie_word_embeddings": true, "attention_bias": true}));
        assert_eq!(tied.len(), 2 * 13 + 2);
        assert!(tied.contains(&"blk.1.attn_output.bias".into()) && !tied.contains(&"output.weight".into()));
        assert!(names(json!({"mlp_bias": true})).contains(&"blk.0.ffn_down.bias".into()));
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
