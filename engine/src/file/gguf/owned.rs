use super::value::{Array, Value, ValueType};

/// A metadata value that borrows nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum OwnedValue {
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
    Str(Vec<u8>),
    /// An array.
    Array(OwnedArray),
}

/// An array that borrows nothing. Its variant is the type of its elements.
#[derive(Clone, Debug, PartialEq)]
pub enum OwnedArray {
    /// 8-bit unsigned integers.
    U8(Vec<u8>),
    /// 8-bit signed integers.
    I8(Vec<i8>),
    /// 16-bit unsigned integers.
    U16(Vec<u16>),
    /// 16-bit signed integers.
    I16(Vec<i16>),
    /// 32-bit unsigned integers.
    U32(Vec<u32>),
    /// 32-bit signed integers.
    I32(Vec<i32>),
    /// 64-bit unsigned integers.
    U64(Vec<u64>),
    /// 64-bit signed integers.
    I64(Vec<i64>),
    /// IEEE 754 binary32.
    F32(Vec<f32>),
    /// IEEE 754 binary64.
    F64(Vec<f64>),
    /// Truth values.
    Bool(Vec<bool>),
    /// Strings' raw bytes.
    Str(Vec<Vec<u8>>),
    /// Arrays, of which each may have elements of another type.
    Array(Vec<OwnedArray>),
}

impl OwnedValue {
    /// The value's type.
    pub const fn kind(&self) -> ValueType {
        match self {
            OwnedValue::U8(_) => ValueType::U8,
            OwnedValue::I8(_) => ValueType::I8,
            OwnedValue::U16(_) => ValueType::U16,
            OwnedValue::I16(_) => ValueType::I16,
            OwnedValue::U32(_) => ValueType::U32,
            OwnedValue::I32(_) => ValueType::I32,
            OwnedValue::U64(_) => ValueType::U64,
            OwnedValue::I64(_) => ValueType::I64,
            OwnedValue::F32(_) => ValueType::F32,
            OwnedValue::F64(_) => ValueType::F64,
            OwnedValue::Bool(_) => ValueType::Bool,
            OwnedValue::Str(_) => ValueType::Str,
            OwnedValue::Array(_) => ValueType::Array,
        }
    }

    /// Appends the value as it lies in a file, without its type.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            OwnedValue::U8(x) => out.extend(x.to_le_bytes()),
            OwnedValue::I8(x) => out.extend(x.to_le_bytes()),
            OwnedValue::U16(x) => out.extend(x.to_le_bytes()),
            OwnedValue::I16(x) => out.extend(x.to_le_bytes()),
            OwnedValue::U32(x) => out.extend(x.to_le_bytes()),
            OwnedValue::I32(x) => out.extend(x.to_le_bytes()),
            OwnedValue::U64(x) => out.extend(x.to_le_bytes()),
            OwnedValue::I64(x) => out.extend(x.to_le_bytes()),
            OwnedValue::F32(x) => out.extend(x.to_le_bytes()),
            OwnedValue::F64(x) => out.extend(x.to_le_bytes()),
            OwnedValue::Bool(x) => out.push(u8::from(*x)),
            OwnedValue::Str(x) => encode_string(x, out),
            OwnedValue::Array(x) => x.encode(out),
        }
    }
}

impl OwnedArray {
    /// Type of the elements.
    pub const fn kind(&self) -> ValueType {
        match self {
            OwnedArray::U8(_) => ValueType::U8,
            OwnedArray::I8(_) => ValueType::I8,
            OwnedArray::U16(_) => ValueType::U16,
            OwnedArray::I16(_) => ValueType::I16,
            OwnedArray::U32(_) => ValueType::U32,
            OwnedArray::I32(_) => ValueType::I32,
            OwnedArray::U64(_) => ValueType::U64,
            OwnedArray::I64(_) => ValueType::I64,
            OwnedArray::F32(_) => ValueType::F32,
            OwnedArray::F64(_) => ValueType::F64,
            OwnedArray::Bool(_) => ValueType::Bool,
            OwnedArray::Str(_) => ValueType::Str,
            OwnedArray::Array(_) => ValueType::Array,
        }
    }

    /// Number of elements.
    pub const fn len(&self) -> usize {
        match self {
            OwnedArray::U8(x) => x.len(),
            OwnedArray::I8(x) => x.len(),
            OwnedArray::U16(x) => x.len(),
            OwnedArray::I16(x) => x.len(),
            OwnedArray::U32(x) => x.len(),
            OwnedArray::I32(x) => x.len(),
            OwnedArray::U64(x) => x.len(),
            OwnedArray::I64(x) => x.len(),
            OwnedArray::F32(x) => x.len(),
            OwnedArray::F64(x) => x.len(),
            OwnedArray::Bool(x) => x.len(),
            OwnedArray::Str(x) => x.len(),
            OwnedArray::Array(x) => x.len(),
        }
    }

    /// Whether there are no elements.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends the array as it lies in a file: type and number of its elements, then these.
    fn encode(&self, out: &mut Vec<u8>) {
        encode_array_header(self.kind(), self.len() as u64, out);
        match self {
            OwnedArray::U8(x) => out.extend(x),
            OwnedArray::I8(x) => out.extend(x.iter().flat_map(|x| x.to_le_bytes())),
            OwnedArray::U16(x) => out.extend(x.iter().flat_map(|x| x.to_le_bytes())),
            OwnedArray::I16(x) => out.extend(x.iter().flat_map(|x| x.to_le_bytes())),
            OwnedArray::U32(x) => out.extend(x.iter().flat_map(|x| x.to_le_bytes())),
            OwnedArray::I32(x) => out.extend(x.iter().flat_map(|x| x.to_le_bytes())),
            OwnedArray::U64(x) => out.extend(x.iter().flat_map(|x| x.to_le_bytes())),
            OwnedArray::I64(x) => out.extend(x.iter().flat_map(|x| x.to_le_bytes())),
            OwnedArray::F32(x) => out.extend(x.iter().flat_map(|x| x.to_le_bytes())),
            OwnedArray::F64(x) => out.extend(x.iter().flat_map(|x| x.to_le_bytes())),
            OwnedArray::Bool(x) => out.extend(x.iter().map(|&x| u8::from(x))),
            OwnedArray::Str(x) => x.iter().for_each(|x| encode_string(x, out)),
            OwnedArray::Array(x) => x.iter().for_each(|x| x.encode(out)),
        }
    }
}

impl Value<'_> {
    /// Appends the value as it lies in a file, without its type. An array's elements are copied as they are.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Value::Str(x) => encode_string(x, out),
            Value::Array(x) => {
                encode_array_header(x.kind(), x.len() as u64, out);
                out.extend(x.encoded());
            }
            number => OwnedValue::from(*number).encode(out),
        }
    }
}

pub(super) fn encode_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}

fn encode_array_header(kind: ValueType, len: u64, out: &mut Vec<u8>) {
    out.extend(kind.id().to_le_bytes());
    out.extend(len.to_le_bytes());
}

impl From<Value<'_>> for OwnedValue {
    fn from(value: Value<'_>) -> OwnedValue {
        match value {
            Value::U8(x) => OwnedValue::U8(x),
            Value::I8(x) => OwnedValue::I8(x),
            Value::U16(x) => OwnedValue::U16(x),
            Value::I16(x) => OwnedValue::I16(x),
            Value::U32(x) => OwnedValue::U32(x),
            Value::I32(x) => OwnedValue::I32(x),
            Value::U64(x) => OwnedValue::U64(x),
            Value::I64(x) => OwnedValue::I64(x),
            Value::F32(x) => OwnedValue::F32(x),
            Value::F64(x) => OwnedValue::F64(x),
            Value::Bool(x) => OwnedValue::Bool(x),
            Value::Str(x) => OwnedValue::Str(x.to_vec()),
            Value::Array(x) => OwnedValue::Array(x.into()),
        }
    }
}

impl From<Array<'_>> for OwnedArray {
    fn from(array: Array<'_>) -> OwnedArray {
        macro_rules! elements {
            ($kind:ident) => {
                OwnedArray::$kind(
                    array
                        .iter()
                        .filter_map(|value| match value {
                            Value::$kind(x) => Some(x.into()),
                            _ => None,
                        })
                        .collect(),
                )
            };
        }
        match array.kind() {
            ValueType::U8 => elements!(U8),
            ValueType::I8 => elements!(I8),
            ValueType::U16 => elements!(U16),
            ValueType::I16 => elements!(I16),
            ValueType::U32 => elements!(U32),
            ValueType::I32 => elements!(I32),
            ValueType::U64 => elements!(U64),
            ValueType::I64 => elements!(I64),
            ValueType::F32 => elements!(F32),
            ValueType::F64 => elements!(F64),
            ValueType::Bool => elements!(Bool),
            ValueType::Str => elements!(Str),
            ValueType::Array => elements!(Array),
        }
    }
}

macro_rules! from {
    ($($from:ty => $kind:ident),* $(,)?) => {
        $(impl From<$from> for OwnedValue {
            fn from(value: $from) -> OwnedValue {
                OwnedValue::$kind(value.into())
            }
        })*
    };
}

from! {
    u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, u64 => U64, i64 => I64, f32 => F32,
    f64 => F64, bool => Bool, &str => Str, &[u8] => Str, String => Str, OwnedArray => Array,
}
