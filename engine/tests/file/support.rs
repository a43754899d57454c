//! GGUF files made byte by byte, with any mistake a test wants.

use siskin::gguf::ValueType;

/// A file of which every field can be wrong. Offsets and counts are right where nothing else is said.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) magic: [u8; 4],
    pub(crate) version: u32,
    pub(crate) key_count: Option<u64>,
    pub(crate) tensor_count: Option<u64>,
    pub(crate) alignment: usize,
    pub(crate) keys: Vec<Vec<u8>>,
    pub(crate) tensors: Vec<Vec<u8>>,
    pub(crate) data: Vec<u8>,
}

impl Raw {
    pub(crate) fn new() -> Raw {
        Raw {
            magic: *b"GGUF",
            version: 3,
            key_count: None,
            tensor_count: None,
            alignment: 32,
            keys: Vec::new(),
            tensors: Vec::new(),
            data: Vec::new(),
        }
    }

    /// A key and its value's bytes.
    pub(crate) fn key(self, key: &str, kind: ValueType, value: &[u8]) -> Raw {
        self.raw_key(key.as_bytes(), kind.id(), value)
    }

    pub(crate) fn raw_key(mut self, key: &[u8], kind: u32, value: &[u8]) -> Raw {
        self.keys.push([&string(key), &kind.to_le_bytes()[..], value].concat());
        self
    }

    /// A tensor's description, in the numbers of the file.
    pub(crate) fn tensor(self, name: &str, shape: &[u64], ty: u32, offset: u64) -> Raw {
        self.raw_tensor(name.as_bytes(), shape, ty, offset)
    }

    pub(crate) fn raw_tensor(mut self, name: &[u8], shape: &[u64], ty: u32, offset: u64) -> Raw {
        let mut bytes = string(name);
        bytes.extend((shape.len() as u32).to_le_bytes());
        bytes.extend(shape.iter().flat_map(|dimension| dimension.to_le_bytes()));
        bytes.extend(ty.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        self.tensors.push(bytes);
        self
    }

    /// Bytes of the data section.
    pub(crate) fn data(mut self, len: usize) -> Raw {
        self.data = (0..len).map(|i| i as u8).collect();
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.magic.to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.tensor_count.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        bytes.extend(self.key_count.unwrap_or(self.keys.len() as u64).to_le_bytes());
        bytes.extend(self.keys.concat());
        bytes.extend(self.tensors.concat());
        if !self.data.is_empty() {
            bytes.resize(bytes.len().next_multiple_of(self.alignment), 0);
            bytes.extend(&self.data);
        }
        bytes
    }
}

/// A string as it lies in the file.
pub(crate) fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes()[..], bytes].concat()
}

/// An array as it lies in the file: type and number of the elements, and their bytes.
pub(crate) fn array(kind: ValueType, len: u64, elements: &[u8]) -> Vec<u8> {
    [&kind.id().to_le_bytes()[..], &len.to_le_bytes()[..], elements].concat()
}
