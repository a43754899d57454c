//! Why a request is not answered, in no API's own words.

use std::fmt;
use std::time::Duration;

/// What kind of reason it is. An API has a status and a name for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The request itself: 400.
    Invalid,
    /// A prompt that the context has no room for: 400.
    ContextExceeded {
        /// Tokens of the prompt, where they were made.
        prompt: Option<usize>,
        /// Tokens that a sequence holds at most.
        context: usize,
    },
    /// No key, or one that there is not: 401.
    Unauthorized,
    /// What nobody may ask from there: 403.
    Forbidden,
    /// No such address or model: 404.
    NotFound,
    /// An address that takes another method: 405.
    Method,
    /// Bytes that did not come in time: 408.
    Timeout,
    /// A body beyond the bound: 413.
    TooLarge,
    /// More requests than may wait: 429.
    Busy,
    /// Something failed here: 500.
    Internal,
    /// What this model cannot do: 501.
    Unsupported,
    /// No memory for the model, or the server is about to end: 503.
    Unavailable,
}

/// Why a request is not answered.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    /// One line: the field, what was expected, what was found.
    pub(crate) message: String,
    /// When to try again.
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, message: impl fmt::Display) -> Self {
        Self { reason, message: message.to_string().replace(['\n', '\r'], " "), retry_after: None }
    }

    /// A request that is wrong.
    pub(crate) fn invalid(message: impl fmt::Display) -> Self {
        Self::new(Reason::Invalid, message)
    }

    /// A fault of the server's own.
    pub(crate) fn internal(message: impl fmt::Display) -> Self {
        Self::new(Reason::Internal, message)
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> u16 {
        match self.reason {
            Reason::Invalid | Reason::ContextExceeded { .. } => 400,
            Reason::Unauthorized => 401,
            Reason::Forbidden => 403,
            Reason::NotFound => 404,
            Reason::Method => 405,
            Reason::Timeout => 408,
            Reason::TooLarge => 413,
            Reason::Busy => 429,
            Reason::Internal => 500,
            Reason::Unsupported => 501,
            Reason::Unavailable => 503,
        }
    }
}

/// What a reader of fields says is wrong with the request, with all that led to it.
impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        Self::invalid(format_args!("{error:#}"))
    }
}
