//! `siskin eval`, on the demo model: its perplexity is llama.cpp's, and what it says when something is amiss.

use crate::common::{failure, goldens, here, names, quantized, siskin, text};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Runs `siskin eval --json` on the demo model with the least work, which must succeed.
fn eval(arguments: &[&str]) -> Value {
    let run = siskin(&[&["eval", "--json"], arguments, &FAST].concat());
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice(&run.stdout).unwrap()
}

const FAST: [&str; 6] = ["--runs", "1", "--n-prompt", "8", "-c", "512"];

/// `goldens/eval/measure_perplexity.py demo/siskin-demo.gguf goldens/eval/text.txt 4 256`, llama-cpp-python 0.3.36.
const LLAMA_CPP: f64 = 84.0648;

#[test]
fn perplexity_is_llama_cpp_s_and_a_model_does_not_diverge_from_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (model, book) = (here("../demo/siskin-demo.gguf"), here("tests/goldens/eval/text.txt"));
    let cache = folder.path().join("a.logits");
    let arguments = [
        text(&model),
        "--text",
        text(&book),
        "--window",
        "256",
        "--chunks",
        "4",
        "--against",
        text(&model),
        "--logits-cache",
        text(&cache),
    ];
    let report = eval(&arguments);
    let metrics = &report["models"][0]["metrics"];
    let number = |name: &str| metrics[name].as_f64().unwrap();
    assert!((number("ppl") / LLAMA_CPP - 1.0).abs() < 0.005, "{metrics:#}");
    // The reference's logits are kept in half precision.
    assert!(number("kl_max") < 1e-4 && number("same_top") > 0.99 && number("rms_dp") < 1e-3, "{metrics:#}");
    assert_eq!(number("weight_error"), 0.0);
    assert!((report["reference"]["ppl"].as_f64().unwrap() / number("ppl") - 1.0).abs() < 1e-3);
    assert!(number("peak_mib") > number("file_mib") && number("bpw") > 4.0);
    assert_eq!(names(folder.path()), ["a.logits"]);

    // The file serves again as it is, and is made anew for another text.
    let made = fs::read(&cache).unwrap();
    eval(&arguments);
    assert!(fs::read(&cache).unwrap() == made);
    let other = folder.path().join("other.txt");
    fs::write(&other, &fs::read(&book).unwrap()[5000..]).unwrap();
    eval(&[
        text(&model),
        "--text",
        text(&other),
        "--window",
        "256",
        "--chunks",
        "1",
        "--against",
        text(&model),
        "--logits-cache",
        text(&cache),
    ]);
    assert!(fs::read(&cache).unwrap() != made);
}

#[test]
fn a_coarser_file_diverges_and_the_page_tells() {
    let folder = tempfile::tempdir().unwrap();
    let (coarse, page) = (folder.path().join("q4 <0>.gguf"), folder.path().join("report.html"));
    quantized(&here("../demo/siskin-demo"), &coarse, "q4_0");
    let (model, book) = (here("../demo/siskin-demo.gguf"), here("tests/goldens/eval/text.txt"));
    let cache = folder.path().join("a.logits");
    let report = eval(&[
        text(&coarse),
        text(&model),
        "--text",
        text(&book),
        "--window",
        "128",
        "--chunks",
        "2",
        "--against",
        text(&model),
        "--logits-cache",
        text(&cache),
        "--html",
        text(&page),
    ]);
    let number = |model: usize, name: &str| report["models"][model]["metrics"][name].as_f64().unwrap();
    assert!(number(0, "kl") > 1e-3 && number(0, "weight_error") > 0.01);
    assert!(number(1, "kl") < 1e-4 && number(1, "weight_error") == 0.0);
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("q4 &lt;0&gt;") && page.contains("<svg") && !page.contains("<0>"));
    assert!(!page.contains("http") && !page.contains("NaN"), "the page needs something else");
}

#[test]
fn bounds_decide_about_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let (model, tasks) = (here("../demo/siskin-demo.gguf"), folder.path().join("tasks.jsonl"));
    let lines = fs::read_to_string(here("../demo/eval-base.jsonl")).unwrap();
    let two: Vec<_> = lines.lines().take(2).collect();
    fs::write(&tasks, two.join("\n")).unwrap();
    let run = |bounds: &[&str]| {
        let given = bounds.iter().flat_map(|bound| ["--require", bound]).collect::<Vec<_>>();
        siskin(&[&["eval", text(&model), "--tasks", text(&tasks)], &FAST[..], &given].concat())
    };
    let kept = run(&["exact>=0", "decode_tps>=0.1", "peak_mib<=100000"]);
    assert!(kept.status.success() && String::from_utf8(kept.stdout).unwrap().contains("exact match"));
    let broken = run(&["file_mib<=1"]);
    let said = String::from_utf8(broken.stderr).unwrap();
    assert_eq!(broken.status.code(), Some(1));
    assert!(
        said.ends_with(", required file_mib<=1\n") && said.contains("siskin-demo.gguf: file_mib is 4.5"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1);
    for (bound, expected) in [
        ("exact.lamp>=0.9", "no tasks of the kind lamp"),
        ("ppl<=12", "ppl is measured with --text only"),
        ("speed<=12", "no metric speed"),
    ] {
        let wrong = run(&[bound]);
        let said = String::from_utf8(wrong.stderr).unwrap();
        assert_eq!(wrong.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn wrong_input_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let demo = here("../demo/siskin-demo.gguf");
    let gqa = goldens().join("gqa.gguf");
    let (demo, gqa) = (text(&demo), text(&gqa));
    let book = here("tests/goldens/eval/text.txt");
    let cache = file("a.logits", "");
    let line = |arguments: &[&str]| failure(&siskin(&[&["eval"], arguments, &FAST].concat()));
    assert!(line(&[demo, "--text", &file("empty", " \n")]).contains("the text is empty"));
    let short = line(&[demo, "--text", &file("short", "Once upon a time.")]);
    assert!(short.contains("expected at least 512"), "{short}");
    let bad = line(&[demo, "--tasks", &file("bad", "{\"prompt\": \"a\", \"answer\": \"b\"}\n{\"prompt\"\n")]);
    assert!(bad.contains("bad, line 2: "), "{bad}");
    assert!(line(&["absent.gguf"]).contains("absent.gguf"));
    let kept = file("thesis", "all my work\n");
    let other = line(&[demo, "--text", text(&book), "--against", demo, "--logits-cache", &kept]);
    assert!(other.contains("thesis") && fs::read_to_string(&kept).unwrap() == "all my work\n", "{other}");
    let window = ["--window", "32", "--chunks", "1", "--text", text(&book), "--logits-cache", &cache];
    let foreign = failure(&siskin(
        &[&["eval", gqa, "--against", demo, "--runs", "1", "--n-prompt", "2"], &window[..]].concat(),
    ));
    assert!(foreign.contains("gqa.gguf") && foreign.contains("vocabulary"), "{foreign}");
}

/// Logits that nobody asked to be kept are told of, and easy to be rid of.
#[test]
fn kept_logits_are_told_of_and_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let (model, book) = (here("../demo/siskin-demo.gguf"), here("tests/goldens/eval/text.txt"));
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_siskin"));
        let run = command.arg("eval").args(arguments).env("XDG_CACHE_HOME", folder.path()).output().unwrap();
        let said = String::from_utf8(run.stderr).unwrap();
        assert!(run.status.success(), "{said}");
        (String::from_utf8(run.stdout).unwrap(), said)
    };
    let text_of = ["--text", text(&book), "--window", "64", "--chunks", "1", "--against", text(&model)];
    let evaluate = [&[text(&model)], &text_of[..], &FAST].concat();
    let cache = folder.path().join("siskin");
    let (_, said) = run(&evaluate);
    let expected = format!("the reference's logits are kept for later in {} (", cache.display());
    assert!(said.starts_with(&expected) && said.contains("siskin eval --clear-cache removes them"), "{said}");
    assert_eq!((said.lines().count(), names(&cache).len()), (1, 1), "{said}");
    assert_eq!(fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
    // Once: they serve again.
    assert_eq!(run(&evaluate).1, "");

    // What evaluations that were killed left behind goes too, and nothing else.
    fs::write(cache.join(".0.logits.a1b2c3.siskin-unfinished"), "half").unwrap();
    fs::write(cache.join("other"), "").unwrap();
    let (out, said) = run(&["--clear-cache"]);
    assert!(
        out.starts_with(&format!("{}: removed 2 files of ", cache.display())) && said.is_empty(),
        "{out}"
    );
    assert_eq!(names(&cache), ["other"]);
}
