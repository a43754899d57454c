//! Several processes at once. Locks are of open files, so that threads do as well.

use super::User;
use super::hub::{Repository, model, other_model};
use super::server::Reply;
use std::fs;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

fn slowly(request: &super::server::Request, bytes: &[u8]) -> Option<Reply> {
    Some(Reply { pace: Duration::from_millis(10), ..Reply::file(request, bytes) })
}

#[test]
fn two_that_want_the_same_fetch_it_once() {
    let count = Mutex::new(0);
    let hub = Repository::with(&[("m.gguf", &model())])
        .fault("blobs/m.gguf", move |request, bytes| {
            let mut count = count.lock().unwrap();
            *count += 1;
            assert_eq!(*count, 1, "fetched twice");
            drop(count);
            slowly(request, bytes)
        })
        .serve();
    let user = User::of(&hub);
    thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(|| user.pull("hf.co/Org/Repo"))).collect();
        for one in all {
            assert_eq!(fs::read(one.join().unwrap().path()).unwrap(), model());
        }
    });
    assert_eq!(user.store().models().unwrap().len(), 1);
    assert!(user.files("growing").is_empty());
}

#[test]
fn others_are_fetched_and_removed_meanwhile() {
    let hub = Repository::with(&[("m-Q4_0.gguf", &model()), ("m-Q8_0.gguf", &other_model())])
        .fault("blobs/m-Q8_0.gguf", slowly)
        .serve();
    let user = User::of(&hub);
    thread::scope(|scope| {
        let slow = scope.spawn(|| user.pull("hf.co/Org/Repo:Q8_0"));
        for _ in 0..10 {
            let quick = user.pull("hf.co/Org/Repo:Q4_0");
            assert_eq!(fs::read(quick.path()).unwrap(), model());
            user.store().remove(&[quick]).unwrap();
            user.store().remove_unfinished().unwrap();
        }
        assert_eq!(fs::read(slow.join().unwrap().path()).unwrap(), other_model());
    });
    assert_eq!(user.store().models().unwrap().len(), 1);
}
