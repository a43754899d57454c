/// Why there is no such grammar, or an answer cannot go on with it. Each message is one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrammarError {
    /// The program was built without them.
    #[error("this build has no grammars: it lacks the feature `grammar`")]
    NotBuilt,
    /// The source is longer than is read.
    #[error("the {kind} has {bytes} bytes, expected at most {most}")]
    TooLong {
        /// What it is.
        kind: &'static str,
        /// Its length.
        bytes: usize,
        /// The most that is read.
        most: usize,
    },
    /// The source nests too deeply.
    #[error("the {kind} nests deeper than {most}")]
    TooDeep {
        /// What it is.
        kind: &'static str,
        /// The deepest that is read.
        most: usize,
    },
    /// The source is wrong, asks for what cannot be kept to, or would take more than the limits allow.
    #[error("{kind}: {reason}")]
    Refused {
        /// What it is.
        kind: &'static str,
        /// What of it, and why.
        reason: String,
    },
    /// The system starts no thread to compile it.
    #[error("{kind}: cannot start a thread to compile it: {reason}")]
    Thread {
        /// What it is.
        kind: &'static str,
        /// The system's reason.
        reason: String,
    },
    /// A GBNF grammar is wrong.
    #[error("GBNF grammar, line {line}: {reason}")]
    Gbnf {
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// The vocabulary cannot spell any text.
    #[error("the vocabulary has no tokens that a grammar could allow: {reason}")]
    Vocabulary {
        /// What is wrong with it.
        reason: String,
    },
    /// No token of the vocabulary can follow, or to find out which can takes more than the limits allow.
    #[error("the answer cannot go on as its grammar demands: {reason}")]
    Stuck {
        /// Why.
        reason: String,
    },
}
