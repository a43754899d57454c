use anyhow::{Context, Result};
use serde::Serialize;
use siskin::measure::ReadProbe;
use std::collections::BTreeSet;
use std::time::Duration;

/// How fast memory is read.
#[derive(Debug, Serialize)]
pub(super) struct Bandwidth {
    /// What a pass reads.
    pub(super) bytes: usize,
    pub(super) reads: Vec<Read>,
}

#[derive(Debug, Serialize)]
pub(super) struct Read {
    pub(super) threads: usize,
    /// Gigabytes (10^9 bytes) per second: the best of some passes.
    pub(super) gbps: f64,
}

/// Reads with one thread, with two and with all, where `all` is more; at most a quarter of the `usable` bytes.
pub(super) fn measure(all: usize, usable: Option<u64>) -> Result<Bandwidth> {
    const BYTES: u64 = 256 << 20;
    let bytes = usize::try_from(usable.map_or(BYTES, |usable| BYTES.min(usable / 4)))?;
    let counts = BTreeSet::from([1, all.min(2), all]);
    let reads = counts.into_iter().map(|threads| read(threads, bytes)).collect::<Result<_>>()?;
    Ok(Bandwidth { bytes, reads })
}

fn read(threads: usize, bytes: usize) -> Result<Read> {
    const TIME: Duration = Duration::from_millis(100);
    let mut probe = ReadProbe::new(threads, bytes).context("the read probe")?;
    Ok(Read { threads, gbps: probe.bytes_per_second(TIME) / 1e9 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_with_each_number_of_threads_once() {
        let counts = |all| {
            let bandwidth = measure(all, Some(8 << 20)).unwrap();
            assert_eq!(bandwidth.bytes, 2 << 20);
            assert!(bandwidth.reads.iter().all(|read| read.gbps > 0.0));
            bandwidth.reads.iter().map(|read| read.threads).collect::<Vec<_>>()
        };
        assert_eq!(counts(1), [1]);
        assert_eq!(counts(2), [1, 2]);
        assert_eq!(counts(3), [1, 2, 3]);
    }
}
