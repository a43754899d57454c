use super::document::Document;
use super::vocabulary::{Merging, Token, TokenType, Vocabulary, added};
use anyhow::{Context, Error, Result, anyhow, bail};
use prost::Message;
use siskin::gguf::foreign;
use std::path::Path;

/// The file's name in a checkpoint.
pub(crate) const FILE: &str = "tokenizer.model";

/// The part of SentencePiece's `ModelProto` that a GGUF file holds; field numbers are those of
/// `sentencepiece_model.proto`.
#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<Trainer>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<Normalizer>,
}

#[derive(Clone, PartialEq, Message)]
struct Piece {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
    #[prost(float, optional, tag = "2")]
    score: Option<f32>,
    /// 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte: the numbers GGUF took over.
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct Trainer {
    /// 1 unigram, 2 BPE, 3 words, 4 characters.
    #[prost(int32, optional, tag = "3")]
    model_type: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct Normalizer {
    #[prost(bool, optional, tag = "3")]
    add_dummy_prefix: Option<bool>,
}

/// Reads `tokenizer.model`, with the tokens that `added_tokens.json` and `tokenizer_config.json` add.
pub(crate) fn read(folder: &Path, config: Option<&Document<'_>>, size: u32) -> Result<Vocabulary> {
    let path = folder.join(FILE);
    let bytes = siskin_kit::read(&path).with_context(|| path.display().to_string())?;
    let mut vocabulary = parse(&bytes).with_context(|| path.display().to_string())?;
    if let Some(file) = Document::open_optional(folder, "added_tokens.json")? {
        for (text, id) in file.entries() {
            let Some(id) = id.as_u64().filter(|&id| id < size.into()) else { continue };
            vocabulary
                .set(usize::try_from(id)?, Token { kind: TokenType::UserDefined, ..added(text, false) });
        }
    }
    if let Some(decoder) = config.map(|config| config.object("added_tokens_decoder")).transpose()?.flatten() {
        for (id, token) in decoder.entries() {
            let token = Document::of(&format!("{}: {id}", decoder.name()), token)?;
            let text =
                token.str("content")?.with_context(|| format!("{}: content is missing", token.name()))?;
            let Some(id) = id.parse().ok().filter(|&id: &u32| id < size) else { continue };
            vocabulary.set(id as usize, added(text, token.bool("special")?.unwrap_or(false)));
            let strips = |side| Ok::<_, anyhow::Error>(token.bool(side)?.unwrap_or(false));
            vocabulary.strip(id, [strips("lstrip")?, strips("rstrip")?]);
        }
    }
    Ok(vocabulary)
}

fn parse(bytes: &[u8]) -> Result<Vocabulary> {
    let model = Model::decode(bytes).map_err(|error| match foreign(bytes) {
        Some(found) => anyhow!("expected a SentencePiece model, found {found}"),
        None => Error::new(error).context("not a SentencePiece model"),
    })?;
    if model.pieces.is_empty() {
        bail!("not a SentencePiece model: it has no pieces");
    }
    let model_type = model.trainer.and_then(|trainer| trainer.model_type).unwrap_or(1);
    if model_type != 2 {
        bail!("expected a BPE model (type 2), found type {model_type}");
    }
    let token = |piece: Piece| Token {
        kind: match piece.kind.unwrap_or(1) {
            2 => TokenType::Unknown,
            3 => TokenType::Control,
            5 => TokenType::Unused,
            6 => TokenType::Byte,
            // llama.cpp's converter, too, takes SentencePiece's user-defined pieces for normal ones.
            _ => TokenType::Normal,
        },
        text: piece.text.unwrap_or_default(),
        score: piece.score.unwrap_or(0.0),
    };
    let add_dummy_prefix =
        model.normalizer.and_then(|normalizer| normalizer.add_dummy_prefix).unwrap_or(true);
    Ok(Vocabulary {
        tokens: model.pieces.into_iter().map(|piece| Some(token(piece))).collect(),
        merging: Merging::Scores,
        space_prefix: Some(false).filter(|_| !add_dummy_prefix),
        strips: Default::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(model_type: i32) -> Vec<u8> {
        let piece = |text: &str, score, kind| Piece { text: Some(text.into()), score: Some(score), kind };
        let pieces =
            vec![piece("<unk>", 0.0, Some(2)), piece("<0x00>", 0.0, Some(6)), piece("ab", -1.5, None)];
        let normalizer = Some(Normalizer { add_dummy_prefix: Some(false) });
        Model { pieces, trainer: Some(Trainer { model_type: Some(model_type) }), normalizer }.encode_to_vec()
    }

    #[test]
    fn pieces_become_tokens() {
        let vocabulary = parse(&model(2)).unwrap();
        let tokens: Vec<_> =
            vocabulary.tokens.iter().flatten().map(|token| (token.text.as_str(), token.kind)).collect();
        assert_eq!(
            tokens,
            [("<unk>", TokenType::Unknown), ("<0x00>", TokenType::Byte), ("ab", TokenType::Normal)]
        );
        assert_eq!(vocabulary.tokens[2].as_ref().unwrap().score, -1.5);
        assert_eq!(vocabulary.space_prefix, Some(false));
    }

    #[test]
    fn other_models_and_other_files_are_refused() {
        assert_eq!(parse(&model(1)).unwrap_err().to_string(), "expected a BPE model (type 2), found type 1");
        assert!(parse(b"PK\x03\x04 not protobuf at all").is_err());
        assert_eq!(parse(b"").unwrap_err().to_string(), "not a SentencePiece model: it has no pieces");
    }
}
