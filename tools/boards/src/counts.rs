//! Instructions that the kernels take on ARM: what `benches/arm-counts/run` counted.

use siskin_quant::TensorType;

/// The table that it wrote.
const TABLE: &str = include_str!("../../../benches/arm-counts/table.md");

/// Instructions of the product of 32 weights with one token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Count {
    /// Of one token alone, as in decode.
    pub alone: f64,
    /// Of each of 64 tokens, as in prefill.
    pub of_many: f64,
}

/// What the kernels of this tier take for weights of this type; None where nobody has counted.
pub fn count(tier: &str, ty: TensorType) -> Option<Count> {
    let mut rows = TABLE.lines().filter(|line| line.starts_with('|')).map(cells);
    let head = rows.next()?;
    let row = rows.find(|row| row.first() == Some(&ty.name()))?;
    let cell = |tokens: &str| {
        let column = head.iter().position(|name| *name == format!("{tier}, {tokens}"))?;
        row.get(column)?.parse().ok()
    };
    Some(Count { alone: cell("1 token")?, of_many: cell("64 tokens")? })
}

fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn counts_are_found_in_the_table() {
        for tier in ["neon", "neon-dotprod", "neon-i8mm"] {
            for ty in [TensorType::F32, TensorType::Q4_0, TensorType::Q6_K, TensorType::MXFP4] {
                let Count { alone, of_many } = count(tier, ty).unwrap();
                assert!(
                    (2.0..100.0).contains(&alone) && (2.0..=alone * 1.1).contains(&of_many),
                    "{tier} {ty}"
                );
            }
        }
        let of = |tier| count(tier, TensorType::Q4_0).unwrap().alone;
        assert!(of("neon") > of("neon-dotprod"), "columns are not those of their tiers");
        assert_eq!(count("avx2", TensorType::Q4_0), None);
        assert_eq!(count("neon", TensorType::F64), None);
    }
}
