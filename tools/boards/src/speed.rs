use serde::Serialize;
use siskin::plan::Reads;

use crate::board::{Board, Cluster};
use crate::counts::count;

/// What a model will do on a board: the most that it can, and the least that is to be expected.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Speed {
    /// Tokens of an answer a second, from a short context: least and most.
    pub decode: [f64; 2],
    /// What decode waits for; None where that memory would let it be so fast is all that is known, as instructions are not counted.
    pub bound: Option<Bound>,
    /// Tokens of a prompt a second, least and most; None where instructions are not counted.
    pub prefill: Option<[f64; 2]>,
}

/// What work waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// Weights that come from memory.
    Memory,
    /// Instructions.
    Computing,
}

/// Of what memory gives to a program that only reads, decode reads this at least where it was measured (benches/README.md).
const OF_MEMORY: f64 = 0.75;
/// Of what counted instructions take at least, prefill reaches this where it was measured.
const OF_INSTRUCTIONS: f64 = 0.5;

impl Speed {
    /// What a model whose tokens read these weights will do on a board; None where what the board's memory gives is not known.
    pub fn of(board: &Board, reads: &[Reads]) -> Option<Self> {
        let bytes: f64 = reads.iter().map(|reads| reads.bytes() as f64).sum();
        let from_memory = bytes / (board.read_gb_s()? * 1e9);
        let instructions = instructions_a_second(board);
        let counted = |weights: fn(&Reads) -> u64, alone: bool| {
            let of = |reads: &Reads| {
                let count = count(&board.tier, reads.ty)?;
                Some(weights(reads) as f64 / 32.0 * if alone { count.alone } else { count.of_many })
            };
            Some(reads.iter().map(of).sum::<Option<f64>>()? / instructions?)
        };
        let computing = counted(|reads| reads.layers + reads.output, true);
        let (seconds, bound) = match computing {
            Some(computing) if computing > from_memory => (computing, Some(Bound::Computing)),
            Some(_) => (from_memory, Some(Bound::Memory)),
            None => (from_memory, None),
        };
        let prefill = counted(|reads| reads.layers, false).map(|seconds| 1.0 / seconds);
        Some(Self {
            decode: [OF_MEMORY / seconds, 1.0 / seconds],
            bound,
            prefill: prefill.map(|most| [OF_INSTRUCTIONS * most, most]),
        })
    }
}

/// Instructions of kernels that all fast cores do; None for cores that nobody has said it of.
fn instructions_a_second(board: &Board) -> Option<f64> {
    let fastest = &board.cpu.clusters.first()?.core;
    let of = |cluster: &Cluster| {
        let a_cycle = instructions_a_cycle(&cluster.core)?;
        Some(cluster.cores as f64 * cluster.clock_mhz * 1e6 * a_cycle)
    };
    board.cpu.clusters.iter().filter(|cluster| cluster.core == *fastest).map(of).sum()
}

/// Instructions of 128 bits that a core does in a cycle at most: those in order have two pipes of 64 bits, Cortex-A72 two of which
/// multiplications take one for two cycles, later ones two.
fn instructions_a_cycle(core: &str) -> Option<f64> {
    match core {
        "Cortex-A53" | "Cortex-A55" | "Cortex-A72" => Some(1.0),
        "Cortex-A76" | "Cortex-A78AE" => Some(2.0),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use siskin_quant::TensorType;

    /// Llama 3.2 1B in Q4_0: what targets/expected-speed.md has.
    fn llama() -> [Reads; 2] {
        [Reads::new(TensorType::Q4_0, 973_000_000, 0), Reads::new(TensorType::Q6_K, 0, 263_000_000)]
    }

    #[test]
    fn speeds_are_those_of_the_document() {
        let document = include_str!("../../../targets/expected-speed.md");
        for (name, board) in [("Raspberry Pi 5", "raspberry-pi-5"), ("Raspberry Pi 4", "raspberry-pi-4")] {
            let row = document
                .lines()
                .find(|line| line.starts_with(&format!("| {name} | Llama 3.2 1B Q4_0 |")))
                .unwrap();
            let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
            let speed = Speed::of(&Board::named(board).unwrap(), &llama()).unwrap();
            for (rate, cell) in [(speed.decode[1], 5), (speed.prefill.unwrap()[1], 6)] {
                let written: f64 = cells[cell].parse().unwrap();
                assert!((rate / written - 1.0).abs() < 0.01, "{name}: {rate}, and {written} in the document");
            }
            assert_eq!(speed.bound, Some(Bound::Memory));
        }
    }

    #[test]
    fn what_is_not_counted_is_not_guessed() {
        let speed = Speed::of(&Board::named("visionfive-2").unwrap(), &llama()).unwrap();
        assert!(speed.prefill.is_none() && speed.bound.is_none());
        let mut board = Board::named("raspberry-pi-5").unwrap();
        board.memory.read_gb_s = None;
        assert_eq!(Speed::of(&board, &llama()), None);
    }

    #[test]
    fn grids_take_longer_to_compute_than_to_read() {
        let reads = [Reads::new(TensorType::IQ2_XXS, 973_000_000, 0)];
        let speed = Speed::of(&Board::named("raspberry-pi-4").unwrap(), &reads).unwrap();
        assert_eq!(speed.bound, Some(Bound::Computing));
    }
}
