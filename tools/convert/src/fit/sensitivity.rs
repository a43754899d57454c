use crate::model::Tensor;
use crate::quantize::mix::{Choice, is_quantized, unquantized};
use crate::quantize::plan::{Plan, Recipe};
use crate::quantize::rows;
use anyhow::{Context, Result, ensure};
use rayon::ThreadPool;
use rayon::prelude::*;
use siskin::gguf::Gguf;
use siskin::{Model, Session, SessionOptions};
use siskin_kit::divergence::kl_divergence;
use siskin_kit::in_file;
use siskin_kit::perplexity::Windows;
use siskin_quant::TensorType;
use std::io::BufWriter;

/// The model to be quantized, in the types that it comes in, as one that can be run. A checkpoint becomes a file in the
/// folder for temporary ones first, which goes away once it is loaded.
///
/// # Errors
/// Weights that are not finite, and what keeps the model from being loaded.
pub(super) fn runnable(model: &crate::model::Model, pool: &ThreadPool) -> Result<Model> {
    if let Some(file) = &model.mapped {
        for tensor in &model.tensors {
            // Weights that are no numbers are named here, before the model computes nonsense with them.
            rows::convert(tensor, tensor.ty, None, pool, |_, _| Ok(()))?;
        }
        return Model::from_gguf(file).map_err(|error| in_file(file, error));
    }
    let same = |tensor: &Tensor| match is_quantized(tensor) {
        true => Choice::exactly(tensor.ty),
        false => unquantized(&tensor.name, tensor.ty),
    };
    let choices: Vec<_> = model.tensors.iter().map(same).collect();
    let plan = Plan::new(model, &choices, Recipe::fitted(model, &choices), None, false)?;
    let place = tempfile::NamedTempFile::new().context("a temporary file for the whole model")?;
    let name = place.path().display().to_string();
    plan.stream([(BufWriter::with_capacity(1 << 20, place.as_file()), name.as_str())], pool)?;
    Ok(Model::from_gguf(&Gguf::open(place.path())?)?)
}

/// Measures how far a model's predictions are from what they were, when one of its matrices is another.
pub(super) struct Meter<'a> {
    model: Model,
    windows: Windows,
    options: SessionOptions,
    pool: &'a ThreadPool,
    /// The model's logits at all scored positions of the windows.
    reference: Vec<f32>,
}

impl<'a> Meter<'a> {
    /// Runs `model` through the windows. Its logits are kept, 4 bytes for each token of the vocabulary at each scored
    /// position.
    ///
    /// # Errors
    /// What the session returns, and logits that are no numbers.
    pub(super) fn new(
        model: Model,
        windows: Windows,
        options: SessionOptions,
        pool: &'a ThreadPool,
    ) -> Result<Meter<'a>> {
        let mut reference = Vec::new();
        windows.run(&mut model.session(&options)?, |_, logits| {
            ensure!(logits.iter().all(|logit| logit.is_finite()), "the model's logits are not all numbers");
            reference.extend_from_slice(logits);
            Ok(())
        })?;
        Ok(Meter { model, windows, options, pool, reference })
    }

    /// The mean KL divergence in nats from the whole model, of one that has `rows` of type `ty` as its matrix `name`.
    /// It does not depend on the number of threads.
    ///
    /// # Errors
    /// What the session returns, and logits that are no numbers.
    pub(super) fn divergence(&self, name: &str, ty: TensorType, rows: &[u8]) -> Result<f64> {
        let mut session = self.model.with_matrix(name, ty, rows)?.session(&self.options)?;
        let divergences = self.divergences(&mut session)?;
        let mean = divergences.iter().sum::<f64>() / divergences.len().max(1) as f64;
        ensure!(mean.is_finite(), "the model's logits are not all numbers with {name} in {ty}");
        Ok(mean)
    }

    /// The divergence at each scored position.
    fn divergences(&self, session: &mut Session) -> Result<Vec<f64>> {
        let vocabulary = self.model.vocabulary();
        let mut divergences = Vec::new();
        // A window's logits at a time, as it takes all threads to compare them.
        let mut logits = Vec::new();
        let mut window = 0;
        let mut compare = |logits: &mut Vec<f32>| {
            let reference = self.reference.chunks_exact(vocabulary).skip(divergences.len());
            let pairs: Vec<_> = reference.zip(logits.chunks_exact(vocabulary)).collect();
            let each = pairs.par_iter().map(|(reference, logits)| kl_divergence(reference, logits));
            divergences.extend(self.pool.install(|| each.collect::<Vec<f64>>()));
            logits.clear();
        };
        self.windows.run(session, |scored, row| {
            if scored.window != window {
                compare(&mut logits);
                window = scored.window;
            }
            logits.extend_from_slice(row);
            Ok(())
        })?;
        compare(&mut logits);
        Ok(divergences)
    }
}
