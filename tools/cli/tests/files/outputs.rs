//! What commands write never takes the place of what they read, nor of what is no file.

use crate::common::{failure, goldens, siskin, text};
use std::fs;
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
