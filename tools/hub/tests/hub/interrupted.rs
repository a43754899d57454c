//! Connections that are cut, servers that fail for a while, and what an earlier run has left.

use super::User;
use super::hub::{Repository, model};
use super::server::{Reply, Request, Server};
use siskin_hub::{Name, Options, pull};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

const NAME: &str = "hf.co/Org/Repo";

#[test]
fn what_was_cut_is_gone_on_with() {
    let hub = Repository::with(&[("m.gguf", &model())])
        .fault_times("blobs/m.gguf", 7, |request, bytes| Reply {
            cut: Some(10_000),
            ..Reply::file(request, bytes).with("etag", "\"same\"")
        })
        .serve();
    let user = User::of(&hub);
    assert_eq!(fs::read(user.pull(NAME).path()).unwrap(), model());
    let ranges: Vec<_> =
        hub.seen().iter().filter_map(|request| request.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges.len(), 7);
    assert_eq!((ranges[0].as_str(), ranges[6].as_str()), ("bytes=10000-", "bytes=70000-"));
    assert!(hub.seen().iter().skip(2).all(|request| request.header("if-range") == Some("\"same\"")));
}

/// Bytes that came before already are no progress, and hardly any are too little.
#[test]
fn a_server_that_always_cuts_early_is_given_up() {
    let cut = |request: &Request, cut| Reply { cut: Some(cut), ..Reply::file(request, &model()) };
    let begun = Instant::now();
    let anew = Server::start(move |_| Reply { cut: Some(8), ..Reply::status(200).body(model()) });
    let parts = Server::start(move |request| cut(request, 1).with("etag", "\"same\""));
    let empty = Server::start(move |request| cut(request, 0));
    for (server, tries) in [(&anew, 6), (&parts, 6), (&empty, 6)] {
        let user = User::of(server);
        let said = user.refusal(&format!("{}/m.gguf", server.address()));
        assert!(said.ends_with("the connection was cut, also when asked again"), "{said}");
        assert_eq!(server.seen().len(), tries);
    }
    // Each time a pause, and each twice as long.
    assert!(begun.elapsed() >= Duration::from_millis(3 * 62), "{:?}", begun.elapsed());
}

#[test]
fn a_pull_can_be_stopped() {
    let server = Server::start(|_| Reply::status(503));
    let user = User::of(&server);
    let name = Name::parse(&format!("{}/m.gguf", server.address())).unwrap().unwrap();
    let options = Options::default();
    let stop = options.stop.clone();
    let settings = user.settings().waiting(Duration::from_secs(2));
    let begun = Instant::now();
    let pulling = thread::spawn({
        let store = user.store();
        move || pull(&store, &name, &settings, &options, &|_| ()).map(|_| ()).unwrap_err().to_string()
    });
    while server.seen().is_empty() {
        thread::sleep(Duration::from_millis(5));
    }
    stop.set();
    let said = pulling.join().unwrap();
    assert!(said.contains("m.gguf"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn what_is_refused_leaves_nothing() {
    let huge = |_: &Request| Reply { announced: Some(1 << 60), ..Reply::status(200) };
    let junk = |_: &Request| Reply::status(200).body("hello".repeat(100));
    for server in [Server::start(huge), Server::start(junk)] {
        let user = User::of(&server);
        user.refusal(&format!("{}/m.gguf", server.address()));
        let growing = user.store().folder().join("growing");
        assert_eq!(fs::read_dir(growing).unwrap().count(), 0);
    }
}

#[test]
fn servers_that_give_no_parts_or_wrong_ones_give_the_whole() {
    let bytes = model();
    let wrong: [fn(&[u8], usize) -> Reply; 5] = [
        |bytes, _| Reply::status(200).body(bytes),
        |bytes, from| {
            let range = format!("bytes {}-{}/{}", from - 1, bytes.len() - 1, bytes.len());
            Reply::status(206).with("content-range", range).body(&bytes[from..])
        },
        |bytes, from| {
            let range = format!("bytes {from}-{}/{}", bytes.len(), bytes.len() + 1);
            Reply::status(206).with("content-range", range).body(&bytes[from..])
        },
        |bytes, from| Reply::status(206).body(&bytes[from..]),
        |bytes, _| Reply::status(416).with("content-range", format!("bytes */{}", bytes.len())),
    ];
    for (index, wrong) in wrong.into_iter().enumerate() {
        let hub = Repository::with(&[("m.gguf", &bytes)])
            .fault("blobs/m.gguf", move |request, bytes| match request.from() {
                0 => None,
                from => Some(wrong(bytes, from)),
            })
            .fault_times("blobs/m.gguf", 1, |request, bytes| Reply {
                cut: Some(5000),
                ..Reply::file(request, bytes)
            })
            .serve();
        let user = User::of(&hub);
        assert_eq!(fs::read(user.pull(NAME).path()).unwrap(), bytes, "{index}");
    }
}

#[test]
fn what_an_earlier_run_left_is_used_and_anew_where_it_is_damaged() {
    for damaged in [false, true] {
        let failing = Repository::with(&[("m.gguf", &model())])
            .fault("blobs/m.gguf", |request, bytes| match request.from() {
                0 => Some(Reply { cut: Some(30_000), ..Reply::file(request, bytes) }),
                _ => Some(Reply::status(503)),
            })
            .serve();
        let user = User::of(&failing);
        let said = user.refusal(NAME);
        assert!(said.ends_with("fails (HTTP 503), also when asked again"), "{said}");
        assert_eq!(user.store().unfinished().unwrap(), 30_000);
        if damaged {
            let growing = user.store().folder().join("growing");
            let set = fs::read_dir(growing).unwrap().next().unwrap().unwrap().path();
            let mut bytes = fs::read(set.join("m.gguf")).unwrap();
            bytes[20_000] ^= 1;
            fs::write(set.join("m.gguf"), bytes).unwrap();
        }
        let hub = Repository::with(&[("m.gguf", &model())]).serve();
        let user = User { variables: vec![("HF_ENDPOINT".into(), hub.address())], ..user };
        assert_eq!(fs::read(user.pull(NAME).path()).unwrap(), model());
        assert_eq!(hub.seen()[1].header("range"), Some("bytes=30000-"));
        assert_eq!(hub.seen().len(), if damaged { 3 } else { 2 });
        assert_eq!(user.store().unfinished().unwrap(), 0);
    }
}

#[test]
fn servers_that_fail_for_a_while_are_asked_again() {
    for (status, path) in
        [(500, "/api"), (502, "resolve/m.gguf"), (429, "/api"), (504, "blobs/m.gguf"), (408, "/api")]
    {
        let hub = Repository::with(&[("m.gguf", &model())])
            .fault_times(path, 4, move |_, _| Reply::status(status))
            .serve();
        assert_eq!(fs::read(User::of(&hub).pull(NAME).path()).unwrap(), model(), "{status}");
    }
}

#[test]
fn a_server_says_how_long_to_wait() {
    let hub = Repository::with(&[("m.gguf", &model())])
        .fault_times("/api", 1, |_, _| Reply::status(429).with("retry-after", "1"))
        .serve();
    let begun = Instant::now();
    User::of(&hub).pull(NAME);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let hub = Repository::with(&[("m.gguf", &model())])
        .fault("/api", |_, _| Some(Reply::status(429).with("retry-after", "3600")))
        .serve();
    let said = User::of(&hub).refusal(NAME);
    assert_eq!(said, "hf.co/Org/Repo: 127.0.0.1 has been asked too often (HTTP 429): try again in 3600 s");
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for() {
    let quiet = |_: &_, _: &[u8]| Reply { silence: Some(Duration::from_secs(20)), ..Reply::default() };
    let hub = Repository::with(&[("m.gguf", &model())]).fault_times("blobs/m.gguf", 1, quiet).serve();
    let user = User::of(&hub).with("HF_HUB_DOWNLOAD_TIMEOUT", "1");
    let begun = Instant::now();
    assert_eq!(fs::read(user.pull(NAME).path()).unwrap(), model());
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn what_was_not_fetched_to_its_end_can_be_removed() {
    let hub = Repository::with(&[("m.gguf", &model())])
        .fault_times("blobs/m.gguf", 1, |request, bytes| Reply {
            cut: Some(1000),
            ..Reply::file(request, bytes)
        })
        .fault("blobs/m.gguf", |_, _| Some(Reply::status(500)))
        .serve();
    let user = User::of(&hub);
    user.refusal(NAME);
    let store = user.store();
    assert_eq!(store.unfinished().unwrap(), 1000);
    assert_eq!(store.remove_unfinished().unwrap(), 1000);
    assert_eq!((store.unfinished().unwrap(), user.files("growing").len()), (0, 0));
}

/// A process may end when all is there but the name.
#[test]
fn what_has_no_name_yet_gets_it_without_being_fetched_again() {
    let hub = Repository::with(&[("m.gguf", &model())]).serve();
    let user = User::of(&hub);
    let fetched = user.pull(NAME);
    let (length, names) = (model().len() as u64, user.store().folder().join("names"));
    for damaged in [false, true] {
        fs::remove_dir_all(&names).unwrap();
        assert_eq!(user.store().unfinished().unwrap(), length);
        if damaged {
            fs::write(fetched.path(), vec![0; model().len()]).unwrap();
        }
        let asked = hub.seen().len();
        assert_eq!(fs::read(user.pull(NAME).path()).unwrap(), model());
        assert_eq!(hub.seen().len() - asked, if damaged { 2 } else { 1 });
        assert_eq!(user.store().unfinished().unwrap(), 0);
    }
    fs::remove_dir_all(&names).unwrap();
    assert_eq!(user.store().remove_unfinished().unwrap(), length);
    assert!(user.files("blobs").is_empty());
}
