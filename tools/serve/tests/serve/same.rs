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

const APIS: [Api; 5] = [
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
    Api {
        name: "Anthropic's messages",
        ask: |Sampling { seed, temperature }, stream| {
            let body = json!({"model": "demo", "messages": [{"role": "user", "content": QUESTION}], "seed": seed,
                "temperature": temperature, "max_tokens": TOKENS, "stream": stream});
            post(&format!("{}/v1/messages", server()), &body)
        },
        whole: |value| text(&value["content"][0]["text"]),
        pieces: |reply| joined(&reply.data(), |part| &part["delta"]["text"]),
    },
    Api {
        name: "OpenAI's responses",
        ask: |Sampling { seed, temperature }, stream| {
            let body = json!({"input": QUESTION, "seed": seed, "temperature": temperature,
                "max_output_tokens": TOKENS, "stream": stream});
            post(&format!("{}/v1/responses", server()), &body)
        },
        whole: |value| text(&value["output"][0]["content"][0]["text"]),
        pieces: |reply| joined(&reply.data(), |part| &part["delta"]),
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

/// Texts that are continued, in the form that each API has for it: with the prompt that the conversation comes to, they are the
/// answer to that.
#[test]
fn every_api_continues_a_text_alike() {
    let conversation = json!({"messages": [{"role": "user", "content": QUESTION}]});
    let applied = post(&format!("{}/apply-template", server()), &conversation).ok();
    let prompt = applied["prompt"].as_str().unwrap();
    let tokens = post(&format!("{}/tokenize", server()), &json!({"content": prompt})).ok()["tokens"].clone();
    let chat = (APIS[0].whole)(&(APIS[0].ask)(&Sampling { seed: 9, temperature: 3.0 }, false).ok());
    let options = json!({"seed": 9, "temperature": 3.0, "num_predict": TOKENS});
    for stream in [false, true] {
        for prompt in [json!(prompt), tokens.clone()] {
            let body = json!({"prompt": prompt, "seed": 9, "temperature": 3.0, "max_tokens": TOKENS, "stream": stream});
            let reply = post(&format!("{}/v1/completions", server()), &body);
            let answer = match stream {
                true => joined(&reply.data(), |part| &part["choices"][0]["text"]),
                false => text(&reply.ok()["choices"][0]["text"]),
            };
            assert_eq!(answer, chat, "OpenAI's completions");
            let reply = post(&format!("{}/completion", server()), &body);
            let answer = match stream {
                true => joined(&reply.data(), |part| &part["content"]),
                false => text(&reply.ok()["content"]),
            };
            assert_eq!(answer, chat, "llama.cpp's completion");
        }
        let body =
            json!({"model": "demo", "prompt": prompt, "raw": true, "options": options, "stream": stream});
        let reply = post(&format!("{}/api/generate", server()), &body);
        let answer = match stream {
            true => joined(&reply.lines(), |part| &part["response"]),
            false => text(&reply.ok()["response"]),
        };
        assert_eq!(answer, chat, "Ollama's generate");
    }
}
