//! The same question has the same answer, through whichever API it comes, whole or piece by piece.

use crate::client::{Reply, post};
use crate::server;
use serde_json::{Value, json};

const QUESTION: &str = "What is a siskin?";
const TOKENS: usize = 24;

/// How an API is asked the question, and how its answers are read.
struct Api {
    name: &'static str,
    ask: fn(&Sampling, bool) -> Reply,
    whole: fn(&Value) -> String,
    pieces: fn(&Reply) -> String,
}

struct Sampling {
    seed: u64,
    temperature: f32,
}

const APIS: [Api; 3] = [
    Api {
        name: "OpenAI's chat completions",
        ask: |Sampling { seed, temperature }, stream| {
            let body = json!({"messages": [{"role": "user", "content": QUESTION}], "seed": seed,
                "temperature": temperature, "max_tokens": TOKENS, "stream": stream});
            post(&format!("{}/v1/chat/completions", server()), &body)
        },
        whole: |value| text(&value["choices"][0]["message"]["content"]),
        pieces: |reply| joined(&reply.data(), |part| &part["choices"][0]["delta"]["content"]),
    },
    Api {
        name: "Ollama's chat",
        ask: |Sampling { seed, temperature }, stream| {
            let body = json!({"model": "demo", "messages": [{"role": "user", "content": QUESTION}],
                "options": {"seed": seed, "temperature": temperature, "num_predict": TOKENS}, "stream": stream});
            post(&format!("{}/api/chat", server()), &body)
        },
        whole: |value| text(&value["message"]["content"]),
        pieces: |reply| joined(&reply.lines(), |part| &part["message"]["content"]),
    },
    Api {
        name: "Ollama's generate",
        ask: |Sampling { seed, temperature }, stream| {
            let body = json!({"model": "demo:latest", "prompt": QUESTION,
                "options": {"seed": seed, "temperature": temperature, "num_predict": TOKENS}, "stream": stream});
            post(&format!("{}/api/generate", server()), &body)
        },
        whole: |value| text(&value["response"]),
        pieces: |reply| joined(&reply.lines(), |part| &part["response"]),
    },
];

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn joined(parts: &[Value], text: impl Fn(&Value) -> &Value) -> String {
    parts.iter().filter_map(|part| text(part).as_str()).collect()
}

#[test]
fn every_api_gives_the_same_answer() {
    let mut answers = Vec::new();
    for (seed, temperature) in [(7, 0.0), (7, 3.0), ((1 << 53) - 1, 3.0)] {
        let sampling = Sampling { seed, temperature };
        let mut first: Option<String> = None;
        for api in &APIS {
            let whole = (api.whole)(&(api.ask)(&sampling, false).ok());
            let pieces = (api.pieces)(&(api.ask)(&sampling, true));
            assert!(!whole.is_empty(), "{}", api.name);
            assert_eq!(pieces, whole, "{} with seed {seed}", api.name);
            assert_eq!(first.get_or_insert(whole.clone()), &whole, "{} with seed {seed}", api.name);
        }
        answers.push(first);
    }
    // Seeds came through.
    assert_ne!(answers[1], answers[2]);
}
