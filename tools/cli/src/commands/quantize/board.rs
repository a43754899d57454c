//! The type that a board has the speed for.

use crate::terminal::note;
use anyhow::{Context, Result, bail};
use clap::Args;
use siskin_boards::{Board, Speed};
use siskin_convert::Model;
use siskin_convert::quantize::FileType::{self, *};
use siskin_quant::TensorType;

/// What is chosen from, the largest first.
const TYPES: [FileType; 9] = [F16, Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q4_0, Q3_K_M, Q3_K_S, Q2_K];

/// A board, and how fast the model is to be there.
#[derive(Debug, Args)]
pub(super) struct BoardArguments {
    /// Choose the largest type with which the model is expected to decode as fast as --rate says on this board, of F16, Q8_0,
    /// Q6_K, Q5_K_M, Q4_K_M, Q4_0, Q3_K_M, Q3_K_S and Q2_K; `siskin plan --board NAME` tells what is expected
    #[arg(long, value_name = "NAME", value_parser = Board::named, requires = "rate", conflicts_with = "budget")]
    board: Option<Board>,
    /// Tokens of an answer a second
    #[arg(long, value_name = "TOKENS", value_parser = rate, requires = "board")]
    rate: Option<f64>,
}

fn rate(text: &str) -> Result<f64> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.context("expected tokens a second, a number above 0")
}

impl BoardArguments {
    /// The type, and a line that says why; None where no board is named.
    ///
    /// # Errors
    /// No type is small enough.
    pub(super) fn choose(
        &self,
        model: &Model,
        kept: &[Option<TensorType>],
        weighted: bool,
    ) -> Result<Option<FileType>> {
        let (Some(board), Some(rate)) = (&self.board, self.rate) else { return Ok(None) };
        let mut best = 0.0_f64;
        for file_type in TYPES {
            let reads = model.reads(&model.choose(file_type, kept, weighted));
            let speed = Speed::of(board, &reads);
            let speed =
                speed.with_context(|| format!("{}: what its memory gives is not known", board.name))?;
            let [least, most] = speed.decode;
            if least >= rate {
                let name = file_type.name();
                note(format_args!("{name}: {least:.1} to {most:.1} tokens/s are expected on {}", board.name));
                return Ok(Some(file_type));
            }
            best = best.max(least);
        }
        bail!("--rate {rate}: on {} no type is expected to do more than {best:.1} tokens/s", board.name)
    }
}
