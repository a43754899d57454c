use crate::convert::{Shape, Tensor};
use siskin_quant::TensorType;
use std::fmt;
use std::str::FromStr;

/// What a whole file is quantized to: a type for most tensors, and rules for those that need more bits. Names, numbers
/// and rules are llama.cpp's.
#[allow(non_camel_case_types)] // The field's own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileType {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4_K_S,
    Q4_K_M,
    Q5_K_S,
    Q5_K_M,
    Q6_K,
}

use FileType::*;

impl FileType {
    /// Every type.
    pub(crate) const ALL: [FileType; 13] =
        [F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K_S, Q4_K_M, Q5_K_S, Q5_K_M, Q6_K];

    /// The name users know.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            F32 => "F32",
            F16 => "F16",
            BF16 => "BF16",
            Q4_0 => "Q4_0",
            Q4_1 => "Q4_1",
            Q5_0 => "Q5_0",
            Q5_1 => "Q5_1",
            Q8_0 => "Q8_0",
            Q4_K_S => "Q4_K_S",
            Q4_K_M => "Q4_K_M",
            Q5_K_S => "Q5_K_S",
            Q5_K_M => "Q5_K_M",
            Q6_K => "Q6_K",
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
            Q4_K_S => 14,
            Q4_K_M => 15,
            Q5_K_S => 16,
            Q5_K_M => 17,
            Q6_K => 18,
            BF16 => 32,
        }
    }

    /// The type of most tensors.
    const fn base(self) -> TensorType {
        match self {
            F32 => TensorType::F32,
            F16 => TensorType::F16,
            BF16 => TensorType::BF16,
            Q4_0 => TensorType::Q4_0,
            Q4_1 => TensorType::Q4_1,
            Q5_0 => TensorType::Q5_0,
            Q5_1 => TensorType::Q5_1,
            Q8_0 => TensorType::Q8_0,
            Q4_K_S | Q4_K_M => TensorType::Q4_K,
            Q5_K_S | Q5_K_M => TensorType::Q5_K,
            Q6_K => TensorType::Q6_K,
        }
    }

    /// Whether the types depend on the tensors at all.
    const fn is_mix(self) -> bool {
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

    /// Any case; `q4_k` and `q5_k` mean their `_M` mixes, as for llama.cpp.
    fn from_str(name: &str) -> Result<FileType, String> {
        let upper = name.to_ascii_uppercase();
        let full = match upper.as_str() {
            "Q4_K" | "Q5_K" => format!("{upper}_M"),
            _ => upper,
        };
        FileType::ALL.into_iter().find(|file_type| file_type.name() == full).ok_or_else(|| {
            let names: Vec<_> = FileType::ALL.iter().map(|file_type| file_type.name()).collect();
            format!("expected one of {} in any case, or Q4_K or Q5_K for their _M mixes", names.join(", "))
        })
    }
}

/// The type chosen for a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// What it will be.
    pub(crate) ty: TensorType,
    /// What it would have been, had its rows whole blocks of that type.
    pub(crate) instead_of: Option<TensorType>,
}

/// The type of each tensor: llama.cpp's `llama_tensor_get_type` for architectures without exceptions of their own and
/// files without an importance matrix.
pub(crate) fn choose(tensors: &[Tensor], shape: Shape, file_type: FileType) -> Vec<Choice> {
    let tied = !tensors.iter().any(|tensor| tensor.name == "output.weight");
    tensors
        .iter()
        .map(|tensor| {
            let facts = Facts {
                name: &tensor.name,
                dimensions: dimensions(&tensor.shape),
                row_len: tensor.row_len(),
                ty: tensor.ty,
            };
            choose_one(&facts, tied, shape, file_type)
        })
        .collect()
}

/// What the choice for one tensor depends on.
struct Facts<'a> {
    name: &'a str,
    dimensions: usize,
    row_len: u64,
    ty: TensorType,
}

/// Dimensions as ggml counts them: trailing ones do not count.
fn dimensions(shape: &[u64]) -> usize {
    shape.iter().rposition(|&size| size != 1).map_or(1, |last| last + 1)
}

fn choose_one(tensor: &Facts<'_>, tied: bool, shape: Shape, file_type: FileType) -> Choice {
    let exactly = |ty| Choice { ty, instead_of: None };
    if !is_quantized(tensor) {
        // Vectors are kept exact. A checkpoint's 16-bit ones are widened, which is exact too.
        let float = matches!(tensor.ty, TensorType::F32 | TensorType::F16 | TensorType::BF16);
        return exactly(if float { TensorType::F32 } else { tensor.ty });
    }
    if !file_type.is_mix() {
        return exactly(file_type.base());
    }
    let wanted = mixed(tensor, tied, shape, file_type);
    let ty = fallback(wanted, tensor.row_len);
    Choice { ty, instead_of: (ty != wanted).then_some(wanted) }
}

/// Only matrices, and of those no norms and no tables of rotations.
fn is_quantized(tensor: &Facts<'_>) -> bool {
    tensor.dimensions >= 2 && tensor.name.ends_with("weight") && !tensor.name.contains("_norm.weight")
}

fn mixed(tensor: &Facts<'_>, tied: bool, shape: Shape, file_type: FileType) -> TensorType {
    let base = file_type.base();
    let name = tensor.name;
    if name == "output.weight" || (tied && name == "token_embd.weight") {
        return match base {
            TensorType::Q8_0 => TensorType::Q8_0,
            _ if !tensor.row_len.is_multiple_of(base.block_len() as u64) => TensorType::Q8_0,
            _ => TensorType::Q6_K,
        };
    }
    let Some(block) = block_of(name) else { return base };
    let (blocks, more) = (shape.blocks, more_bits(block, shape.blocks));
    if name.ends_with(".attn_v.weight") {
        match file_type {
            Q4_K_M | Q5_K_M if more => TensorType::Q6_K,
            Q4_K_S if block < 4 => TensorType::Q5_K,
            // Llama 70B's eight heads share one value each, so more bits cost little.
            _ if base == TensorType::Q4_K && blocks == 80 && shape.grouped => TensorType::Q5_K,
            _ => base,
        }
    } else if name.ends_with(".ffn_down.weight") {
        match file_type {
            Q4_K_M | Q5_K_M if more => TensorType::Q6_K,
            Q4_K_S if block < blocks / 8 => TensorType::Q5_K,
            _ => base,
        }
    } else {
        base
    }
}

/// The number in `blk.7.attn_v.weight`.
fn block_of(name: &str) -> Option<u32> {
    name.strip_prefix("blk.")?.split_once('.')?.0.parse().ok()
}

/// The first and last eighth of the blocks, and every third between.
fn more_bits(block: u32, blocks: u32) -> bool {
    let eighth = blocks / 8;
    block < eighth || u64::from(block) >= 7 * u64::from(blocks) / 8 || (block - eighth) % 3 == 2
}

/// The type for rows that are no whole blocks of `wanted`.
fn fallback(wanted: TensorType, row_len: u64) -> TensorType {
    let fits = |ty: TensorType| row_len.is_multiple_of(ty.block_len() as u64);
    let smaller = match wanted {
        _ if fits(wanted) => wanted,
        TensorType::Q4_K => TensorType::Q5_0,
        TensorType::Q5_K => TensorType::Q5_1,
        TensorType::Q6_K => TensorType::Q8_0,
        _ => TensorType::F16,
    };
    if fits(smaller) { smaller } else { TensorType::F16 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(name: &str, row_len: u64, tied: bool, blocks: u32, file_type: FileType) -> TensorType {
        let dimensions = if name.contains("norm") { 1 } else { 2 };
        let facts = Facts { name, dimensions, row_len, ty: TensorType::BF16 };
        choose_one(&facts, tied, Shape { blocks, grouped: true }, file_type).ty
    }

    #[test]
    fn names_are_read_in_any_case() {
        for file_type in FileType::ALL {
            assert_eq!(file_type.name().to_lowercase().parse(), Ok(file_type));
        }
        assert_eq!("q4_k".parse(), Ok(Q4_K_M));
        assert_eq!("Q5_k".parse(), Ok(Q5_K_M));
        assert!("q3_k_m".parse::<FileType>().unwrap_err().contains("Q6_K"));
    }

    /// Llama 3.2 1B: 16 blocks, tied. The expected types are those of llama.cpp's own files.
    #[test]
    fn q4_k_m_gives_more_bits_to_half_of_the_blocks() {
        let more: Vec<u32> = (0..16).filter(|&block| more_bits(block, 16)).collect();
        assert_eq!(more, [0, 1, 4, 7, 10, 13, 14, 15]);
        let of = |name: &str| chosen(name, 2048, true, 16, Q4_K_M);
        assert_eq!(of("token_embd.weight"), TensorType::Q6_K);
        assert_eq!(of("blk.4.attn_v.weight"), TensorType::Q6_K);
        assert_eq!(of("blk.5.attn_v.weight"), TensorType::Q4_K);
        assert_eq!(of("blk.7.ffn_down.weight"), TensorType::Q6_K);
        assert_eq!(of("blk.7.ffn_up.weight"), TensorType::Q4_K);
        assert_eq!(of("blk.7.attn_norm.weight"), TensorType::F32);
        assert_eq!(chosen("token_embd.weight", 2048, false, 16, Q4_K_M), TensorType::Q4_K);
    }

    #[test]
    fn the_output_matrix_keeps_six_bits() {
        for (file_type, expected) in
            [(Q4_0, TensorType::Q6_K), (Q8_0, TensorType::Q8_0), (F16, TensorType::F16)]
        {
            assert_eq!(chosen("output.weight", 256, false, 2, file_type), expected);
        }
        // Rows of 32 but not of 256: Q6_K is wanted and Q8_0 fits.
        assert_eq!(chosen("output.weight", 64, false, 2, Q4_0), TensorType::Q8_0);
        assert_eq!(chosen("output.weight", 64, false, 2, Q4_K_M), TensorType::Q8_0);
    }

    #[test]
    fn small_mixes_spend_more_on_the_first_blocks() {
        let of = |name: &str| chosen(name, 2048, true, 16, Q4_K_S);
        assert_eq!(of("blk.3.attn_v.weight"), TensorType::Q5_K);
        assert_eq!(of("blk.4.attn_v.weight"), TensorType::Q4_K);
        assert_eq!(of("blk.1.ffn_down.weight"), TensorType::Q5_K);
        assert_eq!(of("blk.2.ffn_down.weight"), TensorType::Q4_K);
        assert_eq!(chosen("blk.5.attn_v.weight", 8192, false, 80, Q4_K_S), TensorType::Q5_K);
    }

    #[test]
    fn odd_rows_fall_back() {
        let of = |row_len, file_type| chosen("blk.0.ffn_up.weight", row_len, true, 2, file_type);
        assert_eq!(of(96, Q4_K_M), TensorType::Q5_0);
        assert_eq!(of(96, Q5_K_M), TensorType::Q5_1);
        assert_eq!(of(96, Q6_K), TensorType::Q8_0);
        assert_eq!(of(80, Q4_K_M), TensorType::F16);
        assert_eq!(of(80, Q4_0), TensorType::F16);
    }

    #[test]
    fn trailing_ones_are_no_dimensions() {
        assert_eq!(dimensions(&[8, 4]), 2);
        assert_eq!(dimensions(&[8, 1]), 1);
        assert_eq!(dimensions(&[8, 4, 2, 1]), 3);
        assert_eq!(dimensions(&[1]), 1);
    }
}
