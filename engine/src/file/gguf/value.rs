use super::cursor::{Cursor, MAX_ARRAY_DEPTH};
use std::fmt;

/// The types of metadata values, numbered as `gguf_metadata_value_type` of the GGUF specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// 8-bit unsigned integer.
    U8,
    /// 8-bit signed integer.
    I8,
    /// 16-bit unsigned integer.
    U16,
    /// 16-bit signed integer.
    I16,
    /// 32-bit unsigned integer.
    U32,
    /// 32-bit signed integer.
    I32,
    /// IEEE 754 binary32.
    F32,
    /// One byte, 0 or 1.
    Bool,
    /// Bytes with a 64-bit length before them; text is UTF-8 by convention only.
    Str,
    /// Elements of one type, with that type and their number before them.
    Array,
    /// 64-bit unsigned integer.
    U64,
    /// 64-bit signed integer.
    I64,
    /// IEEE 754 binary64.
    F64,
}

impl ValueType {
    const ALL: [ValueType; 13] = [
        ValueType::U8,
        ValueType::I8,
        ValueType::U16,
        ValueType::I16,
        ValueType::U32,
        ValueType::I32,
        ValueType::F32,
        ValueType::Bool,
        ValueType::Str,
        ValueType::Array,
        ValueType::U64,
        ValueType::I64,
        ValueType::F64,
    ];

    /// The number in the file.
    pub const fn id(self) -> u32 {
        self as u32
    }

    /// The type of that number in the file.
    pub fn from_id(id: u32) -> Option<ValueType> {
        usize::try_from(id).ok().and_then(|id| Self::ALL.get(id).copied())
    }

    /// A short name, as in `u32`.
    pub const fn name(self) -> &'static str {
        match self {
            ValueType::U8 => "u8",
            ValueType::I8 => "i8",
            ValueType::U16 => "u16",
            ValueType::I16 => "i16",
            ValueType::U32 => "u32",
            ValueType::I32 => "i32",
            ValueType::F32 => "f32",
            ValueType::Bool => "bool",
            ValueType::Str => "string",
            ValueType::Array => "array",
            ValueType::U64 => "u64",
            ValueType::I64 => "i64",
            ValueType::F64 => "f64",
        }
    }

    /// The fewest bytes a value takes in a file; for all but strings and arrays, its size.
    pub(super) const fn least_bytes(self) -> u64 {
        match self {
            ValueType::U8 | ValueType::I8 | ValueType::Bool => 1,
            ValueType::U16 | ValueType::I16 => 2,
            ValueType::U32 | ValueType::I32 | ValueType::F32 => 4,
            ValueType::U64 | ValueType::I64 | ValueType::F64 | ValueType::Str => 8,
            ValueType::Array => 12,
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A metadata value that borrows strings and arrays from the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// 8-bit unsigned integer.
    U8(u8),
    /// 8-bit signed integer.
    I8(i8),
    /// 16-bit unsigned integer.
    U16(u16),
    /// 16-bit signed integer.
    I16(i16),
    /// 32-bit unsigned integer.
    U32(u32),
    /// 32-bit signed integer.
    I32(i32),
    /// 64-bit unsigned integer.
    U64(u64),
    /// 64-bit signed integer.
    I64(i64),
    /// IEEE 754 binary32.
    F32(f32),
    /// IEEE 754 binary64.
    F64(f64),
    /// A truth value.
    Bool(bool),
    /// A string's raw bytes, in any encoding.
    Str(&'a [u8]),
    /// An array.
    Array(Array<'a>),
}

impl<'a> Value<'a> {
    /// Reads a value whose bytes are exactly `bytes`.
    pub(super) fn decode(kind: ValueType, bytes: &'a [u8]) -> Option<Value<'a>> {
        let mut cursor = Cursor::over(bytes);
        if kind != ValueType::Array {
            return Value::read(kind, &mut cursor);
        }
        let (kind, len) = cursor.array_header().ok()?;
        Some(Value::Array(Array { kind, len, bytes: cursor.rest() }))
    }

    /// Reads the next value. An array is walked to its end, which only nested ones need.
    fn read(kind: ValueType, cursor: &mut Cursor<'a>) -> Option<Value<'a>> {
        let value = match kind {
            ValueType::U8 => Value::U8(cursor.u8("value").ok()?),
            ValueType::I8 => Value::I8(cursor.u8("value").ok()?.cast_signed()),
            ValueType::U16 => Value::U16(cursor.u16("value").ok()?),
            ValueType::I16 => Value::I16(cursor.u16("value").ok()?.cast_signed()),
            ValueType::U32 => Value::U32(cursor.u32("value").ok()?),
            ValueType::I32 => Value::I32(cursor.u32("value").ok()?.cast_signed()),
            ValueType::U64 => Value::U64(cursor.u64("value").ok()?),
            ValueType::I64 => Value::I64(cursor.u64("value").ok()?.cast_signed()),
            ValueType::F32 => Value::F32(f32::from_bits(cursor.u32("value").ok()?)),
            ValueType::F64 => Value::F64(f64::from_bits(cursor.u64("value").ok()?)),
            ValueType::Bool => Value::Bool(cursor.bool().ok()?),
            ValueType::Str => Value::Str(cursor.string().ok()?),
            ValueType::Array => {
                let start = cursor.position();
                cursor.skip_value(kind, MAX_ARRAY_DEPTH).ok()?;
                return Value::decode(kind, cursor.since(start));
            }
        };
        Some(value)
    }

    /// The value's type.
    pub const fn kind(&self) -> ValueType {
        match self {
            Value::U8(_) => ValueType::U8,
            Value::I8(_) => ValueType::I8,
            Value::U16(_) => ValueType::U16,
            Value::I16(_) => ValueType::I16,
            Value::U32(_) => ValueType::U32,
            Value::I32(_) => ValueType::I32,
            Value::U64(_) => ValueType::U64,
            Value::I64(_) => ValueType::I64,
            Value::F32(_) => ValueType::F32,
            Value::F64(_) => ValueType::F64,
            Value::Bool(_) => ValueType::Bool,
            Value::Str(_) => ValueType::Str,
            Value::Array(_) => ValueType::Array,
        }
    }

    /// Any integer, whatever its type.
    pub fn as_integer(&self) -> Option<i128> {
        match *self {
            Value::U8(x) => Some(x.into()),
            Value::I8(x) => Some(x.into()),
            Value::U16(x) => Some(x.into()),
            Value::I16(x) => Some(x.into()),
            Value::U32(x) => Some(x.into()),
            Value::I32(x) => Some(x.into()),
            Value::U64(x) => Some(x.into()),
            Value::I64(x) => Some(x.into()),
            _ => None,
        }
    }

    /// Any integer that fits.
    pub fn as_u32(&self) -> Option<u32> {
        self.as_integer().and_then(|x| x.try_into().ok())
    }

    /// Any integer that fits.
    pub fn as_u64(&self) -> Option<u64> {
        self.as_integer().and_then(|x| x.try_into().ok())
    }

    /// Any integer that fits.
    pub fn as_i32(&self) -> Option<i32> {
        self.as_integer().and_then(|x| x.try_into().ok())
    }

    /// A floating-point number of either width, rounded to the nearest f32.
    pub const fn as_f32(&self) -> Option<f32> {
        match *self {
            Value::F32(x) => Some(x),
            Value::F64(x) => Some(x as f32),
            _ => None,
        }
    }

    /// A truth value.
    pub const fn as_bool(&self) -> Option<bool> {
        match *self {
            Value::Bool(x) => Some(x),
            _ => None,
        }
    }

    /// A string's raw bytes.
    pub const fn as_bytes(&self) -> Option<&'a [u8]> {
        match *self {
            Value::Str(x) => Some(x),
            _ => None,
        }
    }

    /// A string that is UTF-8.
    pub fn as_str(&self) -> Option<&'a str> {
        self.as_bytes().and_then(|x| str::from_utf8(x).ok())
    }

    /// An array.
    pub const fn as_array(&self) -> Option<Array<'a>> {
        match *self {
            Value::Array(x) => Some(x),
            _ => None,
        }
    }
}

/// Elements of one type, decoded from the file's bytes as they are walked: nothing is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Array<'a> {
    kind: ValueType,
    len: u64,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// Type of the elements.
    pub const fn kind(&self) -> ValueType {
        self.kind
    }

    /// Number of elements.
    pub const fn len(&self) -> usize {
        // An element takes at least a byte, and `bytes` was checked to hold them all.
        self.len as usize
    }

    /// Whether there are no elements.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements as they lie in the file, little-endian, strings with their lengths before them.
    pub(super) const fn encoded(&self) -> &'a [u8] {
        self.bytes
    }

    /// The elements in order. They are [`Array::len`] in number, unless a mapped file was changed by someone else
    /// in the meantime: then the walk may end early.
    pub fn iter(&self) -> ArrayIter<'a> {
        ArrayIter { kind: self.kind, left: self.len(), cursor: Cursor::over(self.bytes) }
    }
}

impl<'a> IntoIterator for Array<'a> {
    type Item = Value<'a>;
    type IntoIter = ArrayIter<'a>;

    fn into_iter(self) -> ArrayIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Array<'a> {
    type Item = Value<'a>;
    type IntoIter = ArrayIter<'a>;

    fn into_iter(self) -> ArrayIter<'a> {
        self.iter()
    }
}

/// Walks the elements of an [`Array`].
#[derive(Clone, Debug)]
pub struct ArrayIter<'a> {
    kind: ValueType,
    left: usize,
    cursor: Cursor<'a>,
}

impl<'a> Iterator for ArrayIter<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        self.left = self.left.checked_sub(1)?;
        let value = Value::read(self.kind, &mut self.cursor);
        if value.is_none() {
            self.left = 0;
        }
        value
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}
