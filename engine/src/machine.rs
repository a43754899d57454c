//! What the Linux machine offers that the process runs on: its CPUs and memory, and how much of them it may use.

mod allocator;
mod limits;
mod memory;
mod tree;

use std::collections::BTreeSet;

pub use allocator::give_back_freed_memory;
pub use limits::Limits;
pub use memory::Memory;
pub(crate) use memory::mapped_programs;
pub use siskin_compute::pin;
#[cfg(test)]
pub(crate) use tree::fake;
pub use tree::{Tree, cpu_list};

/// A CPU as Linux counts them: a hardware thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cpu {
    /// Linux's number of the CPU.
    pub id: usize,
    /// The lowest number among the CPUs of its physical core.
    pub core: usize,
    /// Its speed, where the machine's fastest CPU has 1024: the kernel's `cpu_capacity`, else the highest clock.
    pub speed: u32,
    /// Whether the process may run on it.
    pub allowed: bool,
}

/// The CPUs that are online, and the cgroup's limits.
#[derive(Clone, Debug)]
pub struct Machine {
    cpus: Vec<Cpu>,
    limits: Limits,
}

/// The speed of the fastest CPU.
const FULL_SPEED: u32 = 1024;

impl Machine {
    /// Reads the machine that the process runs on, as the calling thread may use it.
    pub fn read() -> Self {
        Self::of(&Tree::here())
    }

    /// Reads the machine that `tree` describes. What is missing or garbled there is taken for unknown.
    pub fn of(tree: &Tree) -> Self {
        Self { cpus: cpus(tree).unwrap_or_default(), limits: Limits::of(tree) }
    }

    /// The CPUs that are online, in the order of their numbers; none where Linux does not tell them.
    pub fn cpus(&self) -> &[Cpu] {
        &self.cpus
    }

    /// What the process's cgroup limits it to.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Whether a CPU is one of the big ones, not of those that are clearly slower than the machine's fastest.
    pub fn is_big(&self, cpu: &Cpu) -> bool {
        is_big(cpu.speed, FULL_SPEED)
    }

    /// The threads that a session has unless it is told otherwise, at least 1: as many as there are physical cores
    /// that the process may use, the big ones only, within the cgroup's CPU quota. Every further thread would share
    /// a core, or keep the others waiting for a slow one.
    ///
    /// Three quarters of a CPU or more of a quota's rest are worth a thread; with less, the kernel halts all threads for
    /// longer than the additional one works, since those that run wait for those that are halted. SmolLM2 135M decodes
    /// 254 tokens a second with one thread and 178 with two where the quota is 1.5, 278 and 308 where it is 1.75.
    pub fn default_threads(&self) -> usize {
        let within = |quota: f64| ((quota + 0.25).floor() as usize).max(1);
        let cores = self.big_cores().unwrap_or_else(parallelism);
        cores.min(self.limits.cpus.map_or(usize::MAX, within))
    }

    /// The CPUs that the process may use, in the order in which threads should be given them: one of each big core, the
    /// big cores' other hardware threads, then the little ones.
    pub fn places(&self) -> Vec<usize> {
        let mut cpus: Vec<&Cpu> = self.cpus.iter().filter(|cpu| cpu.allowed).collect();
        let fastest = cpus.iter().map(|cpu| cpu.speed).max().unwrap_or(FULL_SPEED);
        let mut cores = BTreeSet::new();
        cpus.sort_by_cached_key(|cpu| (!is_big(cpu.speed, fastest), !cores.insert(cpu.core), cpu.id));
        cpus.into_iter().map(|cpu| cpu.id).collect()
    }

    /// The number of physical cores among the CPUs that are allowed, without those that are slow beside the rest;
    /// None of a machine that is not known.
    fn big_cores(&self) -> Option<usize> {
        let allowed = || self.cpus.iter().filter(|cpu| cpu.allowed);
        let fastest = allowed().map(|cpu| cpu.speed).max()?;
        let big = allowed().filter(|cpu| is_big(cpu.speed, fastest));
        Some(big.map(|cpu| cpu.core).collect::<BTreeSet<_>>().len())
    }
}

/// What [`Machine::default_threads`] says of the machine that the process runs on.
pub fn default_threads() -> usize {
    Machine::read().default_threads()
}

/// Cores of one kind differ by up to a tenth in their highest clocks; kinds of cores differ by a quarter or more.
fn is_big(speed: u32, fastest: u32) -> bool {
    u64::from(speed) * 5 > u64::from(fastest) * 4
}

/// The standard library's answer, for machines that do not say more.
fn parallelism() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn cpus(tree: &Tree) -> Option<Vec<Cpu>> {
    let online = tree.list("sys/devices/system/cpu/online")?;
    let allowed: BTreeSet<usize> = allowed(tree)?.into_iter().collect();
    let speeds = speeds(tree, &online);
    let cpu = |(&id, speed)| Cpu { id, core: core(tree, id, &online), speed, allowed: allowed.contains(&id) };
    Some(online.iter().zip(speeds).map(cpu).collect())
}

/// The CPUs that the calling thread may run on; the threads that it starts may run on the same ones.
fn allowed(tree: &Tree) -> Option<Vec<usize>> {
    let status = tree.text("proc/thread-self/status")?;
    cpu_list(status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?)
}

/// The first CPU of the physical core that `cpu` is a hardware thread of.
fn core(tree: &Tree, cpu: usize, online: &[usize]) -> usize {
    let topology = |cpu: usize, file: &str| format!("sys/devices/system/cpu/cpu{cpu}/topology/{file}");
    if let Some(&first) = tree.list(topology(cpu, "thread_siblings_list")).iter().flatten().min() {
        return first;
    }
    let core = |cpu: usize| {
        let number = |file| tree.number::<i64>(topology(cpu, file));
        Some((number("physical_package_id")?, number("core_id")?))
    };
    let same = |other: &usize| core(cpu).is_some() && core(*other) == core(cpu);
    online.iter().copied().find(same).unwrap_or(cpu)
}

/// The CPUs' speeds: capacities where they differ, else highest clocks, else all the same.
///
/// Capacities come first, as they hold how much a core does in a cycle too. Kernels that give no use of them say 1024
/// of every CPU.
fn speeds(tree: &Tree, cpus: &[usize]) -> Vec<u32> {
    let differ = |speeds: &Vec<u32>| speeds.iter().any(|speed| Some(speed) != speeds.first());
    let from = |file: &str| relative(tree, cpus, file).filter(differ);
    from("cpu_capacity")
        .or_else(|| from("cpufreq/cpuinfo_max_freq"))
        .unwrap_or_else(|| vec![FULL_SPEED; cpus.len()])
}

/// The numbers in a file of each CPU, relative to the largest.
fn relative(tree: &Tree, cpus: &[usize], file: &str) -> Option<Vec<u32>> {
    let number = |cpu| tree.number::<u32>(format!("sys/devices/system/cpu/cpu{cpu}/{file}"));
    let numbers: Vec<u32> = cpus.iter().map(number).collect::<Option<_>>()?;
    let largest = numbers.iter().copied().max().filter(|&largest| largest > 0)?;
    let share = |number: u32| u64::from(number) * u64::from(FULL_SPEED) / u64::from(largest);
    numbers.into_iter().map(|number| u32::try_from(share(number)).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::tree::fake::Fake;
    use super::*;

    /// A machine of so many CPUs, all of which are allowed; each is a core, unless siblings are said later.
    fn fake(cpus: usize) -> Fake {
        let fake = Fake::default();
        let last = cpus - 1;
        fake.write("sys/devices/system/cpu/online", &format!("0-{last}\n"));
        for cpu in 0..cpus {
            of(&fake, cpu, "topology/thread_siblings_list", &cpu.to_string());
        }
        allow(&fake, &format!("0-{last}"));
        fake
    }

    fn of(fake: &Fake, cpu: usize, file: &str, text: &str) {
        fake.write(&format!("sys/devices/system/cpu/cpu{cpu}/{file}"), &format!("{text}\n"));
    }

    fn allow(fake: &Fake, list: &str) {
        fake.write(
            "proc/thread-self/status",
            &format!("Name:\tsiskin\nCpus_allowed:\tff\nCpus_allowed_list:\t{list}\n"),
        );
    }

    fn threads(fake: &Fake) -> usize {
        Machine::of(&fake.tree()).default_threads()
    }

    /// Four little and four big cores, as an RK3588 has them: Cortex-A55 and Cortex-A76.
    fn rk3588() -> Fake {
        let fake = fake(8);
        let capacities = [530, 530, 530, 530, 1024, 1024, 1010, 1010];
        for (cpu, capacity) in capacities.iter().enumerate() {
            of(&fake, cpu, "cpu_capacity", &capacity.to_string());
            // Clocks say less: the little cores do not run that much slower.
            of(&fake, cpu, "cpufreq/cpuinfo_max_freq", if cpu < 4 { "2000000" } else { "2256000" });
        }
        fake
    }

    /// Two big cores with two threads each, and four little ones with one, as in a laptop.
    fn laptop() -> Fake {
        let fake = fake(8);
        for (cpu, siblings) in [(0, "0-1"), (1, "0-1"), (2, "2,3"), (3, "2,3")] {
            of(&fake, cpu, "topology/thread_siblings_list", siblings);
        }
        for cpu in 0..8 {
            of(&fake, cpu, "cpu_capacity", "1024");
            let clock = ["4600000", "4600000", "4700000", "4700000"].get(cpu).unwrap_or(&"3400000");
            of(&fake, cpu, "cpufreq/cpuinfo_max_freq", clock);
        }
        fake
    }

    #[test]
    fn four_equal_cores_are_four_threads() {
        let raspberry_pi_4 = fake(4);
        for cpu in 0..4 {
            of(&raspberry_pi_4, cpu, "cpufreq/cpuinfo_max_freq", "1800000");
        }
        let machine = Machine::of(&raspberry_pi_4.tree());
        assert_eq!(machine.default_threads(), 4);
        assert_eq!(machine.cpus()[3], Cpu { id: 3, core: 3, speed: 1024, allowed: true });
        // Without cpufreq, as a Raspberry Pi 5 in a virtual machine, and with equal capacities.
        let raspberry_pi_5 = fake(4);
        (0..4).for_each(|cpu| of(&raspberry_pi_5, cpu, "cpu_capacity", "1024"));
        assert_eq!(threads(&raspberry_pi_5), 4);
    }

    #[test]
    fn little_cores_get_no_thread() {
        let machine = Machine::of(&rk3588().tree());
        let big: Vec<usize> =
            machine.cpus().iter().filter(|cpu| machine.is_big(cpu)).map(|cpu| cpu.id).collect();
        assert_eq!(big, [4, 5, 6, 7]);
        assert_eq!(machine.default_threads(), 4);
    }

    #[test]
    fn each_big_core_is_a_place_before_its_second_thread_is() {
        assert_eq!(Machine::of(&rk3588().tree()).places(), [4, 5, 6, 7, 0, 1, 2, 3]);
        let laptop = laptop();
        assert_eq!(Machine::of(&laptop.tree()).places(), [0, 2, 1, 3, 4, 5, 6, 7]);
        allow(&laptop, "1,3,5");
        assert_eq!(Machine::of(&laptop.tree()).places(), [1, 3, 5]);
        assert!(Machine::of(&Fake::default().tree()).places().is_empty());
    }

    #[test]
    fn threads_of_one_core_count_once() {
        let machine = Machine::of(&laptop().tree());
        assert_eq!(machine.default_threads(), 2);
        assert_eq!(machine.cpus().iter().map(|cpu| cpu.core).collect::<Vec<_>>(), [0, 0, 2, 2, 4, 5, 6, 7]);
        assert_eq!((machine.cpus()[2].speed, machine.cpus()[7].speed), (1024, 740));
    }

    #[test]
    fn cores_are_also_told_by_their_numbers() {
        let fake = Fake::default();
        fake.write("sys/devices/system/cpu/online", "0-3");
        allow(&fake, "0-3");
        for (cpu, (package, core)) in [(0, 0), (0, 1), (1, 0), (0, 1)].into_iter().enumerate() {
            of(&fake, cpu, "topology/physical_package_id", &package.to_string());
            of(&fake, cpu, "topology/core_id", &core.to_string());
        }
        let cores: Vec<usize> = Machine::of(&fake.tree()).cpus().iter().map(|cpu| cpu.core).collect();
        assert_eq!(cores, [0, 1, 2, 1]);
        assert_eq!(threads(&fake), 3);
    }

    #[test]
    fn affinity_bounds_the_threads() {
        let board = rk3588();
        allow(&board, "5");
        assert_eq!(threads(&board), 1);
        allow(&board, "0-3");
        assert_eq!(threads(&board), 4, "where only little cores are allowed, they are the fastest");
        allow(&board, "0,4,6-7");
        assert_eq!(threads(&board), 3);
        let laptop = laptop();
        allow(&laptop, "0-1");
        assert_eq!(threads(&laptop), 1);
    }

    #[test]
    fn a_quota_bounds_the_threads() {
        let container = fake(8);
        container.write("proc/self/cgroup", "0::/\n");
        container.write("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
        for (quota, expected) in [
            ("20000", 1),
            ("150000", 1),
            ("174000", 1),
            ("175000", 2),
            ("250000", 2),
            ("275000", 3),
            ("400000", 4),
            ("1600000", 8),
        ] {
            container.write("sys/fs/cgroup/cpu.max", &format!("{quota} 100000\n"));
            assert_eq!(threads(&container), expected, "{quota}");
        }
        container.write("sys/fs/cgroup/cpu.max", "max 100000\n");
        assert_eq!(threads(&container), 8);
    }

    #[test]
    fn an_unknown_machine_has_the_threads_that_the_standard_library_says() {
        assert_eq!(threads(&Fake::default()), parallelism());
        let garbled = fake(2);
        allow(&garbled, "0-");
        assert!(Machine::of(&garbled.tree()).cpus().is_empty());
        assert_eq!(threads(&garbled), parallelism());
        allow(&garbled, "7");
        assert_eq!(threads(&garbled), parallelism(), "no CPU that is online is allowed");
    }

    #[test]
    fn garbled_details_make_cpus_equal() {
        let fake = fake(2);
        of(&fake, 0, "cpu_capacity", "512");
        of(&fake, 1, "cpu_capacity", "much");
        of(&fake, 0, "topology/thread_siblings_list", "0-1-2");
        of(&fake, 0, "cpufreq/cpuinfo_max_freq", "0");
        of(&fake, 1, "cpufreq/cpuinfo_max_freq", "0");
        let expected = [0, 1].map(|id| Cpu { id, core: id, speed: 1024, allowed: true });
        assert_eq!(Machine::of(&fake.tree()).cpus(), expected);
    }

    #[test]
    fn this_machine_has_threads() {
        assert!(default_threads() >= 1);
    }
}
