use std::io;
use thiserror::Error;

/// Why a document's text cannot be had. Messages do not name the file, which the caller knows.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The path is a folder's.
    #[error("found a folder, expected a file")]
    Folder,
    /// There is more than is ever read, of the file or of what is packed in it.
    #[error("longer than {most} bytes")]
    TooLong {
        /// Bytes that are read at most.
        most: u64,
    },
    /// Bytes of no known format.
    #[error("expected UTF-8 text, or a PDF, Word (.docx) or HTML file: byte {offset} is no text")]
    NotText {
        /// The first byte that is none.
        offset: usize,
    },
    /// A page that says it is in an encoding that is not read.
    #[error("the page is in {declared}, expected UTF-8, UTF-16 or windows-1252")]
    Encoding {
        /// Its name, as the page has it.
        declared: String,
    },
    /// A text of white space alone.
    #[error("there is no text in it")]
    Empty,
    /// Most characters are NUL or U+FFFD, which stands for what could not be decoded.
    #[error("mostly unreadable: {count} of {of} characters are no text")]
    Unreadable {
        /// Such characters.
        count: usize,
        /// All that are not white space.
        of: usize,
    },
    /// A PDF file that only has pictures.
    #[error("a PDF file without text, which may be a scan")]
    Scan,
    /// A file that asks for a password before it can be read.
    #[error("{what} with a password")]
    Password {
        /// The format, as in "a PDF file".
        what: &'static str,
    },
    /// A file that is not what its format asks for.
    #[error("a damaged {what}: {why}")]
    Damaged {
        /// The format, as in "Word document".
        what: &'static str,
        /// What was expected, or found.
        why: String,
    },
    /// The words of the process that reads PDF files.
    #[error("{0}")]
    Worker(String),
    /// A format that this build leaves out.
    #[error("{0}, which this build cannot read: see its features `pdf`, `docx` and `html`")]
    NotBuilt(&'static str),
}
