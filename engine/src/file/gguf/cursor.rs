use super::error::Problem;
use super::scan::MAX_METADATA_BYTES;
use super::value::ValueType;

/// How deep arrays may lie within arrays. Files in the wild have none; the format allows them.
pub(super) const MAX_ARRAY_DEPTH: u32 = 4;

/// Walks untrusted bytes from front to back. It allocates nothing, and checks each step against what is there.
///
/// `bytes` may be only the beginning of a file of `file_len` bytes. Then [`Problem::Truncated`] with
/// `needed <= left` says that the bytes exist but were not given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    field_at: usize,
    file_len: u64,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], file_len: u64) -> Self {
        Cursor { bytes, at: 0, field_at: 0, file_len }
    }

    /// A cursor over bytes that are all there is.
    pub(super) fn over(bytes: &'a [u8]) -> Self {
        Cursor::new(bytes, bytes.len() as u64)
    }

    pub(super) fn position(&self) -> u64 {
        self.at as u64
    }

    /// Where the field last asked for begins: the place to name when it turns out to be wrong.
    pub(super) fn field_position(&self) -> u64 {
        self.field_at as u64
    }

    pub(super) fn left(&self) -> u64 {
        self.file_len.saturating_sub(self.position())
    }

    /// What has been given but not yet walked.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The bytes from `start` to here.
    pub(super) fn since(&self, start: u64) -> &'a [u8] {
        usize::try_from(start).ok().and_then(|start| self.bytes.get(start..self.at)).unwrap_or_default()
    }

    pub(super) fn take(&mut self, len: u64, field: &'static str) -> Result<&'a [u8], Problem> {
        self.field_at = self.at;
        let truncated = Problem::Truncated { field, needed: len, left: self.left() };
        if len > self.left() {
            return Err(truncated);
        }
        let end = self.position().saturating_add(len);
        if end > MAX_METADATA_BYTES {
            return Err(Problem::MetadataSize { field, end, most: MAX_METADATA_BYTES });
        }
        let end = usize::try_from(end).map_err(|_| truncated)?;
        let taken = self.bytes.get(self.at..end).ok_or(truncated)?;
        self.at = end;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Problem> {
        let taken = self.take(N as u64, field)?;
        taken.try_into().map_err(|_| Problem::Truncated { field, needed: N as u64, left: taken.len() as u64 })
    }

    pub(super) fn magic(&mut self) -> Result<[u8; 4], Problem> {
        self.fixed("magic")
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, Problem> {
        self.fixed(field).map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, Problem> {
        self.fixed(field).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, Problem> {
        self.fixed(field).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, Problem> {
        self.fixed(field).map(u64::from_le_bytes)
    }

    pub(super) fn bool(&mut self) -> Result<bool, Problem> {
        match self.u8("bool")? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(Problem::Bool(found)),
        }
    }

    /// A string: its length as u64, then its bytes in any encoding.
    pub(super) fn string(&mut self) -> Result<&'a [u8], Problem> {
        let len = self.u64("string length")?;
        self.take(len, "string")
    }

    /// The name of a key or a tensor.
    pub(super) fn name(&mut self, most: u64) -> Result<&'a [u8], Problem> {
        let found = self.u64("name length")?;
        if found == 0 {
            return Err(Problem::EmptyName);
        }
        if found > most {
            return Err(Problem::NameLength { found, most });
        }
        self.take(found, "name")
    }

    pub(super) fn value_type(&mut self) -> Result<ValueType, Problem> {
        let id = self.u32("value type")?;
        ValueType::from_id(id).ok_or(Problem::ValueType(id))
    }

    /// The type and number of an array's elements, of which there are no more than the file can hold.
    pub(super) fn array_header(&mut self) -> Result<(ValueType, u64), Problem> {
        let kind = self.value_type()?;
        let len = self.u64("array length")?;
        let left = self.left();
        match len.checked_mul(kind.least_bytes()) {
            Some(needed) if needed <= left => Ok((kind, len)),
            _ => Err(Problem::ArrayLength { len, kind, left }),
        }
    }

    /// Steps over a value, checking all of it. `depth` arrays may still be entered.
    pub(super) fn skip_value(&mut self, kind: ValueType, depth: u32) -> Result<(), Problem> {
        match kind {
            ValueType::Bool => self.bool().map(drop),
            ValueType::Str => self.string().map(drop),
            ValueType::Array => self.skip_array(depth),
            number => self.take(number.least_bytes(), "value").map(drop),
        }
    }

    fn skip_bools(&mut self, len: u64) -> Result<(), Problem> {
        let bools = self.take(len, "array")?;
        match bools.iter().zip(self.field_at..).find(|&(&byte, _)| byte > 1) {
            Some((&found, at)) => {
                self.field_at = at;
                Err(Problem::Bool(found))
            }
            None => Ok(()),
        }
    }

    fn skip_array(&mut self, depth: u32) -> Result<(), Problem> {
        let depth = depth.checked_sub(1).ok_or(Problem::ArrayDepth(MAX_ARRAY_DEPTH))?;
        let (kind, len) = self.array_header()?;
        match kind {
            ValueType::Array => (0..len).try_for_each(|_| self.skip_array(depth)),
            ValueType::Str => (0..len).try_for_each(|_| self.string().map(drop)),
            ValueType::Bool => self.skip_bools(len),
            number => self.take(len.saturating_mul(number.least_bytes()), "array").map(drop),
        }
    }
}
