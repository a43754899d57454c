//! Blocks as structs: [`block!`] declares the fields in the order in which they lie in the file.

use half::f16;

/// A field of a block, stored little-endian at the start of `bytes`.
pub(crate) trait Field {
    fn read(bytes: &[u8]) -> Self;
    fn write(&self, bytes: &mut [u8]);
}

impl Field for f16 {
    fn read(bytes: &[u8]) -> f16 {
        f16::from_le_bytes([bytes[0], bytes[1]])
    }

    fn write(&self, bytes: &mut [u8]) {
        bytes[..2].copy_from_slice(&self.to_le_bytes());
    }
}

impl Field for u16 {
    fn read(bytes: &[u8]) -> u16 {
        u16::from_le_bytes([bytes[0], bytes[1]])
    }

    fn write(&self, bytes: &mut [u8]) {
        bytes[..2].copy_from_slice(&self.to_le_bytes());
    }
}

impl Field for u32 {
    fn read(bytes: &[u8]) -> u32 {
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    fn write(&self, bytes: &mut [u8]) {
        bytes[..4].copy_from_slice(&self.to_le_bytes());
    }
}

impl<const N: usize> Field for [u8; N] {
    fn read(bytes: &[u8]) -> [u8; N] {
        std::array::from_fn(|i| bytes[i])
    }

    fn write(&self, bytes: &mut [u8]) {
        bytes[..N].copy_from_slice(self);
    }
}

impl<const N: usize> Field for [i8; N] {
    fn read(bytes: &[u8]) -> [i8; N] {
        std::array::from_fn(|i| bytes[i] as i8)
    }

    fn write(&self, bytes: &mut [u8]) {
        for (byte, value) in bytes.iter_mut().zip(self) {
            *byte = *value as u8;
        }
    }
}

/// Declares the struct of a block type, with `read` and `write` between it and the block's bytes.
///
/// That the fields add up to the type's size is checked when compiling, so neither can go out of bounds.
macro_rules! block {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$doc])*
        #[allow(non_camel_case_types)] // Names as GGUF writes them.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name { $($(#[$field_doc])* pub $field: $ty,)* }

        impl $name {
            /// Bytes of the block.
            pub const BYTES: usize = crate::TensorType::$name.block_bytes();
            /// Elements of the block.
            pub const LEN: usize = crate::TensorType::$name.block_len();

            /// The block stored in `bytes`.
            #[inline]
            pub fn read(bytes: &[u8; Self::BYTES]) -> $name {
                const { assert!(0 $(+ size_of::<$ty>())* == Self::BYTES) };
                let rest = &bytes[..];
                $(
                    let (field, rest) = rest.split_at(size_of::<$ty>());
                    let $field = crate::layout::Field::read(field);
                )*
                let _ = rest;
                $name { $($field,)* }
            }

            /// Stores the block in `bytes`.
            #[inline]
            pub fn write(&self, bytes: &mut [u8; Self::BYTES]) {
                let rest = &mut bytes[..];
                $(
                    let (field, rest) = rest.split_at_mut(size_of::<$ty>());
                    crate::layout::Field::write(&self.$field, field);
                )*
                let _ = rest;
            }
        }
    };
}

pub(crate) use block;
