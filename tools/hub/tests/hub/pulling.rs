//! What is fetched when all goes well, and what becomes of it.

use super::User;
use super::hub::{Repository, model, other_model, part, sha256};
use super::server::Server;
use siskin::gguf::Gguf;
use siskin_hub::{Found, Name};
use std::fs;
use std::os::unix::fs::MetadataExt;

fn served() -> Server {
    Repository::with(&[
        ("README.md", b"text"),
        ("Tiny-Q8_0.gguf", &other_model()),
        ("Tiny-Q4_K_M.gguf", &model()),
        ("mmproj-Tiny-F16.gguf", &model()),
    ])
    .serve()
}

#[test]
fn a_model_is_fetched_and_found_by_its_name() {
    let hub = served();
    let user = User::of(&hub);
    let pulled = user.try_pull("hf:org/repo").unwrap();
    assert!(!pulled.was_here);
    let fetched = pulled.model;
    assert_eq!((fetched.name.as_str(), fetched.quantization.as_str()), ("hf.co/Org/Repo:Q4_K_M", "Q4_K_M"));
    assert_eq!(fs::read(fetched.path()).unwrap(), model());
    assert_eq!(fetched.files[0].sha256, sha256(&model()));
    assert!(fetched.path().ends_with(format!("blobs/sha256-{}/Tiny-Q4_K_M.gguf", sha256(&model()))));
    let store = user.store();
    for name in ["hf.co/Org/Repo", "hf.co/ORG/repo:q4_k_m", "huggingface.co/org/repo:tiny-q4_k_m.gguf"] {
        let name = Name::parse(name).unwrap().unwrap();
        let found = store.find(&name).unwrap().one(&name).unwrap().unwrap();
        assert_eq!(found.path(), fetched.path());
        assert!(found.is_complete());
    }
    for name in ["hf.co/Org/Repo:Q8_0", "hf.co/Org/Other", "hf.co/Org/Repo:mmproj-Tiny-F16.gguf"] {
        assert!(
            matches!(store.find(&Name::parse(name).unwrap().unwrap()).unwrap(), Found::Nothing),
            "{name}"
        );
    }
    // Nothing is left of its making, and nobody else may look.
    assert!(user.files("growing").is_empty());
    for part in ["", "blobs", "names"] {
        assert_eq!(fs::metadata(store.folder().join(part)).unwrap().mode() & 0o777, 0o700, "{part}");
    }
}

#[test]
fn what_is_here_is_not_fetched_again_and_what_changed_is() {
    let hub = served();
    let user = User::of(&hub);
    let first = user.pull("hf.co/Org/Repo:Q8_0");
    let asked = hub.seen().len();
    assert!(user.try_pull("hf.co/Org/Repo:Q8_0").unwrap().was_here);
    assert_eq!(hub.seen().len(), asked + 1, "only what the repository has");
    // Its owner puts another file there.
    let changed = Repository::with(&[("Tiny-Q8_0.gguf", &model())]).serve();
    let user = User { variables: vec![("HF_ENDPOINT".into(), changed.address())], ..user };
    let second = user.try_pull("hf.co/Org/Repo:Q8_0").unwrap();
    assert!(!second.was_here);
    assert_eq!(fs::read(second.model.path()).unwrap(), model());
    assert!(!first.path().exists(), "no name stands for it any more");
    assert_eq!(user.store().models().unwrap().len(), 1);
}

#[test]
fn parts_are_fetched_together_and_lie_side_by_side() {
    let (one, two) = (part(0), part(1));
    let hub = Repository::with(&[
        ("Q4_0/Big-Q4_0-00002-of-00002.gguf", &two),
        ("Q4_0/Big-Q4_0-00001-of-00002.gguf", &one),
    ])
    .serve();
    let user = User::of(&hub);
    let model = user.pull("hf.co/Org/Repo:q4_0");
    assert_eq!(model.name, "hf.co/Org/Repo:Q4_0");
    assert_eq!(model.bytes(), (one.len() + two.len()) as u64);
    assert!(model.path().ends_with("Big-Q4_0-00001-of-00002.gguf"));
    assert_eq!(fs::read(model.path()).unwrap(), one);
    assert_eq!(fs::read(model.path().with_file_name("Big-Q4_0-00002-of-00002.gguf")).unwrap(), two);
    assert_eq!(Gguf::open(&model.path()).unwrap().tensors().len(), 2);
}

#[test]
fn parts_that_are_none_are_not_kept() {
    let (whole, one, two) = (model(), part(0), part(1));
    for (files, expected) in [
        ([&whole, &whole], "says nothing of others"),
        ([&one, &one], "key \"split.no\": expected 1 as of a shard beside"),
        ([&two, &one], "expected a name that ends with \"-00002-of-00002.gguf\""),
    ] {
        let hub =
            Repository::with(&[("m-00001-of-00002.gguf", files[0]), ("m-00002-of-00002.gguf", files[1])]);
        let hub = hub.serve();
        let said = User::of(&hub).refusal("hf.co/Org/Repo");
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn what_there_is_is_said_where_the_tag_is_not_there() {
    let user = User::of(&served());
    assert_eq!(user.refusal("hf.co/Org/Repo:Q2_K"), "hf.co/Org/Repo:Q2_K: it has Q4_K_M, Q8_0");
    let said = user.refusal("hf.co/Org/Repo:mmproj-Tiny-F16.gguf");
    assert!(said.ends_with("mmproj-Tiny-F16.gguf is no language model by itself"), "{said}");
}

#[test]
fn a_removed_model_stays_with_who_runs_it_and_with_other_names() {
    let (hub, bytes) = (served(), model());
    let address = Server::start({
        let bytes = bytes.clone();
        move |request| super::server::Reply::file(request, &bytes)
    });
    let user = User::of(&hub);
    let named = user.pull("hf.co/Org/Repo");
    let twin = user.pull(&format!("{}/same.gguf", address.address()));
    assert_eq!(named.path(), twin.path());
    let store = user.store();
    assert_eq!(store.remove(&[named]).unwrap().freed, 0);
    let mapped = Gguf::open(&twin.path()).unwrap();
    let tensors = mapped.tensors().len();
    let removed = store.remove(std::slice::from_ref(&twin)).unwrap();
    assert_eq!((removed.freed, removed.names.len()), (bytes.len() as u64, 1));
    assert!(!twin.path().exists() && user.files("").iter().all(|file| file == "lock"));
    assert_eq!(
        mapped.tensors().iter().map(|tensor| mapped.data(tensor).len()).filter(|&n| n > 0).count(),
        tensors
    );
}

#[test]
fn several_of_a_repository_are_told_apart() {
    let hub = Repository::with(&[("a-F16.gguf", &model()), ("a-Q5_0.gguf", &other_model())]).serve();
    let user = User::of(&hub);
    let said = user.refusal("hf.co/Org/Repo");
    assert_eq!(said, "hf.co/Org/Repo: it has F16, Q5_0");
    user.pull("hf.co/Org/Repo:F16");
    let name = Name::parse("hf.co/Org/Repo").unwrap().unwrap();
    assert!(user.store().find(&name).unwrap().one(&name).unwrap().is_some());
    user.pull("hf.co/Org/Repo:a-q5_0.gguf");
    let error = user.store().find(&name).unwrap().one(&name).unwrap_err().to_string();
    assert_eq!(error, "hf.co/Org/Repo may be any of hf.co/Org/Repo:F16, hf.co/Org/Repo:a-Q5_0.gguf");
    assert_eq!(user.store().alike("Repo:F15").first().map(String::as_str), Some("hf.co/Org/Repo:F16"));
    assert!(user.store().alike("model.gguf").is_empty());
}

#[test]
fn what_a_name_meant_on_the_hub_it_means_here() {
    let (one, two) = (model(), other_model());
    for (files, tag) in [
        (["m-UD-Q4_K_M.gguf", "m-UD-Q8_0.gguf"], "q4_k_m"),
        (["m-i2_s.gguf", "m-F16.gguf"], "i2_s"),
        (["Q5_0/m.gguf", "m-F16.gguf"], "Q5_0"),
        (["m-Q4_0.gguf", "m-F16.gguf"], "m-Q4_0.gguf"),
    ] {
        let hub = Repository::with(&[(files[0], &one), (files[1], &two)]).serve();
        let user = User::of(&hub);
        user.pull(&format!("hf.co/Org/Repo:{}", files[1]));
        let text = format!("hf.co/Org/Repo:{tag}");
        let (name, pulled) = (Name::parse(&text).unwrap().unwrap(), user.pull(&text));
        let found = user.store().find(&name).unwrap().one(&name).unwrap().unwrap();
        assert_eq!(found.path(), pulled.path(), "{text}");
        assert_eq!(fs::read(found.path()).unwrap(), one);
        assert!(user.try_pull(&text).unwrap().was_here);
        // By its file's name it is the same.
        let twin = user.pull(&format!("hf.co/Org/Repo:{}", files[0]));
        assert_eq!(twin.path(), pulled.path());
        let found = user.store().find(&name).unwrap().one(&name).unwrap().unwrap();
        assert_eq!(found.path(), pulled.path(), "{text}");
    }
}
