//! What running a model takes: time, memory, energy.

use super::answers::greedy;
use super::energy::Meter;
use super::metrics::Figures;
use crate::bench::{Series, decode, prefill, tokens};
use anyhow::Result;
use siskin::machine::{Memory, Tree};
use siskin::{Model, Session};
use std::time::Instant;

/// Tokens of the prompt whose first answer is waited for: a question.
const QUESTION: usize = 64;
/// Tokens of a decode.
const DECODE: usize = 64;

/// How the speed is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Tokens of a prefill.
    pub(super) prompt: usize,
    /// How often everything is timed; the median counts.
    pub(super) runs: usize,
}

/// Opens a model and a session with `open`, measures them and returns them. The process should be new: its peak memory
/// is taken for the model's.
pub(super) fn measure(
    plan: Plan,
    open: impl Fn() -> Result<(Model, Session)>,
    figures: &mut Figures,
) -> Result<(Model, Session)> {
    let (mut model, mut session) = open()?;
    let room = session.context();
    let tokens = tokens(plan.prompt.max(QUESTION).max(DECODE).min(room), model.vocabulary());
    let first = |count: usize| tokens.get(..count.min(room)).unwrap_or(&tokens);

    // The first run warms up, and touches all the memory that there is to be touched.
    prefill(&mut session, first(plan.prompt))?;
    decode(&mut session, first(DECODE))?;
    let peak = Memory::here().peak;
    figures.extend(peak.map(|bytes| ("peak_mib".to_owned(), mebibytes(bytes))));

    let mut loads = Vec::new();
    for _ in 0..plan.runs {
        // No two models are in memory at once.
        drop((model, session));
        let start = Instant::now();
        (model, session) = open()?;
        loads.push(start.elapsed().as_secs_f64() * 1e3);
    }

    let tree = Tree::here();
    let meter = Meter::find(&tree);
    let (mut waits, mut prefills, mut decodes, mut joules) = (vec![], vec![], vec![], vec![]);
    for _ in 0..plan.runs {
        waits.push(time_to_first_token(&model, &mut session, first(QUESTION))?);
        prefills.extend(prefill(&mut session, first(plan.prompt))?);
        let mut work = || decode(&mut session, first(DECODE));
        let (speed, energy) = match &meter {
            Some(meter) => meter.joules(&tree, work),
            None => (work(), None),
        };
        decodes.extend(speed?);
        joules.extend(energy.map(|joules| joules / first(DECODE).len() as f64));
    }
    let medians = [
        ("load_ms", loads),
        ("ttft_ms", waits),
        ("prefill_tps", prefills),
        ("decode_tps", decodes),
        ("joules_per_token", joules),
    ];
    for (name, samples) in medians {
        figures.extend(Series::new(samples).map(|series| (name.to_owned(), series.median)));
    }
    Ok((model, session))
}

/// Milliseconds from a prompt to the first token of its answer.
fn time_to_first_token(model: &Model, session: &mut Session, prompt: &[u32]) -> Result<f64> {
    let mut sampler = session.sampler(&greedy(model))?;
    session.clear();
    let start = Instant::now();
    session.feed(prompt)?;
    sampler.sample(session.logits()?);
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// Bytes in MiB.
pub(super) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
