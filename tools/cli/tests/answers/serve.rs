//! The server as a program, and its answers made again from the log.

use crate::common::{failure, families, here, siskin, text};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A server, where it listens, and the MiB that it says its model takes.
struct Server {
    child: Child,
    address: String,
    planned: f64,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_siskin"));
        command.args(["serve", "--port", "0", "-t", "1", "-c", "256"]).args(arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut planned = None;
        let said = lines.find_map(|line| {
            let plan = line.split_once(": ").and_then(|(_, plan)| plan.split_once(" MiB (weights "));
            planned = planned.or(plan.and_then(|(planned, _)| planned.rsplit(' ').next()?.parse().ok()));
            Some(line.strip_prefix("listening on http://")?.to_owned())
        });
        let (address, planned) = (said.unwrap(), planned.unwrap());
        // Whatever it says is read, so that it never waits.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address, planned }
    }

    fn ask(&self, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let (host, length) = (&self.address, body.len());
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}");
        write!(stream, "{head}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    /// Ends it as systemd does.
    fn end(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

/// Long bodies from many clients at once take no more than the room that was planned for them, and are given back.
#[test]
fn what_clients_send_has_the_memory_that_was_planned() {
    let server = Server::start(&[]);
    let mebibytes = |name: &str| {
        let status = fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_end_matches(" kB").trim().parse::<f64>().unwrap() / 1024.0
    };
    let before = mebibytes("VmRSS:");
    let escaped = r"\u3042".repeat(300_000);
    let bodies = [
        format!(r#"{{"messages":[{{"role":"user","content":"{escaped}"}}]}}"#),
        format!(r#"{{"prompt":"{}"}}"#, "a b ".repeat(450_000)),
        format!(r#"{{"prompt":[{}0]}}"#, "0,".repeat(60_000)),
        format!(r#"{{"prompt":[{}0]}}"#, "0,".repeat(7_000)),
    ];
    let ask = |body: &str| {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        let (host, length) = (&server.address, body.len());
        let path = if body.contains("messages") { "v1/chat/completions" } else { "completion" };
        let head = format!("POST /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close");
        // Who is refused before all was sent may find the connection closed.
        let _ = write!(stream, "{head}\r\ncontent-length: {length}\r\n\r\n{body}");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer.get(9..12).unwrap_or("").to_owned()
    };
    std::thread::scope(|scope| {
        let ask = &ask;
        for body in bodies.iter().cycle().take(24) {
            scope.spawn(move || {
                let status = ask(body);
                // All are beyond the context; some may have found no room, or be beyond all there is.
                assert!(["400", "413", "503", ""].contains(&&*status), "{status}");
            });
        }
    });
    let (peak, planned) = (mebibytes("VmHWM:"), server.planned);
    assert!(peak <= planned, "{peak} MiB, {planned} planned");
    let after = mebibytes("VmRSS:");
    assert!(after < before + 16.0, "{after} MiB, {before} before");
    let answer = server.ask("/completion", &json!({"prompt": "hello", "n_predict": 2}));
    assert!(!answer["content"].as_str().unwrap().is_empty());
    server.end();
}

#[test]
fn its_health_is_asked_for_by_the_same_command() {
    let server = Server::start(&[]);
    let port = server.address.rsplit_once(':').unwrap().1.to_owned();
    for host in ["127.0.0.1", "0.0.0.0"] {
        let asked = siskin(&["serve", "--health-check", "--host", host, "--port", &port]);
        assert!(asked.status.success() && asked.stdout.is_empty() && asked.stderr.is_empty(), "{asked:?}");
    }
    server.end();
    let line = failure(&siskin(&["serve", "--health-check", "--port", &port]));
    assert!(line.contains(&format!("127.0.0.1:{port}")), "{line}");
}

fn replay(log: &Path, model: &[&str], line: &str) -> std::process::Output {
    siskin(&[&["replay", text(log), "--line", line, "-t", "2"], model].concat())
}

#[test]
fn how_tokens_are_picked_is_the_request_s_to_say_then_the_command_s() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let server = Server::start(&["--audit", text(&log), "--temp", "0", "--top-k", "7"]);
    for options in [json!({}), json!({"temperature": 0.5, "min_p": 0.25})] {
        let messages = json!([{"role": "user", "content": "hello"}]);
        server.ask("/api/chat", &json!({"messages": messages, "options": options, "stream": false}));
    }
    server.end();
    let lines = fs::read_to_string(&log).unwrap();
    let sampling = |line: &str| serde_json::from_str::<Value>(line).unwrap()["sampling"].clone();
    let found: Vec<Value> = lines.lines().map(sampling).collect();
    let told = |index: usize, name: &str| found[index][name].as_f64().unwrap();
    assert_eq!([told(0, "temperature"), told(0, "top_k")], [0.0, 7.0]);
    assert_eq!([told(1, "temperature"), told(1, "min_p"), told(1, "top_k")], [0.5, 0.25, 7.0]);

    let error = failure(&siskin(&["serve", "--top-p", "3"]));
    assert!(error.contains("top_p"), "{error}");
}

#[test]
fn an_answer_is_made_again_from_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let server = Server::start(&["--audit", text(&log), "--audit-texts"]);
    let messages = json!([{"role": "user", "content": "tell me a story about a fox"}]);
    let schema = json!({"type": "object", "required": ["name"], "additionalProperties": false,
        "properties": {"name": {"type": "string", "maxLength": 12}}});
    let format = json!({"type": "json_schema", "json_schema": {"name": "it", "schema": schema}});
    let requests = [
        json!({"messages": messages, "max_tokens": 20, "temperature": 2}),
        json!({"messages": messages, "max_tokens": 40, "temperature": 2, "response_format": format}),
        json!({"messages": messages, "max_tokens": 20, "stop": ["e"], "seed": 7}),
    ];
    let said = requests.map(|request| {
        let answer = server.ask("/v1/chat/completions", &request);
        answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
    });
    server.end();
    for (at, said) in said.iter().enumerate() {
        let run = replay(&log, &[], &(at + 1).to_string());
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        assert_eq!(String::from_utf8(run.stdout).unwrap(), format!("{said}\n"));
    }
    // One that was changed is another answer.
    let changed = fs::read_to_string(&log).unwrap().replacen("\"temperature\":2.0", "\"temperature\":0.0", 1);
    let other = folder.path().join("changed.jsonl");
    fs::write(&other, changed).unwrap();
    let run = replay(&other, &[], "1");
    assert_eq!(run.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&run.stderr).contains("the answer is another one"), "{run:?}");
    let run = failure(&replay(&log, &["-m", text(&families().join("phi3.gguf"))], "1"));
    assert!(
        run.ends_with(
            "line 1: the answer is of a model with a context of 256 tokens or more, this one has 128"
        ),
        "{run}"
    );
    let quantized = folder.path().join("other.gguf");
    let made =
        siskin(&["quantize", text(&here("../demo/siskin-demo.gguf")), text(&quantized), "--type", "q8_0"]);
    assert!(made.status.success(), "{made:?}");
    let run = failure(&replay(&log, &["-m", text(&quantized)], "1"));
    assert!(run.contains("line 1: the answer is of weights "), "{run}");
}

#[test]
fn an_answer_with_an_adapter_needs_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let (model, adapter) = (families().join("phi3.gguf"), families().join("phi3/adapter.gguf"));
    let server =
        Server::start(&[text(&model), "--adapter", text(&adapter), "--audit", text(&log), "--audit-texts"]);
    let request = json!({"model": "phi3+adapter", "prompt": [1, 2, 3], "max_tokens": 9, "temperature": 0});
    server.ask("/v1/completions", &request);
    server.end();
    let with = [&["-m", text(&model), "--adapter"][..], &[text(&adapter)]].concat();
    let run = replay(&log, &with, "1");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let without = failure(&replay(&log, &["-m", text(&model)], "1"));
    assert!(
        without.ends_with("line 1: the answer has other adapters: --adapter adapter.gguf=1"),
        "{without}"
    );
}

#[test]
fn what_happens_is_told_in_json_to_who_asks_for_it() {
    let read = |said: &str| -> Vec<Value> {
        let lines = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let lines: Vec<Value> = lines.collect();
        for line in &lines {
            assert!(
                ["time", "level", "event", "message"].iter().all(|field| line[field].is_string()),
                "{line}"
            );
        }
        lines
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_siskin"));
    command.args(["serve", "--port", "0", "-t", "1", "-c", "256", "--log", "json"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("\"listening\"") {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
    }
    // There are no keys that could be read again.
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let lines = read(&said);
    assert!(lines.iter().all(|line| line["event"] != "keys-read"), "{said}");
    let of = |event: &str| lines.iter().find(|line| line["event"] == event).unwrap();
    assert!(of("listening")["address"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{said}");
    let loaded = of("model-loaded");
    assert_eq!((&loaded["model"], &loaded["context"]), (&json!("siskin-demo"), &json!(256)));
    assert!(loaded["bytes"].as_u64().unwrap() > 1 << 20 && loaded["level"] == "info", "{loaded}");

    let failed = siskin(&["serve", "--port", "0", "--log", "json", "missing.gguf"]);
    assert_eq!(failed.status.code(), Some(1));
    let lines = read(&String::from_utf8(failed.stderr).unwrap());
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((&line["level"], &line["event"]), (&json!("error"), &json!("failed")));
    assert!(line["message"].as_str().unwrap().starts_with("missing.gguf: cannot open it"), "{line}");
}

#[test]
fn what_cannot_be_served_is_one_line() {
    let refused = |arguments: &[&str]| failure(&siskin(&[&["serve", "--port", "0"], arguments].concat()));
    assert!(refused(&["missing.gguf"]).contains("missing.gguf: cannot open it"));
    let demo = here("../demo/siskin-demo.gguf");
    assert!(refused(&[text(&demo), text(&demo)]).ends_with("two models are called siskin-demo"));
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.json");
    fs::write(&keys, "{\"keys\": [{\"name\": \"a\"}]}").unwrap();
    assert!(refused(&["--keys", text(&keys)]).ends_with("keys[0].key is missing, expected a text"));
    assert!(refused(&["--memory", "5m"]).contains("MiB"));
}
