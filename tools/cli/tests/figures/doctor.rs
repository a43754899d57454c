//! `siskin doctor`: what it prints of the machine that the tests run on.

use crate::common::failure;
use serde_json::Value;
use std::process::{Command, Output};

/// Runs `siskin doctor` with `SISKIN_ISA` set to `isa`; empty stands for none.
fn doctor(isa: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_siskin"));
    command.arg("doctor").args(arguments).env("SISKIN_ISA", isa).output().unwrap()
}

fn json(isa: &str, arguments: &[&str]) -> Value {
    let run = doctor(isa, &[arguments, &["--json"]].concat());
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice(&run.stdout).unwrap()
}

#[test]
fn every_key_is_there() {
    let report = json("", &["--no-probe"]);
    let mut keys: Vec<&str> = report.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "version",
        "machine",
        "kernel",
        "cpus",
        "features",
        "tiers",
        "cores",
        "caches",
        "memory",
        "bandwidth",
        "temperatures",
        "clocks",
        "warnings",
    ];
    keys.sort_unstable();
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert!(report["cores"]["default_threads"].as_u64().unwrap() >= 1);
    assert!(report["memory"]["page_bytes"].as_u64().unwrap() >= 4096);
    assert!(report["bandwidth"].is_null());
}

#[test]
fn the_tier_is_the_best_unless_another_is_chosen() {
    let report = json("", &["--no-probe"]);
    let available = report["tiers"]["available"].as_array().unwrap();
    assert_eq!(available.last().unwrap(), "scalar");
    assert_eq!(report["tiers"]["chosen"], available[0]);
    assert_eq!(json("scalar", &["--no-probe"])["tiers"]["chosen"], "scalar");
    let best = available[0].as_str().unwrap();
    assert_eq!(json("scalar", &["--no-probe", "--isa", best])["tiers"]["chosen"], best);
}

#[test]
fn an_unknown_tier_is_a_failure_of_one_line() {
    let line = failure(&doctor("avx1024", &[]));
    assert!(line.contains("\"avx1024\"") && line.contains("scalar"), "{line}");
}

#[test]
fn memory_is_read_with_the_default_threads() {
    let report = json("", &[]);
    let reads = report["bandwidth"]["reads"].as_array().unwrap();
    assert_eq!(reads.last().unwrap()["threads"], report["cores"]["default_threads"]);
    assert!(reads.iter().all(|read| read["gbps"].as_f64().unwrap() > 0.0));
}

#[test]
fn the_text_names_what_was_looked_at() {
    let run = doctor("", &["--no-probe"]);
    let page = String::from_utf8(run.stdout).unwrap();
    for name in ["CPU", "tiers", "cores", "threads", "memory", "pages", "clock"] {
        assert!(page.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}: {page}");
    }
    assert!(page.contains("(chosen)"), "{page}");
}

#[test]
fn what_is_known_of_a_board_is_told_with_its_sources() {
    let said = doctor("", &["--board", "orange-pi-5"]);
    let said = String::from_utf8(said.stdout).unwrap();
    for part in ["RK3588S", "4 × Cortex-A76 at 2400 MHz, 512 KiB of L2 each", "4 × Cortex-A55", "source"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let json = doctor("", &["--board", "orange-pi-5", "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["cpu"]["clusters"][1]["core"], "Cortex-A55");
    assert!(json["sources"]["read_gb_s"].as_str().unwrap().contains("llama.cpp"));
}
