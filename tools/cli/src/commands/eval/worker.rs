//! One model in a process of its own, so that nothing else is in the peak memory that is taken for its.
//!
//! The kernel's other way, to reset the peak through `/proc/self/clear_refs`, would leave in it what the allocator
//! kept of the model before, and of texts and tables.

use super::Arguments;
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use siskin_judge::eval::{Evaluation, Logits};
use siskin_kit::Inputs;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::str::FromStr;

/// What a process is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Job {
    /// Evaluate the model of this number.
    Model { index: usize, logits: Option<Logits> },
    /// Work out the reference's logits.
    Reference { logits: Logits },
}

impl FromStr for Job {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
    }
}

/// Runs this program once more with the same arguments, for one job.
///
/// # Errors
/// What the process says, in its words.
pub(super) fn start(job: &Job, subject: &Path) -> Result<Evaluation> {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    ensure!(!arguments.is_empty(), "the program has no arguments");
    // Behind the command's name, before anything that may end the options.
    arguments.splice(1..1, ["--worker".into(), serde_json::to_string(job)?.into()]);
    let run = Command::new("/proc/self/exe").args(arguments).output().context("cannot start a process")?;
    if !run.status.success() {
        let said = String::from_utf8_lossy(&run.stderr);
        match said.lines().last().and_then(|line| line.strip_prefix("siskin: ")) {
            Some(line) => bail!("{line}"),
            None => bail!("{}: its process ended with {}", subject.display(), run.status),
        }
    }
    serde_json::from_slice(&run.stdout).with_context(|| format!("{}: its process", subject.display()))
}

/// Does the job and prints what it found out.
pub(super) fn run(arguments: &Arguments, job: &Job, inputs: &Inputs) -> Result<()> {
    let settings = arguments.settings();
    let evaluation = match job {
        Job::Reference { logits } => {
            let path = arguments.against.as_ref().context("no reference")?;
            settings
                .write_reference(logits, &inputs.clone().and(arguments.html.as_deref()))
                .map_err(|error| named(path, error))?;
            Evaluation::default()
        }
        Job::Model { index, logits } => {
            let path = arguments.models.get(*index).context("no such model")?;
            let evaluated = Evaluation::new(&settings, path, logits.as_ref());
            evaluated.map_err(|error| named(path, error))?
        }
    };
    serde_json::to_writer(io::stdout().lock(), &evaluation)?;
    io::stdout().flush().context("standard output")
}

/// An error of a model, with its path before it unless it is there already.
fn named(path: &Path, error: anyhow::Error) -> anyhow::Error {
    let name = path.display().to_string();
    if error.to_string().starts_with(&name) { error } else { error.context(name) }
}
