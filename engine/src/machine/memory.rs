use super::Tree;

/// What Linux tells of memory. Sizes are bytes; None is what it does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// Of the whole machine.
    pub total: Option<u64>,
    /// What can be had without swapping (`MemAvailable`).
    pub available: Option<u64>,
    /// What the process has at present, pages of mapped files included (`VmRSS`).
    pub resident: Option<u64>,
    /// The most that the process had at once (`VmHWM`).
    pub peak: Option<u64>,
}

impl Memory {
    /// Reads what `tree` tells of the machine and of the process.
    pub fn of(tree: &Tree) -> Self {
        let info = tree.text("proc/meminfo").unwrap_or_default();
        let status = tree.text("proc/self/status").unwrap_or_default();
        Self {
            total: field(&info, "MemTotal"),
            available: field(&info, "MemAvailable"),
            resident: field(&status, "VmRSS"),
            peak: field(&status, "VmHWM"),
        }
    }

    /// The same of the machine and the process that ask.
    pub fn here() -> Self {
        Self::of(&Tree::here())
    }
}

/// Bytes of the line `name:  123 kB`.
fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.trim().strip_suffix(" kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::super::tree::fake::Fake;
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "VmHWMark:\t 1 kB\nVmHWM:\t    1234 kB\nThreads:\t1\n";
        assert_eq!(field(text, "VmHWM"), Some(1234 * 1024));
        assert_eq!(field(text, "Threads"), None);
        assert_eq!(field(text, "VmPeak"), None);
        assert_eq!(field("VmHWM: 99999999999999999 kB", "VmHWM"), None);
    }

    #[test]
    fn nothing_told_is_nothing_known() {
        assert_eq!(Memory::of(&Fake::default().tree()), Memory::default());
    }

    #[test]
    fn this_process_has_memory() {
        let memory = Memory::here();
        assert!(memory.resident.unwrap() > 1 << 16 && memory.peak >= memory.resident);
        assert!(memory.available.unwrap() <= memory.total.unwrap());
    }
}
