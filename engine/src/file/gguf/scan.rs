use super::cursor::{Cursor, MAX_ARRAY_DEPTH};
use super::error::{Fault, Item, Problem};
use super::layout::{Layout, PACKED_VERSION, PACKED_VERSION_KEY};
use super::value::{Value, ValueType};
use siskin_quant::TensorType;

/// Alignment of tensor data where the file does not say.
pub const DEFAULT_ALIGNMENT: u32 = 32;
/// The largest alignment accepted: a huge page of 2 MiB.
pub const MAX_ALIGNMENT: u32 = 1 << 21;
/// The key that sets the alignment of tensor data.
pub const ALIGNMENT_KEY: &str = "general.alignment";
/// The longest key, in bytes, of the GGUF specification.
pub const MAX_KEY_BYTES: u64 = 65535;
/// The longest tensor name, in bytes: one less than `GGML_MAX_NAME`, which counts a closing zero.
pub const MAX_NAME_BYTES: u64 = 63;
/// The most dimensions of a tensor.
pub const MAX_DIMENSIONS: usize = 4;
/// The most keys, and the most tensors, accepted in a file. It bounds the memory that refusing a hostile file can
/// cost, beside its metadata, to 16 MiB; the largest models published hold a few thousand tensors.
pub const MAX_ENTRIES: u64 = 1 << 16;
/// All that comes before the tensor data must lie in this many bytes, which bounds the time in the same way. The
/// largest vocabularies published need about 16 MiB.
pub const MAX_METADATA_BYTES: u64 = 1 << 26;

/// What a whole, well-formed file says of itself. See [`scan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scan {
    /// Version of the format, 2 or 3.
    pub version: u32,
    /// Alignment of tensor data, in bytes.
    pub alignment: u32,
    /// Number of metadata keys.
    pub keys: u64,
    /// Number of tensors.
    pub tensors: u64,
    /// Where the tensor data begins in the file.
    pub data_start: u64,
}

/// Walks the untrusted bytes of a GGUF file (version 2 or 3, little-endian) once. It allocates nothing, and checks
/// every length, count, type, alignment, shape and offset against the format and the file's size. What compares
/// entries with each other (duplicate names, overlapping data) needs memory, and is checked by
/// [`Gguf`](super::Gguf).
///
/// Source: `docs/gguf.md` of the ggml project; the limits on names and dimensions are ggml's.
pub fn scan(bytes: &[u8]) -> Result<Scan, Fault<'_>> {
    scan_prefix(bytes, bytes.len() as u64)
}

/// The same for a file of `file_len` bytes of which `bytes` is the beginning. [`Fault::bytes_wanted`] tells a
/// beginning that is too short from a file that is.
pub(super) fn scan_prefix(bytes: &[u8], file_len: u64) -> Result<Scan, Fault<'_>> {
    let mut walk = Walk::start(bytes, file_len)?;
    while walk.next_key()?.is_some() {}
    let mut furthest: Option<Descriptor<'_>> = None;
    while let Some(tensor) = walk.next_tensor()? {
        if furthest.is_none_or(|other| tensor.data_end > other.data_end) {
            furthest = Some(tensor);
        }
    }
    let data_start = walk.data_start();
    if let Some(tensor) = furthest {
        let end = data_start.saturating_add(tensor.data_end);
        if end > file_len {
            let problem = Problem::PastEnd { end, file_len };
            return Err(Fault { item: Item::Tensor(tensor.name.as_bytes()), offset: tensor.at, problem });
        }
    }
    Ok(Scan {
        version: walk.version,
        alignment: walk.alignment,
        keys: walk.keys.number,
        tensors: walk.tensors.number,
        data_start,
    })
}

impl Fault<'_> {
    /// How long a beginning of the file must be given to get past this point, if it is only that.
    pub(super) fn bytes_wanted(&self) -> Option<u64> {
        match self.problem {
            Problem::Truncated { needed, left, .. } if needed <= left => self.offset.checked_add(needed),
            _ => None,
        }
    }
}

/// A metadata key and the bytes of its value, all checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) key: &'a str,
    pub(super) kind: ValueType,
    pub(super) value: &'a [u8],
    pub(super) value_at: u64,
    /// Where the entry begins in the file.
    pub(super) at: u64,
}

/// A tensor's description, all checked but for the end of the file, which is known only after the last one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descriptor<'a> {
    pub(super) name: &'a str,
    shape: [u64; MAX_DIMENSIONS],
    dimensions: usize,
    pub(super) ty: TensorType,
    pub(super) layout: Layout,
    /// Offset of the data from the start of the data section.
    pub(super) data_at: u64,
    /// One past its last byte.
    pub(super) data_end: u64,
    /// Where the description begins in the file.
    pub(super) at: u64,
}

impl Descriptor<'_> {
    pub(super) fn shape(&self) -> &[u64] {
        self.shape.get(..self.dimensions).unwrap_or_default()
    }
}

/// A number of entries, and how many of them were walked.
#[derive(Clone, Copy, Debug)]
struct Count {
    number: u64,
    walked: u64,
}

impl Count {
    fn step(&mut self) -> Option<u64> {
        let index = self.walked;
        (index < self.number).then(|| {
            self.walked += 1;
            index
        })
    }
}

/// The walk itself: header, then keys, then tensors. The catalog repeats it to collect what the scan has proven.
pub(super) struct Walk<'a> {
    cursor: Cursor<'a>,
    version: u32,
    alignment: u32,
    packed_version: Option<u32>,
    keys: Count,
    tensors: Count,
}

impl<'a> Walk<'a> {
    pub(super) fn start(bytes: &'a [u8], file_len: u64) -> Result<Walk<'a>, Fault<'a>> {
        let mut cursor = Cursor::new(bytes, file_len);
        let header = read_header(&mut cursor);
        let (version, tensors, keys) = header.map_err(|problem| Fault {
            item: Item::Header,
            offset: cursor.field_position(),
            problem,
        })?;
        let count = |number| Count { number, walked: 0 };
        Ok(Walk {
            cursor,
            version,
            alignment: DEFAULT_ALIGNMENT,
            packed_version: None,
            keys: count(keys),
            tensors: count(tensors),
        })
    }

    /// The next key, until all were walked.
    pub(super) fn next_key(&mut self) -> Result<Option<Entry<'a>>, Fault<'a>> {
        let Some(index) = self.keys.step() else { return Ok(None) };
        let at = self.cursor.position();
        let key = self.name(MAX_KEY_BYTES, Item::KeyNumber(index))?;
        let item = Item::Key(key.as_bytes());

        let kind = self.cursor.value_type().map_err(|problem| self.fault(item, problem))?;
        let value_at = self.cursor.position();
        let skipped = self.cursor.skip_value(kind, MAX_ARRAY_DEPTH);
        skipped.map_err(|problem| self.fault(item, problem))?;
        let value = self.cursor.since(value_at);
        if key == ALIGNMENT_KEY {
            self.alignment =
                read_alignment(kind, value).map_err(|problem| Fault { item, offset: value_at, problem })?;
        }
        if key == PACKED_VERSION_KEY {
            self.packed_version = Value::decode(kind, value).and_then(|value| value.as_u32());
        }
        Ok(Some(Entry { key, kind, value, value_at, at }))
    }

    /// The next tensor, until all were walked. To be asked for after all keys.
    pub(super) fn next_tensor(&mut self) -> Result<Option<Descriptor<'a>>, Fault<'a>> {
        let Some(index) = self.tensors.step() else { return Ok(None) };
        let at = self.cursor.position();
        let name = self.name(MAX_NAME_BYTES, Item::TensorNumber(index))?;
        let rest = read_descriptor(&mut self.cursor, name, at, self.alignment).and_then(|tensor| {
            match (tensor.layout, self.packed_version) {
                (Layout::Rows, _) | (Layout::Panels, Some(PACKED_VERSION)) => Ok(tensor),
                (Layout::Panels, found) => Err(Problem::PackedVersion(found)),
            }
        });
        rest.map(Some).map_err(|problem| self.fault(Item::Tensor(name.as_bytes()), problem))
    }

    /// Where the data section begins, once all tensors were walked.
    pub(super) fn data_start(&self) -> u64 {
        // The metadata ends before MAX_METADATA_BYTES, so this cannot overflow.
        self.cursor.position().next_multiple_of(self.alignment.into())
    }

    fn name(&mut self, most: u64, item: Item<'a>) -> Result<&'a str, Fault<'a>> {
        let name = self.cursor.name(most).map_err(|problem| self.fault(item, problem))?;
        str::from_utf8(name).map_err(|_| self.fault(item, Problem::NameEncoding))
    }

    fn fault(&self, item: Item<'a>, problem: Problem) -> Fault<'a> {
        Fault { item, offset: self.cursor.field_position(), problem }
    }
}

/// Version, number of tensors, number of keys.
fn read_header(cursor: &mut Cursor<'_>) -> Result<(u32, u64, u64), Problem> {
    let magic = cursor.magic()?;
    if &magic != b"GGUF" {
        return Err(Problem::Magic(magic));
    }
    let version = cursor.u32("version")?;
    match version {
        2 | 3 => {}
        // No version comes near 2^16, but the bytes of a small one swapped do.
        _ if version != 0 && version.trailing_zeros() >= 16 => {
            return Err(Problem::BigEndian(version.swap_bytes()));
        }
        _ => return Err(Problem::Version(version)),
    }
    let tensors = read_count(cursor, "tensor count", LEAST_TENSOR_BYTES)?;
    let keys = read_count(cursor, "key count", LEAST_KEY_BYTES)?;
    Ok((version, tensors, keys))
}

/// Name of one byte, type, and a value of one byte.
const LEAST_KEY_BYTES: u64 = 9 + 4 + 1;
/// Name of one byte, number of dimensions, one dimension, type, offset.
const LEAST_TENSOR_BYTES: u64 = 9 + 4 + 8 + 4 + 8;

fn read_count(cursor: &mut Cursor<'_>, field: &'static str, least_bytes: u64) -> Result<u64, Problem> {
    let found = cursor.u64(field)?;
    let most = (cursor.left() / least_bytes).min(MAX_ENTRIES);
    if found > most {
        return Err(Problem::Count { field, found, most });
    }
    Ok(found)
}

pub(super) fn read_alignment(kind: ValueType, value: &[u8]) -> Result<u32, Problem> {
    match Value::decode(kind, value) {
        Some(Value::U32(found)) if is_alignment(found) => Ok(found),
        Some(Value::U32(found)) => Err(Problem::Alignment(found)),
        _ => Err(Problem::AlignmentType(kind)),
    }
}

/// Whether tensor data may be aligned so: a multiple of 8 by the specification, a power of two by ggml.
const fn is_alignment(bytes: u32) -> bool {
    bytes.is_power_of_two() && bytes >= 8 && bytes <= MAX_ALIGNMENT
}

fn read_descriptor<'a>(
    cursor: &mut Cursor<'a>,
    name: &'a str,
    at: u64,
    alignment: u32,
) -> Result<Descriptor<'a>, Problem> {
    let found = cursor.u32("number of dimensions")?;
    let dimensions = found as usize;
    if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
        return Err(Problem::Dimensions(found));
    }
    let mut shape = [1; MAX_DIMENSIONS];
    for dimension in shape.iter_mut().take(dimensions) {
        *dimension = cursor.u64("dimension")?;
    }
    check_dimensions(&shape)?;
    let id = cursor.u32("tensor type")?;
    let (ty, layout) = Layout::of_id(id).ok_or(Problem::TensorType(id))?;
    let bytes = data_bytes(&shape, ty, layout)?;
    let data_at = cursor.u64("data offset")?;
    if !data_at.is_multiple_of(alignment.into()) {
        return Err(Problem::Misaligned { alignment, found: data_at });
    }
    let data_end = data_at.checked_add(bytes).ok_or(Problem::DataSize)?;
    // Writers pad each tensor; a size that wraps only when padded is as hostile as one that wraps before.
    data_end.checked_next_multiple_of(alignment.into()).ok_or(Problem::DataSize)?;
    Ok(Descriptor { name, shape, dimensions, ty, layout, data_at, data_end, at })
}

/// Whether each dimension is one for readers that take it as signed, too.
pub(super) fn check_dimensions(shape: &[u64]) -> Result<(), Problem> {
    match shape.iter().map(|dimension| dimension.cast_signed()).enumerate().find(|&(_, signed)| signed < 0) {
        Some((index, found)) => Err(Problem::Dimension { index, found }),
        None => Ok(()),
    }
}

/// Size of a tensor's data. Whole blocks make a row, and rows follow each other without a gap; panels are whole ones
/// for each matrix of a tensor.
pub(super) fn data_bytes(shape: &[u64], ty: TensorType, layout: Layout) -> Result<u64, Problem> {
    let row = shape.first().copied().unwrap_or(1);
    let block = ty.block_len() as u64;
    if !row.is_multiple_of(block) {
        return Err(Problem::RowLength { ty, found: row });
    }
    if shape.contains(&0) {
        return Ok(0);
    }
    let elements = shape.iter().try_fold(1u64, |product, &dimension| product.checked_mul(dimension));
    let elements = elements.filter(|&n| n < 1 << 63).ok_or(Problem::Elements)?;
    let rows = shape.get(1).copied().unwrap_or(1);
    let padded = layout.padded(rows).and_then(|padded| (elements / rows).checked_mul(padded));
    (padded.ok_or(Problem::DataSize)? / block).checked_mul(ty.block_bytes() as u64).ok_or(Problem::DataSize)
}
