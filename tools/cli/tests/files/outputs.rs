//! What commands write never takes the place of what they read, nor of what is no file.

use crate::common::{failure, goldens, here, names, siskin, text};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

/// A model in a folder of its own.
fn model(folder: &Path) -> std::path::PathBuf {
    let model = folder.join("model.gguf");
    fs::copy(goldens().join("kquant.gguf"), &model).unwrap();
    model
}

#[test]
fn no_command_s_output_replaces_its_model() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let before = fs::read(&model).unwrap();
    let link = folder.path().join("link.gguf");
    symlink(&model, &link).unwrap();
    let words = folder.path().join("words.txt");
    fs::write(&words, "a siskin is a finch ".repeat(40)).unwrap();
    for output in [&model, &link] {
        let output = text(output);
        let commands: [&[&str]; 4] = [
            &["logits", text(&model), "--tokens", "1,2", "--out", output],
            &["eval", text(&model), "--html", output],
            &["quantize", text(&model), output, "--type", "q8_0"],
            &["pack", text(&model), output],
        ];
        for command in commands {
            let line = failure(&siskin(command));
            assert!(line.contains("the output is the input"), "{line}");
            assert!(fs::read(&model).unwrap() == before, "{command:?}");
        }
        // A prompt's state is no model, whatever the file is called.
        let run = ["run", text(&model), "--raw", "-p", "a", "-n", "1", "--prompt-cache", output];
        failure(&siskin(&run));
        assert!(fs::read(&model).unwrap() == before);
    }
    let line = failure(&siskin(&["imatrix", text(&model), text(&words), "--output", text(&words)]));
    assert!(line.contains("the output is the input"), "{line}");

    let adapter = folder.path().join("adapter");
    fs::create_dir(&adapter).unwrap();
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        fs::copy(here("../demo/factory").join(file), adapter.join(file)).unwrap();
    }
    let weights = adapter.join("adapter_model.safetensors");
    let before = fs::read(&weights).unwrap();
    let demo = here("../demo/siskin-demo.gguf");
    let convert = ["adapter", "convert", text(&adapter), text(&weights), "--model", text(&demo)];
    let line = failure(&siskin(&convert));
    assert!(line.contains("a file of the input"), "{line}");
    assert!(fs::read(&weights).unwrap() == before);
}

#[test]
fn the_program_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("siskin");
    fs::copy(env!("CARGO_BIN_EXE_siskin"), &program).unwrap();
    for output in [&program, Path::new("/proc/self/exe")] {
        let logits = ["logits", "--tokens", "1,2", "--out", text(output)];
        let line = failure(&Command::new(&program).args(logits).output().unwrap());
        assert!(line.contains("the output is this program"), "{line}");
    }
}

/// Files that grow line by line go by the same rule.
#[test]
fn no_journal_and_no_answers_are_appended_to_what_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (prompts, texts) = (folder.path().join("in.jsonl"), folder.path().join("text.md"));
    let (model, link) = (folder.path().join("model.gguf"), folder.path().join("link"));
    fs::write(&prompts, "{\"prompt\":\"hello\"}\n").unwrap();
    fs::write(&texts, "# Finches\n").unwrap();
    fs::copy(here("../demo/siskin-demo.gguf"), &model).unwrap();
    symlink(&texts, &link).unwrap();
    let inputs = [&prompts, &texts, &model];
    let before = inputs.map(|path| fs::read(path).unwrap());
    let commands: [&[&str]; 5] = [
        &["batch", text(&prompts), text(&prompts)],
        &["batch", text(&prompts), text(&model), "--model", text(&model)],
        &["summarize", text(&texts), "--journal", text(&texts)],
        &["summarize", text(&texts), "--journal", text(&link)],
        &["summarize", text(&texts), "--model", text(&model), "--journal", text(&model)],
    ];
    for command in commands {
        let line = failure(&siskin(command));
        assert!(line.contains("the output is the input"), "{command:?}: {line}");
        assert!(inputs.map(|path| fs::read(path).unwrap()) == before);
    }
}

/// Two outputs of a command are two files.
#[test]
fn one_file_is_no_two_outputs() {
    let folder = tempfile::tempdir().unwrap();
    let (model, words) = (here("../demo/siskin-demo.gguf"), folder.path().join("words.txt"));
    fs::write(&words, "a siskin is a finch ".repeat(200)).unwrap();
    let (file, same) = (folder.path().join("file"), folder.path().join("./file"));
    let eval = ["eval", text(&model), "--against", text(&model), "--text", text(&words), "--window", "64"];
    let outputs = ["--html", text(&file), "--logits-cache", text(&same)];
    let line = failure(&siskin(&[&eval[..], &outputs[..]].concat()));
    assert!(line.contains("the output is the input"), "{line}");
    assert_eq!(names(folder.path()), ["words.txt"], "refused before the work");
    // Nor are the answers of a batch what says which they are.
    fs::write(&file, "{\"prompt\":\"hello\"}\n").unwrap();
    symlink(folder.path().join("answers"), folder.path().join("answers.journal")).unwrap();
    failure(&siskin(&["batch", text(&file), text(&folder.path().join("answers"))]));
}

/// `>> log` is the shell's word about the file.
#[test]
fn what_is_appended_to_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let log = folder.path().join("log");
    let run = |out: &str, append: bool| {
        let file = OpenOptions::new().create(true).write(true).append(append).open(&log).unwrap();
        let arguments = ["logits", text(&model), "--tokens", "1,2", "--out", out];
        let run = Command::new(env!("CARGO_BIN_EXE_siskin")).args(arguments).stdout(file).status().unwrap();
        assert!(run.success());
        fs::read(&log).unwrap()
    };
    fs::write(&log, "").unwrap();
    let expected = run("-", true);
    for out in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        fs::write(&log, "old").unwrap();
        let found = run(out, true);
        assert!(found.starts_with(b"old") && found[3..] == expected, "{out}");
        // And `> log` is the file's new beginning.
        fs::write(&log, "").unwrap();
        assert!(run(out, false) == expected, "{out}");
    }
}

#[test]
fn a_model_on_standard_output_is_nothing_but_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let file = folder.path().join("written.gguf");
    for command in
        [&["pack"][..], &["quantize", "--type", "f32"], &["quantize", "--bpw", "32", "--windows", "1"]]
    {
        let run = |out: &str| {
            let run = siskin(&[command, &[text(&model), out]].concat());
            assert!(run.status.success(), "{command:?} {}", String::from_utf8_lossy(&run.stderr));
            run
        };
        run(text(&file));
        let piped = run("-");
        assert!(piped.stdout == fs::read(&file).unwrap(), "{command:?}");
        assert!(String::from_utf8_lossy(&piped.stderr).contains("-: "), "{command:?}");
    }
}

#[test]
fn standard_output_and_devices_are_written_through() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let file = folder.path().join("logits.npy");
    let run = |out: &str| {
        let run = siskin(&["logits", text(&model), "--tokens", "1,2,3", "--out", out]);
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        run.stdout
    };
    run(text(&file));
    let expected = fs::read(&file).unwrap();
    assert!(!expected.is_empty());
    assert!(run("-") == expected);
    // The link stays one, whoever runs this.
    let before = fs::read_link("/dev/stdout").unwrap();
    assert!(run("/dev/stdout") == expected);
    assert_eq!(fs::read_link("/dev/stdout").unwrap(), before);
    run("/dev/null");
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());

    let dangling = folder.path().join("dangling");
    symlink(folder.path().join("nothing"), &dangling).unwrap();
    let line = failure(&siskin(&["logits", text(&model), "--tokens", "1", "--out", text(&dangling)]));
    assert!(line.contains("a link that leads nowhere"), "{line}");
    let full = Command::new(env!("CARGO_BIN_EXE_siskin"))
        .args(["logits", text(&model), "--tokens", "1", "--out", "/dev/full"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(failure(&full).contains("/dev/full"));
}

/// Whoever reads what is said may be gone when the work is done.
#[test]
fn work_that_is_done_is_done_though_nobody_reads_what_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let out = folder.path().join("out.gguf");
    let commands: [&[&str]; 4] = [
        &["quantize", text(&model), text(&out), "--type", "q8_0"],
        &["pack", text(&model), text(&out)],
        &["inspect", text(&model)],
        &["tokenize", text(&model), "a siskin"],
    ];
    for command in commands {
        let mut run = Command::new(env!("CARGO_BIN_EXE_siskin"));
        let mut run = run.args(command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(run.stdout.take());
        let run = run.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success() && !said.contains("panicked"), "{command:?}: {said}");
    }
}
