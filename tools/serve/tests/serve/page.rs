//! The page for people: its files, what browsers are told of them, and the figures that it shows.

use crate::client::{Reply, ask_with, get, post};
use crate::{server, start};
use serde_json::json;
use ureq::Agent;
use ureq::http::Request;

const BROWSER: [(&str, &str); 1] = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];

/// A header of the answer to a GET.
pub(crate) fn header(url: &str, headers: &[(&str, &str)], name: &str) -> (u16, String) {
    let agent: Agent = Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = Request::builder().uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = agent.run(request.body(()).unwrap()).unwrap();
    let value = response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    (response.status().as_u16(), value.unwrap_or_default())
}

#[test]
fn browsers_get_the_page_and_programs_the_text() {
    let root = format!("{}/", server());
    let page = ask_with("GET", &root, &BROWSER, None);
    assert_eq!((page.status, page.kind.as_str()), (200, "text/html; charset=utf-8"));
    assert!(page.body.starts_with("<!doctype html>"), "{}", page.body);
    for accept in [&[("accept", "*/*")][..], &[]] {
        let Reply { status, kind, body } = ask_with("GET", &root, accept, None);
        assert_eq!((status, kind.as_str()), (200, "text/plain; charset=utf-8"));
        assert!(body.ends_with("Ollama is running"), "{body}");
    }
    assert_eq!(header(&root, &BROWSER, "vary"), (200, "accept".to_owned()));
}

#[test]
fn a_file_of_the_page_has_its_type_and_is_sent_once() {
    for (name, kind) in [
        ("style.css", "text/css; charset=utf-8"),
        ("app.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ] {
        let url = format!("{}/page/{name}", server());
        assert_eq!(header(&url, &[], "content-type"), (200, kind.to_owned()));
        assert_eq!(header(&url, &[], "x-content-type-options"), (200, "nosniff".to_owned()));
        assert_eq!(header(&url, &[], "cache-control"), (200, "no-cache".to_owned()));
        let (_, tag) = header(&url, &[], "etag");
        assert!(tag.len() > 16 && tag.starts_with('"') && tag.ends_with('"'), "{tag}");
        let again = ask_with("GET", &url, &[("if-none-match", &tag)], None);
        assert_eq!((again.status, again.body.as_str()), (304, ""));
        assert_eq!(ask_with("GET", &url, &[("if-none-match", "\"other\"")], None).status, 200);
    }
    let missing = get(&format!("{}/page/missing.js", server()));
    assert_eq!(
        (missing.status, missing.json()["error"]["message"].clone()),
        (404, json!("there is nothing at /page/missing.js"))
    );
}

#[test]
fn the_page_may_load_what_is_of_this_server_alone() {
    let root = format!("{}/", server());
    let (_, policy) = header(&root, &BROWSER, "content-security-policy");
    let directives: Vec<&str> = policy.split(';').map(str::trim).collect();
    for wanted in [
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(directives.contains(&wanted), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
}

#[test]
fn the_page_needs_no_key_and_its_figures_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let keys = json!({"keys": [{"name": "kitchen", "key": "sk-1234-kitchen"}, {"name": "garage", "key": "sk-1234-garage"}]});
    std::fs::write(&file, keys.to_string()).unwrap();
    let server = start(|options| options.keys = Some(file.clone()));
    assert_eq!(ask_with("GET", &format!("{server}/"), &BROWSER, None).status, 200);
    assert_eq!(get(&format!("{server}/page/app.js")).status, 200);
    let status = format!("{server}/siskin/status");
    assert_eq!(get(&status).status, 401);
    let kitchen = [("authorization", "Bearer sk-1234-kitchen")];
    let garage = [("authorization", "Bearer sk-1234-garage")];
    let chat = format!("{server}/v1/chat/completions");
    assert_eq!(ask_with("POST", &chat, &kitchen, Some("{\"messages\": 3}")).status, 400);
    let errors = |key: &[(&str, &str)]| ask_with("GET", &status, key, None).ok()["errors"].clone();
    let seen = errors(&kitchen);
    assert_eq!((&seen[0]["status"], &seen[0]["path"]), (&json!(400), &json!("/v1/chat/completions")));
    // What one key asked is no other one's concern.
    assert_eq!(errors(&garage), json!([]));
}

#[test]
fn figures_are_those_of_the_models() {
    let server = start(|options| options.parallel = 3);
    let status = || get(&format!("{server}/siskin/status")).ok();
    let before = status();
    let model = &before["models"][0];
    assert_eq!((&model["name"], &model["figures"]["answers"]), (&json!("demo"), &json!(0)));
    let loaded = &model["loaded"];
    assert_eq!(
        (&loaded["places"], &loaded["context"], &loaded["threads"]),
        (&json!(3), &json!(512), &json!(1))
    );
    assert!(loaded["bytes"].as_u64().unwrap() > 1 << 20, "{before}");
    assert_eq!(before["memory"]["models"], loaded["bytes"]);
    assert!(
        before["machine"]["cpus"].as_u64().unwrap() >= 1 && before["memory"]["total"].is_u64(),
        "{before}"
    );
    assert_eq!(before["errors"], json!([]));
    let body = json!({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4});
    let usage = post(&format!("{server}/v1/chat/completions"), &body).ok()["usage"].clone();
    let figures = status()["models"][0]["figures"].clone();
    assert_eq!((&figures["at_work"], &figures["waiting"]), (&json!(0), &json!(0)));
    assert_eq!((&figures["answers"], &figures["answer_tokens"]), (&json!(1), &usage["completion_tokens"]));
    assert_eq!(figures["prompt_tokens"], usage["prompt_tokens"]);
    post(&format!("{server}/api/generate"), &json!({"model": "demo", "keep_alive": 0})).ok();
    for _ in 0..2 {
        assert_eq!(get(&format!("{server}/nothing")).status, 404);
    }
    let after = status();
    assert_eq!((&after["models"][0]["loaded"], &after["memory"]["models"]), (&json!(null), &json!(0)));
    let error = &after["errors"][0];
    assert_eq!((&error["message"], &error["count"]), (&json!("there is nothing at /nothing"), &json!(2)));
}
