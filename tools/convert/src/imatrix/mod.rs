//! Importance matrices: how large the activations are that each column of a model's matrices meets.

mod collector;
mod file;
mod legacy;

use anyhow::{Context, Result, ensure};
use collector::Collector;
use siskin::{Model, SessionOptions};
use siskin_kit::progress;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// A text that models are measured with.
#[derive(Clone, Debug)]
pub struct Text {
    /// What a file says of it.
    pub name: String,
    /// All of it.
    pub text: Cow<'static, str>,
}

impl Text {
    /// The text in the file at `path`; where none is named the bundled one, of which `tools/convert/calibration/README.md`
    /// says what it is.
    pub fn open(path: Option<&Path>) -> Result<Text> {
        let Some(path) = path else {
            let text = include_str!("../../calibration/text.txt").into();
            return Ok(Text { name: "siskin-calibration".into(), text });
        };
        let name = path.display().to_string();
        let text = siskin_kit::read_text(path)?.into();
        Ok(Text { name, text })
    }
}

impl Imatrix {
    /// Runs the model through a text, in chunks of `size` tokens and `most` of them at most, in a session with `options`
    /// that has room for one.
    ///
    /// # Errors
    /// A chunk that the model's context has no room for, a text that is shorter than one, or a model that computes
    /// nonsense.
    pub fn measure(
        model: &Model,
        text: &Text,
        size: u32,
        most: Option<u32>,
        options: &SessionOptions,
    ) -> Result<Imatrix> {
        const STYLE: &str = "{bar:32} {pos} of {len} chunks {rate:>12} {eta:>4}";
        let most = most.map_or(usize::MAX, |most| most as usize);
        let chunks = chunks(model, &text.text, size as usize, most).with_context(|| text.name.clone())?;
        let mut session = model.session(options)?;
        let mut collector = Collector::default();
        let progress = progress::bar(chunks.len() as u64, STYLE);
        for chunk in &chunks {
            session.clear();
            session.feed_observed(chunk, &mut collector)?;
            progress.inc(1);
        }
        progress.finish_and_clear();
        let chunks = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
        let datasets = vec![text.name.clone()];
        Ok(Imatrix { entries: collector.finish()?, datasets, chunks, chunk_size: size })
    }
}

/// The text's tokens in pieces of a context each, all of which begin as a text does.
fn chunks(model: &Model, text: &str, size: usize, most: usize) -> Result<Vec<Vec<u32>>> {
    let longest = model.context_length();
    ensure!(size <= longest, "chunks of {size} tokens: the model's context has room for {longest}");
    let tokens = model.text_tokens(text);
    let mut chunks: Vec<_> = tokens.chunks_exact(size).take(most).map(<[u32]>::to_vec).collect();
    ensure!(!chunks.is_empty(), "the text is {} tokens long, expected {size} or more", tokens.len());
    let tokenizer = model.tokenizer();
    if let Some(bos) = tokenizer.bos().filter(|_| tokenizer.add_bos()) {
        chunks.iter_mut().filter_map(|chunk| chunk.first_mut()).for_each(|first| *first = bos);
    }
    Ok(chunks)
}

/// An importance matrix: how large the activations are that the columns of each weight matrix meet.
#[derive(Clone, Debug, PartialEq)]
pub struct Imatrix {
    /// By the matrix's name.
    pub entries: BTreeMap<String, Entry>,
    /// Names of the texts that were read.
    pub datasets: Vec<String>,
    /// Number of chunks that the texts were read in; 0 if unknown.
    pub chunks: u32,
    /// Tokens of a chunk; 0 if unknown.
    pub chunk_size: u32,
}

/// What is known of one matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// For each column the sum of the squares of the activations; of a matrix of experts, the sums of one expert after the
    /// other.
    pub sums: Vec<f32>,
    /// Number of squares in each sum: one, or one for each expert.
    pub counts: Vec<f32>,
}

impl Entry {
    /// A weight for each column, of one expert after the other: the mean square, or 1 where nothing was measured.
    pub fn importance(&self) -> Vec<f32> {
        let each = self.sums.chunks(self.columns().max(1)).zip(&self.counts);
        let weights = each.flat_map(|(sums, &count)| {
            sums.iter().map(move |sum| if count == 0.0 { 1.0 } else { sum / count })
        });
        weights.collect()
    }

    /// Columns of the matrix, or of each expert's.
    pub fn columns(&self) -> usize {
        self.sums.len().checked_div(self.counts.len()).unwrap_or(0)
    }

    /// The same of so many experts, where the older format has one count for all: sums are brought to that, and are 0 of an
    /// expert that no token came to.
    #[must_use]
    pub(crate) fn of_experts(mut self, experts: usize) -> Entry {
        if let (&[count], 2..) = (self.counts.as_slice(), experts) {
            let each = self.sums.chunks((self.sums.len() / experts).max(1));
            let is_idle = |sums: &[f32]| sums.iter().all(|&sum| sum == 0.0);
            self.counts = each.map(|sums| if is_idle(sums) { 0.0 } else { count }).collect();
        }
        self
    }

    /// Experts that no token came to.
    pub fn idle(&self) -> usize {
        if self.counts.len() > 1 { self.counts.iter().filter(|&&count| count == 0.0).count() } else { 0 }
    }
}
