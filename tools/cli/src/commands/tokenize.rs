//! The `tokenize` command: what a text becomes.

use crate::arguments::{InputPath, names};
use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};
use siskin::gguf::Gguf;
use siskin::tokenizer::{Special, Tokenizer};
use siskin_kit::in_file;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Show the tokens of a text.
///
/// One line per token: its number and its text. Ordinary tokens are shown in quotes, control tokens without. The text is taken with every newline; a byte order mark before it is none of it, and lines that end by two
/// characters end by one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// A GGUF file, which need hold no more than a vocabulary
    #[arg(value_name = "MODEL", value_parser = names::model())]
    model: InputPath,
    /// The text [default: read from standard input]
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    /// Print the numbers alone, in one line, separated by commas
    #[arg(long, conflicts_with = "json")]
    ids: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Take the text of control tokens, such as <|im_end|>, for these tokens
    #[arg(long)]
    special: bool,
    /// Leave out the tokens that the vocabulary puts before and behind a text
    #[arg(long)]
    no_bos: bool,
    /// Read the file into memory instead of mapping it
    #[arg(long)]
    no_mmap: bool,
}

const EXAMPLES: &str = "\
Examples:
  siskin tokenize model.gguf \"Hello world\"
  siskin logits model.gguf --tokens $(siskin tokenize model.gguf --ids \"Hello world\") --out logits.npy";

/// Prints the tokens.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let file = if arguments.no_mmap { Gguf::read(&arguments.model)? } else { Gguf::open(&arguments.model)? };
    let tokenizer = Tokenizer::from_gguf(&file).map_err(|error| in_file(&file, error))?;
    let text = arguments.text()?;
    let special = if arguments.special { Special::Parse } else { Special::Text };
    let mut tokens = Vec::new();
    match arguments.no_bos {
        true => tokenizer.encode(&text, special, &mut tokens),
        false => tokenizer.encode_prompt(&text, special, &mut tokens),
    }
    let listing = match (arguments.ids, arguments.json) {
        (true, _) => ids(&tokens),
        (_, true) => format!("{:#}\n", json(&tokenizer, &tokens)),
        _ => lines(&tokenizer, &tokens),
    };
    io::stdout().lock().write_all(listing.as_bytes()).context("standard output")
}

impl Arguments {
    /// The text, which need not be UTF-8.
    fn text(&self) -> Result<Vec<u8>> {
        match &self.text {
            Some(text) => Ok(siskin_kit::plain(text).into_bytes()),
            None => {
                let bytes = siskin_kit::read_all(io::stdin().lock()).context("standard input")?;
                if siskin_kit::is_utf16(&bytes) || str::from_utf8(&bytes).is_ok() {
                    return Ok(siskin_kit::text(bytes).context("standard input")?.into_bytes());
                }
                Ok(bytes)
            }
        }
    }
}

fn ids(tokens: &[u32]) -> String {
    let ids: Vec<String> = tokens.iter().map(u32::to_string).collect();
    ids.join(",") + "\n"
}

/// Of each token its number, its text, which is null where it is no whole characters, its bytes, and whether it is a control
/// token.
fn json(tokenizer: &Tokenizer, tokens: &[u32]) -> Value {
    let token = |&id: &u32| {
        let special = tokenizer.is_special(id);
        let bytes = if special { tokenizer.text(id) } else { tokenizer.piece(id) };
        json!({"id": id, "text": str::from_utf8(bytes).ok(), "bytes": bytes, "special": special})
    };
    json!({"tokens": tokens.iter().map(token).collect::<Vec<_>>()})
}

fn lines(tokenizer: &Tokenizer, tokens: &[u32]) -> String {
    let line = |&token: &u32| match tokenizer.is_special(token) {
        true => format!("{token:>7}  {}\n", escaped(tokenizer.text(token))),
        false => format!("{token:>7}  \"{}\"\n", escaped(tokenizer.piece(token))),
    };
    tokens.iter().map(line).collect()
}

/// Bytes as Rust writes them in a string: bytes that are no whole character as `\xNN`.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.extend(chunk.valid().chars().flat_map(|character| match character {
            // A quote that stands alone is easier to read.
            '\'' => '\''.escape_default().skip(1).collect::<Vec<_>>(),
            other => other.escape_debug().collect(),
        }));
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_readable_and_unambiguous() {
        let cases: [(&[u8], &str); 6] = [
            (b" the", " the"),
            ("né 你".as_bytes(), "né 你"),
            (b"a\n\t\\", r"a\n\t\\"),
            (b"\"it's\"", r#"\"it's\""#),
            (b"\xe4\xbd", r"\xe4\xbd"),
            (b"\x1b[0m", r"\u{1b}[0m"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(escaped(bytes), expected);
        }
    }

    #[test]
    fn ids_are_one_line() {
        assert_eq!(ids(&[1, 15043, 3186]), "1,15043,3186\n");
        assert_eq!(ids(&[]), "\n");
    }
}
