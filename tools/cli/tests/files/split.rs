//! Models in several files: `siskin quantize --split` writes them, any of the files opens them, and none is ever replaced.

use crate::common::{failure, goldens, here, names, quantized, siskin, text};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

/// What a successful run prints.
fn said(run: &Output) -> String {
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout.clone()).unwrap()
}

fn shard(folder: &Path, number: usize, count: usize) -> PathBuf {
    folder.join(format!("m-{number:05}-of-{count:05}.gguf"))
}

/// The demo model in one file, `whole.gguf`, and in four, in a folder of its own.
fn model() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let demo = here("../demo/siskin-demo.gguf");
    quantized(&demo, &folder.path().join("whole.gguf"), "q8_0");
    let output = folder.path().join("m.gguf");
    let line = said(&siskin(&["quantize", text(&demo), text(&output), "--type", "q8_0", "--split", "2.5MB"]));
    let files = names(folder.path());
    assert_eq!(files.len(), 5, "{files:?}");
    assert!(
        line.contains("m-00001-of-00004.gguf: Q8_0, ") && line.contains(", 4 files of together "),
        "{line}"
    );
    for number in 1..=4 {
        assert!(fs::metadata(shard(folder.path(), number, 4)).unwrap().len() <= 2_500_000);
    }
    folder
}

#[test]
fn any_file_opens_the_model_in_every_command() {
    let folder = model();
    let (folder, whole) = (folder.path(), folder.path().join("whole.gguf"));
    let tasks = folder.join("tasks.jsonl");
    fs::write(&tasks, "{\"prompt\": \"Hello\"}\n").unwrap();
    let words = folder.join("words.txt");
    fs::write(&words, "A siskin is a small finch that lives in woods. ".repeat(60)).unwrap();
    let (out, cache) = (folder.join("out"), folder.join("cache"));
    let commands: [&[&str]; 9] = [
        &["run", "MODEL", "-p", "Hello", "-n", "8", "--seed", "1"],
        &[
            "run",
            "MODEL",
            "-p",
            "Hello",
            "-n",
            "8",
            "--seed",
            "1",
            "--no-mmap",
            "--prompt-cache",
            text(&cache),
        ],
        &["tokenize", "MODEL", "a siskin"],
        &["logits", "MODEL", "--tokens", "1,2,3", "--out", text(&out)],
        &["pack", "MODEL", text(&out)],
        &["quantize", "MODEL", text(&out), "--type", "q4_0"],
        &["imatrix", "MODEL", text(&words), "--output", text(&out)],
        &["batch", text(&tasks), text(&out), "--model", "MODEL", "-n", "8"],
        &["plan", "MODEL", "-c", "64"],
    ];
    for command in commands {
        let run = |model: &Path| {
            let arguments: Vec<_> =
                command.iter().map(|word| if *word == "MODEL" { text(model) } else { word }).collect();
            let printed = said(&siskin(&arguments));
            let bytes = fs::read(&out).unwrap_or_default();
            let _ = fs::remove_file(&out);
            (printed.replace(text(model), "MODEL"), bytes)
        };
        let (printed, bytes) = run(&whole);
        for number in [1, 3] {
            let split = run(&shard(folder, number, 4));
            // A plan names the model and estimates what its file takes while it is loaded.
            assert!(command[0] == "plan" || split.0 == printed, "{command:?}: {} {printed}", split.0);
            assert!(split.1 == bytes, "{command:?}");
        }
    }
    // What was kept of the whole model is used again: the weights are the same.
    let second = shard(folder, 2, 4);
    said(&siskin(&["run", text(&second), "-p", "Hello", "-n", "1", "--prompt-cache", text(&cache)]));
    let inspected = said(&siskin(&["inspect", text(&second)]));
    assert!(inspected.contains("m-00002-of-00004.gguf: GGUF version 3, 4 files, "), "{inspected}");
}

#[test]
fn a_set_becomes_one_file_and_a_packed_set() {
    let folder = model();
    let (folder, whole) = (folder.path(), folder.path().join("whole.gguf"));
    let joined = quantized(&shard(folder, 4, 4), &folder.join("joined.gguf"), "q8_0");
    assert!(joined == fs::read(&whole).unwrap(), "the file that it would have been");

    // By the name of a file of the set, too; the old one goes when the new one is complete.
    let output = folder.join("packed-00007-of-00009.gguf");
    let arguments = ["quantize", text(&whole), text(&output), "--type", "q8_0", "--pack", "--split", "3MB"];
    said(&siskin(&arguments));
    let packed: Vec<_> = names(folder).into_iter().filter(|name| name.starts_with("packed-")).collect();
    assert_eq!(packed, [1, 2, 3].map(|number| format!("packed-0000{number}-of-00003.gguf")));
    let out = folder.join("logits.npy");
    let logits = |model: &Path| {
        said(&siskin(&["logits", text(model), "--tokens", "1,2,3", "--out", text(&out)]));
        fs::read(&out).unwrap()
    };
    assert!(logits(&folder.join(&packed[1])) == logits(&whole));
}

#[test]
fn no_file_of_a_set_is_replaced_by_what_is_made_of_it() {
    let folder = model();
    let folder = folder.path();
    let before: Vec<_> = names(folder).into_iter().map(|name| fs::read(folder.join(name)).unwrap()).collect();
    let (one, two) = (shard(folder, 1, 4), shard(folder, 2, 4));
    let link = folder.parent().unwrap().join(format!("link-{}.gguf", std::process::id()));
    std::os::unix::fs::symlink(&two, &link).unwrap();
    for input in [&two, &link] {
        for command in [
            &["quantize", text(input), text(&one), "--type", "q4_0"][..],
            &["quantize", text(input), text(&folder.join("m.gguf")), "--type", "q8_0", "--split", "2.5MB"],
            &["pack", text(input), text(&one)],
            &["logits", text(input), "--tokens", "1", "--out", text(&one)],
            &["eval", text(input), "--html", text(&one)],
        ] {
            let line = failure(&siskin(command));
            assert!(line.contains("the output is a shard of the input"), "{line}");
        }
    }
    fs::remove_file(&link).unwrap();
    let after: Vec<_> = names(folder).into_iter().map(|name| fs::read(folder.join(name)).unwrap()).collect();
    assert!(before == after);
}

#[test]
fn a_missing_file_is_named_and_too_small_files_are_refused() {
    let folder = model();
    let folder = folder.path();
    fs::remove_file(shard(folder, 3, 4)).unwrap();
    let line = failure(&siskin(&["run", text(&shard(folder, 1, 4)), "-p", "a"]));
    let missing = shard(folder, 3, 4);
    assert!(line.ends_with(&format!("shard 3 of 4 is missing: expected {}", text(&missing))), "{line}");

    let input = goldens().join("gqa.gguf");
    for (size, expected) in [
        ("100", "bytes, which the model's keys take"),
        ("8kB", "--split: expected files of at least 16601 bytes, which tensor token_embd.weight takes"),
    ] {
        let output = folder.join("small.gguf");
        let line =
            failure(&siskin(&["quantize", text(&input), text(&output), "--type", "f32", "--split", size]));
        assert!(line.contains(expected), "{size}: {line}");
    }
    let line = failure(&siskin(&["quantize", text(&input), "-", "--type", "f32", "--split", "1MB"]));
    assert!(line.contains("--split needs the name of a file"), "{line}");
    assert!(names(folder).iter().all(|name| !name.contains("small") && !name.contains("unfinished")));
}
