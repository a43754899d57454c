//! `siskin batch`, on the demo model: what it writes, that an interruption changes nothing, and what it refuses.

use crate::common::{failure, goldens, names, siskin, text};
use crate::terminal::Terminal;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;
use tempfile::TempDir;

/// Prompts of each kind that the demo model knows, so that its answers end by themselves.
fn prompts() -> Vec<String> {
    include_str!("../../../demo/eval-base.jsonl")
        .lines()
        .step_by(50)
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["prompt"].as_str().unwrap().to_owned())
        .collect()
}

/// A folder with an input file.
struct Batch {
    folder: TempDir,
    flags: Vec<String>,
}

impl Batch {
    fn new(lines: &[Value], flags: &[&str]) -> Batch {
        let folder = tempfile::tempdir().unwrap();
        let batch = Batch { folder, flags: flags.iter().map(|&flag| flag.to_owned()).collect() };
        batch.write(lines);
        batch
    }

    /// Prompts, and draws that depend on a seed.
    fn sampled() -> Batch {
        let lines: Vec<Value> = prompts().iter().map(|prompt| json!({"prompt": prompt})).collect();
        Batch::new(&lines, &["--temp", "1", "-n", "12", "-t", "1", "--parallel", "1"])
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, lines: &[Value]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(self.path("in.jsonl"), text).unwrap();
    }

    fn arguments(&self) -> Vec<String> {
        let files = [self.path("in.jsonl"), self.path("out.jsonl")];
        let files = files.iter().map(|path| text(path).to_owned());
        ["batch".to_owned()].into_iter().chain(files).chain(self.flags.iter().cloned()).collect()
    }

    fn run(&self, more: &[&str]) -> std::process::Output {
        let arguments = self.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        siskin(&arguments)
    }

    /// Runs it to its end, and returns what it printed.
    fn finish(&self) -> String {
        let run = self.run(&[]);
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8(run.stdout).unwrap()
    }

    fn start(&self) -> Child {
        self.start_with(&[])
    }

    fn start_with(&self, more: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_siskin"));
        command
            .args(self.arguments())
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn output(&self) -> Vec<u8> {
        fs::read(self.path("out.jsonl")).unwrap_or_default()
    }

    fn answers(&self) -> Vec<Value> {
        let output = String::from_utf8(self.output()).unwrap();
        output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until there is more output than `bytes`, or the process has ended.
    fn wait_for_more(&self, bytes: usize, child: &mut Child) {
        while self.output().len() <= bytes && child.try_wait().unwrap().is_none() {
            sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn each_line_has_its_answer_in_order() {
    let hello = json!([{"role": "user", "content": "hello"}]);
    let batch = Batch::new(
        &[
            json!({"prompt": "please turn on the kitchen light", "id": "light"}),
            json!({"messages": hello}),
            json!({"custom_id": "q", "method": "POST", "url": "/v1/chat/completions",
                   "body": {"model": "any", "messages": hello, "max_tokens": 2}}),
            json!({"prompt": "hello", "stop": [" How"], "seed": 5, "id": 70}),
        ],
        &["--temp", "0"],
    );
    assert_eq!(batch.finish(), format!("{}: 4 answers\n", text(&batch.path("out.jsonl"))));
    let content = "{\"intent\": \"switch\", \"device\": \"light\", \"room\": \"kitchen\", \"state\": \"on\"}";
    let usage =
        |prompt: u32, completion: u32| json!({"prompt_tokens": prompt, "completion_tokens": completion});
    let answers = batch.answers();
    assert_eq!(
        answers[0],
        json!({"id": "light", "content": content, "finish_reason": "stop", "usage": usage(14, 25)})
    );
    assert_eq!((&answers[1]["id"], &answers[1]["content"]), (&json!(2), &json!("Hello! How can I help?")));
    assert_eq!((&answers[2]["id"], &answers[2]["finish_reason"]), (&json!("q"), &json!("length")));
    assert_eq!(answers[2]["usage"]["completion_tokens"], json!(2));
    assert_eq!(answers[3]["content"], json!("Hello!"));
    assert_eq!(names(batch.folder.path()), ["in.jsonl", "out.jsonl", "out.jsonl.journal"]);
    // The umask decides about what was asked for.
    let mode = |name: &str| fs::metadata(batch.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("out.jsonl.journal"), mode("out.jsonl")), (0o600, mode("in.jsonl")));
}

#[test]
fn an_answer_is_that_of_run_with_the_same_seed() {
    let prompt = "tell me a story about a wolf";
    let batch =
        Batch::new(&[json!({"prompt": "hello"}), json!({"prompt": prompt, "seed": 9})], &["-n", "20"]);
    batch.finish();
    let run = siskin(&["run", "-p", prompt, "--seed", "9", "-n", "20", "--quiet"]);
    let expected = String::from_utf8(run.stdout).unwrap();
    assert_eq!(batch.answers()[1]["content"].as_str().unwrap().to_owned() + "\n", expected);
}

/// Kills it so many milliseconds after each time that it has written something, with as many lines at once, until it
/// ends by itself. Returns how often that was.
fn killed_again_and_again(batch: &Batch, whole: &Batch, moments: &[(u64, &str)]) -> usize {
    let mut kills = 0;
    for (delay, parallel) in moments.iter().cycle() {
        let before = batch.output().len();
        let mut child = batch.start_with(&["--parallel", parallel]);
        batch.wait_for_more(before, &mut child);
        sleep(Duration::from_millis(*delay));
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            break;
        }
        kills += 1;
        assert!(whole.output().starts_with(&batch.output()), "after {kills} kills");
    }
    kills
}

#[test]
fn killed_at_any_moment_it_goes_on_and_the_file_is_the_same() {
    let whole = Batch::sampled();
    whole.finish();
    let batch = Batch::sampled();
    // Moments before anything is answered.
    for delay in [0, 4, 8, 16, 32, 64] {
        let mut child = batch.start();
        sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(whole.output().starts_with(&batch.output()), "after {delay} ms");
    }
    // Moments within a line, between two, before the first is begun.
    let moments = [0, 5, 1, 20, 2, 9].map(|delay| (delay, "1"));
    let kills = killed_again_and_again(&batch, &whole, &moments);
    assert!(kills > 2, "{kills} kills");
    assert!(batch.output() == whole.output());
    assert!(batch.finish().ends_with(&format!(": {0} answers, {0} of them from before\n", prompts().len())));
    assert!(batch.output() == whole.output());
}

/// Lines of all lengths, with and without a common beginning, each with options of its own.
fn mixed() -> Vec<Value> {
    let system = "You are the assistant of a house. ".repeat(30);
    let of = |(i, prompt): (usize, &String)| {
        let temperature = [0.0, 1.0, 0.7][i % 3];
        let mut line = json!({"prompt": prompt, "seed": i / 2, "temperature": temperature});
        let fields = line.as_object_mut().unwrap();
        if i % 3 > 0 {
            fields.insert("system".to_owned(), system.as_str().into());
        }
        if i % 4 == 1 {
            fields.insert("stop".to_owned(), json!([" ", "\"dev"]));
        }
        if i % 5 < 2 {
            fields.insert("repeat_penalty".to_owned(), json!(1.3));
            fields.insert("frequency_penalty".to_owned(), json!(0.4));
        }
        fields.insert("max_tokens".to_owned(), [40, 1, 12, 3, 25][i % 5].into());
        line
    };
    prompts().iter().enumerate().map(of).collect()
}

#[test]
fn however_many_are_answered_at_once_the_file_is_the_same() {
    let one = Batch::new(&mixed(), &["-t", "1", "--parallel", "1"]);
    one.finish();
    assert_eq!(one.answers().len(), prompts().len());
    for (parallel, more) in [("2", &[][..]), ("3", &["-t", "2", "-b", "7"]), ("8", &[]), ("64", &[])] {
        let batch = Batch::new(&mixed(), &[&["-t", "1", "--parallel", parallel], more].concat());
        batch.finish();
        assert!(batch.output() == one.output(), "--parallel {parallel}");
    }
    // A line alone says what it says among others.
    for at in [1, 4] {
        let mut line = mixed().swap_remove(at);
        line["id"] = (at + 1).into();
        let alone = Batch::new(&[line], &["-t", "1"]);
        alone.finish();
        assert_eq!(alone.answers()[0], one.answers()[at]);
    }
}

#[test]
fn killed_at_any_moment_it_goes_on_with_as_many_at_once_as_it_is_told() {
    let whole = Batch::new(&mixed(), &["-t", "1"]);
    whole.finish();
    let batch = Batch::new(&mixed(), &["-t", "1"]);
    let moments = [(0, "1"), (3, "3"), (1, "2"), (6, "8"), (2, "1")];
    let kills = killed_again_and_again(&batch, &whole, &moments);
    assert!(kills > 1, "{kills} kills");
    assert!(batch.output() == whole.output());
}

/// A model whose logits are no numbers once it reads a token that `text` has.
fn deaf_to(text: &str, path: &Path) {
    let file = siskin::gguf::Gguf::open(&goldens().join("gqa.gguf")).unwrap();
    let model = siskin::Model::from_gguf(&file).unwrap();
    let mut bytes = fs::read(goldens().join("gqa.gguf")).unwrap();
    let tensor = file.tensor("token_embd.weight").unwrap();
    let data = file.data(tensor);
    let start = bytes.windows(data.len()).position(|window| window == data).unwrap();
    let row = data.len() / tensor.shape[1] as usize;
    let token = *model.text_tokens(text).last().unwrap() as usize;
    bytes[start + token * row..start + token * row + 4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_line_that_fails_is_named_and_those_before_it_are_there() {
    let lines = ["a", "b", "c", "x", "d"].map(|prompt| json!({"prompt": prompt, "max_tokens": 5}));
    let batch = Batch::new(&lines, &["--raw", "--temp", "0", "-t", "1"]);
    let model = batch.path("deaf.gguf");
    deaf_to("x", &model);
    let mut outputs = Vec::new();
    for parallel in ["1", "2", "8"] {
        let line = failure(&batch.run(&["--model", text(&model), "--parallel", parallel]));
        assert!(line.contains("in.jsonl, line 4: the logits after the token at position "), "{line}");
        assert_eq!(batch.answers().len(), 3);
        outputs.push(batch.output());
        fs::remove_file(batch.path("out.jsonl")).unwrap();
        fs::remove_file(batch.path("out.jsonl.journal")).unwrap();
    }
    assert!(outputs.iter().all(|output| *output == outputs[0]));
}

#[test]
fn as_many_are_answered_at_once_as_there_is_memory_for() {
    let batch = Batch::new(&mixed()[..4], &["-t", "1"]);
    batch.finish();
    let needed = |parallel: &str, memory: &str| {
        let line = failure(
            &Batch::new(&mixed()[..4], &["-t", "1", "--memory", memory]).run(&["--parallel", parallel]),
        );
        let figure = line.split("needs ").nth(1).and_then(|rest| rest.split(' ').next());
        figure.unwrap_or_else(|| panic!("{line}")).parse::<f64>().unwrap()
    };
    let one = needed("1", "1MB");
    // What the program has before it begins differs a little each time.
    let memory = format!("{:.0}MiB", one + 1.0);
    let many = needed("64", &memory);
    assert!(one + 4.0 < many, "{one} and {many} MiB");
    // What there is for few is enough if nobody says how many.
    let tight = Batch::new(&mixed()[..4], &["-t", "1", "--memory", &memory]);
    tight.finish();
    assert!(tight.output() == batch.output());
}

#[test]
fn a_torn_line_is_done_again() {
    let batch = Batch::sampled();
    batch.finish();
    let whole = batch.output();
    let last = whole[..whole.len() - 1].iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
    for length in [whole.len() - 1, (last + whole.len()) / 2, last + 1, last, 3] {
        fs::write(batch.path("out.jsonl"), &whole[..length]).unwrap();
        batch.finish();
        assert!(batch.output() == whole, "{length}");
    }
    // A loss of power may leave zeros where a line was to be, or in a page of it.
    for start in [last, whole.len() - 20] {
        let mut zeros = whole.clone();
        zeros[start..whole.len() - 1].fill(0);
        fs::write(batch.path("out.jsonl"), zeros).unwrap();
        batch.finish();
        assert!(batch.output() == whole, "{start}");
    }
}

#[test]
fn a_full_disk_keeps_what_is_finished() {
    let batch = Batch::sampled();
    batch.finish();
    let whole = batch.output();
    let first = whole.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    assert!(first < 512 && whole.len() > 512);
    fs::write(batch.path("out.jsonl"), &whole[..first]).unwrap();
    // A file may have one unit of 512 bytes; the signal that would end the process is ignored, so that writing fails.
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -f 1; trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_siskin")]);
    let line = failure(&limited.args(batch.arguments()).output().unwrap());
    assert!(line.ends_with("out.jsonl: File too large (os error 27)"), "{line}");
    let kept = batch.output();
    assert!(whole.starts_with(&kept) && kept.len() > first && kept.ends_with(b"\n"));
    assert!(batch.finish().contains(" of them from before"));
    assert!(batch.output() == whole);
}

#[test]
fn a_signal_ends_it_cleanly() {
    let batch = Batch::sampled();
    let mut child = batch.start();
    batch.wait_for_more(0, &mut child);
    let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    let done = batch.answers().len();
    let total = prompts().len();
    assert_eq!(
        said,
        format!("siskin: interrupted: {done} of {total} lines are answered, the same command goes on\n")
    );
    assert!(done > 0 && done < total);
    assert!(batch.finish().contains(&format!("{done} of them from before")));
}

#[test]
fn lines_that_are_added_are_answered() {
    let first = [json!({"prompt": "hello"}), json!({"prompt": "who are you"})];
    let batch = Batch::new(&first[..1], &["--temp", "0"]);
    batch.finish();
    batch.write(&first);
    assert!(batch.finish().ends_with(": 2 answers, 1 of them from before\n"));
    assert_eq!(batch.answers().len(), 2);
}

#[test]
fn what_belongs_to_other_work_is_not_mixed() {
    let lines = [json!({"prompt": "hello"}), json!({"prompt": "hi"})];
    let batch = Batch::new(&lines, &["--temp", "0"]);
    batch.finish();
    let (output, journal) = (batch.output(), fs::read(batch.path("out.jsonl.journal")).unwrap());
    let refused = |batch: &Batch, more: &[&str], expected: &str| {
        let line = failure(&batch.run(more));
        assert!(line.contains(expected), "{line}");
        assert!(batch.output() == output && fs::read(batch.path("out.jsonl.journal")).unwrap() == journal);
    };
    refused(&batch, &["--seed", "1"], "out.jsonl was begun with another sampling: give the same again");
    refused(&batch, &["-n", "9", "--system", "x"], "was begun with another n-predict, system: ");
    let model = batch.path("model.gguf");
    let mut bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/siskin-demo.gguf")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&model, bytes).unwrap();
    refused(&batch, &["--model", text(&model)], "was begun with another model: ");

    batch.write(&[json!({"prompt": "hey"}), lines[1].clone()]);
    refused(&batch, &[], "in.jsonl: ");
    refused(&batch, &[], "out.jsonl answers another line 1 than this file has: give OUT another name");
    batch.write(&lines[..1]);
    refused(&batch, &[], "out.jsonl has more lines than this file");
    batch.write(&lines);

    let swapped: Vec<u8> = output.split_inclusive(|&byte| byte == b'\n').rev().flatten().copied().collect();
    fs::write(batch.path("out.jsonl"), &swapped).unwrap();
    let line = failure(&batch.run(&[]));
    assert!(line.ends_with("out.jsonl, line 1: expected the answer to 1, found that to 2"), "{line}");
    assert!(batch.output() == swapped);
    fs::write(batch.path("out.jsonl"), &output).unwrap();

    fs::remove_file(batch.path("out.jsonl.journal")).unwrap();
    let line = failure(&batch.run(&[]));
    assert!(line.contains("out.jsonl holds something already, and "), "{line}");
    fs::write(batch.path("out.jsonl.journal"), "dear diary\n").unwrap();
    let line = failure(&batch.run(&[]));
    assert!(
        line.ends_with("out.jsonl.journal: expected the journal of a batch, found another file"),
        "{line}"
    );
    assert!(batch.output() == output);
}

#[test]
fn a_damaged_journal_is_never_taken_for_a_sound_one() {
    let batch = Batch::new(&[json!({"prompt": "hello"}), json!({"prompt": "hi"})], &["--temp", "0"]);
    batch.finish();
    let output = batch.output();
    let journal = fs::read(batch.path("out.jsonl.journal")).unwrap();
    // A bit in the model's hash, one in the hash of a line, and ends that are missing.
    let model = journal.windows(7).position(|window| window == b"\"model\"").unwrap() + 14;
    for (place, expected) in [
        (0, "expected the journal of a batch, found another file"),
        (model, "out.jsonl was begun with another model"),
        (journal.len() - 2, "out.jsonl answers another line 2 than this file has"),
    ] {
        let mut damaged = journal.clone();
        damaged[place] ^= 4;
        fs::write(batch.path("out.jsonl.journal"), damaged).unwrap();
        let line = failure(&batch.run(&[]));
        assert!(line.contains(expected), "{line}");
        assert!(batch.output() == output);
    }
    for length in [0, 20, journal.len() - 34] {
        fs::write(batch.path("out.jsonl.journal"), &journal[..length]).unwrap();
        failure(&batch.run(&[]));
        assert!(batch.output() == output, "{length}");
    }
}

#[test]
fn bad_lines_are_refused_before_anything_is_answered() {
    let good = json!({"prompt": "hello"}).to_string();
    let long = json!({"prompt": "very ".repeat(1100)}).to_string();
    let batch = Batch::new(&[], &[]);
    for (bad, expected) in [
        ("{\"prompt\": \"a\"", "in.jsonl, line 3: EOF while parsing an object at column 14"),
        (
            "{\"prompt\": \"a\", \"max_token\": 3}",
            "in.jsonl, line 3: max_token: there is no such field, expected id",
        ),
        ("{\"prompt\": \"a\", \"top_p\": 7}", "in.jsonl, line 3: sampling option top_p is 7"),
        (&long, "in.jsonl, line 3: the prompt has 1"),
        ("{\"prompt\": \"\"}", "in.jsonl, line 3: the prompt is empty"),
        ("{\"prompt\": \"a\", \"id\": 1}", "in.jsonl, line 3: the id 1 is that of line 1 already"),
    ] {
        fs::write(batch.path("in.jsonl"), format!("{good}\n\n{bad}\n")).unwrap();
        let line = failure(&batch.run(&[]));
        assert!(line.contains(expected), "{line}");
        assert_eq!(names(batch.folder.path()), ["in.jsonl"]);
    }
    for (bytes, expected) in [
        (&b""[..], "in.jsonl: the file has no prompts"),
        (b"\n \n", "in.jsonl: the file has no prompts"),
        (b"{\"prompt\": \"\xff\"}\n", "in.jsonl, line 1: expected UTF-8 text, byte 12 of the line is none"),
    ] {
        fs::write(batch.path("in.jsonl"), bytes).unwrap();
        let line = failure(&batch.run(&[]));
        assert!(line.contains(expected), "{line}");
        assert_eq!(names(batch.folder.path()), ["in.jsonl"]);
    }
    fs::write(batch.path("in.jsonl"), json!({"messages": [{"role": "user", "content": "a"}]}).to_string())
        .unwrap();
    assert!(failure(&batch.run(&["--raw"])).contains("messages: with --raw there is only the prompt"));
}

#[test]
fn outputs_that_cannot_be() {
    let batch = Batch::new(&[json!({"prompt": "hello"})], &["-n", "1"]);
    let input = batch.path("in.jsonl");
    let line = failure(&siskin(&["batch", text(&input), text(&input)]));
    assert!(line.contains("in.jsonl: the output is the input"), "{line}");
    for (output, expected) in [
        (batch.folder.path(), "found a folder"),
        (Path::new("/dev/full"), "found no regular file"),
        (Path::new("/dev/stdout"), "found a descriptor"),
        (Path::new("-"), "found a descriptor"),
        (&batch.path("no/out.jsonl"), "No such file"),
    ] {
        let line = failure(&siskin(&["batch", text(&input), text(output)]));
        assert!(line.contains(expected), "{line}");
    }
    let line = failure(&siskin(&["batch", "-", text(&batch.path("out.jsonl"))]));
    assert!(
        line.ends_with("-: standard input is not taken, as lines are read twice: give the name of a file"),
        "{line}"
    );
    let held = File::create(batch.path("out.jsonl")).unwrap();
    held.lock().unwrap();
    assert!(failure(&batch.run(&[])).ends_with("out.jsonl: another process is writing it"));
}

/// What a refused command finds stays, and it makes nothing.
#[test]
fn links_and_pipes_in_the_place_of_outputs_are_refused_and_stay() {
    let batch = Batch::new(&[json!({"prompt": "hello"})], &["-n", "1"]);
    let (output, journal) = (batch.path("out.jsonl"), batch.path("out.jsonl.journal"));
    std::os::unix::fs::symlink("missing", &output).unwrap();
    for line in ["{}", "{\"prompt\": \"hello\"}"] {
        fs::write(batch.path("in.jsonl"), line).unwrap();
        let line = failure(&batch.run(&[]));
        assert!(line.ends_with("out.jsonl: found a link that leads nowhere"), "{line}");
        assert!(output.is_symlink());
        assert_eq!(names(batch.folder.path()), ["in.jsonl", "out.jsonl"]);
    }
    fs::remove_file(&output).unwrap();
    assert!(Command::new("mkfifo").arg(&journal).status().unwrap().success());
    let line = failure(&batch.run(&[]));
    assert!(line.ends_with("out.jsonl.journal: found no regular file"), "{line}");
    assert_eq!(names(batch.folder.path()), ["in.jsonl", "out.jsonl.journal"]);
}

#[test]
fn a_journal_torn_before_anything_was_answered_is_begun_again() {
    let batch = Batch::new(&[json!({"prompt": "hello"})], &["--temp", "0"]);
    batch.finish();
    let (output, path) = (batch.output(), batch.path("out.jsonl.journal"));
    let journal = fs::read(&path).unwrap();
    for length in [0, 1, 20, 60] {
        for empty in [true, false] {
            fs::remove_file(batch.path("out.jsonl")).unwrap();
            if empty {
                File::create(batch.path("out.jsonl")).unwrap();
            }
            fs::write(&path, &journal[..length]).unwrap();
            batch.finish();
            assert!(batch.output() == output && fs::read(&path).unwrap().len() == journal.len(), "{length}");
        }
    }
    fs::remove_file(batch.path("out.jsonl")).unwrap();
    for other in [
        "dear diary",
        "\n",
        "{\"format\":\"siskin summary journal 2\"",
        "{\"format\":\"siskin batch journal 2\"}\n",
    ] {
        fs::write(&path, other).unwrap();
        let line = failure(&batch.run(&[]));
        assert!(line.ends_with("journal: expected the journal of a batch, found another file"), "{line}");
        assert_eq!(fs::read_to_string(&path).unwrap(), other);
        assert_eq!(names(batch.folder.path()), ["in.jsonl", "out.jsonl.journal"]);
    }
}

#[test]
fn answers_that_nobody_can_find_are_not_said_to_be_there() {
    for name in ["out.jsonl", "out.jsonl.journal"] {
        for replaced in [false, true] {
            let batch = Batch::sampled();
            let prompts = vec![prompts(); 100].concat();
            let lines: Vec<Value> = prompts.iter().map(|prompt| json!({"prompt": prompt})).collect();
            batch.write(&lines);
            let mut child = batch.start();
            batch.wait_for_more(0, &mut child);
            fs::remove_file(batch.path(name)).unwrap();
            if replaced {
                fs::write(batch.path(name), "mine").unwrap();
            }
            let ended = child.wait_with_output().unwrap();
            let said = String::from_utf8(ended.stderr).unwrap();
            assert_eq!(ended.status.code(), Some(1), "{said}");
            assert!(said.contains(&format!("{name}: ")) && said.lines().count() == 1, "{said}");
            assert_eq!(batch.path(name).exists(), replaced);
            // It was known at once.
            assert!(name == "out.jsonl" || batch.answers().len() < prompts.len() / 2);
            assert!(!replaced || fs::read(batch.path(name)).unwrap() == b"mine");
        }
    }
}

#[test]
fn openai_s_lines_are_read_as_they_are() {
    let hello = json!([{"role": "user", "content": "hello"}]);
    let call = json!([{"id": "1", "type": "function", "function": {"name": "light", "arguments": "{\"on\": true}"}}]);
    let called = json!([
        {"role": "user", "content": "light, please"},
        {"role": "assistant", "content": null, "tool_calls": call},
        {"role": "tool", "tool_call_id": "1", "content": "done"},
        {"role": "user", "content": [{"type": "text", "text": "hello"}]},
    ]);
    let line = |id: &str, messages: &Value| {
        json!({"custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": {
            "model": "any", "messages": messages, "n": 1, "stream": false, "user": "u", "max_completion_tokens": 8,
            "logprobs": false, "response_format": {"type": "text"}, "tools": [], "seed": null}})
    };
    let batch = Batch::new(&[line("a", &hello), line("b", &called)], &["--temp", "0"]);
    batch.finish();
    let answers = batch.answers();
    assert_eq!((&answers[0]["id"], &answers[0]["content"]), (&"a".into(), &"Hello! How can I help?".into()));
    assert_eq!(answers[1]["id"], "b");

    let mut two = line("a", &hello);
    two["body"]["n"] = 2.into();
    let line = failure(&Batch::new(&[two], &[]).run(&[]));
    assert!(line.ends_with("in.jsonl, line 1: n: only 1 is supported, found 2"), "{line}");
}

#[test]
fn progress_is_said_in_few_digits() {
    let lines: Vec<Value> = prompts().iter().take(3).map(|prompt| json!({"prompt": prompt})).collect();
    let batch = Batch::new(&lines, &["--temp", "0", "-n", "8", "-t", "1"]);
    let arguments = batch.arguments();
    let said = Terminal::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).rest();
    assert!(said.contains(" of 3 answers "), "{said:?}");
    let rates: Vec<&str> =
        said.split_whitespace().filter(|word| word.ends_with("/s") || word.ends_with("/min")).collect();
    assert!(!rates.is_empty(), "{said:?}");
    for rate in rates {
        let (number, _) = rate.split_once('/').unwrap();
        assert!(number.split_once('.').is_some_and(|(_, digits)| digits.len() == 1), "{rate}");
    }
}
