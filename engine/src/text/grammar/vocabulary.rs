//! A model's vocabulary as llguidance wants it: the bytes of all tokens in a trie.

use std::collections::HashMap;
use std::sync::Arc;

use llguidance::ParserFactory;
use toktrie::{INVALID_TOKEN, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

use super::{GrammarError, limits};
use crate::text::tokenizer::{Special, Tokenizer};

/// What all grammars of a vocabulary share.
pub(crate) struct GrammarVocabulary {
    pub(super) factory: ParserFactory,
    pub(super) ends: Arc<[u32]>,
    pub(super) size: usize,
}

impl GrammarVocabulary {
    /// Sorts the vocabulary into a trie.
    ///
    /// # Errors
    /// A vocabulary of no use.
    pub(crate) fn new(tokenizer: Arc<Tokenizer>) -> Result<Self, GrammarError> {
        let (size, ends) = (tokenizer.len(), tokenizer.ends().into());
        let words = words(&tokenizer);
        if words.iter().all(Vec::is_empty) {
            return Err(GrammarError::Vocabulary { reason: "none stands for text".to_owned() });
        }
        let info = TokRxInfo::new(size as u32, tokenizer.ends().first().copied().unwrap_or(INVALID_TOKEN));
        let mut trie = TokTrie::from(&info, &words);
        drop(words);
        if !tokenizer.ends().is_empty() {
            trie = trie.with_eos_tokens(tokenizer.ends());
        }
        let tokens: TokEnv = Arc::new(Tokens { tokenizer, trie });
        let capabilities = InferenceCapabilities { ff_tokens: true, ..InferenceCapabilities::default() };
        let factory = ParserFactory::new(&tokens, capabilities, &SLICES.map(str::to_owned));
        let mut factory = factory.map_err(|error| GrammarError::Vocabulary { reason: error.to_string() })?;
        factory.quiet();
        *factory.limits_mut() = limits::of_parser();
        Ok(Self { factory, ends, size })
    }

    /// Bytes that a vocabulary of so many tokens, with so many bytes of text, takes for grammars, within a fifth.
    pub(crate) fn bytes_for(tokens: usize, text: usize) -> usize {
        // The vocabulary's own trie, that of the slice that is all of it, two of each other slice, which has most of it, and
        // two of what is left.
        let (all, left) = (2 + 2 * SLICES.len(), 2 * SLICES.len());
        let table = tokens.saturating_mul(12);
        let trie = table.saturating_add(text).saturating_add((text / 2).saturating_mul(8));
        trie.saturating_mul(all).saturating_add(table.saturating_mul(left))
    }
}

/// Texts of which a mask is kept for each vocabulary, so that it need not be walked where they are all allowed: those within
/// a JSON string. Each takes the memory of two tries more.
const SLICES: [&str; 1] = [r#"[^"\\\x00-\x1F\x7F]{1,30}"#];

/// What each token stands for: its bytes, behind [`TokTrie::SPECIAL_TOKEN_MARKER`] the text of a control token, or nothing
/// where it is never to be picked. Of several with the same bytes the one that a text becomes.
fn words(tokenizer: &Tokenizer) -> Vec<Vec<u8>> {
    let mut words = vec![Vec::new(); tokenizer.len()];
    let mut known: HashMap<&[u8], u32> = HashMap::with_capacity(words.len());
    let all = 0..words.len() as u32;
    // Single bytes last: a character that has a token of its own does not become them.
    let (bytes, others): (Vec<u32>, Vec<u32>) = all.partition(|&id| tokenizer.is_byte(id));
    for id in others.into_iter().chain(bytes) {
        let word = &mut words[id as usize];
        let (text, piece) = (tokenizer.text(id), tokenizer.piece(id));
        if tokenizer.is_special(id) && !text.is_empty() {
            word.push(TokTrie::SPECIAL_TOKEN_MARKER);
            word.extend_from_slice(text);
        } else if !piece.contains(&TokTrie::SPECIAL_TOKEN_MARKER) && *known.entry(piece).or_insert(id) == id {
            word.extend_from_slice(piece);
        }
    }
    words
}

/// The vocabulary, and how text becomes tokens.
struct Tokens {
    tokenizer: Arc<Tokenizer>,
    trie: TokTrie,
}

impl TokenizerEnv for Tokens {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    /// The tokens of text that goes on from other text, which are these bytes again.
    fn tokenize_bytes(&self, text: &[u8]) -> Vec<TokenId> {
        let mut tokens = Vec::new();
        self.tokenizer.encode_continuing(text, Special::Text, &mut tokens);
        let pieces = tokens.iter().flat_map(|&token| self.tokenizer.piece(token));
        // Some vocabularies change texts, such as spaces beside some tokens.
        if pieces.eq(text) { tokens } else { self.trie.greedy_tokenize(text) }
    }
}
