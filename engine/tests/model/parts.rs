//! The tiny checkpoints under `goldens`, and changed copies of them.

use std::path::{Path, PathBuf};

use siskin::gguf::Gguf;
use siskin::gguf::write::{Builder, OwnedValue};
use siskin::{Error, Model, SessionOptions};
use siskin_quant::TensorType;

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

pub(crate) fn golden(name: &str) -> PathBuf {
    goldens().join("llama").join(name)
}

/// What came with a checkpoint of another family, or the file that llama.cpp's converter made of it.
pub(crate) fn family(name: &str) -> PathBuf {
    goldens().join("families").join(name)
}

/// What llama.cpp made of the `kquant` checkpoint.
pub(crate) fn llama_cpp(name: &str) -> PathBuf {
    goldens().join("llama_cpp").join(name)
}

/// The numbers of a float32 .npy file.
pub(crate) fn npy(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert!(String::from_utf8_lossy(&bytes[10..10 + header]).contains("'<f4', 'fortran_order': False"));
    bytes[10 + header..].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// The logits after every token of a prompt.
pub(crate) fn logits(model: &Model, ids: &[u32], options: &SessionOptions) -> Vec<f32> {
    let mut all = Vec::new();
    let each = |logits: &[f32]| {
        all.extend_from_slice(logits);
        Ok::<_, Error>(())
    };
    model.session(options).unwrap().feed_each(ids, each).unwrap();
    all
}

/// Mean squared error over the mean square of the expected.
pub(crate) fn nmse(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |x: f64| x * x;
    let error: f64 = found.iter().zip(expected).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    error / expected.iter().map(|&b| square(f64::from(b))).sum::<f64>()
}

/// Numbers between -1 and 1 that look like chance.
pub(crate) fn random(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let number = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(number).take(count).collect()
}

/// The prompt that came with a checkpoint.
pub(crate) fn ids(name: &str) -> Vec<u32> {
    ids_in(&golden(name))
}

/// The prompt in a checkpoint's folder.
pub(crate) fn ids_in(folder: &Path) -> Vec<u32> {
    serde_json::from_str(&std::fs::read_to_string(folder.join("ids.json")).unwrap()).unwrap()
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
        Self::read(&golden(&format!("{name}.gguf")))
    }

    pub(crate) fn read(path: &Path) -> Self {
        let file = Gguf::open(path).unwrap();
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
