//! Chat templates, what they are told, thoughts and control tokens, on copies of the demo model with other keys.

use crate::common::text;
use serde_json::Value as Json;
use siskin::gguf::Gguf;
use siskin::gguf::write::{Builder, OwnedArray, OwnedValue};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../demo/siskin-demo.gguf");
const HELLO: &str = "Hello! How can I help?";
const NORMAL: i32 = 1;
const USER_DEFINED: i32 = 4;

/// A copy of the demo model.
struct Copy {
    folder: TempDir,
}

impl Copy {
    /// With these tokens of another text and kind, and these keys, or without them.
    fn new(tokens: &[(usize, &str, i32)], keys: &[(&str, Option<&str>)]) -> Copy {
        let folder = tempfile::tempdir().unwrap();
        let file = Gguf::open(Path::new(DEMO)).unwrap();
        let mut builder = Builder::new();
        for (key, value) in file.metadata() {
            if keys.iter().all(|(other, _)| *other != key) {
                builder.copy(key, value).unwrap();
            }
        }
        for (key, value) in keys {
            if let Some(value) = value {
                builder.set(key, *value).unwrap();
            }
        }
        let strings = |key: &str| -> Vec<Vec<u8>> {
            file.require_array(key).unwrap().iter().map(|text| text.as_bytes().unwrap().to_vec()).collect()
        };
        let kinds = file.require_array("tokenizer.ggml.token_type").unwrap();
        let mut kinds: Vec<i32> = kinds.iter().map(|kind| kind.as_u64().unwrap() as i32).collect();
        let mut texts = strings("tokenizer.ggml.tokens");
        let mut gone = Vec::new();
        for &(id, text, kind) in tokens {
            if texts[id] != text.as_bytes() {
                gone.push(std::mem::replace(&mut texts[id], text.into()));
            }
            kinds[id] = kind;
        }
        let mut merges = strings("tokenizer.ggml.merges");
        merges.retain(|merge| {
            let at = 1 + merge[1..].iter().position(|byte| *byte == b' ').unwrap();
            let (left, right) = (&merge[..at], &merge[at + 1..]);
            gone.iter().all(|gone| ![left, right, &[left, right].concat()].contains(&gone.as_slice()))
        });
        builder.set("tokenizer.ggml.tokens", OwnedValue::from(OwnedArray::Str(texts))).unwrap();
        builder.set("tokenizer.ggml.token_type", OwnedValue::from(OwnedArray::I32(kinds))).unwrap();
        builder.set("tokenizer.ggml.merges", OwnedValue::from(OwnedArray::Str(merges))).unwrap();
        for tensor in file.tensors() {
            builder.tensor(&tensor.name, &tensor.shape, tensor.ty).unwrap();
        }
        let mut writer = builder.start(fs::File::create(folder.path().join("model.gguf")).unwrap()).unwrap();
        file.tensors().iter().for_each(|tensor| writer.append(file.data(tensor)).unwrap());
        writer.finish().unwrap();
        Copy { folder }
    }

    /// With another template.
    fn with_template(template: &str) -> Copy {
        Copy::new(&[], &[("tokenizer.chat_template", Some(template))])
    }

    /// One that thinks `!` before it answers a greeting.
    fn thinking() -> Copy {
        Copy::new(&[(3461, "<think>", USER_DEFINED), (1482, "</think>", USER_DEFINED)], &[])
    }

    fn model(&self) -> PathBuf {
        self.folder.path().join("model.gguf")
    }

    /// A file beside the model.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Runs the program, with something to read.
    fn fed(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_siskin"))
            .args(arguments)
            .env("XDG_STATE_HOME", self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It need not read what it is given.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// `run` at temperature 0, without a word about speed.
    fn run(&self, arguments: &[&str]) -> Output {
        let model = self.model();
        self.fed(&[&["run", text(&model), "--temp", "0", "-q"], arguments].concat(), "")
    }

    /// Each command that answers, with these flags, asked "hello".
    fn each(&self, flags: &[&str]) -> Vec<(&'static str, Output)> {
        let (model, input, output) = (
            self.model(),
            self.file("in.jsonl", "{\"prompt\": \"hello\"}\n"),
            self.folder.path().join("out.jsonl"),
        );
        let all = [
            ("run", vec!["run", text(&model), "-p", "hello", "-q"]),
            ("chat", vec!["chat", text(&model)]),
            ("batch", vec!["batch", text(&input), text(&output), "--model", text(&model)]),
            ("summarize", vec!["summarize", "-", "--model", text(&model)]),
        ];
        let run = |(name, arguments): (_, Vec<&str>)| {
            if name == "batch" {
                let _ = fs::remove_file(&output);
            }
            (name, self.fed(&[&arguments, &["--temp", "0"][..], flags].concat(), "hello\n"))
        };
        all.into_iter().map(run).collect()
    }
}

fn stdout(run: &Output) -> String {
    assert!(run.status.success(), "{}", stderr(run));
    String::from_utf8(run.stdout.clone()).unwrap()
}

fn stderr(run: &Output) -> String {
    String::from_utf8(run.stderr.clone()).unwrap()
}

fn answered(copy: &Copy) -> Json {
    let line = fs::read_to_string(copy.folder.path().join("out.jsonl")).unwrap();
    serde_json::from_str(&line).unwrap()
}

#[test]
fn thoughts_are_told_unless_they_are_hidden_and_then_counted() {
    let copy = Copy::thinking();
    let (whole, said) = ("<think>!</think> can I help?", "can I help?");
    for (name, run) in copy.each(&[]) {
        let told = stdout(&run);
        match name {
            "batch" => assert_eq!(answered(&copy)["content"], whole),
            "summarize" => assert!(!told.contains("think>"), "{told}"),
            _ => assert_eq!(told, format!("{whole}\n"), "{name}"),
        }
    }
    for (name, run) in copy.each(&["--think", "hide"]) {
        let told = stdout(&run);
        match name {
            "batch" => {
                let answer = answered(&copy);
                assert_eq!(answer["content"], said);
                assert_eq!(answer["usage"]["completion_tokens"], 7);
                assert_eq!(answer["usage"]["completion_tokens_details"]["reasoning_tokens"], 3);
            }
            "summarize" => assert!(!told.contains("think>"), "{told}"),
            _ => assert_eq!(told, format!("{said}\n"), "{name}"),
        }
        if name != "summarize" {
            assert!(stderr(&run).contains("thoughts: 3 tokens, hidden"), "{name}: {}", stderr(&run));
        }
    }
    let stopped = stdout(&copy.run(&["-p", "hello", "--think", "hide", "--stop", " I help"]));
    assert_eq!(stopped, "can\n");
    let endless = copy.run(&["-p", "hello", "--think", "hide", "-n", "2"]);
    assert_eq!((stdout(&endless).as_str(), stderr(&endless).contains("thoughts: 2 tokens")), ("\n", true));
}

#[test]
fn thoughts_are_no_part_of_an_answer_to_a_task() {
    let copy = Copy::thinking();
    let model = copy.model();
    let tasks = copy.file("tasks.jsonl", "{\"prompt\": \"hello\", \"answer\": \"can I help?\"}\n");
    let run = copy.fed(
        &[
            "eval",
            text(&model),
            "--tasks",
            text(&tasks),
            "--json",
            "--runs",
            "1",
            "--n-prompt",
            "1",
            "-c",
            "512",
        ],
        "",
    );
    let report: Json = serde_json::from_str(&stdout(&run)).unwrap();
    assert_eq!(report["models"][0]["metrics"]["exact"], 1.0, "{report:#}");
}

#[test]
fn a_conversation_keeps_what_was_said_and_hands_thoughts_to_the_template() {
    let copy = Copy::thinking();
    let (model, saved) = (copy.model(), copy.folder.path().join("talk.json"));
    let input = format!("hello\n/save {}\n", text(&saved));
    stdout(&copy.fed(&["chat", text(&model), "--temp", "0"], &input));
    let talk: Json = serde_json::from_str(&fs::read_to_string(saved).unwrap()).unwrap();
    assert_eq!(talk[1]["content"], "can I help?");
    let template = "{{ raise_exception('thought ' ~ messages[1].reasoning_content) if messages[2] }}\
        {% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant{{ '\n' }}";
    let template = copy.file("template.jinja", template);
    let run = copy
        .fed(&["chat", text(&model), "--temp", "0", "--chat-template", text(&template)], "hello\nhello\n");
    assert!(stderr(&run).contains("thought !"), "{}", stderr(&run));
}

#[test]
fn thinking_is_switched_by_the_variable_of_the_template() {
    for name in ["enable_thinking", "thinking"] {
        let copy = Copy::with_template(&format!("{{{{ raise_exception('it is ' ~ {name}) }}}}"));
        for (flags, expected) in [
            (&["--think", "on"][..], "it is True"),
            (&["--think", "off"], "it is False"),
            (&["--think", "hide"], "it is "),
            (&["--think", "off", "--template-var", &format!("{name}=\"so\"")], "it is so"),
            (&["--template-var", &format!("{name}=[1, null]")], "it is [1, None]"),
        ] {
            for (command, run) in copy.each(flags) {
                let said = stderr(&run);
                assert!(
                    !run.status.success() && said.trim_end().ends_with(expected.trim_end()),
                    "{command}: {said}"
                );
            }
        }
    }
    let copy = Copy::new(&[], &[]);
    for (command, run) in copy.each(&["--think", "off"]) {
        let said = stderr(&run);
        assert!(run.status.success() && said.contains("no switch for thinking"), "{command}: {said}");
    }
    for wrong in [["--think", "no"], ["--template-var", "a=no"], ["--template-var", "no"]] {
        assert_eq!(copy.run(&[&["-p", "a"], &wrong[..]].concat()).status.code(), Some(2), "{wrong:?}");
    }
    let taken = stderr(&copy.run(&["-p", "a", "--template-var", "messages=1"]));
    assert!(taken.contains("variable \"messages\": the name is taken"), "{taken}");
}

#[test]
fn a_line_of_a_batch_tells_the_template_more_than_flags_do() {
    let copy = Copy::with_template("{{ raise_exception('it is ' ~ a ~ b) if a }}<|im_start|>user\n");
    let line = |kwargs: &str, flags: &[&str]| {
        let input =
            copy.file("in.jsonl", format!("{{\"prompt\": \"hi\", \"chat_template_kwargs\": {kwargs}}}\n"));
        let (output, model) = (copy.folder.path().join("out.jsonl"), copy.model());
        let arguments = ["batch", text(&input), text(&output), "--model", text(&model), "-n", "1"];
        stderr(&copy.fed(&[&arguments, flags].concat(), ""))
    };
    assert!(line("{\"a\": 1}", &["--template-var", "a=2", "--template-var", "b=3"]).contains("it is 13"));
    assert!(line("{\"messages\": 1}", &[]).contains("the name is taken"));
    assert!(line("{\"a\": 1}", &["--raw"]).contains("chat_template_kwargs: with --raw"));
    assert!(line("{}", &["--raw", "--template-var", "a=2"]).contains("mean nothing"));
}

#[test]
fn a_template_from_a_file_takes_the_place_of_the_model_s() {
    let template = "\u{feff}{{ eos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\r\n{{ m.content }}<|im_end|>\n\
        {% endfor %}<|im_start|>assistant{{ '\n' }}";
    for broken in ["{{ if .System }}{{ .System }}{{ end }}", "{% if %}"] {
        let copy = Copy::with_template(broken);
        let good = copy.file("good.jinja", template.replace("{{ eos_token }}", ""));
        let run = copy.run(&["-p", "hello", "--chat-template", text(&good)]);
        assert_eq!(stdout(&run), format!("{HELLO}\n"));
        assert!(stdout(&copy.run(&["--raw", "-p", "a", "-n", "1"])).ends_with('\n'));
        for (command, run) in copy.each(&[]) {
            let said = stderr(&run);
            assert!(
                !run.status.success() && said.contains("--chat-template FILE gives it one"),
                "{command}: {said}"
            );
            assert_eq!(said.contains("one of Go's"), broken.contains("if ."), "{said}");
        }
    }
    let copy = Copy::new(&[], &[]);
    for (source, expected) in [
        (b"{{- /* Go */ -}}{{ .Prompt }}".as_slice(), "t.jinja: the chat template is one of Go's"),
        (b"{% if %}", "t.jinja: chat template line 1: syntax error"),
        (b"\xff\xfea\0", "t.jinja: expected UTF-8 text, found UTF-16"),
    ] {
        let file = copy.file("t.jinja", source);
        let said = stderr(&copy.run(&["-p", "a", "--chat-template", text(&file)]));
        assert!(said.contains(expected), "{said}");
    }
    let said = stderr(&copy.run(&["-p", "a", "--chat-template", "absent"]));
    assert!(said.starts_with("siskin: absent: "), "{said}");
}

#[test]
fn a_model_without_a_template_is_asked_in_chatml_if_it_knows_its_marks() {
    let copy = Copy::new(&[], &[("tokenizer.chat_template", None)]);
    for (command, run) in copy.each(&[]) {
        let said = stderr(&run);
        assert!(
            run.status.success() && said.contains("no chat template: it is asked in ChatML"),
            "{command}: {said}"
        );
    }
    let copy = Copy::new(&[(1, "<|im_start|>", NORMAL)], &[("tokenizer.chat_template", None)]);
    for (command, run) in copy.each(&[]) {
        let said = stderr(&run);
        assert!(!run.status.success() && said.contains("no token \"<|im_start|>\""), "{command}: {said}");
        assert!(said.contains("--chat-template FILE") && said.contains("--raw"), "{said}");
    }
    assert!(copy.run(&["--raw", "-p", "a", "-n", "1"]).status.success());
}

#[test]
fn a_system_message_that_a_template_does_not_take_goes_before_the_user_s() {
    let turns = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
        <|im_start|>assistant{{ '\n' }}";
    let refuses =
        format!("{{% if messages[0].role == 'system' %}}{{{{ raise_exception('no') }}}}{{% endif %}}{turns}");
    let drops = turns.replace("for m in messages", "for m in messages if m.role != 'system'");
    let whole = stdout(&Copy::with_template(turns).run(&["-p", "Be kind.\n\nhello"]));
    for template in [refuses, drops] {
        let copy = Copy::with_template(&template);
        let run = copy.run(&["--system", "Be kind.", "-p", "hello"]);
        assert_eq!(stdout(&run), whole);
        assert_eq!(stderr(&run).matches("takes no system message").count(), 1, "{}", stderr(&run));
        assert!(!stderr(&copy.run(&["-p", "hello"])).contains("system message"));
        let model = copy.model();
        let chat = copy.fed(&["chat", text(&model), "--temp", "0", "--system", "Be kind."], "hello\n");
        assert_eq!(stdout(&chat), whole);
        let line = "{\"prompt\": \"hello\", \"system\": \"Be kind.\"}\n";
        let (input, output) = (copy.file("in.jsonl", line.repeat(2)), copy.folder.path().join("out.jsonl"));
        let batch =
            copy.fed(&["batch", text(&input), text(&output), "--model", text(&model), "--temp", "0"], "");
        assert_eq!(stderr(&batch).matches("takes no system message").count(), 1, "{}", stderr(&batch));
    }
    let takes = Copy::with_template(turns).run(&["--system", "Be kind.", "-p", "hello"]);
    assert!(!stderr(&takes).contains("system message"));
}

#[test]
fn marks_that_a_file_has_as_text_are_taken_as_what_they_are_and_said_once() {
    let copy = Copy::new(&[(1, "<|im_start|>", NORMAL), (2, "<|im_end|>", NORMAL)], &[]);
    for (command, run) in copy.each(&[]) {
        let said = stderr(&run);
        assert_eq!(said.matches("<|im_start|>").count(), 1, "{command}: {said}");
    }
    assert_eq!(stdout(&copy.run(&["-p", "hello"])), format!("{HELLO}\n"));
    let copy =
        Copy::new(&[(1, "<|im_start|>", NORMAL)], &[("tokenizer.chat_template", Some("{{ messages }}"))]);
    let other = copy.file("other.jinja", "<|im_start|>{{ messages[0].content }}<|im_end|>");
    let said = stderr(&copy.run(&["-p", "hello", "-n", "1", "--chat-template", text(&other)]));
    assert!(
        said.starts_with("<|im_start|> of the chat template are text in the model's vocabulary"),
        "{said}"
    );
}

#[test]
fn control_tokens_are_there_for_who_asks() {
    let copy = Copy::new(&[], &[]);
    let forced = ["--raw", "-p", "hi", "-n", "3", "--logit-bias", "1+1000"];
    let run = |flags: &[&str]| stdout(&copy.run(&[&forced, flags].concat()));
    assert_eq!(run(&[]), "\n");
    assert_eq!(run(&["--special"]), format!("{}\n", "<|im_start|>".repeat(3)));
    assert_eq!(run(&["--special", "--stop", "start|><|"]), "<|im_\n");
    let mut stopped = vec!["--stop", "<|im_start|>"];
    let told = |flags: &[&str]| {
        let model = copy.model();
        stderr(&copy.fed(&[&["run", text(&model), "--temp", "0"], &forced[..], flags].concat(), ""))
    };
    assert!(told(&stopped).contains("answer: 1 tokens"), "{}", told(&stopped));
    stopped.push("--special");
    assert!(told(&stopped).contains("answer: 1 tokens"));
    let prompt = |flags: &[&str]| {
        let model = copy.model();
        let text = ["run", text(&model), "--temp", "0", "-n", "1", "--raw", "-p", "<|im_start|>user\nhi"];
        stderr(&copy.fed(&[&text, flags].concat(), ""))
    };
    assert!(prompt(&["--special"]).contains("prompt: 5 tokens"), "{}", prompt(&["--special"]));
    assert!(!prompt(&[]).contains("prompt: 5 tokens"));
}

#[test]
fn marks_and_ends_of_lines_of_editors_are_no_part_of_any_text() {
    let copy = Copy::new(&[], &[]);
    let prompt = |arguments: &[&str], input: &str| {
        let model = copy.model();
        let run = copy.fed(&[&["run", text(&model), "--temp", "0", "-n", "1"], arguments].concat(), input);
        stderr(&run)
            .lines()
            .find_map(|line| line.strip_prefix("prompt: ")?.split(' ').next().map(str::to_owned))
    };
    let plain = prompt(&["-p", "a\nb"], "");
    assert!(plain.is_some());
    let marked = "\u{feff}a\r\nb";
    let file = copy.file("prompt.txt", marked);
    assert_eq!(prompt(&["-p", marked], ""), plain);
    assert_eq!(prompt(&["-f", text(&file)], ""), plain);
    assert_eq!(prompt(&[], marked), plain);
    assert_eq!(prompt(&["-p", "x", "--system", marked], ""), prompt(&["-p", "x", "--system", "a\nb"], ""));
    let model = copy.model();
    let chat = |input: &str| stdout(&copy.fed(&["chat", text(&model), "--temp", "0"], input));
    assert_eq!(chat("\u{feff}hello\r\n"), chat("hello\n"));
    let ids = |arguments: &[&str], input: &str| {
        stdout(&copy.fed(&[&["tokenize", text(&model), "--ids"], arguments].concat(), input))
    };
    assert_eq!(ids(&[], marked), ids(&["a\nb"], ""));
    assert_eq!(ids(&[marked], ""), ids(&["a\nb"], ""));
}

#[test]
fn a_prompt_without_room_is_refused_with_the_figures_and_what_helps() {
    let copy = Copy::new(&[], &[]);
    let long = "hello ".repeat(200);
    for (context, larger) in [("100", "up to the 1024 that the model was made for"), ("9", "up to the 1024")]
    {
        for raw in [&[][..], &["--raw"]] {
            let run = copy.run(&[&["-p", &long, "-c", context], raw].concat());
            let said = stderr(&run);
            assert!(!run.status.success() && run.stdout.is_empty(), "{said}");
            assert!(
                said.contains("the prompt has ") && said.contains(&format!("room for {context}")),
                "{said}"
            );
            assert!(
                [larger, "summarize", "--when-full shift"].iter().all(|help| said.contains(help)),
                "{said}"
            );
        }
    }
    let forgets = copy.run(&["-p", &long, "-c", "100", "--when-full", "shift", "-n", "1"]);
    assert!(forgets.status.success() && stderr(&forgets).contains("the oldest were forgotten"));
    let input = copy.file("in.jsonl", format!("{{\"prompt\": \"{long}\"}}\n"));
    let (model, output) = (copy.model(), copy.folder.path().join("out.jsonl"));
    let batch = copy.fed(&["batch", text(&input), text(&output), "--model", text(&model), "-c", "100"], "");
    assert!(
        stderr(&batch).contains("room for 100, and an answer needs some: -c makes it larger"),
        "{}",
        stderr(&batch)
    );
    let chat = copy.fed(&["chat", text(&model), "-c", "100"], &format!("{long}\nhello\n"));
    let said = stderr(&chat);
    assert!(
        said.contains("the message alone has ")
            && said.contains("room for 100, and an answer needs some: -c"),
        "{said}"
    );
    assert_eq!(stdout(&chat), format!("{HELLO}\n"));
}

/// Whatever is asked, this template asks for a greeting.
const GREETS: &str = "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant{{ '\\n' }}";

#[test]
fn thoughts_are_no_part_of_what_summaries_are_merged_from() {
    let copy = Copy::thinking();
    let (model, template) = (copy.model(), copy.file("greets.jinja", GREETS));
    let journal = copy.folder.path().join("journal");
    let arguments = ["summarize", "-", "--model", text(&model), "--temp", "0", "--journal", text(&journal)];
    let flags = ["--chat-template", text(&template), "--instruction", "Sum up:", "--part-size", "4"];
    let run = copy.fed(&[&arguments[..], &flags].concat(), "One two three.\n\nFour five six.\n");
    assert_eq!(stdout(&run), "can I help?\n");
    assert!(stderr(&run).contains("thoughts: 3 tokens, hidden"), "{}", stderr(&run));
    let kept = fs::read_to_string(journal).unwrap();
    assert!(kept.contains("\"summary\":\"can I help?\"") && !kept.contains("think>"), "{kept}");
}
