//! How good a model's summaries are: `cargo run --release -p siskin-benches --bin summaries -- SISKIN MODEL [FLAG...]`.
//!
//! Each text of `tools/demo/documents` is summarized by `SISKIN summarize` with the model and the flags, from nothing, and
//! what comes is compared with the summary that a person wrote. The table goes to standard output.
#![forbid(unsafe_code)]

use siskin_documents::pdf::Worker;
use siskin_documents::support::{Source, Support};
use siskin_documents::{Document, sentences};
use siskin_judge::eval::rouge_l;
use std::collections::HashSet;
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use unicode_segmentation::UnicodeSegmentation;

const DOCUMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tools/demo/documents");
/// What a person's summary of a text is called.
const WANTED: &str = "summary.txt";

/// None of the texts is a PDF file.
const NO_PDF: Worker = Worker { prefix: "", arguments: &[], most: 0, memory: None };

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(program), Some(model)) = (arguments.next(), arguments.next()) else {
        return Err("expected the program siskin, a model and flags of `siskin summarize`".into());
    };
    let asked = Asked { program: program.into(), model: model.into(), flags: arguments.collect() };
    let mut all = Vec::new();
    println!(
        "| text | words | seconds | in circles | quoted | numbers, not in the text | names, not in the text \
         | ROUGE-L, % | of the first three sentences |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for text in texts()? {
        let row = Row::of(&text, &asked)?;
        println!("{}", row.line());
        all.push(row);
    }
    println!("{}", Row::sum(&all).line());
    Ok(())
}

/// The texts, the shortest first.
fn texts() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(DOCUMENTS)? {
        let path = entry?.path();
        if path.with_extension(WANTED).exists() {
            texts.push(path);
        }
    }
    texts.sort_by_key(|path| fs::metadata(path).map_or(0, |metadata| metadata.len()));
    Ok(texts)
}

struct Asked {
    program: PathBuf,
    model: PathBuf,
    flags: Vec<OsString>,
}

/// A text's line of the table, or that of all texts.
struct Row {
    name: String,
    words: usize,
    /// None where the text was refused.
    seconds: Option<f64>,
    circles: usize,
    quoted: usize,
    named: Support,
    rouge: f64,
    lead: f64,
}

impl Row {
    fn of(path: &Path, asked: &Asked) -> Result<Row, Box<dyn Error>> {
        let wanted = fs::read_to_string(path.with_extension(WANTED))?;
        let (document, _) = Document::read(path, &NO_PDF)?.prose();
        let text = document.text.as_str();
        let state = tempfile::tempdir()?;
        let start = Instant::now();
        let output = Command::new(&asked.program)
            .arg("summarize")
            .arg(path)
            .arg("--model")
            .arg(&asked.model)
            .args(&asked.flags)
            .env("XDG_STATE_HOME", state.path())
            .output()?;
        let seconds = output.status.success().then(|| start.elapsed().as_secs_f64());
        let summary = String::from_utf8(output.stdout)?;
        // Titles have no full stop.
        let whole = sentences::of(text).filter(|sentence| sentence.ends_with(['.', '!', '?', '。']));
        let lead: Vec<&str> = whole.take(3).collect();
        Ok(Row {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            words: text.unicode_words().count(),
            seconds,
            circles: usize::from(goes_in_circles(&summary)),
            quoted: summary.matches("[quoted]").count(),
            named: Source::of([text]).supports(&summary.replace("[quoted]", "")),
            rouge: rouge_l(&spaced(&wanted), &spaced(&summary)),
            lead: rouge_l(&spaced(&wanted), &spaced(&lead.join(" "))),
        })
    }

    /// Sums, and means of what is no number of things.
    fn sum(all: &[Row]) -> Row {
        let mean = |of: fn(&Row) -> f64| all.iter().map(of).sum::<f64>() / all.len().max(1) as f64;
        let mut named = Support::default();
        all.iter().for_each(|row| named.add(row.named.clone()));
        Row {
            name: format!("all {}, means of ROUGE-L", all.len()),
            words: all.iter().map(|row| row.words).sum(),
            seconds: all.iter().map(|row| row.seconds).sum(),
            circles: all.iter().map(|row| row.circles).sum(),
            quoted: all.iter().map(|row| row.quoted).sum(),
            named,
            rouge: mean(|row| row.rouge),
            lead: mean(|row| row.lead),
        }
    }

    fn line(&self) -> String {
        let Row { name, words, circles, quoted, named, rouge, lead, .. } = self;
        let seconds = self.seconds.map_or("refused".to_owned(), |seconds| format!("{seconds:.1}"));
        let Support { numbers, names, unsupported_numbers, unsupported_names } = named;
        let (no_numbers, no_names) = (unsupported_numbers.len(), unsupported_names.len());
        let (rouge, lead) = (100.0 * rouge, 100.0 * lead);
        format!(
            "| {name} | {words} | {seconds} | {circles} | {quoted} | {numbers}, {no_numbers} | {names}, {no_names} | {rouge:.1} | {lead:.1} |"
        )
    }
}

/// Words with spaces between them, which Japanese has not.
fn spaced(text: &str) -> String {
    text.unicode_words().collect::<Vec<_>>().join(" ")
}

/// Whether somewhere in 60 words less than half of all runs of four are different ones.
fn goes_in_circles(text: &str) -> bool {
    const WINDOW: usize = 60;
    let words: Vec<String> = text.unicode_words().map(str::to_lowercase).collect();
    words.windows(WINDOW).any(|window| {
        let runs: HashSet<_> = window.windows(4).collect();
        2 * runs.len() < WINDOW - 3
    })
}
