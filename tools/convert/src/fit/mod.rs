//! Types chosen for a budget: `docs/quantization.md` says how.

mod budget;
mod candidates;
mod knapsack;
mod report;
mod room;
mod sensitivity;

pub use budget::{BitsPerWeight, Budget};
pub use report::Fitted;

use crate::imatrix::{Imatrix, Text};
use crate::model::Model;
use crate::quantize::Importance;
use anyhow::{Context, Result};
use rayon::ThreadPool;
use room::{Room, matrices};
use sensitivity::{Meter, runnable};
use siskin::SessionOptions;
use siskin_kit::perplexity::Windows;
use siskin_kit::progress;
use siskin_quant::TensorType;

/// Tokens of a window of the text that sensitivities are measured on, where the model's context has room for them.
const WINDOW: usize = 256;
/// The same for the importance matrix: `siskin imatrix` has no other default.
const CHUNK: usize = 512;

/// What a file is fitted to, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fit {
    /// What the file has to keep within.
    pub budget: Budget,
    /// The text that everything is measured on.
    pub text: Text,
    /// Windows of that text that the model reads once for each of its matrices. 4 unless it is said.
    pub windows: usize,
    /// Whether the file will be packed.
    pub pack: bool,
    /// How sessions work; how long they are does not count.
    pub session: SessionOptions,
}

impl Fit {
    /// A file within `budget`, as measured on `text`.
    pub fn new(budget: Budget, text: Text) -> Self {
        Self { budget, text, windows: 4, pack: false, session: SessionOptions::default() }
    }

    siskin::setters! {
        windows: usize,
        pack: bool,
        session: SessionOptions,
    }

    /// Chooses the types of `model`'s tensors for the budget. `kept` are the types that are chosen already; without an
    /// `importance` it is measured first.
    ///
    /// # Errors
    /// A budget that is too small, a model that cannot be run, and what is wrong with weights or text.
    pub fn run(
        &self,
        model: &Model,
        kept: &[Option<TensorType>],
        importance: Option<Importance>,
        pool: &ThreadPool,
    ) -> Result<Fitted> {
        const STYLE: &str = "{bar:32} {pos} of {len} matrices {eta:>4} {wide_msg}";
        let Fit { budget, text, windows, pack, session } = self;
        let mut matrices = matrices(model, kept)?;
        let expected = Importance::expected(&text.name);
        let described = importance.as_ref().unwrap_or(&expected);
        // Nothing is measured before it is known that the budget is large enough.
        let room = Room::new(model, &matrices, *budget, described, *pack)?;
        let full = runnable(model, pool)?;
        let options = |context| session.clone().context(context);
        let importance = match importance {
            Some(importance) => importance,
            None => {
                let chunk = CHUNK.min(full.context_length());
                let imatrix = Imatrix::measure(&full, text, u32::try_from(chunk)?, None, &options(chunk))?;
                Importance::measured(imatrix, &model.tensors)?
            }
        };
        let window = WINDOW.min(full.context_length());
        let all = Windows::new(&full, &text.text, window, usize::MAX).with_context(|| text.name.clone())?;
        let windows = all.spread(*windows);
        let meter = Meter::new(full, windows, options(window), pool)?;
        let progress = progress::bar(matrices.len() as u64, STYLE);
        for matrix in &mut matrices {
            progress.set_message(matrix.tensor.name.clone());
            matrix.measure(&meter, importance.of(&matrix.tensor.name), pool)?;
            progress.inc(1);
        }
        progress.finish_and_clear();
        let chosen = room.choose(&matrices)?;
        Ok(Fitted::new(model, &matrices, &chosen, *budget, importance))
    }
}
