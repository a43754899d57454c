use serde::Serialize;
use siskin::machine::Tree;

/// CPUs whose clock is set together: a policy of cpufreq. Clocks are in MHz.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Clock {
    /// Linux's numbers of them.
    pub cpus: Vec<usize>,
    /// What it is now.
    pub current_mhz: Option<u32>,
    /// The least that the hardware can be set to.
    pub least_mhz: Option<u32>,
    /// The most that the hardware can be set to.
    pub most_mhz: Option<u32>,
    /// What the system sets it to at most.
    pub limit_mhz: Option<u32>,
    /// What decides it.
    pub governor: Option<String>,
    /// What sets it.
    pub driver: Option<String>,
}

/// The clocks; none where the kernel has no cpufreq, as in most virtual machines.
pub fn clocks(tree: &Tree) -> Vec<Clock> {
    const POLICIES: &str = "sys/devices/system/cpu/cpufreq";
    let clock = |policy: String| {
        let path = |file: &str| format!("{POLICIES}/{policy}/{file}");
        let mhz = |file| tree.number::<u32>(path(file)).map(|khz| khz / 1000);
        let cpus = tree.text(path("affected_cpus"))?;
        Some(Clock {
            cpus: cpus.split_whitespace().map(|cpu| cpu.parse().ok()).collect::<Option<_>>()?,
            current_mhz: mhz("scaling_cur_freq"),
            least_mhz: mhz("cpuinfo_min_freq"),
            most_mhz: mhz("cpuinfo_max_freq"),
            limit_mhz: mhz("scaling_max_freq"),
            governor: tree.text(path("scaling_governor")),
            driver: tree.text(path("scaling_driver")),
        })
    };
    tree.numbered(POLICIES, "policy").into_iter().filter_map(clock).collect()
}

impl Clock {
    /// Whether the governor keeps the clock at its lowest. `powersave` does, but with drivers that leave the clock to
    /// the processor it is the usual choice, and no slow one.
    pub fn is_held_low(&self) -> bool {
        let by_itself = matches!(self.driver.as_deref(), Some("intel_pstate" | "amd-pstate-epp"));
        self.governor.as_deref() == Some("powersave") && !by_itself
    }

    /// What the system limits the clock to, where that is clearly below what the hardware can do.
    pub fn limited(&self) -> Option<(u32, u32)> {
        let (limit, most) = (self.limit_mhz?, self.most_mhz?);
        (u64::from(limit) * 100 < u64::from(most) * 95).then_some((limit, most))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake;
    use super::*;

    /// The files of a Raspberry Pi 4 whose clock is limited, and of a CPU of which little is told.
    fn board(driver: &str) -> Vec<Clock> {
        const POLICY: &str = "sys/devices/system/cpu/cpufreq/policy0";
        let (_folder, tree) = fake(&[
            (&format!("{POLICY}/affected_cpus"), "0 1 2 3\n"),
            (&format!("{POLICY}/scaling_cur_freq"), "1500000\n"),
            (&format!("{POLICY}/cpuinfo_min_freq"), "600000\n"),
            (&format!("{POLICY}/cpuinfo_max_freq"), "1800000\n"),
            (&format!("{POLICY}/scaling_max_freq"), "1200000\n"),
            (&format!("{POLICY}/scaling_governor"), "powersave\n"),
            (&format!("{POLICY}/scaling_driver"), driver),
            ("sys/devices/system/cpu/cpufreq/policy4/affected_cpus", "4\n"),
        ]);
        clocks(&tree)
    }

    #[test]
    fn a_policy_is_a_clock() {
        let clocks = board("cpufreq-dt\n");
        assert_eq!(clocks.len(), 2);
        assert_eq!((&clocks[0].cpus[..], clocks[0].current_mhz), (&[0, 1, 2, 3][..], Some(1500)));
        assert!(clocks[0].is_held_low());
        assert_eq!(clocks[0].limited(), Some((1200, 1800)));
        assert_eq!(clocks[1], Clock { cpus: vec![4], ..Clock::default() });
        assert_eq!((clocks[1].is_held_low(), clocks[1].limited()), (false, None));
        assert!(!board("intel_pstate\n")[0].is_held_low());
    }
}
