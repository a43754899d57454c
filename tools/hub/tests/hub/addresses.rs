//! Models of web servers that are no hub.

use super::User;
use super::hub::{model, part, sha256};
use super::server::{Reply, Server};
use siskin_hub::{Name, Options, pull};
use std::fs;
use std::sync::Mutex;

#[test]
fn an_address_is_a_name() {
    let server = Server::start(|request| Reply::file(request, &model()).with("etag", "\"1\""));
    let user = User::of(&server);
    let name = format!("{}/models/Tiny-Q4_0.gguf?key=1", server.address());
    let model = user.pull(&name);
    assert_eq!((model.name.as_str(), model.quantization.as_str()), (name.as_str(), "Q4_0"));
    assert_eq!(fs::read(model.path()).unwrap(), super::hub::model());
    assert_eq!(server.seen().len(), 1, "the answer that says its length has the file in it");
    assert!(user.try_pull(&name).unwrap().was_here);
    let found = user.store().find(&Name::parse(&name).unwrap().unwrap()).unwrap();
    assert!(matches!(found, siskin_hub::Found::Model(_)));
}

#[test]
fn what_was_cut_is_gone_on_with_if_it_is_still_the_same_file() {
    let cut = |request: &_, bytes: &[u8], tag: &str| Reply {
        cut: Some(20_000),
        ..Reply::file(request, bytes).with("etag", tag)
    };
    let server = Server::start(move |request| match request.from() {
        0 | 20_000 => cut(request, &model(), "\"1\""),
        _ => Reply::file(request, &model()).with("etag", "\"1\""),
    });
    let user = User::of(&server);
    let name = format!("{}/m.gguf", server.address());
    assert_eq!(fs::read(user.pull(&name).path()).unwrap(), model());
    assert_eq!(server.seen()[2].header("if-range"), Some("\"1\""));
    // The owner changes it meanwhile, to one that is as long: `If-Range` makes the server send all of it.
    let mut changed = model();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    let (new, first) = (changed.clone(), Mutex::new(true));
    let server = Server::start(move |request| {
        let mut first = first.lock().unwrap();
        if std::mem::take(&mut *first) {
            return cut(request, &model(), "\"1\"");
        }
        assert_eq!(request.header("if-range"), Some("\"1\""));
        Reply::status(200).body(&*new).with("etag", "\"2\"")
    });
    let user = User::of(&server);
    assert_eq!(fs::read(user.pull(&format!("{}/m.gguf", server.address())).path()).unwrap(), changed);
}

#[test]
fn nothing_is_put_together_of_what_may_be_two_files() {
    for tag in [None, Some("W/\"weak\"")] {
        let first = Mutex::new(true);
        let server = Server::start(move |request| {
            assert_eq!(request.header("range"), None);
            let whole = Reply::file(request, &model());
            let reply = tag.map_or(whole.clone(), |tag| whole.with("etag", tag));
            let cut = std::mem::take(&mut *first.lock().unwrap()).then_some(20_000);
            Reply { cut, ..reply }
        });
        let user = User::of(&server);
        assert_eq!(fs::read(user.pull(&format!("{}/m.gguf", server.address())).path()).unwrap(), model());
    }
}

#[test]
fn the_other_parts_are_fetched_too() {
    let server = Server::start(|request| match request.target.as_str() {
        "/x/m-00001-of-00002.gguf?k" => Reply::file(request, &part(0)),
        "/x/m-00002-of-00002.gguf?k" => Reply::file(request, &part(1)),
        _ => Reply::status(404),
    });
    let user = User::of(&server);
    let fetched = user.pull(&format!("{}/x/m-00002-of-00002.gguf?k", server.address()));
    assert_eq!(fetched.files.len(), 2);
    assert_eq!(fs::read(fetched.path()).unwrap(), part(0));
    let user = User::of(&server);
    let said = user.refusal(&format!("{}/x/m-00001-of-00003.gguf?k", server.address()));
    assert!(said.ends_with("127.0.0.1 has no such file (HTTP 404)"), "{said}");
    let said = user.refusal(&format!("{}/x/m-00001-of-99999.gguf", server.address()));
    assert!(said.ends_with("it has 99999 parts, at most 1024 are fetched"), "{said}");
}

#[test]
fn a_hash_may_be_given() {
    let server = Server::start(|request| Reply::file(request, &model()));
    let user = User::of(&server);
    let name = Name::parse(&format!("{}/m.gguf", server.address())).unwrap().unwrap();
    let with = |hash: &str| {
        let options = Options { sha256: Some(hash.into()), ..Options::default() };
        pull(&user.store(), &name, &user.settings(), &options, &|_| ()).map_err(|error| format!("{error:#}"))
    };
    assert!(with("12").unwrap_err().ends_with("12: expected a SHA-256, 64 hexadecimal digits"));
    assert!(with(&"0".repeat(64)).unwrap_err().contains("is damaged and was not kept"));
    assert!(user.store().models().unwrap().is_empty());
    assert!(!with(&sha256(&model()).to_uppercase()).unwrap().was_here);
    let hub = Name::parse("hf.co/a/b").unwrap().unwrap();
    let options = Options { sha256: Some("0".repeat(64)), ..Options::default() };
    assert!(pull(&user.store(), &hub, &user.settings(), &options, &|_| ()).is_err());
}

#[test]
fn what_cannot_be_bounded_or_used_is_refused() {
    let endless = |_: &_| Reply { raw: Some(b"HTTP/1.1 200 OK\r\n\r\nGGUF".to_vec()), ..Reply::default() };
    let server = Server::start(endless);
    let said = User::of(&server).refusal(&format!("{}/m.gguf", server.address()));
    assert!(said.ends_with("the server does not say how long the file is"), "{said}");
    let server = Server::start(|_| Reply::status(200).body("<html>Sign in</html>"));
    let said = User::of(&server).refusal(&format!("{}/m.gguf", server.address()));
    assert!(said.ends_with("expected a GGUF file, the server sends a page of the web"), "{said}");
    let server = Server::start(|_| Reply::status(200));
    let said = User::of(&server).refusal(&format!("{}/m.gguf", server.address()));
    assert!(said.contains("is no model that can be used"), "{said}");
}
