//! `siskin summarize`, on the demo model: parts and merging, that an interruption changes nothing, and what it refuses.

use crate::common::{failure, names};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// A folder with texts, and one for state.
struct Desk(TempDir);

impl Desk {
    fn new(files: &[(&str, &[u8])]) -> Desk {
        let desk = Desk(tempfile::tempdir().unwrap());
        fs::create_dir(desk.path("state")).unwrap();
        for (name, bytes) in files {
            fs::write(desk.path(name), bytes).unwrap();
        }
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_siskin"));
        command.arg("summarize").args(arguments).current_dir(self.0.path());
        command.env("XDG_STATE_HOME", self.path("state")).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn summary(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8(run.stdout).unwrap()
    }

    fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_default()
    }

    fn lines(&self, name: &str) -> usize {
        self.bytes(name).iter().filter(|&&byte| byte == b'\n').count()
    }

    /// Waits until a file has more than so many lines, or the process has ended.
    fn wait_for_more(&self, name: &str, lines: usize, child: &mut Child) {
        while self.lines(name) <= lines && child.try_wait().unwrap().is_none() {
            sleep(Duration::from_millis(1));
        }
    }
}

/// A machine's log as the demo model knows them: `lines` readings, of which every eighth is a fault.
fn log(lines: usize) -> String {
    let mut log = String::new();
    for line in 0..lines {
        let (hour, minute) = (8 + line / 6, 10 * (line % 6) + 1);
        let state = if line % 8 == 2 { "FAULT power loss" } else { "ok" };
        writeln!(log, "{hour:02}:{minute:02} pump {} {state} {} C", 1 + line % 7, 30 + line).unwrap();
    }
    log
}

/// A Markdown text of many sections.
fn guide() -> String {
    let mut guide = "# The finch\n\nA small bird that sings.\n\n".to_owned();
    for section in 1..=12 {
        writeln!(
            guide,
            "## Song {section}\n\nThe king said to the queen that the garden was full of birds. "
        )
        .unwrap();
        writeln!(guide, "They went there in the morning, and {section} of them sang.\n").unwrap();
    }
    guide
}

/// Small parts and short summaries, drawn at random: what an interruption might change.
const SAMPLED: &[&str] = &[
    "guide.md",
    "--journal",
    "journal",
    "--instruction",
    "tell me a story",
    "--part-size",
    "60",
    "-n",
    "12",
    "-c",
    "128",
    "--temp",
    "1",
    "-t",
    "1",
];

#[test]
fn the_demo_sums_up_logs_of_any_length() {
    let desk = Desk::new(&[("log.txt", log(32).as_bytes())]);
    let summary = desk.summary(&["log.txt"]);
    let faults: Vec<&str> = summary.lines().filter(|line| line.contains("power loss")).collect();
    assert_eq!(faults.len(), 4, "{summary}");
    assert!(faults[0].starts_with("Pump 3 reported power loss at 08:21 (32 C)."), "{summary}");
    // The journal went away.
    assert!(names(&desk.path("state/siskin")).is_empty());
}

#[test]
fn a_short_text_is_summarized_as_run_answers_it() {
    let log = log(6);
    let desk = Desk::new(&[("log.txt", log.as_bytes())]);
    let prompt = format!("Summarize this log:\n{}", log.trim_end());
    let run = crate::common::siskin(&["run", "-p", &prompt, "--quiet"]);
    assert_eq!(desk.summary(&["log.txt"]), String::from_utf8(run.stdout).unwrap());
}

#[test]
fn parts_are_merged_in_rounds_until_one_is_left() {
    let desk = Desk::new(&[("guide.md", guide().as_bytes())]);
    let merged = desk.summary(SAMPLED);
    let all = desk.lines("journal") - 1;
    let parts = desk.summary(&[SAMPLED, &["--parts"]].concat());
    // The same prompts for parts are in the journal already.
    assert_eq!(desk.lines("journal") - 1, all);
    let count = parts.trim_end().split("\n\n").count();
    assert!(count >= 6 && all > count + 1, "{count} parts, {all} summaries");
    assert!(merged.ends_with('\n') && merged.trim().len() > 4, "{merged:?}");
    let again = desk.summary(SAMPLED);
    assert_eq!(again, merged);
}

/// A journal has the user's texts in it, cut and summed up.
#[test]
fn journals_are_their_owner_s_alone() {
    let desk = Desk::new(&[("log.txt", log(6).as_bytes())]);
    fs::remove_dir(desk.path("state")).unwrap();
    let mode = |name: &str| fs::metadata(desk.path(name)).unwrap().permissions().mode() & 0o777;
    desk.summary(&["log.txt", "--journal", "journal"]);
    assert_eq!(mode("journal"), 0o600);
    desk.summary(&["log.txt"]);
    assert_eq!([mode("state"), mode("state/siskin")], [0o700; 2]);
}

#[test]
fn killed_at_any_moment_it_goes_on_and_says_the_same() {
    let desk = Desk::new(&[("guide.md", guide().as_bytes())]);
    let whole = desk.summary(SAMPLED);
    let journal = desk.bytes("journal");
    let behind_header = |bytes: &[u8]| bytes.iter().position(|&b| b == b'\n').map(|at| bytes[at..].to_vec());
    fs::remove_file(desk.path("journal")).unwrap();
    let mut kills = 0;
    for delay in [0, 7, 1, 20, 3].into_iter().cycle() {
        let before = desk.lines("journal");
        let mut child = desk.start(SAMPLED);
        desk.wait_for_more("journal", before, &mut child);
        sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        let ended = child.wait_with_output().unwrap();
        if ended.status.success() {
            assert_eq!(String::from_utf8(ended.stdout).unwrap(), whole);
            break;
        }
        kills += 1;
    }
    assert!(kills > 3, "{kills} kills");
    assert_eq!(behind_header(&desk.bytes("journal")), behind_header(&journal));
}

#[test]
fn a_signal_ends_it_cleanly_and_the_same_command_goes_on() {
    let desk = Desk::new(&[("log.txt", log(96).as_bytes())]);
    let whole = desk.summary(&["log.txt"]);
    let mut child = desk.start(&["log.txt"]);
    let state = desk.path("state/siskin");
    let journal = loop {
        if let Some(name) = fs::read_dir(&state).ok().and_then(|mut all| all.next()) {
            break format!("state/siskin/{}", name.unwrap().file_name().to_str().unwrap());
        }
        sleep(Duration::from_millis(1));
    };
    desk.wait_for_more(&journal, 2, &mut child);
    let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    let finished = desk.lines(&journal) - 1;
    let expected =
        format!("siskin: interrupted: {finished} summaries are finished, the same command goes on\n");
    assert_eq!(said, expected);
    // What others gave up goes away meanwhile.
    let abandoned = fs::File::create(state.join("summary-0.journal")).unwrap();
    abandoned.set_modified(SystemTime::now() - Duration::from_secs(31 * 86_400)).unwrap();
    drop(abandoned);
    assert_eq!(desk.summary(&["log.txt"]), whole);
    assert!(names(&state).is_empty());
}

#[test]
fn what_has_not_changed_is_not_done_again() {
    let arguments =
        ["guide.md", "--journal", "journal", "--parts", "--part-size", "60", "-n", "4", "-t", "1"];
    let desk = Desk::new(&[("guide.md", guide().as_bytes())]);
    desk.summary(&arguments);
    let before = desk.lines("journal");
    fs::write(desk.path("guide.md"), guide().replace("and 5 of them", "and none of them")).unwrap();
    let changed = desk.summary(&arguments);
    assert_eq!(desk.lines("journal"), before + 1);
    fs::remove_file(desk.path("journal")).unwrap();
    assert_eq!(desk.summary(&arguments), changed);
}

#[test]
fn several_texts_and_standard_input() {
    let log = log(6);
    let desk = Desk::new(&[("a.txt", log.as_bytes())]);
    let alone = desk.summary(&["a.txt"]);
    let mut child = desk.command(&["-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(log.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap(), alone);
    let both = desk.summary(&["a.txt", "a.txt"]);
    assert_eq!(both.split("\n\n").count(), 2, "{both}");
}

#[test]
fn a_journal_of_other_work_is_refused_and_stays() {
    let desk = Desk::new(&[("log.txt", log(6).as_bytes()), ("journal", b"dear diary")]);
    let arguments = ["log.txt", "--journal", "journal"];
    let refused = |more: &[&str], expected: &str| {
        let before = desk.bytes("journal");
        let line = failure(&desk.run(&[&arguments, more].concat()));
        assert!(line.contains(expected), "{line}");
        assert!(desk.bytes("journal") == before);
    };
    refused(&[], "journal: expected the journal of a summary, found another file");
    fs::remove_file(desk.path("journal")).unwrap();
    desk.summary(&arguments);
    refused(
        &["--seed", "1"],
        "journal was begun with another sampling: give the same again, or --journal another",
    );
    let mut damaged = desk.bytes("journal");
    let length = damaged.len();
    damaged.extend_from_within(damaged.iter().position(|&byte| byte == b'\n').unwrap() + 1..);
    damaged[length - 20] ^= 1;
    fs::write(desk.path("journal"), damaged).unwrap();
    refused(&[], "journal, line 2: this is not what was written there");
}

/// With a bias that lets the model say one word alone, nothing helps but the text itself.
#[test]
fn what_goes_in_circles_is_asked_for_again_and_then_quoted() {
    let desk = Desk::new(&[("guide.md", guide().as_bytes())]);
    let circle = [
        "guide.md",
        "--instruction",
        "tell me a story",
        "--logit-bias",
        "300+1000",
        "--samplers",
        "temperature",
        "-n",
        "60",
        "-c",
        "512",
    ];
    let run = desk.run(&circle);
    let (summary, said) = (String::from_utf8(run.stdout).unwrap(), String::from_utf8(run.stderr).unwrap());
    assert!(run.status.success(), "{said}");
    assert!(summary.starts_with("[quoted] ") && summary.contains("The king said"), "{summary}");
    assert!(
        said.contains("could not be used and were asked for again") && said.contains("marked [quoted]"),
        "{said}"
    );
    let each = desk.summary(&[&circle[..], &["--parts", "--part-size", "60"]].concat());
    assert!(each.lines().filter(|line| !line.is_empty()).all(|line| line.starts_with("[quoted] ")), "{each}");
}

/// The demo model, which spells Japanese in bytes, is not asked about it.
#[test]
fn texts_in_a_language_that_the_model_has_no_words_of_are_quoted() {
    let text = "図書館だより\n\n町の図書館は五十周年です。開館時間が延びます。";
    let run = Desk::new(&[("text.txt", text.as_bytes())]).run(&["text.txt"]);
    let said = String::from_utf8(run.stderr).unwrap();
    assert_eq!(
        String::from_utf8(run.stdout).unwrap(),
        "[quoted] 町の図書館は五十周年です。 開館時間が延びます。\n",
        "{said}"
    );
    assert!(
        said.contains("1 of these as the model's vocabulary hardly has words of their language"),
        "{said}"
    );
}

/// Code, tables and lists of links are left out, which is said, and links are their words.
#[test]
fn numbers_that_the_text_has_not_are_in_no_summary() {
    let how = ["text.txt", "--instruction", "set a timer for 7 minutes"];
    // The demo obeys, and says how many minutes it will be.
    let run = Desk::new(&[("text.txt", b"7 minutes")]).run(&how);
    assert!(String::from_utf8_lossy(&run.stdout).contains('7'), "{run:?}");
    assert!(run.stderr.is_empty(), "{run:?}");
    for flags in [&[][..], &["--strict"]] {
        let run = Desk::new(&[("text.txt", b"hello")]).run(&[&how, flags].concat());
        assert_eq!(String::from_utf8_lossy(&run.stdout), "[quoted] hello\n");
        assert!(String::from_utf8_lossy(&run.stderr).contains("asked for again"), "{run:?}");
    }
}

#[test]
fn what_is_no_prose_is_left_out() {
    let prose = "# The finch\n\nIt sings, they say, in the morning and in the evening of every day.\n";
    let more = "# The finch\n\nIt sings, [they say](http://a.b/c), in the morning and in the evening of every \
                day.\n\n```sh\nls -l\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n- [a](b)\n- [c](d)\n- [e](f)\n";
    let desk = Desk::new(&[("prose.md", prose.as_bytes()), ("more.md", more.as_bytes())]);
    let how = ["--instruction", "tell me a story", "-n", "20"];
    let run = desk.run(&[&["more.md"], &how[..]].concat());
    let said = String::from_utf8(run.stderr).unwrap();
    assert!(
        said.contains("more.md: left out, as they are no prose: 1 block of code, 1 table, 1 list of links"),
        "{said}"
    );
    assert_eq!(String::from_utf8(run.stdout).unwrap(), desk.summary(&[&["prose.md"], &how[..]].concat()));
}

#[test]
fn what_cannot_be_summarized_is_named() {
    let binary = [0x7f, b'E', b'L', b'F', 0xff];
    let desk = Desk::new(&[("empty.txt", b" \n"), ("a.bin", &binary), ("log.txt", log(6).as_bytes())]);
    for (arguments, expected) in [
        (&["no.txt"][..], "siskin: no.txt: No such file or directory"),
        (&["."], "siskin: .: found a folder, expected a file"),
        (&["log.txt", "empty.txt"], "siskin: empty.txt: there is no text in it"),
        (
            &["a.bin"],
            "siskin: a.bin: expected UTF-8 text, or a PDF, Word (.docx) or HTML file: byte 4 is no text",
        ),
        (&["log.txt", "-c", "40"], "siskin: a context of 40 tokens has room for "),
        (
            &["log.txt", "--instruction", "Sum up.", "-n", "600"],
            "give a larger --ctx-size or a smaller --n-predict",
        ),
        (&["log.txt", "--top-p", "7"], "sampling option top_p is 7"),
    ] {
        let line = failure(&desk.run(arguments));
        assert!(line.contains(expected), "{line}");
    }
    let no_home =
        desk.command(&["log.txt"]).env_remove("XDG_STATE_HOME").env_remove("HOME").output().unwrap();
    assert!(failure(&no_home).contains("name one with --journal"));
    assert!(
        fs::read_dir(desk.path("state")).unwrap().all(|folder| names(&folder.unwrap().path()).is_empty())
    );
}

/// A Word document with a paragraph for each line.
fn word(text: &str) -> Vec<u8> {
    let paragraphs: String =
        text.lines().map(|line| format!("<w:p><w:r><w:t>{line}</w:t></w:r></w:p>")).collect();
    let body = format!(r#"<w:document xmlns:w="w"><w:body>{paragraphs}</w:body></w:document>"#);
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive.start_file("word/document.xml", zip::write::SimpleFileOptions::default()).unwrap();
    archive.write_all(body.as_bytes()).unwrap();
    archive.finish().unwrap().into_inner()
}

#[test]
fn word_documents_and_html_are_summarized_as_their_text_is() {
    let lines = log(6);
    let paragraphs = lines.replace('\n', "\n\n");
    let html: String = lines.lines().map(|line| format!("<p>{line}")).collect();
    let docx = word(&lines);
    let desk = Desk::new(&[
        ("log.txt", paragraphs.as_bytes()),
        ("log.docx", &docx),
        ("log.html", html.as_bytes()),
        ("damaged.docx", &docx[..docx.len() / 2]),
    ]);
    let expected = desk.summary(&["log.txt"]);
    assert_eq!(desk.summary(&["log.docx"]), expected);
    assert_eq!(desk.summary(&["log.html"]), expected);
    let line = failure(&desk.run(&["damaged.docx"]));
    assert!(line.starts_with("siskin: damaged.docx: a damaged Word document: "), "{line}");
}

#[test]
fn html_is_summarized_as_its_text_is_and_what_is_unreadable_is_said() {
    let log = log(6);
    let page = format!("<!doctype html><title>x</title><nav>Home</nav><pre>{log}</pre>");
    let spoilt = format!("{log}It broke at 5\0\u{fffd}.");
    let mostly = "\u{fffd}".repeat(9);
    let files: [(&str, &[u8]); 4] = [
        ("log.txt", log.as_bytes()),
        ("page", page.as_bytes()),
        ("spoilt.txt", spoilt.as_bytes()),
        ("mostly.txt", mostly.as_bytes()),
    ];
    let desk = Desk::new(&files);
    assert_eq!(desk.summary(&["page"]), desk.summary(&["log.txt"]));
    let run = desk.run(&["spoilt.txt"]);
    let said = String::from_utf8(run.stderr).unwrap();
    assert!(
        run.status.success() && said.starts_with("siskin: spoilt.txt: 2 characters are unreadable\n"),
        "{said}"
    );
    let line = failure(&desk.run(&["mostly.txt"]));
    assert_eq!(line.trim_end(), "siskin: mostly.txt: mostly unreadable: 9 of 9 characters are no text");
}

#[cfg(feature = "pdf")]
mod pdf {
    use super::*;

    /// A PDF file of objects, the first of which is its root.
    fn file(objects: &[String], trailer: &str) -> Vec<u8> {
        let mut file = "%PDF-1.4\n".to_owned();
        let mut places = Vec::new();
        for (index, object) in objects.iter().enumerate() {
            places.push(file.len());
            write!(file, "{} 0 obj\n{object}\nendobj\n", index + 1).unwrap();
        }
        let start = file.len();
        write!(file, "xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).unwrap();
        places.iter().for_each(|place| writeln!(file, "{place:010} 00000 n ").unwrap());
        write!(file, "trailer\n<< /Size {} /Root 1 0 R {trailer} >>\n", objects.len() + 1).unwrap();
        write!(file, "startxref\n{start}\n%%EOF\n").unwrap();
        file.into_bytes()
    }

    /// A page with a content stream.
    fn page(content: &str) -> Vec<String> {
        vec![
            "<< /Type /Catalog /Pages 2 0 R >>".into(),
            "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".into(),
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R \
             /Resources << /Font << /F 5 0 R >> >> >>"
                .into(),
            format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()),
            "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".into(),
        ]
    }

    /// A page with lines of text, words of which are placed one by one.
    fn lines(text: &str) -> Vec<String> {
        let mut content = String::new();
        for (number, line) in text.lines().enumerate() {
            let y = 720 - 14 * number;
            write!(content, "BT /F 12 Tf 72 {y} Td [").unwrap();
            line.split(' ').for_each(|word| write!(content, "({word}) -300 ").unwrap());
            writeln!(content, "] TJ ET").unwrap();
        }
        page(&content)
    }

    #[test]
    fn a_pdf_file_is_summarized_as_its_text_is() {
        let log = log(6);
        let pdf = file(&lines(&log), "");
        let desk = Desk::new(&[("log.txt", log.as_bytes()), ("log.pdf", &pdf)]);
        assert_eq!(desk.summary(&["log.pdf"]), desk.summary(&["log.txt"]));
    }

    /// A page whose content is 64 times as long each time that it is unpacked, 64 GiB in the end.
    fn bomb() -> Vec<u8> {
        const TIMES: usize = 5;
        // 129 is 128 times what follows it, and 128 the end; what leads to that is copied, behind its length.
        let mut end = "80".to_owned();
        for length in (0..).step_by(2).take(TIMES) {
            end = format!("{length:02x}{end}80");
        }
        let mut objects = page(&format!("{}{end}>", "81".repeat(64)));
        let filters = format!("<< /Filter [/ASCIIHexDecode{}] ", " /RunLengthDecode".repeat(TIMES));
        objects[3] = objects[3].replacen("<< ", &filters, 1);
        file(&objects, "")
    }

    #[test]
    fn files_without_text_are_named() {
        let whole = file(&lines("one two"), "");
        let scan = file(&page("0 0 100 100 re f"), "");
        let encrypted = file(
            &lines("one two"),
            &format!(
                "/Encrypt << /Filter /Standard /V 1 /R 2 /O <{0}> /U <{0}> /P -4 >> /ID [<{1}> <{1}>]",
                "5a".repeat(32),
                "17".repeat(16)
            ),
        );
        // It draws itself for ever.
        let mut endless = page("/X Do");
        endless[2] = endless[2].replace("/Font << /F 5 0 R >>", "/XObject << /X 4 0 R >>");
        endless[3] = endless[3].replace(
            "<< ",
            "<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X 4 0 R >> >> ",
        );
        let endless = file(&endless, "");
        let bomb = bomb();
        let desk = Desk::new(&[("whole.pdf", &whole)]);
        for (bytes, expected) in [
            (&scan, "siskin: a.pdf: a PDF file without text, which may be a scan"),
            (&encrypted, "siskin: a.pdf: a PDF file with a password"),
            (&b"%PDF-1.7\n%%EOF\n".to_vec(), "siskin: a.pdf: a damaged PDF file"),
            (
                &scan[..scan.len() / 2].to_vec(),
                "siskin: a.pdf: a PDF file that is cut off: its end is missing",
            ),
            (&endless, "siskin: a.pdf: a "),
            (&bomb, "siskin: a.pdf: a PDF file that takes more memory than there is for it: 5"),
        ] {
            fs::write(desk.path("a.pdf"), bytes).unwrap();
            let line = failure(&desk.run(&["a.pdf"]));
            assert!(line.starts_with(expected), "{line}");
        }
    }

    #[test]
    fn damaged_files_end_in_one_line_or_in_what_is_left() {
        let whole = file(&lines(&log(6)), "");
        let desk = Desk::new(&[]);
        let mut random = 0x2545_f491_u64;
        for round in 0..12 {
            let mut damaged = whole.clone();
            for _ in 0..1 + round % 4 {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let place = (random >> 33) as usize % damaged.len();
                damaged[place] = (random >> 20) as u8;
            }
            damaged.truncate(whole.len() - 40 * (round / 4));
            fs::write(desk.path("a.pdf"), &damaged).unwrap();
            let run = desk.run(&["a.pdf", "-n", "2"]);
            if !run.status.success() {
                failure(&run);
            }
        }
    }
}
