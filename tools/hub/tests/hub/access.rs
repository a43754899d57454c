//! Who is told what: tokens, licences, proxies, and nobody when offline.

use super::User;
use super::hub::{Repository, model};
use super::server::{Reply, Server};
use std::fs;

const NAME: &str = "hf.co/Org/Repo";

#[test]
fn the_token_is_told_to_the_hub_alone() {
    let (hub, files) = with_files();
    let user = User::of(&hub).with("HF_TOKEN", "hf_secret");
    assert_eq!(fs::read(user.pull(NAME).path()).unwrap(), model());
    assert!(hub.seen().iter().all(|request| request.header("authorization") == Some("Bearer hf_secret")));
    assert_eq!((hub.seen().len(), files.seen().len()), (2, 1));
    assert!(files.seen().iter().all(|request| !request.headers.contains_key("authorization")));
    // An address is no part of the hub.
    let user = User::of(&hub).with("HF_TOKEN", "hf_secret");
    user.pull(&format!("{}/blobs/m.gguf", files.address()));
    assert!(files.seen().iter().all(|request| !request.headers.contains_key("authorization")));
}

/// A hub that sends whoever asks for a file to a second server of the same host.
fn with_files() -> (Server, std::sync::Arc<Server>) {
    let files = std::sync::Arc::new(Server::start(|request| Reply::file(request, &model())));
    let at = files.address();
    let api = Repository::with(&[("m.gguf", &model())]).serve();
    let api_at = api.address();
    let hub = Server::start(move |request| {
        let _ = &api;
        if request.target.starts_with("/api/") {
            return Reply::status(307).with("location", format!("{api_at}{}", request.target));
        }
        Reply::status(302).with("location", format!("{at}/blobs/m.gguf"))
    });
    (hub, files)
}

#[test]
fn licences_that_must_be_accepted_are_named() {
    let gated = |path: &'static str, status| {
        Repository::with(&[("m.gguf", &model())])
            .fault(path, move |_, _| Some(Reply::status(status).with("x-error-code", "GatedRepo")))
            .serve()
    };
    for (path, status) in [("resolve/m.gguf", 401), ("/api", 403)] {
        let hub = gated(path, status);
        let page = format!("{}/Org/Repo", hub.address());
        assert_eq!(
            User::of(&hub).refusal(NAME),
            format!(
                "hf.co/Org/Repo: its licence must be accepted: visit {page}, then pull again with your token in HF_TOKEN"
            )
        );
        let said = User::of(&hub).with("HF_TOKEN", "hf_x").refusal(NAME);
        assert!(said.contains("with the account of your HF_TOKEN") && !said.contains("hf_x"), "{said}");
    }
}

#[test]
fn refusals_are_told_in_words() {
    for (status, code, token, expected) in [
        (
            401,
            "RepoNotFound",
            "",
            "127.0.0.1 has no such repository; for a private one, HF_TOKEN holds your token",
        ),
        (404, "", "", "127.0.0.1 has no such repository; for a private one, HF_TOKEN holds your token"),
        (
            404,
            "RepoNotFound",
            "t",
            "127.0.0.1 has no such repository, or the account of your HF_TOKEN may not see it",
        ),
        (401, "", "t", "127.0.0.1 does not know the token in HF_TOKEN"),
        (403, "", "", "127.0.0.1 wants to know who asks: put your token into HF_TOKEN"),
        (404, "EntryNotFound", "", "the file is no longer there"),
        (451, "", "", "127.0.0.1 refuses (HTTP 451)"),
    ] {
        let hub = Server::start(move |_| Reply::status(status).with("x-error-code", code));
        let user = User::of(&hub).with("HF_TOKEN", token);
        assert_eq!(user.refusal(NAME), format!("hf.co/Org/Repo: {expected}"));
        assert_eq!(hub.seen().len(), 1);
    }
    let nobody = User::of(&Server::start(|_| Reply::status(200))).with("HF_HUB_OFFLINE", "0");
    // A port where nobody listens any more.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let user = User { variables: vec![("HF_ENDPOINT".into(), format!("http://{closed}"))], ..nobody };
    assert_eq!(user.refusal(NAME), "hf.co/Org/Repo: 127.0.0.1: the connection was refused");
}

#[test]
fn proxies_are_asked_as_the_environment_says() {
    let hub = Repository::with(&[("m.gguf", &model())]).serve();
    let proxy = Server::proxy();
    let user = User::of(&hub).with("HTTP_PROXY", &format!("http://user:p%40ss@127.0.0.1:{}", proxy.port()));
    assert_eq!(fs::read(user.pull(NAME).path()).unwrap(), model());
    let seen = proxy.seen();
    assert!(seen.len() >= 3 && seen.iter().all(|request| request.method == "CONNECT"));
    assert_eq!(seen[0].header("proxy-authorization"), Some("Basic dXNlcjpwQHNz"));
    assert!(hub.seen().iter().all(|request| !request.headers.contains_key("proxy-authorization")));
    for (name, value) in [("HTTPS_PROXY", ""), ("HTTP_PROXY", "127.0.0.1, localhost")] {
        let proxy = Server::proxy();
        let address = format!("http://127.0.0.1:{}", proxy.port());
        // That of another scheme, and one that these hosts are not asked through.
        let user = User::of(&hub).with(name, &address).with("NO_PROXY", value);
        user.pull(NAME);
        assert!(proxy.seen().is_empty(), "{name}");
    }
    let refusing = Server::start(|_| Reply::status(407));
    let user = User::of(&hub).with("ALL_PROXY", &refusing.address());
    let said = user.refusal(NAME);
    assert!(said.starts_with("hf.co/Org/Repo: the proxy for 127.0.0.1 fails"), "{said}");
}

#[test]
fn offline_nobody_is_asked() {
    let hub = Repository::with(&[("m.gguf", &model())]).serve();
    let user = User::of(&hub).with("HF_HUB_OFFLINE", "1");
    assert_eq!(user.refusal(NAME), "hf.co/Org/Repo is not here, and HF_HUB_OFFLINE says to ask nobody");
    assert!(hub.seen().is_empty());
    let online = User { variables: vec![("HF_ENDPOINT".into(), hub.address())], ..user };
    let fetched = online.pull(NAME);
    let asked = hub.seen().len();
    let offline = online.with("HF_HUB_OFFLINE", "1");
    let here = offline.try_pull(NAME).unwrap();
    assert!(here.was_here);
    assert_eq!((here.model.path(), hub.seen().len()), (fetched.path(), asked));
}
