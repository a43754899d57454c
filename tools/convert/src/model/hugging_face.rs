use super::families::{Description, Family, Weight};
use super::metadata::{Metadata, size_label, title};
use super::safetensors::{Stored, Weights, tensor_type};
use super::special::Settings;
use super::tensor::{RowOrder, Source, Tensor};
use super::vocabulary::Vocabulary;
use super::{Model, Shape, chat_template, sentencepiece, tokenizer_json};
use anyhow::{Context, Result, anyhow, bail};
use siskin_quant::{TensorType, decode};
use std::collections::HashSet;
use std::path::Path;

/// Reads a Hugging Face folder: configuration, tokenizer and the headers of the weights.
pub(super) fn open(folder: &Path) -> Result<Model> {
    let settings = Settings::open(folder)?;
    let family = Family::of_checkpoint(&settings.config)?;
    let mut description = (family.describe)(&settings.config)?;
    let weights = Weights::open(folder)?;
    let tensors = tensors(&mut description, &weights)?;
    let shape = Shape::of_checkpoint(&settings.config)?;
    let metadata = metadata(folder, family, description, &settings, &tensors)?;
    let mut inputs = weights.files;
    inputs.extend([folder.to_owned(), folder.join(chat_template::FOLDER)]);
    Ok(Model { builder: metadata.into_builder()?, tensors, shape, inputs, mapped: None })
}

/// The metadata that llama.cpp's converter writes, in its order.
fn metadata(
    folder: &Path,
    family: &Family,
    description: Description,
    settings: &Settings,
    tensors: &[Tensor],
) -> Result<Metadata> {
    let mut metadata = Metadata::default();
    metadata.set("general.architecture", family.architecture);
    metadata.set("general.type", "model");
    settings.write_sampling(&mut metadata)?;
    let absolute = folder.canonicalize().with_context(|| folder.display().to_string())?;
    let name = absolute.file_name().map(|name| title(&name.to_string_lossy())).unwrap_or_default();
    metadata.set("general.name", name);
    metadata.set("general.size_label", size_label(tensors.iter().map(Tensor::elements).sum()));
    for (key, value) in description.metadata.into_entries() {
        metadata.set(&key, value);
    }
    let mut vocabulary = vocabulary(folder, settings, description.vocabulary)?;
    vocabulary.pad(description.vocabulary)?;
    vocabulary.write(&mut metadata);
    settings.write_special_tokens(&vocabulary, &mut metadata)?;
    settings.write_chat_template(folder, &mut metadata)?;
    Ok(metadata)
}

/// The vocabulary, from `tokenizer.json` if it is byte-level; a SentencePiece one from its own file if there is one,
/// which alone has the true scores.
fn vocabulary(folder: &Path, settings: &Settings, size: u32) -> Result<Vocabulary> {
    let config = settings.tokenizer_config.as_ref();
    let own_file = folder.join(sentencepiece::FILE).exists();
    let mut vocabulary = match &settings.tokenizer {
        Some(file) if !own_file || !tokenizer_json::has_byte_fallback(file)? => {
            tokenizer_json::read(file, size)?
        }
        _ if own_file => sentencepiece::read(folder, config, size)?,
        _ => bail!("{}: found neither tokenizer.json nor {}", folder.display(), sentencepiece::FILE),
    };
    if let Some(add) = config.map(|config| config.bool("add_prefix_space")).transpose()?.flatten() {
        vocabulary.space_prefix = Some(add);
    }
    Ok(vocabulary)
}

/// Finds every tensor that the description wants, and refuses those it does not know.
fn tensors(description: &mut Description, weights: &Weights) -> Result<Vec<Tensor>> {
    let mut tensors = Vec::new();
    for (name, values) in description.generated.drain(..) {
        tensors.push(Tensor {
            name: name.into(),
            shape: vec![values.len() as u64],
            ty: TensorType::F32,
            source: Source::Memory(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            order: RowOrder::Same,
        });
    }
    for weight in &description.weights {
        tensors.push(tensor(weight, weights)?);
    }
    let known: HashSet<&str> =
        description.weights.iter().flat_map(|weight| &weight.names).map(String::as_str).collect();
    for name in weights.tensors.keys() {
        let unneeded = description.unneeded.iter().any(|end| name.ends_with(end));
        // A checkpoint with tied embeddings may store the head all the same; transformers, too, leaves it unread.
        let head = name == "lm_head.weight";
        if !unneeded && !head && !known.contains(name.as_str()) {
            bail!("tensor {name} is unexpected: config.json describes no such tensor");
        }
    }
    Ok(tensors)
}

fn tensor(weight: &Weight, weights: &Weights) -> Result<Tensor> {
    let mut parts = Vec::with_capacity(weight.names.len());
    let mut ty = None;
    for name in &weight.names {
        let stored = weights.tensors.get(name);
        let stored =
            stored.ok_or_else(|| anyhow!("tensor {name} is missing, expected {:?}", weight.stored))?;
        let found = part_type(weight, stored).with_context(|| format!("tensor {name}"))?;
        if *ty.get_or_insert(found) != found {
            bail!(
                "tensor {name}: expected dtype {}, as of the parts before it, found {found}",
                ty.unwrap_or(found)
            );
        }
        parts.push(stored.bytes.clone());
    }
    let tensor = Tensor {
        name: weight.gguf.clone(),
        shape: weight.shape.iter().rev().copied().map(u64::from).collect(),
        ty: ty.context("a weight has a name")?,
        source: Source::File(parts),
        order: weight.order,
    };
    if weight.plus_one { plus_one(tensor) } else { Ok(tensor) }
}

/// The type of a tensor of the checkpoint, which must be one that `weight` can have.
fn part_type(weight: &Weight, stored: &Stored) -> Result<TensorType> {
    let Some(ty) = tensor_type(stored.dtype) else {
        bail!("expected dtype F32, F16 or BF16, found {:?}", stored.dtype);
    };
    if !weight.stored.iter().copied().map(u64::from).eq(stored.shape.iter().copied()) {
        bail!("expected shape {:?}, found {:?}", weight.stored, stored.shape);
    }
    Ok(ty)
}

/// The vector with one added to each element.
fn plus_one(tensor: Tensor) -> Result<Tensor> {
    let mut buffer = Vec::new();
    let bytes = tensor.read(0, 1, usize::try_from(tensor.bytes())?, &mut buffer)?;
    let mut values = vec![0.0; usize::try_from(tensor.elements())?];
    decode(tensor.ty, bytes, &mut values).with_context(|| format!("tensor {}", tensor.name))?;
    let bytes = values.iter().flat_map(|value| (value + 1.0).to_le_bytes()).collect();
    Ok(Tensor { ty: TensorType::F32, source: Source::Memory(bytes), ..tensor })
}
