//! The text of PDF files, read by a process of its own: a hostile file ends that one, or meets its limits, and no more.

#[cfg(feature = "pdf")]
mod extract;
#[cfg(feature = "pdf")]
mod layout;

#[cfg(feature = "pdf")]
use extract::extract;

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

/// The flag that makes this program read a PDF file, from standard input.
pub(super) const WORKER_FLAG: &str = "--pdf-worker";

/// Memory that the process may have besides, and for each byte of the file.
const MEMORY: u64 = 512 << 20;
const MEMORY_PER_BYTE: u64 = 16;
/// Seconds that it may compute.
const SECONDS: u64 = 120;

/// Whether these are a PDF file's bytes. Some have others in front.
pub(super) fn is_pdf(bytes: &[u8]) -> bool {
    const MAGIC: &[u8] = b"%PDF-";
    /// Where readers look for it.
    const HEAD: usize = 1024;
    bytes.get(..HEAD).unwrap_or(bytes).windows(MAGIC.len()).any(|window| window == MAGIC)
}

/// The text of a PDF file, in the order in which it is drawn, with blank lines between paragraphs and pages.
///
/// # Errors
/// A file that is damaged, needs a password, or holds no text.
pub(super) fn text(bytes: &[u8]) -> Result<String> {
    let mut process = Command::new("/proc/self/exe")
        .args(["summarize", WORKER_FLAG])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start a process")?;
    if let Some(mut input) = process.stdin.take() {
        // If it has ended already, its last words say why.
        let _ = input.write_all(bytes);
    }
    let run = process.wait_with_output().context("its process")?;
    if run.status.success() {
        return String::from_utf8(run.stdout).context("its process");
    }
    let said = String::from_utf8_lossy(&run.stderr);
    match said.lines().last().and_then(|line| line.strip_prefix("siskin: ")) {
        Some(line) => bail!("{line}"),
        None => bail!("a damaged PDF file: the process that read it ended with {}", run.status),
    }
}

/// Reads a PDF file from standard input and prints its text.
pub(super) fn work() -> Result<()> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).context("standard input")?;
    let limit = |resource, most| setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
    limit(Resource::As, MEMORY + MEMORY_PER_BYTE * bytes.len() as u64)?;
    limit(Resource::Cpu, SECONDS)?;
    limit(Resource::Core, 0)?;
    let text = extract(bytes)?;
    io::stdout().write_all(text.as_bytes()).context("standard output")
}

#[cfg(not(feature = "pdf"))]
fn extract(_: Vec<u8>) -> Result<String> {
    bail!("a PDF file, and this program was built without what reads them")
}
