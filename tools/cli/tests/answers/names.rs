//! Models by name: `pull`, `list`, `rm`, and every other command.

use super::common::{failure, here, text};
use super::hub::{Repository, sha256};
use super::server::{Reply, Server};
use super::terminal::{Terminal, read_until};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

const NAME: &str = "hf.co/Org/Repo:Q4_K_M";

/// The model that is served.
fn demo() -> Vec<u8> {
    fs::read(here("../demo/siskin-demo.gguf")).unwrap()
}

fn served() -> Server {
    Repository::with(&[("Demo-Q4_K_M.gguf", &demo())]).serve()
}

/// A user with a home of their own.
pub(crate) struct User {
    pub(crate) home: TempDir,
    pub(crate) endpoint: String,
}

impl User {
    pub(crate) fn of(hub: &Server) -> User {
        User { home: tempfile::tempdir().unwrap(), endpoint: hub.address() }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_siskin"));
        self.environment(&mut command);
        command.args(arguments).current_dir(self.home.path()).stdin(Stdio::null());
        command
    }

    fn environment(&self, command: &mut Command) {
        for variable in [
            "HF_TOKEN",
            "HF_HOME",
            "HTTP_PROXY",
            "http_proxy",
            "HTTPS_PROXY",
            "https_proxy",
            "ALL_PROXY",
            "all_proxy",
            "NO_PROXY",
            "no_proxy",
            "SSL_CERT_DIR",
        ] {
            command.env_remove(variable);
        }
        command
            .env("HOME", self.home.path())
            .env("XDG_DATA_HOME", self.data())
            .env("HF_ENDPOINT", &self.endpoint);
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What is said by a run that must succeed.
    pub(crate) fn said(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);
        assert!(run.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8(run.stdout).unwrap()
    }

    fn list(&self) -> Value {
        serde_json::from_str(&self.said(&["list", "--json"])).unwrap()
    }
}

#[test]
fn every_command_takes_a_name_and_asks_nobody() {
    let hub = served();
    let user = User::of(&hub);
    let pulled = user.said(&["pull", "hf.co/org/repo"]);
    assert_eq!(pulled, format!("{NAME} is here: 4.79 MB, SHA-256 {}\n", sha256(&demo())));
    let asked = hub.seen().len();
    fs::write(user.home.path().join("model.gguf"), demo()).unwrap();
    fs::write(user.home.path().join("text"), "The kitchen light is on. ".repeat(120)).unwrap();
    let prompt = "please turn on the kitchen light";
    for command in [
        &["run", "MODEL", "--quiet", "-p", prompt][..],
        &["run", "--draft-model", "MODEL", "MODEL", "--quiet", "-p", prompt],
        &["tokenize", "MODEL", prompt],
        &["logits", "MODEL", "--tokens", "1,2,3", "--out", "out"],
        &["quantize", "MODEL", "out", "--type", "q8_0"],
        &["pack", "MODEL", "out"],
        &["imatrix", "MODEL", "text", "--output", "out"],
        &["plan", "MODEL"],
        &["inspect", "MODEL"],
        &["eval", "MODEL", "--against", "MODEL", "--text", "text", "--window", "64", "--chunks", "1"],
    ] {
        let mut outputs = Vec::new();
        for model in ["model.gguf", "hf:org/REPO"] {
            let _ = fs::remove_file(user.home.path().join("out"));
            let arguments: Vec<&str> =
                command.iter().map(|argument| if *argument == "MODEL" { model } else { argument }).collect();
            let said = user.said(&arguments);
            outputs.push((said, fs::read(user.home.path().join("out")).ok()));
        }
        assert_eq!(outputs[0].1, outputs[1].1, "{command:?}");
        if ["run", "tokenize"].contains(&command[0]) {
            assert_eq!(outputs[0].0, outputs[1].0);
        }
    }
    assert_eq!(hub.seen().len(), asked);
}

#[test]
fn a_path_is_a_path() {
    let user = User::of(&served());
    user.said(&["pull", NAME]);
    fs::create_dir_all(user.home.path().join("hf.co/Org")).unwrap();
    fs::write(user.home.path().join("hf.co/Org/Repo:Q4_K_M"), "no model").unwrap();
    let said = failure(&user.run(&["inspect", NAME]));
    assert!(said.starts_with(&format!("siskin: {NAME}: ")), "{said}");
    assert!(user.run(&["inspect", "hf:Org/Repo"]).status.success());
}

#[test]
fn what_is_not_here_is_said_in_a_line() {
    let hub = served();
    let user = User::of(&hub);
    assert_eq!(
        failure(&user.run(&["run", "hf.co/Org/Repo", "-p", "x"])),
        "siskin: hf.co/Org/Repo is not on this machine: siskin pull hf.co/Org/Repo"
    );
    let missing = "siskin: missing.gguf: cannot open it: No such file or directory (os error 2)";
    assert_eq!(failure(&user.run(&["run", "missing.gguf", "-p", "x"])), missing);
    assert!(hub.seen().is_empty(), "nobody is asked");
    assert!(!user.data().exists(), "nothing is made");
    user.said(&["pull", NAME]);
    for (text, expected) in [
        (
            "hf.co/Org/Rapo:Q4_K_M",
            "is not on this machine: siskin pull hf.co/Org/Rapo:Q4_K_M; did you mean hf.co/Org/Repo:Q4_K_M?",
        ),
        (
            "hf.co/Org/Repo:Q4_K_S",
            "is not on this machine: siskin pull hf.co/Org/Repo:Q4_K_S; did you mean hf.co/Org/Repo:Q4_K_M?",
        ),
        ("Demo-Q4_KM.gguf", "no such file; did you mean hf.co/Org/Repo:Q4_K_M?"),
        ("hf.co/Org", "expected hf.co/ORG/REPO, with :QUANT or :FILE.gguf behind it or not"),
        ("https://a b/", "expected an address such as https://HOST/FILE.gguf"),
    ] {
        for command in [&["plan", text][..], &["eval", text], &["quantize", text, "out", "--type", "q8_0"]] {
            let said = failure(&user.run(command));
            assert!(said.starts_with(&format!("siskin: {text}")) && said.ends_with(expected), "{said}");
        }
    }
    assert_eq!(failure(&user.run(&["run", "missing.gguf", "-p", "x"])), missing);
    fs::remove_file(user.list()["models"][0]["path"].as_str().unwrap()).unwrap();
    let said = failure(&user.run(&["plan", NAME]));
    assert_eq!(said, format!("siskin: {NAME}: its file is not what it was: siskin pull {NAME}"));
    user.said(&["pull", NAME]);
    user.said(&["plan", NAME]);
}

#[test]
fn models_are_listed_and_removed() {
    let hub = served();
    let user = User::of(&hub);
    let none = user.run(&["list"]);
    assert!(none.status.success() && none.stdout.is_empty());
    assert_eq!(none.stderr, b"no model was fetched yet: siskin pull hf.co/ORG/REPO:QUANT\n");
    let said = failure(&user.run(&["rm", NAME]));
    assert_eq!(
        said,
        format!("siskin: {NAME}: no model of this name was fetched: siskin list shows which were")
    );
    assert!(!user.data().exists(), "nothing is made");

    let pulled: Value = serde_json::from_str(&user.said(&["pull", NAME, "--json"])).unwrap();
    let list = user.list();
    assert_eq!(list["models"][0], pulled);
    assert_eq!((&pulled["name"], &pulled["quantization"]), (&Value::from(NAME), &Value::from("Q4_K_M")));
    assert_eq!(pulled["bytes"], demo().len());
    assert_eq!(fs::read(pulled["path"].as_str().unwrap()).unwrap(), demo());
    let lines = user.said(&["list"]);
    assert_eq!(
        lines,
        format!(
            "{:21}  {:>7}  QUANTIZATION  FETCHED\n{NAME:21}  4.79 MB  {:12}  just now\n",
            "NAME", "SIZE", "Q4_K_M"
        )
    );
    let said = failure(&user.run(&["rm", NAME, "hf.co/Org/Rep:Q4_K_M"]));
    assert!(said.ends_with(&format!("no model of this name was fetched; did you mean {NAME}?")), "{said}");
    assert_eq!(user.list(), list, "all or none");
    let removed: Value = serde_json::from_str(&user.said(&["rm", "hf:org/repo", "--json"])).unwrap();
    assert_eq!(removed, serde_json::json!({"removed": [NAME], "freed_bytes": demo().len()}));
    assert_eq!(user.list(), serde_json::json!({"models": [], "unfinished_bytes": 0}));
}

#[test]
fn who_has_no_home_has_no_names() {
    let user = User::of(&served());
    let without = |arguments: &[&str]| {
        let mut command = user.command(arguments);
        failure(&command.env_remove("HOME").env_remove("XDG_DATA_HOME").output().unwrap())
    };
    for command in [&["list"][..], &["rm", NAME], &["pull", NAME], &["plan", NAME]] {
        let said = without(command);
        assert!(said.ends_with("neither XDG_DATA_HOME nor HOME names a folder"), "{said}");
    }
    let said = without(&["plan", "missing.gguf"]);
    assert!(said.ends_with("cannot open it: No such file or directory (os error 2)"), "{said}");
}

#[test]
fn killed_at_any_moment_it_goes_on_and_the_file_is_the_same() {
    let served = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&served);
    let hub = Repository::with(&[("Demo-Q4_K_M.gguf", &demo())])
        .fault("blobs/Demo-Q4_K_M.gguf", move |request, bytes| {
            counted.fetch_add(1, Ordering::Relaxed);
            Some(Reply { pace: Duration::from_micros(800), ..Reply::file(request, bytes) })
        })
        .serve();
    let user = User::of(&hub);
    let (mut unfinished, mut killed) = (0, 0);
    // Where processes are slow to start they get more time.
    for turn in 0.. {
        if killed >= 40 && served.load(Ordering::Relaxed) >= 10 {
            break;
        }
        let wait = Duration::from_millis(5 + 7 * (turn % 20) * (1 + turn / 40));
        let mut child =
            user.command(&["pull", NAME]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(wait);
        child.kill().unwrap();
        killed += usize::from(child.wait().unwrap().code().is_none());
        let list = user.list();
        let now = list["unfinished_bytes"].as_u64().unwrap();
        match list["models"].as_array().unwrap().as_slice() {
            [] => assert!(now >= unfinished, "{now} after {unfinished}"),
            [model] => {
                assert_eq!(fs::read(model["path"].as_str().unwrap()).unwrap(), demo());
                user.said(&["rm", NAME]);
            }
            several => panic!("{several:?}"),
        }
        unfinished = user.list()["unfinished_bytes"].as_u64().unwrap();
    }
    user.said(&["pull", NAME]);
    let list = user.list();
    assert_eq!(fs::read(list["models"][0]["path"].as_str().unwrap()).unwrap(), demo());
    assert_eq!(list["unfinished_bytes"], 0);
}

#[test]
fn two_processes_that_want_the_same_fetch_it_once() {
    let count = Mutex::new(0);
    let hub = Repository::with(&[("Demo-Q4_K_M.gguf", &demo())])
        .fault("blobs/Demo-Q4_K_M.gguf", move |request, bytes| {
            *count.lock().unwrap() += 1;
            let again = *count.lock().unwrap() > 1;
            Some(match again {
                true => Reply::status(410),
                false => Reply { pace: Duration::from_millis(2), ..Reply::file(request, bytes) },
            })
        })
        .serve();
    let user = User::of(&hub);
    let pull =
        || user.command(&["pull", NAME]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let both = [pull(), pull()].map(|child| child.wait_with_output().unwrap());
    let said = both.each_ref().map(|run| String::from_utf8_lossy(&run.stderr).into_owned());
    assert!(both.iter().all(|run| run.status.success()), "{said:?}");
    assert_eq!(
        said.iter().filter(|said| said.contains("another process is fetching it")).count(),
        1,
        "{said:?}"
    );
}

#[test]
fn somebody_at_a_terminal_is_asked() {
    let hub = served();
    let user = User::of(&hub);
    let terminal = |answer: &str| {
        let mut terminal =
            Terminal::with("xterm", &["run", NAME, "-p", "please turn on the kitchen light"], |command| {
                user.environment(command);
            });
        let asked = read_until(&mut terminal.user, "[y/N] ");
        assert!(asked.ends_with(&format!("{NAME} is not on this machine. Fetch it? [y/N] ")), "{asked}");
        terminal.user.write_all(answer.as_bytes()).unwrap();
        terminal
    };
    let said = terminal("\n").interrupted(&format!("siskin pull {NAME}\r\n"));
    assert!(said.contains("is not on this machine: siskin pull"), "{said}");
    assert!(hub.seen().is_empty());
    let said = terminal("y\n").rest();
    assert!(said.contains(r#"{"intent": "switch", "device": "light""#), "{said}");
    assert_eq!(user.list()["models"][0]["name"], NAME);
}

#[test]
fn a_closed_pipe_or_a_full_disk_lose_nothing() {
    let user = User::of(&served());
    // The model is there, though nobody could be told.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let run = user.command(&["pull", NAME]).stdout(full).output().unwrap();
    assert_eq!(run.status.code(), Some(1));
    assert_eq!(user.list()["models"][0]["name"], NAME);
    assert!(Path::new(text(&user.data())).join("siskin/models/blobs").exists());
}
