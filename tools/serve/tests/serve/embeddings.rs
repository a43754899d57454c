//! What texts come to, through each API that tells it.

use crate::client::post;
use crate::{demo, server, start};
use serde_json::{Value, json};
use siskin::{Model, Observer, Rows, SessionOptions};
use std::thread;

const TEXTS: [&str; 3] = ["please turn on the light", "turn the light on, please", "a story about a fox"];

/// The mean over the tokens of what the output matrix is multiplied with.
#[derive(Default)]
struct Mean(Vec<f64>);

impl Observer for Mean {
    fn product(&mut self, tensor: &str, activations: Rows<'_>) {
        if tensor == "output.weight" || tensor == "token_embd.weight" {
            for row in activations {
                self.0.resize(row.len(), 0.0);
                self.0.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
            }
        }
    }
}

fn vector(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn every_api_gives_the_same_vectors_which_are_the_model_s() {
    let model = Model::open(demo()).unwrap();
    let expected = TEXTS.map(|text| {
        let mut session = model.session(&SessionOptions::default().context(512).threads(1)).unwrap();
        let mut mean = Mean::default();
        session.feed_observed(&model.text_tokens(text), &mut mean).unwrap();
        mean.0
    });
    let of = |path: &str, body: Value| post(&format!("{}{path}", server()), &body).ok();
    let openai = of("/v1/embeddings", json!({"input": TEXTS, "model": "demo"}));
    let ollama = of("/api/embed", json!({"input": TEXTS, "model": "demo"}));
    for (at, expected) in expected.iter().enumerate() {
        let one = &openai["data"][at]["embedding"];
        assert!((cosine(&vector(one), expected) - 1.0).abs() < 1e-9);
        assert!((vector(one).iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-5);
        assert_eq!(one, &ollama["embeddings"][at]);
        let older = of("/api/embeddings", json!({"prompt": TEXTS[at], "model": "demo"}));
        assert_eq!(one, &older["embedding"]);
        let tokens = model.text_tokens(TEXTS[at]);
        assert_eq!(one, &of("/v1/embeddings", json!({"input": tokens}))["data"][0]["embedding"]);
    }
    let tokens: usize = TEXTS.iter().map(|text| model.text_tokens(text).len()).sum();
    assert_eq!(
        (&openai["usage"]["prompt_tokens"], &ollama["prompt_eval_count"]),
        (&json!(tokens), &json!(tokens))
    );
    let base64 = of("/v1/embeddings", json!({"input": TEXTS[0], "encoding_format": "base64"}));
    assert!(
        base64["data"][0]["embedding"].as_str().unwrap().len()
            >= 4 * vector(&openai["data"][0]["embedding"]).len()
    );
}

#[test]
fn vectors_are_the_same_beside_answers() {
    let server = start(|options| options.parallel = 2);
    let text = "a long text about a house with many rooms ".repeat(20);
    let embed = || {
        let body = json!({"input": [text, "short"]});
        post(&format!("{server}/v1/embeddings"), &body).ok()["data"].clone()
    };
    let alone = embed();
    let together = thread::scope(|scope| {
        let ask = || {
            let body =
                json!({"messages": [{"role": "user", "content": "tell me a story"}], "max_tokens": 100});
            post(&format!("{server}/v1/chat/completions"), &body).ok()
        };
        let answers = [scope.spawn(ask), scope.spawn(ask)];
        let embedded: Vec<Value> = (0..3).map(|_| embed()).collect();
        answers.into_iter().for_each(|answer| drop(answer.join().unwrap()));
        embedded
    });
    assert!(together.iter().all(|embedded| *embedded == alone));
}

/// More texts than may wait are no more than one request.
#[test]
fn many_texts_are_worked_out_one_after_the_other() {
    let server = start(|options| (options.parallel, options.queue) = (2, 3));
    let texts: Vec<String> = (0..20).map(|number| format!("text {number}")).collect();
    let embed = |input: Value| post(&format!("{server}/v1/embeddings"), &json!({"input": input})).ok();
    let all = embed(json!(texts));
    for number in [0, 7, 19] {
        let alone = embed(json!(texts[number]));
        assert_eq!(alone["data"][0]["embedding"], all["data"][number]["embedding"]);
    }
    // Several answers, too, have their turn where nobody waits.
    let body = json!({"prompt": "a", "n": 16, "max_tokens": 1});
    let answers = post(&format!("{server}/v1/completions"), &body).ok();
    assert_eq!(answers["choices"].as_array().unwrap().len(), 16);
}

#[test]
fn what_cannot_be_embedded_is_refused() {
    let refused = |path: &str, body: Value| post(&format!("{}{path}", server()), &body);
    let said = |body: Value| {
        let refused = refused("/v1/embeddings", body);
        assert_eq!(refused.status, 400);
        refused.json()["error"]["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(said(json!({})), "input is missing");
    assert_eq!(said(json!({"input": 3})), "input: expected a text, tokens, or an array of either, found 3");
    assert_eq!(said(json!({"input": []})), "the prompt is empty");
    assert_eq!(
        said(json!({"input": ["a", 3]})),
        "input: expected a text, tokens, or an array of either, found an array"
    );
    assert!(said(json!({"input": "a", "dimensions": 7})).starts_with("dimensions: "));
    let long = "word ".repeat(2000);
    assert!(said(json!({"input": long})).contains("the context has room for 512"));
    // Ollama's cuts it unless it is told not to.
    assert_eq!(refused("/api/embed", json!({"input": long})).status, 200);
    assert_eq!(refused("/api/embed", json!({"input": long, "truncate": false})).status, 400);
}
