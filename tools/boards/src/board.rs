use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Names the files of `targets/boards/`, which become part of the program.
macro_rules! boards {
    ($($id:literal,)*) => {
        /// What each board is called, and the text of its file.
        const FILES: &[(&str, &str)] =
            &[$(($id, include_str!(concat!("../../../targets/boards/", $id, ".toml"))),)*];
    };
}

boards! {
    "beagleplay",
    "imx8m-plus",
    "intel-n100",
    "jetson-orin-nano",
    "orange-pi-5",
    "raspberry-pi-3",
    "raspberry-pi-4",
    "raspberry-pi-5",
    "raspberry-pi-zero-2w",
    "rock-5b",
    "visionfive-2",
}

/// A board, by its maker or by whom [`Board::sources`] names. What is None is not known for sure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Board {
    /// What it is sold as.
    pub name: String,
    /// Rust's name of what is built for it.
    pub triple: String,
    /// The best kernels that it runs, as `SISKIN_ISA` spells them.
    pub tier: String,
    /// Its processor.
    pub cpu: Cpu,
    /// Its memory.
    pub memory: Memory,
    /// Where what is said is from, by the names of the keys.
    pub sources: BTreeMap<String, String>,
}

/// A board's processor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Cpu {
    /// The chip.
    pub soc: String,
    /// Cores of a kind, the fastest first.
    pub clusters: Vec<Cluster>,
    /// What kernels could use, as Linux spells it in `/proc/cpuinfo`.
    pub features: Vec<String>,
    /// The third-level cache, in KiB.
    pub l3_kib: Option<u64>,
}

/// Cores of a kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Cluster {
    /// Their microarchitecture.
    pub core: String,
    /// How many there are.
    pub cores: usize,
    /// Their highest clock.
    pub clock_mhz: f64,
    /// The second-level cache, in KiB.
    pub l2_kib: u64,
    /// Whether that is one for all of them.
    pub l2_shared: bool,
}

/// A board's memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Memory {
    /// The sizes that the board is sold with, in MiB.
    pub options_mib: Vec<u64>,
    /// What kind it is.
    pub kind: String,
    /// What it could give by its kind, in GB/s.
    pub bandwidth_gb_s: Option<f64>,
    /// What programs that only read get, in GB/s.
    pub read_gb_s: Option<f64>,
    /// Bytes that programs copy, in GB/s.
    pub copy_gb_s: Option<f64>,
    /// The kernel's page size, in KiB.
    pub page_kib: Option<u64>,
}

/// A name that no board has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no board {name:?}: expected one of {}", Board::names().collect::<Vec<_>>().join(", "))]
pub struct UnknownBoard {
    name: String,
}

impl Board {
    /// What the system and its services take of a board's memory before the program starts, and beside it, in bytes.
    pub const SYSTEM: u64 = 160 << 20;

    /// The largest memory that it is sold with, in bytes, without what the system takes.
    pub fn most_memory(&self) -> u64 {
        let most = self.memory.options_mib.iter().max().copied().unwrap_or(0);
        (most << 20).saturating_sub(Self::SYSTEM)
    }

    /// What the boards are called here, in the order of the alphabet.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FILES.iter().map(|(name, _)| *name)
    }

    /// The board of this name, in any case.
    ///
    /// # Errors
    /// A name that none has.
    pub fn named(name: &str) -> Result<Self, UnknownBoard> {
        let file = FILES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        // Files are sound: a test reads them all.
        file.and_then(|(_, text)| toml::from_str(text).ok())
            .ok_or_else(|| UnknownBoard { name: name.to_owned() })
    }

    /// What memory gives to programs that only read, in GB/s: as it was measured, or twice what they copy.
    pub fn read_gb_s(&self) -> Option<f64> {
        self.memory.read_gb_s.or(self.memory.copy_gb_s.map(|copied| 2.0 * copied))
    }

    /// The cores that inference runs on: all of the fastest kind.
    pub fn fast_cores(&self) -> usize {
        let fastest = self.cpu.clusters.first().map(|cluster| &cluster.core);
        self.cpu
            .clusters
            .iter()
            .filter(|cluster| Some(&cluster.core) == fastest)
            .map(|cluster| cluster.cores)
            .sum()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn all_files_are_sound_and_listed() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../targets/boards");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        assert_eq!(files, Board::names().map(|name| format!("{name}.toml")).collect::<Vec<_>>());
        for (name, text) in FILES {
            let board: Board = toml::from_str(text).expect(name);
            assert!(board.fast_cores() > 0 && !board.memory.options_mib.is_empty(), "{name}");
            let rate = board.read_gb_s().expect(name);
            assert!(
                board.memory.bandwidth_gb_s.is_none_or(|most| rate <= most),
                "{name}: reads beyond its memory"
            );
            for key in ["cpu", if board.memory.read_gb_s.is_some() { "read_gb_s" } else { "copy_gb_s" }] {
                assert!(board.sources.contains_key(key), "{name}: no source of {key}");
            }
            assert_eq!(
                board.memory.bandwidth_gb_s.is_some(),
                board.sources.contains_key("bandwidth_gb_s"),
                "{name}"
            );
        }
    }

    #[test]
    fn boards_are_found_by_name() {
        assert_eq!(Board::named("Raspberry-Pi-5").unwrap().name, "Raspberry Pi 5");
        let error = Board::named("raspberry-pi-6").unwrap_err().to_string();
        assert!(
            error.starts_with("there is no board \"raspberry-pi-6\": expected one of beagleplay, "),
            "{error}"
        );
    }

    #[test]
    fn slow_cores_do_no_inference() {
        assert_eq!(Board::named("orange-pi-5").unwrap().fast_cores(), 4);
        assert_eq!(Board::named("jetson-orin-nano").unwrap().fast_cores(), 6);
    }
}
