use anyhow::{Context, Result};
use siskin::gguf::Gguf;
use siskin::machine::{Memory, default_threads};
use siskin::measure::{PeakProbe, ReadProbe};
use siskin::{Adapter, Isa, Model, SequenceId, Sequences, SequencesOptions, Session, SessionOptions};
use siskin_kit::Random;
use std::time::{Duration, Instant};

/// What is to be measured.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// Tokens of a prefill; none if 0. 512 unless it is said.
    pub prompt: usize,
    /// Tokens of a decode; none if 0. 128 unless it is said.
    pub tokens: usize,
    /// Tokens that the context holds already where each of them begins. None unless it is said.
    pub depth: usize,
    /// Sequences that decode as many together, too; none if 1, as it is unless it is said.
    pub parallel: usize,
    /// How often each is timed. 5 times unless it is said.
    pub runs: usize,
    /// How sessions work.
    pub session: SessionOptions,
}

impl Default for Plan {
    fn default() -> Self {
        Self { prompt: 512, tokens: 128, depth: 0, parallel: 1, runs: 5, session: SessionOptions::default() }
    }
}

impl Plan {
    siskin::setters! {
        prompt: usize,
        tokens: usize,
        depth: usize,
        parallel: usize,
        runs: usize,
        session: SessionOptions,
    }
}

/// The figures of all runs, and the facts that make sense of them.
#[derive(Debug)]
pub struct Measured {
    /// The name that the file gives.
    pub model: String,
    /// Instruction set of the kernels.
    pub isa: &'static str,
    /// Threads of a session.
    pub threads: usize,
    /// Bytes of the weights in memory.
    pub weight_bytes: usize,
    /// Bytes of one session.
    pub session_bytes: usize,
    /// See [`Model::bytes_per_token`].
    pub bytes_per_token: usize,
    /// Multiply-adds of a prefill, see [`Model::multiply_adds`].
    pub prefill_multiply_adds: u64,
    /// Bytes, without those of the read probe.
    pub peak_rss: Option<u64>,
    /// The first load, in milliseconds: it may have waited for the disk.
    pub first_load: f64,
    /// Milliseconds.
    pub load: Series,
    /// Tokens per second.
    pub prefill: Option<Series>,
    /// Tokens per second.
    pub decode: Option<Series>,
    /// Tokens per second of all sequences together.
    pub together: Option<Series>,
    /// Tokens per second of one sequence with the adapter.
    pub adapted: Option<Series>,
    /// Milliseconds until an adapter that is in memory as a file is attached.
    pub attach: Option<Series>,
    /// Gigabytes (10^9) read per second.
    pub probe: Option<Series>,
    /// 10^9 multiply-adds per second of the dot products alone.
    pub peak: Option<Series>,
}

/// Opens the model with `open` and runs the plan, a part of it again with the `adapter`. What the memory gives is measured
/// where at least 64 MiB of the `room` bytes beside model and sessions can be had for it.
///
/// # Errors
/// What opening the model and running it returns.
pub fn measure(
    plan: &Plan,
    room: Option<u64>,
    adapter: Option<&Gguf>,
    open: impl Fn() -> Result<Model>,
) -> Result<Measured> {
    let threads = plan.session.threads.unwrap_or_else(default_threads);
    let options = plan.session.clone().threads(threads);
    let load = || -> Result<(Model, Session, f64)> {
        let start = Instant::now();
        let model = open()?;
        let session = model.session(&options)?;
        Ok((model, session, start.elapsed().as_secs_f64() * 1e3))
    };

    let (mut model, mut session, first_load) = load()?;
    let mut loads = Vec::new();
    for _ in 0..plan.runs {
        // Before the next load, so that no two models are in memory at once.
        drop((model, session));
        let time;
        (model, session, time) = load()?;
        loads.push(time);
    }

    let tokens = tokens(plan.depth + plan.prompt.max(plan.tokens), model.vocabulary());
    let (before, tokens) = tokens.split_at(plan.depth);
    let (prompt, answer) = (&tokens[..plan.prompt], &tokens[..plan.tokens]);
    let prefill = |session: &mut Session| -> Result<Option<f64>> {
        if prompt.is_empty() {
            return Ok(None);
        }
        go_back(session, before)?;
        timed(session, prompt, prompt.len())
    };
    let decode = |session: &mut Session| -> Result<Option<f64>> {
        if answer.is_empty() {
            return Ok(None);
        }
        go_back(session, before)?;
        timed(session, answer, 1)
    };
    prefill(&mut session)?;
    decode(&mut session)?;
    let peak_rss = Memory::here().peak;
    let mut many = match plan.parallel {
        1 => None,
        most => Some(Many::new(&model, SequencesOptions::default().most(most).session(options.clone()))?),
    };
    if let Some(many) = &mut many {
        many.decode(before, answer)?;
    }

    let room = room.unwrap_or(u64::MAX);
    let probed = !answer.is_empty() && room >= Probe::LEAST;
    let mut probe = probed.then(|| Probe::new(threads, room)).transpose()?;
    let isa = options.isa.map_or_else(Isa::choose, Ok)?;
    let mut peak = (!prompt.is_empty()).then(|| PeakProbe::new(isa, threads)).transpose()?;
    let (mut prefills, mut probes, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    let (mut decodes, mut together) = (Vec::new(), Vec::new());
    let (mut adapted, mut attached) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        peaks.extend(peak.as_mut().map(gigas_per_second));
        prefills.extend(prefill(&mut session)?);
        probes.extend(probe.as_mut().map(Probe::gigabytes_per_second));
        decodes.extend(decode(&mut session)?);
        if let Some(many) = &mut many {
            together.extend(many.decode(before, answer)?);
        }
        if let Some(file) = adapter {
            let start = Instant::now();
            let adapter = Adapter::from_gguf(file, &model)?;
            session.attach(&adapter, 1.0)?;
            attached.push(start.elapsed().as_secs_f64() * 1e3);
            adapted.extend(decode(&mut session)?);
            session.detach(&adapter);
        }
    }
    Ok(Measured {
        model: model.name().to_owned(),
        isa: session.isa(),
        threads,
        weight_bytes: model.weight_bytes(),
        session_bytes: session.bytes(),
        bytes_per_token: model.bytes_per_token(),
        prefill_multiply_adds: model.multiply_adds(plan.prompt),
        peak_rss,
        first_load,
        load: Series::new(loads).context("no loads")?,
        prefill: Series::new(prefills),
        decode: Series::new(decodes),
        together: Series::new(together),
        adapted: Series::new(adapted),
        attach: Series::new(attached),
        probe: Series::new(probes),
        peak: Series::new(peaks),
    })
}

/// Tokens picked by chance, the same in every run: which they are makes no difference to the work.
pub fn tokens(count: usize, vocabulary: usize) -> Vec<u32> {
    let mut random = Random::new(1);
    (0..count).map(|_| ((u64::from(random.bits()) * vocabulary as u64) >> 32) as u32).collect()
}

/// Tokens per second of a prompt, from an empty context; None of an empty one.
pub fn prefill(session: &mut Session, prompt: &[u32]) -> Result<Option<f64>> {
    session.clear();
    timed(session, prompt, prompt.len())
}

/// Tokens per second, one after the other, from an empty context; None of no tokens.
pub fn decode(session: &mut Session, tokens: &[u32]) -> Result<Option<f64>> {
    session.clear();
    timed(session, tokens, 1)
}

/// Has a session hold the tokens `before` and no others, worked out to the last one.
fn go_back(session: &mut Session, before: &[u32]) -> Result<()> {
    // Behind a cut some states begin anew somewhat before it: that is not to be timed.
    session.truncate(before.len().saturating_sub(1));
    let rest = before.get(session.position()..).unwrap_or_default();
    if !rest.is_empty() {
        session.feed(rest)?;
    }
    Ok(())
}

/// Tokens per second of tokens that are fed so many at a time; None of no tokens.
fn timed(session: &mut Session, tokens: &[u32], at_a_time: usize) -> Result<Option<f64>> {
    let start = Instant::now();
    for tokens in tokens.chunks(at_a_time.max(1)) {
        session.feed(tokens)?;
    }
    Ok(rate(tokens.len(), start.elapsed()))
}

/// Sequences that decode together.
struct Many {
    sequences: Sequences,
    ids: Vec<SequenceId>,
}

impl Many {
    fn new(model: &Model, options: SequencesOptions) -> Result<Many> {
        let mut sequences = model.sequences(&options)?;
        let ids = (0..options.most).map(|_| sequences.join()).collect::<Result<_, _>>()?;
        Ok(Many { sequences, ids })
    }

    /// Tokens per second of all of them, a token of each at a time, behind the tokens `before`; None of no tokens.
    fn decode(&mut self, before: &[u32], tokens: &[u32]) -> Result<Option<f64>> {
        let Many { sequences, ids } = self;
        for (index, id) in ids.iter_mut().enumerate() {
            sequences.truncate(*id, before.len().saturating_sub(1))?;
            // Each from another token on, so that they share nothing.
            let (first, others) = before.split_at(index.min(before.len()));
            let before = [others, first].concat();
            let rest = before.get(sequences.position(*id)?..).unwrap_or_default();
            if !rest.is_empty() {
                sequences.feed(*id, rest)?;
            }
        }
        while sequences.step()? > 0 {}
        let start = Instant::now();
        for token in tokens {
            for id in &mut *ids {
                sequences.feed(*id, std::slice::from_ref(token))?;
            }
            sequences.step()?;
        }
        Ok(rate(tokens.len() * ids.len(), start.elapsed()))
    }
}

fn rate(tokens: usize, time: Duration) -> Option<f64> {
    (tokens > 0).then(|| tokens as f64 / time.as_secs_f64().max(1e-9))
}

/// Reads memory that no cache holds.
struct Probe(ReadProbe);

impl Probe {
    /// Less would be read from a cache.
    const LEAST: u64 = 64 << 20;

    fn new(threads: usize, room: u64) -> Result<Probe> {
        const BYTES: u64 = 256 << 20;
        let most = Memory::here().available.map_or(BYTES, |available| available / 2);
        Ok(Probe(
            ReadProbe::new(threads, usize::try_from(BYTES.min(most).min(room))?).context("the read probe")?,
        ))
    }

    /// The best of a tenth of a second.
    fn gigabytes_per_second(&mut self) -> f64 {
        self.0.bytes_per_second(Duration::from_millis(100)) / 1e9
    }
}

/// 10^9 multiply-adds per second of the instruction set's dot products.
fn gigas_per_second(peak: &mut PeakProbe) -> f64 {
    let start = Instant::now();
    peak.pass() as f64 / start.elapsed().as_secs_f64().max(1e-9) / 1e9
}

/// A figure that was taken several times.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// As they came.
    pub samples: Vec<f64>,
    /// Of an even number the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Series {
    /// None of no samples.
    pub fn new(samples: Vec<f64>) -> Option<Series> {
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let (lower, upper) = (sorted.get((sorted.len() - 1) / 2)?, sorted.get(sorted.len() / 2)?);
        Some(Series { samples, median: (lower + upper) / 2.0, min, max })
    }
}

impl Measured {
    /// Gigabytes of weights that decoding reads per second.
    pub(super) fn decode_gbps(&self) -> Option<f64> {
        Some(self.decode.as_ref()?.median * self.bytes_per_token as f64 / 1e9)
    }

    /// What decoding reads, in percent of what the memory gives.
    pub(super) fn decode_percent(&self) -> Option<f64> {
        Some(self.decode_gbps()? / self.probe.as_ref()?.max * 100.0)
    }

    /// 10^9 multiply-adds per second of prefill, over `prompt` tokens.
    pub(super) fn prefill_gmacs(&self, prompt: usize) -> Option<f64> {
        let seconds = prompt as f64 / self.prefill.as_ref()?.median;
        Some(self.prefill_multiply_adds as f64 / seconds / 1e9)
    }

    /// The same in percent of what the dot products alone reach.
    pub(super) fn prefill_percent(&self, prompt: usize) -> Option<f64> {
        Some(self.prefill_gmacs(prompt)? / self.peak.as_ref()?.median * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_series_is_between_two() {
        let of = |samples: &[f64]| {
            Series::new(samples.to_vec()).map(|series| (series.min, series.median, series.max))
        };
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some((1.0, 2.0, 3.0)));
        assert_eq!(of(&[4.0, 1.0]), Some((1.0, 2.5, 4.0)));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn tokens_are_from_the_whole_vocabulary() {
        let tokens = tokens(1000, 10);
        assert!((0..10).all(|token| tokens.contains(&token)) && tokens.iter().all(|&token| token < 10));
    }
}
