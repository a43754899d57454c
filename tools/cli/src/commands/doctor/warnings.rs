use super::cores::Cores;
use super::pages::Memory;
use super::text::{gigabytes, ranges};
use super::{Report, Tiers};
use siskin_kit::sensors::{Clock, Temperature};

/// What slows inference on this machine, each in a sentence.
pub(super) fn warnings(report: &Report, under_voltage: bool) -> Vec<String> {
    let mut warnings: Vec<String> = left_out(&report.features.present, &BUILT).into_iter().collect();
    if warnings.is_empty() {
        warnings.extend(tiers(&report.tiers));
    }
    warnings.extend(cores(&report.cores));
    warnings.extend(report.clocks.iter().flat_map(clock));
    warnings.extend(report.temperatures.iter().filter_map(heat));
    if under_voltage {
        warnings.push("the firmware has seen too low a supply voltage, and lowers the clock then".into());
    }
    warnings.extend(memory(&report.memory));
    warnings
}

/// Instruction sets that a build may leave out, the best first, with what a CPU has that has them.
const LEAVABLE: [(&str, &[&str]); 6] = [
    ("avx512-vnni", &["avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"]),
    ("avx-vnni", &["avx2", "fma", "f16c", "avx_vnni"]),
    ("avx2", &["avx2", "fma", "f16c"]),
    ("ssse3", &["ssse3"]),
    ("neon-i8mm", &["asimddp", "i8mm"]),
    ("neon-dotprod", &["asimddp"]),
];

/// Which of them this build has.
const BUILT: [bool; LEAVABLE.len()] = [
    cfg!(feature = "avx512-vnni"),
    cfg!(feature = "avx-vnni"),
    cfg!(feature = "avx2"),
    cfg!(feature = "ssse3"),
    cfg!(feature = "neon-i8mm"),
    cfg!(feature = "neon-dotprod"),
];

/// The best instruction set for a CPU with these features, if it is not built.
fn left_out(present: &[&str], built: &[bool; LEAVABLE.len()]) -> Option<String> {
    let has = |flags: &[&str]| flags.iter().all(|flag| present.contains(flag));
    let (&(best, _), &built) = LEAVABLE.iter().zip(built).find(|((_, flags), _)| has(flags))?;
    let lacks =
        format!("this build has no kernels for {best}, the fastest here: the feature `{best}` brings them");
    (!built).then_some(lacks)
}

fn tiers(tiers: &Tiers) -> Option<String> {
    match tiers.available.first() {
        Some(&"scalar") if cfg!(target_arch = "x86_64") => Some(
            "this CPU lacks SSSE3: there are no kernels for what it has, and it computes one number at a time".into(),
        ),
        Some(&"ssse3") if tiers.chosen == "ssse3" => Some(
            "this CPU lacks AVX2, FMA or F16C: sums that are rounded once take several instructions".into(),
        ),
        Some(&"scalar") => Some("there are no kernels for this CPU's vector instructions".into()),
        Some(&"neon") if tiers.chosen == "neon" => {
            Some("this CPU has no instruction for dot products (dotprod, from Armv8.2 on)".into())
        }
        Some(best) if *best != tiers.chosen => {
            Some(format!("{} was asked for; {best} is the fastest here", tiers.chosen))
        }
        _ => None,
    }
}

fn cores(cores: &Cores) -> Vec<String> {
    let mut warnings = Vec::new();
    let allowed = cores.allowed.len();
    if allowed < cores.logical {
        let list = ranges(&cores.allowed);
        warnings
            .push(format!("the affinity is narrow: the process may use CPUs {list} of {}", cores.logical));
    }
    if let Some(quota) = cores.quota.filter(|&quota| quota < allowed as f64) {
        warnings.push(format!("the cgroup grants the time of {quota:.2} CPUs of {allowed}"));
    }
    if let Some(load) = cores.load.filter(|&load| load >= 1.0) {
        warnings.push(format!("other programs compute: {load:.1} tasks on average over the last minute"));
    }
    warnings
}

fn clock(clock: &Clock) -> Vec<String> {
    let cpus = ranges(&clock.cpus);
    let mut warnings = Vec::new();
    if clock.is_held_low() {
        warnings.push(format!("the governor powersave keeps CPUs {cpus} at their lowest clock"));
    }
    if let Some((limit, most)) = clock.limited() {
        warnings.push(format!("the clock of CPUs {cpus} is limited to {limit} of {most} MHz"));
    }
    warnings
}

fn heat(temperature: &Temperature) -> Option<String> {
    const HOT: f64 = 80.0;
    let Temperature { zone, celsius } = temperature;
    (*celsius > HOT)
        .then(|| format!("{zone} is at {celsius:.0} °C: many chips lower their clock from 80 °C on"))
}

fn memory(memory: &Memory) -> Vec<String> {
    const LITTLE: u64 = 512 << 20;
    let mut warnings = Vec::new();
    if let Some(limit) = memory.limit_bytes {
        warnings.push(format!("the cgroup grants {} of memory", gigabytes(limit)));
    }
    if let Some(usable) = memory.usable().filter(|&usable| usable < LITTLE) {
        warnings.push(format!(
            "only {} of memory can be had: a model and its session must fit",
            gigabytes(usable)
        ));
    }
    if memory.transparent_huge_pages.as_deref() == Some("never") {
        warnings.push("transparent huge pages are off: madvise lets weights have them".into());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sensors::fake::Fake;
    use siskin::Isa;

    /// A board that all is well with.
    fn board() -> Fake {
        Fake::new(&[
            ("sys/devices/system/cpu/online", "0-3\n"),
            ("proc/thread-self/status", "Cpus_allowed_list:\t0-3\n"),
            ("proc/loadavg", "0.20 0.10 0.10 1/123 4567\n"),
            ("proc/meminfo", "MemTotal:  8000000 kB\nMemAvailable:  7000000 kB\n"),
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n"),
            ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
            ("sys/devices/system/cpu/cpufreq/policy0/affected_cpus", "0 1 2 3\n"),
            ("sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "ondemand\n"),
            ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
            ("sys/class/thermal/thermal_zone0/temp", "55000\n"),
        ])
    }

    /// The warnings of the board and of kernels that are the best there are.
    fn said(board: &Fake) -> Vec<String> {
        let mut report = Report::new(&board.tree(), Isa::available().next().unwrap());
        report.tiers = Tiers { available: vec!["neon-dotprod", "neon", "scalar"], chosen: "neon-dotprod" };
        warnings(&report, siskin_kit::sensors::under_voltage(&board.tree()))
    }

    #[test]
    fn a_board_that_is_well_gets_no_warning() {
        assert_eq!(said(&board()), [""; 0]);
        assert_eq!(said(&Fake::new(&[])), [""; 0], "nothing is said of what is not told");
    }

    #[test]
    fn each_ill_is_said() {
        let cases = [
            ("proc/thread-self/status", "Cpus_allowed_list:\t0,2-3\n", "CPUs 0,2-3 of 4"),
            ("sys/fs/cgroup/cpu.max", "150000 100000\n", "1.50 CPUs of 4"),
            ("sys/fs/cgroup/memory.max", "1000000000\n", "the cgroup grants 1.0 GB of memory"),
            ("proc/loadavg", "3.21 1 1 1/1 1", "3.2 tasks"),
            ("proc/meminfo", "MemAvailable:  100000 kB\n", "only 0.1 GB of memory"),
            ("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n", "huge pages are off"),
            (
                "sys/devices/system/cpu/cpufreq/policy0/scaling_governor",
                "powersave\n",
                "CPUs 0-3 at their lowest",
            ),
            ("sys/class/thermal/thermal_zone0/temp", "83600\n", "cpu-thermal is at 84 °C"),
        ];
        for (file, text, expected) in cases {
            let board = board();
            board.write(file, text);
            let warnings = said(&board);
            assert!(warnings.len() == 1 && warnings[0].contains(expected), "{file}: {warnings:?}");
        }
    }

    #[test]
    fn kernels_that_are_not_built_are_said() {
        let without = |name: &str| LEAVABLE.map(|(tier, _)| tier != name);
        let alder_lake = ["ssse3", "avx2", "fma", "f16c", "avx_vnni"];
        assert!(left_out(&alder_lake, &without("avx-vnni")).unwrap().contains("the feature `avx-vnni`"));
        assert_eq!(left_out(&alder_lake, &without("avx2")), None);
        assert!(left_out(&["asimd", "asimddp"], &without("neon-dotprod")).is_some());
        assert_eq!(left_out(&["asimd"], &without("neon-dotprod")), None);
    }

    #[test]
    fn a_slower_tier_is_said() {
        let of = |available: &[&'static str], chosen| tiers(&Tiers { available: available.to_vec(), chosen });
        assert_eq!(of(&["avx2", "scalar"], "avx2"), None);
        assert!(of(&["avx2", "scalar"], "scalar").unwrap().contains("avx2 is the fastest"));
        assert!(of(&["scalar"], "scalar").unwrap().contains("no kernels"));
        assert!(of(&["ssse3", "scalar"], "ssse3").unwrap().contains("lacks AVX2"));
        assert!(of(&["neon", "scalar"], "neon").unwrap().contains("no instruction for dot products"));
        assert_eq!(of(&["neon-dotprod", "neon", "scalar"], "neon-dotprod"), None);
    }
}
