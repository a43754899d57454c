use super::attempts::Summary;
use crate::long_work::journal::{Header, Settings};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use siskin_kit::{Inputs, Lines, hash};
use std::collections::HashMap;
use std::path::Path;

const FORMAT: &str = "siskin summary journal 3";

/// Summaries that are finished, each in a line of a journal. They are found again by the tokens of the prompts that
/// they answer, so that those of texts that changed meanwhile are not.
#[derive(Debug)]
pub(super) struct Finished {
    lines: Lines,
    header: Header,
    /// Whether the header is written. Without a summary there is no journal.
    begun: bool,
    summaries: HashMap<String, Summary>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// A hash of the prompt.
    prompt: String,
    summary: String,
    quoted: bool,
    /// A hash of all of it.
    check: String,
}

impl Record {
    fn new(prompt: String, Summary { text, quoted }: &Summary) -> Record {
        let check = hash::of(format!("{prompt}{quoted}{text}").as_bytes());
        Record { prompt, summary: text.clone(), quoted: *quoted, check }
    }

    fn summary(&self) -> Summary {
        Summary { text: self.summary.clone(), quoted: self.quoted }
    }

    fn is_sound(&self) -> bool {
        Record::new(self.prompt.clone(), &self.summary()).check == self.check
    }
}

impl Finished {
    /// Opens the journal at `path`, which is none of `inputs`; it may be that there is none yet.
    ///
    /// # Errors
    /// A file of another kind, one that was damaged before its end, or work that was begun with other settings.
    pub(super) fn open(path: &Path, inputs: &Inputs, settings: Settings) -> Result<Finished> {
        let mut lines = Lines::open_private(path, inputs)?;
        let name = lines.name().to_owned();
        let mut header = Header::new(FORMAT, settings);
        let foreign = || format!("{name}: expected the journal of a summary, found another file");
        // Before anything that looks unfinished is cut off.
        ensure!(lines.begins_with(&format!("{{\"format\":\"{FORMAT}\""))?, foreign());
        let mut summaries = HashMap::new();
        let found = lines.recover(|number, line| {
            if number == 1 {
                let begun = Header::parse(line, FORMAT).with_context(foreign)?;
                begun.check(&header, &name, "--journal another file")?;
                header = begun;
                return Ok(true);
            }
            match serde_json::from_slice::<Record>(line) {
                Ok(record) if record.is_sound() => {
                    summaries.insert(record.prompt.clone(), record.summary());
                    Ok(true)
                }
                _ => Ok(false),
            }
        })?;
        Ok(Finished { lines, header, begun: found > 0, summaries })
    }

    /// When the work was begun, in seconds since 1970.
    pub(super) fn started(&self) -> u64 {
        self.header.started()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.summaries.len()
    }

    /// The summary that answers a prompt.
    pub(super) fn find(&self, prompt: &[u32]) -> Option<&Summary> {
        self.summaries.get(&key(prompt))
    }

    /// Adds one, and waits until it is on the disk.
    pub(super) fn add(&mut self, prompt: &[u32], summary: &Summary) -> Result<()> {
        if !self.begun {
            self.lines.append(&serde_json::to_string(&self.header)?)?;
            self.begun = true;
        }
        let record = Record::new(key(prompt), summary);
        self.lines.append(&serde_json::to_string(&record)?)?;
        self.summaries.insert(record.prompt, summary.clone());
        Ok(())
    }

    /// Removes the journal.
    pub(super) fn remove(self) -> Result<()> {
        self.lines.remove()
    }
}

fn key(prompt: &[u32]) -> String {
    let bytes: Vec<u8> = prompt.iter().flat_map(|token| token.to_le_bytes()).collect();
    hash::of(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    fn summary(text: &str) -> Summary {
        Summary { text: text.to_owned(), quoted: text.len() > 3 }
    }

    fn open(path: &Path, model: &str) -> Result<Finished> {
        let mut settings = Settings::default();
        settings.set("model", model);
        Finished::open(path, &Inputs::default(), settings)
    }

    /// A journal of two summaries in a folder of its own.
    fn journal() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut finished = open(&path, "a").unwrap();
        finished.add(&[1, 2], &summary("one\n")).unwrap();
        finished.add(&[3], &summary("two")).unwrap();
        (folder, path)
    }

    #[test]
    fn summaries_are_found_by_their_prompts() {
        let (_folder, path) = journal();
        let finished = open(&path, "a").unwrap();
        assert_eq!(
            (finished.find(&[1, 2]), finished.find(&[3])),
            (Some(&summary("one\n")), Some(&summary("two")))
        );
        assert_eq!((finished.find(&[1]), finished.count()), (None, 2));
        finished.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_torn_end_is_done_again_and_other_damage_is_refused() {
        let (_folder, path) = journal();
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let finished = open(&path, "a").unwrap();
            assert!(finished.count() < 2);
            drop(finished);
            assert!(open(&path, "a").is_ok());
        }
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            fs::write(&path, &damaged).unwrap();
            match open(&path, "a") {
                // In the time that it was begun, or in the last line.
                Ok(finished) => {
                    assert!(finished.find(&[1, 2]).is_none_or(|found| *found == summary("one\n")))
                }
                Err(_) => assert_eq!(fs::read(&path).unwrap(), damaged),
            }
        }
    }

    #[test]
    fn other_files_and_settings_are_refused_and_stay() {
        let (_folder, path) = journal();
        let error = open(&path, "b").unwrap_err().to_string();
        assert!(
            error.ends_with("was begun with another model: give the same again, or --journal another file")
        );
        for text in ["dear diary", "dear diary\n", "{\"format\":\"siskin batch journal 1\"}\n"] {
            fs::write(&path, text).unwrap();
            let error = open(&path, "a").unwrap_err().to_string();
            assert!(error.ends_with("expected the journal of a summary, found another file"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
