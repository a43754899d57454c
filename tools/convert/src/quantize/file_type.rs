use siskin_quant::TensorType;
use std::fmt;
use std::str::FromStr;

/// What a whole file is quantized to: a type for most tensors, and rules for those that need more bits. Names, numbers
/// and rules are llama.cpp's.
#[allow(non_camel_case_types, missing_docs)] // The field's own names, which say all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q2_K_S,
    Q3_K_S,
    Q3_K_M,
    Q3_K_L,
    Q4_K_S,
    Q4_K_M,
    Q5_K_S,
    Q5_K_M,
    Q6_K,
    IQ4_NL,
    IQ4_XS,
}

use FileType::*;

impl FileType {
    /// Every type.
    pub const ALL: [FileType; 20] = [
        F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q2_K_S, Q3_K_S, Q3_K_M, Q3_K_L, Q4_K_S, Q4_K_M,
        Q5_K_S, Q5_K_M, Q6_K, IQ4_NL, IQ4_XS,
    ];

    /// The name users know.
    pub const fn name(self) -> &'static str {
        match self {
            F32 => "F32",
            F16 => "F16",
            BF16 => "BF16",
            Q4_0 => "Q4_0",
            Q4_1 => "Q4_1",
            Q5_0 => "Q5_0",
            Q5_1 => "Q5_1",
            Q8_0 => "Q8_0",
            Q2_K => "Q2_K",
            Q2_K_S => "Q2_K_S",
            Q3_K_S => "Q3_K_S",
            Q3_K_M => "Q3_K_M",
            Q3_K_L => "Q3_K_L",
            Q4_K_S => "Q4_K_S",
            Q4_K_M => "Q4_K_M",
            Q5_K_S => "Q5_K_S",
            Q5_K_M => "Q5_K_M",
            Q6_K => "Q6_K",
            IQ4_NL => "IQ4_NL",
            IQ4_XS => "IQ4_XS",
        }
    }

    /// The value of `general.file_type`.
    pub(crate) const fn id(self) -> u32 {
        match self {
            F32 => 0,
            F16 => 1,
            Q4_0 => 2,
            Q4_1 => 3,
            Q8_0 => 7,
            Q5_0 => 8,
            Q5_1 => 9,
            Q2_K => 10,
            Q3_K_S => 11,
            Q3_K_M => 12,
            Q3_K_L => 13,
            Q4_K_S => 14,
            Q4_K_M => 15,
            Q5_K_S => 16,
            Q5_K_M => 17,
            Q6_K => 18,
            Q2_K_S => 21,
            IQ4_NL => 25,
            IQ4_XS => 30,
            BF16 => 32,
        }
    }

    /// The type of most tensors.
    pub(crate) const fn base(self) -> TensorType {
        match self {
            F32 => TensorType::F32,
            F16 => TensorType::F16,
            BF16 => TensorType::BF16,
            Q4_0 => TensorType::Q4_0,
            Q4_1 => TensorType::Q4_1,
            Q5_0 => TensorType::Q5_0,
            Q5_1 => TensorType::Q5_1,
            Q8_0 => TensorType::Q8_0,
            Q2_K | Q2_K_S => TensorType::Q2_K,
            Q3_K_S | Q3_K_M | Q3_K_L => TensorType::Q3_K,
            Q4_K_S | Q4_K_M => TensorType::Q4_K,
            Q5_K_S | Q5_K_M => TensorType::Q5_K,
            Q6_K => TensorType::Q6_K,
            IQ4_NL => TensorType::IQ4_NL,
            IQ4_XS => TensorType::IQ4_XS,
        }
    }

    /// What llama.cpp takes a file for that says nothing but has most of its weights in `ty`.
    pub(crate) fn mostly(ty: TensorType) -> Option<FileType> {
        match ty {
            TensorType::Q3_K => Some(Q3_K_M),
            TensorType::Q4_K => Some(Q4_K_M),
            TensorType::Q5_K => Some(Q5_K_M),
            _ => FileType::ALL.into_iter().find(|file_type| file_type.base() == ty),
        }
    }

    /// Whether the types depend on the tensors at all.
    pub(crate) const fn is_mix(self) -> bool {
        !matches!(self, F32 | F16 | BF16)
    }
}

impl fmt::Display for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for FileType {
    type Err = String;

    /// Any case; `q3_k`, `q4_k` and `q5_k` mean their `_M` mixes, as for llama.cpp.
    fn from_str(name: &str) -> Result<FileType, String> {
        let upper = name.to_ascii_uppercase();
        let full = match upper.as_str() {
            "Q3_K" | "Q4_K" | "Q5_K" => format!("{upper}_M"),
            _ => upper,
        };
        FileType::ALL.into_iter().find(|file_type| file_type.name() == full).ok_or_else(|| {
            let names: Vec<_> = FileType::ALL.iter().map(|file_type| file_type.name()).collect();
            format!(
                "expected one of {} in any case, or Q3_K, Q4_K or Q5_K for their _M mixes",
                names.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case() {
        for file_type in FileType::ALL {
            assert_eq!(file_type.name().to_lowercase().parse(), Ok(file_type));
        }
        assert_eq!("q4_k".parse(), Ok(Q4_K_M));
        assert_eq!("Q3_k".parse(), Ok(Q3_K_M));
        assert!("iq2_xxs".parse::<FileType>().unwrap_err().contains("Q6_K"));
    }

    #[test]
    fn every_type_that_is_written_has_a_file_type() {
        for &ty in TensorType::ALL {
            let base = FileType::mostly(ty).map(FileType::base);
            assert_eq!(base, ty.can_encode().then_some(ty));
        }
        assert_eq!(FileType::mostly(TensorType::Q2_K), Some(Q2_K));
    }

    #[test]
    fn numbers_are_used_once() {
        let mut ids = FileType::ALL.map(FileType::id);
        ids.sort_unstable();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
