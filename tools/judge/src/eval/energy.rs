//! Energy, where Linux tells of it.

use siskin::machine::Tree;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Where the machine's energy is read. It is that of whole CPU packages or boards, whatever else runs on them.
#[derive(Debug)]
pub(super) enum Meter {
    /// Counters that rise, each with the count at which it begins anew.
    Counters(Vec<(PathBuf, Option<u64>)>),
    /// Sensors of power, in microwatts.
    Sensors(Vec<PathBuf>),
}

impl Meter {
    /// RAPL's packages, else the energy counters of the sensors, else their power; None of a machine without.
    pub(super) fn find(tree: &Tree) -> Option<Meter> {
        let readable = |path: &PathBuf| tree.number::<u64>(path).is_some();
        let rapl = || {
            // Only whole packages: their parts have a second number, and would count twice.
            let packages = tree.numbered("sys/class/powercap", "intel-rapl:").into_iter();
            packages
                .map(|name| PathBuf::from("sys/class/powercap").join(name))
                .map(|folder| (folder.join("energy_uj"), tree.number(folder.join("max_energy_range_uj"))))
        };
        let packages: Vec<_> = rapl().filter(|(path, _)| readable(path)).collect();
        if !packages.is_empty() {
            return Some(Meter::Counters(packages));
        }
        let sensors = |kind| -> Vec<PathBuf> { inputs(tree, kind).into_iter().filter(readable).collect() };
        match (sensors("energy"), sensors("power")) {
            (counters, _) if !counters.is_empty() => {
                Some(Meter::Counters(counters.into_iter().map(|path| (path, None)).collect()))
            }
            (_, powers) if !powers.is_empty() => Some(Meter::Sensors(powers)),
            _ => None,
        }
    }

    /// Does the work, and returns the joules that the machine took meanwhile; None where the sensors fell silent.
    pub(super) fn joules<T>(&self, tree: &Tree, work: impl FnOnce() -> T) -> (T, Option<f64>) {
        match self {
            Meter::Counters(counters) => {
                let read =
                    || -> Option<Vec<u64>> { counters.iter().map(|(path, _)| tree.number(path)).collect() };
                let before = read();
                let done = work();
                let microjoules = before.zip(read()).map(|(before, after)| {
                    let pairs = before.into_iter().zip(after).zip(counters);
                    pairs.map(|((before, after), (_, range))| risen(before, after, *range)).sum::<u64>()
                });
                (done, microjoules.map(|sum| sum as f64 / 1e6))
            }
            Meter::Sensors(sensors) => {
                let watts = || -> Option<f64> {
                    let microwatts: Option<f64> = sensors.iter().map(|path| tree.number::<f64>(path)).sum();
                    Some(microwatts? / 1e6)
                };
                sampled(watts, work)
            }
        }
    }
}

/// The files `energyN_input` or `powerN_input` of all sensors.
fn inputs(tree: &Tree, kind: &str) -> Vec<PathBuf> {
    const MOST: usize = 32;
    let chips = tree.numbered("sys/class/hwmon", "hwmon").into_iter();
    let files = |chip: String| {
        (1..MOST).map(move |n| PathBuf::from(format!("sys/class/hwmon/{chip}/{kind}{n}_input")))
    };
    chips.flat_map(files).collect()
}

/// What a counter that begins anew beyond `range` has risen by.
fn risen(before: u64, after: u64, range: Option<u64>) -> u64 {
    match after.checked_sub(before) {
        Some(rise) => rise,
        None => range.unwrap_or(0).saturating_sub(before).saturating_add(after),
    }
}

/// Joules from the mean of a power that is read again and again while the work is done.
fn sampled<T>(watts: impl Fn() -> Option<f64> + Sync, work: impl FnOnce() -> T) -> (T, Option<f64>) {
    const PAUSE: Duration = Duration::from_millis(20);
    let done = AtomicBool::new(false);
    let start = Instant::now();
    thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut samples = vec![watts()];
            while !done.load(Ordering::Relaxed) {
                thread::sleep(PAUSE);
                samples.push(watts());
            }
            samples
        });
        let result = work();
        let seconds = start.elapsed().as_secs_f64();
        done.store(true, Ordering::Relaxed);
        let mean = sampler.join().ok().and_then(|samples| {
            let count = samples.len() as f64;
            Some(samples.into_iter().sum::<Option<f64>>()? / count)
        });
        (result, mean.map(|watts| watts * seconds))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    /// A made-up machine: the files that a test writes.
    struct Fake(TempDir);

    impl Fake {
        fn new(files: &[(&str, &str)]) -> Fake {
            let fake = Fake(tempfile::tempdir().unwrap());
            files.iter().for_each(|(path, text)| fake.write(path, text));
            fake
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn tree(&self) -> Tree {
            Tree::under(self.0.path())
        }
    }

    #[test]
    fn packages_are_added_and_their_parts_are_not() {
        let rapl = "sys/class/powercap/intel-rapl";
        let fake = Fake::new(&[
            (&format!("{rapl}:0/energy_uj"), "9000000"),
            (&format!("{rapl}:0/max_energy_range_uj"), "10000000"),
            (&format!("{rapl}:0:0/energy_uj"), "1"),
            (&format!("{rapl}:1/energy_uj"), "5"),
            ("sys/class/hwmon/hwmon0/power1_input", "7"),
        ]);
        let tree = fake.tree();
        let (answer, joules) = Meter::find(&tree).unwrap().joules(&tree, || {
            // One begins anew.
            fake.write(&format!("{rapl}:0/energy_uj"), "500000");
            fake.write(&format!("{rapl}:0:0/energy_uj"), "2000001");
            fake.write(&format!("{rapl}:1/energy_uj"), "2000005");
            "done"
        });
        assert_eq!((answer, joules), ("done", Some(3.5)));
    }

    #[test]
    fn power_is_watched_over_time() {
        let fake = Fake::new(&[("sys/class/hwmon/hwmon3/power1_input", "2000000")]);
        let tree = fake.tree();
        let meter = Meter::find(&tree).unwrap();
        let start = Instant::now();
        let (_, joules) = meter.joules(&tree, || thread::sleep(Duration::from_millis(50)));
        let joules = joules.unwrap();
        assert!((0.1..=2.0 * start.elapsed().as_secs_f64()).contains(&joules), "{joules}");
        let gone = || fake.write("sys/class/hwmon/hwmon3/power1_input", "gone");
        assert_eq!(meter.joules(&tree, gone).1, None);
    }

    #[test]
    fn counters_come_before_power_and_nothing_is_no_meter() {
        let hwmon = "sys/class/hwmon/hwmon0";
        let fake =
            Fake::new(&[(&format!("{hwmon}/power1_input"), "1"), (&format!("{hwmon}/energy2_input"), "1")]);
        assert!(matches!(Meter::find(&fake.tree()), Some(Meter::Counters(counters)) if counters.len() == 1));
        assert!(Meter::find(&Fake::new(&[]).tree()).is_none());
    }
}
