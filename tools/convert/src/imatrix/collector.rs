use super::Entry;
use anyhow::{Result, ensure};
use siskin::{Observer, Rows};
use std::collections::{BTreeMap, HashMap};

/// Sums up squares, in f64 and in the order of the tokens: so they are the same however the work was divided, and a
/// sum of 2^29 tokens is exact in all bits that the file keeps.
#[derive(Debug, Default)]
pub(super) struct Collector {
    matrices: HashMap<String, Squares>,
}

#[derive(Debug)]
struct Squares {
    sums: Vec<f64>,
    count: u64,
}

impl Observer for Collector {
    fn product(&mut self, tensor: &str, activations: Rows<'_>) {
        if !self.matrices.contains_key(tensor) {
            self.matrices.insert(tensor.to_owned(), Squares { sums: Vec::new(), count: 0 });
        }
        let Some(squares) = self.matrices.get_mut(tensor) else { return };
        for row in activations {
            squares.sums.resize(row.len(), 0.0);
            for (sum, &x) in squares.sums.iter_mut().zip(row) {
                *sum += f64::from(x) * f64::from(x);
            }
            squares.count += 1;
        }
    }
}

impl Collector {
    /// The sums, rounded to f32 once.
    ///
    /// # Errors
    /// A sum that is not finite: the model computes nonsense.
    pub(super) fn finish(self) -> Result<BTreeMap<String, Entry>> {
        let entry = |(name, squares): (String, Squares)| {
            let sums: Vec<f32> = squares.sums.iter().map(|&sum| sum as f32).collect();
            if let Some(column) = sums.iter().position(|sum| !sum.is_finite()) {
                anyhow::bail!("{name}: the squares for column {column} add up to {}", sums[column]);
            }
            ensure!(!sums.is_empty(), "{name}: no activations");
            Ok((name, Entry { sums, count: squares.count as f32 }))
        };
        self.matrices.into_iter().map(entry).collect()
    }
}
