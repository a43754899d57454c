//! The `doctor` command: what this machine has for inference, and what slows it.

mod bandwidth;
#[cfg(feature = "boards")]
mod board;
mod caches;
mod cores;
mod model;
mod pages;
mod text;
mod warnings;

use anyhow::{Context, Result};
use bandwidth::Bandwidth;
use caches::Cache;
use cores::Cores;
use model::{Features, Model};
use pages::Memory;
use serde::Serialize;
use siskin::Isa;
use siskin::machine::{Machine, Tree};
#[cfg(feature = "boards")]
use siskin_boards::Board;
use siskin_kit::sensors::{Clock, Temperature, clocks, temperatures, under_voltage};
use std::io::{self, ErrorKind, Write};

/// Show what this machine has for inference, and what slows it
///
/// All but the read bandwidth is as Linux tells it. Reading memory bounds how fast a model answers: no token can be
/// worked out faster than all weights are read.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Print one JSON object; null is what Linux does not tell
    #[arg(long)]
    json: bool,
    /// Do not measure how fast memory is read
    #[arg(long)]
    no_probe: bool,
    /// Instruction set of the kernels [default: what SISKIN_ISA names, else the best that the CPU has]
    #[arg(long, value_name = "NAME")]
    isa: Option<Isa>,
    /// Show what is known of a board instead, and from where; `siskin plan --board NAME` tells how a model does there
    #[cfg(feature = "boards")]
    #[arg(long, value_name = "NAME", value_parser = Board::named, conflicts_with_all = ["no_probe", "isa"])]
    board: Option<Board>,
}

/// Looks at the machine, and prints the report.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    #[cfg(feature = "boards")]
    if let Some(board) = &arguments.board {
        return print(&match arguments.json {
            true => format!("{}\n", serde_json::to_string_pretty(board)?),
            false => board::text(board),
        });
    }
    let mut report = Report::new(&Tree::here(), arguments.isa.map_or_else(Isa::choose, Ok)?);
    if !arguments.no_probe {
        report.bandwidth = Some(bandwidth::measure(report.cores.default_threads, report.memory.usable())?);
    }
    print(&match arguments.json {
        true => format!("{}\n", serde_json::to_string_pretty(&report)?),
        false => text::text(&report),
    })
}

fn print(text: &str) -> Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("standard output"),
    }
}

/// Everything there is to tell. Its fields' names are the keys of the JSON object.
#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    /// The board's name, or the computer's.
    machine: Option<String>,
    /// Release of the Linux kernel.
    kernel: Option<String>,
    cpus: Vec<Model>,
    features: Features,
    tiers: Tiers,
    cores: Cores,
    caches: Vec<Cache>,
    memory: Memory,
    /// None where it was not measured.
    bandwidth: Option<Bandwidth>,
    temperatures: Vec<Temperature>,
    clocks: Vec<Clock>,
    warnings: Vec<String>,
}

/// The instruction sets that there are kernels for.
#[derive(Debug, Serialize)]
struct Tiers {
    /// Those that the CPU has, the best first.
    available: Vec<&'static str>,
    chosen: &'static str,
}

impl Report {
    /// Reads what `tree` tells; nothing is measured.
    fn new(tree: &Tree, isa: Isa) -> Self {
        let machine = Machine::of(tree);
        let mut report = Self {
            version: env!("CARGO_PKG_VERSION"),
            machine: model::machine(tree),
            kernel: tree.text("proc/sys/kernel/osrelease"),
            cpus: model::models(tree),
            features: Features::read(tree),
            tiers: Tiers { available: Isa::available().map(Isa::name).collect(), chosen: isa.name() },
            cores: Cores::new(tree, &machine),
            caches: caches::caches(tree, &machine),
            memory: Memory::read(tree, machine.limits().memory),
            bandwidth: None,
            temperatures: temperatures(tree),
            clocks: clocks(tree),
            warnings: Vec::new(),
        };
        report.warnings = warnings::warnings(&report, under_voltage(tree));
        report
    }
}
