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
                None => end(status, &said),
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
fn end(status: ExitStatus, said: &str) -> String {
    /// What Rust's programs say where there is no memory.
    const NO_MEMORY: &str = "memory allocation of ";
    if said.lines().any(|line| line.starts_with(NO_MEMORY)) {
        let memory = MEMORY >> 20;
        return format!(
            "a PDF file that takes more memory than one may: {memory} MiB and {MEMORY_PER_BYTE} bytes for each of its own"
        );
    }
    if status.signal() == Some(rustix::process::Signal::XCPU.as_raw()) {
        return format!("a PDF file that takes more time than one may: {SECONDS} s of computing");
    }
    format!("a damaged PDF file: the process that read it ended with {status}")
}

/// Reads a PDF file from standard input and prints its text, within limits of memory and time. One of more than `pages` pages
/// is refused.
///
/// # Errors
/// As [`extract`].
#[cfg(feature = "pdf")]
pub fn work(pages: Option<usize>) -> Result<(), DocumentError> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    use std::io;
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    let limit_to =
        |resource, current, most| setrlimit(resource, Rlimit { current: Some(current), maximum: Some(most) });
    let limit = |resource, most| limit_to(resource, most, most);
    limit(Resource::As, MEMORY + MEMORY_PER_BYTE * bytes.len() as u64).map_err(io::Error::from)?;
    // The first limit has a signal of its own; what ends a process at the second may be anything.
    limit_to(Resource::Cpu, SECONDS, SECONDS + 1).map_err(io::Error::from)?;
    limit(Resource::Core, 0).map_err(io::Error::from)?;
    io::stdout().write_all(extract(bytes, pages)?.as_bytes())?;
    Ok(())
}

/// Refuses, as this build reads no PDF files.
///
/// # Errors
/// Always.
#[cfg(not(feature = "pdf"))]
pub fn work(_: Option<usize>) -> Result<(), DocumentError> {
    Err(DocumentError::NotBuilt("a PDF file"))
}

#[cfg(all(test, feature = "pdf"))]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_named_where_it_was_met() {
        let (aborted, out_of_time) = (ExitStatus::from_raw(6), ExitStatus::from_raw(24));
        let memory =
            "a PDF file that takes more memory than one may: 512 MiB and 16 bytes for each of its own";
        assert_eq!(end(aborted, "\nmemory allocation of 9 bytes failed\nmore"), memory);
        let time = "a PDF file that takes more time than one may: 120 s of computing";
        assert_eq!(end(out_of_time, ""), time);
        let other = "a damaged PDF file: the process that read it ended with signal: 6 (SIGABRT)";
        assert_eq!(end(aborted, "thread 'main' has overflowed its stack"), other);
    }
}
