//! The flags of work that others have to live beside.

use crate::sensors::governor::Governor;
use anyhow::{Context, Result, anyhow};
use clap::Args;
use rustix::thread::{CpuSet, sched_setaffinity};
use siskin::SessionOptions;
use siskin::machine::{self, Machine, Tree};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// How the program shares the machine. None of the flags changes a bit of the result.
#[derive(Debug, Args)]
pub(crate) struct NeighbourArguments {
    /// Let other programs go first, from 1 to 19, those with lower numbers before this one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..=19))]
    nice: Option<i32>,
    /// Keep each thread on a CPU of its own
    #[arg(long)]
    pin: bool,
    /// Stay below this temperature, in degrees Celsius: with fewer threads, or with pauses, while it is near
    #[arg(long, value_name = "DEGREES", value_parser = degrees)]
    max_temp: Option<f64>,
}

fn degrees(text: &str) -> Result<f64, &'static str> {
    let number = text.parse().ok().filter(|degrees| (1.0..=150.0).contains(degrees));
    number.ok_or("expected a number of degrees from 1 to 150")
}

impl NeighbourArguments {
    /// Begins to be a good neighbour, before anything is loaded, and returns the options of a session that is one.
    ///
    /// # Errors
    /// A machine that tells no temperature, where that is to be watched.
    pub(crate) fn begin(&self, options: SessionOptions) -> Result<SessionOptions> {
        if let Some(nice) = self.nice {
            rustix::process::nice(nice).context("--nice")?;
        }
        self.governor(1)?;
        Ok(options.pin(self.pin))
    }

    /// Watches over work that is about to begin with so many threads, which `limit` tells how many of them it may use.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn watch(&self, threads: usize, limit: impl FnOnce(Arc<AtomicUsize>)) -> Result<()> {
        if let Some(mut governor) = self.governor(threads)? {
            let allowed = Arc::new(AtomicUsize::new(threads));
            limit(Arc::clone(&allowed));
            let watch = move || {
                loop {
                    allowed.store(governor.look(), Ordering::Relaxed);
                    thread::sleep(Duration::from_secs(1));
                }
            };
            thread::Builder::new().name("siskin-governor".to_owned()).spawn(watch).context("--max-temp")?;
        }
        // Last, as threads that are started from now on would stay on this CPU too.
        self.pin()
    }

    fn pin(&self) -> Result<()> {
        if self.pin
            && let Some(&place) = Machine::read().places().first()
        {
            machine::pin(place).context("--pin")?;
        }
        Ok(())
    }

    /// Does what starts threads once the work is watched over, and this thread is kept on a CPU already: the new ones may
    /// have all that `allowed` says.
    ///
    /// # Errors
    /// The system's, and those of `start`.
    pub(crate) fn unpinned<T>(&self, allowed: &CpuSet, start: impl FnOnce() -> Result<T>) -> Result<T> {
        if !self.pin {
            return start();
        }
        sched_setaffinity(None, allowed).context("--pin")?;
        let started = start();
        self.pin()?;
        started
    }

    fn governor(&self, threads: usize) -> Result<Option<Governor>> {
        let Some(most) = self.max_temp else { return Ok(None) };
        let governor = Governor::new(Tree::here(), most, threads);
        let silent = || {
            anyhow!("--max-temp: this machine has no sensor in /sys/class/thermal that tells a temperature")
        };
        governor.ok_or_else(silent).map(Some)
    }
}
