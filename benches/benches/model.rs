//! Opening a model, prefill and decode through the public API, on one thread and on all of them.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use siskin::{Error, Model, Session, SessionOptions};
use siskin_benches::model_path;

const PROMPT: usize = 128;
const ANSWER: usize = 32;

fn main() -> Result<(), Error> {
    let mut criterion = siskin_benches::criterion();
    let model = bench_open(&mut criterion)?;
    for threads in thread_counts() {
        let options = SessionOptions::default().context(PROMPT + ANSWER).threads(threads);
        let mut session = model.session(&options)?;
        // Which tokens they are makes no difference to the work.
        let tokens: Vec<u32> = (0..model.vocabulary() as u32).cycle().take(PROMPT + ANSWER).collect();
        let (prompt, answer) = tokens.split_at(PROMPT);
        bench_prefill(&mut criterion, &mut session, threads, prompt)?;
        bench_decode(&mut criterion, &mut session, threads, prompt, answer)?;
    }
    criterion.final_summary();
    Ok(())
}

fn thread_counts() -> Vec<usize> {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    if all == 1 { vec![1] } else { vec![1, all] }
}

fn bench_open(criterion: &mut Criterion) -> Result<Model, Error> {
    let path = model_path();
    let model = Model::open(&path)?;
    let mut group = criterion.benchmark_group("open");
    group.throughput(Throughput::Bytes(model.weight_bytes() as u64));
    group.bench_function(model.name(), |bencher| bencher.iter(|| Model::open(black_box(&path))));
    group.finish();
    Ok(model)
}

fn bench_prefill(
    criterion: &mut Criterion,
    session: &mut Session,
    threads: usize,
    prompt: &[u32],
) -> Result<(), Error> {
    session.clear();
    session.feed(prompt)?;
    let mut group = criterion.benchmark_group("prefill");
    group.throughput(Throughput::Elements(prompt.len() as u64));
    group.bench_function(BenchmarkId::new("threads", threads), |bencher| {
        bencher.iter(|| {
            session.clear();
            session.feed(black_box(prompt))
        });
    });
    group.finish();
    Ok(())
}

/// Decoding behind a prompt, which is fed outside the time taken.
fn bench_decode(
    criterion: &mut Criterion,
    session: &mut Session,
    threads: usize,
    prompt: &[u32],
    answer: &[u32],
) -> Result<(), Error> {
    let mut time = |iterations: u64| {
        let mut total = Duration::ZERO;
        for _ in 0..iterations {
            session.clear();
            session.feed(prompt)?;
            let start = Instant::now();
            for token in answer {
                session.feed(black_box(std::slice::from_ref(token)))?;
            }
            total += start.elapsed();
        }
        Ok::<_, Error>(total)
    };
    time(1)?;
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(answer.len() as u64));
    group.bench_function(BenchmarkId::new("threads", threads), |bencher| {
        // It worked once above, and nothing in it depends on how often.
        bencher.iter_custom(|iterations| time(iterations).unwrap_or_default());
    });
    group.finish();
    Ok(())
}
