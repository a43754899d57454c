use super::foreign::foreign;
use super::value::ValueType;
use siskin_quant::TensorType;
use std::{fmt, io};

/// Why a file could not be opened, read or believed. Each message is one line that begins with the file's name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The operating system refused something.
    #[error("{file}: cannot {action}: {source}")]
    Io {
        /// The file's path.
        file: String,
        /// What was being done, as a verb phrase.
        action: &'static str,
        /// The system's own answer.
        source: io::Error,
    },
    /// The path names a folder, a pipe or a device.
    #[error("{file}: expected a regular file, found {found}")]
    NotAFile {
        /// The path.
        file: String,
        /// What it is instead.
        found: &'static str,
    },
    /// The file is something else than a GGUF file, or a GGUF file that is no model.
    #[error("{file}: expected a model in a GGUF file, found {found}")]
    NoModel {
        /// The file's path.
        file: String,
        /// What it is, and what to do about it.
        found: &'static str,
    },
    /// The bytes are not a well-formed GGUF file.
    #[error("{file}: {item} at byte {offset}: {problem}")]
    Malformed {
        /// The file's path.
        file: String,
        /// Which part of the file, as in `key "general.alignment"`.
        item: String,
        /// Where in the file the offending field begins.
        offset: u64,
        /// What was found and what was expected.
        problem: Problem,
    },
    /// Two tensors claim the same bytes.
    #[error(
        "{file}: tensor {tensor:?} at bytes {start}..{end} overlaps tensor {other:?} at bytes \
         {other_start}..{other_end}"
    )]
    Overlap {
        /// The file's path.
        file: String,
        /// The tensor that begins later.
        tensor: String,
        /// Its first byte in the file.
        start: u64,
        /// One past its last byte.
        end: u64,
        /// The tensor that begins earlier.
        other: String,
        /// Its first byte in the file.
        other_start: u64,
        /// One past its last byte.
        other_end: u64,
    },
    /// A required key is absent.
    #[error("{file}: key {key:?}: expected {expected}, found no such key")]
    MissingKey {
        /// The file's path.
        file: String,
        /// The key asked for.
        key: String,
        /// The type asked for.
        expected: &'static str,
    },
    /// A key holds another type than the one asked for, or a number that does not fit it.
    #[error("{file}: key {key:?}: expected {expected}, found {found}")]
    WrongValue {
        /// The file's path.
        file: String,
        /// The key asked for.
        key: String,
        /// The type asked for.
        expected: &'static str,
        /// The type, or the number, in the file.
        found: String,
    },
    /// The file is a shard of a split model that cannot be put together.
    #[error("{file}: {problem}")]
    Split {
        /// The path of a shard.
        file: String,
        /// What is wrong with it, or with the others.
        problem: SplitProblem,
    },
    /// The file on disk is no longer the one that was opened.
    #[error("{file}: {what} while it was in use: load it again, or use --no-mmap")]
    Changed {
        /// The file's path.
        file: String,
        /// What happened to it.
        what: &'static str,
    },
}

/// A part of the file, as far as it is known when a fault is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// Magic, version and counts.
    Header,
    /// A key whose name was not yet read, counted from 0.
    KeyNumber(u64),
    /// A key.
    Key(&'a [u8]),
    /// A tensor whose name was not yet read, counted from 0.
    TensorNumber(u64),
    /// A tensor.
    Tensor(&'a [u8]),
}

impl fmt::Display for Item<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Header => f.write_str("header"),
            Item::KeyNumber(index) => write!(f, "key number {index}"),
            Item::TensorNumber(index) => write!(f, "tensor number {index}"),
            Item::Key(name) => write!(f, "key \"{}\"", Clipped(name)),
            Item::Tensor(name) => write!(f, "tensor \"{}\"", Clipped(name)),
        }
    }
}

/// A name from an untrusted file, made fit for one line of a terminal.
struct Clipped<'a>(&'a [u8]);

impl fmt::Display for Clipped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 80;
        match self.0.get(..MOST) {
            Some(start) if self.0.len() > MOST => write!(f, "{}...", start.escape_ascii()),
            _ => write!(f, "{}", self.0.escape_ascii()),
        }
    }
}

/// The first fault in a file, found without allocating: what is wrong, in which part, at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{item} at byte {offset}: {problem}")]
pub struct Fault<'a> {
    /// The part of the file.
    pub item: Item<'a>,
    /// Where in the file the offending field begins.
    pub offset: u64,
    /// What was found and what was expected.
    pub problem: Problem,
}

impl Fault<'_> {
    /// The same about the file that begins with `bytes`: where it is known to be something else, that is said.
    pub(super) fn about(&self, bytes: &[u8], file: &str) -> GgufError {
        let known = match self.problem {
            Problem::Magic(_) => foreign(bytes),
            _ => None,
        };
        match known {
            Some(found) => GgufError::NoModel { file: file.to_owned(), found },
            None => self.in_file(file),
        }
    }

    /// The same, as an error that names `file` and borrows nothing.
    pub fn in_file(&self, file: &str) -> GgufError {
        GgufError::Malformed {
            file: file.to_owned(),
            item: self.item.to_string(),
            offset: self.offset,
            problem: self.problem,
        }
    }
}

/// One rule of the format, broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The first four bytes are not `GGUF`.
    #[error("expected the magic \"GGUF\", found \"{}\"", .0.escape_ascii())]
    Magic([u8; 4]),
    /// A version this reader does not know: 0, 1 (which had 32-bit lengths) or one of the future.
    #[error("expected version 2 or 3, found version {0}")]
    Version(u32),
    /// The file was written for a big-endian machine.
    #[error("expected little-endian data, found version {0} in big-endian order")]
    BigEndian(u32),
    /// A count that the rest of the file cannot hold.
    #[error("expected a {field} of at most {most} in a file of this size, found {found}")]
    Count {
        /// Which count.
        field: &'static str,
        /// The count in the file.
        found: u64,
        /// The most that the remaining bytes, or this reader, could hold.
        most: u64,
    },
    /// The file ends inside a field.
    #[error("{field} needs {needed} bytes, {left} left in the file")]
    Truncated {
        /// The field.
        field: &'static str,
        /// Its size.
        needed: u64,
        /// Bytes between its start and the end of the file.
        left: u64,
    },
    /// Header, keys and tensor descriptions together are unreasonably large.
    #[error("{field} would end at byte {end}, expected all metadata in the first {most} bytes")]
    MetadataSize {
        /// The field that goes too far.
        field: &'static str,
        /// Where it would end.
        end: u64,
        /// The limit.
        most: u64,
    },
    /// A key or tensor without a name.
    #[error("expected a name, found an empty one")]
    EmptyName,
    /// A key or tensor name beyond the format's limit.
    #[error("expected a name of at most {most} bytes, found {found}")]
    NameLength {
        /// Length in the file.
        found: u64,
        /// The format's limit.
        most: u64,
    },
    /// A key or tensor name that is not text.
    #[error("expected a name in UTF-8")]
    NameEncoding,
    /// The name was already used.
    #[error("duplicate of the one at byte {0}")]
    Duplicate(u64),
    /// A number that is no value type.
    #[error("expected a value type from 0 to 12, found {0}")]
    ValueType(u32),
    /// A boolean that is neither true nor false.
    #[error("expected a bool of 0 or 1, found {0}")]
    Bool(u8),
    /// Arrays within arrays beyond the reader's limit.
    #[error("expected arrays nested at most {0} deep")]
    ArrayDepth(u32),
    /// An array that the rest of the file cannot hold.
    #[error("array of {len} {kind} does not fit in the {left} bytes left in the file")]
    ArrayLength {
        /// Number of elements.
        len: u64,
        /// Type of the elements.
        kind: ValueType,
        /// Bytes left for them.
        left: u64,
    },
    /// `general.alignment` is of another type.
    #[error("expected u32, a power of two from 8 to {most}, found {found}",
        most = super::scan::MAX_ALIGNMENT, found = .0)]
    AlignmentType(ValueType),
    /// `general.alignment` has an unusable value.
    #[error("expected u32, a power of two from 8 to {most}, found {found}",
        most = super::scan::MAX_ALIGNMENT, found = .0)]
    Alignment(u32),
    /// Too few or too many dimensions.
    #[error("expected 1 to 4 dimensions, found {0}")]
    Dimensions(u32),
    /// A dimension that is negative as the signed number other readers take it for.
    #[error("expected dimension {index} to be 0 or more, found {found}")]
    Dimension {
        /// Which, counted from 0 (the row length).
        index: usize,
        /// Its value.
        found: i64,
    },
    /// More elements than 63 bits count.
    #[error("expected fewer than 2^63 elements")]
    Elements,
    /// A number that is no tensor type.
    #[error("expected a known tensor type, found {0}{removed}", removed = removed_type(*.0))]
    TensorType(u32),
    /// Data in panels of no layout version, or of another one than ours.
    #[error("expected panels of layout version {expected}, found {}: pack the original model again",
        .0.map_or("no version".to_owned(), |found| format!("version {found}")), expected = super::layout::PACKED_VERSION)]
    PackedVersion(Option<u32>),
    /// A row that is not a whole number of blocks.
    #[error("expected rows of a multiple of {block} elements for {name}, found {found}",
        block = .ty.block_len(), name = .ty.name())]
    RowLength {
        /// The tensor's type.
        ty: TensorType,
        /// Elements of a row.
        found: u64,
    },
    /// The size in bytes, or the end of the data, is beyond 64 bits.
    #[error("expected data that ends before byte 2^64")]
    DataSize,
    /// Data that does not begin at a multiple of the alignment.
    #[error("expected a data offset that is a multiple of {alignment}, found {found}")]
    Misaligned {
        /// The file's alignment.
        alignment: u32,
        /// Offset from the start of the data section.
        found: u64,
    },
    /// Data beyond the end of the file.
    #[error("its data ends at byte {end}, the file at byte {file_len}")]
    PastEnd {
        /// Where the data would end.
        end: u64,
        /// Where the file ends.
        file_len: u64,
    },
}

/// Why the shards of a split model are not a whole one. Shards are counted from 1, as in their names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SplitProblem {
    /// A shard that is in memory, where others cannot be found.
    #[error("expected a whole model, found shard {number} of {count}")]
    Alone {
        /// Which shard it is.
        number: u32,
        /// How many there are.
        count: u32,
    },
    /// A shard that is not called as one, or as another.
    #[error("expected a name that ends with \"{end}\", since it is shard {number} of {count} and the others are found by name",
        end = super::split::end_of_name(*.number, *.count))]
    Name {
        /// Which shard it is.
        number: u32,
        /// How many there are.
        count: u32,
    },
    /// A shard that is not there.
    #[error("shard {number} of {count} is missing: expected {path}")]
    Missing {
        /// Which one.
        number: u32,
        /// How many there are.
        count: u32,
        /// Where it should be.
        path: String,
    },
    /// A file beside the shards that is called as one of them, but is another's.
    #[error("key {key:?}: expected {expected} as of a shard beside {given}, found {}",
        .found.map_or_else(|| "no such key".to_owned(), |found| found.to_string()))]
    Foreign {
        /// The shard that was opened first.
        given: String,
        /// What tells that it is none.
        key: &'static str,
        /// The key's value in a shard.
        expected: u32,
        /// The value there.
        found: Option<u32>,
    },
    /// More shards than are read.
    #[error("expected a model of at most {most} shards, found {found}")]
    Count {
        /// The limit.
        most: u32,
        /// How many there are.
        found: u32,
    },
    /// Shards that have not the tensors that they should have together.
    #[error("expected {expected} tensors in all shards together, found {found}")]
    Tensors {
        /// As the shards say.
        expected: u64,
        /// As there are.
        found: u64,
    },
    /// A tensor that two shards have.
    #[error("tensor {tensor:?} is in shard {one} and in shard {other}")]
    Duplicate {
        /// The tensor.
        tensor: String,
        /// One shard.
        one: usize,
        /// The other.
        other: usize,
    },
    /// Shards that were put one behind the other.
    #[error(
        "the {count} shards of a split model were joined end to end, as by cat: expected each in a file of its own"
    )]
    Joined {
        /// How many there are.
        count: u32,
    },
}

fn removed_type(id: u32) -> &'static str {
    match id {
        4 | 5 | 31..=33 | 36..=38 => ", which was removed from the format: quantize the model again",
        _ => "",
    }
}
