use super::shape::Shape;
use super::stream::Stream;
use crate::model::{
    Description, Merging, RowOrder, Source, Tensor, Token, TokenType, Vocabulary, size_label,
};
use crate::quantize::FileType;
use crate::quantize::mix::choose;
use anyhow::{Context, Result};
use siskin::gguf::write::{Builder, Writer};
use siskin_kit::Random;
use siskin_quant::TensorType;
use std::io::Write;

/// Bytes have their tokens behind `<unk>`, `<s>` and `</s>`, as in Llama 2.
const FIRST_BYTE: usize = 3;

/// Writes a model of this shape with random weights, of the types that the quantizer chooses for `file_type`. The
/// same shape and type give the same bytes.
///
/// # Errors
/// What the sink returns.
pub fn write<W: Write>(shape: &Shape, file_type: FileType, sink: W) -> Result<W> {
    let mut description = shape.describe()?;
    let mut tensors: Vec<Tensor> = description.generated.drain(..).map(generated).collect();
    tensors.extend(description.weights.iter().map(|weight| Tensor {
        name: weight.gguf.clone(),
        shape: weight.shape.iter().rev().copied().map(u64::from).collect(),
        ty: TensorType::F32,
        source: Source::Memory(Vec::new()),
        order: RowOrder::Same,
    }));
    let choices = choose(&tensors, shape.grouping()?, file_type, false);
    let mut builder = metadata(shape, description, file_type, &tensors)?;
    for (tensor, choice) in tensors.iter().zip(&choices) {
        builder.tensor(&tensor.name, &tensor.shape, choice.ty)?;
    }
    let mut writer = builder.start(sink)?;
    let mut weights = Weights::default();
    for (tensor, choice) in tensors.iter().zip(&choices) {
        weights.write(tensor, choice.ty, &mut writer)?;
    }
    Ok(writer.finish()?)
}

/// A vector whose values the description knows.
fn generated((name, values): (&str, Vec<f32>)) -> Tensor {
    Tensor {
        name: name.into(),
        shape: vec![values.len() as u64],
        ty: TensorType::F32,
        source: Source::Memory(bytes(values)),
        order: RowOrder::Same,
    }
}

fn bytes(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

fn metadata(
    shape: &Shape,
    description: Description,
    file_type: FileType,
    tensors: &[Tensor],
) -> Result<Builder> {
    let mut metadata = description.metadata;
    vocabulary(description.vocabulary as usize).write(&mut metadata);
    metadata.set("tokenizer.ggml.bos_token_id", 1u32);
    metadata.set("tokenizer.ggml.eos_token_id", 2u32);
    metadata.set("tokenizer.ggml.unknown_token_id", 0u32);
    let mut builder = Builder::new();
    builder.set("general.architecture", "llama")?.set("general.type", "model")?;
    builder.set("general.name", format!("{shape} with random weights"))?;
    builder.set("general.size_label", size_label(tensors.iter().map(Tensor::elements).sum()))?;
    for (key, value) in metadata.into_entries() {
        builder.set(&key, value)?;
    }
    builder.set("general.quantization_version", 2u32)?.set("general.file_type", file_type.id())?;
    Ok(builder)
}

/// As many tokens as the model has: those that every vocabulary of characters has, then words without sense.
fn vocabulary(size: usize) -> Vocabulary {
    let token = |id: usize| match id {
        0 => ("<unk>".into(), TokenType::Unknown),
        1 => ("<s>".into(), TokenType::Control),
        2 => ("</s>".into(), TokenType::Control),
        _ => match u8::try_from(id - FIRST_BYTE) {
            Ok(byte) => (format!("<0x{byte:02X}>"), TokenType::Byte),
            Err(_) => (format!("\u{2581}{id}"), TokenType::Normal),
        },
    };
    let tokens = (0..size).map(token).map(|(text, kind)| {
        let score = if kind == TokenType::Normal { -1.0 } else { 0.0 };
        Some(Token { text, kind, score })
    });
    Vocabulary {
        tokens: tokens.collect(),
        merging: Merging::Scores,
        space_prefix: None,
        strips: Default::default(),
    }
}

/// Where the tensors' data comes from.
#[derive(Debug, Default)]
struct Weights {
    streams: Vec<Stream>,
}

impl Weights {
    fn write<W: Write>(&mut self, tensor: &Tensor, ty: TensorType, writer: &mut Writer<W>) -> Result<()> {
        match &tensor.source {
            Source::Memory(values) if !values.is_empty() => Ok(writer.tensor(&tensor.name, values)?),
            _ if tensor.shape.len() == 1 => {
                Ok(writer.tensor(&tensor.name, &bytes(vector(&tensor.name, tensor.elements())))?)
            }
            _ => {
                let bytes = ty.row_bytes(tensor.elements()).context("rows are whole blocks")?;
                self.stream(ty, tensor.row_len())?.take(bytes, |part| Ok(writer.append(part)?))
            }
        }
    }

    fn stream(&mut self, ty: TensorType, row_len: u64) -> Result<&mut Stream> {
        let index = match self.streams.iter().position(|stream| stream.is_of(ty, row_len)) {
            Some(index) => index,
            None => {
                self.streams.push(Stream::new(ty, row_len)?);
                self.streams.len() - 1
            }
        };
        Ok(&mut self.streams[index])
    }
}

/// Norms are about 1, biases about 0.
fn vector(name: &str, len: u64) -> impl Iterator<Item = f32> {
    const NOISE: f32 = 0.02;
    let mean = if name.ends_with(".bias") { 0.0 } else { 1.0 };
    let mut random = Random::new(len);
    (0..len).map(move |_| mean + NOISE * random.normal())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use siskin::gguf::Gguf;
    use siskin::{Model, SessionOptions};

    /// A small model with all that a shape may have: biases, heads of their own width, stretched rotations.
    fn tiny() -> Shape {
        Shape::new(
            "test",
            json!({
                "hidden_size": 256, "intermediate_size": 288, "num_hidden_layers": 2, "num_attention_heads": 4,
                "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 300, "max_position_embeddings": 64,
                "rms_norm_eps": 1e-5, "tie_word_embeddings": true, "attention_bias": true,
                "rope_scaling": { "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0, "original_max_position_embeddings": 8192 },
            }),
        )
    }

    fn written(file_type: FileType) -> Vec<u8> {
        write(&tiny(), file_type, Vec::new()).unwrap()
    }

    #[test]
    fn the_engine_computes_finite_logits_with_every_type() {
        for file_type in FileType::ALL {
            let bytes = written(file_type);
            assert_eq!(bytes, written(file_type), "{file_type}");
            let model = Model::from_gguf(&Gguf::from_bytes("tiny", bytes).unwrap()).unwrap();
            assert_eq!(model.vocabulary(), 300);
            let mut session = model.session(&SessionOptions::default()).unwrap();
            session.feed(&[1, 299, 40, 41]).unwrap();
            let logits = session.logits().unwrap();
            assert!(logits.iter().all(|logit| logit.is_finite()), "{file_type}");
            assert!(logits.iter().any(|&logit| logit != logits[0]), "{file_type}");
        }
    }

    #[test]
    fn types_are_the_quantizers() {
        let file = Gguf::from_bytes("tiny", written(FileType::Q4_K_M)).unwrap();
        let of = |name: &str| file.tensor(name).map(|tensor| (tensor.shape.as_slice(), tensor.ty));
        assert_eq!(of("token_embd.weight"), Some((&[256, 300][..], TensorType::Q6_K)));
        assert_eq!(of("blk.0.attn_k.weight"), Some((&[256, 64][..], TensorType::Q4_K)));
        assert_eq!(of("blk.0.attn_k.bias"), Some((&[64][..], TensorType::F32)));
        assert_eq!(of("blk.0.attn_output.bias"), None);
        // Rows of 128 and of 288 are no superblocks.
        assert_eq!(of("blk.0.attn_output.weight"), Some((&[128, 256][..], TensorType::Q5_0)));
        assert_eq!(of("blk.0.ffn_down.weight").map(|(shape, _)| shape), Some(&[288, 256][..]));
        assert_eq!(of("rope_freqs.weight"), Some((&[16][..], TensorType::F32)));
        assert_eq!(file.u32("general.file_type").unwrap(), Some(15));
    }

    #[test]
    fn every_token_has_a_text_of_its_own() {
        let vocabulary = vocabulary(1000);
        for (id, token) in vocabulary.tokens.iter().flatten().enumerate() {
            assert_eq!(vocabulary.find(&token.text), Some(id as u32));
        }
        assert_eq!(vocabulary.text(13), Some("<0x0A>"));
        assert_eq!(vocabulary.text(259), Some("\u{2581}259"));
    }
}
