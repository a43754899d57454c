//! What it costs to hand out work: an empty parallel region of a session's threads, beside rayon's fork and join of as
//! many empty tasks, which starts inside the pool and so without waking it from outside.
#![forbid(unsafe_code)]

use std::error::Error;
use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use siskin::measure::Threads;

/// Tasks for each thread, as a matrix product has several.
const TASKS: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = siskin_benches::criterion();
    let mut group = criterion.benchmark_group("region");
    for threads in thread_counts() {
        let tasks = TASKS * threads;
        let mut team = Threads::new(threads)?;
        group.bench_function(BenchmarkId::new("siskin", threads), |bencher| {
            bencher.iter(|| team.empty_region(tasks));
        });
        // Its threads spin for a while yet, on cores that the pool needs.
        drop(team);
        bench_rayon(&mut group, &ThreadPoolBuilder::new().num_threads(threads).build()?, tasks);
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}

fn bench_rayon(group: &mut BenchmarkGroup<'_, WallTime>, pool: &ThreadPool, tasks: usize) {
    let threads = pool.current_num_threads();
    group.bench_function(BenchmarkId::new("rayon scope", threads), |bencher| {
        pool.install(|| {
            bencher
                .iter(|| rayon::scope(|scope| (0..tasks).for_each(|task| scope.spawn(move |_| empty(task)))));
        });
    });
    group.bench_function(BenchmarkId::new("rayon par_iter", threads), |bencher| {
        pool.install(|| bencher.iter(|| (0..tasks).into_par_iter().with_max_len(1).for_each(empty)));
    });
}

fn empty(task: usize) {
    black_box(task);
}

/// One, two, and all that the system gives.
fn thread_counts() -> Vec<usize> {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let mut counts = vec![1, 2, all];
    counts.sort_unstable();
    counts.dedup();
    counts
}
