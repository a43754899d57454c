use siskin::plan::Reads;

use super::Choice;
use super::mix::is_matrix;
use crate::model::Model;

impl Model {
    /// The weights that a token would read of a file with these types, as [`Outline::reads`](siskin::plan::Outline::reads) has
    /// them of one that is there.
    pub fn reads(&self, choices: &[Choice]) -> Vec<Reads> {
        let output = if self.tensors.iter().any(|tensor| tensor.name == "output.weight") {
            "output.weight"
        } else {
            "token_embd.weight"
        };
        let mut all: Vec<Reads> = Vec::new();
        for (tensor, choice) in self.tensors.iter().zip(choices) {
            let is_output = tensor.name == output;
            if !is_matrix(tensor) || (tensor.name == "token_embd.weight" && !is_output) {
                continue;
            }
            let mut weights = tensor.shape.iter().product::<u64>();
            if let [_, _, experts] = tensor.shape[..] {
                weights = weights / experts.max(1) * u64::from(self.shape.used_experts);
            }
            let (layers, output) = if is_output { (0, weights) } else { (weights, 0) };
            match all.iter_mut().find(|reads| reads.ty == choice.ty) {
                Some(reads) => {
                    reads.layers += layers;
                    reads.output += output;
                }
                None => all.push(Reads::new(choice.ty, layers, output)),
            }
        }
        all
    }
}
