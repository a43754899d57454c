//! Writing GGUF files, version 3: a [`Builder`] takes metadata and tensor declarations, and becomes a [`Writer`] that
//! takes the tensors' data as a stream.

pub use super::owned::{OwnedArray, OwnedValue};

use super::cursor::{Cursor, MAX_ARRAY_DEPTH};
use super::error::{Item, Problem};
use super::layout::{Layout, PACKED_VERSION, PACKED_VERSION_KEY, PANEL_ALIGNMENT};
use super::owned::encode_string;
use super::scan::{
    ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAX_DIMENSIONS, MAX_ENTRIES, MAX_KEY_BYTES, MAX_METADATA_BYTES,
    MAX_NAME_BYTES, check_dimensions, data_bytes, read_alignment,
};
use super::value::{Value, ValueType};
use siskin_quant::TensorType;
use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{self, Write};

/// The version of the format that is written.
const VERSION: u32 = 3;

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The sink failed.
    #[error("cannot write: {0}")]
    Io(#[from] io::Error),
    /// The format, or this project's own reader, would refuse it.
    #[error("{item}: {problem}")]
    Invalid {
        /// The key or tensor.
        item: String,
        /// What is wrong with it.
        problem: Problem,
    },
    /// A tensor of that name was already declared.
    #[error("tensor {0:?} was already declared")]
    DuplicateTensor(String),
    /// Data came for another tensor than the next one declared.
    #[error("expected data of {expected}, found data of tensor {found:?}")]
    Order {
        /// The tensor whose turn it is.
        expected: String,
        /// The tensor named by the caller.
        found: String,
    },
    /// A tensor's data is longer or shorter than its shape and type say.
    #[error("tensor {tensor:?}: expected {expected} bytes of data, found {found}")]
    DataLength {
        /// The tensor.
        tensor: String,
        /// What its declaration needs.
        expected: u64,
        /// What it got.
        found: u64,
    },
    /// More data came than all tensors declared need.
    #[error("{0} bytes of data beyond the last tensor")]
    Surplus(usize),
}

fn invalid(item: Item<'_>, problem: Problem) -> WriteError {
    WriteError::Invalid { item: item.to_string(), problem }
}

/// What a file will hold, before its first byte is written.
#[derive(Clone, Debug)]
pub struct Builder {
    metadata: Vec<Entry>,
    /// Where each key's entry is.
    places: HashMap<String, usize>,
    tensors: Vec<Declared>,
    names: HashSet<String>,
    alignment: u32,
}

#[derive(Clone, Debug)]
struct Entry {
    key: String,
    kind: ValueType,
    value: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Declared {
    name: String,
    shape: Vec<u64>,
    ty: TensorType,
    layout: Layout,
    bytes: u64,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            metadata: Vec::new(),
            places: HashMap::new(),
            tensors: Vec::new(),
            names: HashSet::new(),
            alignment: DEFAULT_ALIGNMENT,
        }
    }
}

impl Builder {
    /// A file without keys and tensors.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Sets a key. A new one comes after all others, an old one keeps its place and gets the new value.
    ///
    /// [`ALIGNMENT_KEY`] sets the alignment of the tensors' data, which is 32 otherwise.
    pub fn set(&mut self, key: &str, value: impl Into<OwnedValue>) -> Result<&mut Builder, WriteError> {
        let value = value.into();
        let mut encoded = Vec::new();
        value.encode(&mut encoded);
        self.insert(key, value.kind(), encoded)
    }

    /// As [`Builder::set`], with a value of another file. Arrays are copied without being decoded.
    pub fn copy(&mut self, key: &str, value: Value<'_>) -> Result<&mut Builder, WriteError> {
        let mut encoded = Vec::new();
        value.encode(&mut encoded);
        self.insert(key, value.kind(), encoded)
    }

    /// What the tensors' data are aligned to and padded to, in bytes; a packed file's more than others'.
    pub fn alignment(&self) -> u32 {
        self.alignment
    }

    fn insert(&mut self, key: &str, kind: ValueType, value: Vec<u8>) -> Result<&mut Builder, WriteError> {
        let item = Item::Key(key.as_bytes());
        check_name(key, MAX_KEY_BYTES).map_err(|problem| invalid(item, problem))?;
        let mut cursor = Cursor::over(&value);
        cursor.skip_value(kind, MAX_ARRAY_DEPTH).map_err(|problem| invalid(item, problem))?;
        if key == ALIGNMENT_KEY {
            self.alignment = read_alignment(kind, &value).map_err(|problem| invalid(item, problem))?;
        }
        match self.places.get(key).and_then(|&place| self.metadata.get_mut(place)) {
            Some(entry) => (entry.kind, entry.value) = (kind, value),
            None => {
                self.places.insert(key.to_owned(), self.metadata.len());
                self.metadata.push(Entry { key: key.to_owned(), kind, value });
            }
        }
        Ok(self)
    }

    /// Declares the next tensor: its name, its shape in GGUF's order (`shape[0]` is the length of a row), its type.
    pub fn tensor(&mut self, name: &str, shape: &[u64], ty: TensorType) -> Result<&mut Builder, WriteError> {
        self.declare(name, shape, ty, Layout::Rows)
    }

    /// As [`Builder::tensor`], of data in panels as a [`Packer`](crate::packed::Packer) makes them. The file becomes a
    /// packed one: it says so in a key, and is aligned for the kernels.
    pub fn panels(&mut self, name: &str, shape: &[u64], ty: TensorType) -> Result<&mut Builder, WriteError> {
        self.set(PACKED_VERSION_KEY, PACKED_VERSION)?;
        if self.alignment < PANEL_ALIGNMENT {
            self.set(ALIGNMENT_KEY, PANEL_ALIGNMENT)?;
        }
        self.declare(name, shape, ty, Layout::Panels)
    }

    fn declare(
        &mut self,
        name: &str,
        shape: &[u64],
        ty: TensorType,
        layout: Layout,
    ) -> Result<&mut Builder, WriteError> {
        let item = Item::Tensor(name.as_bytes());
        check_name(name, MAX_NAME_BYTES).map_err(|problem| invalid(item, problem))?;
        if !(1..=MAX_DIMENSIONS).contains(&shape.len()) {
            let found = u32::try_from(shape.len()).unwrap_or(u32::MAX);
            return Err(invalid(item, Problem::Dimensions(found)));
        }
        let bytes = check_dimensions(shape).and_then(|()| data_bytes(shape, ty, layout));
        let bytes = bytes.map_err(|problem| invalid(item, problem))?;
        if !self.names.insert(name.to_owned()) {
            return Err(WriteError::DuplicateTensor(name.to_owned()));
        }
        self.tensors.push(Declared { name: name.to_owned(), shape: shape.to_vec(), ty, layout, bytes });
        Ok(self)
    }

    /// Size of the finished file in bytes.
    pub fn file_len(&self) -> Result<u64, WriteError> {
        let metadata = self.encode()?;
        Ok(metadata.len() as u64 + self.layout()?.1)
    }

    /// Writes everything that comes before the tensors' data.
    pub fn start<W: Write>(self, mut sink: W) -> Result<Writer<W>, WriteError> {
        sink.write_all(&self.encode()?)?;
        Ok(Writer { sink, alignment: self.alignment, pending: self.tensors.into(), filled: 0 })
    }

    /// Header, keys and tensor descriptions, padded to where the data begins.
    fn encode(&self) -> Result<Vec<u8>, WriteError> {
        self.check_counts()?;
        let (offsets, _) = self.layout()?;
        let mut out = Vec::new();
        out.extend(b"GGUF");
        out.extend(VERSION.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.len() as u64).to_le_bytes());
        for entry in &self.metadata {
            encode_string(entry.key.as_bytes(), &mut out);
            out.extend(entry.kind.id().to_le_bytes());
            out.extend(&entry.value);
        }
        for (tensor, offset) in self.tensors.iter().zip(offsets) {
            encode_string(tensor.name.as_bytes(), &mut out);
            out.extend((tensor.shape.len() as u32).to_le_bytes());
            out.extend(tensor.shape.iter().flat_map(|dimension| dimension.to_le_bytes()));
            out.extend(tensor.layout.id(tensor.ty).to_le_bytes());
            out.extend(offset.to_le_bytes());
        }
        let end = out.len() as u64;
        if end > MAX_METADATA_BYTES {
            let problem = Problem::MetadataSize { field: "metadata", end, most: MAX_METADATA_BYTES };
            return Err(invalid(Item::Header, problem));
        }
        out.resize(out.len().next_multiple_of(self.alignment as usize), 0);
        Ok(out)
    }

    fn check_counts(&self) -> Result<(), WriteError> {
        let counts = [("tensor count", self.tensors.len()), ("key count", self.metadata.len())];
        for (field, found) in counts {
            let found = found as u64;
            if found > MAX_ENTRIES {
                return Err(invalid(Item::Header, Problem::Count { field, found, most: MAX_ENTRIES }));
            }
        }
        Ok(())
    }

    /// Offset of each tensor's data from where the data begins, and the length of all data with its padding.
    fn layout(&self) -> Result<(Vec<u64>, u64), WriteError> {
        let mut end = 0u64;
        let mut offsets = Vec::with_capacity(self.tensors.len());
        for tensor in &self.tensors {
            offsets.push(end);
            let padded = end
                .checked_add(tensor.bytes)
                .and_then(|end| end.checked_next_multiple_of(self.alignment.into()));
            end = padded.ok_or_else(|| invalid(Item::Tensor(tensor.name.as_bytes()), Problem::DataSize))?;
        }
        Ok((offsets, end))
    }
}

fn check_name(name: &str, most: u64) -> Result<(), Problem> {
    match name.len() as u64 {
        0 => Err(Problem::EmptyName),
        found if found > most => Err(Problem::NameLength { found, most }),
        _ => Ok(()),
    }
}

/// Takes the data of the declared tensors, in the order of their declarations, and pads each to the alignment.
#[derive(Debug)]
pub struct Writer<W: Write> {
    sink: W,
    alignment: u32,
    /// Tensors whose data is not complete.
    pending: VecDeque<Declared>,
    /// Bytes written of the first of them.
    filled: u64,
}

impl<W: Write> Writer<W> {
    /// Writes all data of the next tensor, which must be called `name`.
    pub fn tensor(&mut self, name: &str, data: &[u8]) -> Result<(), WriteError> {
        if self.filled > 0 {
            return Err(self.incomplete());
        }
        self.skip_empty(Some(name));
        match self.pending.front() {
            Some(next) if next.name != name => {
                let expected = format!("tensor {:?}", next.name);
                Err(WriteError::Order { expected, found: name.to_owned() })
            }
            None => Err(WriteError::Order { expected: "no other tensor".to_owned(), found: name.to_owned() }),
            Some(next) if next.bytes != data.len() as u64 => {
                let (tensor, expected) = (next.name.clone(), next.bytes);
                Err(WriteError::DataLength { tensor, expected, found: data.len() as u64 })
            }
            Some(_) => self.append(data),
        }
    }

    /// Writes data that continues the stream: the rest of a tensor, the beginning of the next, or several.
    pub fn append(&mut self, mut data: &[u8]) -> Result<(), WriteError> {
        while !data.is_empty() {
            self.skip_empty(None);
            let Some(tensor) = self.pending.front() else { return Err(WriteError::Surplus(data.len())) };
            let left = usize::try_from(tensor.bytes - self.filled).unwrap_or(usize::MAX);
            let (now, later) = data.split_at(left.min(data.len()));
            self.sink.write_all(now)?;
            self.filled += now.len() as u64;
            if self.filled == tensor.bytes {
                self.pad()?;
                self.pending.pop_front();
                self.filled = 0;
            }
            data = later;
        }
        Ok(())
    }

    /// Ends the file and returns the sink, flushed. It is an error if any tensor lacks data.
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.skip_empty(None);
        if !self.pending.is_empty() {
            return Err(self.incomplete());
        }
        self.sink.flush()?;
        Ok(self.sink)
    }

    /// Steps over tensors without data, but not over the one called `until`.
    fn skip_empty(&mut self, until: Option<&str>) {
        while self.pending.pop_front_if(|next| next.bytes == 0 && until != Some(&next.name)).is_some() {}
    }

    fn incomplete(&self) -> WriteError {
        let (tensor, expected) = self.pending.front().map(|t| (t.name.clone(), t.bytes)).unwrap_or_default();
        WriteError::DataLength { tensor, expected, found: self.filled }
    }

    fn pad(&mut self) -> io::Result<()> {
        const ZEROS: [u8; 4096] = [0; 4096];
        let mut left = (self.filled.next_multiple_of(self.alignment.into()) - self.filled) as usize;
        while left > 0 {
            let zeros = ZEROS.get(..left).unwrap_or(&ZEROS);
            self.sink.write_all(zeros)?;
            left -= zeros.len();
        }
        Ok(())
    }
}
