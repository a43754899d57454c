use super::memory::mebibytes;
use crate::machine::{Machine, Memory, Tree};
use std::fmt;

/// Bytes that the process may have in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    bytes: u64,
    by: By,
}

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Caller,
    Machine,
    Cgroup,
}

impl Budget {
    /// As many bytes as the caller says.
    pub fn of(bytes: u64) -> Self {
        Self { bytes, by: By::Caller }
    }

    /// What the machine that the process runs on has left for it (`MemAvailable`), or its control group, whichever is
    /// less, beside what the process has already; less a reserve of a twentieth of all memory, at least 16 MiB and at
    /// most 512 MiB, for whatever else goes on. None where Linux tells neither.
    pub fn here() -> Option<Self> {
        Self::on(&Tree::here())
    }

    /// The same by what `tree` tells.
    pub fn on(tree: &Tree) -> Option<Self> {
        let memory = Memory::of(tree);
        let limits = Machine::of(tree).limits();
        let budget = |left: Option<u64>, all: Option<u64>, by| {
            let reserve = (all? / 20).clamp(16 << 20, 512 << 20);
            let bytes = left?.saturating_sub(reserve).saturating_add(memory.resident.unwrap_or(0));
            Some(Self { bytes, by })
        };
        let machine = budget(memory.available, memory.total, By::Machine);
        let group = budget(limits.memory_left, limits.memory, By::Cgroup);
        [machine, group].into_iter().flatten().min_by_key(|budget| budget.bytes)
    }

    /// How many bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.by {
            By::Caller => "",
            By::Machine => ", what this machine has left for it",
            By::Cgroup => ", what its control group has left for it",
        };
        write!(f, "{:.1} MiB{by}", mebibytes(self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::fake::Fake;

    const MEMORY: &str = "MemTotal: 1048576 kB\nMemAvailable: 524288 kB\n";

    fn machine() -> Fake {
        let fake = Fake::default();
        fake.write("proc/meminfo", MEMORY);
        fake.write("proc/self/status", "VmRSS: 10240 kB\n");
        fake
    }

    #[test]
    fn a_machine_leaves_what_is_available_less_a_reserve() {
        let budget = Budget::on(&machine().tree()).unwrap();
        assert_eq!(budget.bytes(), (512 << 20) - (1 << 30) / 20 + (10 << 20));
        assert_eq!(budget.to_string(), "470.8 MiB, what this machine has left for it");
    }

    #[test]
    fn a_group_that_has_less_left_counts() {
        let fake = machine();
        fake.write("proc/self/cgroup", "0::/\n");
        fake.write("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
        fake.write("sys/fs/cgroup/memory.max", "134217728\n");
        fake.write("sys/fs/cgroup/memory.current", "33554432\n");
        let budget = Budget::on(&fake.tree()).unwrap();
        assert_eq!(budget.bytes(), (96 - 16 + 10) << 20);
        assert_eq!(budget.to_string(), "90.0 MiB, what its control group has left for it");
        fake.write("sys/fs/cgroup/memory.max", "8589934592\n");
        assert!(Budget::on(&fake.tree()).unwrap().to_string().contains("machine"));
    }

    #[test]
    fn nothing_told_is_no_budget() {
        assert_eq!(Budget::on(&Fake::default().tree()), None);
        assert_eq!(Budget::of(3 << 20).to_string(), "3.0 MiB");
    }
}
