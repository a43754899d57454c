/// The table of all types, and the only list of them: hands it to the macro `$with`, behind the arguments.
///
/// A line is a type's number in files, the elements and the bytes of a block. `floats` are plain numbers. `blocks` are
/// what this crate reads, each with a struct of its name and layout (`block!`), and how it is quantized: see `encode`
/// in the crate's root, and the feature of `siskin` that brings the kernels, where they can be left out. Of `others` only the
/// size is known.
#[doc(hidden)]
#[macro_export]
macro_rules! tensor_types {
    ($with:ident $($argument:tt)*) => { $with! { ($($argument)*)
        floats {
            /// IEEE 754 single precision.
            F32 = 0, 1, 4;
            /// IEEE 754 half precision.
            F16 = 1, 1, 2;
            /// The upper 16 bits of an F32.
            BF16 = 30, 1, 2;
        }
        blocks {
            /// 4 bits, one scale per 32.
            Q4_0 = 2, 32, 18, rounded_or_searched_by_eight;
            /// 4 bits, one scale and minimum per 32.
            Q4_1 = 3, 32, 20, rounded_or_searched_by_eight, "legacy-quants";
            /// 5 bits, one scale per 32.
            Q5_0 = 6, 32, 22, rounded_or_searched_by_eight, "legacy-quants";
            /// 5 bits, one scale and minimum per 32.
            Q5_1 = 7, 32, 24, rounded_or_searched_by_eight, "legacy-quants";
            /// 8 bits, one scale per 32.
            Q8_0 = 8, 32, 34, rounded;
            /// 2 bits, a 4-bit scale and minimum per 16.
            Q2_K = 10, 256, 84, searched, "k-quants";
            /// 3 bits, a 6-bit scale per 16.
            Q3_K = 11, 256, 110, searched, "k-quants";
            /// 4 bits, a 6-bit scale and minimum per 32.
            Q4_K = 12, 256, 144, searched, "k-quants";
            /// 5 bits, a 6-bit scale and minimum per 32.
            Q5_K = 13, 256, 176, searched, "k-quants";
            /// 6 bits, an 8-bit scale per 16.
            Q6_K = 14, 256, 210, searched, "k-quants";
            /// 2.06 bits a weight, from a codebook of 256 groups of eight.
            IQ2_XXS = 16, 256, 66, not_written, "i-quants";
            /// 2.31 bits a weight, from a codebook of 512 groups of eight.
            IQ2_XS = 17, 256, 74, not_written, "i-quants";
            /// 3.06 bits a weight, from a codebook of 256 groups of four.
            IQ3_XXS = 18, 256, 98, not_written, "i-quants";
            /// 1.56 bits a weight, from a codebook of 2048 groups of eight.
            IQ1_S = 19, 256, 50, not_written, "i-quants";
            /// 4 bits into 16 unevenly spaced values, one scale per 32.
            IQ4_NL = 20, 32, 18, searched_by_eight, "i-quants";
            /// 3.44 bits a weight, from a codebook of 512 groups of four.
            IQ3_S = 21, 256, 110, not_written, "i-quants";
            /// 2.56 bits a weight, from a codebook of 1024 groups of eight.
            IQ2_S = 22, 256, 82, not_written, "i-quants";
            /// 4 bits into 16 unevenly spaced values, a 6-bit scale per 32.
            IQ4_XS = 23, 256, 136, searched, "i-quants";
            /// 1.75 bits a weight, from a codebook of 2048 groups of eight.
            IQ1_M = 29, 256, 56, not_written, "i-quants";
            /// Ternary, five to a byte.
            TQ1_0 = 34, 256, 54, not_written, "ternary";
            /// Ternary, four to a byte.
            TQ2_0 = 35, 256, 66, not_written, "ternary";
            /// OCP microscaling 4-bit float: E2M1 with an E8M0 scale per 32.
            MXFP4 = 39, 32, 17, not_written, "mxfp4";
            /// 1 bit (a sign), one scale per 128.
            Q1_0 = 41, 128, 18, not_written, "ternary";
        }
        others {
            /// 8 bits, one scale and the block's sum per 32; ggml's format for activations, not for files.
            Q8_1 = 9, 32, 36;
            /// 8 bits with sums per 16; ggml's format for activations, not for files.
            Q8_K = 15, 256, 292;
            /// Signed 8-bit integer.
            I8 = 24, 1, 1;
            /// Signed 16-bit integer.
            I16 = 25, 1, 2;
            /// Signed 32-bit integer.
            I32 = 26, 1, 4;
            /// Signed 64-bit integer.
            I64 = 27, 1, 8;
            /// IEEE 754 double precision.
            F64 = 28, 1, 8;
            /// NVIDIA's 4-bit float: E2M1 with a UE4M3 scale per 16, four of those to a block.
            NVFP4 = 40, 64, 36;
            /// 2 bits, one scale per 64.
            Q2_0 = 42, 64, 18;
        }
    } };
}

/// Declares [`TensorType`].
macro_rules! declare {
    (() $($section:ident { $(
        $(#[$doc:meta])* $name:ident = $id:literal, $len:literal, $bytes:literal $(, $written:ident $(, $feature:literal)?)?;
    )* })*) => {
        /// A tensor's element type, as `ggml_type` numbers them in a GGUF file.
        ///
        /// Quantized types store a row as consecutive blocks of [`block_len`](TensorType::block_len) elements;
        /// 256-element blocks are called superblocks. Numbers and sizes are those of ggml's `ggml.h` and
        /// `ggml-common.h`; the numbers missing from the sequence were removed from the format.
        #[allow(non_camel_case_types)] // Names as GGUF writes them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u32)]
        pub enum TensorType { $($($(#[$doc])* $name = $id,)*)* }

        impl TensorType {
            /// Every type, in the order of their numbers.
            pub const ALL: &[TensorType] = &by_number([$($(TensorType::$name,)*)*]);

            /// The type that a GGUF file numbers `id`.
            pub const fn from_id(id: u32) -> Option<TensorType> {
                match id {
                    $($($id => Some(TensorType::$name),)*)*
                    _ => None,
                }
            }

            /// The name llama.cpp prints, e.g. `Q4_K`.
            pub const fn name(self) -> &'static str {
                match self { $($(TensorType::$name => stringify!($name),)*)* }
            }

            /// Elements in one block: 1 for plain numbers, 32 to 256 for quantized types.
            pub const fn block_len(self) -> usize {
                match self { $($(TensorType::$name => $len,)*)* }
            }

            /// Bytes of one block.
            pub const fn block_bytes(self) -> usize {
                match self { $($(TensorType::$name => $bytes,)*)* }
            }

            /// The feature of the crate `siskin` that brings the kernels of this type; None where they are always there, or there
            /// are none.
            pub const fn feature(self) -> Option<&'static str> {
                match self { $($($($(TensorType::$name => Some($feature),)?)?)*)* _ => None }
            }

            /// Whether [`decode`](crate::decode) reads this type.
            pub const fn can_decode(self) -> bool {
                match self { $($(TensorType::$name => is_read!($section),)*)* }
            }

            /// Whether [`encode`](crate::encode) and [`encode_weighted`](crate::encode_weighted) write this type.
            pub const fn can_encode(self) -> bool {
                match self { $($(TensorType::$name => is_written!($section $($written)?),)*)* }
            }
        }
    };
}

macro_rules! is_read {
    (others) => {
        false
    };
    ($section:ident) => {
        true
    };
}

macro_rules! is_written {
    (floats) => {
        true
    };
    (others) => {
        false
    };
    (blocks not_written) => {
        false
    };
    (blocks $how:ident) => {
        true
    };
}

/// Insertion sort.
const fn by_number<const N: usize>(mut types: [TensorType; N]) -> [TensorType; N] {
    let mut sorted = 1;
    while sorted < N {
        let mut at = sorted;
        while at > 0 && types[at].id() < types[at - 1].id() {
            (types[at], types[at - 1]) = (types[at - 1], types[at]);
            at -= 1;
        }
        sorted += 1;
    }
    types
}

tensor_types!(declare);

impl TensorType {
    /// The number that stands for this type in a GGUF file.
    pub const fn id(self) -> u32 {
        self as u32
    }

    /// The type named `name`, in any case. Names of mixes, such as `Q4_K_M`, are not types.
    pub fn from_name(name: &str) -> Option<TensorType> {
        Self::ALL.iter().copied().find(|ty| ty.name().eq_ignore_ascii_case(name))
    }

    /// Bytes of a row of `elements`; `None` if the row is not whole blocks, or too long to count in 64 bits.
    pub fn row_bytes(self, elements: u64) -> Option<u64> {
        let len = self.block_len() as u64;
        if !elements.is_multiple_of(len) {
            return None;
        }
        (elements / len).checked_mul(self.block_bytes() as u64)
    }
}

impl std::fmt::Display for TensorType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_and_name_lead_back_to_the_type() {
        for &ty in TensorType::ALL {
            assert_eq!(TensorType::from_id(ty.id()), Some(ty));
            assert_eq!(TensorType::from_name(ty.name()), Some(ty));
            assert_eq!(TensorType::from_name(&ty.name().to_lowercase()), Some(ty));
        }
        assert_eq!(TensorType::from_name("Q4_K_M"), None);
        assert_eq!(TensorType::from_name(""), None);
    }

    #[test]
    fn removed_and_future_numbers_are_unknown() {
        for id in [4, 5, 31, 32, 33, 36, 37, 38, 43, u32::MAX] {
            assert_eq!(TensorType::from_id(id), None, "{id}");
        }
    }

    #[test]
    fn row_bytes_counts_whole_blocks_only() {
        assert_eq!(TensorType::Q4_0.row_bytes(64), Some(36));
        assert_eq!(TensorType::Q4_0.row_bytes(0), Some(0));
        assert_eq!(TensorType::Q4_0.row_bytes(33), None);
        assert_eq!(TensorType::F32.row_bytes(u64::MAX), None);
        assert_eq!(TensorType::I8.row_bytes(u64::MAX), Some(u64::MAX));
    }
}
