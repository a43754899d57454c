//! Tests that end their own process run again in one that may end.

use std::path::Path;
use std::process::{Command, Output};

/// Runs the test `name` of this program again in a process of its own, with `model` in the environment variable
/// `key`. Where cargo starts the tests of a foreign architecture in an emulator, so is that process.
pub(crate) fn run_again(name: &str, key: &str, model: &Path) -> Output {
    let program = std::env::current_exe().unwrap();
    let runner = format!("CARGO_TARGET_{}_UNKNOWN_LINUX_GNU_RUNNER", std::env::consts::ARCH.to_uppercase());
    let runner = std::env::var(runner).unwrap_or_default();
    let mut words = runner.split_whitespace();
    let mut command = match words.next() {
        Some(emulator) => Command::new(emulator),
        None => Command::new(&program),
    };
    if !runner.is_empty() {
        command.args(words).arg(&program);
    }
    command.args(["--exact", name, "--nocapture"]).env(key, model).output().unwrap()
}
