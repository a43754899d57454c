//! GGUF files, versions 2 and 3: reading, checking and writing.
//!
//! [`Gguf`] is a file that was checked from end to end. [`scan()`] is the check alone, on bytes that nobody trusts.
//! [`mod@write`] makes files.

mod catalog;
mod cursor;
mod data;
mod error;
mod foreign;
mod layout;
#[allow(unsafe_code)] // Mapped memory, and what happens when it goes.
mod map;
mod owned;
mod scan;
mod split;
#[cfg(test)]
mod tests;
mod value;
pub mod write;

pub use catalog::TensorInfo;
pub use data::Data;
pub use error::{Fault, GgufError, Item, Problem, SplitProblem};
pub use foreign::foreign;
pub use layout::{Layout, PACKED_VERSION, PACKED_VERSION_KEY, PANEL_ALIGNMENT};
pub(crate) use map::Footprint;
pub use map::exit_on_bus_error;
pub use scan::{
    ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAX_ALIGNMENT, MAX_DIMENSIONS, MAX_ENTRIES, MAX_KEY_BYTES,
    MAX_METADATA_BYTES, MAX_NAME_BYTES, Scan, scan,
};
pub use split::{
    MAX_SHARDS, SPLIT_COUNT_KEY, SPLIT_KEYS, SPLIT_NUMBER_KEY, SPLIT_TENSORS_KEY, ShardName, shards,
};
pub use value::{Array, ArrayIter, Value, ValueType};

use catalog::Catalog;
use map::{Opened, Storage};
use memmap2::Mmap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A GGUF file that was checked: nothing in its metadata, and no tensor's data, lies outside its bytes. It may be a model
/// that is split over several files, of which any was named.
#[derive(Debug)]
pub struct Gguf {
    name: String,
    first: Shard,
    /// The other files of a split model.
    rest: Vec<Shard>,
    catalog: Catalog,
}

/// A file, all there is of a model but for split ones.
#[derive(Debug)]
struct Shard {
    path: PathBuf,
    storage: Arc<Storage>,
    /// The bytes before the tensor data, where `storage` is not to be trusted with them and they are wanted.
    metadata: Option<Mmap>,
    /// Whether it was to be mapped, and could only be read.
    unmappable: bool,
}

impl Gguf {
    /// Maps the file at `path` into memory. Its metadata are read into memory of their own and checked there. Pages of
    /// tensor data are read from disk when they are first touched, and the kernel may drop them again. A file that cannot
    /// be mapped is read, as [`Gguf::read`] does: see [`Gguf::is_unmappable`].
    ///
    /// # What the caller must see to
    /// Nobody, in this process or another, may write to the file or cut it off while it is mapped, that is as long as
    /// this `Gguf`, a [`Data`] of it, or a model that uses its weights in place is there. Tensor data are handed out as
    /// `&[u8]` over the mapping, and Rust takes for granted that what is behind a `&[u8]` does not change; no program
    /// can make sure of it for a file that others may write to. In practice a write spoils results, which
    /// [`Gguf::check_unchanged`] reports when it is asked, and reading a page that is gone raises SIGBUS, for which see
    /// [`exit_on_bus_error`]. To replace a model, write a new file and rename it over the old one. Use [`Gguf::read`] where
    /// that cannot be promised.
    pub fn open(path: &Path) -> Result<Gguf, GgufError> {
        split::complete(Gguf::load(path, map::map)?, map::map)
    }

    /// Reads the whole file at `path` into memory of its own.
    pub fn read(path: &Path) -> Result<Gguf, GgufError> {
        split::complete(Gguf::load(path, map::read)?, map::read)
    }

    /// As [`Gguf::open`], of a file that is open for reading, called `name` in messages. It is mapped or read from its beginning,
    /// wherever it stands, and must be whole: other parts of a split model could not be found.
    pub fn open_file(file: File, name: &str) -> Result<Gguf, GgufError> {
        split::expect_whole(Gguf::new(Path::new(name), map::map_open(file, name)?)?)
    }

    /// A file that is part of the program, as with `include_bytes!`, called `name` in messages.
    pub fn from_static(name: &str, bytes: &'static [u8]) -> Result<Gguf, GgufError> {
        let scan = scan(bytes).map_err(|fault| fault.in_file(name))?;
        let storage = Storage::Static(bytes);
        split::expect_whole(Gguf::new(
            Path::new(name),
            Opened { storage, metadata: None, scan, unmappable: false },
        )?)
    }

    /// A file in memory, called `name` in messages.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Gguf, GgufError> {
        let scan = scan(&bytes).map_err(|fault| fault.in_file(name))?;
        let storage = Storage::Owned(bytes);
        split::expect_whole(Gguf::new(
            Path::new(name),
            Opened { storage, metadata: None, scan, unmappable: false },
        )?)
    }

    /// A file by itself.
    fn load(path: &Path, open: Open) -> Result<Gguf, GgufError> {
        Gguf::new(path, open(path, &path.display().to_string())?)
    }

    fn new(path: &Path, opened: Opened) -> Result<Gguf, GgufError> {
        let Opened { storage, metadata, scan, unmappable } = opened;
        let name = path.display().to_string();
        let file_len = storage.bytes().len() as u64;
        let bytes = metadata.as_deref().unwrap_or(storage.bytes());
        let catalog = Catalog::build(&name, bytes, file_len, scan)?;
        let first = Shard { path: path.to_owned(), storage: Arc::new(storage), metadata, unmappable };
        Ok(Gguf { name, first, rest: Vec::new(), catalog })
    }

    /// What keys and values are read from.
    fn metadata_part(&self) -> &[u8] {
        self.first.metadata.as_deref().unwrap_or_else(|| self.first.storage.bytes())
    }

    /// The file or files, in order.
    fn shards(&self) -> impl Iterator<Item = &Shard> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// Where a tensor's file is kept; None where it is another model's.
    fn storage_of(&self, tensor: &TensorInfo) -> Option<&Arc<Storage>> {
        match tensor.shard.checked_sub(1) {
            None => Some(&self.first.storage),
            Some(index) => self.rest.get(index).map(|shard| &shard.storage),
        }
    }

    /// Whether another GGUF file follows where this one's data end.
    fn has_another_behind(&self) -> bool {
        let ends = self.tensors().iter().map(|tensor| tensor.range().end);
        let end = ends.max().unwrap_or(0).max(self.catalog.scan.data_start);
        // Behind padding of whatever length.
        let behind = usize::try_from(end).ok().and_then(|end| self.first.storage.bytes().get(end..));
        let near = behind.map_or(&[][..], |behind| behind.get(..MAX_PADDING).unwrap_or(behind));
        near.windows(MAGIC.len()).any(|window| window == MAGIC)
    }

    /// What messages call the file: its path, or what it was given as a name. Of a split model it is the path of the shard
    /// that was named.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Version of the format, 2 or 3.
    pub fn version(&self) -> u32 {
        self.catalog.scan.version
    }

    /// Alignment of tensor data in the file, in bytes: a power of two from 8 to [`MAX_ALIGNMENT`].
    pub fn alignment(&self) -> u64 {
        self.catalog.scan.alignment.into()
    }

    /// Size of the file in bytes, or of all files of a split model.
    pub fn file_len(&self) -> u64 {
        self.shards().map(|shard| shard.storage.bytes().len() as u64).sum()
    }

    /// The path of the file, or those of the shards of a split model in order: [`TensorInfo::shard`] counts these.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.shards().map(|shard| shard.path.as_path())
    }

    /// Refuses what is no model by what the file says of itself: an adapter, an importance matrix, a vocabulary alone.
    pub fn check_is_model(&self) -> Result<(), GgufError> {
        let kind = self.str("general.type")?.filter(|kind| *kind != "model");
        let architecture = self.str("general.architecture")?;
        let other = architecture.filter(|name| ["clip", "controlvector"].contains(name));
        let found = match kind.or(other) {
            Some(kind) => foreign::other_kind(kind),
            None if !self.tensors().is_empty() || architecture.is_none() => return Ok(()),
            None if self.get("tokenizer.ggml.tokens").is_some() => "a vocabulary without weights",
            None => "a file without tensors",
        };
        Err(GgufError::NoModel { file: self.name.clone(), found })
    }

    /// All keys and their values, in the order of the file.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        self.catalog.metadata(self.metadata_part())
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<Value<'_>> {
        self.catalog.value(self.metadata_part(), key)
    }

    /// An integer of any type whose value fits; `None` when there is no such key.
    pub fn u32(&self, key: &str) -> Result<Option<u32>, GgufError> {
        self.typed(key, "u32", |value| value.as_u32())
    }

    /// An integer of any type whose value fits; `None` when there is no such key.
    pub fn u64(&self, key: &str) -> Result<Option<u64>, GgufError> {
        self.typed(key, "u64", |value| value.as_u64())
    }

    /// A floating-point number of either width; `None` when there is no such key.
    pub fn f32(&self, key: &str) -> Result<Option<f32>, GgufError> {
        self.typed(key, "f32", |value| value.as_f32())
    }

    /// A truth value; `None` when there is no such key.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.typed(key, "bool", |value| value.as_bool())
    }

    /// A string in UTF-8; `None` when there is no such key.
    pub fn str(&self, key: &str) -> Result<Option<&str>, GgufError> {
        self.typed(key, "string in UTF-8", |value| value.as_str())
    }

    /// An array, of elements of any type; `None` when there is no such key.
    pub fn array(&self, key: &str) -> Result<Option<Array<'_>>, GgufError> {
        self.typed(key, "array", |value| value.as_array())
    }

    /// As [`Gguf::u32`], of a key that must be there.
    pub fn require_u32(&self, key: &str) -> Result<u32, GgufError> {
        self.require(key, "u32", self.u32(key)?)
    }

    /// As [`Gguf::f32`], of a key that must be there.
    pub fn require_f32(&self, key: &str) -> Result<f32, GgufError> {
        self.require(key, "f32", self.f32(key)?)
    }

    /// As [`Gguf::str`], of a key that must be there.
    pub fn require_str(&self, key: &str) -> Result<&str, GgufError> {
        self.require(key, "string", self.str(key)?)
    }

    /// As [`Gguf::array`], of a key that must be there.
    pub fn require_array(&self, key: &str) -> Result<Array<'_>, GgufError> {
        self.require(key, "array", self.array(key)?)
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        convert: impl Fn(&Value<'a>) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match convert(&value) {
            Some(converted) => Ok(Some(converted)),
            None => {
                let found = match value.as_integer() {
                    Some(number) => format!("{} {number}", value.kind()),
                    None => value.kind().to_string(),
                };
                Err(GgufError::WrongValue { file: self.name.clone(), key: key.to_owned(), expected, found })
            }
        }
    }

    fn require<T>(&self, key: &str, expected: &'static str, value: Option<T>) -> Result<T, GgufError> {
        let missing = || GgufError::MissingKey { file: self.name.clone(), key: key.to_owned(), expected };
        value.ok_or_else(missing)
    }

    /// All tensors, in the order of the file.
    pub fn tensors(&self) -> &[TensorInfo] {
        self.catalog.tensors()
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.catalog.tensor(name)
    }

    /// The rows of a tensor of this file, [`TensorInfo::bytes`] long. There are none in a packed tensor, whose bytes
    /// mean nothing as rows ([`Gguf::panels`]), nor in one of a longer file.
    ///
    /// A file that was opened or read begins on a page, so the data is aligned in memory as in the file, up to the
    /// size of a page. One given as bytes is aligned as those are.
    pub fn data(&self, tensor: &TensorInfo) -> &[u8] {
        let bytes = self.storage_of(tensor).map(|storage| storage.bytes());
        bytes.and_then(|bytes| bytes.get(range(tensor, Layout::Rows))).unwrap_or_default()
    }

    /// The panels of a packed tensor of this file, [`TensorInfo::bytes`] long and aligned as [`Gguf::data`] are; none
    /// of another tensor.
    pub fn panels(&self, tensor: &TensorInfo) -> Data {
        match self.storage_of(tensor) {
            Some(storage) => Data::new(storage, range(tensor, Layout::Panels)),
            None => Data::new(&self.first.storage, 0..0),
        }
    }

    /// Whether any tensor is packed in panels.
    pub fn is_packed(&self) -> bool {
        self.tensors().iter().any(|tensor| tensor.layout == Layout::Panels)
    }

    /// Asks the kernel to begin reading a tensor's data, if the file is mapped.
    pub fn prefetch(&self, tensor: &TensorInfo) {
        if let Some(storage) = self.storage_of(tensor) {
            storage.prefetch(tensor.range());
        }
    }

    /// Gives the memory of a tensor's data back, if the file is mapped: the whole pages within it. They are read
    /// from the file again when they are touched.
    pub fn release(&self, tensor: &TensorInfo) {
        self.release_range(tensor, tensor.range());
    }

    /// Gives back the memory of some of a tensor's bytes, counted from its first, all before which were read earlier:
    /// what the kernel mapped of those once more, around a page that was touched, goes too.
    pub(crate) fn release_part(&self, tensor: &TensorInfo, part: Range<usize>) {
        let at = |byte: usize| tensor.offset.saturating_add(byte as u64);
        self.release_range(tensor, at(part.start).saturating_sub(FAULT_AROUND)..at(part.end));
    }

    /// Gives back the memory of a tensor's data, and of what the kernel mapped around it.
    pub(crate) fn release_around(&self, tensor: &TensorInfo) {
        let Range { start, end } = tensor.range();
        self.release_range(tensor, start.saturating_sub(FAULT_AROUND)..end.saturating_add(FAULT_AROUND));
    }

    /// Gives back the memory of some bytes of the file that a tensor is in.
    fn release_range(&self, tensor: &TensorInfo, range: Range<u64>) {
        if let Some(storage) = self.storage_of(tensor) {
            storage.release(range);
        }
    }

    /// Bytes of the file before its tensors' data; of a split model those of the shard that has all keys.
    pub(crate) fn metadata_bytes(&self) -> u64 {
        self.catalog.scan.data_start
    }

    /// Whether all of the file was read into memory, as [`Gguf::read`] does.
    pub fn is_read(&self) -> bool {
        matches!(self.footprint(), Footprint::Read { .. })
    }

    /// Whether the file was to be mapped and could only be read, as its file system, or a sandbox, does not allow the former.
    pub fn is_unmappable(&self) -> bool {
        self.shards().any(|shard| shard.unmappable)
    }

    /// How the file takes memory.
    pub(crate) fn footprint(&self) -> Footprint {
        let metadata = self.catalog.scan.data_start;
        let first = self.first.storage.footprint(metadata);
        let alike = self.rest.iter().all(|shard| shard.storage.footprint(metadata) == first);
        match first {
            Footprint::Mapped { .. } if alike => first,
            _ if self.rest.is_empty() => first,
            // At most, where some files could not be mapped.
            _ => Footprint::Read { bytes: self.file_len() },
        }
    }

    /// Whether the mapped file is still the one that was opened: same size and time of modification, and no other
    /// file in its place. Nothing can be wrong with a file that was read.
    pub fn check_unchanged(&self) -> Result<(), GgufError> {
        let unchanged = |shard: &Shard| shard.storage.check_unchanged(&shard.path.display().to_string());
        self.shards().try_for_each(unchanged)
    }
}

/// How a file comes into memory; the second is what messages call it.
type Open = fn(&Path, &str) -> Result<Opened, GgufError>;

/// What a GGUF file begins with.
const MAGIC: &[u8] = b"GGUF";
/// The most bytes that are looked for it behind a file's data.
const MAX_PADDING: usize = 4096;

/// Bytes of a mapped file that the kernel maps around a page that is touched, unless it is told otherwise
/// (`fault_around_bytes`).
pub(crate) const FAULT_AROUND: u64 = 64 << 10;

/// Where a tensor's data lie in the file's bytes; an empty range where they have another layout.
fn range(tensor: &TensorInfo, layout: Layout) -> Range<usize> {
    let range = tensor.range();
    match (usize::try_from(range.start), usize::try_from(range.end)) {
        (Ok(start), Ok(end)) if tensor.layout == layout => start..end,
        _ => 0..0,
    }
}
