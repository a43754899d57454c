//! What the page has beside answers: the text of documents, and reports of evaluations.

use crate::client::{Reply, ask, ask_with, get};
use crate::{server, start};
use serde_json::{Value, json};
use std::fs;
use std::sync::{Condvar, Mutex};

/// A reader of documents in the server's place of one: it returns what it is told.
fn reader(bytes: Vec<u8>, name: &str, most: usize, memory: u64) -> Result<String, String> {
    match bytes.as_slice() {
        b"memory" => Ok(format!("{} MiB", memory >> 20)),
        b"damaged" => Err("a damaged PDF file".to_owned()),
        b"long" => Ok("x".repeat(most + 1)),
        b"waits" => {
            let (lock, goes_on) = &GATE;
            let mut state = lock.lock().unwrap();
            *state = 1;
            goes_on.notify_all();
            drop(goes_on.wait_while(state, |state| *state < 2).unwrap());
            Ok("at last".to_owned())
        }
        bytes => Ok(format!("{name}: {}", String::from_utf8_lossy(bytes))),
    }
}

/// 1 once a reader waits, 2 once it may go on.
static GATE: (Mutex<u8>, Condvar) = (Mutex::new(0), Condvar::new());

fn attach(server: &str, name: &str, body: &str) -> Reply {
    ask("POST", &format!("{server}/siskin/text?name={name}"), Some(body))
}

#[test]
fn the_text_of_a_document_is_told() {
    let server = start(|options| {
        options.documents = Some(reader);
        options.body = 64;
    });
    assert_eq!(get(&format!("{server}/siskin/status")).ok()["documents"], json!(true));
    assert_eq!(attach(&server, "a%20b.pdf", "words").ok(), json!({"text": "a b.pdf: words"}));
    assert_eq!(ask("POST", &format!("{server}/siskin/text"), Some("words")).ok(), json!({"text": ": words"}));
    let refused =
        |reply: Reply| (reply.status, reply.json()["error"]["message"].as_str().unwrap().to_owned());
    assert_eq!(refused(attach(&server, "a.pdf", "damaged")), (400, "a.pdf: a damaged PDF file".to_owned()));
    let (status, said) = refused(attach(&server, "a.pdf", "long"));
    assert!(status == 413 && said.starts_with("a.pdf: its text has 1048577 bytes"), "{said}");
    assert_eq!(refused(attach(&server, "a.pdf", &"x".repeat(129))).0, 413);
    assert_eq!(get(&format!("{server}/siskin/text")).status, 405);
}

#[test]
fn a_document_is_read_with_what_is_left_of_the_memory() {
    let server = start(|options| {
        options.documents = Some(reader);
        options.memory = Some(64 << 30);
    });
    let said = attach(&server, "a.pdf", "memory").ok();
    let left: u64 = said["text"].as_str().unwrap().trim_end_matches(" MiB").parse().unwrap();
    assert!((32 << 10..64 << 10).contains(&left), "{said}");
}

#[test]
fn one_document_is_read_at_a_time() {
    let server = start(|options| options.documents = Some(reader));
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| attach(&server, "a.pdf", "waits"));
        let (lock, goes_on) = &GATE;
        drop(goes_on.wait_while(lock.lock().unwrap(), |state| *state < 1).unwrap());
        let refused = attach(&server, "b.pdf", "words");
        *lock.lock().unwrap() = 2;
        goes_on.notify_all();
        assert_eq!(refused.status, 429, "{refused:?}");
        assert_eq!(slow.join().unwrap().ok(), json!({"text": "at last"}));
    });
    assert_eq!(attach(&server, "b.pdf", "words").ok(), json!({"text": "b.pdf: words"}));
}

#[test]
fn a_program_that_reads_no_documents_says_so() {
    let reply = attach(server(), "a.pdf", "words");
    assert_eq!(reply.status, 501);
    let said = reply.json()["error"]["message"].clone();
    assert_eq!(said, "documents: this program was built without what reads them");
    let status = get(&format!("{}/siskin/status", server())).ok();
    assert_eq!((&status["documents"], &status["reports"]), (&json!(false), &json!(false)));
}

#[test]
fn reports_are_listed_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (inside, outside) = (folder.path().join("reports"), folder.path().join("secret.json"));
    fs::create_dir(&inside).unwrap();
    fs::write(&outside, "{}").unwrap();
    fs::write(inside.join("a b.json"), r#"{"models": []}"#).unwrap();
    fs::write(inside.join("a b.html"), "<h1>a</h1>").unwrap();
    for (name, text) in [(".hidden.json", "{}"), ("notes.txt", "notes"), ("keys.json.bak", "{}")] {
        fs::write(inside.join(name), text).unwrap();
    }
    fs::create_dir(inside.join("folder.json")).unwrap();
    let server = start(|options| options.reports = Some(inside.clone()));
    let reports = get(&format!("{server}/siskin/reports")).ok()["reports"].clone();
    let mut named: Vec<_> = reports.as_array().unwrap().iter().map(|report| report["name"].clone()).collect();
    named.sort_by_key(Value::to_string);
    assert_eq!(named, ["a b.html", "a b.json"]);
    assert!(reports[0]["modified"].as_u64().unwrap() > 1 << 30, "{reports}");

    let shown = |name: &str| get(&format!("{server}/siskin/reports/{name}"));
    assert_eq!(shown("a%20b.json").ok(), json!({"models": []}));
    let page = shown("a%20b.html");
    assert_eq!((page.status, page.kind.as_str()), (200, "text/html; charset=utf-8"));
    for name in
        ["b.json", ".hidden.json", "notes.txt", "folder.json", "..%2Fsecret.json", "%2e%2e%2fsecret.json"]
    {
        let reply = shown(name);
        assert_eq!(reply.status, 404, "{name}: {reply:?}");
    }
    // Nothing that a report says runs, or is asked for elsewhere.
    let policy =
        crate::page::header(&format!("{server}/siskin/reports/a%20b.html"), &[], "content-security-policy").1;
    assert!(policy.contains("sandbox") && policy.contains("default-src 'none'"), "{policy}");

    // They are no stranger's concern.
    let keys = folder.path().join("keys.json");
    fs::write(&keys, r#"{"keys": [{"name": "kitchen", "key": "sk-1234-kitchen"}]}"#).unwrap();
    let locked = start(|options| {
        options.reports = Some(inside);
        options.keys = Some(keys);
    });
    for path in ["siskin/reports", "siskin/reports/a%20b.json"] {
        let url = format!("{locked}/{path}");
        assert_eq!(get(&url).status, 401);
        ask_with("GET", &url, &[("x-api-key", "sk-1234-kitchen")], None).ok();
    }
}
