use super::Entry;
use anyhow::{Result, ensure};
use siskin::{Observer, Rows};
use std::collections::{BTreeMap, HashMap};

/// Sums up squares, in f64 and in the order of the tokens: so they are the same however the work was divided, and a
/// sum of 2^29 tokens is exact in all bits that the file keeps.
#[derive(Debug, Default)]
pub(super) struct Collector {
    matrices: HashMap<String, Vec<Squares>>,
}

/// Of each expert, or of the one matrix that there is.
#[derive(Debug, Default)]
struct Squares {
    sums: Vec<f64>,
    count: u64,
}

impl Squares {
    fn add(&mut self, activations: Rows<'_>) {
        for row in activations {
            self.sums.resize(row.len(), 0.0);
            for (sum, &x) in self.sums.iter_mut().zip(row) {
                *sum += f64::from(x) * f64::from(x);
            }
            self.count += 1;
        }
    }
}

impl Observer for Collector {
    fn product(&mut self, tensor: &str, activations: Rows<'_>) {
        self.expert(tensor, 0, 1, activations);
    }

    fn expert(&mut self, tensor: &str, expert: usize, experts: usize, activations: Rows<'_>) {
        if !self.matrices.contains_key(tensor) {
            self.matrices.insert(tensor.to_owned(), Vec::new());
        }
        let Some(all) = self.matrices.get_mut(tensor) else { return };
        if all.len() < experts {
            all.resize_with(experts, Squares::default);
        }
        if let Some(squares) = all.get_mut(expert) {
            squares.add(activations);
        }
    }
}

impl Collector {
    /// The sums, rounded to f32 once.
    ///
    /// # Errors
    /// A sum that is not finite: the model computes nonsense.
    pub(super) fn finish(self) -> Result<BTreeMap<String, Entry>> {
        let entry = |(name, all): (String, Vec<Squares>)| {
            let columns = all.iter().map(|squares| squares.sums.len()).max().unwrap_or(0);
            // An expert that no token came to has none.
            let padded = all.iter().flat_map(|Squares { sums, .. }| {
                sums.iter().copied().chain(std::iter::repeat(0.0)).take(columns)
            });
            let sums: Vec<f32> = padded.map(|sum| sum as f32).collect();
            if let Some(column) = sums.iter().position(|sum| !sum.is_finite()) {
                anyhow::bail!("{name}: the squares for column {column} add up to {}", sums[column]);
            }
            ensure!(!sums.is_empty(), "{name}: no activations");
            let counts = all.iter().map(|squares| squares.count as f32).collect();
            Ok((name, Entry { sums, counts }))
        };
        self.matrices.into_iter().map(entry).collect()
    }
}
