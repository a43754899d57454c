//! How a call ended: a status, and for each thread the message of the last one that failed.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, Once};

use crate::log::{self, siskin_log_level::SISKIN_LOG_FAULT};
use siskin::gguf::GgufError;
use siskin::grammar::GrammarError;
use siskin::plan::PlanError;
use siskin::{AttachError, Error, LoadError, OutOfMemory, SessionError, StateError};

/// How a call ended. New ones may be added: take what you do not know for a failure.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum siskin_status {
    /// It did what it was asked for.
    SISKIN_OK = 0,
    /// An argument or an option has no meaning: NULL, a text that is not UTF-8, a value out of range, JSON of another form. Or there is
    /// too little room for what a call writes to an array: then the count says how much it takes.
    SISKIN_ARGUMENT = 1,
    /// A file cannot be opened, read or written, or is no sound GGUF file.
    SISKIN_FILE = 2,
    /// The file is no model or adapter that can be run, or the adapter is one of another model.
    SISKIN_MODEL = 3,
    /// The chat template fails for these messages.
    SISKIN_TEMPLATE = 4,
    /// There is no such grammar, or the answer can no longer keep to it.
    SISKIN_GRAMMAR = 5,
    /// The context has no room for the tokens. The session is as it was.
    SISKIN_CONTEXT_FULL = 6,
    /// A saved state is none, is damaged, or is of another model or cache. The session is as it was.
    SISKIN_STATE = 7,
    /// There is too little memory for it.
    SISKIN_MEMORY = 8,
    /// It was cancelled.
    SISKIN_CANCELLED = 9,
    /// Another call is at work with the handle, or its session has an answer that is not over.
    SISKIN_BUSY = 10,
    /// The model gave no numbers: its weights, or a state that was restored, are broken.
    SISKIN_NOT_FINITE = 11,
    /// A fault of the library, which should be reported. Free the handles that took part; they can do nothing else any more.
    SISKIN_INTERNAL = 12,
}

use siskin_status::*;

/// Why a call failed.
pub(crate) struct Failure {
    status: siskin_status,
    message: String,
}

impl Failure {
    /// This failure, of what has a name.
    pub(crate) fn of(mut self, name: &str) -> Self {
        self.message = format!("{name}: {}", self.message);
        self
    }

    pub(crate) fn new(status: siskin_status, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// An argument without meaning.
    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Self::new(SISKIN_ARGUMENT, message)
    }

    /// Remembers the message for the thread.
    pub(crate) fn tell(self) -> siskin_status {
        let message = line(&self.message);
        // A thread that is about to end has no place for it any more.
        let _ = MESSAGE.try_with(|last| *last.borrow_mut() = message);
        self.status
    }
}

/// A message as one line: names of files are part of messages, and may hold anything.
pub(crate) fn line(message: &str) -> CString {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    CString::new(message.chars().map(escaped).collect::<String>()).unwrap_or_default()
}

/// Failures of the engine, each with the status of its kind.
macro_rules! failures {
    ($($error:ty: $status_of:expr;)*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                let status_of: fn(&$error) -> siskin_status = $status_of;
                Failure::new(status_of(&error), error.to_string())
            }
        })*
    };
}
failures! {
    GgufError: of_file;
    LoadError: of_load;
    SessionError: of_session;
    StateError: |_| SISKIN_STATE;
    PlanError: of_plan;
    OutOfMemory: |_| SISKIN_MEMORY;
    Error: |error| match error {
        Error::Gguf(error) => of_file(error),
        Error::Load(error) => of_load(error),
        Error::Template(_) => SISKIN_TEMPLATE,
        Error::Grammar(error) => of_grammar(error),
        Error::Session(error) => of_session(error),
        Error::Attach(error) => of_attach(error),
        Error::State(_) => SISKIN_STATE,
        Error::Plan(error) => of_plan(error),
        _ => SISKIN_ARGUMENT,
    };
}

fn of_file(error: &GgufError) -> siskin_status {
    match error {
        GgufError::NoModel { .. } => SISKIN_MODEL,
        GgufError::Io { source, .. } if source.kind() == ErrorKind::OutOfMemory => SISKIN_MEMORY,
        _ => SISKIN_FILE,
    }
}

fn of_attach(error: &AttachError) -> siskin_status {
    match error {
        AttachError::OutOfMemory(_) => SISKIN_MEMORY,
        _ => SISKIN_MODEL,
    }
}

fn of_grammar(error: &GrammarError) -> siskin_status {
    match error {
        GrammarError::Thread { .. } => SISKIN_MEMORY,
        _ => SISKIN_GRAMMAR,
    }
}

fn of_load(error: &LoadError) -> siskin_status {
    match error {
        LoadError::Gguf(error) => of_file(error),
        LoadError::OutOfMemory(_) => SISKIN_MEMORY,
        LoadError::Cancelled { .. } => SISKIN_CANCELLED,
        _ => SISKIN_MODEL,
    }
}

fn of_session(error: &SessionError) -> siskin_status {
    match error {
        SessionError::ContextFull { .. } | SessionError::CacheFull { .. } => SISKIN_CONTEXT_FULL,
        SessionError::OutOfMemory(_) | SessionError::Threads { .. } => SISKIN_MEMORY,
        SessionError::Cancelled => SISKIN_CANCELLED,
        SessionError::NotFinite { .. } => SISKIN_NOT_FINITE,
        SessionError::Grammar(error) => of_grammar(error),
        SessionError::Attach(error) => of_attach(error),
        _ => SISKIN_ARGUMENT,
    }
}

fn of_plan(error: &PlanError) -> siskin_status {
    match error {
        PlanError::Memory { .. } => SISKIN_MEMORY,
        PlanError::Load(error) => of_load(error),
        _ => SISKIN_ARGUMENT,
    }
}

thread_local! {
    static MESSAGE: RefCell<CString> = RefCell::default();
}

/// What the last panic said, and where; of whichever thread, since the one that works may be one of a session's.
static PANIC: Mutex<String> = Mutex::new(String::new());

/// Has panics remembered, which would be written to standard error otherwise.
fn remember_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // Tests that fail are to say why.
            if cfg!(test) {
                usual(panic);
            }
            let said = panic.payload_as_str().unwrap_or("a panic");
            let place = panic.location().map_or(String::new(), |place| format!(", {place}"));
            let line = format!("{said}{place}");
            if let Ok(mut last) = PANIC.lock() {
                last.clone_from(&line);
            }
            log::tell(SISKIN_LOG_FAULT, &format!("internal fault: {line}"));
        }));
    });
}

/// Does the work of a call: what it returns becomes a status, and so does a panic, which must not leave Rust.
pub(crate) fn call(work: impl FnOnce() -> Result<(), Failure>) -> siskin_status {
    remember_panics();
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => SISKIN_OK,
        Ok(Err(failure)) => failure.tell(),
        Err(panic) => of_panic(panic),
    }
}

/// As [`call`], for what cannot fail: of a panic nothing is told but the message.
pub(crate) fn quiet<T>(otherwise: T, work: impl FnOnce() -> T) -> T {
    remember_panics();
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        of_panic(panic);
        otherwise
    })
}

fn of_panic(panic: Box<dyn Any + Send>) -> siskin_status {
    let said = PANIC.lock().map_or_else(|_| "a panic".to_owned(), |last| last.clone());
    let status = Failure::new(SISKIN_INTERNAL, format!("internal fault: {said}")).tell();
    // What it holds might panic once more when it is dropped.
    std::mem::forget(panic);
    status
}

/// What went wrong in the last call that failed on this thread, as one line without an end of line; `""` where none did.
/// It is there until the thread's next call that fails.
#[unsafe(no_mangle)]
pub extern "C" fn siskin_error_message() -> *const c_char {
    let empty = c"".as_ptr();
    MESSAGE.try_with(|last| last.try_borrow().map_or(empty, |message| message.as_ptr())).unwrap_or(empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    fn message() -> String {
        // SAFETY: the message stays until the next failure, and this thread makes none meanwhile.
        unsafe { CStr::from_ptr(siskin_error_message()) }.to_str().unwrap().to_owned()
    }

    #[test]
    fn each_thread_has_the_message_of_its_own_last_failure() {
        assert_eq!(message(), "");
        assert_eq!(call(|| Err(Failure::argument("one\0two\n"))), SISKIN_ARGUMENT);
        assert_eq!(message(), r"one\u{0}two\n");
        std::thread::spawn(|| assert_eq!(message(), "")).join().unwrap();
        assert_eq!(call(|| Ok(())), SISKIN_OK);
        assert_eq!(message(), r"one\u{0}two\n");
    }

    #[test]
    fn a_panic_becomes_a_status() {
        assert_eq!(call(|| panic!("a {}", "fault")), SISKIN_INTERNAL);
        assert!(message().starts_with("internal fault: a fault, engine/c/src/status.rs:"), "{}", message());
        assert_eq!(quiet(7, || std::panic::panic_any(5)), 7);
    }
}
