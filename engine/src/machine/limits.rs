use std::path::{Path, PathBuf};

use super::Tree;

/// What the control groups that the process is in allow it: the least of the process's own group and those above it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// CPU time per time; None without a limit.
    pub cpus: Option<f64>,
    /// Bytes of memory; None without a limit.
    pub memory: Option<u64>,
    /// Bytes of memory that are left of that, file pages that the kernel can drop counted as free; None without a limit.
    pub memory_left: Option<u64>,
}

impl Limits {
    /// Reads the limits that `tree` describes, of cgroup versions 1 and 2.
    pub(super) fn of(tree: &Tree) -> Self {
        let mut limits = Self::default();
        let (Some(groups), Some(mounts)) = (tree.text("proc/self/cgroup"), tree.text("proc/self/mountinfo"))
        else {
            return limits;
        };
        let mounts: Vec<Mount<'_>> = mounts.lines().filter_map(Mount::parse).collect();
        for (controllers, group) in groups.lines().filter_map(membership) {
            for folder in folders(&mounts, controllers, group) {
                limits.cpus = least(limits.cpus, quota(tree, &folder), f64::min);
                if let Some(limit) = memory(tree, &folder) {
                    limits.memory = least(limits.memory, Some(limit), u64::min);
                    let left = limit.saturating_sub(used(tree, &folder));
                    limits.memory_left = least(limits.memory_left, Some(left), u64::min);
                }
            }
        }
        limits
    }
}

/// A cgroup hierarchy in the file system: a line of `/proc/self/mountinfo`.
struct Mount<'a> {
    /// The group that the mount shows as its root.
    root: &'a str,
    point: &'a str,
    version: u8,
    /// Comma-separated; of version 1 the controllers are among them.
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// The line `30 23 0:26 <root> <point> <options> ... - <type> <source> <options>`, if it is of a cgroup.
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (mount.next()?, mount.next()?);
        let mut system = system.split(' ');
        let version = match system.next()? {
            "cgroup" => 1,
            "cgroup2" => 2,
            _ => return None,
        };
        Some(Self { root, point, version, options: system.nth(1)? })
    }

    /// Whether it is the hierarchy of these controllers; version 2 has one for all, which names none.
    fn is_of(&self, controllers: &str) -> bool {
        match controllers {
            "" => self.version == 2,
            _ => {
                let mut options = self.options.split(',');
                self.version == 1 && options.any(|option| controllers.split(',').any(|name| name == option))
            }
        }
    }
}

/// Controllers and group of a line of `/proc/self/cgroup`, such as `4:cpu,cpuacct:/a/b` or `0::/a/b`.
fn membership(line: &str) -> Option<(&str, &str)> {
    line.split_once(':')?.1.split_once(':')
}

/// The folders of a group and of all above it that can be seen.
fn folders(mounts: &[Mount<'_>], controllers: &str, group: &str) -> Vec<PathBuf> {
    let Some(mount) = mounts.iter().find(|mount| mount.is_of(controllers)) else { return Vec::new() };
    let group = Path::new(group);
    // A group outside the mount's root cannot be seen, nor one outside the namespace, which has `..` in its name.
    let below = group.strip_prefix(mount.root).or_else(|_| group.strip_prefix("/")).unwrap_or(group);
    let below = if below.iter().any(|name| name == "..") { Path::new("") } else { below };
    below.ancestors().map(|below| Path::new(mount.point).join(below)).collect()
}

fn quota(tree: &Tree, group: &Path) -> Option<f64> {
    let (quota, period) = match tree.text(group.join("cpu.max")) {
        Some(both) => {
            let (quota, period) = both.split_once(' ')?;
            (quota.parse::<u64>().ok()?, period.parse::<u64>().ok()?)
        }
        // −1, which is no u64, stands for none.
        None => (tree.number(group.join("cpu.cfs_quota_us"))?, tree.number(group.join("cpu.cfs_period_us"))?),
    };
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

fn memory(tree: &Tree, group: &Path) -> Option<u64> {
    /// Version 1 says a number of pages near the largest there is where it means none.
    const NONE: u64 = 1 << 62;
    let limit = |file| tree.number::<u64>(group.join(file));
    limit("memory.max").or_else(|| limit("memory.limit_in_bytes")).filter(|&limit| limit < NONE)
}

/// Bytes that a group uses and that cannot be had back by dropping file pages; 0 where it does not say.
fn used(tree: &Tree, group: &Path) -> u64 {
    let used = |file| tree.number::<u64>(group.join(file));
    let used = used("memory.current").or_else(|| used("memory.usage_in_bytes")).unwrap_or(0);
    let stat = tree.text(group.join("memory.stat")).unwrap_or_default();
    let field = |name: &str| {
        let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|bytes| bytes.parse::<u64>().ok())
    };
    // Version 1 says `total_` of a group with those below it, which version 2 always counts.
    let of = |name: &str| field(&format!("total_{name}")).or_else(|| field(name)).unwrap_or(0);
    used.saturating_sub(of("inactive_file").saturating_add(of("active_file")))
}

fn least<T: Copy>(a: Option<T>, b: Option<T>, min: fn(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(min(a, b)),
        _ => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::fake::Fake;
    use super::*;

    const V2: &str = "23 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                      30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    fn limits(fake: &Fake, groups: &str, mounts: &str) -> Limits {
        fake.write("proc/self/cgroup", groups);
        fake.write("proc/self/mountinfo", mounts);
        Limits::of(&fake.tree())
    }

    #[test]
    fn the_tightest_group_on_the_way_up_counts() {
        let fake = Fake::default();
        fake.write("sys/fs/cgroup/system.slice/cpu.max", "300000 100000\n");
        fake.write("sys/fs/cgroup/system.slice/memory.max", "4096\n");
        fake.write("sys/fs/cgroup/system.slice/siskin.service/cpu.max", "max 100000\n");
        fake.write("sys/fs/cgroup/system.slice/siskin.service/memory.max", "8192\n");
        fake.write("sys/fs/cgroup/system.slice/other.service/cpu.max", "100 100000\n");
        let limits = limits(&fake, "0::/system.slice/siskin.service\n", V2);
        assert_eq!((limits.cpus, limits.memory), (Some(3.0), Some(4096)));
    }

    #[test]
    fn version_1_has_a_hierarchy_for_each_controller() {
        let mounts = "31 30 0:27 /docker/ab /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n\
                      32 30 0:28 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let fake = Fake::default();
        fake.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "150000\n");
        fake.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
        fake.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        fake.write("sys/fs/cgroup/memory/docker/ab/memory.limit_in_bytes", "1073741824\n");
        let groups = "5:cpu,cpuacct:/docker/ab\n4:memory:/docker/ab\n1:name=systemd:/\n0::/\n";
        let found = limits(&fake, groups, mounts);
        assert_eq!((found.cpus, found.memory), (Some(1.5), Some(1 << 30)));
        fake.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
        assert_eq!(limits(&fake, groups, mounts).cpus, None);
    }

    #[test]
    fn what_is_left_is_the_least_on_the_way_up() {
        let fake = Fake::default();
        fake.write("sys/fs/cgroup/a/memory.max", "1000\n");
        fake.write("sys/fs/cgroup/a/memory.current", "900\n");
        fake.write("sys/fs/cgroup/a/memory.stat", "anon 100\ninactive_file 500\nactive_file 200\nfile 700\n");
        fake.write("sys/fs/cgroup/a/b/memory.max", "900\n");
        fake.write("sys/fs/cgroup/a/b/memory.current", "50\n");
        let found = limits(&fake, "0::/a/b\n", V2);
        assert_eq!((found.memory, found.memory_left), (Some(900), Some(800)));
        fake.write("sys/fs/cgroup/a/b/memory.current", "5000\n");
        assert_eq!(limits(&fake, "0::/a/b\n", V2).memory_left, Some(0));
        fake.write("sys/fs/cgroup/a/b/memory.max", "max\n");
        fake.write("sys/fs/cgroup/a/memory.max", "max\n");
        assert_eq!(limits(&fake, "0::/a/b\n", V2).memory_left, None);
    }

    #[test]
    fn version_1_counts_the_groups_below() {
        let fake = Fake::default();
        fake.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "1000\n");
        fake.write("sys/fs/cgroup/memory/memory.usage_in_bytes", "600\n");
        let stat = "inactive_file 1\nactive_file 2\ntotal_inactive_file 100\ntotal_active_file 50\n";
        fake.write("sys/fs/cgroup/memory/memory.stat", stat);
        let mounts = "32 30 0:28 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        assert_eq!(limits(&fake, "4:memory:/\n", mounts).memory_left, Some(550));
    }

    #[test]
    fn a_group_outside_the_namespace_counts_as_the_root() {
        let fake = Fake::default();
        fake.write("sys/fs/cgroup/cpu.max", "50000 100000\n");
        assert_eq!(limits(&fake, "0::/../../a\n", V2).cpus, Some(0.5));
    }

    #[test]
    fn garbled_files_set_no_limit() {
        let fake = Fake::default();
        for text in ["", "100000", "0 100000", "100000 0", "-1 100000", "a b"] {
            fake.write("sys/fs/cgroup/cpu.max", text);
            assert_eq!(limits(&fake, "0::/\n", V2), Limits::default(), "{text:?}");
        }
        for (groups, mounts) in [("", ""), ("0", "30"), ("::", "30 1 - cgroup2"), ("0::/\n", "- cgroup2 a\n")]
        {
            assert_eq!(limits(&fake, groups, mounts), Limits::default(), "{groups:?} {mounts:?}");
        }
    }
}
