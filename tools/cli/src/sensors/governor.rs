use siskin::machine::Tree;
use siskin_kit::sensors::{Temperature, clocks, temperatures};

/// Decides how many threads may work on a machine that is not to become hotter than some temperature.
///
/// What it sees ahead is the next look's temperature, if that goes on as it went since the last one.
#[derive(Debug)]
pub(crate) struct Governor {
    tree: Tree,
    most: f64,
    threads: usize,
    allowed: usize,
    /// What the last look saw.
    last: f64,
    /// The sum of the clocks' limits as it was at first: the kernel lowers them where it is too hot by its own measure.
    clocks: u64,
}

/// How near the highest temperature is too near, and how far below it is cool enough for another thread.
const NEAR: f64 = 1.0;
const COOL: f64 = 4.0;

impl Governor {
    /// A governor for so many threads; None where the machine tells no temperature.
    pub(crate) fn new(tree: Tree, most: f64, threads: usize) -> Option<Governor> {
        let last = hottest(&tree)?;
        let clocks = clock_limits(&tree);
        Some(Governor { tree, most, threads, allowed: threads, last, clocks })
    }

    /// Looks at the machine, and says how many threads may work until the next look, a second later; 0: none.
    pub(crate) fn look(&mut self) -> usize {
        // A sensor that falls silent has seen what it saw last.
        let now = hottest(&self.tree).unwrap_or(self.last);
        let soon = now + (now - self.last).max(0.0);
        self.last = now;
        if soon >= self.most - NEAR || clock_limits(&self.tree) < self.clocks {
            self.allowed = self.allowed.saturating_sub(1);
        } else if soon < self.most - COOL {
            self.allowed = (self.allowed + 1).min(self.threads);
        }
        self.allowed
    }
}

/// Of the processor's sensors, or of all where none says that it is one.
fn hottest(tree: &Tree) -> Option<f64> {
    const PROCESSOR: [&str; 5] = ["cpu", "soc", "pkg", "core", "tctl"];
    let zones = temperatures(tree);
    let is_processor = |zone: &&Temperature| {
        let name = zone.zone.to_ascii_lowercase();
        PROCESSOR.iter().any(|part| name.contains(part))
    };
    let hottest =
        |zones: &mut dyn Iterator<Item = &Temperature>| zones.map(|zone| zone.celsius).reduce(f64::max);
    hottest(&mut zones.iter().filter(is_processor)).or_else(|| hottest(&mut zones.iter()))
}

fn clock_limits(tree: &Tree) -> u64 {
    clocks(tree).iter().filter_map(|clock| clock.limit_mhz).map(u64::from).sum()
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    const SENSOR: &str = "sys/class/thermal/thermal_zone0/temp";

    fn board() -> Fake {
        Fake::new(&[
            ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
            (SENSOR, "45000\n"),
            ("sys/class/thermal/thermal_zone1/type", "nvme\n"),
            ("sys/class/thermal/thermal_zone1/temp", "95000\n"),
            ("sys/devices/system/cpu/cpufreq/policy0/affected_cpus", "0 1 2 3\n"),
            ("sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq", "1800000\n"),
        ])
    }

    /// A board that each working thread heats towards so many degrees more than 40, with a time constant in seconds.
    /// Returns its temperatures and the threads that worked, second by second.
    fn simulate(each: f64, constant: f64, most: f64) -> (Vec<f64>, Vec<usize>) {
        let board = board();
        let mut governor = Governor::new(board.tree(), most, 4).unwrap();
        let mut celsius = 45.0;
        (0..900)
            .map(|_| {
                let threads = governor.look();
                celsius += (40.0 + each * threads as f64 - celsius) / constant;
                // Sensors tell steps of half a degree.
                board.write(SENSOR, &format!("{}\n", (celsius * 2.0).round() as i64 * 500));
                (celsius, threads)
            })
            .unzip()
    }

    #[test]
    fn a_board_stays_below_its_limit_and_works_as_much_as_it_can() {
        for (each, constant) in [(15.0, 40.0), (15.0, 15.0), (30.0, 60.0), (60.0, 120.0)] {
            let (celsius, threads) = simulate(each, constant, 75.0);
            let hottest = celsius.iter().copied().fold(0.0, f64::max);
            assert!(hottest < 75.0, "{each} {constant}: {hottest}");
            let late = &threads[300..];
            let mean = late.iter().sum::<usize>() as f64 / late.len() as f64;
            // What the limit allows is 35 degrees more than without work.
            let possible = (35.0 / each).min(4.0);
            assert!(mean > 0.75 * possible && mean <= possible, "{each} {constant}: {mean} of {possible}");
        }
    }

    #[test]
    fn a_cool_board_works_with_all_threads() {
        let (_, threads) = simulate(5.0, 20.0, 75.0);
        assert!(threads.iter().all(|&threads| threads == 4));
    }

    #[test]
    fn a_clock_that_the_kernel_lowers_is_a_sign_of_heat() {
        let board = board();
        let mut governor = Governor::new(board.tree(), 85.0, 4).unwrap();
        assert_eq!(governor.look(), 4);
        board.write("sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq", "1200000\n");
        assert_eq!([(); 5].map(|()| governor.look()), [3, 2, 1, 0, 0]);
        board.write("sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq", "1800000\n");
        assert_eq!(governor.look(), 1);
    }

    #[test]
    fn other_sensors_count_where_none_is_the_processor_s() {
        let board = Fake::new(&[
            ("sys/class/thermal/thermal_zone0/type", "acpitz\n"),
            ("sys/class/thermal/thermal_zone0/temp", "90000\n"),
        ]);
        assert_eq!(Governor::new(board.tree(), 80.0, 2).unwrap().look(), 1);
        assert!(Governor::new(Fake::new(&[]).tree(), 80.0, 2).is_none());
    }
}
