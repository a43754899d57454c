//! Prompts of models that were taught to fill in what is missing in the middle of a text (Bavarian et al. 2022, "Efficient
//! Training of Language Models to Fill in the Middle").

use crate::ask::Infill;
use crate::refusal::{Reason, Refusal};
use siskin::tokenizer::{Special, Tokenizer};

/// Texts of the control tokens before a text's beginning, its end, and the middle that is asked for, in the vocabularies that
/// have them: of Qwen, StarCoder, Granite, Code Llama, Codestral, DeepSeek and others.
const PREFIX: [&str; 6] =
    ["<|fim_prefix|>", "<fim_prefix>", "<fim-prefix>", "▁<PRE>", "[PREFIX]", "<｜fim▁begin｜>"];
const SUFFIX: [&str; 6] =
    ["<|fim_suffix|>", "<fim_suffix>", "<fim-suffix>", "▁<SUF>", "[SUFFIX]", "<｜fim▁hole｜>"];
const MIDDLE: [&str; 6] =
    ["<|fim_middle|>", "<fim_middle>", "<fim-middle>", "▁<MID>", "[MIDDLE]", "<｜fim▁end｜>"];
/// Before the name of each file, where there are several.
const FILE: [&str; 2] = ["<|file_sep|>", "<file_sep>"];

/// The tokens of a prompt that asks for the middle.
///
/// # Errors
/// [`Reason::Unsupported`] for a vocabulary that has no tokens for it.
pub(crate) fn tokens(tokenizer: &Tokenizer, text: &Infill) -> Result<Vec<u32>, Refusal> {
    let find = |texts: &[&str]| texts.iter().find_map(|text| control(tokenizer, text));
    let (Some(prefix), Some(suffix), Some(middle)) = (find(&PREFIX), find(&SUFFIX), find(&MIDDLE)) else {
        let said = "this model's vocabulary has no tokens for filling in the middle of a text";
        return Err(Refusal::new(Reason::Unsupported, said));
    };
    let mut tokens = Vec::new();
    tokens.extend(tokenizer.bos().filter(|_| tokenizer.add_bos()));
    // What is filled in is somebody's text, which makes no control tokens.
    let add = |text: &str, tokens: &mut Vec<u32>| tokenizer.encode(text.as_bytes(), Special::Text, tokens);
    let file = find(&FILE);
    for (name, text) in &text.files {
        match file {
            Some(file) => {
                tokens.push(file);
                add(&format!("{name}\n{text}\n"), &mut tokens);
            }
            None => add(&format!("\n\n--- {name} ---\n\n{text}"), &mut tokens),
        }
    }
    if let Some(file) = file.filter(|_| !text.files.is_empty()) {
        tokens.push(file);
        add("\n", &mut tokens);
    }
    tokens.push(prefix);
    add(&text.prefix, &mut tokens);
    tokens.push(suffix);
    add(&text.suffix, &mut tokens);
    tokens.push(middle);
    Ok(tokens)
}

/// The control token that is spelled so.
fn control(tokenizer: &Tokenizer, text: &str) -> Option<u32> {
    tokenizer.find(text.as_bytes()).filter(|&token| tokenizer.is_special(token))
}
