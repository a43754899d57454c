//! Types chosen for a budget: `docs/quantization.md` says how.

mod budget;
mod candidates;
mod knapsack;
mod report;
mod room;
mod sensitivity;

pub(super) use report::Fitted;

use super::importance::Importance;
use crate::convert::Model;
use crate::eval::perplexity::Windows;
use crate::imatrix::{Imatrix, Text};
use crate::progress;
use crate::session::count;
use crate::size::Size;
use anyhow::{Context, Result};
use budget::{BitsPerWeight, Budget};
use clap::Args;
use rayon::ThreadPool;
use room::{Room, matrices};
use sensitivity::{Meter, runnable};
use siskin::SessionOptions;
use siskin_quant::TensorType;
use std::path::PathBuf;

/// Tokens of a window of the text that sensitivities are measured on, where the model's context has room for them.
const WINDOW: usize = 256;
/// The same for the importance matrix: `siskin imatrix` has no other default.
const CHUNK: usize = 512;

/// What a file is fitted to, and how.
#[derive(Debug, Args)]
pub(crate) struct FitArguments {
    /// The size of the file that may not be exceeded, such as 700MB, 1.5GiB or a number of bytes: each matrix gets the
    /// type that serves the whole model best, as measured with a text
    #[arg(long, value_name = "SIZE", group = "budget")]
    fit: Option<Size>,
    /// The same for the bits per weight of all tensors, such as 4.3
    #[arg(long, value_name = "BITS", group = "budget")]
    bpw: Option<BitsPerWeight>,
    /// The text for --fit and --bpw, like those the model is made for, in UTF-8 [default: a mixture of prose, dialogue
    /// and code]
    #[arg(long, value_name = "FILE", requires = "budget")]
    text: Option<PathBuf>,
    /// Windows of that text, of 256 tokens, that the model reads once for each of its matrices
    #[arg(long, value_name = "N", requires = "budget", default_value_t = 4, value_parser = count)]
    windows: usize,
}

impl FitArguments {
    /// The text's file, if one is named.
    pub(super) fn text(&self) -> Option<&PathBuf> {
        self.text.as_ref()
    }

    fn budget(&self) -> Result<Budget> {
        let bits = self.bpw.map(|BitsPerWeight(bits)| Budget::BitsPerWeight(bits));
        self.fit.map(|Size(bytes)| Budget::File(bytes)).or(bits).context("expected --fit or --bpw")
    }

    /// Chooses the types of `model`'s tensors for the budget. `kept` are the types that are chosen already; without an
    /// `importance` it is measured first. The model is run in sessions with the options `session`.
    ///
    /// # Errors
    /// A budget that is too small, a model that cannot be run, and what is wrong with weights or text.
    pub(super) fn run(
        &self,
        model: &Model,
        kept: &[Option<TensorType>],
        importance: Option<Importance>,
        pack: bool,
        session: &SessionOptions,
        pool: &ThreadPool,
    ) -> Result<Fitted> {
        const STYLE: &str = "{bar:32} {pos} of {len} matrices {eta:>4} {wide_msg}";
        let budget = self.budget()?;
        let text = Text::open(self.text.as_deref())?;
        let mut matrices = matrices(model, kept)?;
        let expected = Importance::expected(&text.name);
        let described = importance.as_ref().unwrap_or(&expected);
        // Nothing is measured before it is known that the budget is large enough.
        let room = Room::new(model, &matrices, budget, described, pack)?;
        let full = runnable(model, pool)?;
        let options = |context| SessionOptions { context: Some(context), ..*session };
        let importance = match importance {
            Some(importance) => importance,
            None => {
                let chunk = CHUNK.min(full.context_length());
                let imatrix = Imatrix::measure(&full, &text, u32::try_from(chunk)?, None, &options(chunk))?;
                Importance::measured(imatrix, &model.tensors)?
            }
        };
        let window = WINDOW.min(full.context_length());
        let windows =
            Windows::new(&full, &text.text, window, usize::MAX).with_context(|| text.name.clone())?;
        let windows = windows.spread(self.windows);
        let meter = Meter::new(full, windows, options(window), pool)?;
        let progress = progress::bar(matrices.len() as u64, STYLE);
        for matrix in &mut matrices {
            progress.set_message(matrix.tensor.name.clone());
            matrix.measure(&meter, importance.of(&matrix.tensor.name), pool)?;
            progress.inc(1);
        }
        progress.finish_and_clear();
        let chosen = room.choose(&matrices)?;
        Ok(Fitted::new(model, &matrices, &chosen, budget, importance))
    }
}
