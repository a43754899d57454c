use serde::Serialize;
use siskin::machine::{self, Tree};

/// The memory and its pages. Sizes are bytes.
#[derive(Debug, Serialize)]
pub(super) struct Memory {
    pub(super) total_bytes: Option<u64>,
    /// What can be had without swapping.
    pub(super) available_bytes: Option<u64>,
    /// What the cgroup grants.
    pub(super) limit_bytes: Option<u64>,
    pub(super) page_bytes: usize,
    /// `always`, `madvise` (which Siskin's buffers ask for) or `never`.
    pub(super) transparent_huge_pages: Option<String>,
    pub(super) huge_page_bytes: Option<u64>,
}

impl Memory {
    /// `limit` is what the cgroup grants; a grant of more than there is is none.
    pub(super) fn read(tree: &Tree, limit: Option<u64>) -> Self {
        let machine::Memory { total, available, .. } = machine::Memory::of(tree);
        let pages = "sys/kernel/mm/transparent_hugepage";
        Self {
            total_bytes: total,
            available_bytes: available,
            limit_bytes: limit.filter(|&limit| total.is_none_or(|total| limit < total)),
            page_bytes: rustix::param::page_size(),
            transparent_huge_pages: tree.text(format!("{pages}/enabled")).and_then(|modes| chosen(&modes)),
            huge_page_bytes: tree.number(format!("{pages}/hpage_pmd_size")),
        }
    }

    /// Bytes that a process may hope for.
    pub(super) fn usable(&self) -> Option<u64> {
        match (self.available_bytes, self.limit_bytes) {
            (Some(available), Some(limit)) => Some(available.min(limit)),
            (available, limit) => available.or(limit),
        }
    }
}

/// The word in brackets, which is the mode in force.
fn chosen(modes: &str) -> Option<String> {
    Some(modes.split_once('[')?.1.split_once(']')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sensors::fake::Fake;

    #[test]
    fn memory_is_what_the_cgroup_leaves_of_it() {
        let fake = Fake::new(&[
            ("proc/meminfo", "MemTotal:  4096 kB\nMemFree:  1 kB\nMemAvailable:  2048 kB\n"),
            ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
            ("sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "2097152\n"),
        ]);
        let memory = Memory::read(&fake.tree(), Some(1 << 20));
        assert_eq!(
            (memory.total_bytes, memory.limit_bytes, memory.usable()),
            (Some(4 << 20), Some(1 << 20), Some(1 << 20))
        );
        assert_eq!(memory.transparent_huge_pages.as_deref(), Some("madvise"));
        assert_eq!(memory.huge_page_bytes, Some(2 << 20));
        let unlimited = Memory::read(&fake.tree(), Some(1 << 40));
        assert_eq!((unlimited.limit_bytes, unlimited.usable()), (None, Some(2 << 20)));
    }

    #[test]
    fn nothing_told_is_nothing_known() {
        let memory = Memory::read(&Fake::new(&[]).tree(), None);
        assert_eq!((memory.usable(), memory.transparent_huge_pages), (None, None));
    }
}
