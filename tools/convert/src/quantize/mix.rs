use super::file_type::FileType::{self, *};
use crate::model::{Shape, Tensor};
use siskin_quant::TensorType;

/// The type chosen for a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What it will be.
    pub(crate) ty: TensorType,
    /// What it would have been, had its rows whole blocks of that type.
    pub(crate) instead_of: Option<TensorType>,
}

impl Choice {
    /// This type and no other.
    pub(crate) const fn exactly(ty: TensorType) -> Choice {
        Choice { ty, instead_of: None }
    }
}

/// What the rules know about the whole model.
#[derive(Clone, Copy, Debug)]
struct Mix {
    file_type: FileType,
    shape: Shape,
    /// The embedding serves as output too.
    tied: bool,
    /// There is an importance matrix.
    weighted: bool,
}

/// The type of each tensor: llama.cpp's `llama_tensor_get_type` for architectures without exceptions of their own.
/// `weighted` says whether there is an importance matrix.
pub(crate) fn choose(tensors: &[Tensor], shape: Shape, file_type: FileType, weighted: bool) -> Vec<Choice> {
    let tied = !tensors.iter().any(|tensor| tensor.name == "output.weight");
    let mix = Mix { file_type, shape, tied, weighted };
    tensors.iter().map(|tensor| mix.choose(&Facts::of(tensor))).collect()
}

/// Whether a tensor is of what sees images or hears, which stays as it is.
fn is_aside(name: &str) -> bool {
    ["v.", "mm.", "a."].iter().any(|start| name.starts_with(start))
}

/// Whether tokens are multiplied with this tensor: matrices of the language model, convolutions not among them.
pub(crate) fn is_matrix(tensor: &Tensor) -> bool {
    let aside = is_aside(&tensor.name) || tensor.name.contains("shortconv.conv.weight");
    dimensions(&tensor.shape) >= 2 && tensor.name.ends_with("weight") && !aside
}

/// Whether a file's type decides about this tensor: only matrices, and of those no norms and no tables of rotations.
pub(crate) fn is_quantized(tensor: &Tensor) -> bool {
    Facts::of(tensor).is_quantized()
}

/// The choice for a tensor `name` that is no such matrix, of type `ty`: vectors are kept exact. A checkpoint's 16-bit ones are
/// widened, which is exact too.
pub(crate) fn unquantized(name: &str, ty: TensorType) -> Choice {
    if is_aside(name) {
        return Choice::exactly(ty);
    }
    let float = matches!(ty, TensorType::F32 | TensorType::F16 | TensorType::BF16);
    Choice::exactly(if float { TensorType::F32 } else { ty })
}

/// What the choice for one tensor depends on.
struct Facts<'a> {
    name: &'a str,
    dimensions: usize,
    row_len: u64,
    ty: TensorType,
}

impl<'a> Facts<'a> {
    fn of(tensor: &'a Tensor) -> Facts<'a> {
        Facts {
            name: &tensor.name,
            dimensions: dimensions(&tensor.shape),
            row_len: tensor.row_len(),
            ty: tensor.ty,
        }
    }

    fn is_quantized(&self) -> bool {
        // What llama.cpp keeps: beside norms, the choice of experts, and convolutions, which are tiny.
        const KEPT: [&str; 3] = ["_norm.weight", "ffn_gate_inp.weight", "shortconv.conv.weight"];
        let kept = KEPT.iter().any(|kept| self.name.contains(kept));
        self.dimensions >= 2 && self.name.ends_with("weight") && !kept && !is_aside(self.name)
    }

    fn fits(&self, ty: TensorType) -> bool {
        self.row_len.is_multiple_of(ty.block_len() as u64)
    }
}

/// Dimensions as ggml counts them: trailing ones do not count.
fn dimensions(shape: &[u64]) -> usize {
    shape.iter().rposition(|&size| size != 1).map_or(1, |last| last + 1)
}

impl Mix {
    fn choose(&self, tensor: &Facts<'_>) -> Choice {
        if !tensor.is_quantized() {
            return unquantized(tensor.name, tensor.ty);
        }
        if !self.file_type.is_mix() {
            return Choice::exactly(self.file_type.base());
        }
        let wanted = self.wanted(tensor);
        let ty = fallback(wanted, tensor);
        Choice { ty, instead_of: (ty != wanted).then_some(wanted) }
    }

    /// The type by the tensor's part in the model, whatever the length of its rows.
    fn wanted(&self, tensor: &Facts<'_>) -> TensorType {
        let base = self.file_type.base();
        let name = tensor.name;
        if name == "output.weight" || (self.tied && name == "token_embd.weight") {
            return match base {
                TensorType::Q8_0 => TensorType::Q8_0,
                _ if !tensor.fits(base) => TensorType::Q8_0,
                _ => TensorType::Q6_K,
            };
        }
        let Some((block, part)) = block_and_part(name) else { return base };
        let special = match part {
            "attn_v.weight" | "attn_qkv.weight" => self.values(block),
            "attn_output.weight" => self.attention_output(),
            "ffn_down.weight" | "ffn_down_exps.weight" => self.down(block),
            _ => None,
        };
        special.unwrap_or(base)
    }

    fn values(&self, block: u32) -> Option<TensorType> {
        // Where four query heads or more share a value, its matrix is small, and more bits cost little.
        let shared = self.shape.queries_per_value >= 4;
        let ty = match self.file_type {
            Q2_K if !shared => TensorType::Q3_K,
            Q2_K | Q2_K_S if shared => TensorType::Q4_K,
            Q3_K_M if block >= 2 => TensorType::Q4_K,
            Q3_K_M | Q3_K_L => TensorType::Q5_K,
            IQ4_NL | IQ4_XS if shared => TensorType::Q5_K,
            Q4_K_M | Q5_K_M if self.more_bits(block) => TensorType::Q6_K,
            Q4_K_S if block < 4 => TensorType::Q5_K,
            _ => self.file_type.base(),
        };
        // LLaMA 70B.
        let largest = self.shape.blocks == 80 && self.shape.queries_per_value > 1;
        Some(match ty {
            TensorType::Q3_K | TensorType::Q4_K if largest => TensorType::Q5_K,
            _ => ty,
        })
    }

    fn attention_output(&self) -> Option<TensorType> {
        match self.file_type {
            Q2_K => Some(TensorType::Q3_K),
            Q3_K_M => Some(TensorType::Q4_K),
            Q3_K_L => Some(TensorType::Q5_K),
            _ => None,
        }
    }

    fn down(&self, block: u32) -> Option<TensorType> {
        let blocks = self.shape.blocks;
        let early = block < blocks / 8;
        match self.file_type {
            Q2_K => Some(TensorType::Q3_K),
            Q2_K_S if early => Some(TensorType::Q4_K),
            Q3_K_M if block < blocks / 16 => Some(TensorType::Q5_K),
            Q3_K_M => Some(TensorType::Q4_K),
            Q3_K_L => Some(TensorType::Q5_K),
            Q4_K_M | Q5_K_M if self.more_bits(block) => Some(TensorType::Q6_K),
            Q4_K_S if early => Some(TensorType::Q5_K),
            IQ4_NL | IQ4_XS if early && !self.weighted => Some(TensorType::Q5_K),
            Q4_0 if early && self.weighted => Some(TensorType::Q4_1),
            Q5_0 if early && self.weighted => Some(TensorType::Q5_1),
            _ => None,
        }
    }

    /// The first and last eighth of the blocks, and every third between.
    fn more_bits(&self, block: u32) -> bool {
        let blocks = self.shape.blocks;
        let eighth = blocks / 8;
        block < eighth || u64::from(block) >= 7 * u64::from(blocks) / 8 || (block - eighth) % 3 == 2
    }
}

/// The 7 and the `attn_v.weight` of `blk.7.attn_v.weight`.
fn block_and_part(name: &str) -> Option<(u32, &str)> {
    let (block, part) = name.strip_prefix("blk.")?.split_once('.')?;
    Some((block.parse().ok()?, part))
}

/// The type for rows that may be no whole blocks of `wanted`.
fn fallback(wanted: TensorType, tensor: &Facts<'_>) -> TensorType {
    let smaller = match wanted {
        _ if tensor.fits(wanted) => wanted,
        TensorType::IQ4_XS => TensorType::IQ4_NL,
        TensorType::Q2_K | TensorType::Q3_K => TensorType::Q4_0,
        TensorType::Q4_K => TensorType::Q5_0,
        TensorType::Q5_K => TensorType::Q5_1,
        TensorType::Q6_K => TensorType::Q8_0,
        _ => TensorType::F16,
    };
    if tensor.fits(smaller) { smaller } else { TensorType::F16 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(name: &str, row_len: u64, tied: bool, blocks: u32, file_type: FileType) -> TensorType {
        let dimensions = if name.contains("norm") { 1 } else { 2 };
        let facts = Facts { name, dimensions, row_len, ty: TensorType::BF16 };
        let shape = Shape { blocks, queries_per_value: 4, used_experts: 0 };
        Mix { file_type, shape, tied, weighted: false }.choose(&facts).ty
    }

    /// Llama 3.2 1B: 16 blocks, tied. The expected types are those of llama.cpp's own files.
    #[test]
    fn q4_k_m_gives_more_bits_to_half_of_the_blocks() {
        let shape = Shape { blocks: 16, queries_per_value: 4, used_experts: 0 };
        let mix = Mix { file_type: Q4_K_M, shape, tied: true, weighted: false };
        let more: Vec<u32> = (0..16).filter(|&block| mix.more_bits(block)).collect();
        assert_eq!(more, [0, 1, 4, 7, 10, 13, 14, 15]);
        let of = |name: &str| chosen(name, 2048, true, 16, Q4_K_M);
        assert_eq!(of("token_embd.weight"), TensorType::Q6_K);
        assert_eq!(of("blk.4.attn_v.weight"), TensorType::Q6_K);
        assert_eq!(of("blk.5.attn_v.weight"), TensorType::Q4_K);
        assert_eq!(of("blk.7.ffn_down.weight"), TensorType::Q6_K);
        assert_eq!(of("blk.7.ffn_up.weight"), TensorType::Q4_K);
        assert_eq!(of("blk.7.ffn_down_exps.weight"), TensorType::Q6_K);
        assert_eq!(of("blk.7.ffn_gate_inp.weight"), TensorType::F32);
        assert_eq!(of("blk.7.shortconv.conv.weight"), TensorType::F32);
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
