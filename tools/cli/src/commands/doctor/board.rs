//! What is known of a board, and from where.

use siskin_boards::{Board, Cluster};
use std::fmt::Write as _;

pub(super) fn text(board: &Board) -> String {
    let Board { name, triple, tier, cpu, memory, sources, .. } = board;
    let mut lines = vec![
        ("board", name.clone()),
        ("program", format!("targets/build {triple}, which runs the kernels of {tier}")),
        ("chip", cpu.soc.clone()),
    ];
    lines.extend(cpu.clusters.iter().map(|cluster| ("cores", cores(cluster))));
    lines.extend(cpu.l3_kib.map(|kib| ("L3", format!("{kib} KiB"))));
    lines
        .push(("features", if cpu.features.is_empty() { "none".to_owned() } else { cpu.features.join(" ") }));
    let sizes = memory.options_mib.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    lines.push(("memory", format!("{} of {sizes} MiB", memory.kind)));
    let rates = [
        (memory.bandwidth_gb_s, "GB/s by its kind"),
        (memory.read_gb_s, "GB/s to programs that read"),
        (memory.copy_gb_s, "GB/s copied"),
    ];
    lines.extend(rates.into_iter().filter_map(|(rate, what)| Some(("", format!("{} {what}", rate?)))));
    lines.extend(memory.page_kib.map(|kib| ("pages", format!("{kib} KiB"))));
    lines.extend(sources.iter().map(|(key, source)| ("source", format!("{key}: {source}"))));
    lines.iter().fold(String::new(), |mut text, (what, said)| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{what:10}{said}");
        text
    })
}

fn cores(cluster: &Cluster) -> String {
    let Cluster { core, cores, clock_mhz, l2_kib, l2_shared, .. } = cluster;
    let l2 = if *l2_shared { "together" } else { "each" };
    format!("{cores} × {core} at {clock_mhz} MHz, {l2_kib} KiB of L2 {l2}")
}
