//! The program as its users meet it, on the demo model that it carries: `run`, `chat`, `tokenize` and `logits`.
//!
//! `goldens/demo/golden.json` holds reference answers, see there how they were made.

use crate::common::{goldens, text};
use serde::Deserialize;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../demo/siskin-demo.gguf");
const LIGHT: &str = "please turn on the kitchen light";
const LIGHT_ON: &str =
    "{\"intent\": \"switch\", \"device\": \"light\", \"room\": \"kitchen\", \"state\": \"on\"}\n";

/// A prompt and what greedy decoding of the original float32 weights makes of it.
#[derive(Deserialize)]
struct Golden {
    prompt: String,
    prompt_ids: Vec<u32>,
    output_ids: Vec<u32>,
    text: String,
}

/// The cases whose answer came to an end. Those cut off tell stories, which a rounded weight may tell otherwise.
fn cases() -> Vec<Golden> {
    #[derive(Deserialize)]
    struct File {
        cases: Vec<Golden>,
    }
    const LIMIT: usize = 64;
    let file: File = serde_json::from_str(include_str!("../goldens/demo/golden.json")).unwrap();
    file.cases.into_iter().filter(|case| case.output_ids.len() < LIMIT).collect()
}

/// The program, with no terminal, and no environment that could change what it does.
fn siskin(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_siskin"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> Output {
    siskin(arguments).output().unwrap()
}

/// Runs the program with something to read.
fn fed(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = siskin(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

/// What a run that succeeded wrote to standard output.
fn stdout(run: &Output) -> String {
    assert!(run.status.success(), "{}", stderr(run));
    String::from_utf8(run.stdout.clone()).unwrap()
}

fn stderr(run: &Output) -> String {
    String::from_utf8(run.stderr.clone()).unwrap()
}

/// `run` at temperature 0, without a word about speed.
fn greedy<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["run", "--temp", "0", "--quiet"], arguments].concat()
}

fn answer(arguments: &[&str]) -> String {
    stdout(&output(&greedy(arguments)))
}

mod run {
    use super::*;

    #[test]
    fn the_answer_alone_goes_to_standard_output() {
        let run = output(&["run", "-p", LIGHT, "--temp", "0"]);
        assert_eq!(stdout(&run), LIGHT_ON);
        let said = stderr(&run);
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines[0].starts_with("prompt: 14 tokens in ") && lines[0].ends_with(" tokens/s"), "{said}");
        assert!(lines[1].starts_with("answer: ") && lines[1].ends_with(" tokens/s"), "{said}");
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn quiet_says_nothing_else() {
        assert_eq!(stderr(&output(&greedy(&["-p", LIGHT]))), "");
    }

    #[test]
    fn the_answers_are_the_reference_s() {
        let cases = cases();
        assert!(cases.len() > 20);
        for Golden { prompt, text, .. } in cases {
            assert_eq!(answer(&["-p", &prompt]), text + "\n", "{prompt}");
        }
    }

    #[test]
    fn a_prompt_comes_from_an_option_a_file_or_standard_input() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prompt.txt");
        fs::write(&file, format!("{LIGHT}\n")).unwrap();
        assert_eq!(answer(&["-f", text(&file)]), LIGHT_ON);
        assert_eq!(stdout(&fed(&greedy(&[]), format!("{LIGHT}\n").as_bytes())), LIGHT_ON);
        assert_eq!(stdout(&fed(&greedy(&[]), LIGHT.as_bytes())), LIGHT_ON);
    }

    #[test]
    fn a_named_file_serves_as_the_built_in_model_does() {
        assert_eq!(answer(&[DEMO, "-p", LIGHT]), LIGHT_ON);
        assert_eq!(answer(&[DEMO, "-p", LIGHT, "--no-mmap"]), LIGHT_ON);
    }

    #[test]
    fn threads_and_batches_do_not_change_an_answer() {
        for options in [["-t", "1", "-b", "1"], ["-t", "3", "-b", "7"], ["-t", "2", "-b", "256"]] {
            assert_eq!(answer(&[&["-p", LIGHT], &options[..]].concat()), LIGHT_ON, "{options:?}");
        }
    }

    #[test]
    fn raw_continues_the_text_as_it_is() {
        let raw =
            answer(&["--raw", "-p", "{\"intent\": \"switch\", \"device\": \"light\", \"room\":", "-n", "3"]);
        assert!(raw.starts_with(" \""), "{raw:?}");
        let run = output(&["run", "--raw", "-p", "Once upon a time", "-n", "5", "--temp", "0"]);
        assert!(stderr(&run).starts_with("prompt: 5 tokens in "), "{}", stderr(&run));
        assert!(stderr(&run).contains("\nanswer: 5 tokens in "), "{}", stderr(&run));
    }

    #[test]
    fn a_system_message_is_part_of_the_prompt() {
        let run = output(&["run", "-p", LIGHT, "--temp", "0", "--system", "Be short."]);
        let tokens: usize = stderr(&run).split(' ').nth(1).unwrap().parse().unwrap();
        assert!(run.status.success() && tokens > 14 + 3, "{}", stderr(&run));
    }

    #[test]
    fn an_answer_ends_before_a_stop_string() {
        assert_eq!(
            answer(&["-p", LIGHT, "--stop", ", \"room\""]),
            "{\"intent\": \"switch\", \"device\": \"light\"\n"
        );
        assert_eq!(answer(&["-p", LIGHT, "--stop", "no such", "--stop", "sw"]), "{\"intent\": \"\n");
        assert_eq!(answer(&["-p", LIGHT, "--stop", "on\"}!"]), LIGHT_ON);
    }

    #[test]
    fn a_limit_cuts_an_answer_short() {
        let cut = answer(&["-p", LIGHT, "-n", "4"]);
        let cut = cut.strip_suffix('\n').unwrap();
        assert!(LIGHT_ON.starts_with(cut) && (1..30).contains(&cut.len()), "{cut:?}");
    }

    #[test]
    fn a_full_context_ends_the_answer_with_a_note() {
        let run = output(&greedy(&["-p", LIGHT, "-c", "20"]));
        let answer = stdout(&run);
        assert!(LIGHT_ON.starts_with(answer.trim_end()) && answer.len() < LIGHT_ON.len(), "{answer:?}");
        let said = "the context of 20 tokens is full: the answer ends here; -c makes it larger, up to the 1024 that the \
                    model was made for, --when-full shift goes on\n";
        assert_eq!(stderr(&run), said);
    }

    #[test]
    fn a_seed_reproduces_an_answer_on_any_number_of_threads() {
        let story = |seed, threads| {
            let arguments =
                ["run", "--raw", "-p", "Once", "-n", "40", "--temp", "1", "-s", seed, "-t", threads];
            stdout(&output(&arguments))
        };
        let first = story("7", "1");
        assert_eq!(first, story("7", "1"));
        assert_eq!(first, story("7", "3"));
        assert_ne!(first, story("8", "1"));
    }

    #[test]
    fn the_seed_that_is_said_gives_the_answer_again() {
        let told = |run: &Output| {
            let said = stderr(run);
            said.lines().find_map(|line| Some(line.strip_prefix("seed: ")?.to_owned()))
        };
        let story = ["run", "--raw", "-p", "Once", "-n", "40", "--temp", "1"];
        let first = output(&story);
        let seed = told(&first).unwrap();
        let again = output(&[&story[..], &["--seed", &seed]].concat());
        assert_eq!((stdout(&again), told(&again)), (stdout(&first), Some(seed)));
        assert_eq!(told(&output(&["run", "-p", LIGHT, "--temp", "0"])), None);
        assert_eq!(stderr(&output(&["run", "-q", "--raw", "-p", "Once", "-n", "2"])), "");
    }

    #[test]
    fn of_an_option_that_is_given_twice_the_last_counts() {
        let twice = ["-n", "1", "-p", "x", "-t", "1", "--temp", "1", "--seed", "3", "-q"];
        let run = output(
            &[&["run"], &twice[..], &["-p", LIGHT, "-n", "-1", "-t", "2", "--temp", "0", "-q"]].concat(),
        );
        assert_eq!(stdout(&run), LIGHT_ON);
        // Those that collect go on to.
        assert_eq!(
            answer(&["-p", LIGHT, "--stop", "kitchen", "--stop", "device"]),
            "{\"intent\": \"switch\", \"\n"
        );
        assert_eq!(
            answer(&["-p", LIGHT, "--stop", "device", "--stop", "kitchen"]),
            "{\"intent\": \"switch\", \"\n"
        );
    }

    #[test]
    fn no_limit_and_all_threads_have_numbers_too() {
        assert_eq!(answer(&["-p", LIGHT, "-n", "-1", "-t", "0"]), LIGHT_ON);
        let run = output(&["run", "-p", LIGHT, "-n", "-1", "-c", "20", "--temp", "0", "-q"]);
        let said = "the context of 20 tokens is full: the answer ends here; -c makes it larger, up to the 1024 that the \
                    model was made for, --when-full shift goes on\n";
        assert_eq!(stderr(&run), said);
    }

    #[test]
    fn sampling_flags_reach_the_sampler() {
        // With its first token banned, the answer must begin otherwise.
        let ids = stdout(&output(&["tokenize", DEMO, "--ids", LIGHT_ON]));
        let first = ids.split(',').next().unwrap();
        let banned = answer(&["-p", LIGHT, "-n", "4", "--logit-bias", &format!("{first}-inf")]);
        assert!(!banned.starts_with("{\"int"), "{banned:?}");
        // The likeliest token alone is what temperature 0 takes.
        let one = output(&["run", "-q", "-p", LIGHT, "--temp", "1", "--top-k", "1"]);
        assert_eq!(stdout(&one), LIGHT_ON);
    }

    #[test]
    fn a_closed_pipe_ends_quietly() {
        let mut child = siskin(&["run", "--raw", "-p", "Once", "-n", "300", "--temp", "1", "--quiet"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = [0];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let run = child.wait_with_output().unwrap();
        assert_eq!((run.status.code(), stderr(&run).as_str()), (Some(0), ""));
    }
}

mod failures {
    use super::*;

    /// The one line that a run which failed wrote.
    fn failure(run: &Output) -> String {
        let said = stderr(run);
        assert_eq!((run.status.code(), run.stdout.len()), (Some(1), 0), "{said}");
        let line = said.strip_prefix("siskin: ").and_then(|line| line.strip_suffix('\n'));
        line.filter(|line| !line.contains('\n')).unwrap_or_else(|| panic!("{said:?}")).to_owned()
    }

    /// What a run that was not asked properly wrote.
    fn usage(arguments: &[&str]) -> String {
        let run = output(arguments);
        assert_eq!((run.status.code(), run.stdout.len()), (Some(2), 0), "{}", stderr(&run));
        stderr(&run)
    }

    fn file(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn models_that_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let whole = fs::read(DEMO).unwrap();
        let missing = folder.path().join("missing.gguf");
        let garbage = file(&folder, "garbage.gguf", b"This is not a model.");
        let empty = file(&folder, "empty.gguf", b"");
        let cut = file(&folder, "cut.gguf", &whole[..whole.len() / 2]);
        let cases = [
            (missing.as_path(), "No such file or directory"),
            (folder.path(), "found a folder"),
            (&garbage, "expected the magic"),
            (&empty, "empty.gguf: "),
            (&cut, "cut.gguf: "),
        ];
        for (path, expected) in cases {
            for command in [&["run", "-p", "x"][..], &["run", "-p", "x", "--no-mmap"], &["chat"]] {
                let line = failure(&output(&[command, &[text(path)]].concat()));
                assert!(line.starts_with(text(path)) && line.contains(expected), "{line}");
                assert_eq!(line.matches(expected).count(), 1, "{line}");
            }
            assert!(failure(&output(&["tokenize", text(path), "x"])).starts_with(text(path)));
        }
    }

    #[test]
    fn whatever_file_is_broken_is_named_once() {
        let folder = tempfile::tempdir().unwrap();
        let good = file(&folder, "in.jsonl", b"{\"prompt\": \"hello\"}\n");
        let out = folder.path().join("out");
        let (good, out) = (text(&good), text(&out));
        file(&folder, "garbage", b"caf\xe9");
        fs::create_dir(folder.path().join("empty")).unwrap();
        fs::create_dir(folder.path().join("broken")).unwrap();
        file(&folder, "broken/config.json", b"{\"architectures\": [");
        file(&folder, "broken/adapter_config.json", b"[]");
        for name in ["absent", "garbage", "empty", "broken"] {
            let path = folder.path().join(name);
            let bad = text(&path);
            let commands: [&[&str]; 26] = [
                &["run", bad, "-p", "x"],
                &["run", "-f", bad],
                &["run", "-p", "x", "--adapter", bad],
                &["run", "-p", "x", "--draft-model", bad],
                &["chat", bad, "--no-mmap"],
                &["inspect", bad],
                &["tokenize", bad, "x"],
                &["logits", bad, "--tokens", "1", "--out", out],
                &["plan", bad],
                &["plan", DEMO, "--adapter", bad],
                &["plan", DEMO, "--draft-model", bad],
                &["quantize", bad, out, "--type", "q8_0"],
                &["quantize", DEMO, out, "--type", "q4_0", "--imatrix", bad],
                &["pack", bad, out],
                &["imatrix", bad, "-o", out],
                &["imatrix", DEMO, bad, "-o", out],
                &["bench", bad],
                &["eval", bad],
                &["eval", DEMO, "--tasks", bad],
                &["tune", DEMO, "--tasks", bad],
                &["adapter", "convert", bad, out],
                &["adapter", "inspect", bad],
                &["adapter", "merge", DEMO, bad, out],
                &["batch", bad, out],
                &["batch", good, out, "--model", bad],
                &["summarize", bad],
            ];
            for arguments in commands {
                let line = failure(&output(arguments));
                assert_eq!(line.matches(bad).count(), 1, "{arguments:?}: {line}");
            }
        }
    }

    #[test]
    fn an_unknown_instruction_set_is_named() {
        let run = siskin(&["run", "-p", "x"]).env("SISKIN_ISA", "mmx").output().unwrap();
        let line = failure(&run);
        assert!(line.starts_with("SISKIN_ISA: instruction set \"mmx\" is not"), "{line}");
        assert!(line.contains("scalar"), "{line}");
    }

    #[test]
    fn options_without_meaning() {
        for (arguments, expected) in [
            (&["--top-p", "7"][..], "top_p is 7, expected a number from 0 to 1"),
            (&["--top-p", "-1"], "top_p is -1, expected a number from 0 to 1"),
            (&["--min-p", "-0.1"], "min_p is -0.1, expected a number from 0 to 1"),
            (&["--typical", "1.5"], "typ_p is 1.5, expected a number from 0 to 1"),
            (&["--temp", "-1"], "temperature is -1, expected a finite number of at least 0"),
            (&["--repeat-penalty", "0"], "repeat_penalty is 0, expected a finite number above 0"),
            (&["--repeat-last-n", "-2"], "penalty_last_n is -2, expected -1, 0 or a number of tokens"),
            (&["--dynatemp-range", "-1"], "dynatemp_range is -1, expected"),
            (&["--dynatemp-exp", "-1"], "dynatemp_exponent is -1, expected"),
            (&["--xtc-probability", "2"], "xtc_probability is 2, expected"),
            (&["--xtc-threshold", "-1"], "xtc_threshold is -1, expected"),
            (&["--dry-multiplier", "-1"], "dry_multiplier is -1, expected"),
            (&["--dry-base", "-1"], "dry_base is -1, expected"),
            (&["--dry-penalty-last-n", "-2"], "dry_penalty_last_n is -2, expected"),
            (&["--mirostat-lr", "-1"], "mirostat_eta is -1, expected"),
            (&["--mirostat-ent", "-1"], "mirostat_tau is -1, expected"),
            (&["-c", "5"], "the context has room for 5, and an answer needs some"),
            (&["-c", "100000"], "context: expected 1 to 1024, found 100000"),
            (&["--logit-bias", "99999+1"], "token 99999"),
        ] {
            let line = failure(&output(&[&["run", "-p", "x"], arguments].concat()));
            assert!(line.contains(expected), "{line}");
        }
        // Before anything is loaded.
        for command in ["run", "chat"] {
            let line = failure(&output(&[command, "absent.gguf", "--temp", "-1"]));
            assert!(line.contains("temperature is -1"), "{line}");
        }
    }

    #[test]
    fn prompts_that_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let latin = file(&folder, "latin.txt", b"caf\xe9");
        assert!(failure(&output(&["run", "-f", text(&latin)])).contains("latin.txt: expected UTF-8 text"));
        assert!(failure(&fed(&["run"], b"caf\xe9")).starts_with("standard input: expected UTF-8 text"));
        let missing = folder.path().join("missing.txt");
        assert!(failure(&output(&["run", "-f", text(&missing)])).contains("missing.txt: No such file"));
        assert!(failure(&output(&["run", "--raw", "-p", ""])).contains("an answer needs a prompt"));
        assert!(failure(&output(&["run", "-p", ""])).contains("the prompt is empty"));
        assert!(failure(&output(&["run", "-f", "/dev/null"])).contains("the prompt is empty"));
        let wide = file(&folder, "wide.txt", b"\xff\xfeh\0i\0");
        assert!(
            failure(&output(&["run", "-f", text(&wide)]))
                .contains("wide.txt: expected UTF-8 text, found UTF-16")
        );
    }

    #[test]
    fn what_editors_put_around_a_prompt_is_no_part_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let plain = file(&folder, "plain.txt", b"please turn on\nthe kitchen light\n");
        let marked = file(&folder, "marked.txt", b"\xef\xbb\xbfplease turn on\r\nthe kitchen light\r\n");
        let answer = |path: &Path| stdout(&output(&greedy(&["-f", text(path)])));
        assert_eq!(answer(&marked), answer(&plain));
        let piped = fed(&greedy(&[]), b"\xef\xbb\xbfplease turn on\r\nthe kitchen light\r\n");
        assert_eq!(stdout(&piped), answer(&plain));
    }

    #[test]
    fn a_full_disk() {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        for arguments in [&["run", "-p", LIGHT][..], &["--help"], &["batch", "-h"], &["--version"]] {
            let run = siskin(arguments).stdout(full.try_clone().unwrap()).output().unwrap();
            assert!(failure(&run).starts_with("standard output: "), "{arguments:?}");
        }
    }

    #[test]
    fn wrong_usage() {
        for (arguments, expected) in [
            (&["run", "-p", "x", "--cache-type", "q8"][..], "--cache-type"),
            (&["run", "-p", "x", "-t", "-1"], "a number of threads from 1 to 1024, or 0 for all"),
            (&["run", "-p", "x", "-t", "1025"], "a number of threads from 1 to 1024, or 0 for all"),
            (
                &["quantize", "a", "b", "-t", "99999999", "--type", "q8_0"],
                "a number of threads from 1 to 1024",
            ),
            (&["run", "-p", "x", "-b", "0"], "at least 1"),
            (&["run", "-p", "x", "-c", "-1"], "at least 1"),
            (&["run", "-p", "x", "-n", "0"], "a number of at least 1, or -1 for no limit"),
            (&["run", "-p", "x", "-n", "-2"], "a number of at least 1, or -1 for no limit"),
            (&["run", "-p", "x", "--keep", "8"], "--when-full"),
            (&["run", "-p", "x", "--draft-max", "3"], "--lookup"),
            (&["eval", DEMO, "--window", "64"], "--text"),
            (&["eval", DEMO, "--chunks", "2"], "--text"),
            (&["quantize", "a", "b", "--type", "q8_0", "--text", "c"], "cannot be used with"),
            (&["quantize", "a", "b", "--type", "q8_0", "--windows", "2"], "cannot be used with"),
            (&["run", "-p", "x", "--keep", "-1"], "a whole number of at least 0"),
            (&["run", "-p", "x", "--temp", "warm"], "expected a number"),
            (&["run", "-p", "x", "--temp", "inf"], "expected a number"),
            (&["run", "-p", "x", "--seed", "-1"], "a whole number of at least 0"),
            (&["run", "-p", "x", "--dry-allowed-length", "-1"], "a whole number of at least 0"),
            (&["run", "-p", "x", "--top-k", "1.5"], "a whole number"),
            (&["tune", "--trials", "1000000000000", "--search", "grid"], "a number from 1 to 10000"),
            (&["run", "-p", "x", "-n", "many"], "--n-predict"),
            (&["run", "-p", "x", "-f", "y"], "cannot be used with"),
            (&["run", "-p", "x", "--stop", ""], "--stop"),
            (&["run", "-p", "x", "--mirostat", "3"], "expected 0, 1 or 2"),
            (&["run", "-p", "x", "--logit-bias", "5"], "15-inf"),
            (&["run", "-p", "x", "--samplers", "top_k;luck"], "luck"),
            (&["logits", "--tokens", "1,x", "--out", "y"], "--tokens"),
            (&["sing"], "sing"),
            (&[], "Usage"),
        ] {
            let said = usage(arguments);
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn logits_that_cannot_be_written_leave_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.npy");
        let line = failure(&output(&["logits", "--tokens", "1,4096", "--out", text(&out)]));
        assert_eq!(line, "token 4096 is not in the vocabulary of 4096");
        let nowhere = folder.path().join("no/out.npy");
        assert!(
            failure(&output(&["logits", "--tokens", "1", "--out", text(&nowhere)])).contains("no/out.npy")
        );
        assert!(
            failure(&output(&["logits", "--tokens", "1", "--out", text(folder.path())])).contains("folder")
        );
        let many = vec!["1"; 1025].join(",");
        let line = failure(&output(&["logits", "--tokens", &many, "--out", text(&out)]));
        assert!(line.contains("1025 tokens") && line.contains("1024"), "{line}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

mod tokenize {
    use super::*;

    #[test]
    fn the_ids_are_the_reference_s() {
        for Golden { prompt, prompt_ids, .. } in cases() {
            let text = format!("<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n");
            let expected: Vec<String> = prompt_ids.iter().map(u32::to_string).collect();
            let ids = stdout(&output(&["tokenize", DEMO, "--ids", "--special", &text]));
            assert_eq!(ids, expected.join(",") + "\n");
            assert_eq!(stdout(&fed(&["tokenize", DEMO, "--ids", "--special"], text.as_bytes())), ids);
        }
    }

    #[test]
    fn tokens_are_listed_with_their_text() {
        let listed = stdout(&output(&["tokenize", DEMO, "--special", "hello\n<|im_end|>"]));
        let lines: Vec<&str> = listed.lines().collect();
        assert_eq!(lines.last(), Some(&"      2  <|im_end|>"), "{listed}");
        assert!(lines.contains(&"    201  \"\\n\""), "{listed}");
        let plain = stdout(&output(&["tokenize", DEMO, "<|im_end|>"]));
        assert!(plain.lines().count() > 1 && plain.contains("\"<\""), "{plain}");
    }

    #[test]
    fn bytes_that_are_no_text_are_taken_too() {
        let listed = stdout(&fed(&["tokenize", DEMO], b"a\xff\xfe"));
        assert!(listed.contains("\\xff") && listed.contains("\\xfe"), "{listed}");
        let run = fed(&["tokenize", DEMO], b"\xff\xfea\0");
        assert!(
            stderr(&run).contains("standard input: expected UTF-8 text, found UTF-16"),
            "{}",
            stderr(&run)
        );
    }

    #[test]
    fn a_file_may_hold_a_vocabulary_alone() {
        let path = goldens().join("../tokenizer");
        let vocabulary = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        let vocabulary =
            vocabulary.filter(|path| path.extension().is_some_and(|name| name == "gguf")).min().unwrap();
        assert!(stdout(&output(&["tokenize", text(&vocabulary), "hello"])).lines().count() > 0);
    }
}

mod logits {
    use super::*;

    fn logits(out: &Path, options: &[&str]) -> Vec<u8> {
        let tokens = cases()[1].prompt_ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let run = output(&[&["logits", "--tokens", &tokens, "--out", text(out)], options].concat());
        assert_eq!((stdout(&run).as_str(), stderr(&run).as_str()), ("", ""));
        fs::read(out).unwrap()
    }

    #[test]
    fn one_row_per_token_and_the_same_bits_however_they_are_made() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("logits.npy");
        let first = logits(&out, &[]);
        let tokens = cases()[1].prompt_ids.len();
        let (header, numbers) = first.split_at(128);
        let header = String::from_utf8_lossy(header);
        let expected = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({tokens}, 4096), }}");
        assert!(header.contains(&expected), "{header}");
        assert_eq!(numbers.len(), tokens * 4096 * 4);
        let finite = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes).is_finite();
        assert!(numbers.as_chunks().0.iter().all(finite));
        for threads in ["1", "2", "3"] {
            for batch in ["1", "7", "64"] {
                let again = logits(&out, &["--threads", threads, "--batch", batch]);
                assert!(again == first, "--threads {threads} --batch {batch}");
            }
        }
        assert!(logits(&out, &[DEMO, "--cache-type", "f16"]) == first);
        assert!(logits(&out, &["--cache-type", "f32"]) != first);
        let bytes = logits(&out, &["--cache-type", "q8_0"]);
        assert!(logits(&out, &["--cache-type-k", "q8_0", "--cache-type-v", "q8_0"]) == bytes);
        let keys = logits(&out, &["--cache-type-k", "q8_0"]);
        let values = logits(&out, &["--cache-type-v", "q8_0"]);
        assert!([&bytes, &keys, &values].iter().all(|&logits| *logits != first) && keys != values);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

mod chat {
    use super::*;

    const HELLO: &str = "Hello! How can I help?\n";

    fn chat(options: &[&str], input: &str) -> Output {
        fed(&[&["chat", "--temp", "0"], options].concat(), input.as_bytes())
    }

    #[test]
    fn lines_from_a_pipe_are_answered_one_by_one() {
        let run = chat(&[], &format!("hello\n\n{LIGHT}\n/reset\nhello"));
        assert_eq!(stdout(&run), format!("{HELLO}{LIGHT_ON}{HELLO}"));
        assert_eq!(stderr(&run), "");
    }

    #[test]
    fn the_seed_of_a_conversation_is_said_and_gives_it_again() {
        let lines = "tell me a story about a wolf\n/reset\ntell me a story about a wolf\n";
        let talk = |seed: &[&str], lines: &str| {
            fed(&[&["chat", "--temp", "1", "-n", "30"], seed].concat(), lines.as_bytes())
        };
        let run = talk(&[], lines);
        let said = stderr(&run);
        let seeds: Vec<&str> = said.lines().map(|line| line.strip_prefix("seed: ").unwrap()).collect();
        let [first, second] = seeds[..] else { panic!("{said}") };
        assert_ne!(first, second);
        let one = lines.lines().next().unwrap();
        let again = [first, second].map(|seed| stdout(&talk(&["--seed", seed], one)));
        assert_eq!(again.concat(), stdout(&run));
    }

    #[test]
    fn commands_are_no_messages() {
        let run = chat(&[], "/help\n/sing\n/save\n/reset now\n/quit\nhello\n");
        assert_eq!(stdout(&run), "");
        assert!(
            stderr(&run).contains("expected the name of a file, as in /save talk.json\n"),
            "{}",
            stderr(&run)
        );
        assert!(stderr(&run).contains("/reset stands alone on its line\n"), "{}", stderr(&run));
        assert!(stderr(&run).contains("/save FILE"), "{}", stderr(&run));
        assert!(stderr(&run).contains("/sing is no command"), "{}", stderr(&run));
    }

    #[test]
    fn a_conversation_is_saved() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("talk.json");
        let run = chat(
            &["--system", "Be kind."],
            &format!("hello\n/save {}\n/save /no/such\nhello\n", text(&file)),
        );
        assert_eq!(stdout(&run).lines().count(), 2);
        assert!(stderr(&run).contains("siskin: /no/such: "), "{}", stderr(&run));
        let saved: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(saved[0], serde_json::json!({"role": "system", "content": "Be kind."}));
        assert_eq!(saved[1], serde_json::json!({"role": "user", "content": "hello"}));
        assert_eq!(saved[2]["role"], "assistant");
        assert_eq!(saved.as_array().unwrap().len(), 3);
    }

    #[test]
    fn a_full_context_is_said_and_a_reset_helps() {
        let run = chat(&["-c", "36", "--when-full", "stop"], &format!("hello\n{LIGHT}\n/reset\nhello\n"));
        assert!(stdout(&run).starts_with(HELLO) && stdout(&run).ends_with(HELLO), "{}", stdout(&run));
        assert!(stderr(&run).starts_with("the context of 36 tokens is full: "), "{}", stderr(&run));
        assert!(stderr(&run).contains("; /reset begins a new conversation, -c makes"), "{}", stderr(&run));
    }
}
