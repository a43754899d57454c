use siskin_quant::TensorType;

use super::Outline;

/// Weights of a type that a token reads on its way through a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reads {
    /// Their type.
    pub ty: TensorType,
    /// Those of the layers, of experts those that a token is given to.
    pub layers: u64,
    /// Those of the output, which only tokens read whose logits are asked for.
    pub output: u64,
}

impl Reads {
    /// So many weights of a type.
    pub const fn new(ty: TensorType, layers: u64, output: u64) -> Self {
        Self { ty, layers, output }
    }

    /// Those of the same type together, in the order in which types come first.
    pub fn by_type(all: impl IntoIterator<Item = Reads>) -> Vec<Reads> {
        let mut together: Vec<Reads> = Vec::new();
        for Reads { ty, layers, output } in all {
            match together.iter_mut().find(|reads| reads.ty == ty) {
                Some(reads) => {
                    reads.layers += layers;
                    reads.output += output;
                }
                None => together.push(Reads::new(ty, layers, output)),
            }
        }
        together
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> u64 {
        (self.layers + self.output) / self.ty.block_len() as u64 * self.ty.block_bytes() as u64
    }
}

impl Outline {
    /// The weights that a token reads, type by type: all matrices but the table of embeddings, of which it takes a row, unless
    /// that is the output too.
    pub fn reads(&self) -> Vec<Reads> {
        let all = self.network.weights_per_token();
        Reads::by_type(all.map(|(ty, layers, output)| Reads::new(ty, layers, output)))
    }
}
