//! What is handed to C: handles, and lists of the caller's that may be too short.

use std::ffi::{CString, c_char};

use crate::status::Failure;

/// Gives a new handle.
///
/// # Safety
/// `out` is NULL or may be written to.
pub(crate) unsafe fn give<T>(
    out: *mut *mut T,
    make: impl FnOnce() -> Result<T, Failure>,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let out =
        unsafe { out.as_mut() }.ok_or_else(|| Failure::argument("out: expected a pointer, found NULL"))?;
    // So that who frees it after a failure frees nothing.
    *out = std::ptr::null_mut();
    *out = Box::into_raw(Box::new(make()?));
    Ok(())
}

/// Takes a handle back.
///
/// # Safety
/// `handle` is NULL or one that [`give`] gave and that nobody uses any more.
pub(crate) unsafe fn take_back<T>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: the caller's promise.
        crate::status::quiet((), || drop(unsafe { Box::from_raw(handle) }));
    }
}

/// Writes values to a list of the caller's that has room for `*len`, and says in `*len` how many there are. Where they are
/// more nothing is written.
///
/// # Safety
/// `len` is NULL or may be read and written, and `to` is NULL or has room for as many values as it says.
pub(crate) unsafe fn fill<T: Copy>(
    values: &[T],
    to: *mut T,
    len: *mut usize,
    name: &str,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let len = unsafe { len.as_mut() }
        .ok_or_else(|| Failure::argument(format!("{name}: expected a pointer to its length, found NULL")))?;
    let room = std::mem::replace(len, values.len());
    if to.is_null() {
        // Who asks how many there are.
        return Ok(());
    }
    if room < values.len() {
        return Err(Failure::argument(format!("{name}: expected room for {}, found {room}", values.len())));
    }
    // SAFETY: there is room for them.
    unsafe { to.copy_from_nonoverlapping(values.as_ptr(), values.len()) };
    Ok(())
}

/// A name for C, which a zero byte would end.
pub(crate) fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default()
}

/// Text for C that is there until the next: with a zero byte behind it, in memory that is kept.
#[derive(Default)]
pub(crate) struct Text(Vec<u8>);

impl Text {
    /// Room for texts of so many bytes without asking for more.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes + 1))
    }

    /// Keeps the text, and gives where it is.
    pub(crate) fn set(&mut self, text: &str) -> *const c_char {
        self.0.clear();
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
        self.0.as_ptr().cast()
    }
}
