//! Resident threads for parallel regions.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use crate::arena::Split;
use crate::cpus::{allowed_cpus, pin};

/// Resident threads that share the tasks of a parallel region with the thread that opens it.
///
/// Each thread has an equal share of a region's tasks, one after the other, and helps with the others' shares when it
/// is through: fast cores do more. A worker that the kernel has not scheduled is not waited for: the region closes
/// when its tasks are taken, and only the workers that joined before have to finish.
///
/// No more threads are started than there are CPUs for: one too many would take the CPU from another in the middle of
/// a task that the region then waits for.
pub struct Team {
    shared: Arc<Shared>,
    workers: Vec<Worker>,
    /// As many as were asked for.
    threads: usize,
    /// Threads that a region may have at most, for now.
    limit: Arc<AtomicUsize>,
}

struct Worker {
    handle: Option<JoinHandle<()>>,
    thread: Thread,
}

/// Called with the number of the thread, below [`Team::threads`], and that of the task.
type Region<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// What different threads write, kept apart: each on cache lines of its own, two because of adjacent-line prefetch.
#[repr(align(128))]
struct Apart<T>(T);

struct Shared {
    /// The region's number in the upper half, [`OPEN`], and in the lower bits how many workers have joined.
    gate: Apart<AtomicU64>,
    /// The open region. Written while no worker is inside, read after joining.
    region: Apart<UnsafeCell<Option<Work>>>,
    /// How many tasks of each thread's share are taken.
    taken: Box<[Apart<AtomicUsize>]>,
    /// Threads that the open region is for, the first ones; stored before the gate opens.
    active: AtomicUsize,
    /// Workers that are up.
    started: AtomicUsize,
    parked: Box<[AtomicBool]>,
    panicked: AtomicBool,
    /// Why a worker could not come up as it was to.
    failure: Mutex<Option<std::io::Error>>,
    stop: AtomicBool,
}

#[derive(Clone, Copy)]
struct Work {
    tasks: usize,
    /// Threads that each have a share of them.
    threads: usize,
    region: &'static Region<'static>,
}

const OPEN: u64 = 1 << 31;
const JOINED: u64 = OPEN - 1;
const NUMBER: u64 = 1 << 32;

/// How long a thread spins before it parks or yields: longer than the serial part between two regions of a layer.
const SPIN: Duration = Duration::from_micros(50);

// SAFETY: `region` is written by the team's owner only while the gate is closed and nobody has joined, and read only
// by workers that joined an open gate; the gate's acquire and release order the two.
unsafe impl Sync for Shared {}
// SAFETY: as for `Sync`; the reference inside points to a `Sync` function.
unsafe impl Send for Shared {}

impl Team {
    /// A team of `threads` (at least 1), the calling thread among them.
    ///
    /// # Errors
    /// The system's, when it grants no thread.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        Self::on(allowed_cpus(), threads, &[])
    }

    /// The same, whose threads stay each on one of these CPUs. The first is the calling thread's, which stays as free as
    /// it is.
    ///
    /// # Errors
    /// As above, or that a thread may not run on its CPU.
    pub fn pinned(threads: usize, cpus: &[usize]) -> std::io::Result<Self> {
        Self::on(cpus.len(), threads, cpus)
    }

    /// Bytes that the workers of a team of `threads` take, at most: what is used of their stacks, what the C library
    /// keeps for them, and what its allocator begins with.
    pub fn worker_bytes(threads: usize) -> usize {
        const EACH: usize = 96 << 10;
        EACH * threads.min(allowed_cpus()).saturating_sub(1)
    }

    /// A team whose calling thread does the work of all.
    pub fn alone(threads: usize) -> Self {
        Team { shared: Arc::new(Shared::new(0)), workers: Vec::new(), threads, limit: no_limit() }
    }

    /// A team for a process that may run on so many CPUs, its threads pinned where places are named.
    fn on(cpus: usize, threads: usize, places: &[usize]) -> std::io::Result<Self> {
        let helpers = threads.min(cpus).saturating_sub(1);
        let shared = Arc::new(Shared::new(helpers));
        let workers = Vec::with_capacity(helpers);
        let mut team = Team { shared: Arc::clone(&shared), workers, threads, limit: no_limit() };
        for index in 0..helpers {
            let shared = Arc::clone(&shared);
            let place = places.get(index + 1).copied();
            let handle =
                std::thread::Builder::new().name(format!("siskin-{}", index + 1)).spawn(move || {
                    if let Some(Err(error)) = place.map(pin)
                        && let Ok(mut failure) = shared.failure.lock()
                    {
                        *failure = Some(error);
                    }
                    shared.work(index);
                })?;
            team.workers.push(Worker { thread: handle.thread().clone(), handle: Some(handle) });
        }
        // A thread allocates as it comes up: that must not fall into the work.
        while shared.started.load(Ordering::Acquire) < helpers {
            std::thread::yield_now();
        }
        match shared.failure.lock().ok().and_then(|mut failure| failure.take()) {
            Some(error) => Err(error),
            None => Ok(team),
        }
    }

    /// Has regions be for no more threads than this says as they begin, at least one. Those that are left out park.
    pub fn limit(&mut self, limit: Arc<AtomicUsize>) {
        self.limit = limit;
    }

    /// How many threads the work is to be divided for: no thread's number is as large.
    pub fn threads(&self) -> usize {
        self.threads.max(1)
    }

    /// Runs `task(i, part i)` for every part of `split`, each once, in no particular order.
    pub fn for_each<S: Split>(&mut self, split: S, task: impl Fn(usize, S::Part) + Sync) {
        // SAFETY: `run` calls the function once for each number, and the split is used up.
        self.run(split.parts(), &|_, i| task(i, unsafe { split.part(i) }));
    }

    /// The same with something of each thread's own: `locals` has at least [`Team::threads`].
    pub fn for_each_with<T: Send, S: Split>(
        &mut self,
        locals: &mut [T],
        split: S,
        task: impl Fn(&mut T, usize, S::Part) + Sync,
    ) {
        assert!(locals.len() >= self.threads(), "{} locals for {} threads", locals.len(), self.threads());
        let locals = Locals(locals.as_mut_ptr());
        self.run(split.parts(), &|thread, i| {
            // SAFETY: a thread's number is below their count, which was compared with the length, and no two threads
            // have the same; a thread does one task at a time. `run` calls the function once for each part.
            let (local, part) = unsafe { (locals.of(thread), split.part(i)) };
            task(local, i, part);
        });
    }

    /// The same, alone where `tokens` are so few that waking the workers would cost more than they save.
    pub fn for_each_of<S: Split>(&mut self, tokens: usize, split: S, task: impl Fn(usize, S::Part) + Sync) {
        const FEW: usize = 4;
        if tokens > FEW {
            return self.for_each(split, task);
        }
        for i in 0..split.parts() {
            // SAFETY: each number once, and the split is used up.
            task(i, unsafe { split.part(i) });
        }
    }

    /// Runs `task(i)` for every i below `tasks`, each once.
    fn run(&mut self, tasks: usize, task: &Region<'_>) {
        let threads = self.limit.load(Ordering::Relaxed).clamp(1, self.workers.len() + 1);
        if tasks <= 1 || threads == 1 {
            (0..tasks).for_each(|i| task(0, i));
            return;
        }
        let shared = &*self.shared;
        // SAFETY: the function outlives its use: this call returns, or unwinds, only when every worker that has seen
        // the reference has left the region.
        let region = unsafe { std::mem::transmute::<&Region<'_>, &'static Region<'static>>(task) };
        // SAFETY: the gate is closed and nobody is inside, so no worker reads the cell.
        unsafe { *shared.region.0.get() = Some(Work { tasks, threads, region }) };
        for taken in &shared.taken {
            taken.0.store(0, Ordering::Relaxed);
        }
        shared.active.store(threads, Ordering::Relaxed);
        let number = shared.gate.0.load(Ordering::Relaxed) & !(NUMBER - 1);
        shared.gate.0.store(number.wrapping_add(NUMBER) | OPEN, Ordering::SeqCst);
        // Pairs with the fence of a worker that is about to park: it sees the open gate, or is seen parked here.
        fence(Ordering::SeqCst);
        for (worker, parked) in self.workers.iter().zip(&shared.parked).take(threads - 1) {
            if parked.load(Ordering::Relaxed) && parked.swap(false, Ordering::Relaxed) {
                worker.thread.unpark();
            }
        }
        let outcome =
            catch_unwind(AssertUnwindSafe(|| shared.take_tasks(0, Work { tasks, threads, region })));
        shared.gate.0.fetch_and(!OPEN, Ordering::AcqRel);
        let mut patience = Patience::new();
        while shared.gate.0.load(Ordering::Acquire) & JOINED != 0 {
            if !patience.spin() {
                std::thread::yield_now();
            }
        }
        // Taken back before this thread's own panic goes on, or the next region would end with it.
        let panicked = shared.panicked.swap(false, Ordering::Relaxed);
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
        if panicked {
            resume_unwind(Box::new("a task of a parallel region panicked"));
        }
    }
}

/// A limit that is none.
fn no_limit() -> Arc<AtomicUsize> {
    Arc::new(AtomicUsize::new(usize::MAX))
}

/// The first of the threads' locals.
struct Locals<T>(*mut T);

// SAFETY: hands out exclusive references to values that may be sent to other threads.
unsafe impl<T: Send> Sync for Locals<T> {}

impl<T> Locals<T> {
    /// # Safety
    /// The number is that of a local, which nobody else holds.
    #[expect(clippy::mut_from_ref, reason = "stands for an exclusive borrow of the slice")]
    unsafe fn of(&self, thread: usize) -> &mut T {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.0.add(thread) }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for worker in &mut self.workers {
            worker.thread.unpark();
            if let Some(handle) = worker.handle.take() {
                // A worker catches its tasks' panics, so it has none to report.
                let _ = handle.join();
            }
        }
    }
}

impl Shared {
    fn new(helpers: usize) -> Self {
        Self {
            gate: Apart(AtomicU64::new(0)),
            region: Apart(UnsafeCell::new(None)),
            taken: (0..=helpers).map(|_| Apart(AtomicUsize::new(0))).collect(),
            active: AtomicUsize::new(0),
            started: AtomicUsize::new(0),
            parked: (0..helpers).map(|_| AtomicBool::new(false)).collect(),
            panicked: AtomicBool::new(false),
            failure: Mutex::new(None),
            stop: AtomicBool::new(false),
        }
    }

    /// A worker's life: waits for a region that it has not seen, joins, takes tasks, leaves.
    fn work(&self, index: usize) {
        self.started.fetch_add(1, Ordering::Release);
        let mut seen = 0;
        while let Some(number) = self.await_region(seen, index) {
            seen = number;
            if !self.join(number) {
                continue;
            }
            // SAFETY: this worker joined while the gate was open, so the cell holds the region and is not written
            // before it leaves.
            let work = unsafe { *self.region.0.get() };
            if let Some(work) = work
                && catch_unwind(AssertUnwindSafe(|| self.take_tasks(index + 1, work))).is_err()
            {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.gate.0.fetch_sub(1, Ordering::Release);
        }
    }

    /// Takes tasks until none is left: those of the thread's own share, then those of the next thread's, and so on.
    fn take_tasks(&self, thread: usize, work: Work) {
        let threads = work.threads;
        for share in (thread..threads).chain(0..thread) {
            let (first, end) = (share * work.tasks / threads, (share + 1) * work.tasks / threads);
            let taken = &self.taken[share].0;
            // Looks first: writing would take the cache line away from whoever works on that share.
            while first + taken.load(Ordering::Relaxed) < end {
                let task = first + taken.fetch_add(1, Ordering::Relaxed);
                if task < end {
                    (work.region)(thread, task);
                }
            }
        }
    }

    /// Enters region `number` unless it has closed.
    fn join(&self, number: u64) -> bool {
        let mut gate = self.gate.0.load(Ordering::Relaxed);
        while gate & OPEN != 0 && gate & !(NUMBER - 1) == number {
            match self.gate.0.compare_exchange_weak(gate, gate + 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => gate = now,
            }
        }
        false
    }

    /// The number of an open region for this worker, other than `seen`; None when the team stops.
    fn await_region(&self, seen: u64, index: usize) -> Option<u64> {
        let fresh = || {
            let gate = self.gate.0.load(Ordering::Acquire);
            let number = gate & !(NUMBER - 1);
            // Read after the gate, which opened after it was stored.
            let active = index + 1 < self.active.load(Ordering::Relaxed);
            (active && gate & OPEN != 0 && number != seen).then_some(number)
        };
        let mut patience = Patience::new();
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            if let Some(number) = fresh() {
                return Some(number);
            }
            if patience.spin() {
                continue;
            }
            let parked = self.parked.get(index)?;
            parked.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            if fresh().is_none() && !self.stop.load(Ordering::SeqCst) {
                std::thread::park();
            }
            parked.store(false, Ordering::Relaxed);
            patience = Patience::new();
        }
    }
}

/// Spins for [`SPIN`], then says that it is over.
struct Patience {
    rounds: u32,
    since: Option<Instant>,
}

impl Patience {
    fn new() -> Self {
        Self { rounds: 0, since: None }
    }

    fn spin(&mut self) -> bool {
        std::hint::spin_loop();
        self.rounds += 1;
        // The clock is read rarely: reading it costs as much as some dozen rounds.
        if !self.rounds.is_multiple_of(64) {
            return true;
        }
        self.since.get_or_insert_with(Instant::now).elapsed() < SPIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Chunks;

    /// A team that has all its threads, on whatever CPUs the tests have.
    fn team(threads: usize) -> Team {
        Team::on(threads, threads, &[]).unwrap()
    }

    #[test]
    fn every_task_runs_once_at_any_team_size() {
        for threads in 1..=if cfg!(miri) { 3 } else { 5 } {
            let mut team = team(threads);
            assert_eq!(team.threads(), threads);
            for tasks in if cfg!(miri) { (0..6).chain([30]) } else { (0..40).chain([1000]) } {
                let mut counts = vec![0u8; tasks];
                team.for_each(Chunks::new(&mut counts, 1), |_, part| part[0] += 1);
                assert!(counts.iter().all(|&c| c == 1), "{threads} threads, {tasks} tasks");
            }
        }
    }

    #[test]
    fn each_thread_has_its_own_local() {
        let mut team = team(3);
        const TASKS: usize = if cfg!(miri) { 50 } else { 1000 };
        let (mut locals, mut counts) = ([0usize; 3], vec![0u8; TASKS]);
        team.for_each_with(&mut locals, Chunks::new(&mut counts, 1), |local, _, part| {
            *local += 1;
            part[0] += 1;
        });
        assert_eq!(locals.iter().sum::<usize>(), TASKS);
        assert!(counts.iter().all(|&count| count == 1));
    }

    #[test]
    fn regions_follow_each_other_and_wake_parked_workers() {
        let mut team = team(3);
        let mut sums = vec![0u32; 8];
        const ROUNDS: u32 = if cfg!(miri) { 60 } else { 2000 };
        for round in 0..ROUNDS {
            team.for_each(Chunks::new(&mut sums, 1), |i, part| part[0] += i as u32);
            if round % (ROUNDS / 4) == 0 {
                std::thread::sleep(4 * SPIN);
            }
        }
        assert_eq!(sums, (0..8).map(|i| ROUNDS * i).collect::<Vec<_>>());
    }

    #[test]
    fn no_more_threads_are_started_than_there_are_cpus() {
        for (cpus, threads, started) in [(1, 3, 1), (2, 2, 2), (2, 5, 2), (usize::MAX, 3, 3)] {
            let mut team = Team::on(cpus, threads, &[]).unwrap();
            assert_eq!((team.threads(), team.workers.len() + 1), (threads, started));
            let mut counts = [0u8; 64];
            let mut locals = vec![0usize; threads];
            team.for_each_with(&mut locals, Chunks::new(&mut counts, 1), |local, _, part| {
                *local += 1;
                part[0] += 1;
            });
            assert_eq!((counts, locals[started..].iter().sum::<usize>()), ([1; 64], 0));
        }
    }

    #[test]
    fn no_more_threads_work_than_the_limit_says_and_those_left_out_come_back() {
        let mut team = team(4);
        let limit = Arc::new(AtomicUsize::new(usize::MAX));
        team.limit(Arc::clone(&limit));
        for (round, threads) in
            [4, 1, 3, 0, 2, 4, 2, 100].into_iter().cycle().take(if cfg!(miri) { 24 } else { 400 }).enumerate()
        {
            limit.store(threads, Ordering::Relaxed);
            let (mut locals, mut counts) = ([0usize; 4], [0u8; 64]);
            team.for_each_with(&mut locals, Chunks::new(&mut counts, 1), |local, _, part| {
                *local += 1;
                part[0] += 1;
            });
            let beyond: usize = locals.iter().skip(threads.max(1)).sum();
            assert!(counts == [1; 64] && beyond == 0, "{threads}: {locals:?}");
            if round % 8 == 0 {
                std::thread::sleep(4 * SPIN);
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri's threads have no CPUs to be on")]
    fn pinned_workers_run_where_they_should() {
        let here = rustix::thread::sched_getaffinity(None).unwrap();
        let allowed: Vec<usize> = (0..1024).filter(|&cpu| here.is_set(cpu)).collect();
        let mut team = Team::pinned(allowed.len(), &allowed).unwrap();
        let places = Mutex::new(vec![None::<Vec<usize>>; allowed.len()]);
        let mut locals: Vec<usize> = (0..allowed.len()).collect();
        // All of them take part at once: each waits for the others.
        let barrier = std::sync::Barrier::new(allowed.len());
        let mut parts = vec![0u8; allowed.len()];
        team.for_each_with(&mut locals, Chunks::new(&mut parts, 1), |thread, _, _| {
            barrier.wait();
            let set = rustix::thread::sched_getaffinity(None).unwrap();
            places.lock().unwrap()[*thread] =
                Some((0..1024).filter(|&cpu| set.is_set(cpu)).collect::<Vec<_>>());
        });
        for (thread, place) in places.into_inner().unwrap().into_iter().enumerate() {
            let expected = if thread == 0 { allowed.clone() } else { vec![allowed[thread]] };
            assert_eq!(place, Some(expected), "thread {thread}");
        }
        assert!(Team::pinned(2, &[0, 1023]).is_err());
    }

    #[test]
    fn a_panic_in_a_task_reaches_the_caller_and_leaves_the_team_usable() {
        let mut team = team(3);
        let mut data = vec![0u8; 64];
        let caught = catch_unwind(AssertUnwindSafe(|| {
            team.for_each(Chunks::new(&mut data, 1), |i, _| assert!(i != 40, "as asked"));
        }));
        assert!(caught.is_err());
        let mut again = vec![0u8; 64];
        team.for_each(Chunks::new(&mut again, 1), |_, part| part[0] = 1);
        assert!(again.iter().all(|&x| x == 1));
    }

    #[test]
    fn panics_of_several_threads_in_one_region_are_gone_with_it() {
        let mut team = team(3);
        for _ in 0..if cfg!(miri) { 3 } else { 20 } {
            // All threads are in the region before the first of them panics.
            let barrier = std::sync::Barrier::new(3);
            let caught = catch_unwind(AssertUnwindSafe(|| {
                team.for_each(Chunks::new(&mut [0u8; 3], 1), |_, _| {
                    barrier.wait();
                    resume_unwind(Box::new("as asked"));
                });
            }));
            assert!(caught.is_err());
            let mut again = [0u8; 64];
            team.for_each(Chunks::new(&mut again, 1), |_, part| part[0] += 1);
            assert_eq!(again, [1; 64]);
        }
    }
}
