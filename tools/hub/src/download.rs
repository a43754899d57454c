//! Fetching one file: what was cut off is gone on with, and nothing is believed.

use crate::client::{Client, Failure, Request, Response, io_said};
use crate::digest::{Digest, Proof};
use crate::remote::RemoteFile;
use crate::shown::shown;
use anyhow::{Result, anyhow};
use indicatif::ProgressBar;
use siskin_kit::GrowingFile;
use std::cell::Cell;
use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

/// What GGUF files begin with.
const MAGIC: &[u8] = b"GGUF";
/// What must have come beyond all that was there before, so that a server is asked as often again as at first: a part of the
/// file, or so many bytes of a large one.
const PROGRESS: (u64, u64) = (128, 1 << 20);
/// Bytes a second that must come on average, within the time that a server may say nothing.
const LEAST_RATE: u64 = 1 << 10;

/// A file on its way.
struct Download<'d> {
    client: &'d Client<'d>,
    remote: &'d RemoteFile,
    growing: &'d mut GrowingFile,
    digest: Digest,
    /// What the server calls the state of the file that has begun to come.
    validator: Option<String>,
    /// Whether the server gives parts of files, as far as is known.
    ranges: bool,
    bar: &'d ProgressBar,
}

/// Fetches all of a file, from where it was left, and returns its SHA-256. What turns out to be damaged is not kept.
pub(crate) fn download(
    client: &Client<'_>,
    remote: &mut RemoteFile,
    growing: &mut GrowingFile,
    bar: &ProgressBar,
) -> Result<String, Failure> {
    let mut answer = remote.answer.take();
    let mut kept = growing.length();
    if kept > remote.bytes {
        growing.restart()?;
        kept = 0;
    }
    loop {
        let mut digest = Digest::new(remote.bytes);
        growing.read_back(|piece| digest.update(piece, &remote.proof))?;
        let validator = remote.validator.clone();
        // Parts of what may be two files are not put together.
        let ranges = remote.proof != Proof::None || validator.is_some();
        let mut download = Download { client, remote, growing, digest, validator, ranges, bar };
        download.fetch(answer.take())?;
        let (found, proven) = download.digest.finish(&remote.proof);
        if proven {
            return Ok(found);
        }
        bar.set_position(bar.position().saturating_sub(growing.length()));
        growing.restart()?;
        // What an earlier run left may be what a loss of power made of it.
        if kept == 0 {
            let expected = match &remote.proof {
                Proof::Sha256(hash) => format!("SHA-256 is {found}, expected {hash}"),
                Proof::Git(_) | Proof::None => "hash is another".into(),
            };
            return Err(anyhow!("what came is damaged and was not kept: its {expected}").into());
        }
        kept = 0;
    }
}

impl Download<'_> {
    /// Fetches until all is there.
    fn fetch(&mut self, mut answer: Option<Response>) -> Result<(), Failure> {
        let (part, most) = PROGRESS;
        let enough = (self.remote.bytes / part).min(most).max(1);
        let furthest = Cell::new(self.growing.length());
        let counted = Cell::new(furthest.get());
        // It is true at most `part` times, or once for so many bytes.
        let progress = || {
            let is_enough = furthest.get() - counted.get() >= enough;
            if is_enough {
                counted.set(furthest.get());
            }
            is_enough
        };
        let bar = self.bar.clone();
        let waiting = |said: &str, wait: std::time::Duration| match wait.as_secs() {
            0 => {}
            seconds => bar.set_message(format!("{said}: again in {seconds} s")),
        };
        let client = self.client;
        client.patiently(progress, waiting, || self.piece(answer.take(), &furthest))
    }

    /// Fetches what one answer gives. `furthest` is how much of the file there was at most.
    fn piece(&mut self, answer: Option<Response>, furthest: &Cell<u64>) -> Result<(), Failure> {
        let from = self.growing.length();
        if from == self.remote.bytes {
            return Ok(());
        }
        let from = if self.ranges { from } else { self.begin_again().map(|()| 0)? };
        let request = Request { address: &self.remote.address, from, validator: self.validator.as_deref() };
        let mut answer = match answer {
            Some(answer) if from == 0 => answer,
            _ => match self.client.get(request) {
                // There is nothing behind what is here, says the server: it is another file, or it errs.
                Err(Failure::Refused(refusal)) if refusal.status == 416 && from > 0 => {
                    self.ranges = false;
                    return Err(again("the server has no such part of the file"));
                }
                answer => answer?,
            },
        };
        self.check(&answer, from)?;
        if from > 0 && answer.status == 200 {
            // It does not give parts, or its file is another by now.
            self.begin_again()?;
            self.validator = None;
        }
        if self.validator.is_none() {
            self.validator = answer.validator();
        }
        self.bar.set_message("");
        self.copy(&mut answer, furthest)
    }

    /// Whether an answer is to what was asked.
    fn check(&mut self, answer: &Response, from: u64) -> Result<(), Failure> {
        let total = self.remote.bytes;
        let first = match answer.status {
            206 => {
                let range = answer.header("content-range").unwrap_or_default();
                if from == 0 || range_of(range) != Some((from, total)) {
                    // Once without asking for a part; then it is refused for good.
                    let said = format!("the server gives another part of the file: {}", shown(range));
                    if !self.ranges {
                        return Err(anyhow!("{said}").into());
                    }
                    self.ranges = false;
                    return Err(again(&said));
                }
                from
            }
            _ => 0,
        };
        match answer.length() {
            Some(length) if length != total - first => Err(anyhow!(
                "the server announces {length} bytes, expected {}: the file may be another by now",
                total - first
            )
            .into()),
            _ => Ok(()),
        }
    }

    fn begin_again(&mut self) -> Result<(), Failure> {
        self.bar.set_position(self.bar.position().saturating_sub(self.growing.length()));
        self.growing.restart()?;
        self.digest = Digest::new(self.remote.bytes);
        Ok(())
    }

    /// Takes what comes, and never more than was announced.
    fn copy(&mut self, answer: &mut Response, furthest: &Cell<u64>) -> Result<(), Failure> {
        let mut buffer = vec![0; 1 << 17];
        let mut pace = Pace::new(self.client.settings.silence);
        loop {
            let left = self.remote.bytes - self.growing.length();
            if left == 0 {
                return Ok(());
            }
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let count = match answer.body.read(buffer.get_mut(..room).unwrap_or_default()) {
                Ok(0) => return Err(again("the connection was cut")),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(again(&io_said(&error))),
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            if self.growing.length() == 0 {
                check_magic(bytes)?;
            }
            self.growing.append(bytes)?;
            self.digest.update(bytes, &self.remote.proof);
            self.bar.inc(count as u64);
            furthest.set(furthest.get().max(self.growing.length()));
            self.client.go_on()?;
            if !pace.is_kept(count) {
                return Err(again("hardly anything comes any more"));
            }
        }
    }
}

/// How fast bytes come: a server that gives one now and then would never be done.
struct Pace {
    window: Duration,
    since: Instant,
    bytes: u64,
}

impl Pace {
    fn new(window: Duration) -> Pace {
        Pace { window, since: Instant::now(), bytes: 0 }
    }

    /// Whether they come fast enough, these `count` included.
    fn is_kept(&mut self, count: usize) -> bool {
        self.bytes += count as u64;
        let elapsed = self.since.elapsed();
        if elapsed < self.window {
            return true;
        }
        let is_kept = self.bytes >= LEAST_RATE.saturating_mul(elapsed.as_secs());
        (self.since, self.bytes) = (Instant::now(), 0);
        is_kept
    }
}

fn again(said: &str) -> Failure {
    Failure::Passing { said: said.into(), wait: None }
}

/// The first byte and the whole length that a `Content-Range` names, if it goes to the end of the file.
fn range_of(header: &str) -> Option<(u64, u64)> {
    let (range, total) = header.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total): (u64, u64, u64) =
        (first.parse().ok()?, last.parse().ok()?, total.parse().ok()?);
    (last.checked_add(1) == Some(total) && first <= last).then_some((first, total))
}

/// A page that says what is wrong, or something else that is no model, is noticed before all of it came.
fn check_magic(bytes: &[u8]) -> Result<()> {
    let first = bytes.get(..MAGIC.len()).unwrap_or(bytes);
    if MAGIC.starts_with(first) {
        return Ok(());
    }
    let text = bytes.trim_ascii_start();
    let what = match text {
        [b'<', ..] => "a page of the web",
        [b'{', ..] => "a JSON text",
        _ if text.starts_with(b"version https://git-lfs") => "a pointer of Git LFS",
        _ => "something else",
    };
    Err(anyhow!("expected a GGUF file, the server sends {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_go_to_the_end_of_the_file() {
        assert_eq!(range_of("bytes 5-9/10"), Some((5, 10)));
        for header in [
            "",
            "bytes 5-9/*",
            "bytes 5-8/10",
            "bytes 9-5/10",
            "5-9/10",
            "bytes */10",
            "bytes 0-18446744073709551615/0",
        ] {
            assert_eq!(range_of(header), None, "{header}");
        }
    }

    #[test]
    fn what_hardly_comes_is_as_nothing() {
        let window = Duration::from_secs(1);
        let begun = |bytes| Pace { window, since: Instant::now() - window, bytes };
        assert!(!begun(0).is_kept(1) && !begun(1000).is_kept(20));
        assert!(begun(1000).is_kept(100) && Pace::new(window).is_kept(1));
    }

    #[test]
    fn what_is_no_model_is_called_by_its_name() {
        assert!(check_magic(b"GGUF\x03").is_ok() && check_magic(b"GG").is_ok());
        let said = |bytes: &[u8]| check_magic(bytes).unwrap_err().to_string();
        assert!(said(b" <!DOCTYPE html>").ends_with("a page of the web"));
        assert!(said(b"version https://git-lfs.github.com/spec/v1\n").ends_with("a pointer of Git LFS"));
        assert!(said(b"PK\x03\x04").ends_with("something else"));
    }
}
