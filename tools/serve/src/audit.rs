//! The audit log: a line of JSON for each answer, with all that it depends on, so that it can be made again.

#![allow(clippy::disallowed_methods, reason = "the log's files are written and rotated here")]

use crate::answers::{Finish, Outcome};
use crate::keys::{Client, Reserved};
use crate::models::Loaded;
use crate::options::{AuditOptions, LogFormat};
use crate::refusal::Refusal;
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use siskin::AnswerLimits;
use siskin::grammar::GrammarSource;
use siskin::sampler::SamplerOptions;
use siskin_kit::hash;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

/// What is written down, by a thread that a disk may keep waiting.
pub(crate) struct Audit {
    texts: bool,
    lines: Option<mpsc::Sender<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Audit {
    /// Goes on with the log in a file, which is made if need be, for its owner alone to read.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn open(options: &AuditOptions, told: LogFormat) -> Result<Self> {
        let mut log = Log::open(options).with_context(|| options.file.display().to_string())?;
        let (lines, receiver) = mpsc::channel::<String>();
        let write = move || {
            let mut is_failing = false;
            for line in receiver {
                let done = log.write(&line);
                if let (false, Err(error)) = (is_failing, &done) {
                    let name = log.file_name.display().to_string();
                    let said = format!("{name}: {error}: answers are not written down");
                    told.error("audit-fails", said, json!({"file": name}));
                }
                is_failing = done.is_err();
            }
        };
        let thread =
            thread::Builder::new().name("audit".into()).spawn(write).context("the audit's thread")?;
        Ok(Self { texts: options.texts, lines: Some(lines), thread: Some(thread) })
    }

    fn write(&self, line: &Value) {
        if let Some(lines) = &self.lines {
            let _ = lines.send(format!("{line}\n"));
        }
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        drop(self.lines.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A file that is put aside when it is long.
struct Log {
    file_name: PathBuf,
    file: File,
    length: u64,
    most: u64,
}

/// Files that were put aside, at most: `.1` is the newest of them.
const ASIDE: usize = 4;

impl Log {
    fn open(options: &AuditOptions) -> io::Result<Self> {
        let file = append(&options.file)?;
        let length = file.metadata()?.len();
        let mut log = Self { file_name: options.file.clone(), file, length, most: options.bytes };
        if log.is_torn()? {
            // A line that a loss of power has cut ends here.
            log.file.write_all(b"\n")?;
            log.length += 1;
        }
        Ok(log)
    }

    /// Whether the last line has no end.
    fn is_torn(&self) -> io::Result<bool> {
        use std::os::unix::fs::FileExt;
        let Some(last) = self.length.checked_sub(1) else { return Ok(false) };
        let mut byte = [0];
        File::open(&self.file_name)?.read_exact_at(&mut byte, last)?;
        Ok(byte != *b"\n")
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        if self.length > 0 && self.length + line.len() as u64 > self.most {
            self.rotate()?;
        }
        self.file.write_all(line.as_bytes())?;
        self.length += line.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let aside = |number: usize| {
            let mut name = self.file_name.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..ASIDE).rev() {
            if aside(number).exists() {
                fs::rename(aside(number), aside(number + 1))?;
            }
        }
        fs::rename(&self.file_name, aside(1))?;
        self.file = append(&self.file_name)?;
        self.length = 0;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// What a request's answers depend on. Each answer is written down when it is over, or when nobody waits for it any more.
pub(crate) struct Record {
    /// What the key has for them.
    reserved: Reserved,
    /// Pieces of answers that are not over, each of about a token.
    pieces: Vec<usize>,
    model: Arc<Loaded>,
    prompt_tokens: usize,
    seed: u64,
    /// Answers that are not over.
    unfinished: Vec<usize>,
    /// Where they are written down, and what their lines have in common.
    audit: Option<(Arc<Audit>, Map<String, Value>)>,
}

/// How the answers of a request are made.
pub(crate) struct Manner<'a> {
    pub(crate) sampling: &'a SamplerOptions,
    /// The seed of the first answer.
    pub(crate) seed: u64,
    pub(crate) limits: &'a AnswerLimits,
    pub(crate) special: bool,
    /// By name, each with its scale.
    pub(crate) adapters: &'a [(String, f32)],
    /// What they keep to, and whether there may be thoughts before that.
    pub(crate) format: Option<(&'a GrammarSource, bool)>,
}

impl Record {
    /// The record of `count` answers to a prompt, which are among those of the key from now on.
    ///
    /// # Errors
    /// More than the key may have.
    pub(crate) fn new(
        audit: Option<&Arc<Audit>>,
        client: &Client,
        model: &Arc<Loaded>,
        prompt: &[u32],
        manner: &Manner<'_>,
        count: usize,
    ) -> Result<Self, Refusal> {
        // The last token needs no place: nothing follows it.
        let room = (model.context + 1).saturating_sub(prompt.len());
        let longest = manner.limits.tokens.map_or(room, |tokens| tokens.min(room));
        let reserved = client.reserve(count, prompt.len().saturating_add(longest.saturating_mul(count)))?;
        let audit = audit.map(|audit| {
            let mut common = common(client, model, prompt, manner);
            if audit.texts {
                common.insert("prompt".to_owned(), json!(prompt));
            }
            if let Some((source, thinks)) = manner.format {
                common.insert("grammar".to_owned(), grammar(source, thinks, audit.texts));
            }
            (Arc::clone(audit), common)
        });
        Ok(Self {
            reserved,
            pieces: vec![0; count],
            model: Arc::clone(model),
            prompt_tokens: prompt.len(),
            seed: manner.seed,
            unfinished: (0..count).collect(),
            audit,
        })
    }

    /// Takes up that a piece of an answer came.
    pub(crate) fn came(&mut self, index: usize) {
        if let Some(pieces) = self.pieces.get_mut(index) {
            *pieces += 1;
        }
    }

    /// Tokens of the prompt, for the first of its answers.
    fn prompt_of(&self, index: usize) -> usize {
        if index == 0 { self.prompt_tokens } else { 0 }
    }

    /// Takes up that an answer is over.
    pub(crate) fn over(&mut self, index: usize, outcome: &Outcome) {
        self.reserved.count(self.prompt_of(index) + outcome.tokens);
        self.unfinished.retain(|&other| other != index);
        let Some((audit, common)) = &self.audit else { return };
        let finish = match outcome.finish {
            Finish::Stop => "stop",
            Finish::ToolCalls => "tool_calls",
            Finish::Length => "length",
        };
        let milliseconds = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        let mut line = self.line(common, index, finish);
        let mut set = |name: &str, value: Value| line.insert(name.to_owned(), value);
        set("cached_tokens", json!(outcome.cached_tokens));
        set("answer_tokens", json!(outcome.tokens));
        set("answer_hash", json!(of_tokens(&outcome.all_tokens)));
        set("queued_ms", json!(milliseconds(outcome.times.queued)));
        set("prompt_ms", json!(milliseconds(outcome.times.prompt)));
        set("answer_ms", json!(milliseconds(outcome.times.answer)));
        if audit.texts {
            let tokenizer = self.model.model.tokenizer();
            let pieces = outcome.all_tokens.iter().flat_map(|&token| tokenizer.piece(token));
            let bytes: Vec<u8> = pieces.copied().collect();
            set("answer", json!(outcome.all_tokens));
            set("text", json!(String::from_utf8_lossy(&bytes)));
        }
        audit.write(&Value::Object(line));
    }

    fn line(&self, common: &Map<String, Value>, index: usize, finish: &str) -> Map<String, Value> {
        let mut line = common.clone();
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        line.insert("time".to_owned(), json!(time));
        line.insert("seed".to_owned(), json!(self.seed.wrapping_add(index as u64)));
        line.insert("finish".to_owned(), json!(finish));
        line
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // Who goes away has used what came.
        for &index in &self.unfinished {
            let pieces = self.pieces.get(index).copied().unwrap_or_default();
            if pieces > 0 {
                self.reserved.count(self.prompt_of(index) + pieces);
            }
        }
        if let Some((audit, common)) = &self.audit {
            for &index in &self.unfinished {
                audit.write(&Value::Object(self.line(common, index, "broken off")));
            }
        }
    }
}

/// What the lines of all answers of a request say.
fn common(client: &Client, model: &Loaded, prompt: &[u32], manner: &Manner<'_>) -> Map<String, Value> {
    let options = manner.sampling.to_json().into_iter().filter(|(name, _)| *name != "seed");
    let options: Map<String, Value> = options.map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let fields = [
        ("key", json!(&**client.name())),
        ("model", json!(model.name)),
        ("weights", json!(format!("{:032x}", model.model.fingerprint()))),
        ("adapters", json!(manner.adapters)),
        ("context", json!(model.context)),
        ("cache", json!(model.cache)),
        ("sampling", Value::Object(options)),
        ("max_tokens", json!(manner.limits.tokens)),
        ("stop", json!(manner.limits.stop)),
        ("special", json!(manner.special)),
        ("prompt_tokens", json!(prompt.len())),
        ("prompt_hash", json!(of_tokens(prompt))),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What answers keep to. Its text is a client's own, as a prompt is.
fn grammar(source: &GrammarSource, thinks: bool, texts: bool) -> Value {
    let (kind, text) = source.to_named();
    let mut value = json!({"kind": kind, "thinks": thinks, "hash": hash::of(text.as_bytes())});
    if texts {
        value["text"] = json!(text);
    }
    value
}

/// The hash of tokens.
fn of_tokens(tokens: &[u32]) -> String {
    hash::of(&tokens.iter().flat_map(|token| token.to_le_bytes()).collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_goes_on_and_is_put_aside_when_it_is_long() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("audit.jsonl");
        fs::write(&file, "{\"torn\"").unwrap();
        let options = AuditOptions { file: file.clone(), texts: false, bytes: 30 };
        let mut log = Log::open(&options).unwrap();
        for number in 0..14 {
            log.write(&format!("{{\"n\": {number:2}}}\n")).unwrap();
        }
        drop(log);
        let read = |ending: &str| {
            let mut name = file.clone().into_os_string();
            name.push(ending);
            fs::read_to_string(name).ok()
        };
        let lines = |numbers: std::ops::RangeInclusive<i32>| -> String {
            numbers.map(|number| format!("{{\"n\": {number:2}}}\n")).collect()
        };
        assert_eq!((read("").unwrap(), read(".1").unwrap()), (lines(11..=13), lines(8..=10)));
        assert_eq!(read(".4").unwrap(), format!("{{\"torn\"\n{}", lines(0..=1)));
        assert_eq!(read(".5"), None);
    }
}
