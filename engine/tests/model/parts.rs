//! The tiny LLaMA checkpoints under `goldens/llama`, and changed copies of them.

use std::path::{Path, PathBuf};

use siskin::gguf::Gguf;
use siskin::gguf::write::{Builder, OwnedValue};
use siskin_quant::TensorType;

pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/llama").join(name)
}

/// The prompt that came with a checkpoint.
pub(crate) fn ids(name: &str) -> Vec<u32> {
    let text = std::fs::read_to_string(golden(name).join("ids.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A tensor of a file that is about to be written.
#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<u64>,
    pub(crate) ty: TensorType,
    pub(crate) data: Vec<u8>,
}

/// A GGUF file taken apart.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) keys: Vec<(String, OwnedValue)>,
    pub(crate) tensors: Vec<Tensor>,
}

impl Parts {
    pub(crate) fn of(name: &str) -> Self {
        let file = Gguf::open(&golden(&format!("{name}.gguf"))).unwrap();
        let keys = file.metadata().map(|(key, value)| (key.to_owned(), OwnedValue::from(value))).collect();
        let tensors = file
            .tensors()
            .iter()
            .map(|t| Tensor {
                name: t.name.clone(),
                shape: t.shape.clone(),
                ty: t.ty,
                data: file.data(t).to_vec(),
            })
            .collect();
        Self { keys, tensors }
    }

    /// Sets a key, or removes it.
    pub(crate) fn key(mut self, key: &str, value: Option<OwnedValue>) -> Self {
        self.keys.retain(|(name, _)| name != key);
        self.keys.extend(value.map(|value| (key.to_owned(), value)));
        self
    }

    pub(crate) fn tensor(mut self, name: &str, change: impl Fn(&mut Tensor)) -> Self {
        change(self.tensors.iter_mut().find(|t| t.name == name).unwrap());
        self
    }

    /// Matrices, where their rows divide, in another type.
    pub(crate) fn quantized(mut self, ty: TensorType) -> Self {
        for tensor in &mut self.tensors {
            if tensor.shape.len() < 2 || !tensor.shape[0].is_multiple_of(ty.block_len() as u64) {
                continue;
            }
            let mut values = vec![0.0; tensor.shape.iter().product::<u64>() as usize];
            siskin_quant::decode(tensor.ty, &tensor.data, &mut values).unwrap();
            let mut data = vec![0; values.len() / ty.block_len() * ty.block_bytes()];
            siskin_quant::encode(ty, &values, &mut data).unwrap();
            (tensor.ty, tensor.data) = (ty, data);
        }
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut builder = Builder::new();
        for (key, value) in &self.keys {
            builder.set(key, value.clone()).unwrap();
        }
        for tensor in &self.tensors {
            builder.tensor(&tensor.name, &tensor.shape, tensor.ty).unwrap();
        }
        let mut writer = builder.start(Vec::new()).unwrap();
        for tensor in &self.tensors {
            writer.tensor(&tensor.name, &tensor.data).unwrap();
        }
        writer.finish().unwrap()
    }

    pub(crate) fn gguf(&self) -> Gguf {
        Gguf::from_bytes("changed.gguf", self.bytes()).unwrap()
    }
}
