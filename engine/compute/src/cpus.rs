//! The CPUs that threads may run on.

/// Keeps the calling thread, and those that it starts, on one CPU.
///
/// # Errors
/// The system's, where the thread may not run there.
pub fn pin(cpu: usize) -> std::io::Result<()> {
    let mut cpus = rustix::thread::CpuSet::new();
    if cpu < rustix::thread::CpuSet::MAX_CPU {
        cpus.set(cpu);
    }
    Ok(rustix::thread::sched_setaffinity(None, &cpus)?)
}

/// The number of CPUs that the calling thread may run on, hardware threads counted; as many as there can be where the
/// system does not say.
pub fn allowed_cpus() -> usize {
    rustix::thread::sched_getaffinity(None).map_or(usize::MAX, |cpus| cpus.count() as usize)
}
