use super::Report;
use super::caches::Cache;
use super::cores::Cores;
use super::model::Model;
use super::pages::Memory;
use siskin_kit::sensors::Clock;
use std::fmt::{self, Write};

/// What is printed where Linux does not tell.
const UNTOLD: &str = "not told";

/// A page for people.
pub(super) fn text(report: &Report) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write_page(&mut page, report);
    page
}

fn write_page(page: &mut String, report: &Report) -> fmt::Result {
    let told = |text: &Option<String>| text.clone().unwrap_or_else(|| UNTOLD.into());
    let mut row = |name: &str, value: &str| writeln!(page, "{name:13}{value}");
    row("machine", &told(&report.machine))?;
    row("kernel", &report.kernel.as_ref().map_or(UNTOLD.into(), |release| format!("Linux {release}")))?;
    row("CPU", &list(report.cpus.iter().map(model)))?;
    row("features", &list(report.features.present.iter()))?;
    if !report.features.missing.is_empty() {
        row("  not", &list(report.features.missing.iter()))?;
    }
    let tier = |name: &&str| match *name == report.tiers.chosen {
        true => format!("{name} (chosen)"),
        false => (*name).to_owned(),
    };
    row("tiers", &list(report.tiers.available.iter().map(tier)))?;
    row("cores", &cores(&report.cores))?;
    row("threads", &threads(&report.cores))?;
    row("caches", &list(report.caches.iter().map(cache)))?;
    row("memory", &memory(&report.memory))?;
    row("pages", &pages(&report.memory))?;
    row("read rate", &rates(report))?;
    let temperatures = report.temperatures.iter();
    row("temperature", &list(temperatures.map(|zone| format!("{} {:.0} °C", zone.zone, zone.celsius))))?;
    row("clock", &list(report.clocks.iter().map(clock)))?;
    if report.warnings.is_empty() {
        return writeln!(page, "\nNothing was found that slows inference.");
    }
    writeln!(page, "\nWhat slows inference:")?;
    report.warnings.iter().try_for_each(|warning| writeln!(page, "- {warning}"))
}

/// Items with commas between them.
fn list(items: impl Iterator<Item = impl fmt::Display>) -> String {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    if items.is_empty() { UNTOLD.into() } else { items.join(", ") }
}

fn model(model: &Model) -> String {
    format!("{} x {}", model.count, model.name)
}

fn cores(cores: &Cores) -> String {
    if cores.logical == 0 {
        return UNTOLD.into();
    }
    let kinds = match cores.little {
        0 => String::new(),
        little => format!(" ({} big, {little} little)", cores.big),
    };
    format!("{} physical{kinds}, {} logical", cores.physical, cores.logical)
}

fn threads(cores: &Cores) -> String {
    let allowed = match &cores.allowed[..] {
        [] => String::new(),
        allowed => format!("; may use CPUs {}", ranges(allowed)),
    };
    let quota = cores.quota.map_or("no CPU quota".into(), |quota| format!("CPU quota {quota:.2}"));
    format!("{} by default{allowed}, {quota}", cores.default_threads)
}

fn cache(cache: &Cache) -> String {
    let Cache { level, kind, bytes, count, shared_by } = cache;
    let size = match bytes % (1 << 20) {
        0 => format!("{} MiB", bytes >> 20),
        _ => format!("{} KiB", bytes >> 10),
    };
    let shared = if *shared_by > 1 { format!(" shared by {shared_by}") } else { String::new() };
    format!("L{level} {kind} {count} x {size}{shared}")
}

fn memory(memory: &Memory) -> String {
    let told = |bytes: Option<u64>| bytes.map_or(UNTOLD.into(), gigabytes);
    let limit = memory.limit_bytes.map(|bytes| format!(", cgroup limit {}", gigabytes(bytes)));
    let (total, available) = (told(memory.total_bytes), told(memory.available_bytes));
    format!("{total}, available {available}{}", limit.unwrap_or_default())
}

fn pages(memory: &Memory) -> String {
    let mode = memory.transparent_huge_pages.as_deref().unwrap_or(UNTOLD);
    let huge = memory.huge_page_bytes.map_or(String::new(), |bytes| format!(" ({} MiB)", bytes >> 20));
    format!("{} KiB; transparent huge pages{huge}: {mode}", memory.page_bytes >> 10)
}

fn rates(report: &Report) -> String {
    let Some(bandwidth) = &report.bandwidth else { return "not measured".into() };
    let threads = |threads| if threads == 1 { "thread" } else { "threads" };
    list(
        bandwidth
            .reads
            .iter()
            .map(|read| format!("{:.1} GB/s with {} {}", read.gbps, read.threads, threads(read.threads))),
    )
}

fn clock(clock: &Clock) -> String {
    let told = |mhz: Option<u32>| mhz.map_or("?".into(), |mhz| mhz.to_string());
    let governor = clock.governor.as_ref().map_or(String::new(), |governor| format!(", {governor}"));
    let (current, least, most) = (told(clock.current_mhz), told(clock.least_mhz), told(clock.most_mhz));
    format!("CPUs {} at {current} MHz ({least} to {most}{governor})", ranges(&clock.cpus))
}

/// Bytes in gigabytes of 10^9.
pub(super) fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

/// Rising numbers as Linux lists CPUs, such as `0-3,6`.
pub(super) fn ranges(numbers: &[usize]) -> String {
    let runs = numbers.chunk_by(|a, b| a + 1 == *b).filter_map(|run| Some((run.first()?, run.last()?)));
    let shown = runs.map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    shown.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sensors::fake::Fake;
    use siskin::Isa;

    #[test]
    fn ranges_are_spelled_as_the_kernel_does() {
        assert_eq!(ranges(&[0, 1, 2, 3, 6, 8, 9]), "0-3,6,8-9");
        assert_eq!(ranges(&[]), "");
    }

    #[test]
    fn what_is_not_told_is_said_to_be() {
        let report = Report::new(&Fake::new(&[]).tree(), Isa::available().next().unwrap());
        let page = text(&report);
        let untold = ["machine", "kernel", "CPU", "features", "cores", "caches", "temperature", "clock"];
        for name in untold {
            assert!(page.lines().any(|line| line == format!("{name:13}not told")), "{name}: {page}");
        }
        assert!(page.contains("not measured") && page.contains("(chosen)"), "{page}");
    }

    #[test]
    fn caches_and_clocks_are_short() {
        let shared = Cache { level: 3, kind: "unified".into(), bytes: 8 << 20, count: 1, shared_by: 4 };
        assert_eq!(cache(&shared), "L3 unified 1 x 8 MiB shared by 4");
        let own = Cache { level: 1, kind: "data".into(), bytes: 48 << 10, count: 4, shared_by: 1 };
        assert_eq!(cache(&own), "L1 data 4 x 48 KiB");
        let four = Clock {
            cpus: vec![0, 1, 2, 3],
            current_mhz: Some(1500),
            most_mhz: Some(1800),
            governor: Some("ondemand".into()),
            ..Clock::default()
        };
        assert_eq!(clock(&four), "CPUs 0-3 at 1500 MHz (? to 1800, ondemand)");
    }
}
