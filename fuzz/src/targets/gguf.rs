//! A GGUF file: what the scan lets through is read to the last value, and a model that loads answers.

use super::{golden, options};
use siskin::gguf::{Gguf, Value};
use siskin::plan::Outline;
use siskin::sampler::SamplerOptions;
use siskin::template::{ChatTemplate, Message};
use siskin::tokenizer::{Special, Tokenizer};
use siskin::{Error, Model};

/// Files of every type of value and tensor, of both kinds of vocabulary, and of models with all that layers are made of.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        "gguf/every_type.gguf",
        "gguf/version2.gguf",
        "tokenizer/spm.gguf",
        "tokenizer/gpt-2.gguf",
        "families/qwen3.gguf",
        "families/gemma3-scale.gguf",
        "families/lfm2.gguf",
        "families/granite-moe.gguf",
        "llama/rope-llama3.gguf",
    ]
    .map(golden)
    .to_vec()
}

/// Reads the bytes as a file.
pub fn run(data: &[u8]) {
    let Ok(file) = Gguf::from_bytes("fuzzed", data.to_vec()) else { return };
    for (_, value) in file.metadata() {
        if let Value::Array(array) = value {
            assert_eq!(array.iter().count(), array.len());
        }
    }
    for tensor in file.tensors() {
        assert_eq!(file.tensor(&tensor.name).map(|found| &found.name), Some(&tensor.name));
        if !file.is_packed() {
            assert!(file.data(tensor).len() <= data.len());
        }
    }
    let _ = ChatTemplate::from_gguf(&file);
    if let Ok(tokenizer) = Tokenizer::from_gguf(&file) {
        let mut tokens = Vec::new();
        tokenizer.encode_prompt("A text, Ünïcödé \u{1F600} and <s>".as_bytes(), Special::Parse, &mut tokens);
        assert!(tokens.iter().all(|&token| (token as usize) < tokenizer.len()));
    }
    let outline = Outline::of(&file);
    if let Ok(model) = Model::from_gguf(&file) {
        assert!(outline.is_ok(), "a model that loads has a plan");
        let _ = answer(&model);
    }
}

/// A few tokens of a prompt, the vocabulary's last among them, and an answer with the options that the file recommends.
fn answer(model: &Model) -> Result<(), Error> {
    let mut session = model.session(&options(model))?;
    let last = model.vocabulary() as u32 - 1;
    session.feed(&[0, last, 1.min(last)])?;
    session.feed(&[last])?;
    assert_eq!(session.logits()?.len(), model.vocabulary());
    if let Ok(prompt) = model.chat_tokens(&[Message::new("user", "Hi")]) {
        assert!(prompt.iter().all(|&token| token <= last));
    }
    let chosen = SamplerOptions::default().seed(1).overlay(model.sampling());
    let mut sampler = session.sampler(&chosen)?;
    let mut answer = session.generate(&mut sampler, 4)?;
    while let Some(token) = answer.next_token()? {
        assert!(token <= last);
    }
    Ok(())
}
