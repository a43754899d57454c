//! `siskin plan`, `--memory` and `--fit`: what is said of memory beside what is measured of it.

use crate::common::{failure, goldens, here, peak, siskin, text};
use serde_json::Value;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

/// What `siskin plan --json` prints.
fn plan(arguments: &[&str]) -> Value {
    let run = siskin(&[&["plan", "--json"], arguments].concat());
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice(&run.stdout).unwrap()
}

fn number(object: &Value, key: &str) -> u64 {
    object[key].as_u64().unwrap_or_else(|| panic!("{key} of {object:#}"))
}

/// A model of some 80 MB, so that it is the model that counts and not the program.
fn model(folder: &Path) -> String {
    let path = folder.join("model.gguf");
    let arguments =
        ["--shape", "smollm2-135m", "--out", text(&path), "-p", "0", "-n", "0", "-r", "1", "-t", "1"];
    let run = siskin(&[&["bench"], &arguments[..]].concat());
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    text(&path).to_owned()
}

/// What a command has mapped once its answer has begun.
fn maps_while_it_answers(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_siskin"));
    let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(maps.contains("[heap]"), "{maps}");
    maps
}

#[test]
fn a_plan_of_a_model_that_counts_is_what_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let plain = model(folder.path());
    let packed = text(&folder.path().join("packed.gguf")).to_owned();
    assert!(siskin(&["pack", &plain, &packed]).status.success());
    for (model, more) in [(&plain, &["--cache-type", "f32"][..]), (&plain, &["--no-mmap"]), (&packed, &[])] {
        let planned = number(&plan(&[&[&**model, "-c", "96", "-t", "2"], more].concat()), "peak_bytes");
        // A prompt that fills the context touches all that was reserved.
        let arguments =
            [&["bench", "--json", model, "-p", "96", "-n", "0", "-r", "1", "-t", "2"], more].concat();
        let report: Value = serde_json::from_slice(&siskin(&arguments).stdout).unwrap();
        let measured = number(&report, "peak_rss_bytes");
        let ratio = measured as f64 / planned as f64;
        assert!((0.95..1.05).contains(&ratio), "{model} {more:?}: {measured} measured, {planned} planned");
    }

    // A model that guesses for itself is there twice. How much of a mapped file is there while it is packed, the kernel
    // decides too.
    let shared = [&*plain, "-c", "96", "-t", "2", "--draft-model", &plain];
    let planned = number(&plan(&shared), "peak_bytes");
    let prompt = "a".repeat(80);
    let measured =
        peak(&[&["run"], &shared[..], &["--raw", "-p", &prompt, "-n", "12", "--temp", "0"]].concat());
    let ratio = measured as f64 / planned as f64;
    assert!((0.9..1.1).contains(&ratio), "with a draft model: {measured} measured, {planned} planned");
    assert!(
        !maps_while_it_answers(&[&["run"], &shared[..], &["--raw", "-p", "a"]].concat()).contains(&plain)
    );
    let limit = (planned - (8 << 20)).to_string();
    let line = failure(&siskin(&[&["run"], &shared[..], &["-p", "a", "--memory", &limit]].concat()));
    assert!(line.contains("needs "), "{line}");

    // More than may be addressed: the cache of this context alone is 377 MB.
    let limited = "ulimit -v 491520; exec \"$@\"";
    let run = Command::new("sh")
        .args(["-c", limited, "sh", env!("CARGO_BIN_EXE_siskin")])
        .args([
            "run",
            &plain,
            "--raw",
            "-p",
            "hello",
            "-n",
            "1",
            "-c",
            "8192",
            "--cache-type",
            "f32",
            "--memory",
            "4GB",
        ])
        .output()
        .unwrap();
    let line = failure(&run);
    assert!(line.contains("out of memory"), "{line}");
}

/// A prompt that was kept is read into the cache a piece at a time: it is never there beside it.
#[test]
fn a_prompt_from_a_file_is_in_memory_once() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let sizes = ["-c", "1000", "-t", "2", "--cache-type", "f32"];
    let planned = number(&plan(&sizes), "peak_bytes");
    let prompt = "light ".repeat(900);
    let asked = ["--raw", "-p", &prompt, "-n", "1", "--prompt-cache", text(&state)];
    let [written, read] = [(); 2].map(|()| peak(&[&["run"], &sizes[..], &asked].concat()));
    let kept = state.metadata().unwrap().len();
    assert!(kept > planned / 8, "{kept} bytes are too few to tell, of {planned}");
    for measured in [written, read] {
        assert!(
            measured as f64 <= 1.05 * planned as f64,
            "{measured} measured, {planned} planned, {kept} kept"
        );
    }
}

#[test]
fn caches_grow_with_sessions_contexts_and_types() {
    let model = goldens().join("gqa.gguf");
    let of = |more: &[&str]| plan(&[&[text(&model), "--threads", "1"], more].concat());
    let one = of(&["--context", "64"]);
    assert_eq!((number(&one, "sessions"), number(&one, "context")), (1, 64));
    let many = of(&["--context", "64", "--parallel", "3"]);
    for key in ["cache_bytes", "scratch_bytes"] {
        assert_eq!(number(&many, key), 3 * number(&one, key), "{key}");
    }
    assert_eq!(number(&many, "weights_bytes"), number(&one, "weights_bytes"));
    let wide = of(&["--context", "64", "--cache-type", "f32"]);
    assert_eq!(number(&wide, "cache_bytes"), 2 * number(&one, "cache_bytes"));
    assert_eq!((&wide["cache_type_k"], &one["cache_type_v"]), (&"f32".into(), &"f16".into()));
    // Caches grow by blocks of 64 positions.
    assert_eq!(number(&of(&["--context", "128"]), "cache_bytes"), 2 * number(&one, "cache_bytes"));
    assert_eq!(number(&of(&["--context", "33"]), "cache_bytes"), number(&one, "cache_bytes"));
}

/// What `siskin batch` takes is planned as it is reserved.
#[test]
fn sequences_that_are_worked_on_together_are_planned() {
    let demo = here("../demo/siskin-demo.gguf");
    let of = |more: &[&str]| plan(&[&[text(&demo), "-t", "1"], more].concat());
    let sequences = |plan: &Value| (number(plan, "sequences"), number(plan, "pages"));
    assert_eq!(sequences(&of(&["-c", "512"])), (1, 2));
    // As many as are worth their memory, or as are asked for.
    assert_eq!(sequences(&of(&["-c", "1024", "--together"])), (8, 32));
    let large = goldens().join("kquant.gguf");
    assert_eq!(sequences(&plan(&[text(&large), "-c", "64", "--together"])), (24, 24));
    let (one, many) = (of(&["-c", "512"]), of(&["-c", "512", "--together", "--parallel", "20"]));
    assert_eq!(sequences(&many), (20, 40));
    assert_eq!(number(&many, "cache_bytes"), 20 * number(&one, "cache_bytes"));
    assert!(number(&many, "scratch_bytes") < 20 * number(&one, "scratch_bytes"));
    // With less memory they share what there is.
    let long = of(&["-c", "1024", "--together"]);
    let room = number(&long, "peak_bytes") - number(&long, "cache_bytes") / 8;
    let shared = of(&["-c", "1024", "--together", "--memory", &room.to_string()]);
    assert!(number(&shared, "sequences") == 8 && (16..32).contains(&number(&shared, "pages")), "{shared:#}");
    let run =
        siskin(&["plan", text(&demo), "-c", "512", "--together", "--parallel", "20", "--memory", "40MB"]);
    let (told, said) = (String::from_utf8(run.stdout).unwrap(), String::from_utf8(run.stderr).unwrap());
    assert!(told.contains(": 20 sequences together, in 40 pages of the cache, each of 512 tokens"), "{told}");
    assert!(said.contains("; a lower --parallel, ") && run.status.code() == Some(1), "{said}");
    let drafted = siskin(&["plan", text(&demo), "--together", "--lookup"]);
    assert_eq!(drafted.status.code(), Some(2));
}

#[test]
fn a_plan_beyond_its_limit_is_told_and_refused() {
    let model = goldens().join("gqa.gguf");
    let run = siskin(&["plan", text(&model), "--memory", "1MB"]);
    let (told, said) = (String::from_utf8(run.stdout).unwrap(), String::from_utf8(run.stderr).unwrap());
    assert_eq!(run.status.code(), Some(1));
    assert!(told.contains("KV cache") && told.contains("there is room for 1.0 MiB"), "{told}");
    assert!(said.starts_with("siskin: ") && said.contains("gqa.gguf: needs ") && said.lines().count() == 1);
    let run = siskin(&["plan", text(&model), "--memory", "1GiB"]);
    assert!(run.status.success() && run.stderr.is_empty());
    let json = plan(&[text(&model), "--memory", "1GiB"]);
    assert!(number(&json, "budget_bytes") == 1 << 30 && number(&json, "peak_bytes") < 1 << 30);
}

#[test]
#[cfg(feature = "demo")]
fn answers_are_refused_or_fitted_and_the_change_is_told() {
    let run =
        |more: &[&str]| siskin(&[&["run", "-p", "hello", "-n", "1", "--quiet", "-t", "1"], more].concat());
    let line = failure(&run(&["--memory", "12MB"]));
    assert!(line.contains("needs ") && line.contains("room for 11.4 MiB"), "{line}");
    let line = failure(&run(&["--memory", "1MB", "--fit"]));
    assert!(line.contains("needs ") && line.contains("room for 1.0 MiB"), "{line}");

    let wide = ["--cache-type", "f32"];
    let peak = |more: &[&str]| number(&plan(&[&["-t", "1"], more].concat()), "peak_bytes");
    let fitted = |limit: u64| {
        let limit = limit.to_string();
        let run = run(&[&wide[..], &["--fit", "--memory", &limit]].concat());
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8(run.stderr).unwrap()
    };
    let whole = peak(&wide);
    assert_eq!(fitted(whole + (1 << 20)), "");
    // No context of up to 1,024 tokens is shortened before the cache is narrowed.
    let told = fitted(whole - (1 << 20));
    assert!(told.ends_with(": a cache in q8_0 instead of f32\n"), "{told}");
    let longest = number(&plan(&[]), "context");
    let short = peak(&["--context", "300", "--cache-type", "q8_0"]) + (1 << 20);
    let told = fitted(short);
    let end = format!(" tokens instead of {longest}, a cache in q8_0 instead of f32\n");
    assert!(told.contains(": a context of ") && told.ends_with(&end) && told.lines().count() == 1, "{told}");
}

#[test]
fn every_command_that_runs_a_model_keeps_to_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        text(&path).to_owned()
    };
    let prompts = file("in.jsonl", "{\"prompt\": \"hello\"}\n");
    let words = file("words.txt", &"once upon a time there was a wolf. ".repeat(40));
    let out = text(&folder.path().join("out")).to_owned();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/siskin-demo.gguf");
    let model = text(&model);
    let commands: [&[&str]; 9] = [
        &["run", model, "-p", "hello", "-n", "1"],
        &["chat", model],
        &["batch", &prompts, &out, "--model", model],
        &["summarize", &words, "--model", model],
        &["logits", model, "--tokens", "1,2", "--out", &out],
        &["bench", model, "-p", "8", "-n", "0", "-r", "1"],
        &["eval", model, "--text", &words, "--window", "32", "--n-prompt", "8", "--runs", "1"],
        &["imatrix", model, &words, "-o", &out, "-c", "32"],
        &["tune", model, "--metric", "decode_tps", "--space", "threads=1", "--trials", "1"],
    ];
    for command in commands {
        let line = failure(&siskin(&[command, &["--memory", "1MB"]].concat()));
        assert!(line.starts_with(&format!("siskin: {model}: needs ")), "{command:?}: {line}");
        assert!(line.contains(" MiB (weights ") && line.contains("there is room for 1.0 MiB; "), "{line}");
        assert!(line.ends_with("in fewer bits, as siskin quantize makes it"), "{command:?}: {line}");
        assert_eq!(crate::common::names(folder.path()), ["in.jsonl", "words.txt"], "{command:?}");
    }
    // Those that measure a model never change what is measured, so they do not fit it.
    for command in &commands[4..] {
        assert_eq!(siskin(&[command, &["--fit"][..]].concat()).status.code(), Some(2), "{command:?}");
        let run = siskin(&[command, &["--memory", "1GiB"][..]].concat());
        assert!(run.status.success(), "{command:?}: {}", String::from_utf8_lossy(&run.stderr));
    }
    let kept = text(&folder.path().join("reference")).to_owned();
    let reference = ["--against", model, "--text", &words, "--window", "32", "--logits-cache", &kept];
    let line = failure(&siskin(&[&["eval", model, "--memory", "1MB"], &reference[..]].concat()));
    assert!(line.starts_with(&format!("siskin: {model}: needs ")), "{line}");
}

/// The flags that a refusal names are those that help, and both numbers are in it.
#[test]
fn a_refusal_names_what_would_fit() {
    let folder = tempfile::tempdir().unwrap();
    let words = folder.path().join("words.txt");
    std::fs::write(&words, "once upon a time there was a wolf. ".repeat(100)).unwrap();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/siskin-demo.gguf");
    let plan = |flags: &[&str]| {
        let run = siskin(&[&["plan", text(&demo), "--json"], flags].concat());
        let plan: Value = serde_json::from_slice(&run.stdout).unwrap();
        plan["peak_bytes"].as_u64().unwrap()
    };
    let out = folder.path().join("out");
    let run = ["run", text(&demo), "-p", "hello", "-n", "1", "-q"];
    let imatrix = ["imatrix", text(&demo), text(&words), "-o", text(&out), "-c", "512"];
    let tokens = vec!["1"; 900].join(",");
    let logits = ["logits", text(&demo), "--out", text(&out), "--tokens", &tokens];
    let narrow = ["--cache-type", "q8_0"];
    let least = ["-c", "256", "--cache-type", "q8_0"];
    for (command, room, flag, said) in [
        (&run[..], plan(&narrow), "--cache-type q8_0", " would fit, as --fit finds by itself"),
        (&run, plan(&least), "-c ", " would fit, as --fit finds by itself"),
        (&imatrix, plan(&least), "-", " would fit"),
        (&logits, plan(&narrow), "--cache-type q8_0", " would fit"),
    ] {
        // What a process has when it is asked differs by some pages.
        const PAGES: u64 = 1 << 20;
        let line = failure(&siskin(&[command, &["--memory", &(room + PAGES).to_string()]].concat()));
        let (_, remedy) = line.rsplit_once("; ").unwrap();
        let flags = remedy.strip_suffix(said).unwrap_or_else(|| panic!("{line}"));
        assert!(flags.starts_with(flag) && flags.ends_with("--cache-type q8_0"), "{line}");
        let flags: Vec<&str> = flags.split(' ').collect();
        let helped = siskin(&[command, &["--memory", &(room + 2 * PAGES).to_string()], &flags].concat());
        assert!(helped.status.success(), "{line}: {}", String::from_utf8_lossy(&helped.stderr));
    }
    // As many lines at once as were asked for have no room, though one has.
    let input = folder.path().join("in.jsonl");
    std::fs::write(&input, "{\"prompt\": \"hello\"}\n").unwrap();
    let room = (plan(&[]) + (1 << 20)).to_string();
    let batch =
        ["batch", text(&input), text(&out), "--model", text(&demo), "--parallel", "64", "--memory", &room];
    assert!(
        failure(&siskin(&batch))
            .contains("; a lower --parallel, a shorter context (-c) or --cache-type q8_0")
    );
}

#[test]
fn nonsense_is_refused_in_one_line() {
    let model = goldens().join("gqa.gguf");
    let line = failure(&siskin(&["plan", text(&model), "--context", "1099511627776"]));
    assert!(line.contains("context") && line.contains("1099511627776"), "{line}");
    assert!(failure(&siskin(&["plan", "absent.gguf"])).contains("absent.gguf"));
    for (flag, value) in [
        ("--context", "0"),
        ("--context", "18446744073709551616"),
        ("--parallel", "0"),
        ("--memory", "much"),
        ("--memory", "0"),
        ("--memory", "200mm"),
        ("--memory", "99999999999GB"),
        ("--cache-type", "q4_0"),
    ] {
        let run = siskin(&["plan", text(&model), flag, value]);
        assert_eq!(run.status.code(), Some(2), "{flag} {value}");
        assert!(String::from_utf8(run.stderr).unwrap().contains(value), "{flag} {value}");
    }
    // Sizes as Docker and llama.cpp write them.
    let room = |size: &str| {
        let run = siskin(&["plan", text(&model), "--json", "--memory", size]);
        let plan: Value = serde_json::from_slice(&run.stdout).unwrap();
        plan["budget_bytes"].as_u64().unwrap()
    };
    assert_eq!([room("200m"), room("1.5g"), room("200MB")], [200 << 20, 3 << 29, 200_000_000]);
    // As many sessions as there are numbers are no memory that anybody has.
    let run = siskin(&["plan", text(&model), "--parallel", "18446744073709551615"]);
    assert_eq!(run.status.code(), Some(1));
}

#[test]
fn a_board_decodes_as_fast_as_its_memory_gives_what_a_token_reads() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let bench: Value = serde_json::from_slice(
        &siskin(&["bench", "--json", &model, "-p", "0", "-n", "1", "-r", "1", "-t", "1"]).stdout,
    )
    .unwrap();
    let planned = plan(&[&model, "--board", "raspberry-pi-4"]);
    let board = &planned["board"];
    assert_eq!((&board["name"], &board["tier"]), (&"Raspberry Pi 4 Model B".into(), &"neon".into()));
    assert_eq!(
        (&planned["threads"], &board["threads"], &board["bound"]),
        (&4.into(), &4.into(), &"memory".into())
    );
    let most = board["decode_tps"][1].as_f64().unwrap();
    // Norms and the like are floats beside the matrices.
    let read = most * number(&bench, "bytes_per_token") as f64 / 4.3e9;
    assert!((0.99..1.01).contains(&read), "{read} of what the memory gives");
    let rooms = board["room"].as_array().unwrap();
    assert!(rooms.len() == 4 && rooms.iter().all(|room| room["context"].as_u64() > Some(0)), "{board:#}");
    let types = board["by_type"].as_array().unwrap();
    let bytes: Vec<_> = types.iter().map(|ty| number(ty, "bytes_per_token")).collect();
    assert!(bytes.is_sorted_by(|a, b| a >= b), "{board:#}");
    let text = siskin(&["plan", &model, "--board", "raspberry-pi-4"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("on Raspberry Pi 4 Model B, 4 threads") && text.contains("memory bounds"),
        "{text}"
    );
}

#[test]
fn a_board_without_room_is_told_of_and_fails() {
    let model = goldens().join("gqa.gguf");
    let run = siskin(&["plan", text(&model), "--board", "raspberry-pi-zero-2w", "--parallel", "1000000"]);
    let (said, why) = (String::from_utf8(run.stdout).unwrap(), String::from_utf8(run.stderr).unwrap());
    assert!(!run.status.success() && said.contains("512 MiB") && said.contains("no room"), "{said}");
    assert!(why.contains("no Raspberry Pi Zero 2 W has memory for it"), "{why}");
    let unknown = siskin(&["plan", text(&model), "--board", "pi"]);
    let why = String::from_utf8(unknown.stderr).unwrap();
    assert!(
        !unknown.status.success() && why.contains("there is no board \"pi\": expected one of beagleplay"),
        "{why}"
    );
}
