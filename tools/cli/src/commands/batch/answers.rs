use super::request::Id;
use crate::long_work::journal::{Header, Settings};
use crate::terminal::Reply;
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use siskin::Ending;
use siskin_kit::hash::hex;
use siskin_kit::{Inputs, Lines, Output, regular_file};
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str;

/// The file of answers, and beside it the journal that says what they answer.
pub(super) struct Answers {
    lines: Lines,
    journal: PathBuf,
    /// The journal's first line.
    header: Header,
    /// The others: a hash of each line of the input.
    hashes: Vec<String>,
    /// Which file the journal is, once it is complete.
    written: Option<FileId>,
    /// What is read, and the output, none of which the journal replaces.
    inputs: Inputs,
}

/// A file's device, number and length.
type FileId = (u64, u64, u64);

const FORMAT: &str = "siskin batch journal 2";
/// No header is longer, unless stop strings are absurd.
const LONGEST_HEADER: u64 = 1 << 20;
/// Nor is any hash.
const LONGEST_HASH: u64 = 1 << 8;

/// An answer as the output has it.
#[derive(Debug, Serialize)]
pub(super) struct Record<'a> {
    id: &'a Id,
    content: &'a str,
    finish_reason: &'static str,
    usage: Usage,
}

#[derive(Debug, Serialize)]
struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens_details: Option<Details>,
}

#[derive(Debug, Serialize)]
struct Details {
    reasoning_tokens: usize,
}

impl<'a> Record<'a> {
    /// The answer to a prompt of so many tokens. Those of thoughts that were `hidden` are counted, as OpenAI does.
    pub(super) fn new(id: &'a Id, prompt_tokens: usize, answer: &'a Reply, hidden: usize) -> Record<'a> {
        let finish_reason = if answer.ending == Ending::Complete { "stop" } else { "length" };
        let details = Some(Details { reasoning_tokens: hidden }).filter(|_| hidden > 0);
        let completion_tokens = answer.tokens.len();
        let usage = Usage { prompt_tokens, completion_tokens, completion_tokens_details: details };
        Record { id, content: &answer.text, finish_reason, usage }
    }
}

impl Answers {
    /// Opens the file of answers at `path`, which is none of `inputs`, or makes it. Answers that are there must be those
    /// of a batch with the same settings.
    ///
    /// # Errors
    /// Files that are another's, and answers of other settings; none is changed then.
    pub(super) fn open(path: &Path, inputs: Inputs, settings: Settings) -> Result<Answers> {
        let name = path.display().to_string();
        let mut journal = OsString::from(path);
        journal.push(".journal");
        let journal = PathBuf::from(journal);
        let lines = Lines::open(path, &inputs.clone().and([&journal]))?;
        let inputs = inputs.and([path]);
        let mut header = Header::new(FORMAT, settings);
        let found = read(&journal).with_context(|| journal.display().to_string())?;
        let mut hashes = Vec::new();
        if !lines.is_empty() {
            let Some((begun, found)) = found else {
                bail!(
                    "{name} holds something already, and {} is missing or has no beginning: give OUT another name",
                    journal.display()
                );
            };
            begun.check(&header, &name, "OUT another name")?;
            (header, hashes) = (begun, found);
        }
        Ok(Answers { lines, journal, header, hashes, written: None, inputs })
    }

    /// What messages call the file.
    pub(super) fn name(&self) -> &str {
        self.lines.name()
    }

    /// When the work was begun, in seconds since 1970.
    pub(super) fn started(&self) -> u64 {
        self.header.started()
    }

    /// Counts the answers that are finished, which are to be those to the first of these lines. One that was not is cut
    /// off.
    ///
    /// # Errors
    /// Answers to other lines.
    pub(super) fn resume(&mut self, input: &[(Id, u128)]) -> Result<usize> {
        #[derive(Deserialize)]
        struct Finished {
            id: Id,
        }
        let name = self.lines.name().to_owned();
        let hashes: Vec<String> = input.iter().map(|&(_, hash)| hex(hash)).collect();
        let done = self.lines.recover(|number, line| {
            let Ok(Finished { id }) = serde_json::from_slice(line) else { return Ok(false) };
            let index = usize::try_from(number - 1)?;
            let (Some((expected, _)), Some(hash)) = (input.get(index), hashes.get(index)) else {
                bail!("{name} has more lines than this file");
            };
            let same = self.hashes.get(index) == Some(hash);
            ensure!(same, "{name} answers another line {number} than this file has: give OUT another name");
            ensure!(
                id == *expected,
                "{name}, line {number}: expected the answer to {expected}, found that to {id}"
            );
            Ok(true)
        })?;
        if self.hashes != hashes {
            self.hashes = hashes;
            self.write_journal()?;
        }
        self.written = self.journal_file();
        Ok(usize::try_from(done)?)
    }

    /// Appends an answer.
    ///
    /// # Errors
    /// As for [`Answers::check_names`], as far as that can be told without reading: what nobody could go on with is not
    /// worked on for hours.
    pub(super) fn push(&mut self, record: &Record<'_>) -> Result<()> {
        self.lines.append(&serde_json::to_string(record)?)?;
        ensure!(self.journal_file() == self.written, "{}", self.replaced());
        Ok(())
    }

    fn journal_file(&self) -> Option<FileId> {
        let found = fs::metadata(&self.journal).ok()?;
        Some((found.dev(), found.ino(), found.len()))
    }

    fn replaced(&self) -> String {
        format!("{}: the file was removed or replaced while the answers were written", self.journal.display())
    }

    /// Checks that answers and journal are where the next run looks for them: whoever removes or replaces a file that is
    /// being written is told.
    ///
    /// # Errors
    /// A file that is not the one of its name any more.
    pub(super) fn check_names(&self) -> Result<()> {
        self.lines.check_name()?;
        let name = self.journal.display();
        let found = read(&self.journal).with_context(|| name.to_string())?;
        let same = found.is_some_and(|(header, hashes)| header == self.header && hashes == self.hashes);
        ensure!(same, "{}", self.replaced());
        Ok(())
    }

    fn write_journal(&self) -> Result<()> {
        let output = Output::create_private(&self.journal, &self.inputs)?;
        let mut text = serde_json::to_string(&self.header)?;
        for line in &self.hashes {
            text.push('\n');
            text.push_str(line);
        }
        text.push('\n');
        output.file().write_all(text.as_bytes()).with_context(|| output.name().to_owned())?;
        output.commit()
    }
}

/// What a journal says; None where there is none, or one that ends within its first line: nothing was begun then.
///
/// # Errors
/// A file of another kind, which must not be replaced.
fn read(path: &Path) -> Result<Option<(Header, Vec<String>)>> {
    let Some(file) = regular_file(path)? else { return Ok(None) };
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    reader.by_ref().take(LONGEST_HEADER).read_until(b'\n', &mut line)?;
    let Some(header) = Header::parse(&line, FORMAT) else {
        ensure!(Header::is_torn(&line, FORMAT), "expected the journal of a batch, found another file");
        return Ok(None);
    };
    let mut hashes = Vec::new();
    loop {
        line.clear();
        reader.by_ref().take(LONGEST_HASH).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(Some((header, hashes)));
        }
        let hash = str::from_utf8(&line).ok().filter(|_| (line.len() as u64) < LONGEST_HASH);
        let hash = hash.with_context(|| format!("line {}: expected the hash of a line", hashes.len() + 2))?;
        hashes.push(hash.trim_end().to_owned());
    }
}
