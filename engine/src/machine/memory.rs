use std::collections::HashSet;

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
    /// What of it are pages of mapped files (`RssFile`).
    pub resident_of_files: Option<u64>,
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
            resident_of_files: field(&status, "RssFile"),
            peak: field(&status, "VmHWM"),
        }
    }

    /// The same of the machine and the process that ask.
    pub fn here() -> Self {
        Self::of(&Tree::here())
    }
}

/// Bytes of the files that the process has mapped to run them, the program and its libraries: what `tree` tells in
/// `proc/self/maps`.
pub(crate) fn mapped_programs(tree: &Tree) -> Option<u64> {
    let maps = tree.text("proc/self/maps")?;
    // 7f0c-7f0e r-xp 00002000 fe:00 8154  /usr/lib/libc.so.6
    let mappings: Vec<(u64, &str, &str)> = maps
        .lines()
        .filter_map(|line| {
            let (range, rest) = line.split_once(' ')?;
            let (from, to) = range.split_once('-')?;
            let [from, to] = [from, to].map(|address| u64::from_str_radix(address, 16));
            let name = rest.get(rest.find('/')?..)?;
            Some((to.ok()?.checked_sub(from.ok()?)?, rest.get(..4)?, name))
        })
        .collect();
    let programs: HashSet<&str> =
        mappings.iter().filter(|(_, may, _)| may.contains('x')).map(|&(_, _, name)| name).collect();
    Some(mappings.iter().filter(|(_, _, name)| programs.contains(name)).map(|&(bytes, _, _)| bytes).sum())
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
    fn programs_are_the_files_that_may_be_run() {
        let fake = Fake::default();
        assert_eq!(mapped_programs(&fake.tree()), None);
        let maps = "1000-3000 r--p 00000000 fe:00 21 /usr/bin/a program\n\
                    3000-8000 r-xp 00002000 fe:00 21 /usr/bin/a program\n\
                    8000-9000 rw-p 00000000 00:00 0 [heap]\n\
                    a000-f000 r--s 00000000 fe:00 22 /models/model.gguf\n\
                    ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n";
        fake.write("proc/self/maps", maps);
        assert_eq!(mapped_programs(&fake.tree()), Some(0x7000));
        assert!(mapped_programs(&Tree::here()).unwrap() > 1 << 16);
    }

    #[test]
    fn this_process_has_memory() {
        let memory = Memory::here();
        assert!(memory.resident.unwrap() > 1 << 16 && memory.peak >= memory.resident);
        assert!(memory.available.unwrap() <= memory.total.unwrap());
    }
}
