use serde::Serialize;
use siskin::machine::{Machine, Tree, cpu_list};

/// Caches of one kind and size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Cache {
    pub(super) level: u32,
    /// `data`, `instruction` or `unified`.
    pub(super) kind: String,
    /// Of each.
    pub(super) bytes: u64,
    /// How many there are.
    pub(super) count: usize,
    /// CPUs that share one.
    pub(super) shared_by: usize,
}

/// The CPUs' caches, the nearest first.
pub(super) fn caches(tree: &Tree, machine: &Machine) -> Vec<Cache> {
    let mut caches: Vec<Cache> = Vec::new();
    for cpu in machine.cpus() {
        let folder = format!("sys/devices/system/cpu/cpu{}/cache", cpu.id);
        for index in tree.numbered(&folder, "index") {
            let Some((cache, first)) = cache(tree, &format!("{folder}/{index}")) else { continue };
            if first != cpu.id {
                // Counted with the first of the CPUs that share it.
                continue;
            }
            match caches.iter_mut().find(|other| Cache { count: 1, ..(*other).clone() } == cache) {
                Some(same) => same.count += 1,
                None => caches.push(cache),
            }
        }
    }
    caches.sort_by_key(|cache| cache.level);
    caches
}

/// A cache, and the first of the CPUs that share it.
fn cache(tree: &Tree, folder: &str) -> Option<(Cache, usize)> {
    let of = |file: &str| tree.text(format!("{folder}/{file}"));
    let shared = cpu_list(&of("shared_cpu_list")?)?;
    let kibibytes: u64 = of("size")?.strip_suffix('K')?.parse().ok()?;
    let cache = Cache {
        level: of("level")?.parse().ok()?,
        kind: of("type")?.to_lowercase(),
        bytes: kibibytes.checked_mul(1024)?,
        count: 1,
        shared_by: shared.len(),
    };
    Some((cache, *shared.first()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sensors::fake::Fake;

    #[test]
    fn shared_caches_count_once() {
        let fake = Fake::new(&[
            ("sys/devices/system/cpu/online", "0-3"),
            ("proc/thread-self/status", "Cpus_allowed_list:\t0-3\n"),
        ]);
        for cpu in 0..4 {
            let pair = if cpu < 2 { "0-1" } else { "2-3" };
            let caches = [("3", "Unified", "8192K", "0-3"), ("1", "Data", "32K", &cpu.to_string())];
            for (index, (level, kind, size, shared)) in
                caches.into_iter().chain([("2", "Unified", "512K", pair)]).enumerate()
            {
                let folder = format!("sys/devices/system/cpu/cpu{cpu}/cache/index{index}");
                fake.write(&format!("{folder}/level"), level);
                fake.write(&format!("{folder}/type"), kind);
                fake.write(&format!("{folder}/size"), size);
                fake.write(&format!("{folder}/shared_cpu_list"), shared);
            }
        }
        // As some boards have it: a cache whose size is not told.
        fake.write("sys/devices/system/cpu/cpu0/cache/index3/level", "4");
        let cache = |level, kind: &str, kibibytes: u64, count, shared_by| Cache {
            level,
            kind: kind.into(),
            bytes: kibibytes << 10,
            count,
            shared_by,
        };
        let expected =
            [cache(1, "data", 32, 4, 1), cache(2, "unified", 512, 2, 2), cache(3, "unified", 8192, 1, 4)];
        assert_eq!(caches(&fake.tree(), &Machine::of(&fake.tree())), expected);
    }
}
