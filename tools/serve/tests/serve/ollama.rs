//! Ollama's API.

use crate::client::{ask, get, post};
use crate::{server, start};
use serde_json::{Value, json};

fn at(path: &str) -> String {
    format!("{}{path}", server())
}

#[test]
fn it_is_there() {
    let reply = get(&at("/"));
    assert_eq!((reply.status, reply.body.ends_with("Ollama is running")), (200, true), "{reply:?}");
    let head = ask("HEAD", &at("/"), None);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let version = get(&at("/api/version")).ok()["version"].as_str().unwrap().to_owned();
    assert!(version.starts_with("0.") && version.contains("siskin"), "{version}");
}

#[test]
fn models_are_listed_and_shown() {
    let tags = get(&at("/api/tags")).ok();
    let model = &tags["models"][0];
    let bytes = crate::demo().metadata().unwrap().len();
    assert_eq!((&model["name"], &model["model"]), (&json!("demo:latest"), &json!("demo:latest")));
    assert_eq!(model["size"], json!(bytes));
    assert_eq!(model["digest"].as_str().unwrap().len(), 64);
    assert_eq!(model["details"]["format"], "gguf");

    let shown = post(&at("/api/show"), &json!({"model": "demo"})).ok();
    assert_eq!(shown["details"], model["details"]);
    assert_eq!(shown["model_info"]["general.architecture"], model["details"]["family"]);
    assert_eq!(shown["model_info"]["tokenizer.ggml.tokens"], Value::Null);
    assert!(shown["template"].as_str().unwrap().contains("{%"), "{}", shown["template"]);
    assert!(shown["capabilities"].as_array().unwrap().contains(&json!("completion")));
    let verbose = post(&at("/api/show"), &json!({"name": "demo", "verbose": true})).ok();
    assert!(verbose["model_info"]["tokenizer.ggml.tokens"].as_array().unwrap().len() > 256);
}

#[test]
fn a_model_is_loaded_and_unloaded_by_requests_without_a_prompt() {
    let server = start(|_| {});
    let names = || get(&format!("{server}/api/ps")).ok()["models"].as_array().unwrap().clone();
    // The first model is there from the start.
    assert_eq!(names().len(), 1);
    for path in ["/api/chat", "/api/generate"] {
        let ask = |keep_alive: Value| {
            post(&format!("{server}{path}"), &json!({"model": "demo", "keep_alive": keep_alive})).ok()
        };
        assert_eq!(ask(json!(0))["done_reason"], "unload");
        assert!(names().is_empty());
        let loaded = ask(json!("10m"));
        assert_eq!((&loaded["done"], &loaded["done_reason"]), (&json!(true), &json!("load")));
        let running = names();
        assert_eq!(running[0]["name"], "demo:latest");
        assert_eq!(running[0]["context_length"], 512);
        assert!(running[0]["size"].as_u64().unwrap() > 1 << 20, "{running:?}");
        let now = humantime::format_rfc3339_nanos(std::time::SystemTime::now()).to_string();
        assert!(running[0]["expires_at"].as_str().unwrap() > now.as_str());
    }
}

#[test]
fn an_answer_ends_with_what_it_took() {
    let body = json!({"model": "demo", "messages": [{"role": "user", "content": "Hello"}],
        "options": {"num_predict": 3, "temperature": 0}});
    let lines = post(&at("/api/chat"), &body).lines();
    let (last, pieces) = lines.split_last().unwrap();
    assert!(pieces.iter().all(|piece| piece["done"] == json!(false)), "{pieces:?}");
    assert_eq!((&last["done"], &last["done_reason"]), (&json!(true), &json!("length")));
    assert_eq!(last["eval_count"], 3);
    assert!(last["prompt_eval_count"].as_u64().unwrap() > 1);
    for field in ["total_duration", "load_duration", "prompt_eval_duration", "eval_duration"] {
        assert!(last[field].is_u64(), "{field}: {last}");
    }
    assert!(last["total_duration"].as_u64() >= last["eval_duration"].as_u64());
    let stopped = json!({"model": "demo", "prompt": "Hello", "stream": false,
        "options": {"temperature": 0, "stop": ["e"]}});
    let stopped = post(&at("/api/generate"), &stopped).ok();
    assert_eq!(stopped["done_reason"], "stop");
    assert!(!stopped["response"].as_str().unwrap().contains('e'));
}

#[test]
fn a_conversation_that_outgrows_the_context_loses_its_oldest_turns() {
    let turn = |n: usize| {
        let said = format!("This is number {n} of what we said. ").repeat(4);
        [json!({"role": "user", "content": said}), json!({"role": "assistant", "content": said})]
    };
    let ask = |turns: usize, more: Value| {
        let system = json!({"role": "system", "content": "You are a bird."});
        let question = json!({"role": "user", "content": "who are you"});
        let messages: Vec<Value> =
            [system].into_iter().chain((0..turns).flat_map(turn)).chain([question]).collect();
        let mut body = json!({"messages": messages, "stream": false, "options": {"num_predict": 4}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post(&at("/api/chat"), &body)
    };
    let long = ask(40, json!({})).ok();
    let tokens = long["prompt_eval_count"].as_u64().unwrap();
    assert!((128..512).contains(&tokens), "{long}");
    // The next question finds there what this one began with.
    let next = ask(40, json!({"options": {"num_predict": 5}})).ok();
    assert!(next["cached_tokens"].as_u64().unwrap() >= tokens - 1, "{next}");
    let refused = ask(40, json!({"truncate": false}));
    assert!(refused.status == 400 && refused.body.contains("the context has room for 512"), "{refused:?}");
    assert_eq!(ask(0, json!({"truncate": 3})).status, 400);
}

#[test]
fn probabilities_come_with_the_text() {
    let body = json!({"model": "demo", "prompt": "Hello", "logprobs": true, "top_logprobs": 2,
        "options": {"num_predict": 4, "temperature": 0}});
    let lines = post(&at("/api/generate"), &body).lines();
    let all: Vec<&Value> = lines.iter().filter_map(|line| line["logprobs"].as_array()).flatten().collect();
    assert_eq!(all.len(), 4);
    for logprob in all {
        assert_eq!(logprob["top_logprobs"].as_array().unwrap().len(), 2);
        assert_eq!(logprob["top_logprobs"][0]["token"], logprob["token"]);
    }
}

#[test]
fn a_raw_prompt_goes_on_as_it_is() {
    let generate = |raw: bool| {
        let body = json!({"model": "demo", "prompt": "A siskin is", "raw": raw, "stream": false,
            "options": {"num_predict": 8, "temperature": 0}});
        post(&at("/api/generate"), &body).ok()
    };
    assert!(generate(true)["prompt_eval_count"].as_u64() < generate(false)["prompt_eval_count"].as_u64());
}

#[test]
fn what_is_wrong_is_said_in_ollama_s_form() {
    let hello = json!([{"role": "user", "content": "Hello"}]);
    for (path, body, status, said) in [
        ("/api/chat", json!({"model": "other", "messages": hello}), 404, "model \"other\" not found"),
        ("/api/chat", json!({"model": "other"}), 404, "model \"other\" not found"),
        ("/api/show", json!({"model": "other"}), 404, "model \"other\" not found"),
        ("/api/generate", json!({"model": "other", "keep_alive": 0}), 404, "model \"other\" not found"),
        ("/api/chat", json!({"messages": "Hello"}), 400, "messages: expected an array"),
        ("/api/chat", json!({"messages": hello, "format": "xml"}), 400, "format: expected"),
        (
            "/api/chat",
            json!({"messages": hello, "tools": [{"type": "function"}]}),
            400,
            "tools[0]: expected an object",
        ),
        ("/api/chat", json!({"messages": hello, "options": {"top_p": 2}}), 400, "top_p"),
        ("/api/chat", json!({"messages": hello, "options": {"top_k": "x"}}), 400, "options.top_k: expected"),
        ("/api/chat", json!({"messages": hello, "keep_alive": "soon"}), 400, "keep_alive: expected"),
        ("/api/generate", json!({"prompt": "a", "context": [1]}), 400, "context: not supported"),
        (
            "/api/generate",
            json!({"prompt": "a", "template": "{{ .Prompt }}"}),
            400,
            "template: not supported",
        ),
        ("/api/generate", json!({"prompt": "a", "images": ["x"]}), 400, "images: only texts"),
        ("/api/nothing", json!({}), 404, "there is nothing at /api/nothing"),
        ("/api/tags", json!({}), 405, "/api/tags takes another method"),
    ] {
        let reply = post(&at(path), &body);
        assert_eq!(reply.status, status, "{path} {body}: {reply:?}");
        let error = reply.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(said), "{path} {body}: {error}");
    }
    let long = json!({"model": "demo", "prompt": "word ".repeat(600)});
    let reply = post(&at("/api/generate"), &long);
    assert_eq!(reply.status, 400);
    assert!(reply.json()["error"].as_str().unwrap().contains("the context has room for 512"));
    assert_eq!(ask("POST", &at("/api/chat"), Some("{")).status, 400);
}

#[test]
fn what_says_nothing_is_ignored() {
    let body = json!({"model": "demo", "messages": [{"role": "user", "content": "Hello"}], "stream": false,
        "tools": [], "format": "", "think": false, "keep_alive": -1,
        "options": {"num_ctx": 8192, "num_gpu": 1, "num_predict": 2, "seed": -1, "nothing": true}});
    assert_eq!(post(&at("/api/chat"), &body).ok()["eval_count"], 2);
}

#[test]
fn a_model_has_another_name_until_that_is_deleted() {
    let server = start(|_| {});
    let copy = |source: &str, destination: &str| {
        post(&format!("{server}/api/copy"), &json!({"source": source, "destination": destination}))
    };
    let delete = |name: &str| {
        ask("DELETE", &format!("{server}/api/delete"), Some(&json!({"model": name}).to_string()))
    };
    let names = || {
        let tags = get(&format!("{server}/api/tags")).ok();
        tags["models"].as_array().unwrap().iter().map(|model| model["name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(copy("demo", "bird").status, 200);
    assert_eq!(names(), ["demo:latest", "bird:latest"]);
    let answer = |name: &str| {
        let body = json!({"model": name, "prompt": "Hello", "stream": false, "options": {"temperature": 0}});
        post(&format!("{server}/api/generate"), &body)
    };
    assert_eq!(answer("bird").ok()["response"], answer("demo").ok()["response"]);
    // It is one model in memory.
    assert_eq!(get(&format!("{server}/api/ps")).ok()["models"].as_array().unwrap().len(), 1);
    assert_eq!(copy("other", "bird").status, 404);
    assert_eq!(copy("bird", "demo").status, 400);
    assert_eq!(delete("bird").status, 200);
    assert_eq!((delete("bird").status, answer("bird").status), (404, 404));
    // The file of a model that was named is not the server's.
    let refused = delete("demo");
    assert_eq!(refused.status, 403);
    assert!(refused.json()["error"].as_str().unwrap().contains("was not pulled"));
    assert_eq!(names(), ["demo:latest"]);
}

#[test]
fn copies_have_short_names_and_are_so_many_at_most() {
    let server = start(|_| {});
    let copy = |name: &str| {
        post(&format!("{server}/api/copy"), &json!({"source": "demo", "destination": name})).status
    };
    for name in ["../../x", "c+d", "", &"x".repeat(257)] {
        assert_eq!(copy(name), 400, "{name}");
    }
    let statuses: Vec<u16> = (0..65).map(|number| copy(&format!("{}{number}", "x".repeat(250)))).collect();
    assert!(statuses[..64].iter().all(|&status| status == 200) && statuses[64] == 400, "{statuses:?}");
    // One that is there may be another's.
    assert_eq!(copy(&format!("{}0", "x".repeat(250))), 200);
    let missing = post(&format!("{server}/api/show"), &json!({"model": "y".repeat(100_000)}));
    assert!(missing.status == 404 && missing.body.len() < 8192, "{}", missing.body.len());
    assert!(missing.body.ends_with("and 49 more\"}"), "{}", missing.body);
    assert_eq!(
        get(&format!("{server}/siskin/status")).ok()["memory"]["models"],
        get(&format!("{server}/api/ps")).ok()["models"][0]["size"]
    );
}

#[test]
fn what_is_no_model_is_not_the_first_and_no_fault_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let model = std::fs::read(crate::demo()).unwrap();
    std::fs::write(file(".0.gguf"), &model).unwrap();
    std::fs::write(file("a-half.gguf"), &model[..model.len() / 2]).unwrap();
    std::fs::write(file("bird.gguf"), &model).unwrap();
    let server = start(|options| {
        options.models.clear();
        options.folder = Some(folder.path().to_owned());
    });
    let ask = |body: Value| post(&format!("{server}/api/generate"), &body);
    let load = |name: &str| ask(json!({"model": name}));
    assert_eq!(load("").ok()["done_reason"], "load");
    assert_eq!(load("bird").status, 200);
    assert_eq!(load(".0").status, 404);
    let half = load("a-half");
    assert_eq!(half.status, 503);
    assert!(!half.body.contains(&folder.path().display().to_string()), "{}", half.body);
    assert_eq!(ask(json!({"model": "bird", "keep_alive": 0})).ok()["done_reason"], "unload");
    std::fs::remove_file(file("bird.gguf")).unwrap();
    assert_eq!(load("bird").status, 404);
}

#[test]
fn files_of_a_folder_are_models_as_soon_as_they_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(|options| options.folder = Some(folder.path().to_owned()));
    let ask = |keep_alive: u32| {
        post(&format!("{server}/api/generate"), &json!({"model": "second", "keep_alive": keep_alive}))
    };
    assert_eq!(ask(60).status, 404);
    std::fs::copy(crate::demo(), folder.path().join("second.gguf")).unwrap();
    assert_eq!(ask(60).ok()["done_reason"], "load");
    let models = get(&format!("{server}/v1/models")).ok();
    let ids: Vec<&Value> = models["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
    assert_eq!(ids, ["demo", "second"]);
    assert_eq!(ask(0).ok()["done_reason"], "unload");
    std::fs::remove_file(folder.path().join("second.gguf")).unwrap();
    assert_eq!(get(&format!("{server}/v1/models")).ok()["data"].as_array().unwrap().len(), 1);
}
