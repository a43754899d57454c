//! Servers that lie.

use super::User;
use super::hub::{Repository, model, other_model, sha256};
use super::server::{Reply, Server};
use serde_json::json;
use siskin_hub::Name;
use std::fs;

const NAME: &str = "hf.co/Org/Repo";

/// What is said of a repository whose file is answered so.
fn said_of(reply: impl Fn(&[u8]) -> Reply + Send + Sync + 'static) -> (String, User) {
    let hub = Repository::with(&[("m.gguf", &model())])
        .fault("blobs/m.gguf", move |_, bytes| Some(reply(bytes)))
        .serve();
    let user = User::of(&hub);
    (user.refusal(NAME), user)
}

#[test]
fn damage_is_noticed_and_not_kept() {
    let (said, user) = said_of(|bytes| {
        let mut bytes = bytes.to_vec();
        bytes[50_000] ^= 4;
        Reply::status(200).body(bytes)
    });
    assert!(said.contains("m.gguf: what came is damaged and was not kept: its SHA-256 is "), "{said}");
    assert!(said.ends_with(&sha256(&model())));
    assert!(user.files("blobs").is_empty() && user.store().unfinished().unwrap() == 0);
}

#[test]
fn never_more_is_written_than_was_announced() {
    let true_length = model().len() as u64;
    for announced in [true_length - 1, true_length + 1, u64::MAX, 0] {
        let (said, user) = said_of(move |bytes| Reply {
            announced: Some(announced),
            ..Reply::status(200).body([bytes, &[0; 100_000]].concat())
        });
        assert!(said.contains("announces") || said.contains("as expected"), "{announced}: {said}");
        assert_eq!(user.store().unfinished().unwrap(), 0);
    }
    // Without a length, a body that does not end.
    let hub = Repository::with(&[("m.gguf", &model())])
        .fault("blobs/m.gguf", |_, bytes| {
            let mut raw = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
            raw.extend(format!("{:x}\r\n", bytes.len() + 5_000_000).bytes());
            raw.extend(bytes);
            raw.extend(vec![0; 5_000_000]);
            Some(Reply { raw: Some(raw), ..Reply::default() })
        })
        .serve();
    assert_eq!(fs::read(User::of(&hub).pull(NAME).path()).unwrap(), model());
}

#[test]
fn what_is_no_model_is_noticed_at_once() {
    let length = model().len();
    for (page, what) in [
        ("<!DOCTYPE html>", "a page of the web"),
        ("{\"error\": 1}", "a JSON text"),
        ("version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
        ("\x1b]0;owned\x07", "something else"),
    ] {
        let (said, user) = said_of(move |_| {
            let mut bytes = page.as_bytes().to_vec();
            bytes.resize(length, b' ');
            Reply::status(200).body(bytes)
        });
        assert!(said.ends_with(&format!("expected a GGUF file, the server sends {what}")), "{said}");
        assert_eq!(user.store().unfinished().unwrap(), 0);
    }
    // What the hub says it is, and a GGUF file that is none.
    let broken = [&model()[..1000], &[0xff; 5000]].concat();
    let hub = Repository::with(&[("m.gguf", &broken)]).serve();
    let user = User::of(&hub);
    let said = user.refusal(NAME);
    assert!(said.contains("hf.co/Org/Repo:m.gguf is no model that can be used, and was not kept"), "{said}");
    assert!(user.files("blobs").is_empty() && user.files("growing").is_empty());
}

#[test]
fn answers_of_the_hub_are_not_believed() {
    let commit = "0".repeat(40);
    let file = |path: &str| json!({"rfilename": path, "lfs": {"sha256": "0".repeat(64), "size": 10}});
    let of = |files: serde_json::Value| json!({"sha": commit, "siblings": files}).to_string();
    let cases = [
        (String::new(), "not as the hub does"),
        ("[".repeat(1_000_000), "not as the hub does"),
        (
            format!("{{\"sha\": \"{commit}\", \"siblings\": {}1{}}}", "[".repeat(200), "]".repeat(200)),
            "not as the hub does",
        ),
        (json!({"sha": commit}).to_string(), "not as the hub does"),
        (
            format!("{{\"siblings\": [], \"sha\": \"{commit}\", \"x\": \"{}\"}}", "x".repeat(17 << 20)),
            "is longer than",
        ),
        (json!({"sha": "../../x", "siblings": [file("m.gguf")]}).to_string(), "names no commit"),
        (of(json!([])), "has no GGUF file"),
        (
            of(json!([file("../m.gguf"), file("/m.gguf"), file("a/../m.gguf"), file("m\u{1b}.gguf")])),
            "has no GGUF file",
        ),
        (of(json!([file("a-Q4_0-00001-of-99999.gguf")])), "1 of its 99999 parts are there"),
        (of(json!([file("a\u{202e}b.gguf"), file("c.gguf")])), "it has "),
        (of(json!([{"rfilename": "m.gguf", "size": 10}])), "has no hash of m.gguf"),
        (
            of(json!([{"rfilename": "m.gguf", "size": 10, "lfs": {"sha256": "../x"}}])),
            "has no hash of m.gguf",
        ),
        (of(json!([{"rfilename": "m.gguf", "lfs": {"sha256": "0".repeat(64)}}])), "does not say how long"),
        (
            of(json!([{"rfilename": "m.gguf", "lfs": {"sha256": "0".repeat(64), "size": 1u64 << 62}}])),
            "are free there",
        ),
    ];
    for (answer, expected) in cases {
        let start: String = answer.chars().take(200).collect();
        let hub = Server::start(move |request| match request.target.starts_with("/api/") {
            true => Reply::status(200).body(answer.clone()),
            false => Reply::status(404),
        });
        let said = User::of(&hub).refusal(NAME);
        assert!(said.contains(expected), "{start}: {said}");
        assert!(said.len() < 1000 && !said.contains('\u{202e}'), "{said}");
    }
}

#[test]
fn redirects_lead_to_the_web_and_end() {
    for (location, expected) in [
        ("/api/models/Org/Repo?blobs=true", "redirects in circles"),
        ("file:///etc/passwd", "redirects to file:///etc/passwd, which is no address of the web"),
        ("http://user:password@127.0.0.1/", "which is no address of the web"),
        ("ftp://127.0.0.1/", "which is no address of the web"),
    ] {
        let hub = Server::start(move |_| Reply::status(302).with("location", location));
        let said = User::of(&hub).refusal(NAME);
        assert!(said.contains(expected), "{said}");
        assert!(hub.seen().len() <= 20);
    }
    let hub = Server::start(|_| Reply::status(302));
    assert!(User::of(&hub).refusal(NAME).ends_with("redirects to nowhere"));
}

#[test]
fn what_is_no_http_is_refused_in_a_line() {
    for raw in [
        &b"\x1b[2J\x00\x01"[..],
        b"HTTP/1.1 999999 x\r\n\r\n",
        b"HTTP/1.1 200 \x1b[31mred\r\ncontent-length: -5\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
    ] {
        let hub = Server::start(move |_| Reply { raw: Some(raw.to_vec()), ..Reply::default() });
        User::of(&hub).refusal(NAME);
    }
    let hub = Server::start(move |_| {
        let mut raw = b"HTTP/1.1 200 OK\r\n".to_vec();
        (0..200_000).for_each(|i| raw.extend(format!("x-{i}: y\r\n").bytes()));
        Reply { raw: Some(raw), ..Reply::default() }
    });
    User::of(&hub).refusal(NAME);
}

#[test]
fn codes_of_the_hub_are_shown_as_text() {
    let hub = Server::start(|_| Reply::status(418).with("x-error-code", "\u{9b}31m"));
    let said = User::of(&hub).refusal(NAME);
    assert!(said.ends_with("127.0.0.1 refuses (HTTP 418)"), "{said}");
}

#[test]
fn nothing_in_the_store_leads_out_of_it() {
    let hub = Repository::with(&[("m.gguf", &model()), ("n-Q8_0.gguf", &other_model())]).serve();
    let user = User::of(&hub);
    user.pull("hf.co/Org/Repo:m.gguf");
    let names = user.store().folder().join("names");
    let manifest = fs::read_dir(&names).unwrap().next().unwrap().unwrap().path();
    let good = fs::read_to_string(&manifest).unwrap();
    let set = format!("sha256-{}", sha256(&model()));
    for (old, new) in [
        ("\"m.gguf\"", "\"../../../m.gguf\""),
        (set.as_str(), ".."),
        ("\"version\": 1", "\"version\": 2"),
        ("{", ""),
    ] {
        fs::write(&manifest, good.replacen(old, new, 1)).unwrap();
        // It stands for nothing, and nothing of it is removed.
        assert!(user.store().models().unwrap().is_empty(), "{new}");
        assert_eq!(
            (user.store().damaged().unwrap().len(), user.store().unfinished().unwrap()),
            (1, 0),
            "{new}"
        );
    }
    // Other names are as they were, and the same name is had again.
    user.pull("hf.co/Org/Repo:n-Q8_0.gguf");
    assert_eq!((user.store().models().unwrap().len(), user.store().damaged().unwrap().len()), (1, 1));
    user.pull("hf.co/Org/Repo:m.gguf");
    assert_eq!((user.store().models().unwrap().len(), user.store().damaged().unwrap().len()), (2, 0));
    // Or it goes.
    fs::write(&manifest, "").unwrap();
    let name = Name::parse("hf.co/Org/Repo:m.gguf").unwrap().unwrap();
    assert!(user.store().remove_damaged(&name).unwrap() && !user.store().remove_damaged(&name).unwrap());
    assert_eq!((user.store().models().unwrap().len(), user.store().damaged().unwrap().len()), (1, 0));
    // A link in the place of a model's folder is not followed when that is removed.
    let elsewhere = user.folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("kept"), "kept").unwrap();
    let link = user.store().folder().join("blobs").join(format!("sha256-{}", "1".repeat(64)));
    std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
    let models = user.store().models().unwrap();
    user.store().remove(&models).unwrap();
    assert_eq!(fs::read_to_string(elsewhere.join("kept")).unwrap(), "kept");
}
