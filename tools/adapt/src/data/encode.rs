use anyhow::{Context, Result};
use siskin::Model;
use siskin::template::{Message, Rendering};
use siskin::training::Example;

use super::row::{Content, Row};

/// Tokens of which some are to be learned.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The row that it is of, by its line.
    pub line: usize,
    /// All tokens.
    pub tokens: Vec<u32>,
    /// For each whether it is learned.
    pub learned: Vec<bool>,
}

impl Sample {
    /// As the trainer takes it, whose tokens' losses count so much.
    pub fn example(&self, weight: f32) -> Example<'_> {
        Example { tokens: &self.tokens, learned: &self.learned, weight }
    }

    /// The tokens before the first that is learned: what is answered.
    pub fn prompt(&self) -> &[u32] {
        let first = self.learned.iter().position(|&learned| learned).unwrap_or(self.learned.len());
        &self.tokens[..first]
    }

    /// The tokens from there on.
    pub fn answer(&self) -> &[u32] {
        &self.tokens[self.prompt().len()..]
    }
}

/// The samples of a row, as sessions of the model will see them: of a conversation the assistant's turns are learned, each with the token
/// that ends it, behind what the model's template writes before it; of a text all of it, in pieces of at most `length` tokens.
///
/// A conversation is one sample where what the template writes of earlier turns stays when more follow, and one for each of
/// the assistant's turns where it does not, as with thoughts that templates leave out later.
///
/// # Errors
/// A template that refuses the conversation, with the row's line.
pub fn encode(model: &Model, row: &Row, length: usize) -> Result<Vec<Sample>> {
    match &row.content {
        Content::Conversation(messages) => {
            conversation(model, messages, row.line).with_context(|| format!("line {}", row.line))
        }
        Content::Text(text) => Ok(pieces(model, text, row.line, length)),
    }
}

fn conversation(model: &Model, messages: &[Message], line: usize) -> Result<Vec<Sample>> {
    let rendered = |messages: &[Message], add_generation_prompt| {
        // Where a template asks for the time, it is the same each time.
        let rendering = Rendering::default().seconds(0).add_generation_prompt(add_generation_prompt);
        model.chat_tokens_with(messages, &rendering)
    };
    let mut samples: Vec<Sample> = Vec::new();
    let turns = messages.iter().enumerate().filter(|(_, message)| message.role == "assistant");
    for (turn, message) in turns {
        let prompt = rendered(&messages[..turn], true)?;
        let with_answer = rendered(&messages[..=turn], false)?;
        let answer = match with_answer.strip_prefix(prompt.as_slice()) {
            Some(answer) => through_end(model, answer),
            None => answered(model, &with_answer, message),
        };
        match samples.last_mut().filter(|sample| prompt.starts_with(&sample.tokens)) {
            Some(sample) => {
                let more = &prompt[sample.tokens.len()..];
                sample.learned.resize(sample.tokens.len() + more.len(), false);
                sample.tokens.extend_from_slice(more);
            }
            None => samples.push(Sample { line, learned: vec![false; prompt.len()], tokens: prompt }),
        }
        if let Some(sample) = samples.last_mut() {
            sample.tokens.extend_from_slice(&answer);
            sample.learned.resize(sample.tokens.len(), true);
        }
    }
    Ok(samples)
}

/// The tokens up to the first that ends an answer, with it.
fn through_end(model: &Model, tokens: &[u32]) -> Vec<u32> {
    let end = tokens.iter().position(|&token| model.tokenizer().is_end(token));
    tokens[..end.map_or(tokens.len(), |end| end + 1)].to_vec()
}

/// The tokens of an answer whose template writes another one than it is asked with, and the one that ends it there.
fn answered(model: &Model, with_answer: &[u32], message: &Message) -> Vec<u32> {
    let mut tokens = Vec::new();
    model.tokenizer().encode(message.content.as_bytes(), siskin::tokenizer::Special::Text, &mut tokens);
    tokens.extend(with_answer.iter().rev().find(|&&token| model.tokenizer().is_end(token)));
    tokens
}

fn pieces(model: &Model, text: &str, line: usize, length: usize) -> Vec<Sample> {
    let mut tokens = model.text_tokens(text);
    tokens.extend(model.tokenizer().eos());
    let piece = |tokens: &[u32]| Sample { line, tokens: tokens.to_vec(), learned: vec![true; tokens.len()] };
    // A token alone follows from none.
    tokens.chunks(length.max(2)).filter(|tokens| tokens.len() > 1).map(piece).collect()
}
