//! The vocabulary: each token's text as the file spells it, the bytes it stands for, and what kind of token it is.

use super::strings::{Index, Strings};

/// `tokenizer.ggml.token_type`, in GGUF's numbers from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Undefined,
    Normal,
    /// Stands for text the vocabulary cannot spell.
    Unknown,
    /// Structure, never text.
    Control,
    /// Text that is always this token and never cut.
    UserDefined,
    /// A number without a token: padding of the embedding.
    Unused,
    /// A single byte, in a vocabulary of characters.
    Byte,
}

impl Kind {
    /// The kind of this number.
    pub(super) fn from_number(number: u64) -> Option<Kind> {
        use Kind::{Byte, Control, Normal, Undefined, Unknown, Unused, UserDefined};
        let kinds = [Undefined, Normal, Unknown, Control, UserDefined, Unused, Byte];
        kinds.get(usize::try_from(number).ok()?).copied()
    }

    /// A token that ordinary text may become.
    pub(super) fn is_ordinary(self) -> bool {
        matches!(self, Kind::Undefined | Kind::Normal | Kind::UserDefined)
    }

    /// A token that is not text.
    pub(super) fn is_special(self) -> bool {
        matches!(self, Kind::Unknown | Kind::Control)
    }
}

/// The tokens, numbered from 0.
pub(super) struct Vocabulary {
    texts: Strings,
    pieces: Strings,
    kinds: Box<[Kind]>,
    index: Index,
    longest_text: usize,
    longest_piece: usize,
}

impl Vocabulary {
    /// A vocabulary of these texts and kinds, as many of the one as of the other, whose tokens' bytes are still to be
    /// told by [`Vocabulary::spell_out`].
    ///
    /// Real files have the same text twice. Then the text means the ordinary token before one that is not text, and
    /// the lowest number before higher ones: those are the trained tokens, the others were added when the vocabulary
    /// was padded or extended.
    pub(super) fn new(mut texts: Strings, kinds: Box<[Kind]>) -> Vocabulary {
        texts.shrink();
        let of = |ordinary: bool| {
            let kinds = &kinds;
            (0..texts.len() as u32)
                .filter(move |&id| kinds.get(id as usize).is_some_and(|kind| kind.is_ordinary() == ordinary))
        };
        let index = Index::new(&texts, of(true).chain(of(false)));
        let longest_text = texts.longest();
        Vocabulary { texts, pieces: Strings::default(), kinds, index, longest_text, longest_piece: 0 }
    }

    /// Sets the bytes each token stands for, given its text: `spell` appends them for tokens that are text.
    pub(super) fn spell_out(&mut self, spell: impl Fn(&[u8], Kind, &mut Vec<u8>)) {
        let mut pieces = Strings::default();
        let mut piece = Vec::new();
        for (text, &kind) in self.texts.iter().zip(&self.kinds) {
            piece.clear();
            if !kind.is_special() && kind != Kind::Unused {
                spell(text, kind, &mut piece);
            }
            // A piece is never longer than its text, so what held the texts holds the pieces.
            pieces.push(&piece);
        }
        pieces.shrink();
        self.longest_piece = pieces.longest();
        self.pieces = pieces;
    }

    /// How many tokens there are.
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// All token numbers.
    pub(super) fn ids(&self) -> std::ops::Range<u32> {
        0..self.len() as u32
    }

    /// A token's own text; empty for a number that is no token's.
    pub(super) fn text(&self, id: u32) -> &[u8] {
        self.texts.get(id)
    }

    /// The bytes a token stands for; empty for tokens that are not text.
    pub(super) fn piece(&self, id: u32) -> &[u8] {
        self.pieces.get(id)
    }

    /// The bytes of the longest piece.
    pub(super) fn longest_piece(&self) -> usize {
        self.longest_piece
    }

    /// The bytes of the longest text.
    pub(super) fn longest_text(&self) -> usize {
        self.longest_text
    }

    /// What kind of token this is.
    pub(super) fn kind(&self, id: u32) -> Kind {
        self.kinds.get(id as usize).copied().unwrap_or(Kind::Unused)
    }

    /// The token of this text, whatever its kind.
    pub(super) fn find(&self, text: &[u8]) -> Option<u32> {
        self.index.find(&self.texts, text)
    }

    /// The token of this text, if ordinary text may become it.
    pub(super) fn find_ordinary(&self, text: &[u8]) -> Option<u32> {
        if text.len() > self.longest_text {
            return None;
        }
        self.find(text).filter(|&id| self.kind(id).is_ordinary())
    }
}
