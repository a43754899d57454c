use crate::model::{Description, Document, Family, Shape as Grouping};
use anyhow::Result;
use serde_json::{Value, json};
use std::fmt;
use std::str::FromStr;

/// A model without its weights: the sizes and constants of its `config.json`.
#[derive(Clone, Debug)]
pub struct Shape {
    name: &'static str,
    config: Value,
}

/// Makes what a model's own `config.json` says.
type Config = fn() -> Value;

const SHAPES: [(&str, Config); 5] = [
    ("smollm2-135m", smollm2_135m),
    ("qwen2.5-0.5b", qwen_2_5_0_5b),
    ("llama-3.2-1b", llama_3_2_1b),
    ("tinyllama-1.1b", tinyllama_1_1b),
    ("llama-3.2-3b", llama_3_2_3b),
];

impl FromStr for Shape {
    type Err = String;

    /// Any case.
    fn from_str(name: &str) -> Result<Shape, String> {
        match SHAPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((name, config)) => Ok(Shape::new(name, config())),
            None => Err(format!("expected one of {}", SHAPES.map(|(name, _)| name).join(", "))),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Shape {
    pub(super) fn new(name: &'static str, mut config: Value) -> Shape {
        // Qwen2.5 too is written as what it is to both engines, a Llama with biases.
        config["architectures"] = json!(["LlamaForCausalLM"]);
        Shape { name, config }
    }

    /// The metadata and tensors of its GGUF file.
    pub(super) fn describe(&self) -> Result<Description> {
        let config = self.config()?;
        let mut description = (Family::of_checkpoint(&config)?.describe)(&config)?;
        // Where a Llama has biases, its output projection has one as well; Qwen's has none.
        description.weights.retain(|weight| !weight.gguf.ends_with("attn_output.bias"));
        Ok(description)
    }

    /// What the quantizer's mix of types depends on.
    pub(super) fn grouping(&self) -> Result<Grouping> {
        Grouping::of_checkpoint(&self.config()?)
    }

    fn config(&self) -> Result<Document<'_>> {
        Document::of(self.name, &self.config)
    }
}

fn smollm2_135m() -> Value {
    json!({
        "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
        "num_key_value_heads": 3, "vocab_size": 49152, "max_position_embeddings": 8192, "rope_theta": 1e5,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
    })
}

fn qwen_2_5_0_5b() -> Value {
    json!({
        "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
        "num_key_value_heads": 2, "vocab_size": 151936, "max_position_embeddings": 32768, "rope_theta": 1e6,
        "rms_norm_eps": 1e-6, "tie_word_embeddings": true, "attention_bias": true,
    })
}

fn llama_3_2_1b() -> Value {
    json!({
        "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
        "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072, "rope_theta": 5e5,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": true, "rope_scaling": llama_3_2_scaling(),
    })
}

fn tinyllama_1_1b() -> Value {
    json!({
        "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 32,
        "num_key_value_heads": 4, "vocab_size": 32000, "max_position_embeddings": 2048, "rope_theta": 1e4,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": false,
    })
}

fn llama_3_2_3b() -> Value {
    json!({
        "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 28, "num_attention_heads": 24,
        "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072, "rope_theta": 5e5,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": true, "rope_scaling": llama_3_2_scaling(),
    })
}

fn llama_3_2_scaling() -> Value {
    json!({
        "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::size_label;

    #[test]
    fn shapes_have_as_many_weights_as_their_models() {
        for ((name, _), label) in SHAPES.iter().zip(["135M", "494M", "1.2B", "1.1B", "3.2B"]) {
            let weights = name.parse::<Shape>().unwrap().describe().unwrap().weights;
            let elements = |shape: &[u32]| shape.iter().copied().map(u64::from).product::<u64>();
            assert_eq!(
                size_label(weights.iter().map(|weight| elements(&weight.shape)).sum()),
                label,
                "{name}"
            );
        }
    }

    #[test]
    fn only_qwen_has_biases_and_none_on_its_output_projection() {
        for (name, _) in SHAPES {
            let weights = name.parse::<Shape>().unwrap().describe().unwrap().weights;
            let biases = weights.iter().filter(|weight| weight.gguf.ends_with(".bias")).count();
            assert_eq!(biases, if name.starts_with("qwen") { 3 * 24 } else { 0 }, "{name}");
        }
    }

    #[test]
    fn names_are_read_in_any_case() {
        assert_eq!("SmolLM2-135M".parse::<Shape>().unwrap().to_string(), "smollm2-135m");
        assert!("llama".parse::<Shape>().unwrap_err().ends_with("tinyllama-1.1b, llama-3.2-3b"));
    }
}
