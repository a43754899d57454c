//! What Linux tells of memory in `/proc`.

use siskin::machine::Tree;

/// The most memory that the process had at once, in bytes; of a mapped file, the pages that were there.
pub(crate) fn peak_rss() -> Option<u64> {
    field(&Tree::here().text("proc/self/status")?, "VmHWM")
}

/// Bytes that can be had without swapping.
pub(crate) fn available(tree: &Tree) -> Option<u64> {
    field(&tree.text("proc/meminfo")?, "MemAvailable")
}

/// Bytes of the whole machine.
pub(crate) fn total(tree: &Tree) -> Option<u64> {
    field(&tree.text("proc/meminfo")?, "MemTotal")
}

/// Bytes of the line `name:  123 kB`.
fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.trim().strip_suffix(" kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "VmHWMark:\t 1 kB\nVmHWM:\t    1234 kB\nThreads:\t1\n";
        assert_eq!(field(text, "VmHWM"), Some(1234 * 1024));
        assert_eq!(field(text, "Threads"), None);
        assert_eq!(field(text, "VmPeak"), None);
    }

    #[test]
    fn this_process_has_memory() {
        assert!(peak_rss().unwrap() > 1 << 16);
        assert!(available(&Tree::here()).unwrap() <= total(&Tree::here()).unwrap());
    }
}
