//! The type that a board has the speed for.

use crate::terminal::note;
use anyhow::{Context, Result, bail};
use clap::Args;
use siskin_boards::{Board, Speed};
use siskin_convert::Model;
use siskin_convert::quantize::FileType::{self, *};
use siskin_convert::quantize::{Plan, Recipe};
use siskin_quant::TensorType;

/// What is chosen from.
const TYPES: [FileType; 9] = [F16, Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q4_0, Q3_K_M, Q3_K_S, Q2_K];

/// What the program, a vocabulary and a short context take beside a file's weights: about, as `siskin plan --board` tells exactly.
const BESIDE: u64 = 64 << 20;

/// A board, and how fast the model is to be there.
#[derive(Debug, Args)]
pub(super) struct BoardArguments {
    /// Choose the largest type with which the model is expected to decode as fast as --rate says on this board, of F16, Q8_0,
    /// Q6_K, Q5_K_M, Q4_K_M, Q4_0, Q3_K_M, Q3_K_S and Q2_K that its largest memory has room for and that are not larger than the
    /// input; `siskin plan --board NAME` tells what is expected
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
        let (given, room) = (model.tensor_bytes(), board.most_memory().saturating_sub(BESIDE));
        let (mut best, mut chosen): (f64, Option<(u64, FileType, [f64; 2])>) = (0.0, None);
        for file_type in TYPES {
            let choices = model.choose(file_type, kept, weighted);
            let plan = Plan::new(model, &choices, Recipe::Mix(file_type), None, false)?;
            if plan.tensor_bytes() > given || plan.file_len() > room {
                continue;
            }
            let speed = Speed::of(board, &model.reads(&choices));
            let speed =
                speed.with_context(|| format!("{}: what its memory gives is not known", board.name))?;
            best = best.max(speed.decode[0]);
            let is_larger = chosen.is_none_or(|(bytes, ..)| plan.tensor_bytes() > bytes);
            if speed.decode[0] >= rate && is_larger {
                chosen = Some((plan.tensor_bytes(), file_type, speed.decode));
            }
        }
        if let Some((_, file_type, [least, most])) = chosen {
            let name = file_type.name();
            note(format_args!("{name}: {least:.1} to {most:.1} tokens/s are expected on {}", board.name));
            return Ok(Some(file_type));
        }
        if best == 0.0 {
            let mib = board.most_memory() >> 20;
            bail!(
                "no type of the model is small enough for {}: expected at most {mib} MiB with all else",
                board.name
            );
        }
        bail!("--rate {rate}: on {} no type is expected to do more than {best:.1} tokens/s", board.name)
    }
}
