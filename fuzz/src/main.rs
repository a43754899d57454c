//! Calls a target with its seeds, with what was found before, and with seeds that it has changed.
//!
//! An input follows from its number, so a finding is made again by `siskin-fuzz TARGET --first NUMBER --executions 1`.

#![allow(clippy::disallowed_methods, reason = "what is fuzzed reads files that are made here")]

use anyhow::{Context, Result, bail};
use clap::Parser;
use rustix::process::{Resource, Rlimit, setrlimit};
use siskin_fuzz::{TARGETS, Target, found, mutate};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Calls a target with hostile bytes.
#[derive(Parser)]
struct Arguments {
    /// Which one: gguf, tokenizer, template, state, adapter, ...
    target: String,
    /// Files to hand over instead of what is made.
    files: Vec<PathBuf>,
    /// The number of the first input.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Inputs to make, at most.
    #[arg(long, default_value_t = u64::MAX)]
    executions: u64,
    /// Seconds to go on for, at most.
    #[arg(long, default_value_t = u64::MAX)]
    seconds: u64,
    /// Writes the seeds into this folder, for libFuzzer, and ends.
    #[arg(long)]
    seeds: Option<PathBuf>,
    /// Writes the first input into this file, and ends.
    #[arg(long)]
    write: Option<PathBuf>,
}

/// Memory that a target may ask for: an allocation beyond it ends the process.
const MEMORY: u64 = 4 << 30;
/// Seconds that one input may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The number of the input that is under way.
static CURRENT: AtomicU64 = AtomicU64::new(0);

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let target = TARGETS.iter().find(|target| target.name == arguments.target);
    let names = TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
    let target = target.with_context(|| format!("{}: expected one of {names}", arguments.target))?;
    let seeds = (target.seeds)();
    if let Some(folder) = &arguments.seeds {
        std::fs::create_dir_all(folder)?;
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
        return Ok(());
    }
    if let Some(path) = &arguments.write {
        return Ok(std::fs::write(path, mutate::input(&seeds, arguments.first))?);
    }
    setrlimit(Resource::As, Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) })?;
    if !arguments.files.is_empty() {
        for path in &arguments.files {
            (target.run)(&std::fs::read(path).with_context(|| path.display().to_string())?);
        }
        return Ok(());
    }
    for (name, input) in found(target.name) {
        eprintln!("{name}");
        (target.run)(&input);
    }
    run(target, &seeds, &arguments)
}

fn run(target: &'static Target, seeds: &[Vec<u8>], arguments: &Arguments) -> Result<()> {
    tell_of_panics(target.name);
    watch(target.name);
    let start = Instant::now();
    let mut reported = start;
    let mut number = arguments.first;
    while number - arguments.first < arguments.executions && start.elapsed().as_secs() < arguments.seconds {
        CURRENT.store(number, Ordering::Relaxed);
        (target.run)(&mutate::input(seeds, number));
        number += 1;
        if reported.elapsed() > Duration::from_secs(60) {
            reported = Instant::now();
            eprintln!("{}: {} executions", target.name, number - arguments.first);
        }
    }
    let (executions, seconds) = (number - arguments.first, start.elapsed().as_secs_f64());
    println!("{}: {executions} executions in {seconds:.0} s, nothing found", target.name);
    if executions == 0 {
        bail!("{}: nothing was executed", target.name);
    }
    Ok(())
}

fn tell_of_panics(name: &'static str) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        before(info);
        eprintln!("siskin-fuzz {name} --first {} --executions 1", CURRENT.load(Ordering::Relaxed));
    }));
}

/// Ends the process where an input takes too long.
fn watch(name: &'static str) {
    std::thread::spawn(move || {
        let mut seen = u64::MAX;
        loop {
            std::thread::sleep(PATIENCE);
            let current = CURRENT.load(Ordering::Relaxed);
            if current == seen {
                eprintln!("siskin-fuzz {name} --first {current} --executions 1: longer than {PATIENCE:?}");
                std::process::exit(1);
            }
            seen = current;
        }
    });
}
