use siskin::plan::Reads;

use super::Choice;
use super::mix::is_matrix;
use crate::model::{Model, Tensor};

impl Model {
    /// The weights that a token would read of a file with these types, as [`Outline::reads`](siskin::plan::Outline::reads) has
    /// them of one that is there.
    pub fn reads(&self, choices: &[Choice]) -> Vec<Reads> {
        const EMBEDDING: &str = "token_embd.weight";
        let has_output = self.tensors.iter().any(|tensor| tensor.name == "output.weight");
        let output = if has_output { "output.weight" } else { EMBEDDING };
        let all = self.tensors.iter().zip(choices).filter_map(|(tensor, choice)| {
            let weights = self.weights_per_token(tensor);
            match tensor.name.as_str() {
                name if name == output => Some(Reads::new(choice.ty, 0, weights)),
                EMBEDDING => None,
                _ => is_matrix(tensor).then(|| Reads::new(choice.ty, weights, 0)),
            }
        });
        Reads::by_type(all)
    }

    /// A tensor's weights, of experts those that a token is given to.
    fn weights_per_token(&self, tensor: &Tensor) -> u64 {
        let weights = tensor.shape.iter().product::<u64>();
        match tensor.shape.get(2) {
            Some(&experts) if experts > 1 => weights / experts * u64::from(self.shape.used_experts),
            _ => weights,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use siskin::gguf::Gguf;
    use siskin::plan::Outline;
    use std::path::Path;

    #[test]
    fn a_model_reads_what_its_file_is_planned_with() {
        let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../engine/tests/goldens/families");
        let mut experts = 0;
        for entry in std::fs::read_dir(goldens).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "gguf") {
                continue;
            }
            let model = Model::open(&path).unwrap();
            experts += usize::from(model.shape.used_experts > 0);
            let as_it_is: Vec<_> = model.tensors.iter().map(|tensor| Choice::exactly(tensor.ty)).collect();
            let sorted = |mut reads: Vec<Reads>| {
                reads.sort_by_key(|reads| reads.ty.id());
                reads
            };
            let planned = Outline::of(&Gguf::open(&path).unwrap()).unwrap().reads();
            assert_eq!(sorted(model.reads(&as_it_is)), sorted(planned), "{}", path.display());
        }
        assert!(experts > 0, "no model with experts was asked");
    }
}
