use super::mix::is_quantized;
use crate::model::Tensor;
use anyhow::{Context, Result, bail, ensure};
use siskin_quant::TensorType;
use std::str::FromStr;

/// `TENSOR=TYPE`: a type that the user chose for some matrices.
#[derive(Clone, Debug)]
pub struct Keep {
    /// A tensor's whole name, in which `*` stands for any characters.
    pattern: String,
    /// The type's name, not looked at yet.
    ty: String,
}

impl FromStr for Keep {
    type Err = String;

    fn from_str(text: &str) -> Result<Keep, String> {
        match text.rsplit_once('=') {
            Some((pattern, ty)) if !pattern.is_empty() && !ty.is_empty() => {
                Ok(Keep { pattern: pattern.into(), ty: ty.into() })
            }
            _ => Err("expected TENSOR=TYPE, such as output.weight=Q8_0 or *.attn_v.weight=Q6_K".into()),
        }
    }
}

/// The types of the matrices that `keeps` name, and None for the other tensors. Of several that name the same matrix,
/// the last counts.
///
/// # Errors
/// A type that cannot be written, a name that no matrix has, rows that are no whole blocks of the type.
pub(crate) fn kept(keeps: &[Keep], tensors: &[Tensor]) -> Result<Vec<Option<TensorType>>> {
    let mut kept = vec![None; tensors.len()];
    for keep in keeps {
        keep.apply(tensors, &mut kept).with_context(|| format!("--keep {}={}", keep.pattern, keep.ty))?;
    }
    Ok(kept)
}

impl Keep {
    fn apply(&self, tensors: &[Tensor], kept: &mut [Option<TensorType>]) -> Result<()> {
        let ty = self.tensor_type()?;
        let mut found = false;
        for (tensor, kept) in tensors.iter().zip(kept) {
            if is_quantized(tensor) && matches(&self.pattern, &tensor.name) {
                let (name, row, block) = (&tensor.name, tensor.row_len(), ty.block_len());
                ensure!(
                    row.is_multiple_of(block as u64),
                    "the rows of {name} are {row} long, expected a multiple of {block}"
                );
                *kept = Some(ty);
                found = true;
            }
        }
        match tensors.iter().find(|tensor| matches(&self.pattern, &tensor.name)) {
            _ if found => Ok(()),
            Some(tensor) => bail!("{} is no weight matrix; it keeps every bit anyway", tensor.name),
            None => bail!("the model has no such tensor"),
        }
    }

    fn tensor_type(&self) -> Result<TensorType> {
        let types = || TensorType::ALL.iter().filter(|ty| ty.can_encode());
        types().find(|ty| ty.name().eq_ignore_ascii_case(&self.ty)).copied().with_context(|| {
            let names: Vec<_> = types().map(|ty| ty.name()).collect();
            format!("cannot write {}, expected one of {}", self.ty, names.join(", "))
        })
    }
}

/// Whether `name` is `pattern`, in which `*` stands for any characters, or none.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, pattern)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut rest) = name.strip_prefix(start) else { return false };
    let Some((middle, end)) = pattern.rsplit_once('*') else { return rest.ends_with(pattern) };
    for part in middle.split('*') {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RowOrder, Source};

    fn tensor(name: &str, shape: &[u64]) -> Tensor {
        let source = Source::Memory(Vec::new());
        Tensor { name: name.into(), shape: shape.into(), ty: TensorType::F16, source, order: RowOrder::Same }
    }

    fn types(keeps: &[&str]) -> Result<Vec<Option<TensorType>>, String> {
        let tensors = [
            tensor("token_embd.weight", &[256, 8]),
            tensor("blk.0.attn_v.weight", &[64, 8]),
            tensor("blk.1.attn_v.weight", &[256, 8]),
            tensor("output_norm.weight", &[256]),
        ];
        let keeps: Vec<Keep> = keeps.iter().map(|keep| keep.parse().unwrap()).collect();
        kept(&keeps, &tensors).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, expected) in [
            ("output.weight", "output.weight", true),
            ("output", "output.weight", false),
            ("*.attn_v.weight", "blk.3.attn_v.weight", true),
            ("*.attn_v.weight", "blk.3.attn_v.bias", false),
            ("blk.1.*", "blk.1.ffn_up.weight", true),
            ("blk.1.*", "blk.10.ffn_up.weight", false),
            ("blk.*.ffn_*.weight", "blk.10.ffn_up.weight", true),
            ("blk.*.ffn_*.weight", "blk.10.attn_q.weight", false),
            ("*", "anything", true),
            ("ab*ba", "aba", false),
            ("a*b*c", "abc", true),
            ("a*bb*c", "abc", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn the_last_of_several_counts_and_vectors_stay() {
        use TensorType::*;
        assert_eq!(types(&["*=q8_0", "blk.1.*=f16"]).unwrap(), [Some(Q8_0), Some(Q8_0), Some(F16), None]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |keep: &str| types(&[keep]).unwrap_err();
        assert_eq!(refused("blk.9.*=F16"), "--keep blk.9.*=F16: the model has no such tensor");
        assert_eq!(
            refused("output_norm.weight=Q8_0"),
            "--keep output_norm.weight=Q8_0: output_norm.weight is no weight matrix; it keeps every bit anyway"
        );
        assert_eq!(
            refused("*=Q6_K"),
            "--keep *=Q6_K: the rows of blk.0.attn_v.weight are 64 long, expected a multiple of 256"
        );
        assert!(
            refused("*=IQ1_S").starts_with("--keep *=IQ1_S: cannot write IQ1_S, expected one of F32, F16")
        );
        assert!("output.weight".parse::<Keep>().is_err());
        assert!("=Q8_0".parse::<Keep>().is_err());
    }
}
