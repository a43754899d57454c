//! The text of PDF files, read by a process of its own: a hostile file ends that one, or meets its limits, and no more.

#[cfg(feature = "pdf")]
mod columns;
#[cfg(feature = "pdf")]
mod extract;
#[cfg(feature = "pdf")]
mod hyphens;
#[cfg(feature = "pdf")]
mod layout;

#[cfg(feature = "pdf")]
pub use extract::extract;
#[cfg(feature = "pdf")]
pub use layout::{Layout, Mark};

use crate::DocumentError;
#[cfg(feature = "pdf")]
use std::{
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus, Stdio},
    thread,
};

/// Memory that the process may have besides, and for each byte of the file.
#[cfg(feature = "pdf")]
const MEMORY: u64 = 512 << 20;
#[cfg(feature = "pdf")]
const MEMORY_PER_BYTE: u64 = 16;
/// Seconds that it may compute.
#[cfg(feature = "pdf")]
const SECONDS: u64 = 120;
/// Bytes of its last words that are kept.
#[cfg(feature = "pdf")]
const LAST_WORDS: u64 = 64 << 10;

/// Whether these are a PDF file's bytes. Some have others in front.
pub fn is_pdf(bytes: &[u8]) -> bool {
    const MAGIC: &[u8] = b"%PDF-";
    /// Where readers look for it.
    const HEAD: usize = 1024;
    bytes.get(..HEAD).unwrap_or(bytes).windows(MAGIC.len()).any(|window| window == MAGIC)
}

/// How a program starts itself as the process that reads a PDF file.
#[derive(Clone, Copy, Debug)]
pub struct Worker {
    /// What its last line on standard error begins with when it fails.
    pub prefix: &'static str,
    /// Arguments with which this program calls [`work`], and prints an error behind `prefix`.
    pub arguments: &'static [&'static str],
    /// Bytes of text, at most.
    pub most: u64,
    /// Bytes of memory, at most, where there are fewer than a file may otherwise take: the program takes them behind
    /// `--pdf-memory`, and gives them to [`work`].
    pub memory: Option<u64>,
}

impl Worker {
    /// The text of a PDF file, in the order in which it is read, with blank lines between paragraphs and pages.
    ///
    /// # Errors
    /// A file that is damaged, needs a password, or holds no text.
    #[cfg(feature = "pdf")]
    pub fn text(&self, bytes: &[u8]) -> Result<String, DocumentError> {
        let mut process = Command::new("/proc/self/exe")
            .args(self.arguments)
            .args(self.memory.map(|bytes| format!("--pdf-memory={bytes}")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = process.stdin.take() {
            // If it has ended already, its last words say why.
            let _ = input.write_all(bytes);
        }
        let (output, errors) = (process.stdout.take(), process.stderr.take());
        let said = thread::spawn(move || {
            let mut said = Vec::new();
            // If it breaks off, what came until then is what there is.
            let _ = errors.map(|errors| errors.take(LAST_WORDS).read_to_end(&mut said));
            said
        });
        let mut text = Vec::new();
        let read =
            output.map(|output| output.take(self.most.saturating_add(1)).read_to_end(&mut text)).transpose();
        let is_too_long = text.len() as u64 > self.most;
        if read.is_err() || is_too_long {
            // It has ended already where that fails.
            let _ = process.kill();
        }
        let status = process.wait()?;
        read?;
        if is_too_long {
            return Err(DocumentError::Worker(format!(
                "a PDF file of more than {} bytes of text",
                self.most
            )));
        }
        if status.success() {
            let text = String::from_utf8(text);
            return text
                .map_err(|_| DocumentError::Worker("the process that read it printed no text".to_owned()));
        }
        let said = said.join().unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        Err(DocumentError::Worker(
            match said.lines().last().and_then(|line| line.strip_prefix(self.prefix)) {
                Some(line) => line.to_owned(),
                None => end(status, &said, limit(bytes.len(), self.memory)),
            },
        ))
    }

    /// Refuses, as this build reads no PDF files.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "pdf"))]
    pub fn text(&self, _: &[u8]) -> Result<String, DocumentError> {
        Err(DocumentError::NotBuilt("a PDF file"))
    }
}

/// Why a process that says nothing of its own ended so: at a limit, or by what it met in the file.
#[cfg(feature = "pdf")]
fn end(status: ExitStatus, said: &str, limit: u64) -> String {
    /// What Rust's programs say where there is no memory.
    const NO_MEMORY: &str = "memory allocation of ";
    if said.lines().any(|line| line.starts_with(NO_MEMORY)) {
        let memory = limit >> 20;
        return format!("a PDF file that takes more memory than there is for it: {memory} MiB");
    }
    if status.signal() == Some(rustix::process::Signal::XCPU.as_raw()) {
        return format!("a PDF file that takes more time than one may: {SECONDS} s of computing");
    }
    format!("a damaged PDF file: the process that read it ended with {status}")
}

/// Bytes of memory that the process may have for a file of so many bytes.
#[cfg(feature = "pdf")]
fn limit(bytes: usize, memory: Option<u64>) -> u64 {
    (MEMORY + MEMORY_PER_BYTE * bytes as u64).min(memory.unwrap_or(u64::MAX))
}

/// Reads a PDF file from standard input and prints its text, within limits of memory and time. One of more than `pages` pages
/// is refused. `memory` is as in a [`Worker`].
///
/// # Errors
/// As [`extract`].
#[cfg(feature = "pdf")]
pub fn work(pages: Option<usize>, memory: Option<u64>) -> Result<(), DocumentError> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    use std::io;
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    let limit_to =
        |resource, current, most| setrlimit(resource, Rlimit { current: Some(current), maximum: Some(most) });
    let at_most = |resource, most| limit_to(resource, most, most);
    at_most(Resource::As, limit(bytes.len(), memory)).map_err(io::Error::from)?;
    // The first limit has a signal of its own; what ends a process at the second may be anything.
    limit_to(Resource::Cpu, SECONDS, SECONDS + 1).map_err(io::Error::from)?;
    at_most(Resource::Core, 0).map_err(io::Error::from)?;
    io::stdout().write_all(extract(bytes, pages)?.as_bytes())?;
    Ok(())
}

/// Refuses, as this build reads no PDF files.
///
/// # Errors
/// Always.
#[cfg(not(feature = "pdf"))]
pub fn work(_: Option<usize>, _: Option<u64>) -> Result<(), DocumentError> {
    Err(DocumentError::NotBuilt("a PDF file"))
}

#[cfg(all(test, feature = "pdf"))]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_named_where_it_was_met() {
        let (aborted, out_of_time) = (ExitStatus::from_raw(6), ExitStatus::from_raw(24));
        let said = "\nmemory allocation of 9 bytes failed\nmore";
        for (most, memory) in [(None, 528), (Some(100 << 20), 100), (Some(1 << 30), 528)] {
            let expected = format!("a PDF file that takes more memory than there is for it: {memory} MiB");
            assert_eq!(end(aborted, said, limit(1 << 20, most)), expected);
        }
        let time = "a PDF file that takes more time than one may: 120 s of computing";
        assert_eq!(end(out_of_time, "", 0), time);
        let other = "a damaged PDF file: the process that read it ended with signal: 6 (SIGABRT)";
        assert_eq!(end(aborted, "thread 'main' has overflowed its stack", 0), other);
    }
}
