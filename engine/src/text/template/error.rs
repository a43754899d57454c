//! Why a template fails, each in one line.

use crate::gguf::GgufError;

/// Why a conversation has no text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The source is too long.
    #[error("chat template has {bytes} bytes, expected at most {limit}")]
    SourceTooLong {
        /// Its length.
        bytes: usize,
        /// The greatest length.
        limit: usize,
    },
    /// The source holds what no chat template needs.
    #[error("chat template line {line}: {problem}")]
    Refused {
        /// The line in the template, from 1.
        line: usize,
        /// What it holds and what is expected.
        problem: String,
    },
    /// The source is not Jinja.
    #[error("chat template line {line}: {problem}")]
    Syntax {
        /// The line in the template, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// The source is a template of another language.
    #[error("the chat template is one of Go's, as Ollama has them, expected Jinja")]
    Go,
    /// The model file's template cannot be used, which does not keep the model from being loaded.
    #[error("{problem}")]
    Unusable {
        /// Why: the error of [`ChatTemplate::new`](super::ChatTemplate::new).
        problem: String,
    },
    /// The template fails on this conversation.
    #[error("chat template line {line}: {problem}")]
    Failed {
        /// The line in the template, from 1; 0 when unknown.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// The template refuses this conversation, by `raise_exception`.
    #[error("chat template line {line} refuses the conversation: {message}")]
    Raised {
        /// The line in the template, from 1.
        line: usize,
        /// The template's own words.
        message: String,
    },
    /// The template does not come to an end within its share of steps and memory.
    #[error("chat template line {line}: it takes too many steps or too much memory")]
    TooMuchWork {
        /// The line in the template where it was stopped, from 1.
        line: usize,
    },
    /// The output is too long.
    #[error("chat template output exceeds {limit} bytes")]
    OutputTooLong {
        /// The greatest length in bytes.
        limit: usize,
    },
    /// A value that the template is to be given is not JSON, or too large.
    #[error("JSON value: {problem}")]
    Json {
        /// What is wrong or expected.
        problem: String,
    },
    /// A variable has a name that another value has.
    #[error("variable {name:?}: the name is taken")]
    Variable {
        /// Its name.
        name: String,
    },
    /// The model file has templates, but none for this conversation.
    #[error("the model's chat templates are called {names}; expected one without a name, or called default")]
    Unnamed {
        /// What they are called.
        names: String,
    },
    /// The model has no template, and its vocabulary has no tokens for turns of [`CHATML`](super::CHATML).
    #[error("the model has no chat template, and its vocabulary no token {token:?}: it continues texts")]
    NoTemplate {
        /// The text of the token that it lacks.
        token: &'static str,
    },
    /// This build has no templates.
    #[error("this build has no chat templates: the feature `templates` brings them")]
    NotBuilt,
    /// The model file's keys are malformed.
    #[error(transparent)]
    File(#[from] GgufError),
}

/// A stranger's text made fit for one line of a terminal.
pub(super) fn one_line(text: &str) -> String {
    const MOST: usize = 300;
    let cut: String = text.chars().take(MOST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MOST).is_some() { cut + "..." } else { cut }
}
