//! What C hands over, as Rust reads it: handles, texts, lists, and structs that say how large they are.

use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;
use std::sync::{Mutex, MutexGuard, TryLockError};

use siskin::template::Json;

use crate::status::Failure;
use crate::status::siskin_status::{SISKIN_BUSY, SISKIN_INTERNAL};

/// A struct of C whose first field is its size in bytes, as the caller's header has it, and of which all bytes may be zero: 0
/// and NULL stand for what is usual. So that fields can be added, an older caller's struct is filled up with zeros, and a
/// newer one's is taken where what this library does not know of it is zero.
///
/// # Safety
/// All-zero bytes are a value of the type, and so are those of any struct of C that has the fields.
pub(crate) unsafe trait Options: Copy {
    const NAME: &'static str;
}

/// Reads options; all usual ones for NULL.
///
/// # Safety
/// `from` is NULL or points to as many bytes as the size in front of them says.
pub(crate) unsafe fn options<T: Options>(from: *const T) -> Result<T, Failure> {
    const LARGEST: usize = 4096;
    let mut options = MaybeUninit::<T>::zeroed();
    if !from.is_null() {
        // SAFETY: the caller's struct begins with its size.
        let size = unsafe { from.cast::<usize>().read_unaligned() };
        if !(size_of::<usize>()..=LARGEST).contains(&size) || !size.is_multiple_of(size_of::<usize>()) {
            return Err(Failure::argument(format!(
                "{}: expected its field `size` to be sizeof({}), found {size}",
                T::NAME,
                T::NAME
            )));
        }
        let known = size.min(size_of::<T>());
        // SAFETY: both have `known` bytes, and the caller's has `size`.
        let rest = unsafe {
            from.cast::<u8>().copy_to_nonoverlapping(options.as_mut_ptr().cast(), known);
            std::slice::from_raw_parts(from.cast::<u8>().add(known), size - known)
        };
        if rest.iter().any(|&byte| byte != 0) {
            return Err(Failure::argument(format!(
                "{}: it sets an option that this library ({}) does not know",
                T::NAME,
                env!("CARGO_PKG_VERSION")
            )));
        }
    }
    // SAFETY: zeros, or what the caller set, are a value by the trait's contract.
    Ok(unsafe { options.assume_init() })
}

/// What a handle points to.
///
/// # Safety
/// `handle` is NULL or one that this library gave and that was not freed.
pub(crate) unsafe fn shared<'a, T>(handle: *const T, name: &str) -> Result<&'a T, Failure> {
    // SAFETY: the caller's promise.
    unsafe { handle.as_ref() }.ok_or_else(|| null(name))
}

/// Where a call writes what it has found.
///
/// # Safety
/// `to` is NULL or may be written to.
pub(crate) unsafe fn place<'a, T>(to: *mut T, name: &str) -> Result<&'a mut T, Failure> {
    // SAFETY: the caller's promise.
    unsafe { to.as_mut() }.ok_or_else(|| null(name))
}

/// What calls change, one at a time: one that comes while another is at work, out of a function that this one tells something to or
/// in another thread, is refused.
pub(crate) fn enter<'a, T>(held: &'a Mutex<T>, name: &str) -> Result<MutexGuard<'a, T>, Failure> {
    match held.try_lock() {
        Ok(held) => Ok(held),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::new(SISKIN_BUSY, format!("{name}: another call is at work with it")))
        }
        Err(TryLockError::Poisoned(_)) => {
            Err(Failure::new(SISKIN_INTERNAL, format!("{name}: an earlier call ended in an internal fault")))
        }
    }
}

fn null(name: &str) -> Failure {
    Failure::argument(format!("{name}: expected a pointer, found NULL"))
}

/// A text that ends with a zero byte; None for NULL.
///
/// # Safety
/// `text` is NULL or points to bytes that a zero byte ends, and stays as it is for `'a`.
pub(crate) unsafe fn text<'a>(text: *const c_char, name: &str) -> Result<Option<&'a str>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    match unsafe { CStr::from_ptr(text) }.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            Err(Failure::argument(format!("{name}: not UTF-8 from byte {} on", error.valid_up_to())))
        }
    }
}

/// A text that must be there.
///
/// # Safety
/// As for [`text`].
pub(crate) unsafe fn required<'a>(from: *const c_char, name: &str) -> Result<&'a str, Failure> {
    // SAFETY: the caller's promise.
    unsafe { text(from, name) }?.ok_or_else(|| null(name))
}

/// `len` values; none where `len` is 0, whatever the pointer.
///
/// # Safety
/// `from` is NULL or points to `len` values that stay as they are for `'a`.
pub(crate) unsafe fn list<'a, T>(from: *const T, len: usize, name: &str) -> Result<&'a [T], Failure> {
    if len == 0 {
        return Ok(&[]);
    }
    if from.is_null() || !from.is_aligned() {
        return Err(null(name));
    }
    if len.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > isize::MAX as usize) {
        return Err(Failure::argument(format!("{name}: {len} is more than memory can hold")));
    }
    // SAFETY: the caller's promise; it is not NULL, aligned and no larger than memory.
    Ok(unsafe { std::slice::from_raw_parts(from, len) })
}

/// JSON text as a value; None for NULL.
///
/// # Safety
/// As for [`text`].
pub(crate) unsafe fn json(from: *const c_char, name: &str) -> Result<Option<Json>, Failure> {
    // SAFETY: the caller's promise.
    let Some(text) = (unsafe { text(from, name) })? else { return Ok(None) };
    let wrong = |error| Failure::argument(format!("{name}: {error}"));
    text.parse().map(Some).map_err(wrong)
}

/// The entries of a JSON object; none for NULL.
///
/// # Safety
/// As for [`text`].
pub(crate) unsafe fn json_object(from: *const c_char, name: &str) -> Result<Vec<(String, Json)>, Failure> {
    // SAFETY: the caller's promise.
    match unsafe { json(from, name) }? {
        None => Ok(Vec::new()),
        Some(Json::Object(entries)) => Ok(entries),
        Some(_) => Err(Failure::argument(format!("{name}: expected a JSON object"))),
    }
}

/// The items of a JSON array; None for NULL.
///
/// # Safety
/// As for [`text`].
pub(crate) unsafe fn json_array(from: *const c_char, name: &str) -> Result<Option<Vec<Json>>, Failure> {
    // SAFETY: the caller's promise.
    match unsafe { json(from, name) }? {
        None => Ok(None),
        Some(Json::Array(items)) => Ok(Some(items)),
        Some(_) => Err(Failure::argument(format!("{name}: expected a JSON array"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Two {
        size: usize,
        first: u64,
        second: u64,
    }
    // SAFETY: integers may have any bytes.
    unsafe impl Options for Two {
        const NAME: &'static str = "two";
    }

    fn read(bytes: &[usize]) -> Result<(u64, u64), String> {
        // SAFETY: each list of the test has as many bytes as it says.
        let two = unsafe { options(bytes.as_ptr().cast::<Two>()) };
        two.map(|two| (two.first, two.second)).map_err(|failure| {
            failure.tell();
            // SAFETY: the message stays until the next failure.
            unsafe { CStr::from_ptr(crate::status::siskin_error_message()) }.to_str().unwrap().to_owned()
        })
    }

    #[test]
    fn structs_of_other_versions_are_read() {
        const WORD: usize = size_of::<usize>();
        assert_eq!(read(&[WORD * 3, 1, 2]), Ok((1, 2)));
        assert_eq!(read(&[WORD * 2, 1]), Ok((1, 0)));
        assert_eq!(read(&[WORD]), Ok((0, 0)));
        assert_eq!(read(&[WORD * 5, 1, 2, 0, 0]), Ok((1, 2)));
        assert!(read(&[WORD * 5, 1, 2, 0, 9]).unwrap_err().contains("does not know"));
        for size in [0, WORD - 1, WORD + 4, 4097, usize::MAX] {
            assert!(read(&[size, 1, 2]).unwrap_err().contains("sizeof(two)"));
        }
        // SAFETY: NULL is allowed.
        assert!(unsafe { options::<Two>(std::ptr::null()) }.is_ok_and(|two| two.size == 0));
    }

    #[test]
    fn lists_and_texts_are_checked() {
        let no: *const u64 = std::ptr::null();
        // SAFETY: no list that is taken is longer than what it points to.
        unsafe {
            assert!(list(no, 0, "tokens").is_ok_and(<[u64]>::is_empty));
            assert!(list(no, 1, "tokens").is_err());
            assert!(list([1u64].as_ptr(), usize::MAX, "tokens").is_err());
            assert!(text(c"a".as_ptr(), "text").is_ok_and(|text| text == Some("a")));
            assert!(text([b'a', 0xff, 0].as_ptr().cast(), "text").is_err());
            assert!(required(std::ptr::null(), "text").is_err());
            assert!(json(c"{".as_ptr(), "tools").is_err());
            assert!(json_array(c"{}".as_ptr(), "tools").is_err());
            assert!(json_object(c"[]".as_ptr(), "variables").is_err());
        }
    }
}
