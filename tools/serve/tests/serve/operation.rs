//! How the server is run: who may ask, what is kept, what is written down, and how it ends.

use crate::client::{ask_with, get, post};
use crate::{server, start, start_one};
use serde_json::{Value, json};
use siskin_serve::{AuditOptions, Listen, Pinned, PrefixOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

/// A question behind a long beginning, of more than a page of the cache.
fn long(question: &str) -> Value {
    let system = "You are the assistant of a house with many rooms. ".repeat(30);
    json!({"temperature": 0, "max_tokens": 6, "messages": [
        {"role": "system", "content": system}, {"role": "user", "content": question}]})
}

fn chat(server: &str, body: &Value) -> Value {
    post(&format!("{server}/v1/chat/completions"), body).ok()
}

fn cached(answer: &Value) -> u64 {
    answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap()
}

fn said(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap()
}

#[test]
fn what_prompts_begin_with_is_kept_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = PrefixOptions { folder: folder.path().join("prefixes"), bytes: 64 << 20 };
    let alone = start(|_| {});
    let begin = || start_one(|server| server.prefixes = Some(options.clone()));
    let (first, thread) = begin();
    let one = chat(first.address(), &long("hello"));
    assert_eq!(cached(&one), 0);
    let two = chat(first.address(), &long("who are you"));
    assert!(cached(&two) > 256);
    first.stop();
    thread.join().unwrap();

    let (second, thread) = begin();
    let again = chat(second.address(), &long("who are you"));
    assert!(cached(&again) >= cached(&two), "{again}");
    assert_eq!((said(&again), said(&two)), (said(&chat(&alone, &long("who are you"))), said(&again)));
    second.stop();
    thread.join().unwrap();

    // A server with another cache has no use for them, and leaves them alone.
    let files = || -> Vec<Vec<u8>> {
        let files = std::fs::read_dir(&options.folder).unwrap();
        files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
    };
    let before = files();
    let (other, thread) = start_one(|server| {
        server.prefixes = Some(options.clone());
        server.session = server.session.clone().cache(siskin::CacheType::F32);
    });
    assert_eq!(cached(&chat(other.address(), &long("who are you"))), 0);
    other.stop();
    thread.join().unwrap();
    assert!(before.iter().all(|file| files().contains(file)));

    // One that is damaged costs itself alone.
    for file in std::fs::read_dir(&options.folder).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 100;
        bytes[last] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    let (third, thread) = begin();
    let without = chat(third.address(), &long("who are you"));
    assert_eq!((cached(&without), said(&without)), (0, said(&two)));
    third.stop();
    thread.join().unwrap();
}

#[test]
fn a_clock_at_the_head_of_prompts_is_noticed() {
    let server = start(|_| {});
    let changed = |system: &str, time: &str| {
        let system = system.replace("TIME", time);
        let messages = json!([{"role": "system", "content": system}, {"role": "user", "content": "hello"}]);
        chat(&server, &json!({"messages": messages, "temperature": 0, "max_tokens": 2}));
        let status = get(&format!("{server}/siskin/status")).ok();
        status["models"][0]["figures"]["changed_prompts"].as_u64().unwrap()
    };
    let head = format!("It is TIME. {}", "You are the assistant of a house with many rooms. ".repeat(30));
    let tail = format!("{} It is TIME.", "You tell stories to children, of foxes and of wolves. ".repeat(30));
    // What changes at the end costs nothing.
    assert_eq!((changed(&tail, "14:05"), changed(&tail, "14:06")), (0, 0));
    assert_eq!((changed(&head, "14:05"), changed(&head, "14:06"), changed(&head, "15:17")), (0, 1, 2));
    let metrics = get(&format!("{server}/metrics")).body;
    assert!(metrics.contains("siskin_changed_prompts_total{model=\"demo\"} 2\n"), "{metrics}");
}

#[test]
fn a_pinned_beginning_is_there_before_the_first_request() {
    let system = &long("")["messages"][0]["content"];
    let message = siskin::template::Message::new("system", system.as_str().unwrap());
    let server = start(|options| {
        options.pinned = vec![Pinned { name: "pinned".into(), messages: vec![message], tools: None }];
    });
    let answer = chat(&server, &long("hello"));
    assert!(cached(&answer) > 256, "{answer}");
    assert_eq!(said(&answer), said(&chat(&start(|_| {}), &long("hello"))));
}

#[test]
fn who_has_no_key_is_not_answered() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    std::fs::write(&file, r#"{"keys": [{"name": "hall", "key": "secret-1", "tokens_per_day": 520}]}"#)
        .unwrap();
    let server = start(|options| options.keys = Some(file));
    assert_eq!(get(&format!("{server}/health")).status, 200);
    let (models, body) = (format!("{server}/v1/models"), long("hello").to_string());
    for headers in [&[][..], &[("authorization", "Bearer secret-2")], &[("x-api-key", "secret-")]] {
        let refused = ask_with("GET", &models, headers, None);
        assert_eq!((refused.status, &refused.json()["error"]["code"]), (401, &json!("invalid_api_key")));
    }
    let refused = ask_with("GET", &format!("{server}/api/tags"), &[], None);
    assert!(refused.status == 401 && refused.json()["error"].is_string());
    let key = [("authorization", "Bearer secret-1")];
    let answer = format!("{server}/v1/chat/completions");
    assert_eq!(ask_with("POST", &answer, &key, Some(&body)).status, 200);
    // It has used what it may.
    assert_eq!(ask_with("POST", &answer, &key, Some(&body)).status, 429);
}

#[test]
fn what_a_key_may_have_at_a_time_are_answers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    std::fs::write(
        &file,
        r#"{"keys": [{"name": "hall", "key": "secret-1", "parallel": 2, "tokens_per_day": 5000}]}"#,
    )
    .unwrap();
    let server = start(|options| options.keys = Some(file));
    let key = [("authorization", "Bearer secret-1")];
    let answer = |n: usize, most: usize| {
        let body = json!({"messages": [{"role": "user", "content": "hello"}], "n": n, "max_tokens": most});
        ask_with("POST", &format!("{server}/v1/chat/completions"), &key, Some(&body.to_string()))
    };
    let refused = answer(3, 1);
    assert_eq!(refused.status, 400);
    assert_eq!(
        refused.json()["error"]["message"],
        "the key may have 2 answers at a time, and 3 are asked for"
    );
    // What an answer did not take is there for the next ones.
    (0..20).for_each(|_| assert_eq!(answer(2, 200).status, 200));
    let endless = json!({"messages": [{"role": "user", "content": "tell me a story"}], "stream": true, "n": 2,
        "logit_bias": never_ending(), "temperature": 0});
    let length = endless.to_string().len();
    let address = server.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nx-api-key: secret-1\r\n");
    stream.write_all(format!("{head}content-length: {length}\r\n\r\n{endless}").as_bytes()).unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    let (busy, status) =
        (answer(1, 1).status, ask_with("GET", &format!("{server}/siskin/status"), &key, None).status);
    assert!(status == 200 && [429, 200].contains(&busy), "{busy} {status}");
    drop(stream);
}

#[test]
fn programs_on_this_machine_may_copy_where_others_can_connect() {
    for any in [[0, 0, 0, 0].into(), std::net::IpAddr::from([0u16; 8])] {
        let server = start(|options| options.listen = Listen::Address((any, 0).into()));
        let port = server.rsplit(':').next().unwrap();
        let body = json!({"source": "demo", "destination": "bird"}).to_string();
        let copy = |host: &str| {
            let url = format!("http://127.0.0.1:{port}/api/copy");
            ask_with("POST", &url, &[("host", host)], Some(&body)).status
        };
        assert_eq!((copy("127.0.0.1"), copy("localhost:1"), copy("stranger.example")), (200, 200, 403));
    }
}

#[test]
fn what_cannot_be_kept_to_is_refused_at_the_beginning() {
    let said = crate::refused(|options| options.origins = vec!["notanorigin".to_owned()]);
    assert_eq!(said, "--cors notanorigin: expected an origin such as https://example.com, or * for all");
    let said = crate::refused(|options| options.reports = Some("/nowhere/at/all".into()));
    assert_eq!(said, "--reports /nowhere/at/all: there is no such folder");
}

#[test]
fn pages_of_other_origins_ask_only_where_they_are_named() {
    let server = start(|options| options.origins = vec!["https://Named.example/".to_owned()]);
    let models = format!("{server}/v1/models");
    let of = |origin: &str| ask_with("GET", &models, &[("origin", origin)], None).status;
    assert_eq!(
        [of("https://named.example"), of(&server), of("https://other.example"), of("null")],
        [200, 200, 403, 403]
    );
    assert_eq!(ask_with("GET", &models, &[("host", "other.example")], None).status, 403);
}

#[test]
fn each_answer_has_a_line_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let audit = |texts| AuditOptions { file: file.clone(), texts, bytes: 1 << 20 };
    let lines = || -> Vec<Value> {
        let text = std::fs::read_to_string(&file).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let (server, thread) = start_one(|options| options.audit = Some(audit(false)));
    let body =
        json!({"messages": [{"role": "user", "content": "a secret"}], "n": 2, "max_tokens": 5, "seed": 3});
    let answer = chat(server.address(), &body);
    server.stop();
    thread.join().unwrap();
    let found = lines();
    let mut seeds: Vec<_> = found.iter().map(|line| line["seed"].as_u64().unwrap()).collect();
    seeds.sort_unstable();
    assert_eq!(seeds, [3, 4]);
    assert!(found.iter().all(|line| line["key"] == "127.0.0.1" && line["sampling"]["top_k"].is_number()));
    assert!(found.iter().all(|line| line["prompt"].is_null() && line["text"].is_null()));
    let (server, thread) = start_one(|options| options.audit = Some(audit(true)));
    chat(server.address(), &body);
    server.stop();
    thread.join().unwrap();
    let found = lines();
    assert_eq!(found.len(), 4);
    let third = found[2..].iter().find(|line| line["seed"] == 3).unwrap();
    assert_eq!(third["text"].as_str().unwrap(), said(&answer));
    assert_eq!(third["answer_hash"], found.iter().find(|line| line["seed"] == 3).unwrap()["answer_hash"]);
}

#[test]
fn who_goes_away_leaves_their_place() {
    const ANSWERS: usize = 16;
    let server = start(|options| {
        (options.parallel, options.queue) = (1, ANSWERS - 1);
        options.session = options.session.clone().context(1024);
    });
    let completions = format!("{server}/v1/chat/completions");
    let ask = |answers: usize| {
        let messages = json!([{"role": "user", "content": "hello"}]);
        post(&completions, &json!({"messages": messages, "max_tokens": 1, "n": answers}))
    };
    let endless =
        json!({"messages": [{"role": "user", "content": "tell me a story"}], "stream": true, "n": ANSWERS,
        "logit_bias": never_ending(), "temperature": 0})
        .to_string();
    let address = server.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n\r\n{endless}",
        endless.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    // One is answered and all others wait: there is no room for more.
    let refused = ask(ANSWERS);
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (429, &json!("rate_limit_exceeded")));
    drop(stream);
    // For as many there is room only once none of them is left.
    until(|| (ask(ANSWERS).status == 200).then_some(()));
}

/// A bias against all that could end an answer.
fn never_ending() -> Value {
    let model = siskin::Model::open(crate::demo()).unwrap();
    let ends = (0..model.vocabulary() as u32).filter(|&token| model.tokenizer().is_end(token));
    ends.map(|token| (token.to_string(), json!(-100))).collect::<serde_json::Map<_, _>>().into()
}

/// What comes of asking until something does.
fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_mins(1);
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < end, "it does not come");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn texts_that_no_context_has_room_for_are_refused_as_they_are() {
    let server = server();
    let long = "a".repeat((64 << 10) + 1);
    let message = json!([{"role": "user", "content": long}]);
    for (path, body) in [
        ("/v1/chat/completions", json!({"messages": message})),
        ("/v1/responses", json!({"input": long})),
        ("/v1/completions", json!({"prompt": long})),
        ("/v1/embeddings", json!({"input": long})),
        ("/v1/messages", json!({"messages": message, "max_tokens": 1})),
        ("/v1/messages/count_tokens", json!({"messages": message})),
        ("/api/chat", json!({"messages": message})),
        ("/api/generate", json!({"prompt": long})),
        ("/api/embed", json!({"input": long, "truncate": false})),
        ("/completion", json!({"prompt": long})),
        ("/tokenize", json!({"content": long})),
        ("/apply-template", json!({"messages": message})),
    ] {
        let refused = post(&format!("{server}{path}"), &body);
        let said = "more than the 65536 that are read for a context of 512 tokens";
        assert!(refused.status == 400 && refused.body.contains(said), "{path}: {refused:?}");
    }
    // Ollama's clients leave it to the server to make a text short enough.
    let embedded = post(&format!("{server}/api/embed"), &json!({"input": long})).ok();
    assert_eq!(embedded["prompt_eval_count"], 511);
    let old = json!({"role": "assistant", "content": long});
    let messages =
        [json!({"role": "user", "content": "hi"}), old, json!({"role": "user", "content": "hello"})];
    let body = json!({"messages": messages, "stream": false, "options": {"num_predict": 2}});
    assert!(post(&format!("{server}/api/chat"), &body).ok()["prompt_eval_count"].as_u64().unwrap() < 100);
}

#[test]
fn what_is_announced_to_be_too_long_is_not_waited_for() {
    let server = server();
    let address = server.strip_prefix("http://").unwrap();
    for path in ["/v1/chat/completions", "/api/chat", "/v1/messages", "/completion"] {
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 2147483648\r\n\r\n{{");
        stream.write_all(head.as_bytes()).unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"HTTP/1.1 413", "{path}");
    }
}

#[test]
fn a_bias_for_a_token_that_there_is_not_is_refused() {
    let body = json!({"messages": [{"role": "user", "content": "a"}], "logit_bias": {"999999999": 1}});
    let refused = post(&format!("{}/v1/chat/completions", server()), &body);
    assert_eq!(refused.status, 400);
    let said = "logit_bias: the vocabulary has 4096 tokens, and none is 999999999";
    assert_eq!(refused.json()["error"]["message"], said);
}

#[test]
fn a_socket_in_the_file_system_goes_with_its_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("siskin.sock");
    let (server, thread) = start_one(|options| options.listen = Listen::Unix(path.clone()));
    assert_eq!(server.address(), format!("unix:{}", path.display()));
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"ok\""), "{answer}");
    server.stop();
    thread.join().unwrap();
    assert!(!path.exists());
}

#[test]
fn answers_under_way_are_finished_before_the_end() {
    let (server, thread) = start_one(|_| {});
    let address = server.address().to_owned();
    let asked = thread::spawn(move || chat(&address, &long("tell me a story")));
    thread::sleep(Duration::from_millis(50));
    server.stop();
    let answer = asked.join();
    thread.join().unwrap();
    // It was either accepted, and is whole, or came too late to be heard at all.
    if let Ok(answer) = answer {
        assert!(answer["choices"][0]["finish_reason"].is_string(), "{answer}");
    }
}
