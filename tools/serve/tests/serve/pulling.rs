//! Models that are pulled and deleted by requests, from a server of the test's own.

use crate::client::{ask, get, post};
use crate::start;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

/// A web server that has the demo model; returns its address.
fn web() -> String {
    let model = std::fs::read(crate::demo()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/models", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut request = String::new();
            stream.read_line(&mut request).unwrap();
            let mut line = String::new();
            while stream.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            let (status, body) = match request.contains("/bird.gguf") {
                true => ("200 OK", model.as_slice()),
                false => ("404 Not Found", &b""[..]),
            };
            let head =
                format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let stream = stream.get_mut();
            // Whoever asked for the length alone has gone.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    address
}

#[test]
fn a_model_is_pulled_asked_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(|options| options.store = Some(folder.path().join("models")));
    let name = format!("{}/bird.gguf", web());
    let names = || {
        let models = get(&format!("{server}/v1/models")).ok();
        models["data"].as_array().unwrap().iter().map(|model| model["id"].clone()).collect::<Vec<_>>()
    };
    let lines = post(&format!("{server}/api/pull"), &json!({"model": name})).lines();
    assert_eq!(lines.first().unwrap(), &json!({"status": "pulling manifest"}));
    assert_eq!(lines.last().unwrap(), &json!({"status": "success"}));
    assert!(lines[1..lines.len() - 1].iter().all(|line| line["total"].is_u64()), "{lines:?}");
    assert_eq!(names(), [json!("demo"), json!(name)]);
    let again = post(&format!("{server}/api/pull"), &json!({"name": name, "stream": false})).ok();
    assert_eq!(again, json!({"status": "success"}));

    let answer = |model: &str| -> Value {
        let body = json!({"model": model, "prompt": "Hello", "stream": false, "options": {"temperature": 0}});
        post(&format!("{server}/api/generate"), &body).ok()["response"].clone()
    };
    assert_eq!(answer(&name), answer("demo"));
    let deleted = ask("DELETE", &format!("{server}/api/delete"), Some(&json!({"model": name}).to_string()));
    assert_eq!(deleted.status, 200, "{deleted:?}");
    assert_eq!(names(), ["demo"]);
    assert_eq!(post(&format!("{server}/api/generate"), &json!({"model": name, "prompt": "a"})).status, 404);
}

#[test]
fn a_copy_of_a_model_that_is_deleted_stays() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(|options| options.store = Some(folder.path().join("models")));
    let name = format!("{}/bird.gguf", web());
    let pull = || post(&format!("{server}/api/pull"), &json!({"model": name, "stream": false})).status;
    let delete = |name: &str| {
        ask("DELETE", &format!("{server}/api/delete"), Some(&json!({"model": name}).to_string())).status
    };
    let load = |name: &str, keep: u32| {
        post(&format!("{server}/api/generate"), &json!({"model": name, "keep_alive": keep})).status
    };
    let names = || {
        let tags = get(&format!("{server}/api/tags")).ok();
        tags["models"].as_array().unwrap().iter().map(|model| model["name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(pull(), 200);
    assert_eq!(
        post(&format!("{server}/api/copy"), &json!({"source": name, "destination": "mine"})).status,
        200
    );
    assert_eq!(delete(&name), 200);
    assert_eq!(names(), ["demo:latest", "mine:latest"]);
    assert_eq!((load("mine", 60), load("mine", 0), load("mine", 60), load(&name, 0)), (200, 200, 200, 404));
    assert_eq!(delete("mine"), 200);
    assert_eq!(names(), ["demo:latest"]);
    assert_eq!(std::fs::read_dir(folder.path().join("models/blobs")).unwrap().count(), 0);
    assert_eq!(pull(), 200);
    assert_eq!(load(&name, 0), 200);
}

#[test]
fn a_pull_that_nobody_hears_of_any_more_is_ended_by_delete() {
    let failing = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("http://{}/bird.gguf", failing.local_addr().unwrap());
    thread::spawn(move || {
        for stream in failing.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 503 Said\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let server = start(|options| options.store = Some(folder.path().join("models")));
    let pulling = thread::spawn({
        let (server, name) = (server.clone(), name.clone());
        move || post(&format!("{server}/api/pull"), &json!({"model": name, "stream": false}))
    });
    let delete =
        || ask("DELETE", &format!("{server}/api/delete"), Some(&json!({"model": name}).to_string())).status;
    while delete() != 200 {
        thread::sleep(std::time::Duration::from_millis(20));
    }
    let ended = pulling.join().unwrap();
    assert!(ended.status == 500 && ended.body.contains("it was stopped"), "{ended:?}");
}

#[test]
fn what_cannot_be_pulled_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(|options| options.store = Some(folder.path().join("models")));
    let pull = |model: &str, stream: bool| {
        post(&format!("{server}/api/pull"), &json!({"model": model, "stream": stream}))
    };
    let missing = format!("{}/fish.gguf", web());
    assert_eq!(pull(&missing, false).status, 500);
    let last = pull(&missing, true).lines().pop().unwrap();
    assert!(last["error"].as_str().unwrap().contains("fish.gguf"), "{last}");
    let other = pull("llama3.2", false);
    assert_eq!(other.status, 400);
    assert!(other.json()["error"].as_str().unwrap().contains("expected hf.co/ORG/REPO:QUANT"));
    assert_eq!(pull("", false).status, 400);
    // Without a place for them there are none.
    let without = start(|_| {});
    assert_eq!(post(&format!("{without}/api/pull"), &json!({"model": missing, "stream": false})).status, 501);
}

#[test]
fn so_many_are_pulled_at_a_time_and_no_more() {
    // It accepts, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = start(|options| options.store = Some(folder.path().join("models")));
    let begin = |number: usize| {
        let name = format!("http://{}/{number}.gguf", silent.local_addr().unwrap());
        let body = json!({"model": name}).to_string();
        let address = server.strip_prefix("http://").unwrap();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let length = body.len();
        let request =
            format!("POST /api/pull HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).unwrap();
        let mut status = String::new();
        BufReader::new(&stream).read_line(&mut status).unwrap();
        (status, stream)
    };
    let begun: Vec<_> = (0..5).map(begin).collect();
    let statuses: Vec<&str> = begun.iter().map(|(status, _)| status.split(' ').nth(1).unwrap()).collect();
    assert_eq!(statuses, ["200", "200", "200", "200", "429"]);
}
